//! A device in a room whose devices hold whole models: the room's plan makes it a member, which [`run_seated`] drives.
//!
//! ```text
//!   room ── PrepareTeam, signals, pause ──▶ RoomMember ── words ──▶ member
//!        ◀── Ready, Progress, Report, Done ──          ◀── news ───
//! ```

use super::opening::Free;
use super::seat::Seat;
use super::team::{News, Word};
use super::user::Wants;
use super::{Held, Identity, SharedClock};
use crate::datasets::DataPlace;
use crate::error::PeerError;
use crate::measure::{self, Hurry};
use crate::platform::{Clock, sleep};
use crate::progress::Progress;
use crate::run_file::Run;
use crate::scribe::Opened;
use crate::shell::{Fetched, Line, OverLine, Porch, Traced, VIEW_INTERVAL, ask};
use crate::view::{Command, NoticeLevel, View};
use crate::workshop::Circumstances;
use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::{Fuse, FutureExt, LocalBoxFuture};
use ringtmp_compute::{Executor, Parameter};
use ringtmp_core::ids::{Epoch, PeerId};
use ringtmp_core::node::Event;
use ringtmp_core::parameter_server::{MemberIndex, TeamPlan};
use ringtmp_core::profile::{Planning, Profile};
use ringtmp_core::signal::{ClientMessage, Role, RoomState, RoomView, ServerMessage, Signal};
use ringtmp_core::time::Time;
use ringtmp_transport::{Connector, SignallingError};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

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
    /// Where to put models that its user wants.
    pub(crate) models: Option<mpsc::Sender<Fetched>>,
    /// Where to put a trace.
    pub(crate) traced: Option<mpsc::Sender<Traced>>,
    /// What is known of the device.
    pub(crate) circumstances: Circumstances,
}

/// What the event loop waits for.
enum Happening {
    /// The characters of the run's text.
    Vocabulary(Box<Opened>),
    Line(OverLine),
    /// None when the user's side is gone.
    Command(Option<Command>),
    News(News),
    /// A member has ended, and its links are closed.
    Free(Box<Free>),
    Measured(Option<Profile>),
    Time,
}

/// What came of something that happened.
pub(super) type Goes = Result<Going, PeerError>;

/// Whether to stay in the room.
#[derive(PartialEq, Eq)]
pub(super) enum Going {
    On,
    Away,
}

/// A device in its room.
pub(crate) struct RoomMember {
    pub(super) whom: Identity,
    porch: Porch,
    pub(super) run: Run,
    pub(super) line: Line,
    pub(super) brought: Brought,
    pub(super) clock: Clock,
    pub(super) room_clock: SharedClock,
    /// While no member has it.
    pub(super) free: Option<Free>,
    pub(super) seat: Option<Seat>,
    pub(super) wants: Wants,
    measuring: Fuse<LocalBoxFuture<'static, Option<Profile>>>,
    /// Ends a measurement that a plan has overtaken.
    pub(super) hurry: Hurry,
    view_due: Time,
    /// When to ask for the room's time again.
    pub(super) asks_due: Time,
    /// The room has asked what this device holds, and is to be told once its part has ended.
    pub(super) halted: Option<Epoch>,
}

impl RoomMember {
    pub(crate) fn new(
        whom: Identity,
        role: Role,
        run: Run,
        line: Line,
        clock: Clock,
        connector: Connector,
        mut brought: Brought,
    ) -> Self {
        let wants = Wants::new(&run, brought.place.clone(), brought.models.take());
        let hurry = Hurry::default();
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
            whom,
            porch: Porch::new(line.door.link, line.door.decides),
            run,
            line,
            brought,
            clock,
            room_clock: SharedClock::default(),
            free: Some(Free {
                connector,
                dataset: None,
                held: Held::default(),
            }),
            seat: None,
            wants,
            measuring,
            hurry,
            view_due: Time::ZERO,
            asks_due: Time::ZERO,
            halted: None,
        }
    }

    /// Takes part until its user leaves; a server that is gone is come back to.
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
            self.tell_points(false, progress);
            let wait = self.wait(progress);
            let going = match self.next(&mut commands, wait).await {
                Happening::Line(OverLine::Server(message)) => self.heard(*message, progress)?,
                Happening::Line(OverLine::Knocked(signalling)) => {
                    let now = self.clock.now();
                    self.line.knock(now, *signalling, &self.whom, progress);
                    Going::On
                }
                Happening::Command(command) => self.obey(command, progress)?,
                Happening::News(news) => self.news(news, progress)?,
                Happening::Free(free) => {
                    self.hear_out(progress)?;
                    (self.free, self.seat) = (Some(*free), None);
                    self.tell_holding(progress);
                    Going::On
                }
                Happening::Vocabulary(opened) => {
                    self.vocabulary_opened(*opened, progress);
                    Going::On
                }
                Happening::Measured(profile) => {
                    if let Some(profile) = profile {
                        self.tell(ClientMessage::Profile { profile }, progress);
                    }
                    Going::On
                }
                Happening::Time => {
                    self.keep_in_touch(progress);
                    Going::On
                }
            };
            if going == Going::Away {
                return Ok(());
            }
        }
    }

    /// Waits for one thing to happen. Dropping the others' futures loses nothing.
    async fn next(&mut self, commands: &mut mpsc::Receiver<Command>, wait: Duration) -> Happening {
        let Self {
            line,
            seat,
            measuring,
            wants,
            ..
        } = self;
        let seated = async {
            let Some(seat) = seat else {
                return std::future::pending().await;
            };
            let mut run = &mut seat.run;
            futures::select_biased! {
                news = seat.news.select_next_some() => Happening::News(news.1),
                free = run => Happening::Free(Box::new(free)),
            }
        };
        let mut measuring = measuring;
        // In this order: what is urgent and small before what is large.
        futures::select_biased! {
            command = commands.next() => Happening::Command(command),
            over = pin!(line.next().fuse()) => Happening::Line(over),
            seated = pin!(seated.fuse()) => seated,
            profile = measuring => Happening::Measured(profile),
            opened = &mut wants.scribe.opening => Happening::Vocabulary(Box::new(opened)),
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
        let has_points = |seat: &&Seat| self.line.is_there() && !seat.points.is_empty();
        let seat = self.seat.as_ref().filter(has_points);
        let points = seat.map(|seat| seat.points_due);
        let asks = self.is_in_touch().then_some(self.asks_due);
        let due = [view, points, asks].into_iter().flatten().min();
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
                self.line.lost(&error.to_string(), &self.whom, progress);
                return Ok(Going::On);
            }
        };
        let now = self.clock.now();
        if !self.line.heard(now, &message, &self.whom, progress) {
            return Ok(Going::On);
        }
        progress.heard(&message);
        match message {
            ServerMessage::Welcome {
                peer, token, room, ..
            } => self.welcomed(peer, token, &room, progress),
            ServerMessage::PrepareTeam { plan } => self.take_seat(plan, progress),
            ServerMessage::Signal { from, signal } => self.deliver(from, signal),
            ServerMessage::Halt { epoch, .. } => {
                self.stand_up();
                self.whom.lets_go();
                self.halted = Some(epoch);
                self.tell_holding(progress);
            }
            ServerMessage::Answers { epoch, peer } => self.pass_on(epoch, peer, Word::Vouched),
            ServerMessage::Doubt { epoch, peer } => self.pass_on(epoch, peer, Word::Doubted),
            ServerMessage::Room { room } => {
                self.follow(&room);
                self.want_in(&room.state, progress);
            }
            ServerMessage::Progress { points } => {
                self.write_again(&points, progress);
                progress.event(&Event::Points(points));
            }
            ServerMessage::Clock { asked, now } => {
                self.room_clock.answered(self.clock.now(), asked, now);
            }
            ServerMessage::AreYouThere { epoch } => {
                self.say(&ClientMessage::Here { epoch }, progress);
            }
            ServerMessage::Asked(asked) => {
                if let Some(says) = self.porch.heard(&asked, now, progress) {
                    self.say(&says, progress);
                }
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
            | ServerMessage::IceServers { .. }
            | ServerMessage::Question { .. }
            | ServerMessage::Prepare { .. }
            | ServerMessage::Commit { .. }
            | ServerMessage::Rest { .. }
            | ServerMessage::Host { .. }
            | ServerMessage::Refused { .. } => {}
        }
        Ok(Going::On)
    }

    fn obey(&mut self, command: Option<Command>, progress: &mut Progress) -> Goes {
        if let Some(command) = &command {
            self.line.remember(command);
        }
        match &command {
            Some(Command::TrainOn { .. }) => {
                let text = "This drawing is not trained on: only rings of devices take drawings.";
                progress.notice(NoticeLevel::Warning, text.to_owned(), "");
            }
            Some(Command::Ask { strokes }) => self.ask_about(strokes, progress),
            Some(Command::Write {
                start,
                temperature_percent,
                again,
            }) => self.write(start, *temperature_percent, *again, progress),
            Some(Command::StopWriting) => self.stop_writing(progress),
            Some(Command::FetchModel) => self.fetch_model(progress),
            Some(Command::Admit { asker, allow }) => {
                if let Some(says) = self.porch.decided(*asker, *allow, progress) {
                    self.say(&says, progress);
                }
            }
            Some(Command::LoseGpu { .. }) => {
                if let Some(executor) = &self.brought.executor {
                    executor.lose();
                }
            }
            Some(Command::Leave) | None => {
                self.stand_up();
                self.line.take_leave();
                return Ok(Going::Away);
            }
            Some(_) => {}
        }
        match command.as_ref().and_then(ask) {
            // Whoever wants to leave is heard, whenever the room is there again.
            Some(message @ ClientMessage::HandOn) => self.tell(message, progress),
            Some(message) => self.say(&message, progress),
            None => {}
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
    pub(super) fn follow(&mut self, room: &RoomView) {
        // A room that is put together anew goes on as it was before, paused or not.
        if !room.state.is_put_together() {
            self.whom.state = room.state.clone();
        }
        let without = |plan: &TeamPlan| plan.member_of(self.whom.me).is_none();
        if room.team().is_some_and(without) {
            return self.stand_up();
        }
        let held = match room.state {
            RoomState::WarmingUp | RoomState::Training => false,
            RoomState::Reconfiguring { .. } => return,
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

    /// What a member has said that has ended meanwhile.
    fn hear_out(&mut self, progress: &mut Progress) -> Result<(), PeerError> {
        while let Some(seat) = &mut self.seat
            && let Ok((_, news)) = seat.news.try_recv()
        {
            self.news(news, progress)?;
        }
        Ok(())
    }

    /// Says what this device holds, where it was asked and its part has ended.
    fn tell_holding(&mut self, progress: &mut Progress) {
        if let Some(free) = &self.free
            && let Some(epoch) = self.halted.take()
        {
            let holding = free.held.told();
            self.tell(ClientMessage::Holdings { epoch, holding }, progress);
        }
    }

    /// What the room knows of another member.
    fn pass_on(&mut self, epoch: Epoch, peer: PeerId, word: impl FnOnce(MemberIndex) -> Word) {
        if let Some(seat) = self.seat.as_mut().filter(|seat| seat.plan.epoch == epoch)
            && let Some(member) = seat.plan.member_of(peer)
        {
            // One whose queue is full is busy with what has come.
            let _unheard = seat.post.words.try_send(word(member));
        }
    }
}
