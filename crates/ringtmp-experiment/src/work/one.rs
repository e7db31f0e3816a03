//! One simulated run, and its figures.

use super::{Failure, Tried, Worker};
use crate::cell::{Cell, Kind, ModelCosts};
use crate::memory;
use crate::outcome::{Figures, Joules};
use crate::profile::DeviceProfile;
use ringtmp_core::parameter_server::MemberIndex;
use ringtmp_core::partition::{Hops, arrange};
use ringtmp_core::signal::Recovery;
use ringtmp_core::trace::{Shares, Span, extent, shares};
use ringtmp_energy::estimate::{EstimatedParts, Usage};
use ringtmp_sim::check::simulate_checked;
use ringtmp_sim::report::Report;
use ringtmp_sim::team::{
    HashTeam, TeamChoice, TeamFault, TeamOutcome, TeamReport, simulate_team, team_job,
};
use ringtmp_sim::{Outcome as RingOutcome, Scenario, SimulationError};
use std::collections::BTreeMap;

/// Bytes of a packet: what WebRTC puts into one.
const PACKET_BYTES: f64 = 1200.0;

impl Worker<'_> {
    /// A ring of those devices only with which the planner holds it fastest.
    pub(super) fn few(
        &self,
        scenario: &Scenario,
        devices: &[&DeviceProfile],
    ) -> Result<Tried, Failure> {
        if let Err(error) = scenario.check() {
            return Ok(Tried::Refused(error.to_string()));
        }
        let order = match arrange(&scenario.problem()) {
            Ok(planned) => planned.arrangement.order,
            Err(lacks) => return Ok(Tried::Refused(lacks.to_string())),
        };
        let (few, links) = smaller(scenario, &order);
        let scenario = Scenario { links, ..few };
        let part: Vec<&DeviceProfile> = order.iter().map(|device| devices[*device]).collect();
        let others = (0..devices.len()).filter(|device| !order.contains(device));
        let absent: Vec<&DeviceProfile> = others.map(|device| devices[device]).collect();
        self.ring(&scenario, &part, &absent)
    }

    /// A ring of `devices`; those that are `absent` are there, idle, and have no part in it.
    pub(super) fn ring(
        &self,
        scenario: &Scenario,
        devices: &[&DeviceProfile],
        absent: &[&DeviceProfile],
    ) -> Result<Tried, Failure> {
        let outcome = match simulate_checked(scenario) {
            Ok(outcome) => outcome,
            Err(SimulationError::Scenario(error)) => return Ok(Tried::Refused(error.to_string())),
            Err(SimulationError::Refused { reason, .. }) => return Ok(Tried::Refused(reason)),
            Err(SimulationError::Stopped {
                seconds, reason, ..
            }) => {
                let reason = format!("the run ended after {seconds:.0} s: {reason}");
                return Ok(Tried::Refused(reason));
            }
            Err(error) => return Err(Failure::Broken(error.to_string())),
        };
        let report = Report::of(scenario, &outcome);
        let count = (devices.len() + absent.len()) as f64;
        let mean = |figure: fn(&Shares) -> f64| {
            let all = report.peers.iter().map(|peer| figure(&peer.shares));
            all.sum::<f64>() / count
        };
        let spare = (report.spares.len() + absent.len()) as f64 / count;
        let idle = mean(Shares::idle) + spare;
        let samples = samples(scenario);
        let (whole, seconds) = whole(&outcome.trace);
        let moved = ring_moved(devices.len(), &outcome);
        let busy = |device: usize| {
            let stage = outcome.order.iter().position(|other| *other == device);
            let shares = stage.and_then(|stage| whole.get(&(stage as u32)));
            shares.map_or(0.0, |shares| shares.busy)
        };
        let mut spent = Spent::of(devices, &moved, busy, seconds);
        // They are there and wait.
        let waits = absent.iter().map(|device| usage(device, 0.0, seconds, 0.0));
        spent.usages.extend(waits);
        let devices: Vec<&DeviceProfile> = devices.iter().chain(absent).copied().collect();
        Ok(Tried::Ran(Box::new(Figures {
            throughput: report.throughput,
            seconds,
            idle,
            idle_input: mean(|shares| shares.input),
            idle_link: mean(|shares| shares.link),
            idle_credit: mean(|shares| shares.credit),
            idle_weights: mean(|shares| shares.weights),
            idle_spare: spare,
            idle_devices: idle,
            core_seconds_per_sample: spent.core_seconds() / samples,
            bytes_per_sample: outcome
                .stages
                .iter()
                .map(|s| s.bytes_sent as f64)
                .sum::<f64>()
                / samples,
            devices_used: outcome.order.len() as f64,
            busiest_device: spent.busiest_device,
            busiest_link: spent.busiest_link,
            drift: 0.0,
            recoveries: outcome.recoveries.len() as f64,
            repeated: repeated(&outcome.recoveries),
            seconds_lost: 0.0,
            joules: self.joules(&devices, &spent.usages, samples)?,
        })))
    }

    pub(super) fn team(
        &self,
        scenario: &Scenario,
        choice: TeamChoice,
        cell: &Cell,
        costs: &ModelCosts,
        devices: &[&DeviceProfile],
    ) -> Result<Tried, Failure> {
        let job = match team_job(scenario, choice) {
            Ok(job) => job,
            Err(error @ (TeamFault::Scenario(_) | TeamFault::Layout(_))) => {
                return Ok(Tried::Refused(error.to_string()));
            }
            Err(error) => return Err(Failure::Broken(error.to_string())),
        };
        let spec = &scenario.outline.schedule;
        let sample_bytes = scenario.outline.sample_bytes;
        let given = |member: MemberIndex| devices[usize::from(member.0)].memory_bytes;
        let lacks = memory::lacking(&job, costs, sample_bytes, spec, given);
        if let Some(reason) = lacks {
            return Ok(Tried::Refused(reason));
        }
        if matches!(cell.kind, Kind::Capacity(_)) {
            return Ok(Tried::Ran(Box::default()));
        }
        let mut compute = HashTeam::new(&job);
        let outcome = match stopped(simulate_team(scenario, choice, &mut compute))? {
            Ok(outcome) => outcome,
            Err(reason) => return Ok(Tried::Refused(reason)),
        };
        let report = TeamReport::of(scenario, choice, &outcome, compute.hash());
        let workers: Vec<&Shares> = report
            .members
            .iter()
            .filter(|member| member.is_worker)
            .map(|member| &member.shares)
            .collect();
        let mean = |figure: fn(&Shares) -> f64| {
            workers.iter().map(|shares| figure(shares)).sum::<f64>() / workers.len() as f64
        };
        let samples = samples(scenario);
        let (whole, seconds) = whole(&outcome.trace);
        let busy = |device: usize| {
            let shares = whole.get(&(device as u32));
            shares.map_or(0.0, |shares| shares.busy)
        };
        let spent = Spent::of(devices, &team_moved(&outcome), busy, seconds);
        Ok(Tried::Ran(Box::new(Figures {
            throughput: report.throughput,
            seconds,
            idle: report.idle_workers,
            idle_input: mean(|shares| shares.input),
            idle_link: mean(|shares| shares.link),
            idle_credit: mean(|shares| shares.credit),
            idle_weights: mean(|shares| shares.weights),
            idle_spare: 0.0,
            idle_devices: report.idle,
            core_seconds_per_sample: spent.core_seconds() / samples,
            bytes_per_sample: outcome.bytes_sent.iter().sum::<u64>() as f64 / samples,
            devices_used: devices.len() as f64,
            busiest_device: spent.busiest_device,
            busiest_link: spent.busiest_link,
            drift: drift(&outcome.done),
            recoveries: outcome.recoveries.len() as f64,
            repeated: repeated(&outcome.recoveries),
            seconds_lost: 0.0,
            joules: self.joules(devices, &spent.usages, samples)?,
        })))
    }

    fn joules(
        &self,
        devices: &[&DeviceProfile],
        usages: &[Usage],
        samples: f64,
    ) -> Result<Joules, Failure> {
        let mut parts = EstimatedParts::default();
        for (device, usage) in devices.iter().zip(usages) {
            let profile = self.coefficients.profile(&device.energy_profile)?;
            parts = parts + profile.estimate(usage);
        }
        let gross = parts.gross().joules();
        Ok(Joules {
            estimated_joules_per_sample: gross.best() / samples,
            estimated_joules_per_sample_low: gross.low() / samples,
            estimated_joules_per_sample_high: gross.high() / samples,
            estimated_joules_per_sample_idle: parts.idle.joules().best() / samples,
            estimated_joules_per_sample_network: parts.network.joules().best() / samples,
        })
    }
}

/// A run that ended early is refused, with the reason; anything else that goes wrong is a fault of this program.
fn stopped(
    outcome: Result<TeamOutcome, TeamFault>,
) -> Result<Result<TeamOutcome, String>, Failure> {
    match outcome {
        Ok(outcome) => Ok(Ok(outcome)),
        Err(stopped @ TeamFault::Stopped { .. }) => Ok(Err(stopped.to_string())),
        Err(error) => Err(Failure::Broken(error.to_string())),
    }
}

/// Steps that were made again.
fn repeated(recoveries: &[Recovery]) -> f64 {
    let repeated = recoveries.iter();
    repeated.map(|recovery| f64::from(recovery.repeated)).sum()
}

/// Samples of the whole run.
pub(super) fn samples(scenario: &Scenario) -> f64 {
    let outline = &scenario.outline;
    f64::from(outline.schedule.micro_batch_samples)
        * f64::from(outline.micro_batches)
        * f64::from(outline.steps)
}

/// How everybody spent the whole run, and its seconds.
fn whole(trace: &[Span]) -> (BTreeMap<u32, Shares>, f64) {
    let (start, end) = extent(trace);
    let seconds = end.since(start).as_secs_f64();
    (shares(trace, start, end), seconds)
}

fn usage(device: &DeviceProfile, busy: f64, seconds: f64, bytes: f64) -> Usage {
    Usage {
        wall_seconds: seconds,
        cpu_seconds: busy * seconds * device.cores,
        gpu_operations: 0.0,
        bytes,
        frames: bytes / PACKET_BYTES,
    }
}

/// What devices did in a run.
struct Spent {
    usages: Vec<Usage>,
    busiest_device: f64,
    busiest_link: f64,
}

impl Spent {
    /// Of devices that sent and received so many bytes, and were busy for a share of so many seconds.
    fn of(
        devices: &[&DeviceProfile],
        moved: &[[f64; 2]],
        busy: impl Fn(usize) -> f64,
        seconds: f64,
    ) -> Self {
        let usages = devices.iter().zip(moved).enumerate();
        let usages = usages.map(|(place, (device, [sent, received]))| {
            usage(device, busy(place), seconds, sent + received)
        });
        let loads = devices.iter().zip(moved).map(|(device, [sent, received])| {
            sent.max(*received) / device.bytes_per_second / seconds
        });
        Self {
            usages: usages.collect(),
            busiest_device: (0..devices.len()).map(&busy).fold(0.0, f64::max),
            busiest_link: loads.fold(0.0, f64::max),
        }
    }

    fn core_seconds(&self) -> f64 {
        self.usages.iter().map(|usage| usage.cpu_seconds).sum()
    }
}

/// Bytes that each device sent and received. A gradient is as long as the activation that it answers, so that a stage receives from each
/// neighbour what it sends it.
fn ring_moved(devices: usize, outcome: &RingOutcome) -> Vec<[f64; 2]> {
    let mut moved = vec![[0.0; 2]; devices];
    for (device, used) in outcome.order.iter().zip(&outcome.stages) {
        moved[*device] = [used.bytes_sent as f64; 2];
    }
    moved
}

/// The same of a team: servers receive what workers send, and workers what servers send; where everybody is both, each receives an even
/// part.
fn team_moved(outcome: &TeamOutcome) -> Vec<[f64; 2]> {
    let layout = &outcome.job.layout;
    let is_worker = |device: usize| {
        let mut workers = layout.workers.iter();
        workers.any(|worker| outcome.order[usize::from(worker.0)] == device)
    };
    let workers = layout.workers.len() as f64;
    let servers = outcome.bytes_sent.len() as f64 - workers;
    let sent = |of_workers: bool| -> f64 {
        let all = outcome.bytes_sent.iter().enumerate();
        all.filter(|(place, _)| is_worker(*place) == of_workers)
            .map(|(_, bytes)| *bytes as f64)
            .sum()
    };
    let (by_workers, by_servers) = (sent(true), sent(false));
    let received = |place: usize| match (servers > 0.0, is_worker(place)) {
        (false, _) => by_workers / workers,
        (true, true) => by_servers / workers,
        (true, false) => by_workers / servers,
    };
    let all = outcome.bytes_sent.iter().enumerate();
    all.map(|(place, bytes)| [*bytes as f64, received(place)])
        .collect()
}

/// Steps by which one worker was ahead of another when it had done one, at most. By worker, when each step was done.
fn drift(done: &[Vec<u64>]) -> f64 {
    let ahead = |steps: usize, at: u64| {
        let others = done
            .iter()
            .map(|other| other.partition_point(|when| *when <= at));
        others.map(|other| steps.saturating_sub(other)).max()
    };
    let all = done
        .iter()
        .flat_map(|worker| (1..).zip(worker))
        .filter_map(|(steps, at)| ahead(steps, *at));
    all.max().unwrap_or(0) as f64
}

/// The scenario of some of its devices, and the links between these.
fn smaller(scenario: &Scenario, order: &[usize]) -> (Scenario, Hops) {
    let few = Scenario {
        devices: order
            .iter()
            .map(|device| scenario.devices[*device])
            .collect(),
        ..scenario.clone()
    };
    let mut few = few;
    few.outline.start_at_peers = u16::try_from(order.len()).unwrap_or(u16::MAX);
    let mut links = Hops::all(scenario.links.get(0, 0));
    for (i, one) in order.iter().enumerate() {
        for (j, other) in order.iter().enumerate().skip(i + 1) {
            links.set(i, j, scenario.links.get(*one, *other));
        }
    }
    (few, links)
}

#[cfg(test)]
mod tests {
    use super::drift;

    #[test]
    fn drift_is_told_from_when_steps_were_done() {
        assert!((drift(&[vec![1, 2, 3], vec![3, 4, 9]]) - 2.0).abs() < 1e-9);
        // In turn: nobody is ahead by more than the step that is being made.
        assert!((drift(&[vec![1, 3, 5], vec![2, 4, 6]]) - 1.0).abs() < 1e-9);
        assert!(drift(&[vec![1, 2]]).abs() < 1e-9);
    }
}
