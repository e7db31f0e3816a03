//! `ringtmp experiment`.

mod costs;
mod devices;
mod hosts;
mod imitated;
mod lasting;
mod learner;
mod losses;
mod real;
mod surroundings;
mod tabs;
mod taught;

use anyhow::{Context, Error, Result};
use clap::{Args, ValueEnum};
use costs::{Costs, CostsBy};
use learner::Gradients;
use ringtmp_energy::estimate::Coefficients;
use ringtmp_experiment::{
    Cell, Experiment, Finished, Grid, Model, ModelCosts, Outcome, PROFILES, Profiles, Provenance,
    Store, Worker, write_report,
};
use ringtmp_peer::{DataTable, ModelTable, RunFile};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use surroundings::Surroundings;

/// Tokens of a sample of the transformers.
const CONTEXT: usize = 64;

/// Characters that they tell apart.
const VOCABULARY: usize = 65;

/// The fewest heads.
const HEADS_MIN: usize = 4;

/// Of a head: the widths that are tried are multiples of it, and kernels take no head of more than 128.
const HEAD_WIDTH: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// How much of its time a worker does not compute, and why
    Idle,
    /// What a model learns by samples and by seconds, with real gradients
    Progress,
    /// Samples per second by number of devices
    Scaling,
    /// What it costs when devices are lost
    Resilience,
    /// The largest model under a cap of memory
    Capacity,
    /// Joules for each sample, estimated
    Energy,
    /// All of these; a ring, a parameter server and all-reduce of real peers beside what the simulator says of them; and, without --quick,
    /// the same of one to eight peers, what losing a device costs them, what they learn, what browser tabs can hold, and a ring of native processes
    /// beside one of tabs
    All,
}

#[derive(Args, Debug)]
pub(crate) struct ExperimentArguments {
    /// Which question
    which: Which,
    /// Only on emulated devices and links under virtual time; without --real all but "all" are
    #[arg(long, conflicts_with = "real")]
    simulated: bool,
    /// Only real devices on this machine: for "idle" three peers over WebRTC beside the simulator; for "scaling" one to eight; for "progress"
    /// three that learn; for "resilience" three of which one falls silent; for "capacity" browser tabs whose model grows; for "energy" native
    /// processes beside browser tabs; for "all" all of these
    #[arg(long)]
    real: bool,
    /// A smaller grid, which takes minutes
    #[arg(long)]
    quick: bool,
    /// By what the layers of simulated models are known to take as long as they do
    #[arg(
        long,
        value_name = "BY",
        default_value = "counted",
        conflicts_with = "real"
    )]
    costs: CostsBy,
    /// The folder for the report and for finished cells: the same command goes on where it was interrupted
    #[arg(long, value_name = "DIR", default_value = "report")]
    out: PathBuf,
    /// So many seeds for each cell: the best of several settings is chosen by the even ones and told of the odd ones, so ten are the
    /// least to report
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
}

/// Does the cells that are not done yet, and writes the report.
pub(crate) fn run(arguments: &ExperimentArguments, quiet: bool) -> Result<()> {
    let experiments = experiments(arguments);
    let grid = if arguments.quick {
        Grid::quick(arguments.seeds)
    } else {
        Grid::full(arguments.seeds)
    };
    let profiles = Profiles::parse(PROFILES)?;
    let coefficients = Coefficients::embedded()?;
    let surroundings = Surroundings::here(&experiments)?;
    let out = &arguments.out;
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let mut store = Store::open(&out.join("cells.jsonl"))?;
    if store.unread() > 0 {
        let unread = store.unread();
        eprintln!("{unread} line(s) of cells.jsonl are no cells and are done again");
    }
    let costs = match arguments.costs {
        CostsBy::Counted => Costs::default(),
        CostsBy::Measured => {
            let simulated = experiments.iter().filter(|it| real_run(**it).is_none());
            let cells: Vec<Cell> = simulated.flat_map(|it| grid.cells(*it)).collect();
            Costs::measured(out, cells.iter(), quiet)?
        }
    };
    let tables = Tables::new(profiles.clone(), coefficients, costs);
    let mut done = Vec::new();
    let mut failure = None;
    for experiment in experiments {
        let cells = grid.cells(experiment);
        let program = surroundings.program(experiment);
        let (cells, failed) = work(experiment, cells, &tables, &mut store, &program, quiet)?;
        done.push((experiment, cells));
        failure = failure.or(failed);
        // After each, so that one that is interrupted leaves a report of what was done.
        let provenance = Provenance {
            measured_costs: arguments.costs == CostsBy::Measured,
            ..surroundings.provenance(command(arguments), grid.clone())
        };
        write_report(out, &done, &provenance, &profiles)
            .with_context(|| format!("cannot write the report to {}", out.display()))?;
    }
    outln!("{}", out.join("index.html").display());
    failure.map_or(Ok(()), |error| {
        Err(error
            .context("the report lacks what could not be run; the same command tries it again"))
    })
}

/// What was asked for.
fn experiments(arguments: &ExperimentArguments) -> Vec<Experiment> {
    let one = match arguments.which {
        Which::Idle => Experiment::Idle,
        Which::Progress => Experiment::Progress,
        Which::Scaling => Experiment::Scaling,
        Which::Resilience => Experiment::Resilience,
        Which::Capacity => Experiment::Capacity,
        Which::Energy => Experiment::Energy,
        Which::All => {
            let mut all = Experiment::SIMULATED.to_vec();
            all.retain(|_| !arguments.real);
            if !arguments.simulated {
                all.push(Experiment::Real);
                if !arguments.quick {
                    all.extend([
                        Experiment::Scale,
                        Experiment::Losses,
                        Experiment::Lasting,
                        Experiment::Courses,
                        Experiment::Tabs,
                        Experiment::Hosts,
                    ]);
                }
            }
            return all;
        }
    };
    match arguments.real {
        true if one == Experiment::Resilience => vec![for_real(one), Experiment::Lasting],
        true => vec![for_real(one)],
        false => vec![one],
    }
}

/// The same question, asked of real devices.
const fn for_real(simulated: Experiment) -> Experiment {
    match simulated {
        Experiment::Idle => Experiment::Real,
        Experiment::Scaling => Experiment::Scale,
        Experiment::Progress => Experiment::Courses,
        Experiment::Resilience => Experiment::Losses,
        Experiment::Capacity => Experiment::Tabs,
        Experiment::Energy => Experiment::Hosts,
        real @ (Experiment::Real
        | Experiment::Losses
        | Experiment::Lasting
        | Experiment::Courses
        | Experiment::Scale
        | Experiment::Tabs
        | Experiment::Hosts) => real,
    }
}

/// What a model costs, for the simulator.
type ModelCost = dyn Fn(&Model) -> Result<ModelCosts, String> + Sync;

/// What cells are worked off with.
struct Tables {
    profiles: Profiles,
    coefficients: Coefficients,
    gradients: Gradients,
    /// Of simulated devices; real ones are paced by what is counted.
    model_cost: Box<ModelCost>,
}

impl Tables {
    fn new(profiles: Profiles, coefficients: Coefficients, costs: Costs) -> Self {
        Self {
            profiles,
            coefficients,
            gradients: Gradients::costing(costs.clone()),
            model_cost: Box::new(move |model| costs.of(model)),
        }
    }

    fn worker(&self) -> Worker<'_> {
        let profiles = self.profiles.clone();
        let worker = Worker::new(&*self.model_cost, profiles, self.coefficients.clone());
        worker.with_learner(&self.gradients)
    }
}

/// Works off what is not done yet. What keeps real devices from being run is told beside what there is: others of an experiment may be run.
fn work(
    experiment: Experiment,
    cells: Vec<Cell>,
    tables: &Tables,
    store: &mut Store,
    program: &str,
    quiet: bool,
) -> Result<(Vec<Finished>, Option<Error>)> {
    let mut worker = tables.worker();
    let names = cells.iter().map(|cell| worker.digest(cell, program));
    let names: Vec<String> = names.collect::<Result<_, _>>()?;
    let named = names.iter().cloned().zip(&cells);
    let open: Vec<(String, &Cell)> = named
        .filter(|(name, _)| store.get(name).is_none())
        .collect();
    let kept = cells.len() - open.len();
    let mut unkept = BTreeMap::new();
    let mut take = |name: &str, cell: &Cell, outcome: Outcome| -> Result<()> {
        let finished = Finished {
            digest: name.to_owned(),
            cell: cell.clone(),
            outcome,
        };
        // Real devices may have more luck the next time.
        if real_run(experiment).is_some() && matches!(finished.outcome, Outcome::Refused { .. }) {
            unkept.insert(name.to_owned(), finished);
            return Ok(());
        }
        Ok(store.keep(finished)?)
    };
    let mut failure = None;
    if let Some(run) = real_run(experiment) {
        for (name, cell) in &open {
            tell(experiment, cell, quiet);
            let outcome = run(cell, &tables.profiles).unwrap_or_else(|error| {
                let reason = format!("{error:#}");
                eprintln!("{experiment}: it could not be run: {reason}");
                failure.get_or_insert(error);
                Outcome::Refused { reason }
            });
            take(name, cell, outcome)?;
        }
    } else {
        simulate(experiment, &open, tables, quiet, &mut take)?;
    }
    let found = |name: &String| store.get(name).or_else(|| unkept.get(name)).cloned();
    let finished: Vec<Finished> = names.iter().filter_map(found).collect();
    if !quiet {
        let refused = |one: &&Finished| matches!(one.outcome, Outcome::Refused { .. });
        let refused = finished.iter().filter(refused).count();
        let all = cells.len();
        eprintln!("{experiment}: {all} cells, {kept} of them done before, {refused} refused");
    }
    Ok((finished, failure))
}

/// How cells are run that are not simulated.
fn real_run(experiment: Experiment) -> Option<fn(&Cell, &Profiles) -> Result<Outcome>> {
    match experiment {
        Experiment::Real | Experiment::Scale => Some(real::run),
        Experiment::Losses => Some(losses::run),
        Experiment::Lasting => Some(lasting::run),
        Experiment::Courses => Some(taught::run),
        Experiment::Tabs => Some(|cell, _| tabs::run(cell)),
        Experiment::Hosts => Some(|cell, _| hosts::run(cell)),
        _ => None,
    }
}

fn tell(experiment: Experiment, cell: &Cell, quiet: bool) {
    if !quiet && cell.seed == 1 {
        let Cell {
            model,
            way,
            peers,
            profile,
            ..
        } = cell;
        eprintln!("{experiment}: {model}, {way}, {peers} x {profile}");
    }
}

/// Works cells off on all cores, in their order but for who is done first.
fn simulate(
    experiment: Experiment,
    open: &[(String, &Cell)],
    tables: &Tables,
    quiet: bool,
    take: &mut impl FnMut(&str, &Cell, Outcome) -> Result<()>,
) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let next = AtomicUsize::new(0);
    let (done, outcomes) = std::sync::mpsc::sync_channel(cores);
    std::thread::scope(|scope| {
        for _ in 0..cores.min(open.len()) {
            let (done, next) = (done.clone(), &next);
            scope.spawn(move || {
                let mut worker = tables.worker();
                while let Some((name, cell)) = open.get(next.fetch_add(1, Ordering::Relaxed)) {
                    tell(experiment, cell, quiet);
                    let outcome = worker.work(cell);
                    if done.send((name, *cell, outcome)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        // If a cell goes wrong, the others hear of it when they tell theirs.
        for (name, cell, outcome) in outcomes {
            let words = || format!("{experiment}: {cell:?}");
            take(name, cell, outcome.with_context(words)?)?;
        }
        Ok(())
    })
}

/// A run of such a model, with data that go with it.
fn run_file(model: &Model) -> RunFile {
    let is_text = model.preset.starts_with("gpt");
    let sizes = |size: Option<u32>| size.map(|size| size as usize);
    let width = sizes(model.width).unwrap_or(0);
    let heads = is_text.then_some(HEADS_MIN.max(width / HEAD_WIDTH));
    RunFile {
        model: ModelTable {
            heads,
            depth: sizes(model.depth),
            width: sizes(model.width),
            context: is_text.then_some(CONTEXT),
            vocabulary: is_text.then_some(VOCABULARY),
            ..ModelTable::preset(&model.preset)
        },
        data: DataTable {
            set: Some(if is_text { "text:text" } else { "digits" }.to_owned()),
            ..DataTable::default()
        },
        batch: 128,
        micro_batch: 4,
        ..RunFile::default()
    }
}

/// A run of such a transformer that can be made anywhere: it learns to add.
fn addition_file(model: &Model) -> RunFile {
    let mut file = RunFile {
        data: DataTable::set("addition"),
        ..run_file(model)
    };
    file.model.vocabulary = None;
    file
}

/// The command that makes the same report, defaults written out.
fn command(arguments: &ExperimentArguments) -> String {
    let which = arguments.which.to_possible_value();
    let which = which.map_or_else(String::new, |value| value.get_name().to_owned());
    let quick = if arguments.quick { " --quick" } else { "" };
    let only = match (arguments.simulated, arguments.real) {
        (true, _) => " --simulated",
        (false, true) => " --real",
        (false, false) => "",
    };
    let costs = match arguments.costs {
        CostsBy::Counted => "",
        CostsBy::Measured => " --costs measured",
    };
    format!(
        "ringtmp experiment {which}{only}{quick}{costs} --seeds {} --out {}",
        arguments.seeds,
        shown(&arguments.out)
    )
}

fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    if text.contains(char::is_whitespace) {
        format!("{text:?}")
    } else {
        text
    }
}
