//! One room: its members, its plan, its state.
//!
//! ```text
//!     enough participants, or start, and measured      all ready
//!   waiting ───────────────────────────▶ warming up ─────────────▶ training ◀──▶ paused
//!      ▲                                     │                        │  │          │
//!      │ start again                         │ a member lost,         │  └── all ───┼──▶ finished
//!      │                                     ▼ failed or too slow     ▼     done    ▼        │
//!      └───────────────────────────────── stopped ◀──────────────────────────────────────────┘
//! ```
//!
//! Where a run is replicated, a member that is lost does not stop it: see `room::recovery`.
//!
//! Who opened the room is its host and alone may start, pause, resume and stop the run, and send others away; see `room::hosting`.

mod absence;
mod asleep;
mod disks;
mod faults;
mod growing;
mod hosting;
mod leaving;
mod members;
mod planning;
mod rebuilding;
mod recovery;
mod report;
mod spreading;
mod stumbling;
mod team;
mod thirds;
mod trust;
mod views;

use crate::curve::Curve;
use crate::ids::{Epoch, PeerId, RoomCode, StageIndex};
use crate::profile::LinkProfile;
use crate::schedule::DataSource;
use crate::signal::{
    ClientMessage, LayerDigest, LinkTraffic, Point, Refusal, RoomPlan, RoomState, RunDescriptor,
    RunResult, ServerMessage,
};
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub use absence::AWAY_WAIT_MAX;
use disks::Disks;
use hosting::Host;
use members::Member;
pub use planning::PROFILE_WAIT_MAX;
pub use rebuilding::REBUILD_WAIT_MAX;
use rebuilding::Rebuilding;
use recovery::Recovering;
pub use recovery::{ATTEMPTS_MAX, HALT_WAIT_MAX};

/// How long stages and links may take to be built. First use of a pipeline takes seconds on slow devices, a link up to 20 s once both ends
/// have time for it.
pub const WARM_UP_MAX: Duration = Duration::from_secs(120);

/// A reason given by a peer is cut to this length.
const REASON_CHARS_MAX: usize = 300;

/// A message for a member.
pub type Addressed = (PeerId, ServerMessage);

/// One room. Every change is followed by draining [`Room::poll_output`].
#[derive(Debug)]
pub struct Room {
    code: RoomCode,
    run: RunDescriptor,
    created: Time,
    state: RoomState,
    members: Vec<Member>,
    epoch: Epoch,
    plan: Option<RoomPlan>,
    /// A start waits until then for members to measure.
    profiles_due: Option<Time>,
    warm_up_ends: Option<Time>,
    ready: BTreeSet<PeerId>,
    done: BTreeMap<PeerId, Vec<LayerDigest>>,
    curve: Curve,
    result: Option<RunResult>,
    output: VecDeque<Addressed>,
    report_view_due: Option<Time>,
    /// When a team takes in who has come.
    grows_at: Option<Time>,
    /// Whether this start has been planned again, for what links turned out to be like.
    replanned: bool,
    recovering: Recovering,
    /// Until it is known what a server before this one has done.
    rebuilding: Option<Rebuilding>,
    /// When a member was last back over a new socket.
    last_return: Time,
    incarnation: u32,
    disks: Disks,
    host: Host,
}

impl Room {
    /// A room without members. `incarnation` is that of the server that keeps it, greater than that of any server before it.
    pub fn new(code: RoomCode, run: RunDescriptor, incarnation: u32, now: Time) -> Self {
        let disks = Disks::of_run(run.resumes);
        Self {
            code,
            run,
            disks,
            host: Host::default(),
            created: now,
            state: RoomState::Waiting,
            members: Vec::new(),
            epoch: Epoch {
                number: 0,
                incarnation,
            },
            plan: None,
            profiles_due: None,
            warm_up_ends: None,
            ready: BTreeSet::new(),
            done: BTreeMap::new(),
            curve: Curve::default(),
            result: None,
            output: VecDeque::new(),
            report_view_due: None,
            grows_at: None,
            replanned: false,
            recovering: Recovering::default(),
            rebuilding: None,
            last_return: now,
            incarnation,
        }
    }

    /// Newer than every epoch so far.
    fn next_epoch(&self) -> Epoch {
        Epoch {
            number: self.epoch.number.saturating_add(1),
            incarnation: self.incarnation,
        }
    }

    /// A member speaks. What does not fit the state (late, or of another epoch) is ignored; what no correct member would say
    /// is refused to it.
    pub fn message(&mut self, now: Time, from: PeerId, message: ClientMessage) {
        if !self.has(from) || self.goes_too_far(from, &message) {
            return;
        }
        self.has_spoken(now, from);
        let Some(message) = self.keep_for_later(from, message) else {
            return;
        };
        if let Err(refusal) = self.check_host(from, &message) {
            let refused = ServerMessage::Refused { refusal };
            return self.output.push_back((from, refused));
        }
        match message {
            ClientMessage::Create { .. }
            | ClientMessage::Knock
            | ClientMessage::Asking(_)
            | ClientMessage::Join { .. }
            | ClientMessage::Return { .. } => {
                let detail = "it is in a room already".to_owned();
                self.output.push_back((
                    from,
                    ServerMessage::Refused {
                        refusal: Refusal::Malformed { detail },
                    },
                ));
            }
            ClientMessage::Signal { to, signal } => {
                if self.trusts(to) {
                    self.output
                        .push_back((to, ServerMessage::Signal { from, signal }));
                }
            }
            ClientMessage::Start if self.rebuilding.is_some() => self.rebuild(now),
            ClientMessage::Start => self.start(now),
            ClientMessage::Pause => self.pause(),
            ClientMessage::Resume => {
                self.go_on();
                self.grow_team(now);
                self.spread_parts(now);
            }
            ClientMessage::Stop => {
                let lacking = matches!(self.state, RoomState::Lacking { .. });
                if self.running() || lacking || self.profiles_due.is_some() {
                    self.result = self.result_so_far(now);
                    self.stop("stopped on purpose".to_owned());
                }
            }
            ClientMessage::Claim { .. } => self.is_host(from),
            ClientMessage::Kick { peer } => self.kick(now, from, peer),
            ClientMessage::Rename { peer, name } => self.rename(peer, &name),
            ClientMessage::Leave => self.leave(now, from),
            ClientMessage::HandOn => self.hand_on(from),
            ClientMessage::Stumbled { epoch, reason } => {
                self.stumbled(now, from, epoch, &reason);
            }
            ClientMessage::Computes { executor, adapter } => self.computes(from, executor, adapter),
            ClientMessage::Profile { profile } => self.profile(now, from, profile),
            ClientMessage::Pledge { memory_bytes } => self.pledge(now, from, memory_bytes),
            ClientMessage::Progress { epoch, points } => self.progress(from, epoch, points),
            ClientMessage::Clock { asked } => {
                let answer = ServerMessage::Clock { asked, now };
                self.output.push_back((from, answer));
            }
            about_the_ring => self.ring_message(now, from, about_the_ring),
        }
        self.attend_to_leavers(now);
    }

    /// A member speaks of its part in the ring.
    fn ring_message(&mut self, now: Time, from: PeerId, message: ClientMessage) {
        match message {
            ClientMessage::Ready { epoch, links } => self.ready(now, from, epoch, links),
            ClientMessage::Failed {
                epoch,
                reason,
                culprit,
            } => self.failed(now, from, epoch, &reason, culprit),
            ClientMessage::Suspect { epoch, peer } => self.suspected(now, from, epoch, peer),
            ClientMessage::Here { epoch } => self.answered(from, epoch),
            ClientMessage::LinkLost {
                epoch,
                peer,
                reason,
            } => self.link_lost(now, from, epoch, peer, &reason),
            ClientMessage::Holdings { epoch, holding } => self.holds(now, from, epoch, holding),
            ClientMessage::Offer { keeps, kept } => self.offered(now, from, keeps, kept),
            ClientMessage::Stable {
                epoch,
                version,
                every,
                at_rest,
            } => self.stable(now, from, epoch, version, every, at_rest),
            ClientMessage::Report {
                epoch,
                links,
                report,
            } => self.report(now, from, epoch, links, *report),
            ClientMessage::Done {
                epoch,
                digests,
                links,
            } => self.done(now, from, epoch, digests, links),
            // Everything else was seen to before.
            _ => {}
        }
    }

    /// Time has passed: call at [`Room::poll_timeout`] or later.
    pub fn tick(&mut self, now: Time) {
        if self.absence_ends().is_some_and(|end| now >= end) {
            self.give_up_absent(now);
        }
        if self.rebuilding_due().is_some_and(|due| now >= due) {
            self.wait_for_returns_no_longer(now);
        }
        if self.warm_up_ends.is_some_and(|end| now >= end) {
            self.not_ready_in_time(now);
        }
        if self.recovering.due().is_some_and(|due| now >= due) {
            self.wait_for_answers_no_longer(now);
        }
        if self.profiles_due.is_some_and(|due| now >= due) {
            self.wait_no_longer(now);
        }
        if self.grows_at.is_some_and(|due| now >= due) {
            self.take_in(now);
        }
        if self.report_view_due.is_some_and(|due| now >= due) {
            self.show();
        }
        self.attend_to_leavers(now);
    }

    /// When [`Room::tick`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        let times = [
            self.profiles_due,
            self.warm_up_ends,
            self.report_view_due,
            self.grows_at,
            self.recovering.due(),
            self.absence_ends(),
            self.rebuilding_due(),
        ];
        times.into_iter().flatten().min()
    }

    fn rebuilding_due(&self) -> Option<Time> {
        self.rebuilding.as_ref().and_then(Rebuilding::due)
    }

    /// The next message to deliver.
    pub fn poll_output(&mut self) -> Option<Addressed> {
        self.output.pop_front()
    }

    fn running(&self) -> bool {
        match self.state {
            RoomState::WarmingUp
            | RoomState::Training
            | RoomState::Paused
            | RoomState::Reconfiguring { .. } => true,
            RoomState::Waiting
            | RoomState::Lacking { .. }
            | RoomState::Finished
            | RoomState::Stopped { .. } => false,
        }
    }

    fn not_ready(&self) -> impl Iterator<Item = &Member> {
        let parts = self.parts();
        let active = move |member: &&Member| parts.contains(&member.peer);
        self.members
            .iter()
            .filter(active)
            .filter(|member| !self.ready.contains(&member.peer))
    }

    /// Whether `from` holds a stage of the plan of this epoch, and the run is on.
    fn active(&self, from: PeerId, epoch: Epoch) -> bool {
        let holds = self.parts().contains(&from);
        holds && epoch == self.epoch && self.running()
    }

    /// The stages of this order whose samples are trained on.
    fn sources(&self, order: &[PeerId]) -> Vec<StageIndex> {
        let has_data = |peer: &PeerId| match self.run.outline.source {
            DataSource::One => Some(peer) == order.first(),
            DataSource::Every => {
                let mut members = self.members.iter();
                members.any(|member| member.peer == *peer && member.has_data)
            }
        };
        let stages = (0..).map(StageIndex).zip(order);
        stages
            .filter(|(_, peer)| has_data(peer))
            .map(|(stage, _)| stage)
            .collect()
    }

    fn change(&mut self, from: RoomState, to: RoomState) {
        if self.state == from {
            self.state = to;
            self.show();
        }
    }

    fn stop(&mut self, reason: String) {
        self.state = RoomState::Stopped { reason };
        self.profiles_due = None;
        self.warm_up_ends = None;
        self.rebuilding = None;
        self.recovering.stop();
        self.show();
    }

    fn ready(&mut self, now: Time, from: PeerId, epoch: Epoch, links: Vec<LinkProfile>) {
        if self.warm_up_ends.is_none() || !self.active(from, epoch) {
            return;
        }
        self.probed(from, links);
        self.ready.insert(from);
        let all = self.not_ready().next().is_none();
        if all && self.links_ask_for_another_plan() {
            self.replanned = true;
            return self.prepare(now);
        }
        if !all {
            return self.show();
        }
        self.bound_by_links();
        self.warm_up_ends = None;
        self.state = self.recovering.over(now);
        self.disks.begun();
        self.show();
        let commit = |peer: &PeerId| (*peer, ServerMessage::Commit { epoch });
        let commits: Vec<Addressed> = self.parts().iter().map(commit).collect();
        self.output.extend(commits);
        self.grow_team(now);
        // Those who were ready before may have copied everything.
        self.spread_parts(now);
    }

    fn progress(&mut self, from: PeerId, epoch: Epoch, points: Vec<Point>) {
        if self.teller() != Some(from) || !self.active(from, epoch) {
            return;
        }
        self.curve.extend(&points);
        // Peers of the ring hear it from the ring itself, so that they do without the server.
        let ring = self.plan.as_ref().and_then(RoomPlan::ring);
        let outside = self
            .members
            .iter()
            .filter(|member| ring.is_none_or(|plan| plan.stage_of(member.peer).is_none()));
        let message = |member: &Member| {
            (
                member.peer,
                ServerMessage::Progress {
                    points: points.clone(),
                },
            )
        };
        self.output.extend(outside.map(message));
    }

    fn done(
        &mut self,
        now: Time,
        from: PeerId,
        epoch: Epoch,
        mut digests: Vec<LayerDigest>,
        links: Vec<LinkTraffic>,
    ) {
        if !self.active(from, epoch) {
            return;
        }
        digests.truncate(self.run.outline.layers.len());
        self.traffic(from, links);
        self.done.insert(from, digests);
        let Some(plan) = &self.plan else { return };
        let is_done = |peer: &PeerId| {
            let stands_in = || plan.team().is_some_and(|plan| plan.stands_in(*peer));
            self.done.contains_key(peer) || stands_in()
        };
        if plan.order().iter().all(is_done) {
            let digests = match plan {
                RoomPlan::Ring(plan) => {
                    let all = plan.order.iter().filter_map(|peer| self.done.get(peer));
                    Ok(all.flatten().cloned().collect())
                }
                RoomPlan::Team(plan) => self.learnt_by_team(plan),
            };
            let digests = match digests {
                Ok(digests) => digests,
                Err(reason) => return self.stop(reason),
            };
            let steps = self.run.outline.steps;
            self.result = Some(self.result_after(now, steps, digests));
            self.state = RoomState::Finished;
            // Who only stands in may not even have been ready.
            self.warm_up_ends = None;
        }
        self.show();
    }

    fn result_after(&self, now: Time, steps: u32, digests: Vec<LayerDigest>) -> RunResult {
        RunResult {
            steps,
            loss_first: self.curve.loss_first(),
            loss_last: self.curve.loss_last(),
            test_accuracy: self.curve.accuracy_last(),
            seconds: now.since(self.created).as_secs_f64(),
            digests,
        }
    }

    /// What a run comes to that is ended before its last step; none before the first.
    fn result_so_far(&self, now: Time) -> Option<RunResult> {
        let points = self.curve.points();
        let steps = points.iter().filter(|point| point.loss.is_some());
        let last = steps.map(|point| point.step).max()?;
        Some(self.result_after(now, last.saturating_add(1), Vec::new()))
    }

    fn show(&mut self) {
        self.show_except(None);
    }

    fn show_except(&mut self, not: Option<PeerId>) {
        self.report_view_due = None;
        let room = Arc::new(self.view());
        let others = self
            .members
            .iter()
            .filter(|member| Some(member.peer) != not);
        self.output.extend(others.map(|member| {
            (
                member.peer,
                ServerMessage::Room {
                    room: Arc::clone(&room),
                },
            )
        }));
    }
}
