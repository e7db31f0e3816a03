//! Members that leave on purpose, for whom nothing is made again.
//!
//! ```text
//!   HandOn ──▶ the head is asked for rest ──▶ halted at the end of a step ──▶ a plan without the leaver ──▶ Commit: Released
//! ```
//!
//! Its layers lie with its buddy already. Until the others have begun without it, it stays, with its copies: if a buddy is lost
//! just then, it is taken into the ring once more, and goes at the next rest.

use super::disks::Found;
use super::recovery::{Holders, Recovering};
use super::{Member, Room};
use crate::ids::{LayerIndex, PeerId};
use crate::plan::Plan;
use crate::signal::{RoomState, ServerMessage, TAKEN_SHOWN_MAX, Taken};
use crate::time::Time;
use std::ops::Range;

/// A plan and what it goes on from; or a plan alone, where nothing is whole.
type Planned = Result<(Plan, Found), Box<Plan>>;

impl Room {
    /// A member wants to go without anything being lost.
    pub(super) fn hand_on(&mut self, peer: PeerId) {
        if let Some(member) = self.members.iter_mut().find(|member| member.peer == peer) {
            member.leaving = true;
            self.show();
        }
    }

    /// Whether others have to have this member's layers before it may go, and can have them.
    fn is_waited_for(&self, peer: PeerId) -> bool {
        if !self.recovers() {
            // Nobody could take over anything: it goes, and with it the run.
            return false;
        }
        if self.rebuilding.is_some() {
            return true;
        }
        let plan = self.ring();
        let in_ring = plan.is_some_and(|plan| plan.stages() > 1 && plan.stage_of(peer).is_some());
        match self.state {
            RoomState::Training | RoomState::Paused => in_ring && self.is_needed(peer),
            // It keeps its copies until the others have begun.
            RoomState::Reconfiguring { .. } => true,
            RoomState::WarmingUp
            | RoomState::Waiting
            | RoomState::Lacking { .. }
            | RoomState::Finished
            | RoomState::Stopped { .. } => false,
        }
    }

    /// After everything that may have changed it: lets go whom nobody waits for, and has the ring come to rest for the others.
    pub(super) fn attend_to_leavers(&mut self, now: Time) {
        loop {
            let mut leavers = self.members.iter().filter(|member| member.leaving);
            let Some(free) = leavers.find(|member| !self.is_waited_for(member.peer)) else {
                break;
            };
            let peer = free.peer;
            self.output.push_back((peer, ServerMessage::Released));
            self.leave(now, peer);
        }
        let waits = self.members.iter().find(|member| member.leaving);
        let Some(name) = waits.map(|member| member.device.name.clone()) else {
            return;
        };
        let trains = matches!(self.state, RoomState::Training | RoomState::Paused);
        if !trains || !self.done.is_empty() {
            return;
        }
        if self.state == RoomState::Paused {
            // For the one step that it takes to come to rest.
            self.recovering.was_paused = true;
            self.state = RoomState::Training;
            self.show();
        }
        self.ask_for_rest_too(format!("{name} hands its layers on and leaves"));
    }

    /// Somebody wants no new step to begin. The one that the ring comes to rest with is made all the same.
    pub(super) fn pause(&mut self) {
        if self.state == RoomState::Training && self.members.iter().any(|member| member.leaving) {
            self.recovering.was_paused = true;
        } else {
            self.change(RoomState::Training, RoomState::Paused);
        }
    }

    pub(super) fn go_on(&mut self) {
        if self.state == RoomState::Training {
            self.recovering.was_paused = false;
        }
        self.change(RoomState::Paused, RoomState::Training);
    }

    /// Members that the next plan may give layers to.
    pub(super) fn stayers(&self) -> impl Iterator<Item = &Member> {
        let all = self.recovering.leavers_stay;
        self.participants()
            .filter(move |member| all || !member.leaving)
    }

    /// The best plan for those who stay, and the newest version of which they hold every layer. Where those who leave hold a
    /// newer one, or nobody else is left, they stay for once.
    pub(super) fn planned_from(&mut self, memory: &Holders) -> Result<Planned, String> {
        let only_leavers = self.participants().all(|member| member.leaving);
        self.recovering.leavers_stay = only_leavers;
        let plan = self.planned()?;
        let without = self.with_disks(plan, memory);
        if only_leavers || !self.members.iter().any(|member| member.leaving) {
            return Ok(without);
        }
        self.recovering.leavers_stay = true;
        let plan = self.planned()?;
        let with = self.with_disks(plan, memory);
        let version = |planned: &Planned| planned.as_ref().ok().map(|(_, found)| found.version);
        if version(&with) > version(&without) {
            return Ok(with);
        }
        self.recovering.leavers_stay = false;
        Ok(without)
    }

    /// Who has layers under this plan that it had not under the one before.
    pub(super) fn taken(&self, plan: &Plan) -> Vec<Taken> {
        let before = self.recovering.worked.as_ref();
        let had = |peer: &PeerId| before.and_then(|before| before.layers_of(*peer));
        let gained = plan.order.iter().flat_map(|peer| {
            let nothing = LayerIndex(0)..LayerIndex(0);
            let has = plan.layers_of(*peer).unwrap_or(nothing.clone());
            let had = had(peer).unwrap_or(nothing);
            let name = self.name(*peer);
            gained(&has, &had).into_iter().map(move |layers| Taken {
                peer: *peer,
                by: name.clone(),
                first: layers.start.0,
                last: layers.end.0 - 1,
            })
        });
        gained.take(TAKEN_SHOWN_MAX).collect()
    }
}

impl Recovering {
    /// The ring is put together anew: under which plan it worked until now.
    pub(super) fn note_work(&mut self, plan: Option<&Plan>) {
        if !self.is_going_on() {
            self.worked = plan.cloned();
        }
    }
}

/// What is in one range and not in the other: before it, after it, or both.
fn gained(has: &Range<LayerIndex>, had: &Range<LayerIndex>) -> Vec<Range<LayerIndex>> {
    if had.is_empty() || had.end <= has.start || had.start >= has.end {
        return vec![has.clone()];
    }
    let parts = [has.start..had.start, had.end..has.end];
    parts.into_iter().filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_gains_is_what_it_has_and_had_not() {
        let range = |range: Range<u16>| LayerIndex(range.start)..LayerIndex(range.end);
        let gained = |has, had| gained(&range(has), &range(had));
        assert_eq!(gained(2..5, 0..0), [range(2..5)]);
        assert_eq!(gained(2..5, 5..7), [range(2..5)]);
        assert_eq!(gained(2..5, 2..3), [range(3..5)]);
        assert_eq!(gained(2..5, 3..4), [range(2..3), range(4..5)]);
        assert_eq!(gained(2..5, 1..6), []);
    }
}
