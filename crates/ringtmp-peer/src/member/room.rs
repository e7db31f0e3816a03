//! A device in a room whose devices hold whole models: the room's plan makes it a member, which [`run_seated`] drives.
//!
//! ```text
//!   room ── PrepareTeam, signals, pause ──▶ RoomMember ── words ──▶ member
//!        ◀── Ready, Progress, Report, Done ──          ◀── news ───
//! ```

use super::scores::Scores;
use super::team::{News, Post, Word};
use super::{Courier, Held, MemberSetup, Spent, Told, job_of, run_seated};
use crate::datasets::{DataPlace, open_data};
use crate::error::PeerError;
use crate::measure::{self, Hurry};
use crate::platform::{Clock, sleep};
use crate::progress::Progress;
use crate::run_file::Run;
use crate::shell::{Traced, VIEW_INTERVAL, ask};
use crate::view::{Command, LinkState, NoticeLevel, ServerState, View};
use crate::workshop::Circumstances;
use futures::channel::mpsc;
use futures::future::{Fuse, FutureExt, LocalBoxFuture};
use futures::{SinkExt, StreamExt};
use ringtmp_compute::{Executor, Parameter};
use ringtmp_core::ids::{Epoch, PeerId};
use ringtmp_core::node::Event;
use ringtmp_core::parameter_server::{Job, MemberIndex, TeamPlan};
use ringtmp_core::profile::{Planning, Profile};
use ringtmp_core::signal::{
    ClientMessage, LinkTraffic, Point, Role, RoomState, RoomView, ServerMessage, Signal,
};
use ringtmp_core::time::Time;
use ringtmp_core::trace::{Paced, Report};
use ringtmp_core::wire::{PROGRESS_POINTS_MAX, Purpose};
use ringtmp_data::Dataset;
use ringtmp_transport::{Connector, Signalling, SignallingError, Traffic};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// News of a member that wait for its room; the member waits when they are too many.
const NEWS_MAX: usize = 256;

/// Points of the curves are sent at most this often: a step can take a millisecond, and the server counts messages.
const POINTS_INTERVAL: Duration = Duration::from_millis(200);

/// How long to wait where nothing is due: any length would do.
const IDLE_WAIT: Duration = Duration::from_secs(60);

/// What a device brings along into such a room.
pub(crate) struct Brought {
    /// What computes; none of who only watches.
    pub(crate) executor: Option<Executor>,
    /// Where the run's data is.
    pub(crate) place: DataPlace,
    /// Weights to begin from, instead of those that the seed gives.
    pub(crate) initial: Option<Arc<[Parameter]>>,
    /// Where to put what was learnt.
    pub(crate) weights: Option<mpsc::Sender<Vec<Parameter>>>,
    /// Where to put a trace.
    pub(crate) traced: Option<mpsc::Sender<Traced>>,
    /// What is known of the device.
    pub(crate) circumstances: Circumstances,
}

/// What a member leaves to the next.
struct Free {
    connector: Connector,
    dataset: Option<Arc<Dataset>>,
    /// Of the run that it was part of.
    held: Held,
}

/// A part in a plan.
struct Seat {
    plan: TeamPlan,
    job: Arc<Job>,
    post: Post,
    news: mpsc::Receiver<(MemberIndex, News)>,
    run: Fuse<LocalBoxFuture<'static, Free>>,
    scores: Scores,
    points: Vec<Point>,
    points_due: Time,
    spent: Spent,
    links: Vec<LinkTraffic>,
}

/// What the event loop waits for.
enum Happening {
    Server(Box<Result<ServerMessage, SignallingError>>),
    /// None when the user's side is gone.
    Command(Option<Command>),
    News(News),
    /// A member has ended, and its links are closed.
    Free(Free),
    Measured(Option<Profile>),
    Time,
}

/// What came of something that happened.
type Goes = Result<Going, PeerError>;

/// Whether to stay in the room.
#[derive(PartialEq, Eq)]
enum Going {
    On,
    Away,
}

/// A device in its room.
pub(crate) struct RoomMember {
    me: PeerId,
    run: Run,
    signalling: Signalling,
    brought: Brought,
    clock: Clock,
    /// While no member has it.
    free: Option<Free>,
    seat: Option<Seat>,
    measuring: Fuse<LocalBoxFuture<'static, Option<Profile>>>,
    /// Ends a measurement that a plan has overtaken.
    hurry: Hurry,
    view_due: Time,
}

impl RoomMember {
    pub(crate) fn new(
        me: PeerId,
        role: Role,
        run: Run,
        signalling: Signalling,
        connector: Connector,
        brought: Brought,
    ) -> Self {
        let (clock, hurry) = (Clock::start(), Hurry::default());
        let measures = role == Role::Participant && run.file.planning == Planning::Measured;
        let measuring = match &brought.executor {
            Some(executor) if measures => {
                let (run, executor, hurry) = (run.clone(), executor.clone(), hurry.clone());
                let circumstances = brought.circumstances;
                let measuring = async move {
                    measure::profile(&run, &executor, circumstances, clock, &hurry).await
                };
                measuring.boxed_local().fuse()
            }
            Some(_) | None => Fuse::terminated(),
        };
        Self {
            me,
            run,
            signalling,
            brought,
            clock,
            free: Some(Free {
                connector,
                dataset: None,
                held: Held::default(),
            }),
            seat: None,
            measuring,
            hurry,
            view_due: Time::ZERO,
        }
    }

    /// Takes part until its user leaves or the server is gone.
    ///
    /// # Errors
    ///
    /// Why it had to end.
    pub(crate) async fn run(
        &mut self,
        mut commands: mpsc::Receiver<Command>,
        progress: &mut Progress,
        publish: &mut impl FnMut(View),
    ) -> Result<(), PeerError> {
        loop {
            self.show(progress, publish);
            self.tell_points(false)?;
            let wait = self.wait(progress);
            let going = match self.next(&mut commands, wait).await {
                Happening::Server(message) => self.heard(*message, progress)?,
                Happening::Command(command) => self.obey(command, progress)?,
                Happening::News(news) => self.news(news, progress)?,
                Happening::Free(free) => {
                    (self.free, self.seat) = (Some(free), None);
                    Going::On
                }
                Happening::Measured(profile) => {
                    if let Some(profile) = profile {
                        self.signalling.send(&ClientMessage::Profile { profile })?;
                    }
                    Going::On
                }
                Happening::Time => Going::On,
            };
            if going == Going::Away {
                return Ok(());
            }
        }
    }

    /// Waits for one thing to happen. Dropping the others' futures loses nothing.
    async fn next(&mut self, commands: &mut mpsc::Receiver<Command>, wait: Duration) -> Happening {
        let Self {
            signalling,
            seat,
            measuring,
            ..
        } = self;
        let seated = async {
            let Some(seat) = seat else {
                return std::future::pending().await;
            };
            let mut run = &mut seat.run;
            futures::select_biased! {
                news = seat.news.select_next_some() => Happening::News(news.1),
                free = run => Happening::Free(free),
            }
        };
        let mut measuring = measuring;
        // In this order: what is urgent and small before what is large.
        futures::select_biased! {
            command = commands.next() => Happening::Command(command),
            message = pin!(signalling.receive().fuse()) => Happening::Server(Box::new(message)),
            seated = pin!(seated.fuse()) => seated,
            profile = measuring => Happening::Measured(profile),
            () = pin!(sleep(wait).fuse()) => Happening::Time,
        }
    }

    fn show(&mut self, progress: &mut Progress, publish: &mut impl FnMut(View)) {
        let now = self.clock.now();
        if progress.has_changed() && now >= self.view_due {
            self.view_due = now + VIEW_INTERVAL;
            publish(progress.take());
        }
    }

    fn wait(&self, progress: &Progress) -> Duration {
        let view = progress.has_changed().then_some(self.view_due);
        let seat = self.seat.as_ref().filter(|seat| !seat.points.is_empty());
        let points = seat.map(|seat| seat.points_due);
        let due = [view, points].into_iter().flatten().min();
        due.map_or(IDLE_WAIT, |due| due.since(self.clock.now()))
    }

    fn heard(
        &mut self,
        message: Result<ServerMessage, SignallingError>,
        progress: &mut Progress,
    ) -> Goes {
        let message = match message {
            Ok(message) => message,
            Err(error) => {
                progress.server(ServerState::Lost {
                    reason: error.to_string(),
                    comes_back: false,
                });
                return Err(error.into());
            }
        };
        progress.heard(&message);
        match message {
            ServerMessage::PrepareTeam { plan } => self.take_seat(plan, progress)?,
            ServerMessage::Signal { from, signal } => self.deliver(from, signal),
            ServerMessage::Room { room } => self.follow(&room),
            ServerMessage::Progress { points } => progress.event(&Event::Points(points)),
            ServerMessage::AreYouThere { epoch } => {
                self.signalling.send(&ClientMessage::Here { epoch })?;
            }
            ServerMessage::Kicked { by } => {
                self.stand_up();
                return Err(PeerError::Kicked(by));
            }
            ServerMessage::Released => {
                self.stand_up();
                return Ok(Going::Away);
            }
            // The view shows it, or it is of rings alone.
            ServerMessage::Created { .. }
            | ServerMessage::Welcome { .. }
            | ServerMessage::Prepare { .. }
            | ServerMessage::Commit { .. }
            | ServerMessage::Halt { .. }
            | ServerMessage::Rest { .. }
            | ServerMessage::Doubt { .. }
            | ServerMessage::Answers { .. }
            | ServerMessage::Clock { .. }
            | ServerMessage::Host { .. }
            | ServerMessage::Refused { .. } => {}
        }
        Ok(Going::On)
    }

    fn obey(&mut self, command: Option<Command>, progress: &mut Progress) -> Goes {
        match &command {
            Some(Command::TrainOn { .. }) => {
                let text = "This drawing is not trained on: only rings of devices take drawings.";
                progress.notice(NoticeLevel::Warning, text.to_owned(), "");
            }
            Some(Command::LoseGpu) => {
                if let Some(executor) = &self.brought.executor {
                    executor.lose();
                }
            }
            Some(Command::Leave) | None => {
                self.stand_up();
                if let Err(error) = self.signalling.send(&ClientMessage::Leave) {
                    tracing::debug!(%error, "the server was gone before we left");
                }
                return Ok(Going::Away);
            }
            Some(_) => {}
        }
        if let Some(message) = command.as_ref().and_then(ask) {
            self.signalling.send(&message)?;
        }
        Ok(Going::On)
    }

    fn deliver(&mut self, from: PeerId, signal: Signal) {
        if let Some(seat) = &mut self.seat
            && seat.plan.epoch == signal.epoch()
            && let Some(from) = seat.plan.member_of(from)
            && seat
                .post
                .words
                .try_send(Word::Signal(from, signal))
                .is_err()
        {
            // The connection will not come about, which its ends tell.
            tracing::warn!("a connection message is lost");
        }
    }

    /// The room has changed: whether training goes on, and whether a new step may begin.
    fn follow(&mut self, room: &RoomView) {
        let without = |plan: &TeamPlan| plan.member_of(self.me).is_none();
        if room.team().is_some_and(without) {
            return self.stand_up();
        }
        let held = match room.state {
            RoomState::WarmingUp | RoomState::Training | RoomState::Reconfiguring { .. } => false,
            RoomState::Paused => true,
            RoomState::Waiting
            | RoomState::Lacking { .. }
            | RoomState::Finished
            | RoomState::Stopped { .. } => return self.stand_up(),
        };
        if let Some(seat) = &mut self.seat {
            // A member whose queue is full is not there yet to hold anything, or has ended.
            let _unheard = seat.post.words.try_send(Word::Hold(held));
        }
    }

    /// Ends this device's part; what it leaves comes as [`Happening::Free`].
    fn stand_up(&mut self) {
        if let Some(seat) = &mut self.seat {
            seat.post.stop = None;
        }
    }

    /// A plan: this device's part in it, after that in any older one.
    fn take_seat(&mut self, plan: TeamPlan, progress: &mut Progress) -> Result<(), PeerError> {
        self.hurry.up();
        self.stand_up();
        let (Some(me), Some(executor)) = (plan.member_of(self.me), self.brought.executor.clone())
        else {
            return Ok(());
        };
        let epoch = plan.epoch;
        let parameters: Vec<u64> = self.run.layers.iter().map(|it| it.parameters).collect();
        let layout = match plan.layout(&parameters, self.run.micro_batches()) {
            Ok(layout) => layout,
            Err(error) => return self.fail(epoch, error.to_string(), None),
        };
        let job = Arc::new(job_of(&self.run, layout));
        let links = job.layout.links(me);
        for member in &links {
            progress.link(plan.order[usize::from(member.0)], LinkState::Connecting);
        }
        let (tell, news) = mpsc::channel(NEWS_MAX);
        let (courier, post) = Courier::new(me, links.len(), tell.clone());
        let free = match (self.free.take(), self.seat.take()) {
            (Some(free), _) => std::future::ready(free).boxed_local(),
            (None, Some(seat)) => seat.run.boxed_local(),
            (None, None) => unreachable!("what makes links is free, or somebody has it"),
        };
        let open = Opening {
            run: self.run.clone(),
            job: job.clone(),
            me,
            plan: plan.clone(),
            place: self.brought.place.clone(),
            courier,
            tell,
            initial: self.brought.initial.clone(),
            traced: self.brought.traced.clone(),
            circumstances: self.brought.circumstances,
            clock: self.clock,
        };
        self.seat = Some(Seat {
            run: open.run(executor, free).boxed_local().fuse(),
            scores: Scores::of(job.layout.workers.len()),
            plan,
            job,
            post,
            news,
            points: Vec::new(),
            points_due: Time::ZERO,
            spent: Spent::default(),
            links: Vec::new(),
        });
        Ok(())
    }

    /// What the member says.
    fn news(&mut self, news: News, progress: &mut Progress) -> Goes {
        let Some(seat) = &mut self.seat else {
            return Ok(Going::On);
        };
        let epoch = seat.plan.epoch;
        match news {
            News::Signal { to, signal } => {
                let to = seat.plan.order[usize::from(to.0)];
                self.signalling
                    .send(&ClientMessage::Signal { to, signal })?;
            }
            News::Told(Told::Begun) => {
                let me = seat.plan.member_of(self.me);
                let links = me.map(|me| seat.job.layout.links(me)).unwrap_or_default();
                for member in links {
                    progress.link(seat.plan.order[usize::from(member.0)], LinkState::Open);
                }
                let links = Vec::new();
                self.signalling
                    .send(&ClientMessage::Ready { epoch, links })?;
            }
            News::Told(Told::Score(score)) => {
                if let Some((step, purpose, score)) = seat.scores.take(&score) {
                    let (loss, accuracy) = match purpose {
                        Purpose::Train => (Some(score.loss), None),
                        Purpose::Evaluate => (None, Some(score.accuracy)),
                    };
                    seat.points.push(Point {
                        step,
                        loss,
                        accuracy,
                    });
                }
            }
            News::Told(Told::Does { spent, links }) => self.report(spent, &links, progress)?,
            News::Told(Told::Finished { learnt, .. }) => {
                self.tell_points(true)?;
                let links = self.seat.as_ref().map(|seat| seat.links.clone());
                self.signalling.send(&ClientMessage::Done {
                    epoch,
                    digests: learnt.digests,
                    links: links.unwrap_or_default(),
                })?;
                if let Some(weights) = &mut self.brought.weights
                    && weights.try_send(learnt.weights).is_err()
                {
                    tracing::warn!("nobody takes the weights");
                }
            }
            News::Told(Told::Aborted { culprit, reason }) => {
                let culprit = culprit.map(|culprit| seat.plan.order[usize::from(culprit.0)]);
                let name = culprit.and_then(|peer| progress.name_of(peer));
                let reason = name.map_or(reason.clone(), |name| format!("of {name}: {reason}"));
                self.fail(epoch, reason, culprit)?;
            }
        }
        Ok(Going::On)
    }

    fn fail(
        &mut self,
        epoch: Epoch,
        reason: String,
        culprit: Option<PeerId>,
    ) -> Result<(), PeerError> {
        let failed = ClientMessage::Failed {
            epoch,
            reason,
            culprit,
        };
        Ok(self.signalling.send(&failed)?)
    }

    /// Sends points of the curves that wait, all of them or as many as there may be at once, if it is time or has to be.
    fn tell_points(&mut self, at_once: bool) -> Result<(), PeerError> {
        let now = self.clock.now();
        let Some(seat) = &mut self.seat else {
            return Ok(());
        };
        while !seat.points.is_empty() && (at_once || now >= seat.points_due) {
            seat.points_due = now + POINTS_INTERVAL;
            let count = seat.points.len().min(PROGRESS_POINTS_MAX);
            let points = seat.points.drain(..count).collect();
            let epoch = seat.plan.epoch;
            self.signalling
                .send(&ClientMessage::Progress { epoch, points })?;
        }
        Ok(())
    }

    /// How this device does: computing, or waiting for others.
    fn report(
        &mut self,
        spent: Spent,
        links: &[(PeerId, Traffic)],
        progress: &mut Progress,
    ) -> Result<(), PeerError> {
        let Some(seat) = &mut self.seat else {
            return Ok(());
        };
        let report = Report {
            shares: spent.shares_since(&seat.spent),
            run: spent.shares_since(&Spent::default()),
            run_seconds: spent.seconds,
            paced: (spent.paced > 0).then_some(Paced {
                tasks: spent.paced,
                late: spent.late,
            }),
            ..Report::default()
        };
        seat.spent = spent;
        let sent = |(to, traffic): &(PeerId, Traffic)| LinkTraffic {
            to: *to,
            bytes: traffic.sent,
        };
        seat.links = links.iter().map(sent).collect();
        for (peer, traffic) in links {
            progress.traffic(*peer, traffic.sent, traffic.received);
        }
        progress.report(self.me, &report);
        let (epoch, links) = (seat.plan.epoch, seat.links.clone());
        self.signalling.send(&ClientMessage::Report {
            epoch,
            links,
            report: Box::new(report),
        })?;
        Ok(())
    }
}

/// A member that is about to begin.
struct Opening {
    run: Run,
    job: Arc<Job>,
    me: MemberIndex,
    plan: TeamPlan,
    place: DataPlace,
    courier: Courier,
    tell: mpsc::Sender<(MemberIndex, News)>,
    initial: Option<Arc<[Parameter]>>,
    traced: Option<mpsc::Sender<Traced>>,
    circumstances: Circumstances,
    clock: Clock,
}

impl Opening {
    async fn run(mut self, executor: Executor, free: impl Future<Output = Free>) -> Free {
        let free = free.await;
        let dataset = match free.dataset {
            Some(dataset) => Ok(dataset),
            None => open_data(&self.run, &self.place).await.map(Arc::new),
        };
        let connector = free.connector;
        let dataset = match dataset {
            Ok(dataset) => dataset,
            Err(error) => {
                let (culprit, reason) = (None, error.to_string());
                let told = News::Told(Told::Aborted { culprit, reason });
                // The room's side is gone, then, and needs to know nothing.
                let _unheard = self.tell.send((self.me, told)).await;
                return Free {
                    connector,
                    dataset: None,
                    held: free.held,
                };
            }
        };
        let is_server = self.job.layout.shard_at(self.me).is_some();
        let goes_on = self.plan.goes_on.then_some(free.held);
        if is_server && goes_on.as_ref().is_some_and(|held| !held.is_something()) {
            let (culprit, reason) = (None, "it holds nothing to go on from".to_owned());
            let told = News::Told(Told::Aborted { culprit, reason });
            let _unheard = self.tell.send((self.me, told)).await;
            return Free {
                connector,
                dataset: Some(dataset),
                held: Held::default(),
            };
        }
        let setup = MemberSetup {
            run: self.run,
            job: self.job,
            me: self.me,
            peers: self.plan.order,
            epoch: self.plan.epoch,
            dataset: dataset.clone(),
            executor: self.circumstances.executor,
            connector: connector.into(),
            courier: self.courier,
            weights: self.initial,
            operations_per_second: self.circumstances.operations_per_second,
            memory_bytes: self.circumstances.memory_bytes,
            traced: self.traced,
            goes_on,
            clock: self.clock,
        };
        let (connector, held) = Box::pin(run_seated(setup, executor)).await;
        Free {
            connector,
            dataset: Some(dataset),
            held,
        }
    }
}
