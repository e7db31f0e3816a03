//! The beats of a node: see [`crate::beats`].

use super::{Node, Output};
use crate::ids::{Epoch, PeerId};
use crate::signal::ClientMessage;
use crate::time::Time;
use crate::wire::Body;
use std::time::Duration;

impl Node {
    /// Something has come from a neighbour, which so is there.
    pub(super) fn heard(&mut self, now: Time, from: PeerId, body: Option<&Body>) {
        let task = match body {
            Some(Body::Beat { task_millis }) => Some(Duration::from_millis((*task_millis).into())),
            _ => None,
        };
        if let Some(beats) = self
            .active
            .as_mut()
            .and_then(|active| active.beats.as_mut())
        {
            beats.heard(now, from, task);
        }
    }

    /// The room no longer hears a neighbour.
    pub(super) fn doubt(&mut self, now: Time, epoch: Epoch, peer: PeerId) {
        let active = self.under(epoch);
        if let Some(beats) = active.and_then(|active| active.beats.as_mut()) {
            beats.doubt(now, peer);
        }
    }

    /// A neighbour has answered the room.
    pub(super) fn vouched_for(&mut self, epoch: Epoch, peer: PeerId) {
        let active = self.under(epoch);
        if let Some(beats) = active.and_then(|active| active.beats.as_mut()) {
            beats.vouch(peer);
        }
    }

    pub(super) fn task_ended(&mut self, now: Time) {
        if let Some(beats) = self
            .active
            .as_mut()
            .and_then(|active| active.beats.as_mut())
        {
            beats.task_ended(now);
        }
    }

    /// Sends the beats that are due. `quiet` if nothing else is waiting to be handled: only then is silence silence.
    pub(super) fn beat(&mut self, now: Time, quiet: bool) {
        let Some(active) = &mut self.active else {
            return;
        };
        let Some(beats) = &mut active.beats else {
            return;
        };
        let held_up = beats.turn(now);
        if let Some((task_millis, to)) = beats.take_due(now) {
            let epoch = active.plan.epoch;
            let beat = |to| Output::Send {
                to,
                epoch,
                body: Body::Beat { task_millis },
                payload: None,
            };
            self.output.extend(to.into_iter().map(beat));
        }
        let updates = active.training.schedule.updates();
        let is_overdue = active.keeping.is_overdue(now, updates, held_up);
        if !quiet {
            return;
        }
        if is_overdue {
            return self.blame_for_copies();
        }
        let epoch = active.plan.epoch;
        let suspects = beats.suspects(now).into_iter();
        let told = suspects.map(|peer| Output::ToRoom(ClientMessage::Suspect { epoch, peer }));
        self.output.extend(told);
        if let Some((peer, silence)) = beats.silent(now) {
            let seconds = silence.as_secs_f64();
            self.link_lost(peer, format!("nothing was heard for {seconds:.1} s"));
        }
    }
}
