//! `ringtmp energy calibrate`: idles, then keeps more and more cores busy, and fits a line to what the meters show.

use super::{External, coefficients, ticker};
use crate::exit::Failure;
use crate::files;
use crate::interrupt::interrupted;
use anyhow::Result;
use clap::Args;
use ringtmp_energy::calibrate::{Circumstances, Fit, PointsError, fit, idles, points};
use ringtmp_energy::estimate::UNKNOWN_DEVICE;
use ringtmp_energy::process::ProcessTree;
use ringtmp_energy::{Clock, Found, Recorder, Recording, Unreadable};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Seconds at the beginning of each level that are not used: clocks and fans need them.
const SETTLE_SECONDS: u64 = 2;

/// Numbers that a busy core computes with: 32 KiB, which its first cache holds.
const NUMBERS: usize = 8192;

#[derive(Args, Debug)]
pub(crate) struct Calibrate {
    /// The file of coefficients to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// For how many seconds each load is measured: none, one core, half of them, all
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(5..=600))]
    seconds: u64,
    /// The kind of device from which the other coefficients are taken
    #[arg(long, value_name = "NAME", default_value = UNKNOWN_DEVICE)]
    like: String,
    #[command(flatten)]
    external: External,
}

pub(crate) async fn run(calibrate: Calibrate, quiet: bool) -> Result<()> {
    let (table, _) = coefficients(None)?;
    let like = table.profile(&calibrate.like)?;
    let found = ringtmp_energy::meters();
    if found.meters.is_empty() && calibrate.external.meter_csv.is_none() {
        return Err(refusal(&found.unreadable).into());
    }
    calibrate.external.check()?;
    let (mut recordings, cores) = measured(&calibrate, found, quiet).await?;
    calibrate.external.record(&mut recordings).await?;
    let recordings: Vec<_> = recordings.into_iter().zip(cores).collect();
    let (points, total) = points(&recordings).map_err(|error| match error {
        PointsError::Unmeasured(why) => Failure::Missing(why.to_string()).into(),
        other => anyhow::Error::from(other),
    })?;
    let fit = fit(&points)?;
    let circumstances = Circumstances::new(&crate::machine::cores(), &total);
    let file = ringtmp_energy::calibrate::coefficients(&fit, &circumstances, like);
    files::replace(&calibrate.out, file.to_toml()?.as_bytes())?;
    eprint!("{}", told(&fit, &circumstances));
    eprintln!("written to {}", calibrate.out.display());
    Ok(())
}

fn refusal(unreadable: &[Unreadable]) -> Failure {
    let reasons = unreadable.iter();
    let reasons = reasons.map(|Unreadable { meter, why }| format!("\n  {meter}: {why}"));
    Failure::Missing(format!(
        "coefficients can only be fitted where a meter can be read:{}\n  an external meter's log can be given with --meter-csv",
        reasons.collect::<String>()
    ))
}

fn told(fit: &Fit, circumstances: &Circumstances) -> String {
    let interval = |interval: ringtmp_energy::Interval| {
        let (low, best, high) = (interval.low(), interval.best(), interval.high());
        format!("{best:.2} W ({low:.2} to {high:.2})")
    };
    let scope = if circumstances.whole_device {
        "the whole device"
    } else {
        "only the parts that these meters see"
    };
    format!(
        "idle       {}\na busy core {}\nmeters     {}: {scope}\n{:.1}% of the variance explained by {} seconds\n",
        interval(fit.idle_watts),
        interval(fit.watts_per_core),
        circumstances.meters.join(", "),
        fit.explained * 100.0,
        fit.points
    )
}

/// One recording of each second, with how many cores were busy in it.
async fn measured(
    calibrate: &Calibrate,
    found: Found,
    quiet: bool,
) -> Result<(Vec<Recording>, Vec<f64>)> {
    let clock = Clock::start();
    let mut recorder = Recorder::new(found.meters, clock.now());
    let mut tree = ProcessTree::here()?;
    let mut busy = Vec::new();
    let mut interrupted = std::pin::pin!(interrupted());
    for cores in levels() {
        if !quiet {
            eprintln!("{cores} busy cores for {} s", calibrate.seconds);
        }
        let _load = Load::start(cores);
        let mut ticker = ticker();
        let mut last = (tree.machine_seconds(), clock.now());
        for second in 0..SETTLE_SECONDS + calibrate.seconds {
            tokio::select! {
                _ = ticker.tick() => {}
                () = &mut interrupted => return Err(Failure::Interrupted.into()),
            }
            let now = clock.now();
            recorder.next_phase(now);
            tree.sample(&[])?;
            let worked = tree.machine_seconds() - last.0;
            let took = now.since_start.saturating_sub(last.1.since_start);
            last = (tree.machine_seconds(), now);
            busy.push((second >= SETTLE_SECONDS).then(|| worked / took.as_secs_f64()));
        }
        if cores == 0 {
            let seconds: Vec<f64> = busy.iter().flatten().copied().collect();
            idles(&seconds, all_cores() as f64)?;
        }
    }
    let recordings = recorder.finish_each(clock.now()).into_iter().zip(busy);
    let used = recordings.filter_map(|(recording, cores)| Some((recording, cores?)));
    Ok(used.unzip())
}

/// None, one, half of the cores, all.
fn levels() -> BTreeSet<usize> {
    let all = all_cores();
    [0, 1, all / 2, all].into()
}

fn all_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Cores that are kept busy until this is dropped.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(cores: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..cores).map(|_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut numbers = vec![1.0_f32; NUMBERS];
                while !stop.load(Ordering::Relaxed) {
                    for number in &mut numbers {
                        *number = *number * 0.999 + 0.001;
                    }
                    std::hint::black_box(&mut numbers);
                }
            })
        });
        Self {
            threads: threads.collect(),
            stop,
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::warn!("a thread that kept a core busy panicked");
            }
        }
    }
}
