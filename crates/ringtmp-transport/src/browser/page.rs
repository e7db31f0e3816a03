//! The page's half: peer connections, made for the worker.

use super::description::{describe_locally, describe_remotely, try_candidate};
use super::event::{Changes, Listener, describe};
use super::path;
use super::port::{AttemptId, Ending, ToPage, ToWorker, package, read, tell};
use super::posted::PostedLane;
use super::spawn;
use crate::connector::ConnectRole;
use crate::negotiation::{Negotiation, Step};
use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::{join, join3, select};
use js_sys::{Function, Reflect};
use ringtmp_core::ids::Epoch;
use ringtmp_core::signal::{IceServer, Signal};
use ringtmp_core::wire::Lane;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{
    Event, MessagePort, RtcDataChannel, RtcDataChannelInit, RtcPeerConnection,
    RtcPeerConnectionIceEvent, RtcPeerConnectionState, RtcSdpType, Worker,
};

/// The most signals of an attempt that wait to be applied; the connector counts them as well.
const SIGNALS_MAX: usize = 64;

/// Where the data channels live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelMode {
    /// In the worker, if the browser can move them there; else as in [`ChannelMode::Post`].
    Transfer,
    /// On the page, which posts bytes to and fro.
    Post,
}

/// The connections of this page, made for the connector at the other end of a port. Dropping it closes them all, as does
/// the end of the page, so that neighbours notice at once.
pub struct Connections {
    half: Rc<Half>,
    _listeners: Vec<Listener>,
}

impl Connections {
    /// Serves the [`connector`](super::connector) at the other end of `port`. Channels are moved through `port` as well,
    /// which Chromium can do; prefer [`Connections::with_worker`].
    pub fn new(port: MessagePort, mode: ChannelMode) -> Self {
        Self::serve(port, None, mode)
    }

    /// Serves the [`connector`](super::connector) at the other end of `port`, in `worker`. Firefox moves channels only by way
    /// of the worker itself: messages come there that are arrays with channels in them, which the worker's own listener is
    /// to ignore.
    pub fn with_worker(port: MessagePort, worker: Worker, mode: ChannelMode) -> Self {
        Self::serve(port, Some(worker), mode)
    }

    fn serve(port: MessagePort, worker: Option<Worker>, mode: ChannelMode) -> Self {
        let half = Rc::new(Half {
            port,
            worker,
            mode: Cell::new(mode),
            connections: RefCell::default(),
        });
        let (hears, leaves) = (Rc::downgrade(&half), Rc::downgrade(&half));
        let mut listeners = vec![Listener::new(&half.port, "message", move |event| {
            if let Some(half) = hears.upgrade() {
                half.hear(&event);
            }
        })];
        if let Some(window) = web_sys::window() {
            listeners.push(Listener::new(&window, "pagehide", move |_| {
                if let Some(half) = leaves.upgrade() {
                    half.close_all();
                }
            }));
        }
        half.port.start();
        Self {
            half,
            _listeners: listeners,
        }
    }

    /// How channels are used now: [`ChannelMode::Post`] once this browser has shown that it cannot transfer them.
    pub fn mode(&self) -> ChannelMode {
        self.half.mode.get()
    }

    /// Connections and attempts that live.
    pub fn connections(&self) -> usize {
        self.half.connections.borrow().len()
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.half.close_all();
    }
}

struct Half {
    port: MessagePort,
    /// Where channels are moved to, if not through the port.
    worker: Option<Worker>,
    mode: Cell<ChannelMode>,
    /// One for each attempt or link of the worker.
    connections: RefCell<BTreeMap<AttemptId, Rc<Connection>>>,
}

impl Half {
    fn hear(self: &Rc<Self>, event: &Event) {
        let Some((message, attachments)) = read::<ToPage>(event) else {
            return;
        };
        let connection = |attempt| self.connections.borrow().get(&attempt).cloned();
        // An attempt that has failed here is still spoken of for a while.
        match message {
            ToPage::Hello => self.probe(),
            ToPage::Connect {
                attempt,
                role,
                epoch,
                ice_servers,
            } => self.connect(attempt, role, epoch, &ice_servers),
            ToPage::Signal { attempt, signal } => {
                if let Some(connection) = connection(attempt) {
                    connection.deliver(signal);
                }
            }
            ToPage::Close { attempt } => {
                if let Some(connection) = self.connections.borrow_mut().remove(&attempt) {
                    connection.close();
                }
            }
            ToPage::Data { attempt, lane } => {
                if let Some(lane) =
                    connection(attempt).and_then(|connection| connection.posted(lane.lane()))
                {
                    lane.queue(&attachments);
                }
            }
            ToPage::Credit {
                attempt,
                lane,
                bytes,
            } => {
                if let Some(lane) =
                    connection(attempt).and_then(|connection| connection.posted(lane.lane()))
                {
                    lane.credit(bytes);
                }
            }
            ToPage::PostOnly => self.mode.set(ChannelMode::Post),
        }
    }

    fn connect(
        self: &Rc<Self>,
        attempt: AttemptId,
        role: ConnectRole,
        epoch: Epoch,
        ice_servers: &[IceServer],
    ) {
        match Connection::open(self, attempt, epoch, ice_servers) {
            Ok((connection, signals)) => {
                let connection = Rc::new(connection);
                self.connections
                    .borrow_mut()
                    .insert(attempt, Rc::clone(&connection));
                spawn(run(connection, Negotiation::new(role), signals));
            }
            Err(thrown) => {
                let ending = Ending::Browser {
                    detail: describe(&thrown),
                };
                tell(&self.port, &ToWorker::Ended { attempt, ending });
            }
        }
    }

    /// Finds out whether channels can be moved, with two that nobody needs.
    fn probe(&self) {
        let trying = || {
            let peer = RtcPeerConnection::new()?;
            let tried =
                channels(&peer).and_then(|channels| self.hand_over(&ToWorker::Probe, &channels));
            peer.close();
            tried
        };
        if self.mode.get() == ChannelMode::Transfer {
            match trying() {
                // The worker says whether they have arrived.
                Ok(()) => return,
                Err(thrown) => self.post_from_now_on(&thrown),
            }
        }
        tell(&self.port, &ToWorker::NoProbe);
    }

    fn post_from_now_on(&self, thrown: &JsValue) {
        tracing::info!(
            reason = describe(thrown),
            "data channels cannot move to a worker here; posting instead"
        );
        self.mode.set(ChannelMode::Post);
    }

    /// Moves channels to the worker; nothing has happened to them if it fails.
    fn hand_over(
        &self,
        message: &ToWorker,
        [control, tensors]: &[RtcDataChannel; 2],
    ) -> Result<(), JsValue> {
        let (all, list) = package(message, &[control.into(), tensors.into()])?;
        match &self.worker {
            Some(worker) => worker.post_message_with_transfer(&all, &list),
            None => self.port.post_message_with_transferable(&all, &list),
        }
    }

    /// Makes the channels, and moves them to the worker in this very task; or keeps them.
    fn place(
        &self,
        attempt: AttemptId,
        peer: &RtcPeerConnection,
    ) -> Result<Option<[Rc<PostedLane>; 2]>, JsValue> {
        let channels = channels(peer)?;
        if self.mode.get() == ChannelMode::Transfer {
            match self.hand_over(&ToWorker::Channels { attempt }, &channels) {
                Ok(()) => return Ok(None),
                Err(thrown) => self.post_from_now_on(&thrown),
            }
        }
        Ok(Some(self.keep(attempt, channels)))
    }

    fn keep(&self, attempt: AttemptId, channels: [RtcDataChannel; 2]) -> [Rc<PostedLane>; 2] {
        tell(&self.port, &ToWorker::Posting { attempt });
        let [control, tensors] = channels;
        [(Lane::Control, control), (Lane::Tensors, tensors)]
            .map(|(lane, channel)| PostedLane::new(self.port.clone(), attempt, lane, channel))
    }

    fn close_all(&self) {
        for connection in std::mem::take(&mut *self.connections.borrow_mut()).into_values() {
            connection.close();
            connection.ended(Ending::Page);
        }
    }
}

/// One peer connection.
struct Connection {
    port: MessagePort,
    attempt: AttemptId,
    epoch: Epoch,
    peer: RtcPeerConnection,
    may_be_relayed: bool,
    /// The lanes, where the page keeps them.
    posted: Option<[Rc<PostedLane>; 2]>,
    signals: RefCell<mpsc::Sender<Signal>>,
    closed: Cell<bool>,
    changes: Changes,
    _listeners: Vec<Listener>,
}

impl Connection {
    fn open(
        half: &Half,
        attempt: AttemptId,
        epoch: Epoch,
        ice_servers: &[IceServer],
    ) -> Result<(Self, mpsc::Receiver<Signal>), JsValue> {
        let peer = RtcPeerConnection::new_with_configuration(&path::configuration(ice_servers))?;
        let posted = half.place(attempt, &peer).inspect_err(|_| peer.close())?;
        let (sender, signals) = mpsc::channel(SIGNALS_MAX);
        let connection = Self {
            _listeners: listeners(&half.port, attempt, epoch, &peer),
            port: half.port.clone(),
            attempt,
            epoch,
            peer,
            may_be_relayed: ice_servers.iter().any(IceServer::relays),
            posted,
            signals: RefCell::new(sender),
            closed: Cell::new(false),
            changes: Changes::default(),
        };
        Ok((connection, signals))
    }

    fn posted(&self, lane: Lane) -> Option<Rc<PostedLane>> {
        self.posted
            .as_ref()
            .map(|lanes| Rc::clone(&lanes[usize::from(lane.channel_id())]))
    }

    fn deliver(&self, signal: Signal) {
        if self
            .signals
            .borrow_mut()
            .try_send(signal)
            .is_err_and(|error| error.is_full())
        {
            self.ended(Ending::Signal {
                detail: "more of them than a connection needs".to_owned(),
            });
        }
    }

    fn say(&self, signal: Signal) {
        tell(
            &self.port,
            &ToWorker::Signal {
                attempt: self.attempt,
                signal,
            },
        );
    }

    fn ended(&self, ending: Ending) {
        tell(
            &self.port,
            &ToWorker::Ended {
                attempt: self.attempt,
                ending,
            },
        );
    }

    fn close(&self) {
        self.closed.set(true);
        self.peer.close();
        self.changes.notify();
    }
}

/// Negotiates, and moves bytes where the page keeps the channels, until the connection is closed.
async fn run(
    connection: Rc<Connection>,
    mut negotiation: Negotiation,
    signals: mpsc::Receiver<Signal>,
) {
    let negotiating = async {
        if let Err(ending) = negotiate(&connection, &mut negotiation, signals).await {
            connection.ended(ending);
        }
    };
    let closed = pin!(
        connection
            .changes
            .until(|| connection.closed.get().then_some(()))
    );
    let moving = join3(negotiating, pump(&connection), tell_way(&connection));
    select(closed, pin!(moving)).await;
}

/// Tells the worker whether the connection goes by way of a server.
async fn tell_way(connection: &Connection) {
    let (port, attempt) = (&connection.port, connection.attempt);
    let told = |relayed| tell(port, &ToWorker::Relayed { attempt, relayed });
    if connection.may_be_relayed {
        path::watch(&connection.peer, told).await;
    }
}

async fn pump(connection: &Connection) {
    let Some([control, tensors]) = &connection.posted else {
        return;
    };
    let opened = async {
        if join(control.opened(), tensors.opened()).await == (true, true) {
            tell(
                &connection.port,
                &ToWorker::Open {
                    attempt: connection.attempt,
                },
            );
        }
    };
    join(opened, join(control.pump_out(), tensors.pump_out())).await;
}

/// Applies what the peer says and answers; ends when the connection is given up, or by an error.
async fn negotiate(
    connection: &Connection,
    negotiation: &mut Negotiation,
    mut signals: mpsc::Receiver<Signal>,
) -> Result<(), Ending> {
    let (peer, epoch) = (&connection.peer, connection.epoch);
    let ours = |thrown: JsValue| Ending::Browser {
        detail: describe(&thrown),
    };
    let theirs = |thrown: JsValue| Ending::Signal {
        detail: describe(&thrown),
    };
    if negotiation.offers() {
        let sdp = describe_locally(peer, peer.create_offer())
            .await
            .map_err(ours)?;
        connection.say(Signal::offer(epoch, sdp));
    }
    while let Some(signal) = signals.next().await {
        let steps = negotiation.take(signal).map_err(|error| Ending::Signal {
            detail: error.to_string(),
        })?;
        for step in steps {
            match step {
                Step::Answer(sdp) => {
                    describe_remotely(peer, RtcSdpType::Offer, &sdp)
                        .await
                        .map_err(theirs)?;
                    let sdp = describe_locally(peer, peer.create_answer())
                        .await
                        .map_err(ours)?;
                    connection.say(Signal::answer(epoch, sdp));
                }
                Step::Finish(sdp) => describe_remotely(peer, RtcSdpType::Answer, &sdp)
                    .await
                    .map_err(theirs)?,
                Step::Candidate { candidate, mid } => {
                    try_candidate(peer, &candidate, mid.as_deref()).await;
                }
            }
        }
    }
    Ok(())
}

/// Makes the channels of both lanes, as agreed with the peer beforehand.
fn channels(peer: &RtcPeerConnection) -> Result<[RtcDataChannel; 2], JsValue> {
    // Called by name, so that what it throws is caught.
    let create: Function =
        Reflect::get(peer, &JsValue::from_str("createDataChannel"))?.dyn_into()?;
    let channel = |lane: Lane| {
        let options = RtcDataChannelInit::new();
        options.set_negotiated(true);
        options.set_id(lane.channel_id());
        create
            .call2(peer, &JsValue::from_str(lane.label()), &options)?
            .dyn_into()
    };
    Ok([channel(Lane::Control)?, channel(Lane::Tensors)?])
}

fn listeners(
    port: &MessagePort,
    attempt: AttemptId,
    epoch: Epoch,
    peer: &RtcPeerConnection,
) -> Vec<Listener> {
    let (to_worker, state_of) = (port.clone(), peer.clone());
    let candidates = Listener::new(peer, "icecandidate", {
        let port = port.clone();
        move |event| {
            let found = event
                .dyn_ref::<RtcPeerConnectionIceEvent>()
                .and_then(RtcPeerConnectionIceEvent::candidate);
            if let Some(found) = found.filter(|found| !found.candidate().is_empty()) {
                let signal = Signal::Candidate {
                    epoch,
                    candidate: found.candidate(),
                    mid: found.sdp_mid(),
                };
                tell(&port, &ToWorker::Signal { attempt, signal });
            }
        }
    });
    let states = Listener::new(peer, "connectionstatechange", {
        let port = port.clone();
        move |_| {
            // A disconnected peer may come back; who has waited long enough closes the link.
            if state_of.connection_state() == RtcPeerConnectionState::Failed {
                tell(
                    &port,
                    &ToWorker::Ended {
                        attempt,
                        ending: Ending::Failed,
                    },
                );
            }
        }
    });
    let intruders = Listener::new(peer, "datachannel", move |_| {
        let detail = "it opened a channel that was not agreed on".to_owned();
        tell(
            &to_worker,
            &ToWorker::Ended {
                attempt,
                ending: Ending::Signal { detail },
            },
        );
    });
    vec![candidates, states, intruders]
}
