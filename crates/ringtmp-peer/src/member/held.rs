//! What a member leaves to the one that follows it on this device.

use super::craft::Craft;
use super::desk::Desk;
use ringtmp_compute::{Packed, RangeUpdater};
use ringtmp_core::ids::{Epoch, Step};
use ringtmp_core::parameter_server::{
    Carried, KeptCopy, Layout, Member, MemberIndex, RangeIndex, Reached, TeamStart,
};
use ringtmp_core::signal::Holding;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A copy of a range, with its numbers.
#[derive(Debug)]
struct HeldCopy {
    updates: u32,
    slots: Vec<Arc<Packed>>,
}

/// What a device holds of a run.
#[derive(Debug, Default)]
pub(crate) struct Held {
    told: Holding,
    reached: BTreeMap<RangeIndex, Reached>,
    copies: BTreeMap<(Step, RangeIndex), HeldCopy>,
    updater: Option<RangeUpdater>,
}

impl Held {
    /// What a member leaves that took part under this plan.
    pub(super) fn left_by(
        member: &Member,
        me: MemberIndex,
        under: Epoch,
        desk: &Desk,
        craft: Option<Craft>,
    ) -> Self {
        let carried = member.carry();
        let mut told = carried.told(&member.job().layout, me, under);
        let updater = craft.and_then(Craft::into_updater);
        if let (Some(team), None) = (&mut told.team, &updater) {
            // It was never built.
            team.live.clear();
        }
        let Carried { reached, copies } = carried;
        let copies = copies.into_iter().map(|(key, copy)| {
            let slots = copy.slots.iter().map(|slot| desk.get(*slot)).collect();
            let updates = copy.updates;
            (key, HeldCopy { updates, slots })
        });
        Self {
            told,
            reached,
            copies: copies.collect(),
            updater,
        }
    }

    /// Forgets everything that was held under a plan that is none of these: a device that was done without for a while has parts that lie
    /// elsewhere by now, and copies of versions that were made again.
    pub(super) fn forget_other_pasts(&mut self, pasts: &[Epoch]) {
        if !pasts.contains(&self.told.under) {
            *self = Self::default();
        }
    }

    /// As a room asks for it.
    pub(super) fn told(&self) -> Holding {
        self.told.clone()
    }

    /// Whether it has of its own ranges what a run is to go on from.
    pub(super) fn serves(&self, layout: &Layout, me: MemberIndex, start: TeamStart) -> bool {
        let mut own = layout.ranges_at(me);
        match start {
            TeamStart::Beginning => true,
            TeamStart::Held { .. } => {
                let same = self.reached.keys().copied().eq(own);
                same && (self.updater.is_some() || self.reached.is_empty())
            }
            TeamStart::Copies { version } => {
                own.all(|range| self.copies.contains_key(&(version, range)))
            }
        }
    }

    /// Gives it to the member that follows, and to what it computes with.
    pub(super) fn hand_on(
        self,
        layout: &Layout,
        me: MemberIndex,
        start: TeamStart,
        desk: &mut Desk,
        craft: &mut Craft,
    ) -> Carried {
        match start {
            TeamStart::Beginning => return Carried::default(),
            TeamStart::Held { .. } => {
                if let Some(updater) = self.updater {
                    craft.go_on_with(updater);
                }
            }
            TeamStart::Copies { version } => {
                let copies = layout.ranges_at(me).filter_map(|range| {
                    let copy = self.copies.get(&(version, range))?;
                    Some(copy.slots.clone())
                });
                craft.go_on_from(copies.collect());
            }
        }
        let copies = self.copies.into_iter().map(|(key, copy)| {
            let slots = copy.slots.into_iter().map(|slot| desk.keep_shared(slot));
            let kept = KeptCopy {
                updates: copy.updates,
                slots: slots.collect(),
            };
            (key, kept)
        });
        Carried {
            reached: self.reached,
            copies: copies.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::job::member_job;
    use crate::run_file::{Paradigm, ParameterServerTable, RunFile};
    use ringtmp_core::parameter_server::{Placement, ShardIndex};
    use ringtmp_core::signal::TeamHolding;

    const BEFORE: Epoch = Epoch {
        number: 3,
        incarnation: 1,
    };

    /// What the server of a run leaves, without its numbers, and the run's layout.
    fn left() -> (Held, Layout, MemberIndex) {
        let file = RunFile {
            paradigm: Paradigm::ParameterServer,
            parameter_server: ParameterServerTable {
                placement: Some(Placement::Single),
                ..ParameterServerTable::default()
            },
            ..RunFile::default()
        };
        let run = file.check().expect("a run");
        let layout = member_job(&run, 3, &[]).expect("a layout").layout;
        let me = layout.collector();
        let reached = Reached {
            clock: Step(9),
            updates: 9,
        };
        let held = Held {
            told: Holding {
                under: BEFORE,
                updates: Step(9),
                copies: Vec::new(),
                team: Some(TeamHolding {
                    live: vec![ShardIndex(0)],
                    copies: Vec::new(),
                }),
            },
            reached: layout.ranges_at(me).map(|it| (it, reached)).collect(),
            copies: BTreeMap::new(),
            updater: None,
        };
        (held, layout, me)
    }

    #[test]
    fn who_was_done_without_begins_with_nothing_and_is_not_at_fault() {
        let (mut held, layout, me) = left();
        // By now another serves: this device computes.
        let worker = (0..layout.members).map(MemberIndex).find(|it| *it != me);
        let worker = worker.expect("a worker");
        let start = TeamStart::Held { reached: Step(30) };
        assert!(
            !held.serves(&layout, worker, start),
            "it has what it served"
        );
        let later = Epoch {
            number: 5,
            ..BEFORE
        };
        held.forget_other_pasts(&[later]);
        assert!(held.serves(&layout, worker, start));
        assert_eq!(held.told(), Holding::default());
    }

    #[test]
    fn what_is_of_the_past_is_kept() {
        let (mut held, _, _) = left();
        let told = held.told();
        held.forget_other_pasts(&[BEFORE]);
        assert_eq!(held.told(), told);
        assert!(!held.reached.is_empty());
    }
}
