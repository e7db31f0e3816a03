//! Rooms whose devices hold whole models: a parameter server's, or those of all-reduce.
//!
//! ```text
//!   waiting ──▶ warming up: PrepareTeam ── Ready of all ──▶ training ── Done of all ──▶ finished
//! ```
//!
//! Where servers hold the parameters and each step makes one update, a worker that is lost costs no more than the step under way:
//! the others get a plan in which servers go on with what they hold, and with it whoever has come meanwhile. Otherwise who comes
//! later is spare until the next start, and who goes before its part is done ends the run by name.

use super::planning::Told;
use super::recovery::Recovering;
use super::{ATTEMPTS_MAX, Room, WARM_UP_MAX};
use crate::curve::Curve;
use crate::ids::PeerId;
use crate::parameter_server::{TeamDevice, TeamPlan, Topology};
use crate::plan::Plan;
use crate::profile::Planning;
use crate::signal::{
    LayerDigest, RECOVERIES_SHOWN_MAX, Recovery, Role, RoomPlan, RoomState, ServerMessage,
};
use crate::time::Time;

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
        self.is_ring() && self.run.outline.replication.is_on()
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
        self.hand_out_team(now, &devices, false);
    }

    /// A member of the plan at work is gone, or cut out.
    pub(super) fn lost_of_team(&mut self, now: Time, lost: PeerId, reason: String) {
        let Some(plan) = self.team() else { return };
        let servers: Vec<PeerId> = plan
            .order
            .iter()
            .copied()
            .filter(|p| plan.serves(*p))
            .collect();
        let separate = servers.iter().all(|server| !plan.works(*server));
        let keeps = self.run.outline.replication.is_on() && self.run.outline.topology.is_in_step();
        self.recovering.attempts += 1;
        let ends = self.recovering.attempts > ATTEMPTS_MAX || !self.done.is_empty();
        if servers.contains(&lost) || !separate || !keeps || ends {
            return self.stop(format!("{reason}, and with it its part of the run"));
        }
        // Servers hold the parameters: they stay what they are, and nobody else becomes one.
        let mut devices = self.team_devices();
        devices.retain(|device| device.peer != lost);
        devices.retain(|device| !device.serves || servers.contains(&device.peer));
        for device in &mut devices {
            device.serves |= servers.contains(&device.peer);
        }
        let all_here = servers
            .iter()
            .all(|server| devices.iter().any(|it| it.peer == *server));
        if !all_here {
            return self.stop(format!("{reason}, and a server is gone with what it held"));
        }
        let step = self
            .curve
            .points()
            .iter()
            .map(|point| point.step)
            .max()
            .unwrap_or(0);
        let paused = self.state == RoomState::Paused;
        self.state = RoomState::Reconfiguring {
            reason: reason.clone(),
        };
        self.recovering.was_paused |= paused;
        self.recovering.note_team(now, reason, step);
        self.hand_out_team(now, &devices, true);
    }

    /// A member cannot go on, or says that another is at fault: of a server and a worker the worker is done without.
    pub(super) fn failed_in_team(
        &mut self,
        now: Time,
        from: PeerId,
        culprit: Option<PeerId>,
        reason: String,
    ) {
        let Some(plan) = self.team() else { return };
        let ends = [culprit, Some(from)].into_iter().flatten();
        let worker = ends
            .clone()
            .find(|peer| plan.works(*peer) && !plan.serves(*peer));
        let gone = culprit.filter(|peer| self.is_away(*peer));
        let lost = gone.or(worker).unwrap_or(from);
        if let Some(member) = self.members.iter_mut().find(|member| member.peer == lost) {
            member.cut_out = Some(reason.clone());
        }
        self.lost_of_team(now, lost, reason);
    }

    fn hand_out_team(&mut self, now: Time, devices: &[TeamDevice], goes_on: bool) {
        let outline = &self.run.outline;
        let (topology, micro_batches) = (outline.topology, outline.micro_batches);
        let planned = TeamPlan::new(self.next_epoch(), topology, micro_batches, devices);
        let plan = match planned {
            Ok(plan) => TeamPlan { goes_on, ..plan },
            Err(error) => return self.stop(error.to_string()),
        };
        self.epoch = plan.epoch;
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

impl Recovering {
    /// A team goes on without one of its workers, from about this step.
    fn note_team(&mut self, now: Time, reason: String, step: u32) {
        self.began.get_or_insert(now);
        if self
            .recoveries
            .last()
            .is_some_and(|last| last.seconds.is_none())
        {
            self.recoveries.pop();
        }
        self.recoveries.push(Recovery {
            reason,
            step,
            repeated: 0,
            moved: 0,
            taken: Vec::new(),
            seconds: None,
        });
        let longest = self.recoveries.len().saturating_sub(RECOVERIES_SHOWN_MAX);
        self.recoveries.drain(..longest);
    }
}
