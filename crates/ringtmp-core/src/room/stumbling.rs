//! Members whose devices have lost what they held, as a GPU that was reset: nobody is to blame, and their copies are left.

use super::{REASON_CHARS_MAX, Room};
use crate::ids::{Epoch, PeerId};
use crate::signal::ExecutorKind;
use crate::time::Time;

/// A device that stumbles so often, without a stable version between, is done without.
pub(super) const STUMBLES_MAX: u32 = 2;

impl Room {
    /// A member's device has to be made ready again.
    pub(super) fn stumbled(&mut self, now: Time, from: PeerId, epoch: Epoch, reason: &str) {
        if !self.active(from, epoch) {
            return;
        }
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        let reason = format!("{}: {reason}", self.name(from));
        let stumbles = self.recovering.stumbles.entry(from).or_default();
        *stumbles += 1;
        if *stumbles >= STUMBLES_MAX {
            self.cut_out(now, from, reason);
        } else {
            self.lost(now, reason);
        }
    }

    /// Something else computes at a member than what it came with.
    pub(super) fn computes(&mut self, from: PeerId, executor: ExecutorKind, adapter: String) {
        if let Some(member) = self.members.iter_mut().find(|member| member.peer == from) {
            member.device.executor = executor;
            member.device.adapter = adapter;
            member.device = member.device.clone().clipped();
            self.show();
        }
    }
}
