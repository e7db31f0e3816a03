//! Virtual time: the heap of events, the peers, the server and the links between them.

mod ending;
mod links;
mod peer;

use crate::check::Watch;
use crate::compute::Compute;
use crate::random::Draws;
use crate::scenario::Scenario;
pub use ending::{Outcome, SimulationError, StageUse};
use links::{Link, Parcel};
use peer::Peer;
#[cfg(test)]
pub(crate) use peer::Worked;
use ringtmp_core::ids::{PeerId, RoomCode};
use ringtmp_core::lobby::{ConnectionId, Limits, Lobby, LobbyInput, LobbyOutput};
use ringtmp_core::node::{Assignment, Input, Output, Polled};
use ringtmp_core::plan::Plan;
use ringtmp_core::signal::{
    ClientMessage, Device, DeviceKind, ExecutorKind, PROTOCOL_VERSION, Role, RoomState,
    RunDescriptor, ServerMessage,
};
use ringtmp_core::time::Time;
use ringtmp_core::trace::Span;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

/// From a peer to the server or back.
const SIGNAL_DELAY: Duration = Duration::from_millis(1);

/// The most events of a run, as a multiple of its tasks: a task makes four, and a protocol that talks to itself is stopped.
const EVENTS_PER_TASK_MAX: u64 = 64;

/// Something that happens, faults among them.
pub(crate) enum Event<T> {
    /// A message reaches the server.
    ToServer(usize, ClientMessage),
    /// A message reaches a peer.
    FromServer(usize, Box<ServerMessage>),
    /// A link opens at one end.
    LinkUp(usize, PeerId),
    /// A peer hears that a link is gone, or cannot be made.
    LinkLost(usize, PeerId),
    /// The connection between two devices breaks.
    Breaks([usize; 2]),
    /// A peer is done with what it was told to do.
    Done(usize, Box<Input>),
    /// The last byte of a frame has left.
    Left(usize, usize),
    /// A frame arrives.
    Arrives(usize, usize, Parcel<T>),
    /// A peer wanted to be woken.
    Wake(usize),
}

struct Scheduled<T> {
    at: Time,
    sequence: u64,
    event: Event<T>,
}

impl<T> Scheduled<T> {
    fn key(&self) -> (Time, u64) {
        (self.at, self.sequence)
    }
}

impl<T> PartialEq for Scheduled<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Scheduled<T> {}

impl<T> PartialOrd for Scheduled<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Scheduled<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

pub(crate) struct World<'a, C: Compute, B> {
    pub(crate) scenario: &'a Scenario,
    build: B,
    now: Time,
    sequence: u64,
    heap: BinaryHeap<Reverse<Scheduled<C::Tensors>>>,
    lobby: Lobby,
    entropy: u8,
    peers: Vec<Peer<C>>,
    index: BTreeMap<PeerId, usize>,
    links: BTreeMap<(usize, usize), Link<C::Tensors>>,
    asked: Vec<(usize, usize)>,
    /// Connections that broke, both ways.
    broken: BTreeSet<(usize, usize)>,
    /// When the shared medium has carried what was given to it.
    medium_free: Time,
    draws: Vec<Draws>,
    /// The room's plan, and the device of each stage.
    plan: Option<(Plan, Vec<usize>)>,
    pub(crate) watch: Watch,
    trace: Vec<Span>,
    state: RoomState,
    /// When the room stopped.
    stopped: Option<Time>,
    #[cfg(test)]
    pub(crate) planted: crate::planted::Planted,
}

/// Works a scenario off. `build` makes a stage when a node asks for one.
///
/// # Errors
///
/// A scenario that cannot be, a run that does not end, or one that a checker finds wrong.
pub fn simulate<C: Compute>(
    scenario: &Scenario,
    build: impl FnMut(Assignment) -> C,
) -> Result<Outcome, SimulationError> {
    scenario.check()?;
    let mut world = World::new(scenario, build);
    world.open();
    world.run()
}

impl<'a, C: Compute, B: FnMut(Assignment) -> C> World<'a, C, B> {
    pub(crate) fn new(scenario: &'a Scenario, build: B) -> Self {
        let n = scenario.devices.len();
        let limits = Limits {
            messages_burst: u32::MAX,
            ..Limits::default()
        };
        Self {
            scenario,
            build,
            now: Time::ZERO,
            sequence: 0,
            heap: BinaryHeap::new(),
            lobby: Lobby::new(limits),
            entropy: 0,
            peers: (0..n).map(|_| Peer::default()).collect(),
            index: BTreeMap::new(),
            links: BTreeMap::new(),
            asked: Vec::new(),
            broken: BTreeSet::new(),
            medium_free: Time::ZERO,
            draws: (0..n)
                .map(|i| Draws::new(scenario.seed, i as u64))
                .collect(),
            plan: None,
            watch: Watch::default(),
            trace: Vec::new(),
            state: RoomState::Waiting,
            stopped: None,
            #[cfg(test)]
            planted: crate::planted::Planted::default(),
        }
    }

    /// Opens the room, and has everybody join it.
    pub(crate) fn open(&mut self) {
        for loss in &self.scenario.losses {
            let at = Duration::from_secs_f64(loss.at_seconds);
            self.schedule(at, Event::Breaks(loss.between));
        }
        let creator = ConnectionId(u64::MAX);
        self.tell_lobby(LobbyInput::Connected {
            connection: creator,
        });
        let create = ClientMessage::Create {
            protocol: PROTOCOL_VERSION,
            run: RunDescriptor {
                toml: String::new(),
                outline: self.scenario.outline.clone(),
            },
        };
        self.text(creator, &create);
    }

    fn join_all(&mut self, room: RoomCode) {
        for i in 0..self.peers.len() {
            self.tell_lobby(LobbyInput::Connected {
                connection: ConnectionId(i as u64),
            });
            let join = ClientMessage::Join {
                protocol: PROTOCOL_VERSION,
                room,
                role: Role::Participant,
                device: Device {
                    kind: DeviceKind::Native,
                    name: format!("device {i}"),
                    executor: ExecutorKind::Cpu,
                    adapter: String::new(),
                    memory_bytes: self.scenario.devices[i].memory_bytes,
                },
                has_data: self.scenario.devices[i].has_data,
            };
            self.schedule(SIGNAL_DELAY, Event::ToServer(i, join));
        }
    }

    pub(crate) fn run(mut self) -> Result<Outcome, SimulationError> {
        let outline = &self.scenario.outline;
        let evaluations = u64::from(outline.evaluation_micro_batches);
        let per_step = 3 * u64::from(outline.micro_batches) + evaluations + 1;
        let tasks = per_step * u64::from(outline.steps + 1) * self.peers.len() as u64;
        let events_max = (tasks + 1000).saturating_mul(EVENTS_PER_TASK_MAX);
        let mut events = 0;
        while let Some(Reverse(next)) = self.heap.pop() {
            self.now = next.at;
            self.happen(next.event);
            events += 1;
            if events >= events_max || self.watch.complaint().is_some() {
                break;
            }
        }
        self.finish(events)
    }

    pub(crate) fn schedule(&mut self, after: Duration, event: Event<C::Tensors>) {
        self.sequence += 1;
        self.heap.push(Reverse(Scheduled {
            at: self.now + after,
            sequence: self.sequence,
            event,
        }));
    }

    fn happen(&mut self, event: Event<C::Tensors>) {
        match event {
            Event::ToServer(from, message) => self.text(ConnectionId(from as u64), &message),
            Event::FromServer(to, message) => self.input(to, Input::Room(*message)),
            Event::LinkUp(at, peer) => self.link_up(at, peer),
            Event::LinkLost(at, peer) => self.link_lost(at, peer),
            Event::Breaks(between) => self.breaks(between),
            Event::Done(at, input) => self.done(at, *input),
            Event::Left(from, to) => self.left(from, to),
            Event::Arrives(from, to, parcel) => self.arrives(from, to, parcel),
            Event::Wake(at) => {
                self.peers[at].wakes = None;
                self.input(at, Input::Tick);
            }
        }
    }

    pub(crate) fn input(&mut self, at: usize, input: Input) {
        self.peers[at].node.handle(self.now, input);
        loop {
            match self.peers[at].node.poll_output() {
                Polled::Do(output) => self.perform(at, output),
                Polled::Wait(wake) => {
                    self.wake(at, wake);
                    break;
                }
            }
        }
        self.note_waiting(at);
    }

    /// One wake-up is enough: the earliest that is wanted.
    fn wake(&mut self, at: usize, wake: Option<Time>) {
        let Some(due) = wake else { return };
        if self.peers[at].wakes.is_none_or(|wakes| due < wakes) {
            self.peers[at].wakes = Some(due);
            self.schedule(due.since(self.now), Event::Wake(at));
        }
    }

    fn perform(&mut self, at: usize, output: Output) {
        match output {
            Output::ToRoom(message) => self.schedule(SIGNAL_DELAY, Event::ToServer(at, message)),
            Output::Connect { peer, .. } => self.connect(at, peer),
            // Links are made without negotiating, and stay until they break or the end.
            Output::Deliver { .. } | Output::Disconnect { .. } => {}
            Output::Send {
                to,
                epoch,
                body,
                payload,
            } => self.send(at, to, epoch, body, payload),
            // Told once all names are known, with the links between them.
            Output::Measure => {}
            Output::Build(assignment) => self.build(at, assignment),
            Output::Run { epoch, task } => self.compute(at, epoch, task),
            Output::Digest { epoch } => self.digest(at, epoch),
            Output::Discard(payload) => drop(self.peers[at].payloads.remove(&payload)),
            Output::Event(_) => {}
        }
    }

    fn text(&mut self, connection: ConnectionId, message: &ClientMessage) {
        let text = serde_json::to_string(message).expect("messages are JSON");
        self.tell_lobby(LobbyInput::Text {
            connection,
            text: &text,
        });
    }

    fn tell_lobby(&mut self, input: LobbyInput<'_>) {
        // Random bytes name rooms and peers: one of the two a connection makes, so that a counter will do.
        self.entropy = self.entropy.wrapping_add(1);
        self.lobby.handle(self.now, [self.entropy; 16], input);
        while let Some(output) = self.lobby.poll_output() {
            match output {
                LobbyOutput::Send {
                    connection,
                    message,
                } => self.answered(connection, message),
                LobbyOutput::Close { .. } => {}
            }
        }
    }

    fn answered(&mut self, connection: ConnectionId, mut message: ServerMessage) {
        if let (ServerMessage::Prepare { plan }, Some(limits)) =
            (&mut message, &self.scenario.limits)
        {
            plan.limits.clone_from(limits);
        }
        match &message {
            ServerMessage::Created { room } => return self.join_all(*room),
            ServerMessage::Room { room } => self.became(room.state.clone()),
            ServerMessage::Refused { refusal } => {
                let reason = refusal.to_string();
                self.state = RoomState::Stopped { reason };
            }
            ServerMessage::Prepare { plan } => self.planned(plan),
            ServerMessage::Welcome { .. }
            | ServerMessage::Signal { .. }
            | ServerMessage::Commit { .. }
            | ServerMessage::Clock { .. }
            | ServerMessage::Progress { .. } => {}
        }
        let Some(to) = usize::try_from(connection.0)
            .ok()
            .filter(|i| *i < self.peers.len())
        else {
            return;
        };
        if let ServerMessage::Welcome { peer, .. } = &message {
            self.index.insert(*peer, to);
            self.peers[to].id = Some(*peer);
            self.measure_all();
        }
        #[cfg(test)]
        let message = self.planted.told(to, message);
        self.schedule(SIGNAL_DELAY, Event::FromServer(to, Box::new(message)));
    }

    fn became(&mut self, state: RoomState) {
        if matches!(state, RoomState::Stopped { .. }) {
            self.stopped.get_or_insert(self.now);
        }
        self.state = state;
    }

    /// Once everybody knows its name, everybody tells what it would measure.
    fn measure_all(&mut self) {
        let ids: Option<Vec<PeerId>> = self.peers.iter().map(|peer| peer.id).collect();
        for (i, _) in ids.iter().flatten().enumerate() {
            let profile = self.scenario.profile(i, ids.as_deref().unwrap_or_default());
            let told = ClientMessage::Profile { profile };
            self.schedule(SIGNAL_DELAY, Event::ToServer(i, told));
        }
    }

    /// The room has decided who does what.
    fn planned(&mut self, plan: &Plan) {
        let is_newer = |(old, _): &(Plan, Vec<usize>)| old.epoch < plan.epoch;
        if self.plan.as_ref().is_none_or(is_newer) {
            let device = |peer: &PeerId| self.index.get(peer).copied();
            let order: Vec<usize> = plan.order.iter().filter_map(device).collect();
            self.watch = Watch::new(self.scenario, plan, &order);
            self.plan = Some((plan.clone(), order));
        }
    }

    /// The stage of a device; beyond all stages where it has none.
    pub(crate) fn stage(&self, device: usize) -> usize {
        let order = self.plan.iter().flat_map(|(_, order)| order);
        order
            .clone()
            .position(|other| *other == device)
            .unwrap_or(usize::MAX)
    }
}
