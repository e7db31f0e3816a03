//! The links of a peer, read as one stream.

use super::Shell;
use crate::progress::Progress;
use futures::stream::{LocalBoxStream, SelectAll, StreamExt};
use ringtmp_core::ids::{Epoch, PeerId};
use ringtmp_core::node::Input;
use ringtmp_core::signal::{ClientMessage, LinkTraffic};
use ringtmp_core::wire::Lane;
use ringtmp_transport::{
    ConnectRole, ConnectorEvent, Link, LinkError, LinkReceiver, LinkSender, Traffic,
};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::Poll;

/// A frame from a neighbour, or why there will be no more.
#[derive(Debug)]
pub(crate) struct LinkEvent {
    pub(crate) peer: PeerId,
    pub(crate) frame: Result<Vec<u8>, LinkError>,
}

struct Tagged {
    generation: u64,
    event: LinkEvent,
}

/// One end of a link, for sending.
struct Outgoing {
    generation: u64,
    sender: LinkSender,
    /// What it had moved when training began, once it has.
    before: Option<Traffic>,
    /// What had come over it when that was last asked.
    received: u64,
}

/// Links by peer. A frame stays in its link's own bounded queue until it is asked for.
#[derive(Default)]
pub(crate) struct Links {
    senders: BTreeMap<PeerId, Outgoing>,
    receivers: SelectAll<LocalBoxStream<'static, Tagged>>,
    generation: u64,
}

impl Links {
    /// Adds a link; an older one to the same peer is closed.
    pub(crate) fn add(&mut self, peer: PeerId, link: Link) {
        self.remove(peer);
        self.generation += 1;
        let generation = self.generation;
        let outgoing = Outgoing {
            generation,
            sender: link.sender,
            before: None,
            received: 0,
        };
        self.senders.insert(peer, outgoing);
        self.receivers.push(frames(peer, generation, link.receiver));
    }

    /// Closes a link.
    pub(crate) fn remove(&mut self, peer: PeerId) {
        if let Some(outgoing) = self.senders.remove(&peer) {
            outgoing.sender.close();
        }
    }

    /// Counts from now on what is not counted yet: training begins, and what links were measured with is no part of it.
    pub(crate) fn count_from_now(&mut self) {
        for outgoing in self.senders.values_mut() {
            outgoing
                .before
                .get_or_insert_with(|| outgoing.sender.traffic());
        }
    }

    /// Waits for the next frame or end of a link that is still ours.
    pub(crate) async fn next(&mut self) -> LinkEvent {
        loop {
            let Some(Tagged { generation, event }) = self.receivers.next().await else {
                // No links: nothing will come until there are.
                std::future::pending().await
            };
            let current = self
                .senders
                .get(&event.peer)
                .is_some_and(|outgoing| outgoing.generation == generation);
            if current {
                if event.frame.is_err() {
                    self.senders.remove(&event.peer);
                }
                return event;
            }
        }
    }

    /// Queues a frame.
    pub(crate) fn send(&self, to: PeerId, lane: Lane, frame: Vec<u8>) -> Result<(), LinkError> {
        match self.senders.get(&to) {
            Some(outgoing) => outgoing.sender.queue(lane, frame),
            // The node hears of the loss before it reads on; what it sent meanwhile goes the way of the link.
            None => Ok(()),
        }
    }

    /// Whether a link takes another frame of numbers now. One that is gone takes, and drops, any.
    pub(crate) fn has_room(&self, to: PeerId) -> bool {
        let sender = self.senders.get(&to);
        sender.is_none_or(|outgoing| outgoing.sender.has_room())
    }

    /// Waits until one of the links to these does, or is gone; where there are none, for ever.
    pub(crate) fn room<I: Iterator<Item = PeerId>>(
        &self,
        to: I,
    ) -> impl Future<Output = ()> + use<I> {
        let senders = to.filter_map(|peer| self.senders.get(&peer));
        let senders: Vec<LinkSender> = senders.map(|outgoing| outgoing.sender.clone()).collect();
        poll_fn(move |context| {
            // All of them are asked, so that each wakes this task.
            let rooms = senders.iter().map(|sender| sender.poll_room(context));
            match rooms.filter(Poll::is_ready).count() {
                0 => Poll::Pending,
                _ => Poll::Ready(()),
            }
        })
    }

    pub(crate) fn peers(&self) -> Vec<PeerId> {
        self.senders.keys().copied().collect()
    }

    /// From whom bytes have come since this was last asked.
    pub(crate) fn stirred(&mut self) -> Vec<PeerId> {
        let mut all = Vec::new();
        for (peer, outgoing) in &mut self.senders {
            let received = outgoing.sender.traffic().received;
            if received > outgoing.received {
                outgoing.received = received;
                all.push(*peer);
            }
        }
        all
    }

    /// What each link has moved since training began.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (PeerId, Traffic)> + '_ {
        self.senders.iter().map(|(peer, outgoing)| {
            let moved = outgoing.sender.traffic();
            let before = outgoing.before.unwrap_or(moved);
            let since = Traffic {
                sent: moved.sent - before.sent,
                received: moved.received - before.received,
                ..moved
            };
            (*peer, since)
        })
    }

    /// Bytes sent, for the room.
    pub(crate) fn traffic(&self) -> Vec<LinkTraffic> {
        self.counts().map(told).collect()
    }

    /// What each link will have moved once all that waits has left: a device that has finished reports before that.
    pub(crate) fn counts_in_the_end(&self) -> impl Iterator<Item = (PeerId, Traffic)> + '_ {
        self.counts().map(|(peer, traffic)| {
            let sent = traffic.sent + traffic.queued;
            (peer, Traffic { sent, ..traffic })
        })
    }

    /// The same, for the room.
    pub(crate) fn traffic_in_the_end(&self) -> Vec<LinkTraffic> {
        self.counts_in_the_end().map(told).collect()
    }
}

fn told((to, traffic): (PeerId, Traffic)) -> LinkTraffic {
    LinkTraffic {
        to,
        bytes: traffic.sent,
        relayed: traffic.relayed,
    }
}

fn frames(
    peer: PeerId,
    generation: u64,
    receiver: LinkReceiver,
) -> LocalBoxStream<'static, Tagged> {
    futures::stream::unfold(Some(receiver), move |receiver| async move {
        let mut receiver = receiver?;
        let received = receiver.receive().await;
        let rest = received.is_ok().then_some(receiver);
        let frame = received.map(|(_, frame)| frame);
        Some((
            Tagged {
                generation,
                event: LinkEvent { peer, frame },
            },
            rest,
        ))
    })
    .boxed_local()
}

impl Shell {
    /// Starts to make a link to a neighbour, in the place of an older one.
    pub(super) fn connect(&mut self, peer: PeerId, offer: bool, epoch: Epoch) {
        let role = if offer {
            ConnectRole::Offer
        } else {
            ConnectRole::Answer
        };
        self.links.remove(peer);
        self.connector.connect(peer, role, epoch);
    }

    /// Something has come of it.
    pub(super) fn connector_said(
        &mut self,
        event: ConnectorEvent,
        progress: &mut Progress,
    ) -> Option<Input> {
        match event {
            ConnectorEvent::Signal { to, signal } => {
                self.tell_room(&ClientMessage::Signal { to, signal }, progress);
                None
            }
            ConnectorEvent::Connected { peer, link } => {
                self.links.add(peer, link);
                Some(Input::LinkUp { peer })
            }
            ConnectorEvent::Failed { peer, error } => {
                self.links.remove(peer);
                let reason = error.to_string();
                Some(match error {
                    LinkError::Unproved(_) => Input::LinkUnproved { peer, reason },
                    _ => Input::LinkLost { peer, reason },
                })
            }
        }
    }
}
