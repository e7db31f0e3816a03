//! Of which past what members hold is, and what came of losses.

use super::{PASTS_MAX, Recovering};
use crate::ids::{Epoch, Version};
use crate::parameter_server::TeamStart;
use crate::signal::{Holding, RECOVERIES_SHOWN_MAX, Recovery, RoomPlan, RoomState};
use crate::time::Time;

/// The newest version that is not given up with a team's plan that begins so.
pub(in crate::room) const fn newest_under(start: TeamStart) -> Version {
    match start {
        // Nothing that was made is given up.
        TeamStart::Held { .. } => Version(u32::MAX),
        start => Version(start.step().0),
    }
}

impl Recovering {
    /// What was at work under a server before this one.
    pub(in crate::room) fn goes_on_from(
        &mut self,
        plan: &RoomPlan,
        began: bool,
        paused: bool,
        stable: Option<Version>,
    ) {
        self.pasts = vec![plan.epoch()];
        if !began {
            let (pasts, start) = match plan {
                RoomPlan::Ring(plan) => (&plan.pasts, plan.start),
                RoomPlan::Team(plan) => (&plan.pasts, newest_under(plan.start)),
            };
            self.pasts.extend(pasts.iter().copied().take(PASTS_MAX));
            self.newest = Some(start);
        }
        (self.was_paused, self.stable) = (paused, stable);
    }

    /// A plan is handed out that has not begun.
    pub(in crate::room) fn handed_out(&mut self, epoch: Epoch, from: Version) {
        self.pasts.push(epoch);
        let newest = self.newest.get_or_insert(from);
        *newest = from.min(*newest);
    }

    /// Of which past the next plan is.
    pub(in crate::room) fn pasts(&self) -> &[Epoch] {
        &self.pasts
    }

    /// Whether what somebody holds is of the past that the run goes on from.
    pub(in crate::room) fn is_of_the_past(&self, holding: &Holding) -> bool {
        self.pasts.contains(&holding.under)
    }

    /// What is newer was given up with a plan that never began.
    pub(in crate::room) fn newest_of_the_past(&self) -> Option<Version> {
        self.newest
    }

    /// Puts down what a loss came to. One on the way is part of the same recovery.
    pub(in crate::room) fn note(&mut self, recovery: Recovery) {
        let recoveries = &mut self.recoveries;
        if recoveries.last().is_some_and(|last| last.seconds.is_none()) {
            recoveries.pop();
        }
        recoveries.push(recovery);
        let longest = recoveries.len().saturating_sub(RECOVERIES_SHOWN_MAX);
        recoveries.drain(..longest);
    }

    /// All are ready: what the room is in now.
    pub(in crate::room) fn over(&mut self, now: Time) -> RoomState {
        let newest = self.pasts.len().saturating_sub(1);
        self.pasts.drain(..newest);
        self.newest = None;
        self.asleep.clear();
        if let (Some(began), Some(last)) = (self.began.take(), self.recoveries.last_mut()) {
            last.seconds = Some(now.since(began).as_secs_f64());
        }
        if std::mem::take(&mut self.was_paused) {
            RoomState::Paused
        } else {
            RoomState::Training
        }
    }
}
