//! Runs that are trained for real under virtual time: the gradients are true, devices and links are emulated.

use super::team::print;
use super::{Sim, write};
use crate::result::write_json;
use crate::run_choice;
use anyhow::{Context, Result, anyhow, bail};
use futures::executor::block_on;
use ringtmp_core::ids::Step;
use ringtmp_core::parameter_server::{Job, MemberIndex, RangeIndex, Sums, Task, TeamStart};
use ringtmp_core::signal::LayerDigest;
use ringtmp_core::time::Time;
use ringtmp_core::wire::Purpose;
use ringtmp_peer::{
    DataPlace, Executor, ExecutorChoice, Made, Packed, Run, Workbench, open_data, update_operations,
};
use ringtmp_sim::team::{
    TeamChoice, TeamCompute, TeamMade, TeamOutcome, TeamReport, TeamSeat, simulate_team, team_job,
};
use ringtmp_sim::{DeviceSpec, Hop, Hops, Scenario};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

/// The figures of the run, and what was learnt.
#[derive(Debug, Serialize)]
struct RealReport {
    #[serde(flatten)]
    figures: TeamReport,
    loss_first: Option<f64>,
    loss_last: Option<f64>,
    /// On held-out samples, 0 to 1.
    test_accuracy: Option<f64>,
    /// By layer.
    digests: Vec<LayerDigest>,
}

/// Trains, and tells.
pub(super) fn run(sim: &Sim, path: &Path) -> Result<()> {
    let run = run_choice::read(path)?.check()?;
    let Some(exchange) = run.file.exchange() else {
        bail!(
            "a ring is not trained under virtual time: let the run's paradigm be parameter-server or all-reduce"
        );
    };
    if sim.rings > 1 {
        bail!("a run is trained once: leave out --rings");
    }
    let table = run.file.parameter_server;
    let choice = TeamChoice {
        exchange,
        placement: table.placement(),
        shards: table.shards(),
        staleness: table.staleness(),
    };
    let scenario = scenario(sim, &run);
    let job = team_job(&scenario, choice)?;
    let mut compute = RealTeam::new(&run, &job)?;
    let outcome = simulate_team(&scenario, choice, &mut compute)?;
    sim.draw(&outcome.trace)?;
    let curve = curve(&outcome);
    if let Some(path) = &sim.log {
        write(path, &log(&curve))?;
    }
    let learnt = block_on(compute.bench.learnt())?;
    // As a ring's: of what the layers came to.
    let hash = learnt
        .digests
        .iter()
        .find_map(|layer| u64::from_str_radix(layer.sha256.get(..16)?, 16).ok());
    let figures = TeamReport::of(&scenario, choice, &outcome, hash.unwrap_or_default());
    let of = |purpose| curve.iter().filter(move |point| point.purpose == purpose);
    let report = RealReport {
        figures,
        loss_first: of(Purpose::Train).next().map(Point::loss),
        loss_last: of(Purpose::Train).next_back().map(Point::loss),
        test_accuracy: of(Purpose::Evaluate).next_back().map(Point::accuracy),
        digests: learnt.digests,
    };
    if let Some(path) = &sim.json {
        return write_json(&report, path);
    }
    print(&report.figures);
    if let (Some(loss), Some(accuracy)) = (report.loss_last, report.test_accuracy) {
        outln!("loss {loss:.4}, held out {:.1} % right", 100.0 * accuracy);
    }
    Ok(())
}

/// The run on equal devices.
fn scenario(sim: &Sim, run: &Run) -> Scenario {
    let outline = run.descriptor().outline;
    let peers = sim.peers;
    let speed = sim
        .speed
        .operations_per_second(&outline, usize::from(peers));
    let part = update_operations(&outline.layers) / f64::from(peers);
    let mut scenario = Scenario::equal(peers, sim.schedule, 1, 1, 0.0);
    let samples = f64::from(outline.schedule.micro_batch_samples);
    let forward: f64 = outline.layers.iter().map(|layer| layer.flops[0]).sum();
    scenario.links = Hops::all(Hop {
        // In units of the forward of an even part, as without a run.
        delay_seconds: sim.hop_delay * forward * samples / speed / f64::from(peers),
        bytes_per_second: sim.rate,
    });
    let device = DeviceSpec {
        flops_per_second: [speed; 3],
        update_seconds: part / speed,
        ..scenario.devices[0]
    };
    scenario.devices = vec![device; usize::from(peers)];
    scenario.outline = outline;
    (scenario.jitter, scenario.seed) = (sim.jitter, sim.seed);
    scenario
}

/// What all members compute with.
pub(crate) struct RealTeam {
    bench: Workbench,
}

impl RealTeam {
    pub(crate) fn new(run: &Run, job: &Job) -> Result<Self> {
        let bench = async {
            let data = open_data(run, &DataPlace::Disk).await?;
            let executor = Executor::open(ExecutorChoice::Cpu).await?;
            let bench = Box::pin(Workbench::new(run, job, data, &executor)).await;
            bench.map_err(|error| anyhow!(error))
        };
        let bench = block_on(Box::pin(bench)).context("the members cannot be held here")?;
        Ok(Self { bench })
    }
}

impl TeamCompute for RealTeam {
    type Numbers = Arc<Packed>;

    fn sit(
        &mut self,
        _device: usize,
        seat: TeamSeat<'_>,
        _restored: Vec<(RangeIndex, Vec<Arc<Packed>>)>,
    ) -> Result<(), String> {
        match seat.start {
            TeamStart::Beginning => Ok(()),
            TeamStart::Held { .. } | TeamStart::Copies { .. } => {
                Err("losses are simulated without gradients".to_owned())
            }
        }
    }

    fn work(
        &mut self,
        device: usize,
        task: &Task,
        inputs: Vec<Arc<Packed>>,
    ) -> Result<TeamMade<Arc<Packed>>, String> {
        // Without losses each device is the member of its number, of which there are no more than fit.
        let member = MemberIndex(device as u16);
        let made = block_on(self.bench.work(member, task, &inputs));
        Ok(match made.map_err(|error| error.to_string())? {
            Made::Done => TeamMade::Done,
            Made::Sums(sums) => TeamMade::Sums(sums),
            Made::Gradients(all) => TeamMade::Gradients(all.into_iter().map(Arc::new).collect()),
            Made::Numbers(numbers) => TeamMade::Numbers(Arc::new(numbers)),
            Made::Copied(slots) => TeamMade::Copied(slots.into_iter().map(Arc::new).collect()),
        })
    }
}

/// A step or an evaluation of all workers, when it was known.
struct Point {
    purpose: Purpose,
    step: Step,
    at: Time,
    sums: Sums,
}

impl Point {
    fn loss(&self) -> f64 {
        self.sums.loss / self.sums.labels.max(1) as f64
    }

    fn accuracy(&self) -> f64 {
        self.sums.right as f64 / self.sums.of.max(1) as f64
    }
}

/// Puts together what the workers found, in their order; in the order in which it was known.
fn curve(outcome: &TeamOutcome) -> Vec<Point> {
    let workers = outcome.job.layout.workers.len();
    let mut told: BTreeMap<(Step, Purpose), BTreeMap<u16, Sums>> = BTreeMap::new();
    let mut points = Vec::new();
    for (at, score) in &outcome.scores {
        let (step, purpose) = (score.clock, score.purpose);
        let all = told.entry((step, purpose)).or_default();
        all.insert(score.worker.0, score.sums);
        if all.len() == workers {
            let sums = all.values().copied().fold(Sums::default(), Sums::plus);
            points.push(Point {
                purpose,
                step,
                at: *at,
                sums,
            });
        }
    }
    points
}

/// As `ringtmp train --log` writes it, with virtual seconds.
fn log(curve: &[Point]) -> String {
    let mut csv = "step,loss,seconds\n".to_owned();
    for point in curve.iter().filter(|point| point.purpose == Purpose::Train) {
        let seconds = point.at.since(Time::ZERO).as_secs_f64();
        // A string takes everything.
        let _written = writeln!(csv, "{},{},{seconds:.6}", point.step.0, point.loss() as f32);
    }
    csv
}
