//! What every peer runs: it obeys the room, greets its neighbours and works off the schedule.
//!
//! ```text
//!             Prepare (in the plan)     layers here, built, all links greeted: Ready; Commit    all done here
//!   idle ──────────────────────────▶ preparing ─────────────────────────────────────▶ training ─────────────▶ finished
//!    ▲                                   │              halted by the room               │                        │
//!    │                                   ▼                                               │                        │
//!    ├──────── next plan ──────────── halted: says what copies it holds ◀────────────────┤                        │
//!    └──────── room stopped, next plan ──────────────────────────────────────────────────┴────────────────────────┘
//! ```
//!
//! What a node holds of the run (copies of layers) outlives plans; all else goes with the plan that it belongs to.
//!
//! Use: [`Node::handle`] with each input, then [`Node::poll_output`] until it says to wait.

mod active;
mod answering;
mod beats;
mod collecting;
mod frames;
mod interface;
mod keeping;
mod links;
mod obeying;
mod owed;
mod pieces;
mod probe;
mod returning;
mod rounds;
mod storing;
mod tally;
mod thirds;
mod training;

use crate::ids::{Epoch, MemberToken, PeerId, RoomCode, Step};
use crate::plan::Plan;
use crate::profile::Planning;
use crate::replica::Ledger;
use crate::schedule::Waiting;
use crate::signal::{
    ClientMessage, DeviceKind, LinkTraffic, Role, RoomState, RoomView, RunDescriptor, RunOutline,
    ServerMessage, Unsure,
};
use crate::time::Time;
use crate::trace::{Report, RoomClock};
use active::{Active, LinkProgress};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use storing::Storing;

pub use crate::beats::{BEAT_INTERVAL, LINK_SILENCE_MAX, SILENCE_MAX};
pub use interface::{Assignment, Event, Input, Loss, Outcome, Output, Polled};
pub use owed::ACKNOWLEDGED_WITHIN;

#[derive(Debug)]
struct Identity {
    me: PeerId,
    token: MemberToken,
    room: RoomCode,
    run: RunDescriptor,
}

/// A greeting that was not answered is repeated after this time. A data channel can open at one end earlier than at the other,
/// and what is sent in between may be lost (seen with `rtc` 0.21).
const HELLO_INTERVAL: Duration = Duration::from_millis(200);

/// One peer's part of the protocol.
#[derive(Debug)]
pub struct Node {
    identity: Option<Identity>,
    kinds: BTreeMap<PeerId, DeviceKind>,
    active: Option<Active>,
    /// Copies of layers that are here.
    ledger: Ledger,
    /// And on the disk.
    storing: Storing,
    /// The newest plan that was obeyed, to whose past the copies belong.
    obeyed: Option<Plan>,
    /// The room's, as it was last heard of.
    state: RoomState,
    /// What the room must not miss, and may have missed.
    unsure: Unsure,
    /// Updates of the stage that was last given up.
    reached: Step,
    /// Neighbours under a plan that was let go of, until the room halts them too: a link that closes before would be told there as
    /// what is at fault.
    left_linked: Vec<PeerId>,
    clock: RoomClock,
    /// That of the input being handled.
    now: Time,
    output: VecDeque<Output>,
}

impl Default for Node {
    fn default() -> Self {
        Self::new()
    }
}

impl Node {
    /// A peer that is in no room yet.
    pub fn new() -> Self {
        Self {
            identity: None,
            kinds: BTreeMap::new(),
            active: None,
            ledger: Ledger::default(),
            storing: Storing::default(),
            obeyed: None,
            state: RoomState::Waiting,
            unsure: Unsure::default(),
            reached: Step::default(),
            left_linked: Vec::new(),
            clock: RoomClock::default(),
            now: Time::ZERO,
            output: VecDeque::new(),
        }
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Time, input: Input) {
        let quiet = matches!(input, Input::Tick);
        self.now = now;
        match input {
            Input::Room(message) => self.room(now, message),
            Input::ServerLost | Input::Tick => {}
            Input::LinkUp { peer } => self.link_up(now, peer),
            Input::LinkLost { peer, reason } => self.link_lost(peer, reason),
            Input::Stirs { peer } => self.heard(now, peer, None),
            Input::LinkUnproved { peer, reason } => self.link_unproved(peer, &reason),
            Input::Control { .. }
            | Input::Piece { .. }
            | Input::Weights { .. }
            | Input::Tensor { .. }
            | Input::Unreadable { .. } => self.frame(now, input),
            Input::Snapped {
                epoch,
                version,
                copies,
                took,
            } => self.snapped(epoch, version, copies, took),
            Input::Storage { every, kept } => self.storage(every, kept),
            Input::Kept { kept } => self.kept(kept),
            Input::Loaded { epoch, copies } => self.loaded(epoch, copies),
            Input::Built { epoch } => {
                if let Some(active) = self.under(epoch) {
                    active.built = true;
                    self.echo_owed();
                    self.say_ready();
                }
            }
            Input::Completed {
                epoch,
                task,
                outcome,
            } => self.completed(now, epoch, task, outcome),
            Input::Digested {
                epoch,
                digests,
                links,
            } => self.digested(epoch, digests, links),
            Input::Failed { epoch, reason } => {
                if self.under(epoch).is_some() {
                    self.fail(reason);
                }
            }
            Input::Stumbled { epoch, reason } => self.stumble(epoch, reason),
            Input::Report { links, report } => self.report(now, links, report),
            Input::Fetch => self.fetch(),
            Input::FetchNoMore => self.fetch_no_more(),
            Input::HasLast { epoch } => self.has_last(epoch),
            Input::Question(question) => self.pass_question(question),
            Input::Answer(answer) => self.pass_answer(answer),
            Input::Measured(profile) => {
                self.tell(ClientMessage::Profile { profile });
            }
            Input::Ask(message @ ClientMessage::HandOn) => self.tell(message),
            Input::Ask(message) => self.output.push_back(Output::ToRoom(message)),
        }
        self.greet_again(now);
        self.probe(now);
        self.advance(now);
        self.beat(now, quiet);
    }

    /// What to do next, or until when to wait.
    pub fn poll_output(&mut self) -> Polled {
        match self.output.pop_front() {
            Some(output) => Polled::Do(output),
            None => Polled::Wait(self.active.as_ref().and_then(Active::due)),
        }
    }

    /// This peer's id, once a room has welcomed it.
    pub fn me(&self) -> Option<PeerId> {
        self.identity.as_ref().map(|identity| identity.me)
    }

    /// The plan at work here, if any.
    pub fn plan(&self) -> Option<&Plan> {
        self.active.as_ref().map(|active| &active.plan)
    }

    /// Updates made under the plan at work.
    pub fn updates(&self) -> Option<Step> {
        self.active
            .as_ref()
            .map(|active| active.training.schedule.updates())
    }

    /// What an idle stage waits for; none while it works, and outside training.
    pub fn waiting(&self) -> Option<Waiting> {
        let training = &self.active.as_ref()?.training;
        training.waiting()
    }

    /// The room's clock, as far as it is known here.
    pub fn clock(&self) -> &RoomClock {
        &self.clock
    }

    fn report(&mut self, now: Time, links: Vec<LinkTraffic>, report: Box<Report>) {
        let Some(active) = &self.active else { return };
        let report = ClientMessage::Report {
            epoch: active.plan.epoch,
            links,
            report,
        };
        self.output.push_back(Output::ToRoom(report));
        self.ask_time(now);
    }

    fn ask_time(&mut self, now: Time) {
        let ask = ClientMessage::Clock { asked: now };
        self.output.push_back(Output::ToRoom(ask));
    }

    fn under(&mut self, epoch: Epoch) -> Option<&mut Active> {
        self.active
            .as_mut()
            .filter(|active| active.plan.epoch == epoch)
    }

    fn name(&self, peer: PeerId) -> String {
        let number = self
            .active
            .as_ref()
            .and_then(|active| active.plan.stage_of(peer));
        number.map_or_else(
            || peer.to_string(),
            |stage| format!("stage {}", stage.0 + 1),
        )
    }

    fn room(&mut self, now: Time, message: ServerMessage) {
        match message {
            ServerMessage::Welcome {
                peer,
                token,
                run,
                room,
                ..
            } => self.welcomed(now, peer, token, *run, &room),
            ServerMessage::Clock { asked, now: room } => self.clock.answered(now, asked, room),
            ServerMessage::Room { room } => self.room_changed(&room),
            ServerMessage::Signal { from, signal } => self.signalled(from, signal),
            ServerMessage::Prepare { plan } => self.prepare(plan),
            ServerMessage::Commit { epoch } => self.commit(now, epoch),
            ServerMessage::Halt { epoch, reason } => self.halt(epoch, reason),
            ServerMessage::Rest { epoch } => self.rest(epoch),
            ServerMessage::Doubt { epoch, peer } => self.doubt(now, epoch, peer),
            ServerMessage::AreYouThere { epoch } => {
                let here = ClientMessage::Here { epoch };
                self.output.push_back(Output::ToRoom(here));
            }
            ServerMessage::Answers { epoch, peer } => self.vouched_for(epoch, peer),
            ServerMessage::Progress { points } => {
                self.output.push_back(Output::Event(Event::Points(points)));
            }
            ServerMessage::PrepareTeam { .. }
            | ServerMessage::IceServers { .. }
            | ServerMessage::Question { .. }
            | ServerMessage::Asked(_)
            | ServerMessage::Created { .. }
            | ServerMessage::Host { .. }
            | ServerMessage::Kicked { .. }
            | ServerMessage::Released
            | ServerMessage::Refused { .. } => {}
        }
    }

    fn welcomed(
        &mut self,
        now: Time,
        me: PeerId,
        token: MemberToken,
        run: RunDescriptor,
        room: &RoomView,
    ) {
        let returns = self.identity.is_some();
        self.identity = Some(Identity {
            me,
            token,
            room: room.code,
            run,
        });
        self.room_changed(room);
        self.ask_time(now);
        if returns {
            self.repeat();
        } else {
            self.measure(me, room);
        }
    }

    /// Has the run's layers measured, where the room plans by that.
    fn measure(&mut self, me: PeerId, room: &RoomView) {
        let mut members = room.members.iter();
        let takes_part =
            members.any(|member| member.peer == me && member.role == Role::Participant);
        if takes_part && self.plans_measured() {
            self.output.push_back(Output::Measure);
        }
    }

    fn plans_measured(&self) -> bool {
        let outline = self.outline();
        outline.is_some_and(|outline| outline.planning == Planning::Measured)
    }

    fn outline(&self) -> Option<&RunOutline> {
        let identity = self.identity.as_ref();
        identity.map(|identity| &identity.run.outline)
    }

    fn room_changed(&mut self, room: &RoomView) {
        self.kinds = room
            .members
            .iter()
            .map(|member| (member.peer, member.device.kind))
            .collect();
        // A ring that is put together anew goes on as it was before, paused or not.
        if !(room.state.is_put_together() && self.state == RoomState::Paused) {
            self.state = room.state.clone();
        }
        self.storing.room_changed(room);
        if room.state == RoomState::Finished && self.storing.is_over() {
            self.output.push_back(Output::Clear);
        }
        let paused = self.state == RoomState::Paused;
        if let Some(active) = &mut self.active {
            active.training.schedule.set_paused(paused);
            if room.state == RoomState::Finished {
                // Nobody is needed any more.
                active.beats = None;
            }
        }
        if let RoomState::Stopped { reason } = &room.state {
            self.abort(reason);
        }
    }

    fn say_ready(&mut self) {
        let Some(active) = &mut self.active else {
            return;
        };
        if active.is_prepared() && !active.said_ready {
            active.said_ready = true;
            let (epoch, links) = (active.plan.epoch, active.probed());
            self.tell(ClientMessage::Ready { epoch, links });
        }
    }

    /// This peer cannot go on under the plan at work: the room must know.
    fn fail(&mut self, reason: String) {
        self.give_up(reason, None);
    }

    /// Likewise, and it is a neighbour's fault.
    fn blame(&mut self, culprit: PeerId, reason: String) {
        self.give_up(reason, Some(culprit));
    }

    fn give_up(&mut self, reason: String, culprit: Option<PeerId>) {
        let Some(active) = &self.active else { return };
        let epoch = active.plan.epoch;
        self.tell(ClientMessage::Failed {
            epoch,
            reason: reason.clone(),
            culprit,
        });
        self.let_go(reason);
    }

    /// Does nothing more under the plan at work.
    fn let_go(&mut self, reason: String) {
        if self.recovers() {
            // The room halts everybody, and goes on without whoever is at fault.
            let linked = self.active.iter().flat_map(|active| active.links.keys());
            self.left_linked = linked.copied().collect();
            self.drop_active();
            self.output
                .push_back(Output::Event(Event::Halted { reason }));
        } else {
            self.abort(&reason);
        }
    }

    fn abort(&mut self, reason: &str) {
        self.forget_links(|_| true);
        if self.active.is_some() {
            self.drop_active();
            self.output.push_back(Output::Event(Event::Aborted {
                reason: reason.to_owned(),
            }));
        }
    }

    fn forget_links(&mut self, which: impl Fn(PeerId) -> bool) {
        let active = self.active.iter();
        let linked = active.flat_map(|active| active.links.keys().copied());
        let peers = self.left_linked.drain(..).chain(linked);
        let disconnect = peers
            .filter(|peer| which(*peer))
            .map(|peer| Output::Disconnect { peer });
        self.output.extend(disconnect);
    }

    fn drop_active(&mut self) {
        if let Some(active) = self.active.take() {
            self.reached = active.training.schedule.updates();
            let passing = active.keeping.on_their_way.iter();
            let passing = passing.map(|(_, payload)| *payload);
            let all = active.training.schedule.payloads().chain(passing);
            self.output.extend(all.map(Output::Discard));
            self.forget_thirds(&active.keeping.thirds);
        }
    }
}
