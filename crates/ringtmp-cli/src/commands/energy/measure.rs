//! `ringtmp energy measure`: meters and CPU time around a command.

use super::{External, coefficients, ticker};
use crate::exit::Failure;
use crate::interrupt::interrupted;
use crate::process::{Group, Guard};
use crate::result::write_json;
use anyhow::{Context, Result};
use clap::Args;
use ringtmp_energy::calibrate::CALIBRATED;
use ringtmp_energy::estimate::{Coefficients, UNKNOWN_DEVICE, Usage};
use ringtmp_energy::process::{MISSED, ProcessTree};
use ringtmp_energy::{
    Clock, CpuTime, EstimatedPart, Found, Recorder, Recording, Report, Unreadable,
};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::Command;

#[derive(Args, Debug)]
pub(crate) struct Measure {
    /// How many samples the command trains on: then figures are told for each
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    samples: Option<u64>,
    /// For how many seconds idle power is measured, before and after; 0 for gross figures alone. Not waited for without a meter
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=3600))]
    baseline: u64,
    #[command(flatten)]
    external: External,
    /// Coefficients for the estimate, as ringtmp energy calibrate writes them; those of the program if not given
    #[arg(long, value_name = "FILE")]
    coefficients: Option<PathBuf>,
    /// The kind of device for the estimate; "calibrated" where the file has it, else "computer"
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// How many such devices the command stands for; each is there, working or waiting, all the time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    devices: u32,
    /// Operations that GPUs made, for the estimate
    #[arg(long, value_name = "COUNT", default_value_t = 0.0)]
    gpu_operations: f64,
    /// Bytes that devices sent and received over a network, for the estimate
    #[arg(long, value_name = "COUNT", default_value_t = 0.0)]
    bytes: f64,
    /// Frames that these were, for the estimate
    #[arg(long, value_name = "COUNT", default_value_t = 0.0)]
    frames: f64,
    /// Write the figures to this file ("-" for standard output, to which the command then does not write)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The command and its arguments. It gets no input
    #[arg(required = true, last = true)]
    command: Vec<String>,
}

/// How the command ended.
enum End {
    Exited(ExitStatus),
    Interrupted,
}

pub(crate) async fn run(measure: Measure, quiet: bool) -> Result<()> {
    // What can fail without the run fails before it.
    let (table, table_name) = coefficients(measure.coefficients.as_deref())?;
    let profile = measure.profile_of(&table);
    table.profile(&profile)?;
    measure.external.check()?;

    let found = ringtmp_energy::meters();
    let (end, recording, cpu, unreadable) = measured(&measure, found, quiet).await?;
    let ended = match &end {
        End::Exited(status) => status.to_string(),
        End::Interrupted => "interrupted".to_owned(),
    };
    let wall_seconds = recording.run.length().as_secs_f64();
    let estimated = match &cpu {
        Some(cpu) => {
            let of = (&table, table_name, profile);
            Some(measure.estimated(of, wall_seconds, cpu.core_seconds)?)
        }
        None => None,
    };
    let report = Report::new(
        measure.command,
        ended.clone(),
        measure.samples,
        recording,
        unreadable,
        cpu,
        estimated,
    );
    eprint!("{report}");
    if let Some(path) = &measure.json {
        write_json(&report, path)?;
    }
    match end {
        End::Exited(status) if status.success() => Ok(()),
        End::Exited(_) => {
            Err(Failure::Unfinished(format!("the command ended with {ended}")).into())
        }
        End::Interrupted => Err(Failure::Interrupted.into()),
    }
}

type Outcome = (End, Recording, Option<CpuTime>, Vec<Unreadable>);

/// Idles, runs the command, idles.
async fn measured(measure: &Measure, found: Found, quiet: bool) -> Result<Outcome> {
    let mut unreadable = found.unreadable;
    let metered = !found.meters.is_empty() || measure.external.meter_csv.is_some();
    let baseline = metered && measure.baseline > 0;
    let say = |words: &str| {
        if !quiet {
            eprintln!("{words}");
        }
    };
    let mut interrupt = std::pin::pin!(interrupted());
    // Listening begins with the first look, and has to before the command can be interrupted.
    if futures::poll!(&mut interrupt).is_ready() {
        return Err(Failure::Interrupted.into());
    }
    let mut guard = Guard::start();
    let clock = Clock::start();
    let mut recorder = Recorder::new(found.meters, clock.now());
    if baseline {
        say(&format!("measuring idle power for {} s", measure.baseline));
        if !idle(&mut recorder, &clock, measure.baseline, &mut interrupt).await {
            return Err(Failure::Interrupted.into());
        }
    }
    let mut tree = match ProcessTree::here() {
        Ok(tree) => Some(tree),
        Err(error) => {
            unreadable.push(Unreadable::new("CPU time", &error));
            None
        }
    };
    // The guard, say.
    let ours = tree.as_ref().map_or(0, ProcessTree::alive);
    if baseline {
        recorder.next_phase(clock.now());
    }
    let group = start(measure, &mut guard)?;
    let (group, end) = watch(group, &mut recorder, &clock, &mut tree, &mut interrupt).await?;
    let cpu = match &mut tree {
        Some(tree) => {
            sample(tree, &[]);
            Some(cpu_time(tree, ours))
        }
        None => None,
    };
    drop(group);
    if baseline && matches!(end, End::Exited(_)) {
        recorder.next_phase(clock.now());
        say(&format!("measuring idle power for {} s", measure.baseline));
        // Interrupted now, nothing is lost but a part of the idle time.
        idle(&mut recorder, &clock, measure.baseline, &mut interrupt).await;
    }
    let recording = recorder.finish(clock.now());
    let mut recording = recording.context("there are one to three phases")?;
    // A log that is broken does not take with it what else was measured.
    let recordings = std::slice::from_mut(&mut recording);
    if let Err(error) = measure.external.record(recordings).await {
        unreadable.push(Unreadable {
            meter: "external".to_owned(),
            why: format!("{error:#}"),
        });
    }
    Ok((end, recording, cpu, unreadable))
}

/// Whether it was not interrupted.
async fn idle(
    recorder: &mut Recorder,
    clock: &Clock,
    seconds: u64,
    interrupt: &mut (impl Future<Output = ()> + Unpin),
) -> bool {
    let mut ticker = ticker();
    let until = tokio::time::sleep(Duration::from_secs(seconds));
    let mut until = std::pin::pin!(until);
    loop {
        tokio::select! {
            () = &mut until => return true,
            () = &mut *interrupt => return false,
            _ = ticker.tick() => recorder.sample(clock.now()),
        }
    }
}

/// Starts the command.
fn start(measure: &Measure, guard: &mut Guard) -> Result<Group> {
    let (program, arguments) = measure
        .command
        .split_first()
        .context("a command is required")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    if measure.json.as_deref() == Some(Path::new("-")) {
        command.stdout(std::io::stderr());
    }
    Group::start_aloud(&mut command, guard)
}

/// Samples until the command ends. What it left running lives until the group is dropped.
async fn watch(
    mut group: Group,
    recorder: &mut Recorder,
    clock: &Clock,
    tree: &mut Option<ProcessTree>,
    interrupt: &mut (impl Future<Output = ()> + Unpin),
) -> Result<(Group, End)> {
    let leader: Vec<u32> = group.leader().into_iter().collect();
    let mut ticker = ticker();
    let end = loop {
        tokio::select! {
            status = group.leader_ended() => break End::Exited(status?),
            () = &mut *interrupt => break End::Interrupted,
            _ = ticker.tick() => {
                recorder.sample(clock.now());
                if let Some(tree) = tree {
                    sample(tree, &leader);
                }
            }
        }
    };
    Ok((group, end))
}

/// What is missed now is counted the next time.
fn sample(tree: &mut ProcessTree, leader: &[u32]) {
    if let Err(error) = tree.sample(leader) {
        tracing::warn!(%error, "CPU time could not be read");
    }
}

/// What the command and its descendants took, `ours` of which are this program's own.
fn cpu_time(tree: &ProcessTree, ours: usize) -> CpuTime {
    let core_seconds = tree.seconds();
    let others = tree.machine_seconds() - core_seconds - tree.own_seconds();
    CpuTime {
        core_seconds,
        others_core_seconds: Some(others.max(0.0)),
        left_running: tree.alive().saturating_sub(ours),
        not_counted: MISSED,
    }
}

impl Measure {
    fn profile_of(&self, table: &Coefficients) -> String {
        let usual = if table.profiles.contains_key(CALIBRATED) {
            CALIBRATED
        } else {
            UNKNOWN_DEVICE
        };
        self.profile.clone().unwrap_or_else(|| usual.to_owned())
    }

    fn estimated(
        &self,
        (table, coefficients, profile): (&Coefficients, String, String),
        wall_seconds: f64,
        cpu_seconds: f64,
    ) -> Result<EstimatedPart> {
        let usage = Usage {
            wall_seconds: wall_seconds * f64::from(self.devices),
            cpu_seconds,
            gpu_operations: self.gpu_operations,
            bytes: self.bytes,
            frames: self.frames,
        };
        let causes = table.profile(&profile)?.estimate(&usage);
        Ok(EstimatedPart {
            profile,
            devices: self.devices,
            coefficients,
            gross: causes.gross(),
            net: causes.net(),
            causes,
            gross_per_sample: self
                .samples
                .map(|samples| causes.gross().per_sample(samples)),
        })
    }
}
