//! A run by devices that this machine imitates, and the same one under virtual time.

use super::super::idle::{NATIVE_LINK, behind};
use super::addition_file;
use crate::speed::Speed;
use anyhow::Result;
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::parameter_server::Exchange;
use ringtmp_core::partition::Hops;
use ringtmp_core::schedule::Mode;
use ringtmp_core::signal::{Recovery, Replication, RunOutline};
use ringtmp_core::trace::Span;
use ringtmp_experiment::{Cell, HERE, Profiles, Way};
use ringtmp_peer::{ModelTable, Paradigm, RunFile, update_operations};
use ringtmp_sim::check::simulate_checked;
use ringtmp_sim::team::{HashTeam, TeamChoice, simulate_team, team_job};
use ringtmp_sim::{DeviceSpec, Fault, Scenario};
use ringtmp_transport::native::AccessLink;
use std::time::Duration;

/// How many times slower than the device of 25 ms a task one device alone is; of several, each is as fast. So long tasks are not late for what
/// else this machine does.
const SLOWNESS_ALONE: f64 = 12.0;

/// A cell's run on imitated devices.
#[derive(Clone, Debug)]
pub(super) struct Imitated {
    pub(super) file: RunFile,
    /// Behind which each device is; none where the links are this machine's own.
    pub(super) access: Option<AccessLink>,
    /// How many times slower than the device of 25 ms a task each device is.
    pub(super) slowness: f64,
    scenario: Scenario,
}

/// What the simulator says of it.
#[derive(Clone, Debug)]
pub(super) struct Simulated {
    pub(super) trace: Vec<Span>,
    pub(super) recoveries: Vec<Recovery>,
}

impl Imitated {
    /// So many steps without data that matter.
    ///
    /// # Errors
    ///
    /// If there is no such model, or no such link.
    pub(super) fn new(
        cell: &Cell,
        steps: u32,
        replicate: Replication,
        profiles: &Profiles,
    ) -> Result<Self> {
        let file = run_file(cell, steps, replicate);
        let slowness = SLOWNESS_ALONE / f64::from(cell.peers);
        Self::of(cell, file, slowness, profiles)
    }

    /// A run by as many devices as the cell has, in its way.
    ///
    /// # Errors
    ///
    /// If there is no such model, or no such link.
    pub(super) fn of(
        cell: &Cell,
        file: RunFile,
        slowness: f64,
        profiles: &Profiles,
    ) -> Result<Self> {
        let mut file = RunFile {
            start_at_peers: cell.peers,
            ..file
        };
        train_by(&mut file, cell.way);
        let outline = file.clone().check()?.descriptor().outline;
        let mut scenario = scenario(cell, outline, slowness);
        let mut access = None;
        if cell.profile != HERE {
            let device = profiles.devices(&cell.profile, 1)?[0];
            access = Some(AccessLink {
                delay: Duration::from_secs_f64(device.delay_seconds),
                bytes_per_second: Some(device.bytes_per_second),
            });
            scenario.links = Hops::all(behind(access, NATIVE_LINK));
            scenario.shares_access = true;
        }
        Ok(Self {
            file,
            access,
            slowness,
            scenario,
        })
    }

    /// Each device's.
    pub(super) fn operations_per_second(&self) -> f64 {
        self.scenario.devices[0].flops_per_second[0]
    }

    /// # Errors
    ///
    /// If it cannot be simulated, or comes to no end.
    pub(super) fn simulate(&self, faults: Vec<Fault>) -> Result<Simulated> {
        let scenario = Scenario {
            faults,
            ..self.scenario.clone()
        };
        let Some(choice) = self.choice() else {
            let outcome = simulate_checked(&scenario)?;
            return Ok(Simulated {
                trace: outcome.trace,
                recoveries: outcome.recoveries,
            });
        };
        let mut compute = HashTeam::new(&team_job(&scenario, choice)?);
        let outcome = simulate_team(&scenario, choice, &mut compute)?;
        Ok(Simulated {
            trace: outcome.trace,
            recoveries: outcome.recoveries,
        })
    }

    /// The undisturbed run, for the simulator.
    pub(super) fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// How the simulator is told of a team; none of a ring.
    pub(super) fn choice(&self) -> Option<TeamChoice> {
        let exchange = match self.file.paradigm {
            Paradigm::Ring => return None,
            Paradigm::ParameterServer => Exchange::Server,
            Paradigm::AllReduce => Exchange::AllReduce,
        };
        let table = self.file.parameter_server;
        Some(TeamChoice {
            exchange,
            placement: table.placement(),
            shards: table.shards(),
            staleness: table.staleness(),
        })
    }
}

fn run_file(cell: &Cell, steps: u32, replicate: Replication) -> RunFile {
    let whole = match cell.model.depth {
        Some(_) => addition_file(&cell.model),
        None => RunFile {
            model: ModelTable::preset(&cell.model.preset),
            ..RunFile::default()
        },
    };
    RunFile {
        batch: cell.micro_batch * u32::from(cell.micro_batches),
        micro_batch: cell.micro_batch,
        steps,
        evaluation_samples: 0,
        codec: CodecChoice::F16,
        seed: cell.seed,
        replicate,
        ..whole
    }
}

/// Has a run file say how its devices train together.
pub(super) fn train_by(file: &mut RunFile, way: Way) {
    match way {
        Way::Ring(mode) | Way::FewRing(mode) => file.schedule = mode,
        Way::ParameterServer { placement, tau } => {
            file.paradigm = Paradigm::ParameterServer;
            file.parameter_server.placement = Some(placement);
            file.parameter_server.tau = Some(tau);
        }
        Way::AllReduce => file.paradigm = Paradigm::AllReduce,
    }
}

fn scenario(cell: &Cell, outline: RunOutline, slowness: f64) -> Scenario {
    let peers = usize::from(cell.peers);
    let speed = Speed::Slowness(slowness).operations_per_second(&outline, peers);
    let part = update_operations(&outline.layers) / f64::from(cell.peers);
    let equal = Scenario::equal(cell.peers, Mode::Sync, 1, 1, 0.0);
    let device = DeviceSpec {
        flops_per_second: [speed; 3],
        update_seconds: part / speed,
        ..equal.devices[0]
    };
    Scenario {
        devices: vec![device; peers],
        links: Hops::all(NATIVE_LINK),
        outline,
        ..equal
    }
}
