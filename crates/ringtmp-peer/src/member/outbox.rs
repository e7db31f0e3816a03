//! What a member has to send and a link does not take yet.
//!
//! All gradients of a large model are there at once, and a link takes them one after the other: until then they wait here, as they
//! lie on the desk, in the order in which they were sent. How many there can be is the protocol's business: two pushes of each
//! range at most, for each worker one answer to them, and copies of two versions. Messages without numbers wait for nothing.

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
    /// Whether there is anything that a run cannot end without: copies are none of that.
    pub(super) fn is_awaited(&self) -> bool {
        let mut letters = self.0.values().flatten();
        letters.any(|letter| !matches!(letter.message, Message::Copy(_)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use ringtmp_core::ids::Step;
    use ringtmp_core::parameter_server::{Copy, Numbers, RangeIndex, Weights};
    use ringtmp_core::wire::Codec;

    const NUMBERS: Numbers = Numbers {
        codec: Codec::F32,
        elements: 1,
    };

    fn weights(clock: u32) -> Letter {
        letter(Message::Weights(Weights {
            range: RangeIndex(0),
            clock: Step(clock),
            counted: clock,
            numbers: NUMBERS,
        }))
    }

    fn letter(message: Message) -> Letter {
        Letter {
            sent: None,
            message,
            numbers: None,
        }
    }

    #[test]
    fn who_is_slow_holds_nobody_else_back_and_each_gets_its_letters_in_order() {
        let [slow, fast] = [1, 2].map(PeerId);
        let mut outbox = Outbox::default();
        for clock in 0..3 {
            outbox.put(slow, weights(clock));
            outbox.put(fast, weights(clock + 10));
        }
        let mut taken = |whom: PeerId| {
            let taken = std::iter::from_fn(|| outbox.take(|to| to == whom));
            let said = taken.map(|(to, letter)| (to, letter.message));
            said.collect::<Vec<_>>()
        };
        let expected = |to, first: u32| {
            let all = (first..first + 3).map(|clock| (to, weights(clock).message));
            all.collect::<Vec<_>>()
        };
        assert_eq!(taken(fast), expected(fast, 10));
        assert_eq!(taken(slow), expected(slow, 0));
        assert_eq!(outbox.whom().count(), 0);
    }

    #[test]
    fn a_run_does_not_wait_for_copies_at_its_end() {
        let mut outbox = Outbox::default();
        let copy = Copy {
            range: RangeIndex(0),
            version: Step(2),
            updates: 2,
            slot: 0,
            numbers: NUMBERS,
        };
        outbox.put(PeerId(1), letter(Message::Copy(copy)));
        assert!(!outbox.is_awaited());
        outbox.put(PeerId(1), weights(3));
        assert!(outbox.is_awaited());
    }
}
