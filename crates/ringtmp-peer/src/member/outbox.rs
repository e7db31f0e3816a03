//! What a member has to send and a link does not take yet.
//!
//! All gradients of a large model are there at once, and a link takes them one after the other: until then they wait here, as they
//! lie on the desk, in the order in which they were sent. How many there can be is the protocol's business: two pushes of each
//! range at most, and of each worker one answer to them. Messages without numbers wait for nothing.

use super::Shell;
use ringtmp_compute::Packed;
use ringtmp_core::ids::{PayloadId, PeerId};
use ringtmp_core::parameter_server::{Frame, Input, MemberIndex, Message};
use ringtmp_core::time::Time;
use ringtmp_core::wire::Lane;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A message on its way.
struct Letter {
    /// When it was ready to go, in the room's time: from then on the others wait for a link.
    sent: Option<Time>,
    message: Message,
    numbers: Option<Arc<Packed>>,
}

/// Letters by whom they are for; none without any.
#[derive(Default)]
pub(super) struct Outbox(BTreeMap<PeerId, VecDeque<Letter>>);

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For whom there is something.
    pub(super) fn whom(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.0.keys().copied()
    }

    fn put(&mut self, to: PeerId, letter: Letter) {
        self.0.entry(to).or_default().push_back(letter);
    }

    /// The next for one whose link has room, if there is any.
    fn take(&mut self, has_room: impl Fn(PeerId) -> bool) -> Option<(PeerId, Letter)> {
        let to = self.whom().find(|to| has_room(*to))?;
        let letters = self.0.get_mut(&to)?;
        let letter = letters.pop_front();
        if letters.is_empty() {
            self.0.remove(&to);
        }
        Some((to, letter?))
    }
}

impl Shell {
    /// Sends a message at once, or with its numbers as soon as the link takes them.
    pub(super) fn send(&mut self, to: MemberIndex, message: Message, payload: Option<PayloadId>) {
        let letter = Letter {
            sent: self.log.stamp(self.clock.now()),
            message,
            numbers: payload.map(|payload| self.desk.get(payload)),
        };
        let peer = self.peer_id(to);
        match message.lane() {
            Lane::Control => self.queue(peer, &letter),
            Lane::Tensors => self.outbox.put(peer, letter),
        }
    }

    /// Gives links what they have room for; whether there was anything.
    pub(super) fn send_waiting(&mut self) -> bool {
        let mut any = false;
        while let Some((to, letter)) = self.outbox.take(|to| self.links.has_room(to)) {
            self.queue(to, &letter);
            any = true;
        }
        any
    }

    fn queue(&mut self, to: PeerId, letter: &Letter) {
        let message = &letter.message;
        let bytes = letter.numbers.as_ref();
        let bytes = bytes.map_or(&[][..], |packed| &packed.bytes);
        let queued = Frame::write(letter.sent, message, bytes)
            .map_err(|error| error.to_string())
            .and_then(|frame| {
                let queued = self.links.send(to, message.lane(), frame);
                queued.map_err(|error| error.to_string())
            });
        if let Err(reason) = queued {
            let peer = self.member_of(to);
            let lost = Input::LinkLost { peer, reason };
            self.member.handle(self.clock.now(), lost);
        }
    }
}
