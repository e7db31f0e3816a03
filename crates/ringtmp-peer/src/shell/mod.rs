//! The event loop of a peer.

mod asking;
mod copies;
mod desk;
mod disk;
mod door;
mod entry;
mod fetching;
mod fresh;
mod hearing;
mod links;
mod parting;
mod porch;
mod record;
mod returning;
mod work;
mod writing;

pub use disk::Keep;
pub use door::DoorFault;
pub use entry::{ConnectorSource, Entry, Own, Setup, run, run_over};
pub use fetching::Fetched;
pub(crate) use fetching::refusal;
pub use record::Traced;
pub(crate) use record::{HANDED_ON_AT, to_room};

use crate::error::PeerError;
use crate::measure::Hurry;
use crate::payloads::{self, Load, Payloads};
use crate::platform::{Breath, Clock, sleep};
use crate::progress::Progress;
use crate::scribe::{Opened, Scribe};
use crate::vault::Vault;
use crate::view::{Command, LinkState, View};
use crate::workshop::{Job, Workshop};
use asking::Question;
use desk::Desk;
use disk::{Disk, Errands};
use fetching::Fetching;
use fresh::Fresh;
use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::{Fuse, FutureExt, LocalBoxFuture};
pub(crate) use links::{LinkEvent, Links};
pub(crate) use parting::ask;
use parting::{is_released, sent_away};
pub(crate) use porch::Porch;
use record::Record;
pub(crate) use returning::{Comes, Door, Line, OverLine};
use ringtmp_compute::Executor;
use ringtmp_core::ids::{Epoch, PeerId};
use ringtmp_core::node::{Event, Input, Node, Output, Polled};
use ringtmp_core::signal::{ClientMessage, ServerMessage};
use ringtmp_core::time::Time;
use ringtmp_core::wire::Body;
use ringtmp_transport::{Connector, ConnectorEvent, Signalling, SignallingError};
use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;
use work::Worked;

/// The view is published at most this often.
pub(crate) const VIEW_INTERVAL: Duration = Duration::from_millis(100);

/// How long to wait where nothing is due: any length would do.
const IDLE_WAIT: Duration = Duration::from_secs(60);

/// What the event loop waits for.
#[derive(Debug)]
enum Happening {
    Line(OverLine),
    Connector(ConnectorEvent),
    Link(LinkEvent),
    Worked(Box<Worked>),
    Disk(Box<Errands>),
    /// The characters of the run's text, or why they are not here.
    Vocabulary(Box<Opened>),
    /// None when the user's side is gone.
    Command(Option<Command>),
    Time,
}

/// A peer in its room.
struct Shell {
    node: Node,
    clock: Clock,
    line: Line,
    porch: Porch,
    connector: Connector,
    links: Links,
    payloads: Payloads,
    vault: Vault,
    disk: Disk,
    /// Here while it is idle, in `work` while it works; spectators have none.
    workshop: Option<Workshop>,
    /// What computes in it.
    executor: Option<Executor>,
    /// It is lost, and to be opened again.
    reopen_due: bool,
    /// There is no GPU to be opened any more.
    gpu_is_gone: bool,
    /// At most a build, a copy, a task and a digest of the newest plan: the node asks for one thing at a time.
    jobs: VecDeque<Job>,
    work: Fuse<LocalBoxFuture<'static, Worked>>,
    /// Ends a measurement that a plan has overtaken.
    hurry: Hurry,
    record: Record,
    fresh: Fresh,
    question: Option<Question>,
    desk: Desk,
    scribe: Scribe,
    fetching: Fetching,
    view_due: Time,
}

impl Shell {
    fn new(
        (signalling, door, me): (Signalling, Door, PeerId),
        connector: Connector,
        workshop: Option<Workshop>,
        record: Record,
        (fresh, desk, scribe, fetching): (Fresh, Desk, Scribe, Fetching),
        welcome: ServerMessage,
    ) -> Self {
        let clock = Clock::start();
        let mut node = Node::new();
        node.handle(clock.now(), Input::Room(welcome));
        Self {
            node,
            clock,
            porch: Porch::new(door.link, door.decides),
            line: Line::new(signalling, door, me, clock.now()),
            connector,
            links: Links::default(),
            payloads: Payloads::default(),
            vault: Vault::default(),
            disk: Disk::none(),
            executor: workshop.as_ref().map(|workshop| workshop.executor.clone()),
            workshop,
            reopen_due: false,
            gpu_is_gone: false,
            jobs: VecDeque::new(),
            work: Fuse::terminated(),
            hurry: Hurry::default(),
            record,
            fresh,
            question: None,
            desk,
            scribe,
            fetching,
            view_due: Time::ZERO,
        }
    }

    async fn run(
        &mut self,
        mut commands: mpsc::Receiver<Command>,
        progress: &mut Progress,
        publish: &mut impl FnMut(View),
    ) -> Result<(), PeerError> {
        let mut breath = Breath::new();
        loop {
            let wake = self.drain(progress);
            self.begin_work();
            self.disk.begin();
            let now = self.clock.now();
            self.record.waits(now, self.node.waiting());
            if now >= self.record.due() {
                self.report(progress);
            }
            self.show(progress, publish);
            breath.take().await;
            let wait = self.wait(wake, progress);
            let input = match self.next(&mut commands, wait).await {
                Happening::Line(OverLine::Server(message)) if is_released(&message) => {
                    self.leave();
                    return Ok(());
                }
                Happening::Line(OverLine::Server(message)) => {
                    if let Some(by) = sent_away(&message) {
                        self.leave();
                        return Err(PeerError::Kicked(by));
                    }
                    self.server_said(*message, progress)
                }
                Happening::Line(OverLine::Knocked(signalling)) => {
                    let now = self.clock.now();
                    self.line.knock(now, *signalling, &self.node, progress);
                    None
                }
                Happening::Connector(event) => self.connector_said(event, progress),
                Happening::Link(event) => self.link_said(event),
                Happening::Worked(worked) => Some(self.worked(*worked, progress)),
                Happening::Disk(errands) => self.disk_did(*errands, progress),
                Happening::Vocabulary(opened) => {
                    self.vocabulary_opened(*opened, progress);
                    None
                }
                Happening::Command(Some(command)) if command != Command::Leave => {
                    self.user_said(command, progress)
                }
                Happening::Command(_) => {
                    self.leave();
                    return Ok(());
                }
                Happening::Time => {
                    let deaf = self.line.is_deaf(self.clock.now());
                    if deaf && self.node.plan().is_some() {
                        let reason = "nothing comes from it any more";
                        self.line.lost(reason, &self.node, progress);
                    }
                    for peer in self.links.stirred() {
                        self.node.handle(self.clock.now(), Input::Stirs { peer });
                    }
                    Some(Input::Tick)
                }
            };
            if let Some(input) = input {
                self.node.handle(self.clock.now(), input);
            }
        }
    }

    /// Waits for one thing to happen. Dropping the others' futures loses nothing.
    async fn next(&mut self, commands: &mut mpsc::Receiver<Command>, wait: Duration) -> Happening {
        let Self {
            line,
            connector,
            links,
            work,
            disk,
            scribe,
            ..
        } = self;
        let mut work = work;
        let (mut errand, mut opened) = (&mut disk.work, &mut scribe.opening);
        // In this order: what is urgent and small before what is large.
        futures::select_biased! {
            command = commands.next() => Happening::Command(command),
            over = pin!(line.next().fuse()) => Happening::Line(over),
            event = pin!(connector.next().fuse()) => Happening::Connector(event),
            event = pin!(links.next().fuse()) => Happening::Link(event),
            worked = work => Happening::Worked(Box::new(worked)),
            done = errand => Happening::Disk(Box::new(done)),
            opened = opened => Happening::Vocabulary(Box::new(opened)),
            () = pin!(sleep(wait).fuse()) => Happening::Time,
        }
    }

    /// Does what the node asks for, and says when it wants to be woken.
    fn drain(&mut self, progress: &mut Progress) -> Option<Time> {
        loop {
            match self.node.poll_output() {
                Polled::Do(output) => self.perform(output, progress),
                Polled::Wait(wake) => return wake,
            }
        }
    }

    fn perform(&mut self, output: Output, progress: &mut Progress) {
        match output {
            Output::ToRoom(message) => self.tell_room(&message, progress),
            Output::Connect { peer, offer, epoch } => {
                progress.link(peer, LinkState::Connecting);
                self.connect(peer, offer, epoch);
            }
            Output::Deliver { from, signal } => self.connector.deliver(from, signal),
            Output::Disconnect { peer } => {
                self.links.remove(peer);
                self.connector.disconnect(peer);
            }
            Output::Send {
                to,
                epoch,
                body,
                payload,
            } => {
                let nothing = Load::Tensors(Vec::new());
                let load = payload.map_or(nothing, |payload| self.payloads.take(payload));
                self.send(to, epoch, body, &load);
            }
            Output::SendPiece { to, epoch, piece } => self.send_piece(to, epoch, piece),
            Output::Store { piece, payload } => self.store(&piece, payload),
            Output::Forget { copies } => self.vault.forget(&copies),
            Output::SendWeights { to, epoch, piece } => self.send_weights(to, epoch, piece),
            Output::Collect { piece, payload } => self.collect(&piece, payload, progress),
            Output::CollectOwn { version, layers } => self.collect_own(version, &layers, progress),
            Output::Keep { kept } => self.keep(kept),
            Output::Load {
                epoch,
                past,
                copies,
            } => self.disk.load(epoch, past, copies),
            Output::Forsake { versions } => self.disk.forsake(versions),
            Output::Clear => self.disk.clear(),
            Output::Snapshot { epoch, version } => self.jobs.push_back(Job::Snapshot {
                epoch,
                version,
                clock: self.clock,
            }),
            Output::Build(assignment) => self.build(assignment, progress),
            Output::Run { epoch, task } => {
                // Its neighbours may be at work before the room's word reaches it.
                self.links.count_from_now();
                let input = task.payload();
                let input = input.map(|payload| self.payloads.take_tensors(payload));
                let fresh = self.enter_fresh(&task, progress);
                self.jobs.push_back(Job::Task {
                    epoch,
                    task,
                    input,
                    fresh,
                });
            }
            Output::Measure => {
                let (clock, hurry) = (self.clock, self.hurry.clone());
                self.jobs.push_back(Job::Measure { clock, hurry });
            }
            Output::Digest { epoch } => self.jobs.push_back(Job::Digest { epoch }),
            Output::Discard(payload) => self.payloads.discard(payload),
            Output::Event(event) => {
                self.note(&event);
                self.note_answer(&event, progress);
                self.note_writing(&event, progress);
                self.note_model(&event, progress);
                progress.event(&event);
            }
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Training => self.links.count_from_now(),
            Event::Stable(version) => self.fresh.stable(*version),
            // Nothing of what was asked for counts any more.
            Event::Halted { .. } => self.jobs.clear(),
            _ => {}
        }
    }

    fn tell_room(&mut self, message: &ClientMessage, progress: &mut Progress) {
        self.line.say(message, &self.node, progress);
    }

    fn send(&mut self, to: PeerId, epoch: Epoch, body: Body, load: &Load) {
        let now = self.node.clock().to_room(self.clock.now());
        let sent = payloads::frame(epoch, now, body, load)
            .map_err(|error| error.to_string())
            .and_then(|(lane, frame)| {
                self.links
                    .send(to, lane, frame)
                    .map_err(|error| error.to_string())
            });
        if let Err(reason) = sent {
            self.links.remove(to);
            self.connector.disconnect(to);
            self.node
                .handle(self.clock.now(), Input::LinkLost { peer: to, reason });
        }
    }

    fn server_said(
        &mut self,
        message: Result<ServerMessage, SignallingError>,
        progress: &mut Progress,
    ) -> Option<Input> {
        match message {
            Ok(message) => {
                let now = self.clock.now();
                if !self.line.heard(now, &message, &self.node, progress) {
                    return None;
                }
                progress.heard(&message);
                if let ServerMessage::Asked(asked) = &message
                    && let Some(says) = self.porch.heard(asked, now, progress)
                {
                    self.tell_room(&says, progress);
                }
                Some(Input::Room(message))
            }
            Err(error) => {
                self.line.lost(&error.to_string(), &self.node, progress);
                Some(Input::ServerLost)
            }
        }
    }

    /// Once a second: bytes and how time was spent, for the view and for the room.
    fn report(&mut self, progress: &mut Progress) {
        self.miss_model(progress);
        let now = self.clock.now();
        for (peer, traffic) in self.links.counts() {
            progress.traffic(peer, traffic.sent, traffic.received);
        }
        if let Some(report) = self.record.report(now, self.node.clock()) {
            progress.report(self.record.me(), &report);
            let links = self.links.traffic();
            let report = Box::new(report);
            self.node.handle(now, Input::Report { links, report });
            self.drain(progress);
        }
    }

    fn show(&mut self, progress: &mut Progress, publish: &mut impl FnMut(View)) {
        let now = self.clock.now();
        if progress.has_changed() && now >= self.view_due {
            self.view_due = now + VIEW_INTERVAL;
            publish(progress.take());
        }
    }

    /// Until the node, the view or the report is due.
    fn wait(&self, wake: Option<Time>, progress: &Progress) -> Duration {
        let view = progress.has_changed().then_some(self.view_due);
        let report = self.node.plan().map(|_| self.record.due());
        let due = [wake, view, report].into_iter().flatten().min();
        due.map_or(IDLE_WAIT, |due| due.since(self.clock.now()))
    }
}
