//! Members and links at fault: who is cut out, and why.

use super::recovery::LINK_LOSSES_MAX;
use super::{REASON_CHARS_MAX, Room, WARM_UP_MAX};
use crate::ids::{Epoch, PeerId};
use crate::signal::RoomState;
use crate::time::Time;

impl Room {
    /// A peer cannot go on, or says that another is at fault.
    pub(super) fn failed(
        &mut self,
        now: Time,
        from: PeerId,
        epoch: Epoch,
        reason: &str,
        culprit: Option<PeerId>,
    ) {
        if !self.active(from, epoch) {
            return;
        }
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        let reason = format!("{}: {reason}", self.name(from));
        self.recovering.failures += 1;
        if !self.recovers() || self.recovering.failures > 1 {
            // Twice without any progress between: it is the run and not a device.
            return self.stop(reason);
        }
        let in_ring = |peer: &PeerId| self.active(*peer, epoch) && *peer != from;
        let culprit = culprit.filter(in_ring);
        let blamed = self.recovering.blamed.entry(from).or_default();
        blamed.extend(culprit);
        let blames_everybody = blamed.len() > 1;
        let culprit = culprit.filter(|_| !blames_everybody).unwrap_or(from);
        self.cut_out(now, culprit, reason);
    }

    /// Goes on without a member.
    pub(super) fn cut_out(&mut self, now: Time, peer: PeerId, reason: String) {
        if let Some(member) = self.members.iter_mut().find(|member| member.peer == peer) {
            member.cut_out = Some(reason.clone());
        }
        self.lost(now, reason);
    }

    /// Stages or links were not there in time.
    pub(super) fn not_ready_in_time(&mut self, now: Time) {
        let late: Vec<PeerId> = self.not_ready().map(|member| member.peer).collect();
        let names: Vec<String> = late.iter().map(|peer| self.name(*peer)).collect();
        let seconds = WARM_UP_MAX.as_secs();
        let reason = format!("not ready after {seconds} s: {}", names.join(", "));
        if self.recovers() {
            for member in &mut self.members {
                if late.contains(&member.peer) {
                    member.cut_out = Some(reason.clone());
                }
            }
        }
        self.lost(now, reason);
    }

    /// A peer has lost the link to a neighbour: it is made anew, but not for ever.
    pub(super) fn link_lost(
        &mut self,
        now: Time,
        from: PeerId,
        epoch: Epoch,
        to: PeerId,
        reason: &str,
    ) {
        if !self.active(from, epoch) || !self.active(to, epoch) || from == to {
            return;
        }
        let words: String = reason.chars().take(REASON_CHARS_MAX).collect();
        let reason = format!(
            "the link between {} and {} was lost: {words}",
            self.name(from),
            self.name(to)
        );
        if !self.recovers() {
            return self.stop(reason);
        }
        if self.is_away(to) {
            // Neither its neighbour nor the server hears it.
            return self.lose_sight(now, to);
        }
        let mut ends = [from, to];
        ends.sort_unstable();
        let losses = self.recovering.link_losses.entry(ends).or_default();
        *losses += 1;
        if *losses < LINK_LOSSES_MAX {
            return self.halt(now, reason, Some(to));
        }
        self.halt_unlinked(now, reason, to, ends);
    }

    /// Does without the worse linked of two members, unless one of them is gone by now: then it was that one.
    pub(super) fn separate(&mut self, ends: [PeerId; 2]) {
        let there = |peer: &PeerId| self.participants().any(|member| member.peer == *peer);
        if !ends.iter().all(there) {
            return;
        }
        let worse = self.worse_linked(ends);
        let reason = match &self.state {
            RoomState::Reconfiguring { reason } => reason.clone(),
            _ => "a link was lost again and again".to_owned(),
        };
        let mut members = self.members.iter_mut();
        if let Some(member) = members.find(|member| member.peer == worse) {
            member.cut_out = Some(reason);
        }
    }

    /// Of two members, that with more lost links; of equals, the one that came later.
    fn worse_linked(&self, ends: [PeerId; 2]) -> PeerId {
        let losses = |peer: PeerId| -> u32 {
            let all = self.recovering.link_losses.iter();
            let its = all.filter(|(ends, _)| ends.contains(&peer));
            its.map(|(_, losses)| losses).sum()
        };
        let came = |peer: PeerId| self.members.iter().position(|member| member.peer == peer);
        let [one, other] = ends;
        if (losses(one), came(one)) > (losses(other), came(other)) {
            one
        } else {
            other
        }
    }
}
