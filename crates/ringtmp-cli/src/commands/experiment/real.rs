//! Real peers beside the simulator: this program trains with three of them, and what their trace tells is compared.

use super::imitated::Imitated;
use anyhow::{Context, Result, bail};
use ringtmp_core::signal::Replication;
use ringtmp_core::time::Time;
use ringtmp_core::trace::json::from_json;
use ringtmp_core::trace::{Activity, Shares, Span, extent, shares};
use ringtmp_energy::process::ProcessTree;
use ringtmp_experiment::{Cell, Compared, Kind, Outcome, Profiles, Waits, Way};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Tasks may take so much longer in sum than they should before this machine counts as what was measured.
const SLOWER_MAX: f64 = 0.05;

/// How often it is looked whether the peers have ended, and what they took.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A run that takes longer hangs: it takes some ten seconds.
const SECONDS_MAX: Duration = Duration::from_secs(300);

/// Likewise so much less: then it was not what was meant to be imitated, or its trace is not whole.
const FASTER_MAX: f64 = 0.05;

/// What happened in a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    seconds: f64,
    /// Of all devices, from the very first task on.
    busy_seconds: f64,
    idle: f64,
    waits: Waits,
}

impl Course {
    pub(super) fn of(trace: &[Span], cell: &Cell) -> Self {
        let (earliest, end) = extent(trace);
        let start = begins(trace, cell.way);
        let seconds = end.since(start).as_secs_f64();
        let peers = f64::from(cell.peers);
        let all = shares(trace, start, end);
        let mean = |of: fn(&Shares) -> f64| all.values().map(of).sum::<f64>() / peers;
        let whole = shares(trace, earliest, end);
        let busy: f64 = whole.values().map(|shares| shares.busy).sum();
        Self {
            seconds,
            busy_seconds: busy * end.since(earliest).as_secs_f64(),
            // Rounding may let tasks take longer than there is.
            idle: (1.0 - mean(|shares| shares.busy)).max(0.0),
            waits: Waits {
                input: mean(|shares| shares.input),
                link: mean(|shares| shares.link),
                credit: mean(|shares| shares.credit),
                weights: mean(|shares| shares.weights),
                // A device that has not told anything has not done anything.
                spare: 1.0 - all.len() as f64 / peers,
            },
        }
    }
}

/// By what share tasks took longer in sum than on the devices that are imitated, or why that is too much or too little.
pub(super) fn slower(real: &Course, simulated: &Course) -> Result<f64, String> {
    let slower = real.busy_seconds / simulated.busy_seconds - 1.0;
    if (-FASTER_MAX..=SLOWER_MAX).contains(&slower) {
        return Ok(slower);
    }
    if slower < 0.0 {
        return Err(format!(
            "what was run is not what was to be imitated, or its trace is not whole: tasks took {:.0}% less than on the devices that were imitated \
             (at most {:.0}% is let pass)",
            -100.0 * slower,
            100.0 * FASTER_MAX
        ));
    }
    Err(format!(
        "this machine was what was measured: tasks took {:.0}% longer than on the devices that were imitated (at most {:.0}% is let pass). Run it while \
         nothing else does",
        100.0 * slower,
        100.0 * SLOWER_MAX
    ))
}

/// From when on a run is told. Stages of a ring begin once all are linked, one after the other as samples come to them. A worker begins once
/// its own links are there: what it does while others still make theirs is no part of training together.
pub(super) fn begins(trace: &[Span], way: Way) -> Time {
    let mut first: BTreeMap<u32, Time> = BTreeMap::new();
    for span in trace {
        if span.activity == Activity::Forward {
            let start = first.entry(span.peer).or_insert(span.start);
            *start = span.start.min(*start);
        }
    }
    let starts = first.into_values();
    let begins = if way.is_ring() {
        starts.min()
    } else {
        starts.max()
    };
    begins.unwrap_or_default()
}

/// Trains with real peers, simulates the same, and compares.
///
/// # Errors
///
/// What keeps the peers from training.
pub(super) fn run(cell: &Cell, profiles: &Profiles) -> Result<Outcome> {
    let Kind::Real { steps } = cell.kind else {
        bail!("only cells of real peers are run with them");
    };
    // What copying costs is told by resilience.
    let imitated = Imitated::new(cell, steps, Replication::Off, profiles)?;
    let folder = tempfile::tempdir().context("no place for the run's files")?;
    let cpu_seconds = train(cell, &imitated, folder.path())?;
    let text = std::fs::read_to_string(folder.path().join(TRACE))?;
    let real = Course::of(&from_json(&text)?.spans, cell);
    let simulated = Course::of(&imitated.simulate(Vec::new())?.trace, cell);
    let slower = match slower(&real, &simulated) {
        Ok(slower) => slower,
        Err(reason) => return Ok(Outcome::Refused { reason }),
    };
    let samples = f64::from(imitated.file.batch) * f64::from(steps);
    Ok(Outcome::Real(Box::new(Compared {
        throughput: samples / real.seconds,
        throughput_simulated: samples / simulated.seconds,
        idle: real.idle,
        idle_simulated: simulated.idle,
        waits: real.waits,
        waits_simulated: simulated.waits,
        samples_per_cpu_second: samples / cpu_seconds,
        slower,
    })))
}

/// In the folder of a run.
pub(super) const TRACE: &str = "trace.json";
pub(super) const RESULT: &str = "result.json";

/// Trains in a process of its own, and tells its CPU seconds.
pub(super) fn train(cell: &Cell, imitated: &Imitated, folder: &Path) -> Result<f64> {
    let run = folder.join("run.toml");
    std::fs::write(&run, imitated.file.to_toml())?;
    let mut tree = ProcessTree::here().context("CPU time cannot be told here")?;
    let before = tree.seconds();
    let pace = vec![imitated.slowness.to_string(); usize::from(cell.peers)].join(",");
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--quiet", "train", "--transport", "webrtc"])
        .args(["--executor", "cpu", "--pace", &pace])
        .args(["--peers", &cell.peers.to_string()]);
    if let Some(access) = imitated.access {
        command.args(["--access-link", &access.to_string()]);
    }
    let mut child = command
        .arg("--run")
        .arg(&run)
        .arg("--trace")
        .arg(folder.join(TRACE))
        .arg("--json")
        .arg(folder.join(RESULT))
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

#[cfg(test)]
mod tests {
    use super::*;
    use ringtmp_core::parameter_server::{Placement, Staleness};
    use ringtmp_core::schedule::Mode;
    use ringtmp_core::trace::Details;

    #[test]
    fn a_team_begins_with_its_last_worker_and_a_ring_with_its_head() {
        let span = |peer, activity, start| Span {
            peer,
            activity,
            start: Time::from_micros(start),
            end: Time::from_micros(start + 5),
            details: Details::default(),
        };
        let trace = [
            span(0, Activity::Forward, 10),
            span(0, Activity::Forward, 40),
            span(1, Activity::Forward, 20),
            // Who only serves has nothing to do at first.
            span(2, Activity::Update, 90),
        ];
        let team = Way::ParameterServer {
            placement: Placement::Single,
            tau: Staleness::Steps(0),
        };
        assert_eq!(begins(&trace, team), Time::from_micros(20));
        assert_eq!(begins(&trace, Way::Ring(Mode::Sync)), Time::from_micros(10));
    }
    #[test]
    fn tasks_that_take_much_more_or_much_less_are_not_of_the_devices_that_were_imitated() {
        let course = |busy_seconds| Course {
            seconds: 10.0,
            busy_seconds,
            idle: 0.0,
            waits: Waits::default(),
        };
        for busy in [9.6, 10.0, 10.4] {
            let told = slower(&course(busy), &course(10.0)).expect("near enough");
            assert!((told - (busy / 10.0 - 1.0)).abs() < 1e-12, "{told}");
        }
        for (busy, words) in [(9.4, "6% less"), (10.6, "6% longer"), (f64::NAN, "longer")] {
            let told = slower(&course(busy), &course(10.0)).expect_err("too far");
            assert!(told.contains(words), "{told}");
        }
    }
}
