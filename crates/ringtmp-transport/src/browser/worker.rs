//! The worker's half: attempts that are carried out by the page, and the pumps of their links.

use super::channel::{Channel, Heard};
use super::event::{Changes, Listener};
use super::port::{
    AttemptId, Ending, LaneTag, POST_WINDOW_BYTES, ToPage, ToWorker, attached_bytes, post_bytes,
    read, tell,
};
use super::spawn;
use crate::connector::{Attempt, SignalSender, until_ended};
use crate::error::LinkError;
use crate::limits::within_limits;
use crate::link::Endpoint;
use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::{Either, join, join4, select, try_join};
use js_sys::{Array, Uint8Array};
use ringtmp_core::signal::Signal;
use ringtmp_core::wire::{Lane, WireError};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use wasm_bindgen::JsCast;
use web_sys::{
    DedicatedWorkerGlobalScope, Event, EventTarget, MessageEvent, MessagePort, RtcDataChannel,
};

/// The most signals of an attempt that wait to be passed on: a description and a few candidates.
const SIGNALS_MAX: usize = 64;

pub(crate) struct Backend {
    half: Rc<Half>,
    _listeners: Vec<Listener>,
}

impl Backend {
    pub(super) fn new(port: MessagePort) -> Self {
        let half = Rc::new(Half {
            port,
            changes: Changes::default(),
            probed: Cell::new(false),
            routes: RefCell::default(),
            attempts: Cell::new(0),
        });
        let mut listeners = vec![
            half.listener(&half.port, "message", |half, event| half.hear(event)),
            half.listener(&half.port, "messageerror", |half, _| half.cannot_transfer()),
        ];
        // Some browsers move channels only by way of the worker itself.
        if let Ok(scope) = js_sys::global().dyn_into::<DedicatedWorkerGlobalScope>() {
            listeners.push(half.listener(&scope, "message", |half, event| {
                // What the page and the worker say to each other besides is none of our business.
                if carries_channels(event) {
                    half.hear(event);
                }
            }));
            listeners.push(half.listener(&scope, "messageerror", |half, _| half.cannot_transfer()));
        }
        half.port.start();
        tell(&half.port, &ToPage::Hello);
        Self {
            half,
            _listeners: listeners,
        }
    }

    pub(crate) fn start(&self, attempt: Attempt) {
        spawn(run(Rc::clone(&self.half), attempt));
    }
}

struct Half {
    port: MessagePort,
    changes: Changes,
    /// Whether it is known if channels can be transferred.
    probed: Cell<bool>,
    /// Where messages of an attempt go; one for each attempt or link that lives.
    routes: RefCell<BTreeMap<AttemptId, Rc<Route>>>,
    attempts: Cell<u32>,
}

/// What the page has told us about an attempt.
struct Route {
    endpoint: Endpoint,
    changes: Changes,
    lanes: RefCell<Option<Rc<Lanes>>>,
    signals: RefCell<mpsc::Sender<Signal>>,
}

/// How the lanes of a connection are reached.
enum Lanes {
    /// By channels of our own.
    Transferred([Channel; 2]),
    /// By way of the page.
    Posted {
        open: Cell<bool>,
        /// Bytes that we may still post, by lane.
        credit: [Cell<usize>; 2],
        /// Bytes that we have taken but not yet said so, by lane.
        taken: [Cell<usize>; 2],
    },
}

impl Half {
    fn hear(&self, event: &Event) {
        let Some((message, attachments)) = read::<ToWorker>(event) else {
            return;
        };
        let route = |attempt| self.routes.borrow().get(&attempt).cloned();
        // An attempt that we have given up is still spoken of for a while.
        match message {
            ToWorker::Probe => self.probe(&attachments),
            ToWorker::NoProbe => self.probed(),
            ToWorker::Channels { attempt } => adopt(route(attempt), &attachments),
            ToWorker::Posting { attempt } => route(attempt)
                .into_iter()
                .for_each(|route| route.set_lanes(Lanes::posted())),
            ToWorker::Open { attempt } => route(attempt).into_iter().for_each(|route| route.open()),
            ToWorker::Relayed { attempt, relayed } => route(attempt)
                .into_iter()
                .for_each(|route| route.endpoint.set_relayed(relayed)),
            ToWorker::Signal { attempt, signal } => route(attempt)
                .into_iter()
                .for_each(|route| route.pass_on(signal.clone())),
            ToWorker::Data { attempt, lane } => {
                route(attempt)
                    .into_iter()
                    .for_each(|route| route.take(lane.lane(), &attachments));
            }
            ToWorker::Credit {
                attempt,
                lane,
                bytes,
            } => {
                route(attempt)
                    .into_iter()
                    .for_each(|route| route.credit(lane.lane(), bytes));
            }
            ToWorker::Ended { attempt, ending } => route(attempt)
                .into_iter()
                .for_each(|route| route.end(&ending)),
        }
    }

    fn listener(
        self: &Rc<Self>,
        target: &EventTarget,
        name: &'static str,
        heard: fn(&Self, &Event),
    ) -> Listener {
        let half = Rc::downgrade(self);
        Listener::new(target, name, move |event| {
            if let Some(half) = half.upgrade() {
                heard(&half, &event);
            }
        })
    }

    /// The page has tried to move channels that nobody needs.
    fn probe(&self, attachments: &Array) {
        let channels: Vec<RtcDataChannel> = attachments
            .iter()
            .filter_map(|channel| channel.dyn_into().ok())
            .collect();
        channels.iter().for_each(RtcDataChannel::close);
        if channels.len() == Lane::ALL.len() {
            self.probed();
        } else {
            self.cannot_transfer();
        }
    }

    /// A channel was moved, but this worker cannot have it.
    fn cannot_transfer(&self) {
        tell(&self.port, &ToPage::PostOnly);
        self.probed();
    }

    /// From now on the page knows how to use channels.
    fn probed(&self) {
        self.probed.set(true);
        self.changes.notify();
    }

    fn next_attempt(&self) -> AttemptId {
        let id = self.attempts.get();
        self.attempts.set(id.wrapping_add(1));
        AttemptId(id)
    }
}

/// Whether a message is one of ours that brings channels.
fn carries_channels(event: &Event) -> bool {
    let data = event.dyn_ref::<MessageEvent>().map(MessageEvent::data);
    let all = data.and_then(|data| data.dyn_into::<Array>().ok());
    all.is_some_and(|all| all.get(0).is_string() && all.get(1).is_instance_of::<RtcDataChannel>())
}

/// Takes the channels over, in the task in which they came.
fn adopt(route: Option<Rc<Route>>, attachments: &Array) {
    let channel = |index| attachments.get(index).dyn_into::<RtcDataChannel>().ok();
    match (route, channel(0).zip(channel(1))) {
        (Some(route), Some((control, tensors))) => {
            let control = Channel::new(control, route.listener(Lane::Control));
            let tensors = Channel::new(tensors, route.listener(Lane::Tensors));
            route.set_lanes(Lanes::Transferred([control, tensors]));
        }
        (Some(route), None) => route
            .endpoint
            .end(LinkError::device("the page handed over what is no channel")),
        (None, Some((control, tensors))) => {
            control.close();
            tensors.close();
        }
        (None, None) => {}
    }
}

impl Lanes {
    fn posted() -> Self {
        Self::Posted {
            open: Cell::new(false),
            credit: [const { Cell::new(POST_WINDOW_BYTES) }; 2],
            taken: [const { Cell::new(0) }; 2],
        }
    }
}

impl Route {
    fn lanes(&self) -> Option<Rc<Lanes>> {
        self.lanes.borrow().clone()
    }

    fn set_lanes(&self, lanes: Lanes) {
        *self.lanes.borrow_mut() = Some(Rc::new(lanes));
        self.changes.notify();
    }

    fn listener(&self, lane: Lane) -> impl FnMut(Heard) + Clone + 'static {
        let endpoint = self.endpoint.clone();
        move |heard| match heard {
            Heard::Close => endpoint.end(LinkError::CLOSED_BY_PEER),
            Heard::Message(bytes) => endpoint.accept(lane, &Uint8Array::new(&bytes).to_vec()),
            Heard::Text => endpoint.end(WireError::Chunks("text").into()),
        }
    }

    fn open(&self) {
        if let Some(Lanes::Posted { open, .. }) = self.lanes().as_deref() {
            open.set(true);
            self.changes.notify();
        }
    }

    fn pass_on(&self, signal: Signal) {
        if self
            .signals
            .borrow_mut()
            .try_send(signal)
            .is_err_and(|error| error.is_full())
        {
            self.endpoint
                .end(LinkError::device("it has more addresses than can be sent"));
        }
    }

    fn take(&self, lane: Lane, attachments: &Array) {
        let (Some(bytes), Some(lanes)) = (attached_bytes(attachments), self.lanes()) else {
            return;
        };
        let bytes = Uint8Array::new(&bytes).to_vec();
        self.endpoint.accept(lane, &bytes);
        if let Lanes::Posted { taken, .. } = &*lanes {
            let taken = &taken[usize::from(lane.channel_id())];
            taken.set(taken.get() + bytes.len());
            self.changes.notify();
        }
    }

    fn credit(&self, lane: Lane, bytes: usize) {
        if let Some(Lanes::Posted { credit, .. }) = self.lanes().as_deref() {
            let credit = &credit[usize::from(lane.channel_id())];
            credit.set(credit.get() + bytes);
            self.changes.notify();
        }
    }

    fn end(&self, ending: &Ending) {
        self.endpoint.end(match ending {
            Ending::Failed if self.lanes_open() => LinkError::LOST,
            Ending::Failed => LinkError::Unreachable {
                detail: "the browser found no path".to_owned(),
            },
            Ending::Closed => LinkError::CLOSED_BY_PEER,
            Ending::Page => LinkError::CLOSED_BY_US,
            Ending::Browser { detail } => LinkError::device(detail),
            Ending::Signal { detail } => LinkError::signal(detail),
            Ending::Overrun {
                lane,
                waiting,
                limit,
            } => LinkError::Overrun {
                lane: lane.lane(),
                waiting: *waiting,
                limit: *limit,
            },
        });
    }

    fn lanes_open(&self) -> bool {
        match self.lanes().as_deref() {
            Some(Lanes::Transferred(channels)) => channels.iter().all(Channel::is_open),
            Some(Lanes::Posted { open, .. }) => open.get(),
            None => false,
        }
    }
}

/// Runs an attempt, and then the link.
async fn run(half: Rc<Half>, mut attempt: Attempt) {
    let endpoint = attempt.endpoint.clone();
    let (signals_sender, from_page) = mpsc::channel(SIGNALS_MAX);
    let route = Rc::new(Route {
        endpoint: endpoint.clone(),
        changes: Changes::default(),
        lanes: RefCell::default(),
        signals: RefCell::new(signals_sender),
    });
    let id = half.next_attempt();
    half.routes.borrow_mut().insert(id, Rc::clone(&route));
    let (role, epoch) = (attempt.role, attempt.epoch);
    let ice_servers = std::mem::take(&mut attempt.ice_servers);
    let (to_page, sender) = (attempt.take_signals(), attempt.signal_sender());
    let mut relaying = pin!(async {
        half.changes.until(|| half.probed.get().then_some(())).await;
        tell(
            &half.port,
            &ToPage::Connect {
                attempt: id,
                role,
                epoch,
                ice_servers,
            },
        );
        relay(&half.port, id, to_page, from_page, sender).await;
    });
    let connecting = async {
        match select(relaying.as_mut(), pin!(opened(&route))).await {
            // Relaying does not end; this attempt is given up.
            Either::Left(_) => Err(LinkError::CLOSED_BY_US),
            Either::Right((outcome, _)) => outcome,
        }
    };
    let outcome = within_limits(&endpoint, attempt.take_proved(), connecting).await;
    if attempt.report(outcome).await {
        until_ended(&endpoint, join(relaying, pump(&half.port, id, &route))).await;
    }
    half.routes.borrow_mut().remove(&id);
    tell(&half.port, &ToPage::Close { attempt: id });
    // Drops the channels, unless the page has them.
    route.lanes.borrow_mut().take();
}

/// Passes signals on, both ways, as long as it is polled.
async fn relay(
    port: &MessagePort,
    attempt: AttemptId,
    mut to_page: mpsc::Receiver<Signal>,
    mut from_page: mpsc::Receiver<Signal>,
    mut sender: SignalSender,
) {
    let there = async {
        while let Some(signal) = to_page.next().await {
            tell(port, &ToPage::Signal { attempt, signal });
        }
        std::future::pending::<()>().await;
    };
    let back = async {
        while let Some(signal) = from_page.next().await {
            sender.send(signal).await;
        }
        std::future::pending::<()>().await;
    };
    join(there, back).await;
}

async fn opened(route: &Route) -> Result<(), LinkError> {
    match &*route.changes.until(|| route.lanes()).await {
        Lanes::Transferred([control, tensors]) => try_join(control.opened(), tensors.opened())
            .await
            .map(|_| ()),
        Lanes::Posted { open, .. } => {
            route.changes.until(|| open.get().then_some(())).await;
            Ok(())
        }
    }
}

async fn pump(port: &MessagePort, attempt: AttemptId, route: &Route) {
    let Some(lanes) = route.lanes() else { return };
    match &*lanes {
        // What comes in is heard by listeners.
        Lanes::Transferred([control, tensors]) => {
            join(
                pump_out(&route.endpoint, Lane::Control, control),
                pump_out(&route.endpoint, Lane::Tensors, tensors),
            )
            .await;
        }
        Lanes::Posted {
            credit: [control_credit, tensors_credit],
            taken: [control_taken, tensors_taken],
            ..
        } => {
            join4(
                post_out(port, attempt, route, Lane::Control, control_credit),
                post_out(port, attempt, route, Lane::Tensors, tensors_credit),
                give_credit(port, attempt, route, Lane::Control, control_taken),
                give_credit(port, attempt, route, Lane::Tensors, tensors_taken),
            )
            .await;
        }
    }
}

async fn pump_out(endpoint: &Endpoint, lane: Lane, channel: &Channel) {
    while let Some(chunk) = endpoint.next_outgoing(lane).await {
        if let Err(error) = channel.send(&chunk).await {
            return endpoint.end(error);
        }
    }
}

async fn post_out(
    port: &MessagePort,
    attempt: AttemptId,
    route: &Route,
    lane: Lane,
    credit: &Cell<usize>,
) {
    while let Some(chunk) = route.endpoint.next_outgoing(lane).await {
        route
            .changes
            .until(|| (credit.get() >= chunk.len()).then_some(()))
            .await;
        credit.set(credit.get() - chunk.len());
        let bytes = Uint8Array::from(chunk.as_slice());
        if let Err(thrown) = post_bytes(
            port,
            &ToPage::Data {
                attempt,
                lane: lane.into(),
            },
            &bytes,
        ) {
            return route
                .endpoint
                .end(LinkError::device(super::event::describe(&thrown)));
        }
    }
}

/// Lets the page post more once the owner has read enough.
async fn give_credit(
    port: &MessagePort,
    attempt: AttemptId,
    route: &Route,
    lane: Lane,
    taken: &Cell<usize>,
) {
    loop {
        route
            .changes
            .until(|| (taken.get() > 0).then_some(()))
            .await;
        if !route.endpoint.incoming_space(lane).await {
            return;
        }
        tell(
            port,
            &ToPage::Credit {
                attempt,
                lane: LaneTag::from(lane),
                bytes: taken.take(),
            },
        );
    }
}
