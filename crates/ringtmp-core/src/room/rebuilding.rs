//! A room of a server that was restarted and knows nothing: it is built from what its members say.
//!
//! ```text
//!   the first returns      all stages of the newest plan train under it
//!  ──────────────────▶ rebuilding ───────────────────────────────────────▶ training, as if nothing had been
//!                          │ not all of them; or too late, but more than half are there; or a user says start
//!                          ▼
//!                        halted, as after a loss
//! ```
//!
//! Half of a ring or less does not go on by itself: the other half may do the same elsewhere.

use super::recovery::PASTS_MAX;
use super::{REASON_CHARS_MAX, Room, RunDescriptor};
use crate::curve::Curve;
use crate::ids::{Epoch, PeerId, RoomCode, Version};
use crate::parameter_server::MEMBERS_MAX;
use crate::signal::{CURVE_POINTS_MAX, ClientMessage, Phase, RoomPlan, RoomState, Standing};
use crate::time::Time;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the others are waited for: peers try to return every two seconds at least.
pub const REBUILD_WAIT_MAX: Duration = Duration::from_secs(5);

/// Messages that are kept until it is known what they belong to: a member repeats five at most, and one of a team's tells what has
/// waited of the curves.
const KEPT_MAX: usize = 1024;

/// No room comes near it, and from here on there are enough numbers left for those that follow.
const EPOCH_NUMBER_MAX: u32 = u32::MAX / 2;

const REASON: &str = "the server was restarted, and asks the devices how far they are";

/// What is known so far.
#[derive(Debug)]
pub(super) struct Rebuilding {
    /// None once it is waited for as long as it takes.
    due: Option<Time>,
    told: BTreeMap<PeerId, Standing>,
    said: Vec<(PeerId, ClientMessage)>,
}

impl Rebuilding {
    pub(super) fn due(&self) -> Option<Time> {
        self.due
    }

    /// The newest plan that anybody obeyed.
    fn plan(&self) -> Option<&RoomPlan> {
        let plans = self.told.values().filter_map(|told| told.plan.as_ref());
        plans.max_by_key(|plan| plan.epoch())
    }

    fn is_whole(&self) -> bool {
        let mut plan = self.plan().into_iter();
        plan.any(|plan| plan.order().iter().all(|peer| self.told.contains_key(peer)))
    }

    fn is_most_of_it(&self) -> bool {
        let plan = self.plan();
        plan.is_none_or(|plan| {
            let there = plan.order().iter();
            let there = there.filter(|peer| self.told.contains_key(peer)).count();
            2 * there > plan.order().len()
        })
    }

    /// Those who obeyed this plan last.
    fn under(&self, epoch: Epoch) -> impl Iterator<Item = (PeerId, &Standing)> {
        let told = self.told.iter().map(|(peer, told)| (*peer, told));
        told.filter(move |(_, told)| told.epoch() == Some(epoch))
    }

    /// Whether the plan may have made a version of its own: not where one of its stages has not begun.
    fn may_have_begun(&self, plan: &RoomPlan) -> bool {
        let mut in_order = plan.order().iter().filter_map(|peer| self.told.get(peer));
        in_order.all(|told| told.epoch() == Some(plan.epoch()) && told.phase != Phase::Preparing)
    }

    fn trains(&self, plan: &RoomPlan) -> bool {
        let trains = |peer: &PeerId| {
            let mut under = self.under(plan.epoch());
            under.any(|(other, told)| other == *peer && told.phase == Phase::Training)
        };
        plan.order().iter().all(trains)
    }
}

impl Room {
    /// A room that was lost with its server, of which the first member has just returned.
    pub fn rebuilt(code: RoomCode, run: RunDescriptor, incarnation: u32, now: Time) -> Self {
        let mut room = Self::new(code, run, incarnation, now);
        room.begin_to_rebuild(now);
        room
    }

    fn begin_to_rebuild(&mut self, now: Time) {
        self.state = RoomState::Reconfiguring {
            reason: REASON.to_owned(),
        };
        self.rebuilding = Some(Rebuilding {
            due: Some(now + REBUILD_WAIT_MAX),
            told: BTreeMap::new(),
            said: Vec::new(),
        });
    }

    /// A room that has planned nothing hears that its run is under way: another server had the ring that somebody returns from.
    pub(super) fn rebuild_if_others_are_further(&mut self, now: Time, standing: &Standing) {
        let is_new = self.plan.is_none() && self.state == RoomState::Waiting;
        if is_new && self.rebuilding.is_none() && standing.plan.is_some() {
            self.begin_to_rebuild(now);
        }
    }

    /// What of a member's standing can be believed: a plan that cannot be is no plan, and words are cut as everybody's.
    pub(super) fn believed(&self, mut standing: Standing) -> Standing {
        standing.plan = standing.plan.filter(|plan| self.may_be(plan));
        if let RoomState::Stopped { reason } = &mut standing.state {
            *reason = reason.chars().take(REASON_CHARS_MAX).collect();
        }
        standing
    }

    /// Whether the run can have had this plan.
    fn may_be(&self, plan: &RoomPlan) -> bool {
        let outline = &self.run.outline;
        let (is_sound, spares, pasts) = match plan {
            RoomPlan::Ring(plan) => {
                let is_sound = self.is_ring() && plan.check(outline.layers.len()).is_ok();
                (is_sound, plan.spares.len(), plan.pasts.len())
            }
            RoomPlan::Team(plan) => {
                let parameters: Vec<u64> = outline.layers.iter().map(|it| it.parameters).collect();
                let is_sound = Some(plan.exchange) == outline.topology.exchange()
                    && plan.layout(&parameters, outline.micro_batches).is_ok();
                (is_sound, plan.spares.len(), plan.pasts.len())
            }
        };
        is_sound
            && spares <= usize::from(MEMBERS_MAX)
            && pasts <= 2 * PASTS_MAX
            && plan.epoch().number <= EPOCH_NUMBER_MAX
    }

    /// A member says how far it is.
    pub(super) fn rebuild_with(&mut self, now: Time, peer: PeerId, standing: Standing) {
        let never_began = standing.state == RoomState::Waiting && standing.plan.is_none();
        if let Some(rebuilding) = &mut self.rebuilding {
            rebuilding.told.insert(peer, standing);
            if never_began || rebuilding.is_whole() {
                self.rebuild(now);
            }
        }
    }

    /// Keeps what only has a meaning once the plan is known; gives back what has one already.
    pub(super) fn keep_for_later(
        &mut self,
        from: PeerId,
        message: ClientMessage,
    ) -> Option<ClientMessage> {
        let Some(rebuilding) = &mut self.rebuilding else {
            return Some(message);
        };
        let about_the_plan = matches!(
            message,
            ClientMessage::Ready { .. }
                | ClientMessage::Failed { .. }
                | ClientMessage::Stumbled { .. }
                | ClientMessage::LinkLost { .. }
                | ClientMessage::Stable { .. }
                | ClientMessage::Progress { .. }
                | ClientMessage::Done { .. }
        );
        if !about_the_plan {
            return Some(message);
        }
        if rebuilding.said.len() < KEPT_MAX {
            rebuilding.said.push((from, message));
        }
        None
    }

    /// Some have not returned in time.
    pub(super) fn wait_for_returns_no_longer(&mut self, now: Time) {
        let Some(rebuilding) = &mut self.rebuilding else {
            return;
        };
        rebuilding.due = None;
        if rebuilding.is_most_of_it() {
            return self.rebuild(now);
        }
        let parts = rebuilding.plan().map_or(0, |plan| plan.order().len());
        let there = rebuilding.told.len();
        self.state = RoomState::Reconfiguring {
            reason: format!(
                "the server was restarted, and only {there} of {parts} devices have returned: training waits for the others, or \
                 for somebody to press start"
            ),
        };
        self.show();
    }

    /// Makes the room of what its members have said.
    pub(super) fn rebuild(&mut self, now: Time) {
        let Some(rebuilding) = self.rebuilding.take() else {
            return;
        };
        let curves = rebuilding.told.values().map(|told| &told.points);
        if let Some(points) = curves.max_by_key(|points| points.len()) {
            self.curve = Curve::default();
            self.curve
                .extend(&points[..points.len().min(CURVE_POINTS_MAX)]);
        }
        let Some(plan) = rebuilding.plan().cloned() else {
            self.state = RoomState::Waiting;
            return self.start_if_enough(now);
        };
        let under = |_: &()| rebuilding.under(plan.epoch()).map(|(_, told)| told);
        let stable: Option<Version> = under(&()).filter_map(|told| told.stable).max();
        let stopped = under(&()).find(|told| matches!(told.state, RoomState::Stopped { .. }));
        let stopped = stopped.map(|told| told.state.clone());
        let paused = under(&()).any(|told| told.state == RoomState::Paused);
        let began = rebuilding.may_have_begun(&plan);
        let trains = rebuilding.trains(&plan);
        self.epoch = plan.epoch();
        self.recovering.goes_on_from(&plan, began, paused, stable);
        if let RoomPlan::Ring(plan) = &plan {
            self.disks.rebuilt(plan, self.code);
        }
        self.plan = Some(plan);
        match stopped {
            Some(stopped) => {
                self.state = stopped;
                self.show();
            }
            None if trains => {
                self.state = self.recovering.over(now);
                // Some may have been given up under an older plan, which they still obey.
                for (peer, standing) in &rebuilding.told {
                    self.catch_up(now, *peer, standing);
                }
                self.grow_if_worth_it();
                self.grow_team(now);
                self.show();
            }
            None => self.lost(now, "the server was restarted".to_owned()),
        }
        for (from, message) in rebuilding.said {
            self.message(now, from, message);
        }
    }
}
