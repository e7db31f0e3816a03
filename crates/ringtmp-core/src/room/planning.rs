//! How a room gets from its members to a plan.

use super::disks::Found;
use super::recovery::{Holders, Recovering};
use super::{Member, Room};
use crate::curve::Curve;
use crate::ids::{LayerIndex, PeerId, Version};
use crate::partition::{self, Arrangement, Device, Hop, Hops, Measured, NoFit, Problem};
use crate::plan::{Plan, Spare, SpareReason};
use crate::profile::{LINKS_MAX, LinkProfile, Planning, Profile};
use crate::schedule::DataSource;
use crate::signal::{ProfileView, Role, RoomPlan, RoomState, ServerMessage};
use crate::time::Time;
use crate::trace::TaskSeconds;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a start waits for members to measure the run's layers. They take about a second of computing, and a slow device
/// compiles its kernels before; who is later is reckoned with as fast as the one in the middle.
pub const PROFILE_WAIT_MAX: Duration = Duration::from_secs(20);

/// Once links were measured, a plan is made anew if the new one takes so much of the old one's time, or less: it costs the building of
/// stages and links.
const REPLAN_RATIO: f64 = 0.85;

/// By how much what tasks take may correct what was measured before: beyond it something else is wrong than the measurement.
const CORRECTION_MAX: f64 = 10.0;

/// What a member has told of its speed.
#[derive(Clone, Debug, Default)]
pub(super) enum Told {
    #[default]
    Nothing,
    Measured(Profile),
    /// What cannot be true, in words.
    Refused(String),
}

impl Told {
    pub(super) fn view(&self) -> ProfileView {
        match self {
            Self::Nothing => ProfileView::Missing,
            Self::Measured(profile) => ProfileView::Measured {
                sample_seconds: profile.layer_seconds.iter().flatten().sum(),
            },
            Self::Refused(reason) => ProfileView::Refused {
                reason: reason.clone(),
            },
        }
    }
}

impl Room {
    /// Somebody, or the number of participants, wants the run to start: at once, or when its members have measured.
    pub(super) fn start(&mut self, now: Time) {
        if self.running() || self.participants().next().is_none() {
            return;
        }
        self.replanned = false;
        self.recovering = Recovering::default();
        if self.state != RoomState::Waiting {
            // What is missing is waited for no longer, and what there was is begun anew.
            self.disks.begin_anew();
        }
        for member in &mut self.members {
            member.cut_out = None;
        }
        if self.unmeasured().next().is_some() {
            self.profiles_due.get_or_insert(now + PROFILE_WAIT_MAX);
            self.state = RoomState::Waiting;
            self.show();
        } else {
            self.prepare(now);
        }
    }

    /// A room that resumes its run waits for what members keep, and one of them has brought something.
    pub(super) fn prepare_when_measured(&mut self, now: Time) {
        if self.unmeasured().next().is_some() {
            self.profiles_due.get_or_insert(now + PROFILE_WAIT_MAX);
        } else {
            self.prepare(now);
        }
    }

    /// A member has measured.
    pub(super) fn profile(&mut self, now: Time, from: PeerId, profile: Profile) {
        let layers = self.run.outline.layers.len();
        let Some(member) = self.members.iter_mut().find(|member| member.peer == from) else {
            return;
        };
        member.told = match profile.check(layers) {
            Ok(()) => Told::Measured(profile),
            Err(error) => Told::Refused(error.to_string()),
        };
        member.slower = 1.0;
        self.start_if_measured(now);
        self.grow_if_worth_it();
        self.grow_team(now);
        self.show();
    }

    /// A start that waited for a member that has measured by now, or is gone.
    pub(super) fn start_if_measured(&mut self, now: Time) {
        if self.profiles_due.is_some() && self.unmeasured().next().is_none() {
            self.prepare(now);
        }
    }

    /// Participants that a start waits for.
    pub(super) fn unmeasured(&self) -> impl Iterator<Item = &Member> {
        let wanted = self.run.outline.planning == Planning::Measured;
        self.participants().filter(move |member| {
            // How fast a server computes is of no concern.
            let measures = wanted && member.role == Role::Participant;
            measures && matches!(member.told, Told::Nothing) || self.is_to_offer(member)
        })
    }

    /// Members have measured for too long: neither this start nor another waits for them.
    pub(super) fn wait_no_longer(&mut self, now: Time) {
        let late: Vec<PeerId> = self.unmeasured().map(|member| member.peer).collect();
        for member in &mut self.members {
            if !late.contains(&member.peer) {
                continue;
            }
            member.disk.keeps.get_or_insert(false);
            if matches!(member.told, Told::Nothing) {
                let seconds = PROFILE_WAIT_MAX.as_secs();
                member.told = Told::Refused(format!("it measured nothing within {seconds} s"));
            }
        }
        self.prepare(now);
    }

    /// Plans with what is known, and has the plan prepared, from the beginning of the run, or from what is kept of it.
    pub(super) fn prepare(&mut self, now: Time) {
        self.profiles_due = None;
        if self.stayers().next().is_none() {
            return;
        }
        if !self.is_ring() {
            return self.prepare_team(now);
        }
        let plan = match self.planned() {
            Ok(plan) => plan,
            Err(reason) => return self.stop(reason),
        };
        let found = match self.disks.resumes() {
            false => Ok((plan, Found::default())),
            true => self.with_disks(plan, &Holders::new()),
        };
        let Ok((plan, found)) = found else {
            let nothing = || "nothing of this run is kept here".to_owned();
            let reason = self.lacks(&Holders::new()).unwrap_or_else(nothing);
            return self.lack(reason);
        };
        self.curve = Curve::default();
        self.state = RoomState::WarmingUp;
        let plan = self.goes_on(plan, found);
        let wait = self.wait_for(&plan);
        self.hand_out(now, plan, wait);
    }

    /// The best plan for the participants there are; why there is none, where they cannot do it.
    pub(super) fn planned(&self) -> Result<Plan, String> {
        let order: Vec<PeerId> = self.stayers().map(|member| member.peer).collect();
        if order.is_empty() {
            return Err("no device is left".to_owned());
        }
        let problem = self.problem();
        let arrangement =
            partition::arrange_kept(&problem).map_err(|no_fit| self.refusal(&no_fit))?;
        let plan = self.plan_of(&order, &problem, arrangement);
        if plan.sources.is_empty() {
            return Err("none of the devices has samples to train on".to_owned());
        }
        Ok(plan)
    }

    /// A plan in which all of these have a stage, and as many others of this order as there are layers for: its cuts are even, since
    /// it is made so that layers are there at all. None where memory does not suffice, or there are more of them than layers.
    pub(super) fn planned_with(
        &self,
        order: &[PeerId],
        holders: &BTreeMap<LayerIndex, Vec<PeerId>>,
    ) -> Option<Plan> {
        let peers: Vec<PeerId> = self.stayers().map(|member| member.peer).collect();
        let mut with: Vec<PeerId> = Vec::new();
        for holders in holders.values() {
            if !holders.iter().any(|peer| with.contains(peer)) {
                let mut stay = holders.iter().filter(|peer| peers.contains(peer));
                let in_order = stay.clone().find(|peer| order.contains(peer));
                with.extend(in_order.or(stay.next()));
            }
        }
        let others = order.iter().filter(|peer| !with.contains(peer));
        let others: Vec<PeerId> = others.copied().collect();
        with.extend(others);
        with.truncate(self.run.outline.layers.len());
        let place = |peer: &PeerId| peers.iter().position(|other| other == peer);
        let order: Option<Vec<usize>> = with.iter().map(place).collect();
        let problem = self.problem();
        let arrangement = partition::arrange_evenly(&problem, &order?).ok()?;
        let plan = self.plan_of(&peers, &problem, arrangement);
        (!plan.sources.is_empty()).then_some(plan)
    }

    /// Has a plan prepared. Those without a stage hear of it too: what they hold of other plans is to be forgotten.
    pub(super) fn hand_out(&mut self, now: Time, plan: Plan, wait: Duration) {
        self.epoch = plan.epoch;
        self.recovering.handed_out(plan.epoch, plan.start);
        self.begin_anew();
        self.plan = Some(RoomPlan::Ring(plan.clone()));
        self.warm_up_ends = Some(now + wait);
        self.show();
        let to: Vec<PeerId> = self.stayers().map(|member| member.peer).collect();
        let prepare = |peer| (peer, ServerMessage::Prepare { plan: plan.clone() });
        self.output.extend(to.into_iter().map(prepare));
    }

    /// Nothing is known yet of how members do under a plan that is handed out now.
    pub(super) fn begin_anew(&mut self) {
        self.ready.clear();
        self.done.clear();
        self.result = None;
        for member in &mut self.members {
            member.links.clear();
            member.suspected_by.clear();
            member.report = None;
        }
    }

    /// A member has measured the link to its successor; the newest measurement of a link counts.
    pub(super) fn probed(&mut self, from: PeerId, mut links: Vec<LinkProfile>) {
        links.retain(LinkProfile::can_be);
        links.truncate(1);
        if let Some(member) = self.members.iter_mut().find(|member| member.peer == from) {
            let is_new = |known: &LinkProfile| links.iter().all(|link| link.to != known.to);
            member.probed.retain(is_new);
            member.probed.extend(links);
            let longest = member.probed.len().saturating_sub(LINKS_MAX);
            member.probed.drain(..longest);
        }
    }

    /// Whether the ring would be much faster under another plan, now that its links are known. Asked once a start.
    pub(super) fn links_ask_for_another_plan(&self) -> bool {
        let measured = self.run.outline.planning == Planning::Measured && !self.replanned;
        measured && !self.recovering.is_going_on() && self.another_plan_is_better()
    }

    /// Whether another plan would take at most [`REPLAN_RATIO`] of the time of the one at work.
    pub(super) fn another_plan_is_better(&self) -> bool {
        let problem = self.problem();
        let (Some(now), Ok(better)) = (
            self.micro_batch_seconds(&problem),
            partition::arrange_kept(&problem),
        ) else {
            return false;
        };
        better.seconds <= now * REPLAN_RATIO
    }

    /// What a micro-batch takes with the plan at work, as devices and links are known now.
    fn micro_batch_seconds(&self, problem: &Problem) -> Option<f64> {
        let plan = self.ring()?;
        let place = |peer: &PeerId| self.stayers().position(|other| other.peer == *peer);
        let order: Option<Vec<usize>> = plan.order.iter().map(place).collect();
        Some(problem.seconds(&order?, &plan.cuts, &plan.limits, &plan.codecs))
    }

    /// Links are measured once the ring is built: from then on the plan that the room shows tells what they allow as well. Peers keep the one
    /// they were given, to which a server goes back that was restarted.
    pub(super) fn bound_by_links(&mut self) {
        let seconds = self.micro_batch_seconds(&self.problem());
        let micro_batches = f64::from(self.run.outline.micro_batches);
        if let (Some(RoomPlan::Ring(plan)), Some(seconds)) = (&mut self.plan, seconds) {
            let bound = plan.step_seconds.as_mut();
            bound
                .into_iter()
                .for_each(|bound| *bound = seconds * micro_batches);
        }
    }

    /// What the tasks of a stage take corrects what its peer measured before: by what factor it is slower, in the next plan.
    pub(super) fn learn(&mut self, from: PeerId, tasks: TaskSeconds) {
        let outline = &self.run.outline;
        let samples = f64::from(outline.schedule.micro_batch_samples);
        let layers = self.ring().and_then(|plan| plan.layers_of(from));
        let member = self.members.iter_mut().find(|member| member.peer == from);
        let (Some(layers), Some(member)) = (layers, member) else {
            return;
        };
        let Told::Measured(profile) = &member.told else {
            return;
        };
        let (Some(forward), Some(weights)) = (tasks.forward, tasks.backward_weights) else {
            return;
        };
        let update = tasks.update.unwrap_or_default() / f64::from(outline.micro_batches);
        let took = forward + tasks.backward_input.unwrap_or_default() + weights + update;
        let layers = usize::from(layers.start.0)..usize::from(layers.end.0);
        let expected: f64 = profile.layer_seconds[layers].iter().flatten().sum();
        let slower = took / (samples * expected);
        if slower.is_finite() {
            member.slower = slower.clamp(1.0 / CORRECTION_MAX, CORRECTION_MAX);
        }
    }

    fn refusal(&self, no_fit: &NoFit) -> String {
        let names: Vec<&str> = self
            .stayers()
            .map(|member| member.device.name.as_str())
            .collect();
        let told = no_fit.told(|device| names[device].to_owned());
        let bare = Problem {
            keeps_copies: false,
            ..self.problem()
        };
        let or = match self.run.outline.replication.is_on() && partition::arrange(&bare).is_ok() {
            true => {
                ". Without copies (`replicate = \"off\"`) it would fit, and a device that is lost would end the run"
            }
            false => "",
        };
        format!(
            "the model fits no arrangement of these devices: {told}. Let them give more memory, or more devices join{or}"
        )
    }

    /// What the planner is told of the participants.
    fn problem(&self) -> Problem {
        let outline = &self.run.outline;
        let participants: Vec<&Member> = self.stayers().collect();
        let profiles: Vec<Option<&Profile>> = participants
            .iter()
            .map(|member| match &member.told {
                Told::Measured(profile) if outline.planning == Planning::Measured => Some(profile),
                Told::Measured(_) | Told::Nothing | Told::Refused(_) => None,
            })
            .collect();
        let measured = |(profile, member): (&Option<&Profile>, &&Member)| {
            let slower = member.slower;
            let corrected = |layer: &[f64; 3]| layer.map(|seconds| seconds * slower);
            profile.map(|profile| Measured {
                layer_seconds: profile.layer_seconds.iter().map(corrected).collect(),
                noise: profile.noise,
            })
        };
        let measured: Vec<Option<Measured>> =
            profiles.iter().zip(&participants).map(measured).collect();
        let seconds = partition::devices(&outline.layers, &measured);
        let devices = seconds.into_iter().zip(&participants).zip(&profiles);
        let devices = devices.map(|((layer_seconds, member), profile)| Device {
            layer_seconds,
            memory_bytes: member.device.memory_bytes,
            on_medium: profile.is_some_and(|profile| profile.medium_bytes_per_second.is_some()),
        });
        let mediums = profiles
            .iter()
            .flatten()
            .filter_map(|profile| profile.medium_bytes_per_second);
        Problem {
            layers: outline.layers.clone(),
            schedule: outline.schedule,
            micro_batches: outline.micro_batches,
            devices: devices.collect(),
            hops: hops(&participants, &profiles, outline.planning),
            codec: outline.codec,
            sample_bytes: match outline.source {
                DataSource::One => 0,
                DataSource::Every => outline.sample_bytes,
            },
            medium_bytes_per_second: mediums.reduce(f64::min),
            keeps_copies: outline.replication.is_on(),
        }
    }

    fn plan_of(&self, peers: &[PeerId], problem: &Problem, arrangement: Arrangement) -> Plan {
        let measured = self.run.outline.planning == Planning::Measured
            && self
                .stayers()
                .any(|member| matches!(member.told, Told::Measured(_)));
        let step_seconds = arrangement.seconds * f64::from(self.run.outline.micro_batches);
        let left_out = (0..peers.len()).filter(|device| !arrangement.order.contains(device));
        let spares = left_out.map(|device| Spare {
            peer: peers[device],
            reason: if arrangement.order.len() == problem.layers.len() {
                SpareReason::TooFewLayers
            } else if problem.holds_nothing(device) {
                SpareReason::TooLittleMemory
            } else {
                SpareReason::FasterWithout
            },
        });
        let order: Vec<PeerId> = arrangement
            .order
            .iter()
            .map(|device| peers[*device])
            .collect();
        Plan {
            epoch: self.next_epoch(),
            spares: spares.collect(),
            sources: self.sources(&order),
            thirds: self.thirds(&order),
            codecs: arrangement.codecs,
            order,
            cuts: arrangement.cuts,
            limits: arrangement.limits,
            start: Version(0),
            pasts: Vec::new(),
            kept: None,
            moves: Vec::new(),
            step_seconds: measured.then_some(step_seconds),
        }
    }
}

/// Of what both ends tell of a link, the worse.
fn hops(participants: &[&Member], profiles: &[Option<&Profile>], planning: Planning) -> Hops {
    let place: BTreeMap<PeerId, usize> = participants
        .iter()
        .enumerate()
        .map(|(place, member)| (member.peer, place))
        .collect();
    let mut hops = Hops::default();
    let probed = |member: &Member| match planning {
        Planning::Measured => member.probed.clone(),
        Planning::Counted => Vec::new(),
    };
    for (from, (member, profile)) in participants.iter().zip(profiles).enumerate() {
        let told = profile.iter().flat_map(|profile| profile.links.clone());
        for link in told.chain(probed(member)) {
            let Some(to) = place.get(&link.to).copied() else {
                continue;
            };
            let known = hops.get(from, to);
            let rates = [known.bytes_per_second, link.bytes_per_second];
            let hop = Hop {
                delay_seconds: known.delay_seconds.max(link.delay_seconds),
                bytes_per_second: rates.into_iter().flatten().reduce(f64::min),
            };
            hops.set(from, to, hop);
        }
    }
    hops.guess_unknown();
    hops
}
