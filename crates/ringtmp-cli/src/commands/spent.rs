//! What real devices take for each further sample of a run: two runs of it, of which one is longer, so that starting and ending do
//! not count.
//!
//! `ringtmp energy measure -- ringtmp demo ...` does the work, with meters where this machine has some.

use anyhow::{Context, Result};
use ringtmp_experiment::Spent;
use ringtmp_peer::RunFile;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// For how long idle power is measured, where there is a meter.
const BASELINE_SECONDS: &str = "5";

/// The longest that is told of why a run came to nothing.
const WORDS_CHARS_MAX: usize = 400;

/// Why this program, started by itself, came to nothing: its first error, since one that only measured another repeats that it failed.
pub(crate) fn said(stderr: &[u8]) -> String {
    let lines = String::from_utf8_lossy(stderr);
    let mut errors = lines
        .lines()
        .filter_map(|line| line.strip_prefix("error: "));
    let last = || lines.lines().rfind(|line| !line.is_empty());
    let words = errors.next().or_else(last).unwrap_or("it said nothing");
    words.chars().take(WORDS_CHARS_MAX).collect()
}

/// Who trains, on this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Devices {
    /// So many tabs of a headless browser.
    Tabs(u16),
    /// So many native processes.
    Natives(u16),
}

/// What a run took, all in all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    samples: f64,
    /// CPU seconds of the server, the devices and, where there is one, the whole browser.
    pub(crate) core_seconds: f64,
    /// Wall time.
    pub(crate) seconds: f64,
    measured_joules: Option<f64>,
    estimated_joules: [f64; 3],
}

/// Trains `run` for so many steps, and anew for another number, which is larger, and tells the difference; the reason where that does not
/// work.
///
/// # Errors
///
/// What keeps this program from starting itself, or from reading what it wrote.
pub(crate) fn each_sample(
    run: &RunFile,
    [short, long]: [u32; 2],
    devices: Devices,
) -> Result<Result<Spent, String>> {
    let taken = |steps| {
        let run = RunFile {
            steps,
            ..run.clone()
        };
        taken(&run, devices)
    };
    let (short, long) = match (taken(short)?, taken(long)?) {
        (Ok(short), Ok(long)) => (short, long),
        (Err(reason), _) | (_, Err(reason)) => return Ok(Err(reason)),
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
            "the longer run took less than the shorter one: this machine does other things";
        return Ok(Err(reason.to_owned()));
    }
    Ok(Ok(spent))
}

/// Trains once; the reason where that does not work.
///
/// # Errors
///
/// As [`each_sample`].
pub(crate) fn taken(run: &RunFile, devices: Devices) -> Result<Result<Taken, String>> {
    let folder = tempfile::tempdir().context("no place for the run's files")?;
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("run.toml"), run.to_toml())?;
    let program = std::env::current_exe()?;
    let samples = u64::from(run.batch) * u64::from(run.steps);
    let (tabs, natives, words) = match devices {
        Devices::Tabs(tabs) => (tabs, 0, "browser tabs"),
        Devices::Natives(natives) => (0, natives, "native processes"),
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
        return Ok(Err(format!("a ring of {words}: {}", said(&output.stderr))));
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

#[cfg(test)]
mod tests {
    use super::said;

    #[test]
    fn the_first_error_is_told_and_otherwise_the_last_line() {
        let twice = b"error: there is no page\nerror: the command ended with exit status: 5\n";
        assert_eq!(said(twice), "there is no page");
        assert_eq!(said(b"one\ntwo\n\n"), "two");
        assert_eq!(said(b""), "it said nothing");
    }
}
