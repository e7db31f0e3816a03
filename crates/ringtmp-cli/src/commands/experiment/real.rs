//! Real peers beside the simulator: this program trains with three of them, and what their trace tells is compared.

use super::super::idle::NATIVE_LINK;
use crate::speed::Speed;
use anyhow::{Context, Result, bail};
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::parameter_server::Exchange;
use ringtmp_core::partition::Hops;
use ringtmp_core::schedule::Mode;
use ringtmp_core::signal::{Replication, RunOutline};
use ringtmp_core::trace::json::from_json;
use ringtmp_core::trace::{Shares, Span, extent, shares};
use ringtmp_energy::process::ProcessTree;
use ringtmp_experiment::{Cell, Compared, Kind, Outcome, Way};
use ringtmp_peer::{ModelTable, Paradigm, RunFile, update_operations};
use ringtmp_sim::check::simulate_checked;
use ringtmp_sim::team::{HashTeam, TeamChoice, simulate_team, team_job};
use ringtmp_sim::{DeviceSpec, Scenario};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How many times slower than the device of 25 ms a task its devices are: so long tasks are not late for what else this machine does.
const SLOWNESS: f64 = 4.0;

/// Tasks may take so much longer in sum than they should before this machine counts as what was measured.
const SLOWER_MAX: f64 = 0.05;

/// How often it is looked whether the peers have ended, and what they took.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A run that takes longer hangs: it takes some ten seconds.
const SECONDS_MAX: Duration = Duration::from_secs(300);

/// What happened in a run.
#[derive(Clone, Copy, Debug)]
struct Course {
    seconds: f64,
    /// Of all devices.
    busy_seconds: f64,
    idle: f64,
}

impl Course {
    fn of(trace: &[Span], peers: u16) -> Self {
        let (start, end) = extent(trace);
        let seconds = end.since(start).as_secs_f64();
        let all = shares(trace, start, end);
        // A device that has not told anything has not done anything.
        let busy: f64 = all.values().map(|shares: &Shares| shares.busy).sum();
        Self {
            seconds,
            busy_seconds: busy * seconds,
            idle: 1.0 - busy / f64::from(peers),
        }
    }
}

/// Trains with real peers, simulates the same, and compares.
///
/// # Errors
///
/// What keeps the peers from training.
pub(super) fn run(cell: &Cell) -> Result<Outcome> {
    let Kind::Real { steps } = cell.kind else {
        bail!("only cells of real peers are run with them");
    };
    let file = run_file(cell, steps);
    let folder = tempfile::tempdir().context("no place for the run's files")?;
    let cpu_seconds = train(cell, &file, folder.path())?;
    let text = std::fs::read_to_string(folder.path().join(TRACE))?;
    let real = Course::of(&from_json(&text)?.spans, cell.peers);
    let simulated = simulated(cell, &file)?;
    let slower = real.busy_seconds / simulated.busy_seconds - 1.0;
    if slower > SLOWER_MAX {
        let reason = format!(
            "this machine was what was measured: tasks took {:.0}% longer than on the devices that were imitated (at most {:.0}% is let pass). Run it while \
             nothing else does",
            100.0 * slower,
            100.0 * SLOWER_MAX
        );
        return Ok(Outcome::Refused { reason });
    }
    let samples = f64::from(file.batch) * f64::from(steps);
    Ok(Outcome::Real(Box::new(Compared {
        throughput: samples / real.seconds,
        throughput_simulated: samples / simulated.seconds,
        idle: real.idle,
        idle_simulated: simulated.idle,
        samples_per_cpu_second: samples / cpu_seconds,
        slower,
    })))
}

const TRACE: &str = "trace.json";

fn run_file(cell: &Cell, steps: u32) -> RunFile {
    let mut file = RunFile {
        model: ModelTable::preset(&cell.model.preset),
        batch: cell.micro_batch * u32::from(cell.micro_batches),
        micro_batch: cell.micro_batch,
        steps,
        evaluation_samples: 0,
        codec: CodecChoice::F16,
        seed: cell.seed,
        // What copying costs is told by resilience.
        replicate: Replication::Off,
        ..RunFile::default()
    };
    match cell.way {
        Way::Ring(mode) | Way::FewRing(mode) => file.schedule = mode,
        Way::ParameterServer { placement, tau } => {
            file.paradigm = Paradigm::ParameterServer;
            file.parameter_server.placement = Some(placement);
            file.parameter_server.tau = Some(tau);
        }
        Way::AllReduce => file.paradigm = Paradigm::AllReduce,
    }
    file
}

/// Trains in a process of its own, and tells its CPU seconds.
fn train(cell: &Cell, file: &RunFile, folder: &Path) -> Result<f64> {
    let run = folder.join("run.toml");
    std::fs::write(&run, file.to_toml())?;
    let mut tree = ProcessTree::here().context("CPU time cannot be told here")?;
    let before = tree.seconds();
    let pace = vec![SLOWNESS.to_string(); usize::from(cell.peers)].join(",");
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--quiet", "train", "--transport", "webrtc"])
        .args(["--executor", "cpu", "--pace", &pace])
        .args(["--peers", &cell.peers.to_string()])
        .arg("--run")
        .arg(&run)
        .arg("--trace")
        .arg(folder.join(TRACE))
        .arg("--json")
        .arg(folder.join("result.json"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .context("this program cannot start itself")?;
    let started = Instant::now();
    let status = loop {
        tree.sample(&[child.id()])?;
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > SECONDS_MAX {
            child.kill()?;
            child.wait()?;
            bail!("three peers did not finish within {SECONDS_MAX:?}");
        }
        std::thread::sleep(LOOK_EVERY);
    };
    tree.sample(&[])?;
    if !status.success() {
        bail!("training with real peers ended with {status}");
    }
    Ok(tree.seconds() - before)
}

/// What the simulator says of the same run, on the devices that are imitated.
fn simulated(cell: &Cell, file: &RunFile) -> Result<Course> {
    let outline = file.clone().check()?.descriptor().outline;
    let scenario = scenario(cell, outline);
    let exchange = match cell.way {
        Way::Ring(_) | Way::FewRing(_) => {
            let outcome = simulate_checked(&scenario)?;
            return Ok(Course::of(&outcome.trace, cell.peers));
        }
        Way::ParameterServer { .. } => Exchange::Server,
        Way::AllReduce => Exchange::AllReduce,
    };
    let table = file.parameter_server;
    let choice = TeamChoice {
        exchange,
        placement: table.placement(),
        shards: table.shards(),
        staleness: table.staleness(),
    };
    let mut compute = HashTeam::new(&team_job(&scenario, choice)?);
    let outcome = simulate_team(&scenario, choice, &mut compute)?;
    Ok(Course::of(&outcome.trace, cell.peers))
}

fn scenario(cell: &Cell, outline: RunOutline) -> Scenario {
    let peers = usize::from(cell.peers);
    let speed = Speed::Slowness(SLOWNESS).operations_per_second(&outline, peers);
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
        outline: RunOutline {
            start_at_peers: cell.peers,
            ..outline
        },
        ..equal
    }
}
