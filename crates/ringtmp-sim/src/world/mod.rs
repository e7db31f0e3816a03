//! Virtual time: the heap of events, the peers, the server and the links between them.

#[cfg(test)]
mod access_tests;
mod copies;
mod disks;
mod ending;
mod faults;
mod links;
mod peer;
mod room;
mod server;

use crate::check::Watch;
use crate::compute::Compute;
use crate::random::Draws;
use crate::scenario::{FaultKind, Scenario};
use crate::tally::Tally;
pub use ending::{Outcome, SimulationError, StageUse};
use links::{Access, Link, Parcel};
#[cfg(test)]
pub(crate) use peer::Worked;
use peer::{Load, Peer};
use ringtmp_core::ids::{Epoch, PeerId, RoomCode, Step, Version};
use ringtmp_core::kept::Past;
use ringtmp_core::lobby::{ConnectionId, LobbyInput, VisitorId};
use ringtmp_core::node::{Assignment, Input, Output, Polled};
use ringtmp_core::plan::Plan;
use ringtmp_core::signal::{
    ClientMessage, LayerDigest, PROTOCOL_VERSION, Recovery, RoomState, RunDescriptor, ServerMessage,
};
use ringtmp_core::time::Time;
use ringtmp_core::trace::Span;
use server::Server;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

/// From a peer to the server or back.
const SIGNAL_DELAY: Duration = Duration::from_millis(1);

/// The most events of a run, as a multiple of its tasks: a task makes four, and a protocol that talks to itself is stopped.
const EVENTS_PER_TASK_MAX: u64 = 64;

/// Beats go on however long tasks take: four a second to each neighbour, each of which leaves, arrives and wakes somebody.
const BEATS_PER_SECOND_MAX: f64 = 64.0;

/// Something that happens, faults among them.
pub(crate) enum Event<L> {
    /// A message reaches the server.
    ToServer(usize, ClientMessage),
    /// A message reaches a peer.
    FromServer(usize, Box<ServerMessage>),
    /// A link opens at one end, for a plan.
    LinkUp(usize, PeerId, Epoch),
    /// A peer hears that a link is gone, or cannot be made.
    LinkLost(usize, PeerId),
    /// The connection between two devices breaks.
    Breaks([usize; 2]),
    /// A peer is done with what it was told to do.
    Done(usize, Box<Input>),
    /// The last byte of a frame has left.
    Left(usize, usize),
    /// The first bytes of a frame, which takes so long, reach its receiver's access link.
    Reaches(usize, usize, Duration, Parcel<L>),
    /// A frame arrives.
    Arrives(usize, usize, Parcel<L>),
    /// A peer wanted to be woken.
    Wake(usize),
    /// A server wanted to be woken.
    ServerTick(usize),
    /// Something goes wrong.
    Fault(FaultKind),
    /// One device hears another again.
    Resumes(usize, usize),
    /// The connection between two devices can be made again.
    Mends([usize; 2]),
    /// A device that died joins as a newcomer.
    Returns(usize),
    /// Devices that all died come into another room.
    AllReturn,
    /// The first of two servers is gone.
    ServerGone(usize),
    /// A user whose room waits for more devices starts without them.
    UserStarts,
    /// A user who has seen a room wait does something about it.
    UserPresses(usize),
    /// The server gives a socket up.
    SocketLost(ConnectionId),
    /// A device that has lost this socket tries to return over another.
    Reconnects(usize, ConnectionId),
}

struct Scheduled<L> {
    at: Time,
    sequence: u64,
    event: Event<L>,
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
    heap: BinaryHeap<Reverse<Scheduled<Load<C>>>>,
    /// All that there ever were; those before the newest may be gone.
    servers: Vec<Server>,
    /// Whose plan the run goes by: that of the newest that has made one.
    speaker: usize,
    /// Which server answers a socket.
    answers: BTreeMap<ConnectionId, usize>,
    /// How often a server was started that knew nothing.
    incarnation: u32,
    /// Until when it is away.
    server_away: Option<Time>,
    /// When a user presses start, who has seen a room wait.
    user_presses: Option<Time>,
    entropy: u8,
    room: Option<RoomCode>,
    /// That in which the run began, if it has gone on in another.
    first_room: Option<RoomCode>,
    /// How often the user of another room still looks whether it waits.
    user_looks: u8,
    /// Sockets that opened rooms.
    creators: u64,
    /// Sockets so far, and whose they are.
    sockets: u64,
    devices: BTreeMap<ConnectionId, usize>,
    peers: Vec<Peer<C>>,
    index: BTreeMap<PeerId, usize>,
    links: BTreeMap<(usize, usize), Link<Load<C>>>,
    access: Vec<Access>,
    asked: Vec<(Epoch, usize, usize)>,
    /// Connections that broke, both ways, and when they can be made again, if ever.
    broken: BTreeMap<(usize, usize), Option<Time>>,
    /// Links that an end has lost, by that end and the other: nothing goes over them before they are made anew.
    down: BTreeSet<(usize, usize)>,
    /// Ways on which nothing gets through, until then.
    silenced: BTreeMap<(usize, usize), Time>,
    /// Ways that are slower than they were, and how many times, until then.
    slowed: BTreeMap<(usize, usize), (Time, f64)>,
    /// What was on its way when a link broke, and what had arrived last: it comes, again, once there is another link.
    ghosts: BTreeMap<(usize, usize), Vec<Parcel<Load<C>>>>,
    /// When the shared medium has carried what was given to it.
    medium_free: Time,
    draws: Vec<Draws>,
    /// The room's plan, and the device of each stage.
    plan: Option<(Plan, Vec<usize>)>,
    /// From which steps on micro-batches were dealt to how many sources.
    dealt: Vec<(Step, u16)>,
    /// The same under every plan, since a run may come back to what was kept under an older one.
    dealt_under: BTreeMap<Past, Vec<(Step, u16)>>,
    /// As the room shows them.
    recoveries: Vec<Recovery>,
    tally: Tally,
    /// The newest step that a device has told the room of.
    told: u32,
    /// Plans that went on from what lay on disks.
    from_disks: u32,
    /// What devices said of their weights at the end of the plan.
    digested: BTreeMap<usize, Vec<LayerDigest>>,
    /// The newest version that the head has told the room of.
    stable: Option<Version>,
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
        Self {
            scenario,
            build,
            now: Time::ZERO,
            sequence: 0,
            heap: BinaryHeap::new(),
            servers: vec![Server::new(0)],
            speaker: 0,
            answers: BTreeMap::new(),
            incarnation: 0,
            server_away: None,
            user_presses: None,
            entropy: 0,
            room: None,
            first_room: None,
            user_looks: 0,
            creators: 0,
            sockets: 0,
            devices: BTreeMap::new(),
            peers: (0..n).map(|_| Peer::default()).collect(),
            index: BTreeMap::new(),
            links: BTreeMap::new(),
            access: vec![Access::default(); n],
            asked: Vec::new(),
            broken: BTreeMap::new(),
            down: BTreeSet::new(),
            silenced: BTreeMap::new(),
            slowed: BTreeMap::new(),
            ghosts: BTreeMap::new(),
            medium_free: Time::ZERO,
            draws: (0..n)
                .map(|i| Draws::new(scenario.seed, i as u64))
                .collect(),
            plan: None,
            dealt: Vec::new(),
            dealt_under: BTreeMap::new(),
            recoveries: Vec::new(),
            tally: Tally::default(),
            told: 0,
            from_disks: 0,
            digested: BTreeMap::new(),
            stable: None,
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
        for fault in &self.scenario.faults {
            let at = Duration::from_secs_f64(fault.at_seconds);
            self.schedule(at, Event::Fault(fault.what));
        }
        self.create(None);
    }

    /// Opens a room for the run, or for what is kept of it.
    fn create(&mut self, resumes: Option<RoomCode>) {
        // Sockets of devices are counted from the other end.
        self.creators += 1;
        let creator = ConnectionId(u64::MAX - self.creators);
        self.answers.insert(creator, self.newest_server());
        let connected = LobbyInput::Connected {
            connection: creator,
            visitor: VisitorId(creator.0),
        };
        self.socket(creator, connected);
        let create = ClientMessage::Create {
            protocol: PROTOCOL_VERSION,
            run: RunDescriptor {
                toml: String::new(),
                outline: self.scenario.outline.clone(),
                resumes,
                verifier: None,
            },
        };
        self.text(creator, &create);
    }

    pub(crate) fn run(mut self) -> Result<Outcome, SimulationError> {
        let outline = &self.scenario.outline;
        let evaluations = u64::from(outline.evaluation_micro_batches);
        let per_step = 3 * u64::from(outline.micro_batches) + evaluations + 1;
        let tasks = per_step * u64::from(outline.steps + 1) * self.peers.len() as u64;
        // Whatever faults make necessary again comes on top of it.
        let faults = 1 + self.scenario.faults.len() as u64;
        let events_max = (tasks + 1000).saturating_mul(EVENTS_PER_TASK_MAX * faults);
        let mut events = 0;
        while let Some(Reverse(next)) = self.heap.pop() {
            self.now = next.at;
            if let Some(until) = self.frozen_until(&next.event) {
                // Whatever was to happen at it waits, in the same order.
                self.schedule(until.since(self.now), next.event);
                continue;
            }
            self.happen(next.event);
            if self.state == RoomState::Training && self.ring_lives() {
                self.watch.trains(self.now);
            }
            events += 1;
            let beats = self.now.since(Time::ZERO).as_secs_f64() * BEATS_PER_SECOND_MAX;
            let allowed = events_max + beats as u64 * self.peers.len() as u64;
            if events >= allowed || self.watch.complaint().is_some() {
                break;
            }
        }
        self.finish(events)
    }

    /// Whether all stages of the plan are there, and may be expected to do something.
    fn ring_lives(&self) -> bool {
        self.plan.as_ref().is_some_and(|(plan, order)| {
            let mut stages = order.iter().zip(&plan.order);
            stages.all(|(at, peer)| self.peers[*at].id == Some(*peer))
        })
    }

    pub(crate) fn schedule(&mut self, after: Duration, event: Event<Load<C>>) {
        self.sequence += 1;
        self.heap.push(Reverse(Scheduled {
            at: self.now + after,
            sequence: self.sequence,
            event,
        }));
    }

    fn happen(&mut self, event: Event<Load<C>>) {
        match event {
            Event::ToServer(from, message) => self.tell_server(from, &message),
            Event::FromServer(to, message) if *message == ServerMessage::Released => {
                self.released(to);
            }
            Event::FromServer(to, message) => self.input(to, Input::Room(*message)),
            Event::LinkUp(at, peer, epoch) => self.link_up(at, peer, epoch),
            Event::LinkLost(at, peer) => self.link_lost(at, peer),
            Event::Breaks(between) => self.breaks(between),
            Event::Done(at, input) => self.done(at, *input),
            Event::Left(from, to) => self.left(from, to),
            Event::Reaches(from, to, takes, parcel) => self.reaches(from, to, takes, parcel),
            Event::Arrives(from, to, parcel) => self.arrives(from, to, parcel),
            Event::Wake(at) => {
                self.peers[at].wakes = None;
                self.input(at, Input::Tick);
            }
            Event::ServerTick(server) => {
                self.servers[server].wakes = None;
                self.tell_lobby(server, LobbyInput::Tick);
            }
            Event::ServerGone(server) => self.server_gone(server),
            Event::Fault(what) => self.goes_wrong(what),
            Event::Resumes(from, to) => self.begin_to_send(from, to),
            Event::Mends(between) => self.mends(between),
            Event::Returns(at) => self.returns(at),
            Event::Reconnects(at, before) => self.reconnects(at, before),
            Event::AllReturn => self.resume_elsewhere(),
            Event::UserStarts => self.user_starts(),
            Event::UserPresses(at) => self.user_presses_start(at),
            Event::SocketLost(connection) => {
                self.socket(connection, LobbyInput::Disconnected { connection });
            }
        }
    }

    pub(crate) fn input(&mut self, at: usize, input: Input) {
        if self.peers[at].connection.is_none() {
            return;
        }
        if let Input::Room(ServerMessage::Prepare { plan }) = &input {
            self.peers[at].obeyed = Some(plan.epoch);
        }
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
            Output::ToRoom(message) => {
                #[cfg(test)]
                let message = self.planted.says(message);
                self.note_accusation(at, &message);
                self.schedule(SIGNAL_DELAY, Event::ToServer(at, message));
            }
            Output::Connect { peer, epoch, .. } => self.connect(at, peer, epoch),
            // Links are made without negotiating, and stay until they break or the end.
            Output::Deliver { .. } | Output::Disconnect { .. } => {}
            Output::Send {
                to,
                epoch,
                body,
                payload,
            } => self.send(at, to, epoch, body, payload),
            Output::SendPiece { to, epoch, piece } => self.send_piece(at, to, epoch, piece),
            Output::Store { piece, payload } => self.store(at, piece, payload),
            Output::Snapshot { epoch, version } => self.snapshot(at, epoch, version),
            Output::Forget { copies } => self.forget(at, &copies),
            Output::Keep { kept } => self.keep(at, kept),
            Output::Load {
                epoch,
                past,
                copies,
            } => self.load(at, epoch, past, &copies),
            Output::Forsake { versions } => self.forsake(at, &versions),
            Output::Clear => self.peers[at].disk.clear(),
            // Told once all names are known, with the links between them.
            Output::Measure => {}
            Output::Build(assignment) => self.build(at, assignment),
            Output::Run { epoch, task } => self.compute(at, epoch, task),
            Output::Digest { epoch } => self.digest(at, epoch),
            Output::Discard(payload) => drop(self.peers[at].payloads.remove(&payload)),
            // Nobody here wants the model.
            Output::SendWeights { .. }
            | Output::Collect { .. }
            | Output::CollectOwn { .. }
            | Output::Event(_) => {}
        }
    }

    /// Whether this is the newest plan's epoch: what belongs to an older one is nothing that the checkers go by.
    pub(crate) fn is_current(&self, epoch: Epoch) -> bool {
        let mut plan = self.plan.iter();
        plan.any(|(plan, _)| plan.epoch == epoch)
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
