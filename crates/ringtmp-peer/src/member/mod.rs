//! A device of a run whose workers hold whole models: a parameter server's, or one of all-reduce.
//!
//! [`run_member`] drives a pure [`Member`] as the ring's shell drives a node: links, tasks and the clock go in, sends and tasks come
//! out. How connection messages reach the others is the [`Courier`]'s business; a [`Team`] carries them among the members of one
//! process, and tells what comes of the run.

mod craft;
mod desk;
mod held;
mod identity;
mod job;
mod log;
mod opening;
mod outbox;
mod query;
mod room;
mod scores;
mod seat;
mod shared_clock;
mod team;
mod telling;
mod user;
mod work;
mod workbench;

pub use craft::{CraftError, Learnt, Made};
pub(crate) use held::Held;
pub(crate) use identity::Identity;
use job::job_of;
pub use job::member_job;
pub use log::{Lately, Spent};
use query::Queries;
pub use query::Reply;
pub(crate) use room::{Brought, RoomMember};
pub(crate) use shared_clock::SharedClock;
use team::Word;
pub use team::{Courier, Team, TeamError, TeamEvent, TeamResult, TeamSettings, Told};
use work::{Done, Worked};
pub use workbench::Workbench;

use crate::error::PeerError;
use crate::platform::{Breath, Clock, sleep};
use crate::run_file::Run;
use crate::shell::{Links, Traced};
use craft::Craft;
use desk::Desk;
use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::{Fuse, FutureExt, LocalBoxFuture};
use log::Log;
use outbox::Outbox;
use ringtmp_compute::{Executor, ExecutorChoice, Parameter};
use ringtmp_core::ids::{Epoch, PeerId};
use ringtmp_core::parameter_server::{
    Event, Frame, Input, Job, Member, MemberIndex, Output, Polled, TeamStart,
};
use ringtmp_core::time::Time;
use ringtmp_core::trace::REPORT_INTERVAL;
use ringtmp_core::wire::WireError;
use ringtmp_data::Dataset;
use ringtmp_transport::{ConnectRole, Connector, ConnectorEvent};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// How long to wait where nothing is due: any length would do.
const IDLE_WAIT: Duration = Duration::from_secs(60);

/// One member, and what it needs.
#[derive(Debug)]
pub struct MemberSetup {
    /// The run.
    pub run: Run,
    /// What all members agree on.
    pub job: Arc<Job>,
    /// Which of them it is.
    pub me: MemberIndex,
    /// How links name the members, in their order.
    pub(crate) peers: Vec<PeerId>,
    /// The plan that the links are for.
    pub(crate) epoch: Epoch,
    /// The run's data; a worker needs it, and nobody else.
    pub dataset: Option<Arc<Dataset>>,
    /// What is to compute.
    pub executor: ExecutorChoice,
    /// What makes links.
    pub connector: crate::shell::ConnectorSource,
    /// The way of connection messages, and of news.
    pub courier: Courier,
    /// Weights to begin from, instead of those that the seed gives.
    pub weights: Option<Arc<[Parameter]>>,
    /// Be as slow as a device of so many operations per second.
    pub operations_per_second: Option<f64>,
    /// Bytes that its part may take; where nobody says, as many as it needs.
    pub memory_bytes: Option<u64>,
    /// Where to put a trace of what it does.
    pub traced: Option<mpsc::Sender<Traced>>,
    /// What the members begin with.
    pub(crate) start: TeamStart,
    /// What this one holds of it.
    pub(crate) held: Held,
    /// Whether the user of the device may want the model once all is done.
    pub(crate) keeps_weights: bool,
    /// One clock for all members of a process, so that their spans can be compared.
    pub(crate) clock: Clock,
    /// And that of the room, where they are devices of one.
    pub(crate) room_clock: Option<SharedClock>,
}

/// What the event loop waits for.
enum Happening {
    Word(Option<Word>),
    Connector(ConnectorEvent),
    Link(crate::shell::LinkEvent),
    /// A link takes more.
    Room,
    Worked(Box<Worked>),
    Stop,
    Time,
}

struct Shell {
    me: MemberIndex,
    member: Member,
    connector: Connector,
    links: Links,
    outbox: Outbox,
    desk: Desk,
    courier: Courier,
    log: Log,
    clock: Clock,
    craft: Option<Craft>,
    queries: Queries,
    work: Fuse<LocalBoxFuture<'static, Worked>>,
    /// Its part is done, and what it has learnt is to be told.
    finishing: bool,
    /// How links name the members.
    peers: Vec<PeerId>,
    epoch: Epoch,
    /// When to tell how it does, once it has begun.
    report_due: Option<Time>,
}

/// Runs one member until it is stopped, or cannot go on, which the courier is told.
///
/// # Errors
///
/// That there is nothing to compute with.
pub async fn run_member(mut setup: MemberSetup) -> Result<(), PeerError> {
    let executor = match Executor::open(setup.executor).await {
        Ok(executor) => executor,
        Err(error) => {
            let (culprit, reason) = (None, error.to_string());
            setup.courier.tell(Told::Aborted { culprit, reason });
            setup.courier.flush().await;
            return Err(error.into());
        }
    };
    Box::pin(run_seated(setup, executor)).await;
    Ok(())
}

/// Likewise, with what there is to compute with; gives back what makes links, all of which are closed, and what it held.
pub(crate) async fn run_seated(setup: MemberSetup, executor: Executor) -> (Connector, Held) {
    let (job, me) = (setup.job.clone(), setup.me);
    let mut craft = Craft::new(&setup.run, &job, me, setup.dataset);
    craft.initial = setup.weights;
    craft.goes_on = setup.start != TeamStart::Beginning;
    craft.operations_per_second = setup.operations_per_second;
    craft.memory_bytes = setup.memory_bytes;
    craft.keeps_weights = setup.keeps_weights;
    let mut desk = Desk::default();
    let start = setup.start;
    let carried = setup
        .held
        .hand_on(&job.layout, me, start, &mut desk, &mut craft);
    let member = Member::going_on(job.clone(), me, start, carried);
    let mut shell = Shell {
        me,
        member,
        connector: setup
            .connector
            .connector(setup.peers[usize::from(me.0)], None),
        links: Links::default(),
        outbox: Outbox::default(),
        desk,
        courier: setup.courier,
        log: Log::new(me, setup.room_clock, setup.traced),
        clock: setup.clock,
        craft: None,
        queries: Queries::default(),
        work: Fuse::terminated(),
        finishing: false,
        peers: setup.peers,
        epoch: setup.epoch,
        report_due: None,
    };
    for peer in job.layout.links(me) {
        let role = if me < peer {
            ConnectRole::Offer
        } else {
            ConnectRole::Answer
        };
        shell
            .connector
            .connect(shell.peer_id(peer), role, setup.epoch);
    }
    shell.build(craft, executor);
    shell.run().await;
    shell.part().await
}

impl Shell {
    /// Members as the transport names them.
    fn peer_id(&self, member: MemberIndex) -> PeerId {
        // One for each member of the layout.
        self.peers[usize::from(member.0)]
    }

    fn member_of(&self, peer: PeerId) -> MemberIndex {
        let place = self.peers.iter().position(|other| *other == peer);
        // Links are made to members alone.
        let place = place.and_then(|place| u16::try_from(place).ok());
        MemberIndex(place.unwrap_or(u16::MAX))
    }

    /// Closes all links, once what is under way is done: what a server holds must be what it has counted.
    async fn part(mut self) -> (Connector, Held) {
        self.queries.clear();
        while self.craft.is_none() {
            let worked = (&mut self.work).await;
            if let Some(input) = self.worked(worked) {
                self.member.handle(self.clock.now(), input);
            }
        }
        let craft = self.craft.take();
        let held = Held::left_by(&self.member, self.me, self.epoch, &self.desk, craft);
        let layout = &self.member.job().layout;
        for member in layout.links(self.me) {
            let peer = self.peer_id(member);
            self.links.remove(peer);
            self.connector.disconnect(peer);
        }
        (self.connector, held)
    }

    async fn run(&mut self) {
        let mut breath = Breath::new();
        loop {
            let wake = self.drain();
            self.begin_query();
            self.log.waits(self.clock.now(), self.member.is_waiting());
            self.tell_learnt().await;
            self.tell_how();
            self.courier.flush().await;
            breath.take().await;
            let due = [wake, self.report_due].into_iter().flatten().min();
            let wait = due.map_or(IDLE_WAIT, |due| due.since(self.clock.now()));
            let input = match self.next(wait).await {
                Happening::Stop => break,
                Happening::Word(Some(Word::Signal(from, signal))) => {
                    self.connector.deliver(self.peer_id(from), signal);
                    None
                }
                Happening::Word(Some(Word::Hold(held))) => Some(Input::Hold(held)),
                Happening::Word(Some(Word::Query(query))) => {
                    self.queries.put(query);
                    None
                }
                Happening::Word(Some(Word::Doubted(peer))) => Some(Input::Doubted { peer }),
                Happening::Word(Some(Word::Vouched(peer))) => Some(Input::Vouched { peer }),
                // Who carries messages is gone, and with it the run.
                Happening::Word(None) => break,
                Happening::Connector(event) => self.connector_said(event),
                Happening::Link(event) => Some(self.link_said(event)),
                Happening::Room => None,
                Happening::Worked(worked) => self.worked(*worked),
                Happening::Time => {
                    for peer in self.links.stirred() {
                        let peer = self.member_of(peer);
                        self.member.handle(self.clock.now(), Input::Stirs { peer });
                    }
                    Some(Input::Tick)
                }
            };
            if let Some(input) = input {
                self.member.handle(self.clock.now(), input);
            }
        }
        self.log.hand_on();
    }

    /// Waits for one thing to happen. Dropping the others' futures loses nothing.
    async fn next(&mut self, wait: Duration) -> Happening {
        let Self {
            courier,
            connector,
            links,
            outbox,
            work,
            ..
        } = self;
        let room = links.room(outbox.whom());
        let mut work = work;
        // In this order: what is urgent and small before what is large.
        futures::select_biased! {
            _ = &mut courier.stop => Happening::Stop,
            word = courier.incoming.next() => Happening::Word(word),
            event = pin!(connector.next().fuse()) => Happening::Connector(event),
            event = pin!(links.next().fuse()) => Happening::Link(event),
            () = pin!(room.fuse()) => Happening::Room,
            worked = work => Happening::Worked(Box::new(worked)),
            () = pin!(sleep(wait).fuse()) => Happening::Time,
        }
    }

    /// Does what the member asks for, and says when it wants to be woken.
    fn drain(&mut self) -> Option<Time> {
        loop {
            match self.member.poll_output() {
                // What could not be sent may have made the member say more.
                Polled::Wait(wake) if !self.send_waiting() => return wake,
                Polled::Wait(_) => {}
                Polled::Do(Output::Send {
                    to,
                    message,
                    payload,
                }) => self.send(to, message, payload),
                Polled::Do(Output::Run(task)) => self.begin(task),
                Polled::Do(Output::Discard(payload)) => self.desk.discard(payload),
                Polled::Do(Output::Event(event)) => self.event(event),
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Begun => {
                self.links.count_from_now();
                self.courier.tell(Told::Begun);
                self.report_due = Some(self.clock.now() + REPORT_INTERVAL);
            }
            Event::Score(score) => self.courier.tell(Told::Score(score)),
            Event::Refused { from, refusal } => {
                tracing::warn!(from = from.0, %refusal, "a push does not count");
            }
            Event::Stable(version) => self.courier.tell(Told::Stable(version)),
            Event::Suspect { peer } => self.courier.tell(Told::Suspect(peer)),
            Event::LinkLost { peer, reason } => {
                self.courier.tell(Told::LinkLost { peer, reason });
            }
            Event::Finished => self.finishing = true,
            Event::Aborted { culprit, reason } => {
                self.courier.tell(Told::Aborted { culprit, reason });
            }
        }
    }

    /// Once its part is done: what it has learnt, and how it spent its time.
    async fn tell_learnt(&mut self) {
        // Bytes are counted once all that others wait for have left.
        if !self.finishing || self.outbox.is_awaited() {
            return;
        }
        let Some(craft) = &self.craft else { return };
        self.finishing = false;
        let links: Vec<_> = self.links.counts_in_the_end().collect();
        let bytes = links.iter().map(|(_, traffic)| traffic.sent).sum();
        let spent = self.log.spent(bytes);
        let lately = self.log.lately(self.clock.now());
        self.courier.tell(Told::Does {
            spent,
            links,
            lately,
        });
        let told = match craft.learnt().await {
            Ok(learnt) => Told::Finished { spent, learnt },
            Err(error) => Told::Aborted {
                culprit: None,
                reason: error.to_string(),
            },
        };
        self.courier.tell(told);
    }

    /// Once a second: how it spends its time, and what links have moved.
    fn tell_how(&mut self) {
        let now = self.clock.now();
        if self.report_due.is_some_and(|due| now >= due) {
            self.report_due = Some(now + REPORT_INTERVAL);
            let links = self.links.counts().collect();
            let (spent, lately) = (self.log.so_far(now), self.log.lately(now));
            self.log.hand_on();
            self.courier.tell(Told::Does {
                spent,
                links,
                lately,
            });
        }
    }

    fn connector_said(&mut self, event: ConnectorEvent) -> Option<Input> {
        match event {
            ConnectorEvent::Signal { to, signal } => {
                self.courier.send(self.member_of(to), signal);
                None
            }
            ConnectorEvent::Connected { peer, link } => {
                self.links.add(peer, link);
                let peer = self.member_of(peer);
                Some(Input::LinkUp { peer })
            }
            ConnectorEvent::Failed { peer, error } => Some(Input::LinkLost {
                peer: self.member_of(peer),
                reason: error.to_string(),
            }),
        }
    }

    fn link_said(&mut self, event: crate::shell::LinkEvent) -> Input {
        let from = self.member_of(event.peer);
        let bytes = match event.frame {
            Ok(bytes) => bytes,
            Err(error) => {
                let reason = error.to_string();
                return Input::LinkLost { peer: from, reason };
            }
        };
        match self.read(from, &bytes) {
            Ok(input) => input,
            Err(error) => Input::Unreadable { from, error },
        }
    }

    fn read(&mut self, from: MemberIndex, bytes: &[u8]) -> Result<Input, WireError> {
        let frame = Frame::decode(bytes)?;
        let message = frame.message;
        let payload = match message.numbers() {
            Some(numbers) => Some(self.desk.keep_bytes(numbers, frame.payload)?),
            None => None,
        };
        let now = self.clock.now();
        self.log.arrived(now, from, frame.sent, &message);
        Ok(Input::Message {
            from,
            message,
            payload,
        })
    }
}
