//! The connector: makes links to named peers.
//!
//! Each [`Connector::connect`] starts one **attempt**, a task of the platform that exchanges [`Signal`]s with the peer,
//! reports [`ConnectorEvent::Connected`] or [`ConnectorEvent::Failed`], and then moves chunks until the link ends. Here is
//! what platforms share: which attempt a signal belongs to, what is kept for an attempt that has not begun (how
//! long it may take is in `limits`).

use crate::error::LinkError;
use crate::link::{Endpoint, Link};
use crate::proving::{Guard, Proved, Proving};
use crate::{loopback, platform, stall};
use futures::channel::mpsc;
use futures::future::{Either, join, select};
use futures::{SinkExt, StreamExt};
use ringtmp_core::ids::{Epoch, PeerId};
use ringtmp_core::secret::{LinkKey, Opened};
use ringtmp_core::signal::{ICE_SERVERS_MAX, IceServer, Signal};
use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most signals of one peer that wait: a description and its candidates, of which a device has one per address.
const SIGNALS_MAX: usize = 64;

/// The most peers for which an offer is kept until [`Connector::connect`] is called; a peer has two neighbours.
const PARKED_PEERS_MAX: usize = 64;

/// The most events that wait for the owner; attempts wait when it is full.
const EVENTS_MAX: usize = 64;

/// Which end describes the connection first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(target_arch = "wasm32", derive(serde::Serialize, serde::Deserialize))]
pub enum ConnectRole {
    /// This one.
    Offer,
    /// The peer.
    Answer,
}

/// What happens at a [`Connector`].
#[derive(Debug)]
pub enum ConnectorEvent {
    /// Send this to the peer, through the signalling server.
    Signal {
        /// The peer.
        to: PeerId,
        /// The message.
        signal: Signal,
    },
    /// Both lanes are open.
    Connected {
        /// The peer.
        peer: PeerId,
        /// The link to it.
        link: Link,
    },
    /// There will be no link, unless [`Connector::connect`] is called again.
    Failed {
        /// The peer.
        peer: PeerId,
        /// Why.
        error: LinkError,
    },
}

/// Makes links to named peers, at most one to each. Dropping it closes them all.
pub struct Connector {
    backend: Backend,
    /// None where links are made without a proof.
    guard: Option<Guard>,
    book: Mutex<Book>,
    ice_servers: Mutex<Vec<IceServer>>,
    events: mpsc::Receiver<ConnectorEvent>,
    events_sender: mpsc::Sender<ConnectorEvent>,
}

/// What makes the links.
pub(crate) enum Backend {
    Platform(platform::Backend),
    Loopback(loopback::Backend),
}

impl Connector {
    pub(crate) fn new(backend: Backend) -> Self {
        let (events_sender, events) = mpsc::channel(EVENTS_MAX);
        Self {
            backend,
            guard: None,
            book: Mutex::default(),
            ice_servers: Mutex::default(),
            events,
            events_sender,
        }
    }

    /// Servers by which links may be made that are made from now on, at most [`ICE_SERVERS_MAX`]; those that cannot be ones are
    /// left out. Without any, only devices that reach each other by themselves are linked.
    pub fn reach_through(&self, mut servers: Vec<IceServer>) {
        servers.retain(|server| match server.check() {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(?server, %error, "the signalling server names what is no ICE server");
                false
            }
        });
        servers.truncate(ICE_SERVERS_MAX);
        let known = self.ice_servers.lock();
        *known.unwrap_or_else(PoisonError::into_inner) = servers;
    }

    /// From now on makes links only to peers that prove that they know the room's secret, and proves it to them: see
    /// [`ringtmp_core::secret`]. `me` is this peer's id in the room.
    pub fn guard(&mut self, key: LinkKey, me: PeerId) {
        self.guard = Some(Guard { key, me });
    }

    /// Starts to connect to a peer, for the plan of an epoch. The peer does the same in the other role. An older link or
    /// attempt is closed. On native it must be called within a tokio runtime.
    pub fn connect(&self, peer: PeerId, role: ConnectRole, epoch: Epoch) {
        let (signals_sender, signals) = mpsc::channel(SIGNALS_MAX);
        let endpoint = Endpoint::new();
        let begun = Proving::begin(self.guard.as_ref(), peer, role, epoch);
        let (proving, proved) = begun.unwrap_or_else(|error| {
            // The attempt finds its end before it has begun, and reports it.
            endpoint.end(error);
            Default::default()
        });
        let entry = Entry {
            role,
            epoch,
            offered: false,
            signals: signals_sender,
            endpoint: endpoint.clone(),
            proving: proving.clone(),
            events: self.events_sender.clone(),
        };
        self.lock().begin(peer, entry);
        let attempt = Attempt {
            peer,
            role,
            epoch,
            signals,
            endpoint,
            ice_servers: self.ice_servers(),
            proving,
            proved,
            events: self.events_sender.clone(),
        };
        match &self.backend {
            Backend::Platform(backend) => backend.start(attempt),
            Backend::Loopback(backend) => backend.start(attempt),
        }
    }

    /// Takes a message that the signalling server relayed. It waits, within bounds, for [`Connector::connect`] of its epoch;
    /// one of an older epoch is dropped, one that cannot be used makes the attempt fail.
    pub fn deliver(&self, from: PeerId, signal: Signal) {
        self.lock().deliver(from, signal);
    }

    /// Closes the link to a peer, or gives the attempt up. No event follows.
    pub fn disconnect(&self, peer: PeerId) {
        let mut book = self.lock();
        book.parked.remove(&peer);
        if let Some(entry) = book.entries.remove(&peer) {
            entry.endpoint.end(LinkError::CLOSED_BY_US);
        }
    }

    /// Waits for the next event. Dropping the future loses nothing.
    pub async fn next(&mut self) -> ConnectorEvent {
        match self.events.next().await {
            Some(event) => event,
            // Not reached while we hold a sender ourselves.
            None => std::future::pending().await,
        }
    }

    /// Bytes that its emulated access link has carried, both ways.
    #[cfg(all(test, not(target_arch = "wasm32")))]
    pub(crate) fn carried_by_access_link(&self) -> u64 {
        match &self.backend {
            Backend::Platform(backend) => backend.carried(),
            Backend::Loopback(_) => 0,
        }
    }

    fn ice_servers(&self) -> Vec<IceServer> {
        let servers = self.ice_servers.lock();
        servers.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        for entry in self.lock().entries.values() {
            entry.endpoint.end(LinkError::CLOSED_BY_US);
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("peers", &self.lock().entries.keys())
            .finish_non_exhaustive()
    }
}

/// Which attempt a signal belongs to.
#[derive(Default)]
struct Book {
    entries: BTreeMap<PeerId, Entry>,
    /// Per peer, an offer and the candidates that came after it, at most [`SIGNALS_MAX`] in all. Nothing else can be of
    /// use to an attempt that has not begun: whoever answers speaks only after our offer.
    parked: BTreeMap<PeerId, Vec<Signal>>,
}

struct Entry {
    role: ConnectRole,
    epoch: Epoch,
    offered: bool,
    signals: mpsc::Sender<Signal>,
    endpoint: Endpoint,
    proving: Proving,
    /// Of its own, so that there is always place for the one thing that is said here.
    events: mpsc::Sender<ConnectorEvent>,
}

impl Entry {
    /// Has the attempt take what comes from its peer, once it is proved.
    fn take(&mut self, from: PeerId, signal: Signal) {
        let signal = match self.proving.open(signal) {
            Ok(Opened::Pass(signal)) => signal,
            Ok(Opened::Answered { answer, confirm }) => {
                let signal = confirm;
                let said = self
                    .events
                    .try_send(ConnectorEvent::Signal { to: from, signal });
                if said.is_err_and(|error| error.is_full()) {
                    return self
                        .endpoint
                        .end(LinkError::device("too much waits to be said"));
                }
                answer
            }
            Ok(Opened::Confirmed) => return,
            Err(error) => return self.doubts(from, error.into()),
        };
        self.endpoint.hear();
        let passed = self.signals.try_send(signal);
        if passed.is_err_and(|error| error.is_full()) {
            let error = LinkError::signal("more of them than a connection needs");
            self.endpoint.end(error);
        }
    }

    /// Something that was not proved. It ends an attempt; a link that stands does not need it.
    fn doubts(&self, from: PeerId, error: LinkError) {
        if self.proving.is_sure() {
            tracing::warn!(%from, %error, "ignored");
        } else {
            self.endpoint.end(error);
        }
    }
}

impl Book {
    fn begin(&mut self, peer: PeerId, entry: Entry) {
        self.entries.retain(|_, entry| !entry.endpoint.has_ended());
        let epoch = entry.epoch;
        if let Some(older) = self.entries.insert(peer, entry) {
            older.endpoint.end(LinkError::CLOSED_BY_US);
        }
        let parked = self.parked.remove(&peer).unwrap_or_default();
        if parked.first().is_some_and(|offer| offer.epoch() >= epoch) {
            parked
                .into_iter()
                .for_each(|signal| self.deliver(peer, signal));
        }
    }

    fn deliver(&mut self, from: PeerId, signal: Signal) {
        let epoch = signal.epoch();
        let is_offer = matches!(signal, Signal::Offer { .. });
        let Some(entry) = self.entries.get_mut(&from) else {
            return self.park(from, signal);
        };
        if epoch < entry.epoch {
            return;
        }
        if epoch == entry.epoch
            && let Err(error) = entry.proving.check_offer(&signal)
        {
            return entry.doubts(from, error.into());
        }
        let begins_anew = is_offer && entry.role == ConnectRole::Answer && entry.offered;
        if epoch > entry.epoch || entry.endpoint.has_ended() || begins_anew {
            if begins_anew && epoch == entry.epoch {
                // The peer has given the old link up; the owner learns of it here, before its network may.
                entry.endpoint.end(LinkError::CLOSED_BY_PEER);
            }
            return self.park(from, signal);
        }
        entry.offered |= is_offer;
        entry.take(from, signal);
    }

    fn park(&mut self, from: PeerId, signal: Signal) {
        match signal {
            Signal::Offer { .. }
                if self.parked.len() < PARKED_PEERS_MAX || self.parked.contains_key(&from) =>
            {
                self.parked.insert(from, vec![signal]);
            }
            Signal::Candidate { epoch, .. } => {
                if let Some(parked) = self.parked.get_mut(&from)
                    && parked.first().is_some_and(|offer| offer.epoch() == epoch)
                    && parked.len() < SIGNALS_MAX
                {
                    parked.push(signal);
                }
            }
            Signal::Offer { .. } => {
                tracing::warn!(%from, "too many peers offer a connection that nobody expects");
            }
            Signal::Answer { .. } | Signal::Confirm { .. } => {
                tracing::debug!(%from, "an answer to no offer, or its confirmation");
            }
        }
    }
}

/// One attempt to connect, and the link that comes of it, as a platform's task sees it.
pub(crate) struct Attempt {
    pub(crate) peer: PeerId,
    pub(crate) role: ConnectRole,
    pub(crate) epoch: Epoch,
    /// Messages from the peer; ends when the attempt is given up.
    pub(crate) signals: mpsc::Receiver<Signal>,
    pub(crate) endpoint: Endpoint,
    /// By which it may go.
    pub(crate) ice_servers: Vec<IceServer>,
    proving: Proving,
    /// To be waited for before there is a link: see [`within_limits`](crate::limits::within_limits).
    proved: Proved,
    events: mpsc::Sender<ConnectorEvent>,
}

/// Sends an attempt's signals, all under its epoch, and proved.
#[derive(Clone)]
pub(crate) struct SignalSender {
    peer: PeerId,
    epoch: Epoch,
    proving: Proving,
    events: mpsc::Sender<ConnectorEvent>,
}

impl Attempt {
    /// The messages from the peer, for a future that lives beside the attempt.
    pub(crate) fn take_signals(&mut self) -> mpsc::Receiver<Signal> {
        std::mem::replace(&mut self.signals, mpsc::channel(0).1)
    }

    /// A way to the peer, beside the attempt itself.
    pub(crate) fn signal_sender(&self) -> SignalSender {
        SignalSender {
            peer: self.peer,
            epoch: self.epoch,
            proving: self.proving.clone(),
            events: self.events.clone(),
        }
    }

    /// What is to be waited for before there is a link.
    pub(crate) fn take_proved(&mut self) -> Proved {
        std::mem::take(&mut self.proved)
    }

    /// Tells the owner how connecting went; false if there is no link to serve.
    pub(crate) async fn report(&mut self, outcome: Result<(), LinkError>) -> bool {
        let peer = self.peer;
        let event = match outcome {
            Ok(()) => ConnectorEvent::Connected {
                peer,
                link: self.endpoint.link(),
            },
            Err(LinkError::CLOSED_BY_US) => return false,
            Err(error) => {
                self.endpoint.end(error.clone());
                ConnectorEvent::Failed { peer, error }
            }
        };
        let connected = matches!(event, ConnectorEvent::Connected { .. });
        // When nobody listens any more, the link in the event is dropped here and thereby closed.
        self.events.send(event).await.is_ok() && connected
    }
}

impl SignalSender {
    pub(crate) async fn offer(&mut self, sdp: String) {
        let epoch = self.epoch;
        self.send(Signal::offer(epoch, sdp)).await;
    }

    pub(crate) async fn answer(&mut self, sdp: String) {
        let epoch = self.epoch;
        self.send(Signal::answer(epoch, sdp)).await;
    }

    #[cfg_attr(
        target_arch = "wasm32",
        expect(dead_code, reason = "the page sends whole signals")
    )]
    pub(crate) async fn candidate(&mut self, candidate: String, mid: Option<String>) {
        let epoch = self.epoch;
        self.send(Signal::Candidate {
            epoch,
            candidate,
            mid,
        })
        .await;
    }

    pub(crate) async fn send(&mut self, signal: Signal) {
        let signal = self.proving.seal(signal);
        // An error means that the owner is gone, which ends the link by itself.
        let _ = self
            .events
            .send(ConnectorEvent::Signal {
                to: self.peer,
                signal,
            })
            .await;
    }
}

/// Runs a link's pumps until it ends, by itself or since the peer has stopped reading.
pub(crate) async fn until_ended(endpoint: &Endpoint, pumps: impl Future) {
    let watched = join(pumps, stall::watch(endpoint));
    match select(pin!(endpoint.ended()), pin!(watched)).await {
        Either::Left(_) => {}
        // Pumps end only when they have ended the link.
        Either::Right((_, ended)) => drop(ended.await),
    }
}
