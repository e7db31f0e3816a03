//! `ringtmp experiment`.

mod learner;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use learner::Gradients;
use ringtmp_energy::estimate::Coefficients;
use ringtmp_experiment::{
    Experiment, Finished, Grid, Model, ModelCosts, Outcome, PROFILES, Profiles, Provenance, Store,
    Worker, write_report,
};
use ringtmp_peer::{DataTable, ModelTable, RunFile};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Tokens of a sample of the transformers.
const CONTEXT: usize = 64;

/// Characters that they tell apart.
const VOCABULARY: usize = 65;

/// The fewest heads.
const HEADS_MIN: usize = 4;

/// Of a head: the widths that are tried are multiples of it, and kernels take no head of more than 128.
const HEAD_WIDTH: usize = 64;

/// Hexadecimal digits of the program's digest that are told.
const DIGEST_DIGITS: usize = 12;

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
    /// All of these
    All,
}

#[derive(Args, Debug)]
pub(crate) struct ExperimentArguments {
    /// Which question
    which: Which,
    /// On emulated devices and links under virtual time; the only way there is yet
    #[arg(long, required = true)]
    simulated: bool,
    /// A smaller grid, which takes minutes
    #[arg(long)]
    quick: bool,
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
    let experiments = match arguments.which {
        Which::Idle => vec![Experiment::Idle],
        Which::Progress => vec![Experiment::Progress],
        Which::Scaling => vec![Experiment::Scaling],
        Which::Resilience => vec![Experiment::Resilience],
        Which::Capacity => vec![Experiment::Capacity],
        Which::Energy => vec![Experiment::Energy],
        Which::All => Experiment::ALL.to_vec(),
    };
    let grid = if arguments.quick {
        Grid::quick(arguments.seeds)
    } else {
        Grid::full(arguments.seeds)
    };
    let profiles = Profiles::parse(PROFILES)?;
    let coefficients = Coefficients::embedded()?;
    let program = program()?;
    let out = &arguments.out;
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let mut store = Store::open(&out.join("cells.jsonl"))?;
    if store.unread() > 0 {
        let unread = store.unread();
        eprintln!("{unread} line(s) of cells.jsonl are no cells and are done again");
    }
    let mut worker = Worker::new(&costs, profiles.clone(), coefficients).with_learner(&Gradients);
    let mut done = Vec::new();
    for experiment in experiments {
        let cells = work(experiment, &grid, &mut worker, &mut store, &program, quiet)?;
        done.push((experiment, cells));
    }
    let provenance = Provenance {
        command: command(arguments),
        program,
        machine: machine(),
        grid,
    };
    write_report(out, &done, &provenance, &profiles)
        .with_context(|| format!("cannot write the report to {}", out.display()))?;
    println!("{}", out.join("index.html").display());
    Ok(())
}

fn work(
    experiment: Experiment,
    grid: &Grid,
    worker: &mut Worker<'_>,
    store: &mut Store,
    program: &str,
    quiet: bool,
) -> Result<Vec<Finished>> {
    let cells = grid.cells(experiment);
    let all = cells.len();
    let (mut finished, mut kept, mut refused) = (Vec::new(), 0, 0);
    for (number, cell) in cells.into_iter().enumerate() {
        let digest = worker.digest(&cell, program)?;
        if let Some(found) = store.get(&digest) {
            kept += 1;
            finished.push(found.clone());
        } else {
            let told = format!(
                "{experiment} {} of {all}: {}, {}, {} x {}, seed {}",
                number + 1,
                cell.model,
                cell.way,
                cell.peers,
                cell.profile,
                cell.seed
            );
            if !quiet && cell.seed == 1 {
                eprintln!("{told}");
            }
            let outcome = worker.work(&cell).with_context(|| told)?;
            let cell = Finished {
                digest,
                cell,
                outcome,
            };
            store.keep(cell.clone())?;
            finished.push(cell);
        }
        let last = finished.last();
        refused += usize::from(last.is_some_and(|f| matches!(f.outcome, Outcome::Refused { .. })));
    }
    if !quiet {
        eprintln!("{experiment}: {all} cells, {kept} of them done before, {refused} refused");
    }
    Ok(finished)
}

/// What a model's layers take, as its run file would have it.
fn costs(model: &Model) -> Result<ModelCosts, String> {
    let is_text = model.preset.starts_with("gpt");
    let sizes = |size: Option<u32>| size.map(|size| size as usize);
    let width = sizes(model.width).unwrap_or(0);
    let heads = is_text.then_some(HEADS_MIN.max(width / HEAD_WIDTH));
    let file = RunFile {
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
    };
    let run = file.check().map_err(|error| error.to_string())?;
    let outline = run.descriptor().outline;
    Ok(ModelCosts {
        layers: outline.layers,
        sample_bytes: outline.sample_bytes,
    })
}

/// The version, and a digest of the very program: cells of another one are done again.
fn program() -> Result<String> {
    let path = std::env::current_exe().context("cannot tell which program this is")?;
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let digest = Sha256::digest(&bytes);
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let Some(digits) = digits.get(..DIGEST_DIGITS) else {
        bail!("a digest has {DIGEST_DIGITS} digits");
    };
    Ok(format!("{} ({digits})", env!("CARGO_PKG_VERSION")))
}

/// The command that makes the same report, defaults written out.
fn command(arguments: &ExperimentArguments) -> String {
    let which = arguments.which.to_possible_value();
    let which = which.map_or_else(String::new, |value| value.get_name().to_owned());
    let quick = if arguments.quick { " --quick" } else { "" };
    format!(
        "ringtmp experiment {which} --simulated{quick} --seeds {} --out {}",
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

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let (system, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("{system} on {architecture} with {cores} cores")
}
