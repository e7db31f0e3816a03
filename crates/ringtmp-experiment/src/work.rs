//! Works cells off.

use crate::cell::{Capacity, Cell, Figures, Joules, Kind, Model, ModelCosts, Outcome, Way};
use crate::memory;
use crate::profile::{DeviceProfile, ProfileError, Profiles, links};
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::parameter_server::{Exchange, Placement, Staleness, UPDATE_OPERATIONS};
use ringtmp_core::profile::Planning;
use ringtmp_core::schedule::{DataSource, Mode, ScheduleSpec};
use ringtmp_core::signal::{Replication, RunOutline};
use ringtmp_core::trace::{Shares, Span, extent, shares};
use ringtmp_energy::estimate::{Coefficients, EstimateError, EstimatedParts, Usage};
use ringtmp_sim::check::simulate_checked;
use ringtmp_sim::report::Report;
use ringtmp_sim::team::{
    HashTeam, TeamChoice, TeamFault, TeamOutcome, TeamReport, simulate_team, team_job,
};
use ringtmp_sim::{Outcome as RingOutcome, Scenario, SimulationError};
use std::collections::BTreeMap;

/// Servers where they are dedicated.
const SHARDS: u16 = 2;

/// Each task takes `1 + j (E - 1)` times its time, E exponential of mean 1: devices that do other things as well.
const JITTER: f64 = 0.3;

/// Bytes of a packet: what WebRTC puts into one.
const PACKET_BYTES: f64 = 1200.0;

/// Steps with which capacity tries a model.
const CAPACITY_STEPS: u32 = 1;

/// The largest width or depth that is tried: a run has no more layers.
const GROWN_MAX: u32 = 1 << 13;

/// Widths are multiples of it, so that heads of this width divide them.
const WIDTH_STEP: u32 = 64;

/// What a model costs, or why there is no such model.
pub type Models<'a> = &'a dyn Fn(&Model) -> Result<ModelCosts, String>;

/// Why a cell could not be worked off.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The table of devices lacks one, or is none.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The coefficients lack a device.
    #[error(transparent)]
    Energy(#[from] EstimateError),
    /// The grid names a model that is none.
    #[error("the model {0} of the grid cannot be: {1}")]
    Model(String, String),
    /// A fault of the protocol or of the simulator, which is worth a report.
    #[error("the simulated run went wrong, which is this program's fault: {0}")]
    Broken(String),
}

/// Works cells off, with the tables they need.
pub struct Worker<'a> {
    models: Models<'a>,
    profiles: Profiles,
    coefficients: Coefficients,
    costs: BTreeMap<Model, ModelCosts>,
}

/// A run, or why there is none.
enum Tried {
    Ran(Box<Figures>),
    Refused(String),
}

impl<'a> Worker<'a> {
    /// With tables, and what models cost.
    pub fn new(models: Models<'a>, profiles: Profiles, coefficients: Coefficients) -> Self {
        Self {
            models,
            profiles,
            coefficients,
            costs: BTreeMap::new(),
        }
    }

    /// What a model costs.
    fn costs(&mut self, model: &Model) -> Result<ModelCosts, String> {
        if let Some(costs) = self.costs.get(model) {
            return Ok(costs.clone());
        }
        let costs = (self.models)(model)?;
        self.costs.insert(model.clone(), costs.clone());
        Ok(costs)
    }

    /// The name of a cell.
    ///
    /// # Errors
    ///
    /// If its model or its devices are none.
    pub fn digest(&mut self, cell: &Cell, program: &str) -> Result<String, Failure> {
        let costs = self.known(&cell.model)?;
        let devices = self.profiles.devices(&cell.profile, cell.peers.min(3))?;
        let mut energy = Vec::new();
        for device in &devices {
            energy.push(self.coefficients.profile(&device.energy_profile)?);
        }
        let surroundings = serde_json::to_string(&(costs, devices, energy));
        let surroundings = surroundings.map_err(|error| Failure::Broken(error.to_string()))?;
        Ok(cell.digest(&surroundings, program))
    }

    fn known(&mut self, model: &Model) -> Result<ModelCosts, Failure> {
        let costs = self.costs(model);
        costs.map_err(|reason| Failure::Model(model.to_string(), reason))
    }

    /// Works a cell off.
    ///
    /// # Errors
    ///
    /// What is wrong with the tables or with this program; a refusal is an outcome.
    pub fn work(&mut self, cell: &Cell) -> Result<Outcome, Failure> {
        match cell.kind {
            Kind::Run { steps } => {
                let costs = self.known(&cell.model)?;
                Ok(match self.run(cell, &costs, steps)? {
                    Tried::Ran(figures) => Outcome::Ran(figures),
                    Tried::Refused(reason) => Outcome::Refused { reason },
                })
            }
            Kind::Capacity(grows) => self.grow(cell, grows),
        }
    }

    fn run(&self, cell: &Cell, costs: &ModelCosts, steps: u32) -> Result<Tried, Failure> {
        let devices = self.profiles.devices(&cell.profile, cell.peers)?;
        let scenario = scenario(cell, costs, &devices, steps);
        match choice(cell.way) {
            None => self.ring(&scenario, &devices),
            Some(choice) => self.team(&scenario, choice, cell, costs, &devices),
        }
    }

    fn ring(&self, scenario: &Scenario, devices: &[&DeviceProfile]) -> Result<Tried, Failure> {
        let outcome = match simulate_checked(scenario) {
            Ok(outcome) => outcome,
            Err(SimulationError::Scenario(error)) => return Ok(Tried::Refused(error.to_string())),
            Err(SimulationError::Refused { reason, .. }) => return Ok(Tried::Refused(reason)),
            Err(error) => return Err(Failure::Broken(error.to_string())),
        };
        let report = Report::of(scenario, &outcome);
        let count = devices.len() as f64;
        let mean = |figure: fn(&Shares) -> f64| {
            let all = report.peers.iter().map(|peer| figure(&peer.shares));
            all.sum::<f64>() / count
        };
        let spare = report.spares.len() as f64 / count;
        let idle = mean(Shares::idle) + spare;
        let samples = samples(scenario);
        let (whole, seconds) = whole(&outcome.trace);
        let usages = ring_usages(devices, &outcome, &whole, seconds);
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
            core_seconds_per_sample: core_seconds(&usages) / samples,
            bytes_per_sample: outcome
                .stages
                .iter()
                .map(|s| s.bytes_sent as f64)
                .sum::<f64>()
                / samples,
            joules: self.joules(devices, &usages, samples)?,
        })))
    }

    fn team(
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
        let optimizer_numbers = scenario.outline.schedule.optimizer_numbers;
        let given = |member: ringtmp_core::parameter_server::MemberIndex| {
            devices[usize::from(member.0)].memory_bytes
        };
        let lacks = memory::lacking(&job, costs, cell.micro_batch, optimizer_numbers, given);
        if let Some(reason) = lacks {
            return Ok(Tried::Refused(reason));
        }
        if matches!(cell.kind, Kind::Capacity(_)) {
            return Ok(Tried::Ran(Box::default()));
        }
        let mut compute = HashTeam::new(&job);
        let outcome = simulate_team(scenario, choice, &mut compute);
        let outcome = outcome.map_err(|error| Failure::Broken(error.to_string()))?;
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
        let usages = team_usages(devices, &outcome, &whole, seconds);
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
            core_seconds_per_sample: core_seconds(&usages) / samples,
            bytes_per_sample: outcome.bytes_sent.iter().sum::<u64>() as f64 / samples,
            joules: self.joules(devices, &usages, samples)?,
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

    /// Doubles until it is refused, then halves what lies between.
    fn grow(&mut self, cell: &Cell, grows: Capacity) -> Result<Outcome, Failure> {
        let model = |size: u32| match grows {
            Capacity::Depth => Model {
                depth: Some(size),
                ..cell.model.clone()
            },
            Capacity::Width => Model {
                width: Some(size * WIDTH_STEP),
                ..cell.model.clone()
            },
        };
        let mut fits: Option<(u32, u64)> = None;
        let mut refused: Option<(u32, String)> = None;
        let mut size = 1;
        loop {
            match self.try_model(cell, &model(size))? {
                Ok(parameters) => fits = Some((size, parameters)),
                Err(reason) => refused = Some((size, reason)),
            }
            let fit = fits.map_or(0, |(size, _)| size);
            size = match &refused {
                Some((no, _)) if no - fit <= 1 => break,
                Some((no, _)) => u32::midpoint(fit, *no),
                None if fit >= GROWN_MAX => break,
                None => fit * 2,
            };
        }
        let (smallest, reason) =
            refused.unwrap_or_else(|| (GROWN_MAX, "nothing larger was tried".to_owned()));
        Ok(match fits {
            None => Outcome::Refused { reason },
            Some((size, parameters)) => Outcome::Grew {
                model: model(size),
                parameters,
                refused: model(smallest),
                reason,
            },
        })
    }

    /// The parameters of a model that can be trained, or why it cannot.
    fn try_model(&mut self, cell: &Cell, model: &Model) -> Result<Result<u64, String>, Failure> {
        let costs = match (self.models)(model) {
            Ok(costs) => costs,
            Err(reason) => return Ok(Err(reason)),
        };
        Ok(match self.run(cell, &costs, CAPACITY_STEPS)? {
            Tried::Ran(_) => Ok(costs.parameters()),
            Tried::Refused(reason) => Err(reason),
        })
    }
}

fn choice(way: Way) -> Option<TeamChoice> {
    let (exchange, placement, staleness) = match way {
        Way::Ring(_) => return None,
        Way::ParameterServer { placement, tau } => (Exchange::Server, placement, tau),
        Way::AllReduce => (
            Exchange::AllReduce,
            Placement::default(),
            Staleness::default(),
        ),
    };
    Some(TeamChoice {
        exchange,
        placement,
        shards: SHARDS,
        staleness,
    })
}

fn scenario(cell: &Cell, costs: &ModelCosts, devices: &[&DeviceProfile], steps: u32) -> Scenario {
    let mode = match cell.way {
        Way::Ring(mode) => mode,
        Way::ParameterServer { .. } | Way::AllReduce => Mode::Sync,
    };
    // An update is of an even part of the model, as in the simulator of teams.
    let part = costs.parameters() as f64 / f64::from(cell.peers.max(1));
    Scenario {
        outline: RunOutline {
            name: cell.model.to_string(),
            layers: costs.layers.clone(),
            steps,
            micro_batches: cell.micro_batches,
            evaluate_every: 0,
            evaluation_micro_batches: 0,
            start_at_peers: cell.peers,
            schedule: ScheduleSpec::new(mode, cell.micro_batch),
            source: DataSource::One,
            sample_bytes: costs.sample_bytes,
            codec: CodecChoice::F16,
            planning: Planning::Measured,
            replication: Replication::Off,
        },
        devices: devices
            .iter()
            .map(|device| device.spec(UPDATE_OPERATIONS * part))
            .collect(),
        links: links(devices),
        losses: Vec::new(),
        faults: Vec::new(),
        medium_bytes_per_second: None,
        shares_access: true,
        jitter: JITTER,
        seed: cell.seed,
        limits: None,
        keeps_every: None,
    }
}

/// Samples of the whole run.
fn samples(scenario: &Scenario) -> f64 {
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

fn core_seconds(usages: &[Usage]) -> f64 {
    usages.iter().map(|usage| usage.cpu_seconds).sum()
}

/// What a stage sends its neighbours receive; all but little goes either way, so each gets half of it.
fn ring_usages(
    devices: &[&DeviceProfile],
    outcome: &RingOutcome,
    whole: &BTreeMap<u32, Shares>,
    seconds: f64,
) -> Vec<Usage> {
    // A spare is there and waits.
    let mut usages: Vec<Usage> = devices
        .iter()
        .map(|device| usage(device, 0.0, seconds, 0.0))
        .collect();
    let sent = |stage: usize| {
        outcome
            .stages
            .get(stage)
            .map_or(0.0, |s| s.bytes_sent as f64)
    };
    let last = outcome.order.len().saturating_sub(1);
    // At the ends everything goes to the one neighbour.
    let part = |stage: usize| {
        if stage == 0 || stage == last {
            1.0
        } else {
            0.5
        }
    };
    for (stage, device) in outcome.order.iter().enumerate() {
        let before = stage.checked_sub(1).map_or(0.0, |s| sent(s) * part(s));
        let after = if stage < last {
            sent(stage + 1) * part(stage + 1)
        } else {
            0.0
        };
        let busy = whole.get(&(stage as u32)).map_or(0.0, |shares| shares.busy);
        let bytes = sent(stage) + before + after;
        usages[*device] = usage(devices[*device], busy, seconds, bytes);
    }
    usages
}

/// Servers receive what workers send, and workers what servers send; where everybody is both, each receives an even part.
fn team_usages(
    devices: &[&DeviceProfile],
    outcome: &TeamOutcome,
    whole: &BTreeMap<u32, Shares>,
    seconds: f64,
) -> Vec<Usage> {
    let layout = &outcome.job.layout;
    let is_worker = |place: usize| layout.workers.iter().any(|w| usize::from(w.0) == place);
    let workers = layout.workers.len() as f64;
    let servers = devices.len() as f64 - workers;
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
    let of = |(place, device): (usize, &&DeviceProfile)| {
        let busy = whole.get(&(place as u32)).map_or(0.0, |shares| shares.busy);
        let bytes = outcome.bytes_sent[place] as f64 + received(place);
        usage(device, busy, seconds, bytes)
    };
    devices.iter().enumerate().map(of).collect()
}
