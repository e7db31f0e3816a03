//! What lies with two devices outlives the loss of one: whoever knows tells the room.

use crate::ids::{Epoch, PeerId, Version};
use crate::room::Room;
use crate::signal::RoomPlan;
use crate::time::Time;

impl Room {
    /// The head, or a team's collector, says that everything of this version lies with two devices.
    pub(in crate::room) fn stable(
        &mut self,
        now: Time,
        from: PeerId,
        epoch: Epoch,
        version: Version,
        every: u16,
        at_rest: bool,
    ) {
        let tells = match &self.plan {
            Some(RoomPlan::Ring(plan)) => plan.order.first().copied(),
            Some(RoomPlan::Team(plan)) => plan.collector(),
            None => None,
        };
        if tells != Some(from) || !self.active(from, epoch) {
            return;
        }
        let is_ring = self.is_ring();
        let recovering = &mut self.recovering;
        // A team tells the version that it goes on from as well: it lies twice again.
        let is_first = !is_ring && recovering.stable_under != Some(epoch);
        if is_first || recovering.stable.is_none_or(|stable| version > stable) {
            recovering.attempts = 0;
            recovering.failures = 0;
            recovering.link_losses.clear();
            recovering.stumbles.clear();
        }
        (recovering.stable, recovering.stable_under) = (Some(version), Some(epoch));
        recovering.every = Some(every);
        if at_rest && is_ring {
            // A server before this one may have asked for it, and the ring rests until it is put together anew.
            let unknown = || "the ring came to rest for a server that is gone".to_owned();
            let reason = recovering.rest.take().unwrap_or_else(unknown);
            self.halt(now, reason, None);
        }
        if !is_ring {
            self.spread_parts(now);
        }
    }

    /// The newest version that lies twice, if that was told under this plan.
    pub(in crate::room) fn stable_of_this_plan(&self) -> Option<Version> {
        let told = self.recovering.stable_under == Some(self.epoch);
        self.recovering.stable.filter(|_| told)
    }
}
