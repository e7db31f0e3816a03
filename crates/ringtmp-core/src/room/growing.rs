//! Putting the ring together anew because that is better, and not because it must be: at rest, so that nothing is made twice.

use super::Room;
use crate::signal::{RoomState, ServerMessage};

/// Where another plan would be better, it has to be so at so many reports of the head in a row.
const BETTER_REPORTS: u32 = 3;

impl Room {
    /// Somebody has come, or was measured: whether the ring is put together anew for that, at the end of a step.
    pub(super) fn grow_if_worth_it(&mut self) {
        let outside = |peer| {
            self.ring()
                .is_some_and(|plan| plan.stage_of(peer).is_none())
        };
        let waiting = self.participants().find(|member| outside(member.peer));
        let name = waiting.map(|member| member.device.name.clone());
        if let Some(name) = name.filter(|_| self.may_rest() && self.another_plan_is_better()) {
            self.ask_for_rest(format!("{name} joins the ring"));
        }
    }

    /// The head has reported: whether layers are better divided otherwise, and have been for some time.
    pub(super) fn move_layers_if_worth_it(&mut self) {
        let better = self.may_rest() && self.another_plan_is_better();
        let reports = &mut self.recovering.better_reports;
        *reports = if better { *reports + 1 } else { 0 };
        if *reports >= BETTER_REPORTS {
            *reports = 0;
            self.ask_for_rest("layers move to where they are computed faster".to_owned());
        }
    }

    fn may_rest(&self) -> bool {
        let idle = self.recovering.rest.is_none() && self.unmeasured().next().is_none();
        let on = self.recovers();
        on && idle && self.state == RoomState::Training && self.done.is_empty()
    }

    /// Asks for rest, or has another reason for the one that was asked for.
    pub(super) fn ask_for_rest_too(&mut self, reason: String) {
        match &mut self.recovering.rest {
            None => self.ask_for_rest(reason),
            Some(others) if others.contains(&reason) => {}
            Some(others) => *others = format!("{others}, and {reason}"),
        }
    }

    fn ask_for_rest(&mut self, reason: String) {
        let Some(head) = self.ring().and_then(|plan| plan.order.first()) else {
            return;
        };
        let epoch = self.epoch;
        self.output
            .push_back((*head, ServerMessage::Rest { epoch }));
        self.recovering.rest = Some(reason);
    }
}
