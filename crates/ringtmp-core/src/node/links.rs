//! The part of a node that makes links and greets its neighbours.

use super::{Event, HELLO_INTERVAL, LinkProgress, Node, Output};
use crate::ids::{Epoch, PeerId};
use crate::signal::{ClientMessage, DeviceKind, PROTOCOL_VERSION, Signal};
use crate::time::Time;
use crate::wire::{Body, Hello, WireError};

impl Node {
    /// A tab offers to a native peer, whose addresses it can then dial although its own are hidden; among equals the
    /// smaller id offers.
    pub(super) fn offers(&self, me: PeerId, other: PeerId) -> bool {
        match (self.kinds.get(&me), self.kinds.get(&other)) {
            (Some(DeviceKind::Tab), Some(DeviceKind::Native)) => true,
            (Some(DeviceKind::Native), Some(DeviceKind::Tab)) => false,
            _ => me < other,
        }
    }

    pub(super) fn link_up(&mut self, now: Time, peer: PeerId) {
        match self
            .active
            .as_mut()
            .and_then(|active| active.links.get_mut(&peer))
        {
            Some(link) => {
                (link.up, link.lost) = (true, false);
                link.hello_due = Some(now + HELLO_INTERVAL);
                self.greet(peer);
                self.say_ready();
            }
            // Until the room halts its other end.
            None if self.left_linked.contains(&peer) => {}
            None => self.output.push_back(Output::Disconnect { peer }),
        }
    }

    pub(super) fn greet(&mut self, peer: PeerId) {
        let (Some(identity), Some(active)) = (&self.identity, &self.active) else {
            return;
        };
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            room: identity.room,
            peer: identity.me,
        };
        let epoch = active.plan.epoch;
        self.output.push_back(Output::Send {
            to: peer,
            epoch,
            body: Body::Hello(hello),
            payload: None,
        });
    }

    /// Greets again whoever has not answered.
    pub(super) fn greet_again(&mut self, now: Time) {
        let links = self
            .active
            .iter_mut()
            .flat_map(|active| active.links.iter_mut());
        let due = links.filter(|(_, link)| link.hello_due.is_some_and(|due| now >= due));
        let peers: Vec<PeerId> = due
            .map(|(peer, link)| {
                link.hello_due = Some(now + HELLO_INTERVAL);
                *peer
            })
            .collect();
        peers.into_iter().for_each(|peer| self.greet(peer));
    }

    /// Hands on what a neighbour under this plan has to say of our link.
    pub(super) fn signalled(&mut self, from: PeerId, signal: Signal) {
        let expected = self.active.as_ref().is_some_and(|active| {
            active.plan.epoch == signal.epoch() && active.links.contains_key(&from)
        });
        if expected {
            self.output.push_back(Output::Deliver { from, signal });
        }
    }

    /// A device that is not let near the run, whoever else would take it: not a link that may come back.
    pub(super) fn link_unproved(&mut self, peer: PeerId, reason: &str) {
        let active = self.active.as_ref();
        if active.is_some_and(|active| active.links.contains_key(&peer)) {
            self.blame(peer, format!("link to {}: {reason}", self.name(peer)));
        }
    }

    pub(super) fn link_lost(&mut self, peer: PeerId, reason: String) {
        let recovers = self.recovers();
        let Some(active) = &mut self.active else {
            return;
        };
        let Some(link) = active.links.get_mut(&peer) else {
            return;
        };
        *link = LinkProgress {
            lost: true,
            ..LinkProgress::default()
        };
        let epoch = active.plan.epoch;
        let is_over = active.training.is_over();
        let was_watched = match &mut active.beats {
            Some(beats) => beats.lost(peer),
            None => !active.training.has_begun(),
        };
        self.output.push_back(Output::Event(Event::LinkFailed {
            peer,
            reason: reason.clone(),
        }));
        if !recovers && !is_over {
            self.fail(format!("link to {}: {reason}", self.name(peer)));
        } else if recovers && was_watched {
            self.output.push_back(Output::Disconnect { peer });
            let lost = ClientMessage::LinkLost {
                epoch,
                peer,
                reason,
            };
            self.tell(lost);
        }
    }

    pub(super) fn hello(&mut self, from: PeerId, epoch: Epoch, hello: &Hello) {
        let Some(identity) = &self.identity else {
            return;
        };
        let fault = if hello.protocol != PROTOCOL_VERSION {
            let error = WireError::Version {
                ours: PROTOCOL_VERSION,
                theirs: hello.protocol,
            };
            Some(error.to_string())
        } else if hello.room != identity.room || hello.peer != from {
            Some("the device at the other end is not the one the room named".to_owned())
        } else {
            None
        };
        if let Some(fault) = fault {
            return self.blame(from, format!("link to {}: {fault}", self.name(from)));
        }
        let Some(link) = self
            .under(epoch)
            .and_then(|active| active.links.get_mut(&from))
        else {
            return;
        };
        if !link.greeted {
            link.greeted = true;
            link.hello_due = None;
            // It is there now, so this greeting cannot be lost as an earlier one may have been.
            self.greet(from);
            self.output
                .push_back(Output::Event(Event::LinkOpen { peer: from }));
            self.say_ready();
            self.send_pieces();
        }
    }
}
