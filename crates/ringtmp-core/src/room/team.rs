//! Rooms whose devices hold whole models: a parameter server's, or those of all-reduce.
//!
//! ```text
//!   waiting ──▶ warming up: PrepareTeam ── Ready of all ──▶ training ── Done of all with a part ──▶ finished
//! ```
//!
//! A member that is lost is done without as one of a ring is (see [`super::recovery`]): all others halt and say what they hold. Where
//! every part of the parameters is left with whom it was, they go on with that, and the loss costs the step under way; otherwise all go on from the
//! newest version of which every part is left, and who keeps the copies of a part that is lost is where it lies from then on. Where
//! nothing is left whole, they begin anew. Whoever comes is taken in likewise, and gets a part once copies of it are there (see
//! [`super::spreading`]).

use super::planning::Told;
use super::recovery::newest_under;
use super::spreading::{STEPS_LEFT_MIN, crowding, spread};
use super::{Member, Room, WARM_UP_MAX};
use crate::curve::Curve;
use crate::ids::{PeerId, Step, Version};
use crate::parameter_server::{MEMBERS_MAX, ShardIndex, TeamDevice, TeamPlan, TeamStart, Topology};
use crate::plan::Plan;
use crate::profile::Planning;
use crate::signal::{
    Holding, LayerDigest, Recovery, Role, RoomPlan, RoomState, ServerMessage, TeamHolding,
};
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Whoever comes while a team trains waits so long for others: each plan costs the step under way.
const GROW_WAIT: Duration = Duration::from_secs(1);

/// More versions than anybody keeps copies of: what is told beyond them is not listened to.
const VERSIONS_MAX: usize = 64;

impl Room {
    /// Whether a device may come in this role.
    pub fn takes(&self, role: Role) -> bool {
        match role {
            Role::Participant | Role::Spectator => true,
            Role::Server => self.run.outline.topology.takes_servers(),
        }
    }

    /// Whether devices hold some layers each.
    pub(super) fn is_ring(&self) -> bool {
        self.run.outline.topology == Topology::Ring
    }

    /// Whether the run outlives the loss of a member.
    pub(super) fn recovers(&self) -> bool {
        self.run.outline.replication.is_on()
    }

    /// The plan of a ring.
    pub(super) fn ring(&self) -> Option<&Plan> {
        self.plan.as_ref().and_then(RoomPlan::ring)
    }

    /// The plan of a team.
    pub(super) fn team(&self) -> Option<&TeamPlan> {
        self.plan.as_ref().and_then(RoomPlan::team)
    }

    /// Those who have a part in the plan.
    pub(super) fn parts(&self) -> &[PeerId] {
        self.plan.as_ref().map_or(&[], RoomPlan::order)
    }

    /// Who tells how training moves.
    pub(super) fn teller(&self) -> Option<PeerId> {
        match self.plan.as_ref()? {
            RoomPlan::Ring(plan) => plan.order.last().copied(),
            RoomPlan::Team(plan) => plan.collector(),
        }
    }

    /// Says who does what, and has it prepared, from the beginning of the run.
    pub(super) fn prepare_team(&mut self, now: Time) {
        self.curve = Curve::default();
        self.state = RoomState::WarmingUp;
        let devices = self.team_devices();
        let outline = &self.run.outline;
        let (topology, micro_batches) = (outline.topology, outline.micro_batches);
        match TeamPlan::new(self.next_epoch(), topology, micro_batches, &devices) {
            Ok(plan) => self.hand_out_team(now, plan),
            Err(error) => self.stop(error.to_string()),
        }
    }

    /// Goes on with those who have said what they hold: where every part of the parameters is left as it was, from there, otherwise
    /// from the newest version of which all parts are left. An error is why they have to wait for somebody else to come.
    pub(super) fn resume_team(
        &mut self,
        now: Time,
        answers: &BTreeMap<PeerId, Holding>,
    ) -> Result<(), String> {
        let Some(before) = self.team().cloned() else {
            self.stop("there is no plan to go on from".to_owned());
            return Ok(());
        };
        let holding = answers.iter().filter(|(peer, _)| self.is_there(**peer));
        let past = |(_, holding): &(&PeerId, &Holding)| self.recovering.is_of_the_past(holding);
        let holding: Vec<(PeerId, &TeamHolding)> = holding
            .filter(past)
            .filter_map(|(peer, holding)| Some((*peer, holding.team.as_ref()?)))
            .collect();
        let reached = answers
            .values()
            .filter(|holding| self.recovering.is_of_the_past(holding));
        let reached = reached.map(|holding| holding.updates).max();
        let reached = reached
            .unwrap_or_default()
            .min(Step(self.run.outline.steps));
        let newest = self.recovering.newest_of_the_past();
        let spreads = std::mem::take(&mut self.recovering.spreads);
        let found = found(&before, &holding, newest, reached, spreads);
        let Some((start, homes)) = found else {
            return self.begin_team_anew(now, reached.max(self.steps_told()));
        };
        if homes != self::homes(&before) {
            // From here there may be a way further on, which makes parts lie more evenly each time, and so ends.
            self.recovering.spread_among = None;
        }
        let topology = self.run.outline.topology;
        let mut devices = self.team_devices();
        for device in &mut devices {
            // Who only served goes on with that.
            device.serves |= before.serves(device.peer) && !before.works(device.peer);
        }
        let micro_batches = self.run.outline.micro_batches;
        let epoch = self.next_epoch();
        let planned = TeamPlan::going_on(epoch, topology, micro_batches, &devices, &homes);
        let plan = planned.map_err(|error| error.to_string())?;
        self.go_on_with(now, TeamPlan { start, ..plan }, reached);
        Ok(())
    }

    fn go_on_with(&mut self, now: Time, plan: TeamPlan, reached: Step) {
        self.note_team_recovery(&plan, reached);
        // What was called stable may be lost with all who kept it, and is then not to be called so any longer.
        let left = match plan.start {
            TeamStart::Beginning => None,
            TeamStart::Held { .. } => self.recovering.stable,
            TeamStart::Copies { version } => Some(Version(version.0)),
        };
        self.recovering.stable = left;
        if let RoomState::Lacking { reason } = &self.state {
            let reason = reason.clone();
            self.state = RoomState::Reconfiguring { reason };
        }
        self.hand_out_team(now, plan);
    }

    /// No version is left whole: the run begins anew, as a ring's does of whose layers nobody has a copy.
    fn begin_team_anew(&mut self, now: Time, reached: Step) -> Result<(), String> {
        let devices = self.team_devices();
        let outline = &self.run.outline;
        let (topology, micro_batches) = (outline.topology, outline.micro_batches);
        let plan = TeamPlan::new(self.next_epoch(), topology, micro_batches, &devices);
        let plan = plan.map_err(|error| error.to_string())?;
        self.go_on_with(now, plan, reached);
        Ok(())
    }

    /// Why the members are put together anew.
    fn reason_to_go_on(&self) -> String {
        match &self.state {
            RoomState::Reconfiguring { reason } | RoomState::Lacking { reason } => reason.clone(),
            _ => String::new(),
        }
    }

    /// Somebody has come, or a plan has begun: whether there is a part for whoever has none. Several that come at once wait a moment for
    /// each other.
    pub(super) fn grow_team(&mut self, now: Time) {
        if self.has_newcomers() {
            self.grows_at.get_or_insert(now + GROW_WAIT);
        }
    }

    /// That moment is over.
    pub(super) fn take_in(&mut self, now: Time) {
        self.grows_at = None;
        if !self.has_newcomers() {
            return;
        }
        if self.members.iter().any(|it| !it.suspected_by.is_empty()) {
            // It is known soon whether that one is lost, and is not waited for in vain.
            self.grows_at = Some(now + GROW_WAIT);
            return;
        }
        let names: Vec<String> = self.newcomers().map(|it| it.device.name.clone()).collect();
        let reason = format!("{} joins, and takes its share", names.join(", "));
        self.halt_unharmed(now, reason);
    }

    fn has_newcomers(&self) -> bool {
        let trains = self.state == RoomState::Training && self.done.is_empty();
        trains && self.recovers() && self.newcomers().next().is_some()
    }

    /// Members that have no part in the plan and might compute, but not where a step has too few micro-batches for one more; or that might
    /// serve, where a worker has what a server is to have and enough steps are left.
    fn newcomers(&self) -> impl Iterator<Item = &Member> {
        let plan = self.team();
        let most = usize::from(self.run.outline.micro_batches).min(usize::from(MEMBERS_MAX));
        let computes = plan.is_some_and(|plan| plan.workers.len() < most);
        let takes_servers = self.run.outline.topology.takes_servers();
        let lacks = |plan: &TeamPlan| plan.stand_ins().count() < plan.parts_with_workers();
        let left = self.run.outline.steps.saturating_sub(self.steps_told().0);
        // With fewer it would take nothing over any more.
        let serves = takes_servers && left >= STEPS_LEFT_MIN && plan.is_some_and(lacks);
        self.participants().filter(move |member| {
            let outside = plan.is_some_and(|plan| plan.member_of(member.peer).is_none());
            let measured = !self.unmeasured().any(|other| other.peer == member.peer);
            let wanted = match member.role {
                Role::Participant => computes,
                Role::Server => serves,
                Role::Spectator => false,
            };
            outside && wanted && measured
        })
    }

    fn is_there(&self, peer: PeerId) -> bool {
        self.participants().any(|member| member.peer == peer)
    }

    fn steps_told(&self) -> Step {
        let points = self.curve.points();
        Step(points.iter().map(|point| point.step).max().unwrap_or(0))
    }

    fn note_team_recovery(&mut self, plan: &TeamPlan, reached: Step) {
        let mut reason = self.reason_to_go_on();
        if plan.start == TeamStart::Beginning && self.recovering.stable.is_some() {
            reason.push_str(
                "; parts of the model are lost with all their copies, and all begins anew",
            );
        }
        let (step, repeated) = match plan.start {
            // The step under way is made again, by others.
            TeamStart::Held { reached } => (reached.0, 0),
            start => (start.step().0, reached.0.saturating_sub(start.step().0)),
        };
        let before = self.team().map(homes).unwrap_or_default();
        let moved = homes(plan);
        let moved = moved
            .iter()
            .zip(&before)
            .filter(|(now, before)| now != before);
        let moved = u16::try_from(moved.count()).unwrap_or(u16::MAX);
        self.recovering.note(Recovery {
            reason,
            step,
            repeated,
            moved,
            taken: Vec::new(),
            seconds: None,
        });
    }

    fn hand_out_team(&mut self, now: Time, plan: TeamPlan) {
        self.epoch = plan.epoch;
        let pasts = self.recovering.pasts().to_vec();
        let step_millis = self.step_millis(&plan);
        let plan = TeamPlan {
            pasts,
            step_millis,
            ..plan
        };
        self.recovering
            .handed_out(plan.epoch, newest_under(plan.start));
        self.begin_anew();
        self.plan = Some(RoomPlan::Team(plan.clone()));
        self.warm_up_ends = Some(now + WARM_UP_MAX);
        self.show();
        let to: Vec<PeerId> = self.participants().map(|member| member.peer).collect();
        let prepare = |peer| {
            let plan = plan.clone();
            (peer, ServerMessage::PrepareTeam { plan })
        };
        self.output.extend(to.into_iter().map(prepare));
    }

    /// What planning knows of each device: its speed in samples per second, or, of who has not measured, that of the one in the middle.
    fn team_devices(&self) -> Vec<TeamDevice> {
        let counts = self.run.outline.planning == Planning::Counted;
        let speed = |told: &Told| match told {
            Told::Measured(profile) if !counts => {
                let seconds: f64 = profile.layer_seconds.iter().flatten().sum();
                (seconds > 0.0).then(|| 1.0 / seconds)
            }
            Told::Measured(_) | Told::Nothing | Told::Refused(_) => None,
        };
        let speeds = self.participants().map(|member| speed(&member.told));
        let speeds: Vec<Option<f64>> = speeds.collect();
        let mut known: Vec<f64> = speeds.iter().flatten().copied().collect();
        known.sort_by(f64::total_cmp);
        let middle = known.get(known.len() / 2).copied().unwrap_or(1.0);
        let devices = self.participants().zip(speeds);
        devices
            .map(|(member, speed)| TeamDevice {
                peer: member.peer,
                serves: member.role == Role::Server,
                speed: speed.unwrap_or(middle),
            })
            .collect()
    }

    /// What computing a step takes the worker that is done last, in milliseconds; none where one of them has not measured.
    fn step_millis(&self, plan: &TeamPlan) -> Option<u32> {
        let outline = &self.run.outline;
        let samples = f64::from(outline.schedule.micro_batch_samples);
        let mut longest = 0.0_f64;
        for (worker, share) in plan.workers.iter().zip(&plan.shares) {
            let peer = plan.order.get(usize::from(worker.0))?;
            let member = self.participants().find(|member| member.peer == *peer)?;
            let Told::Measured(profile) = &member.told else {
                return None;
            };
            let sample: f64 = profile.layer_seconds.iter().flatten().sum();
            longest = longest.max(sample * samples * f64::from(*share));
        }
        // Saturates.
        (outline.planning == Planning::Measured).then_some((1e3 * longest) as u32)
    }

    /// What the workers have learnt, if all have learnt the same.
    pub(super) fn learnt_by_team(&self, plan: &TeamPlan) -> Result<Vec<LayerDigest>, String> {
        let works = |peer: &&PeerId| plan.works(**peer);
        let mut workers = plan.order.iter().filter(works);
        let learnt = |peer: &PeerId| self.done.get(peer);
        let first = workers.next().and_then(learnt).cloned();
        let first = first.unwrap_or_default();
        match workers.find(|peer| learnt(peer) != Some(&first)) {
            None => Ok(first),
            Some(other) => Err(format!(
                "{} ended with other weights than the first worker, which cannot be",
                self.name(*other)
            )),
        }
    }
}

/// Where each part of the parameters is.
fn homes(plan: &TeamPlan) -> Vec<PeerId> {
    let places = plan.shards.iter();
    places
        .filter_map(|place| plan.order.get(usize::from(place.0)).copied())
        .collect()
}

/// What a run can go on from, and where each part of the parameters is then; none if nothing is left whole. To divide parts anew it goes
/// back to a version that lies twice, where that helps.
fn found(
    before: &TeamPlan,
    holding: &[(PeerId, &TeamHolding)],
    newest: Option<Version>,
    reached: Step,
    spreads: bool,
) -> Option<(TeamStart, Vec<PeerId>)> {
    let shards = || (0..).map(ShardIndex).zip(homes(before));
    let rolled_back = newest.is_some_and(|newest| newest.0 < u32::MAX);
    // Nobody but whom a part lies with can have it as it is.
    let live = |(shard, home): (ShardIndex, PeerId)| {
        let mut lives = holding
            .iter()
            .filter(|(peer, held)| *peer == home && held.live.contains(&shard));
        lives.next().map(|(peer, _)| *peer)
    };
    let all_live: Option<Vec<PeerId>> = shards().map(live).collect();
    let mut copied = copied(before, holding, newest);
    if let Some(homes) = all_live.filter(|_| !rolled_back) {
        let now = crowding(&homes, before);
        let better = |(_, others): &(TeamStart, Vec<PeerId>)| crowding(others, before) < now;
        let spread = spreads.then(|| copied.find(better)).flatten();
        return spread.or(Some((TeamStart::Held { reached }, homes)));
    }
    copied.next()
}

/// Versions of which every part is left, newest first, and where each part is then.
fn copied(
    before: &TeamPlan,
    holding: &[(PeerId, &TeamHolding)],
    newest: Option<Version>,
) -> impl Iterator<Item = (TeamStart, Vec<PeerId>)> {
    let shards = || (0..).map(ShardIndex).zip(homes(before));
    let versions = holding
        .iter()
        .flat_map(|(_, held)| held.copies.iter().take(VERSIONS_MAX));
    let versions: BTreeSet<Step> = versions.map(|(version, _)| *version).collect();
    let allowed = move |version: &Step| newest.is_none_or(|newest| version.0 <= newest.0);
    versions
        .into_iter()
        .rev()
        .filter(allowed)
        .filter_map(move |version| {
            let keeps = |shard: ShardIndex| {
                let has = move |held: &TeamHolding| {
                    let mut copies = held.copies.iter();
                    copies.any(|(other, shards)| *other == version && shards.contains(&shard))
                };
                let keepers = holding.iter().filter(move |(_, held)| has(held));
                keepers.map(|(peer, _)| *peer)
            };
            let (mut homes, mut keepers) = (Vec::new(), Vec::new());
            for (shard, home) in shards() {
                let stays = keeps(shard).find(|peer| *peer == home);
                // Otherwise whoever has least to do with it.
                let parts = |peer: &PeerId| homes.iter().filter(|other| *other == peer).count();
                let takes_over = keeps(shard).min_by_key(parts);
                homes.push(stays.or(takes_over)?);
                keepers.push(keeps(shard).collect());
            }
            spread(&mut homes, &keepers, before);
            Some((TeamStart::Copies { version }, homes))
        })
}
