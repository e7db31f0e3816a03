//! The same ring of native processes and of browser tabs: what each further sample takes.
//!
//! `ringtmp energy measure -- ringtmp demo ...` does the work, with meters where this machine has some.

use anyhow::{Context, Result, bail};
use ringtmp_core::signal::Replication;
use ringtmp_experiment::{Cell, Host, Kind, Outcome, Spent};
use ringtmp_peer::{ModelTable, RunFile};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// How many times longer the longer run is.
const LONGER: u32 = 3;

/// For how long idle power is measured, where there is a meter.
const BASELINE_SECONDS: &str = "5";

/// The longest that is told of why a run came to nothing.
const WORDS_CHARS_MAX: usize = 400;

/// What a run took, all in all.
#[derive(Clone, Copy, Debug)]
struct Taken {
    samples: f64,
    core_seconds: f64,
    seconds: f64,
    measured_joules: Option<f64>,
    estimated_joules: [f64; 3],
}

/// Trains twice, and tells the difference.
///
/// # Errors
///
/// What keeps this program from starting itself, or from reading what it wrote. What it cannot do is an outcome.
pub(super) fn run(cell: &Cell) -> Result<Outcome> {
    let Kind::Hosted { steps, host } = cell.kind else {
        bail!("only cells of hosts are run with them");
    };
    let taken = |steps| taken(cell, host, steps);
    let (short, long) = match (taken(steps)?, taken(LONGER * steps)?) {
        (Ok(short), Ok(long)) => (short, long),
        (Err(reason), _) | (_, Err(reason)) => return Ok(Outcome::Refused { reason }),
    };
    let samples = long.samples - short.samples;
    let each = |of: fn(&Taken) -> f64| (of(&long) - of(&short)) / samples;
    let measured = [short, long].map(|taken| taken.measured_joules);
    let measured = match measured {
        [Some(short), Some(long)] => Some((long - short) / samples),
        _ => None,
    };
    let spent = Spent {
        core_seconds_per_sample: each(|taken| taken.core_seconds),
        seconds_per_sample: each(|taken| taken.seconds),
        measured_joules_per_sample: measured,
        estimated_joules_per_sample: each(|taken| taken.estimated_joules[1]),
        estimated_joules_per_sample_low: each(|taken| taken.estimated_joules[0]),
        estimated_joules_per_sample_high: each(|taken| taken.estimated_joules[2]),
    };
    // Whatever else the machine did meanwhile may have been more than what is compared.
    if spent.core_seconds_per_sample <= 0.0 || spent.seconds_per_sample <= 0.0 {
        let reason =
            "the longer run took less than the shorter one: this machine does other things"
                .to_owned();
        return Ok(Outcome::Refused { reason });
    }
    Ok(Outcome::Spent(Box::new(spent)))
}

fn run_file(cell: &Cell, steps: u32) -> RunFile {
    RunFile {
        model: ModelTable::preset(&cell.model.preset),
        batch: cell.micro_batch * u32::from(cell.micro_batches),
        micro_batch: cell.micro_batch,
        steps,
        evaluation_samples: 0,
        seed: cell.seed,
        replicate: Replication::Off,
        ..RunFile::default()
    }
}

/// Trains once; the reason where that does not work.
fn taken(cell: &Cell, host: Host, steps: u32) -> Result<Result<Taken, String>> {
    let file = run_file(cell, steps);
    let folder = tempfile::tempdir().context("no place for the run's files")?;
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("run.toml"), file.to_toml())?;
    let program = std::env::current_exe()?;
    let samples = u64::from(file.batch) * u64::from(steps);
    let (tabs, natives) = match host {
        Host::Native => (0, cell.peers),
        Host::Browser => (cell.peers, 0),
    };
    let mut command = Command::new(&program);
    command
        .args(["--quiet", "energy", "measure"])
        .args(["--baseline", BASELINE_SECONDS])
        .args(["--samples", &samples.to_string()])
        .arg("--json")
        .arg(path("energy.json"))
        .arg("--")
        .arg(&program)
        .args(["--quiet", "demo", "--headless", "--no-lan", "--port", "0"])
        .args(["--executor", "cpu"])
        .args(["--tabs", &tabs.to_string()])
        .args(["--natives", &natives.to_string()])
        .arg("--run")
        .arg(path("run.toml"))
        .arg("--json")
        .arg(path("result.json"))
        .stdin(Stdio::null());
    let output = command
        .output()
        .context("this program cannot start itself")?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let line = words.lines().rfind(|line| !line.is_empty());
        let line = line.unwrap_or("it said nothing");
        let line: String = line.chars().take(WORDS_CHARS_MAX).collect();
        return Ok(Err(format!("a ring of {}: {line}", host.words())));
    }
    Ok(Ok(read(&path("energy.json"), samples as f64)?))
}

/// Reads what `ringtmp energy measure` wrote.
fn read(path: &Path, samples: f64) -> Result<Taken> {
    let report: Value = serde_json::from_slice(&std::fs::read(path)?)?;
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64);
    let needed = |pointer: &str| {
        number(pointer)
            .with_context(|| format!("energy.json has no {pointer}: CPU time cannot be told here"))
    };
    let measured = match report.pointer("/measured_per_sample") {
        Some(Value::Object(each)) => each.values().next().and_then(Value::as_f64),
        _ => None,
    };
    let estimated = |suffix| needed(&format!("/estimated/gross/estimated_joules{suffix}"));
    Ok(Taken {
        samples,
        core_seconds: needed("/cpu/core_seconds")?,
        seconds: needed("/wall_seconds")?,
        measured_joules: measured.map(|joules| joules * samples),
        estimated_joules: [estimated("_low")?, estimated("")?, estimated("_high")?],
    })
}
