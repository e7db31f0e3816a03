//! How a room gets from its members to a plan.

use super::{Member, Room, WARM_UP_MAX};
use crate::curve::Curve;
use crate::ids::{Epoch, PeerId};
use crate::partition::{self, Arrangement, Device, Hop, Hops, Measured, NoFit, Problem};
use crate::plan::{Plan, Spare, SpareReason};
use crate::profile::{Planning, Profile};
use crate::schedule::DataSource;
use crate::signal::{ProfileView, RoomState, ServerMessage};
use crate::time::Time;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a start waits for members to measure the run's layers. They take about a second of computing, and a slow device
/// compiles its kernels before; who is later is reckoned with as fast as the one in the middle.
pub const PROFILE_WAIT_MAX: Duration = Duration::from_secs(20);

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
        if self.unmeasured().next().is_some() {
            self.profiles_due.get_or_insert(now + PROFILE_WAIT_MAX);
            self.state = RoomState::Waiting;
            self.show();
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
        self.start_if_measured(now);
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
        self.participants()
            .filter(move |member| wanted && matches!(member.told, Told::Nothing))
    }

    /// Plans with what is known, and has the plan prepared.
    pub(super) fn prepare(&mut self, now: Time) {
        self.profiles_due = None;
        let order: Vec<PeerId> = self.participants().map(|member| member.peer).collect();
        if order.is_empty() {
            return;
        }
        let problem = self.problem();
        let arrangement = match partition::arrange(&problem) {
            Ok(planned) => planned.arrangement,
            Err(no_fit) => return self.stop(self.refusal(&no_fit)),
        };
        let plan = self.plan_of(&order, &problem, arrangement);
        if plan.sources.is_empty() {
            return self.stop("none of the devices has samples to train on".to_owned());
        }
        self.epoch = plan.epoch;
        self.ready.clear();
        self.done.clear();
        self.curve = Curve::default();
        self.result = None;
        for member in &mut self.members {
            member.links.clear();
            member.report = None;
        }
        self.plan = Some(plan.clone());
        self.state = RoomState::WarmingUp;
        self.warm_up_ends = Some(now + WARM_UP_MAX);
        self.show();
        let prepare = |peer: &PeerId| (*peer, ServerMessage::Prepare { plan: plan.clone() });
        self.output.extend(plan.order.iter().map(prepare));
    }

    fn refusal(&self, no_fit: &NoFit) -> String {
        let names: Vec<&str> = self
            .participants()
            .map(|member| member.device.name.as_str())
            .collect();
        let told = no_fit.told(|device| names[device].to_owned());
        format!(
            "the model fits no arrangement of these devices: {told}. Let them give more memory, or more devices join"
        )
    }

    /// What the planner is told of the participants.
    fn problem(&self) -> Problem {
        let outline = &self.run.outline;
        let participants: Vec<&Member> = self.participants().collect();
        let profiles: Vec<Option<&Profile>> = participants
            .iter()
            .map(|member| match &member.told {
                Told::Measured(profile) if outline.planning == Planning::Measured => Some(profile),
                Told::Measured(_) | Told::Nothing | Told::Refused(_) => None,
            })
            .collect();
        let measured: Vec<Option<Measured>> = profiles
            .iter()
            .map(|profile| {
                profile.map(|profile| Measured {
                    layer_seconds: profile.layer_seconds.clone(),
                    noise: profile.noise,
                })
            })
            .collect();
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
            hops: hops(&participants, &profiles),
            codec: outline.codec,
            sample_bytes: match outline.source {
                DataSource::One => 0,
                DataSource::Every => outline.sample_bytes,
            },
            medium_bytes_per_second: mediums.reduce(f64::min),
        }
    }

    fn plan_of(&self, peers: &[PeerId], problem: &Problem, arrangement: Arrangement) -> Plan {
        let measured = self.run.outline.planning == Planning::Measured
            && self
                .participants()
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
            epoch: Epoch {
                number: self.epoch.number + 1,
                ..self.epoch
            },
            spares: spares.collect(),
            sources: self.sources(&order),
            codecs: arrangement.codecs,
            order,
            cuts: arrangement.cuts,
            limits: arrangement.limits,
            step_seconds: measured.then_some(step_seconds),
        }
    }
}

/// Of what both ends tell of a link, the worse.
fn hops(participants: &[&Member], profiles: &[Option<&Profile>]) -> Hops {
    let place: BTreeMap<PeerId, usize> = participants
        .iter()
        .enumerate()
        .map(|(place, member)| (member.peer, place))
        .collect();
    let mut hops = Hops::default();
    for (from, profile) in profiles.iter().enumerate() {
        for link in profile.iter().flat_map(|profile| &profile.links) {
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
    hops
}
