//! `ringtmp energy`: joules of whatever runs here.

mod calibrate;
mod measure;
mod meters;

use crate::{files, help};
use anyhow::{Context, Result};
use calibrate::Calibrate;
use clap::{Args, Subcommand};
use measure::Measure;
use meters::Meters;
use ringtmp_energy::Recording;
use ringtmp_energy::estimate::{COEFFICIENTS_BYTES_MAX, Coefficients};
use ringtmp_energy::external::{ExternalLog, LOG_BYTES_MAX};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const MEASURE_EXAMPLES: &str = "\
Exit codes:
  0    the command ended well, and what could be measured is told
  4    the command ended badly; what was measured until then is told

Examples:
  ringtmp energy measure -- ringtmp train --preset mlp --steps 500
  ringtmp energy measure --samples 32000 --json energy.json -- ringtmp demo --headless --steps 500
  ringtmp energy measure --meter-csv plug.csv -- ringtmp demo --headless
  ringtmp energy measure --profile laptop --devices 3 -- ringtmp demo --headless";

const CALIBRATE_EXAMPLES: &str = "\
Exit codes:
  0    the file is written
  5    no meter can be read here

Examples:
  ringtmp energy calibrate --out here.toml
  ringtmp energy calibrate --like laptop --meter-csv plug.csv --out here.toml
  ringtmp energy measure --coefficients here.toml -- ringtmp train";

/// How often meters are asked.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// For how long rows of the run's end are waited for: meters and their programs write every second to every ten.
const LOG_WAIT_MAX: Duration = Duration::from_secs(15);

#[derive(Args, Debug)]
pub(crate) struct Energy {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Tell which meters can be read here, and why the others cannot
    #[command(after_help = help::METERS_EXAMPLES)]
    Meters(Meters),
    /// Run a command, and tell the energy and the CPU time of it and of all that it starts
    #[command(after_help = MEASURE_EXAMPLES)]
    Measure(Measure),
    /// Fit the coefficients of the estimate to this machine, with a meter
    #[command(after_help = CALIBRATE_EXAMPLES)]
    Calibrate(Calibrate),
}

pub(crate) async fn run(energy: Energy, quiet: bool) -> Result<()> {
    match energy.what {
        What::Meters(meters) => meters::run(&meters),
        What::Measure(measure) => measure::run(measure, quiet).await,
        What::Calibrate(calibrate) => calibrate::run(calibrate, quiet).await,
    }
}

/// The log of an external meter.
#[derive(Args, Debug)]
struct External {
    /// The CSV file that an external meter writes meanwhile; docs/energy.md has its columns
    #[arg(long, value_name = "FILE")]
    meter_csv: Option<PathBuf>,
    /// By how many seconds the external meter's clock is ahead of this device's
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0.0,
        requires = "meter_csv",
        allow_negative_numbers = true
    )]
    meter_csv_ahead: f64,
}

impl External {
    /// Adds what the file says to these recordings, once it has rows up to the end of the last.
    async fn record(&self, recordings: &mut [Recording]) -> Result<()> {
        let Some(path) = &self.meter_csv else {
            return Ok(());
        };
        let last = recordings.last().map(|recording| {
            let phase = recording.after.unwrap_or(recording.run);
            phase.to.since_1970
        });
        let started = Instant::now();
        let log = loop {
            let bytes = files::read(path, LOG_BYTES_MAX as u64)?;
            let log = ExternalLog::parse(whole_lines(&bytes));
            let log = log.with_context(|| path.display().to_string())?;
            let log = log.ahead_by(self.meter_csv_ahead);
            if log.last() >= last || started.elapsed() >= LOG_WAIT_MAX {
                break log;
            }
            tokio::time::sleep(SAMPLE_EVERY).await;
        };
        let name = path.file_name().unwrap_or(path.as_os_str());
        for recording in recordings {
            log.record(&name.to_string_lossy(), recording);
        }
        Ok(())
    }

    /// Fails now, and not after the run, if the file's folder is not there.
    fn check(&self) -> Result<()> {
        let Some(path) = &self.meter_csv else {
            return Ok(());
        };
        std::fs::metadata(path).map(drop).with_context(|| {
            let path = path.display();
            format!("the external meter has to write {path} from before the run on")
        })
    }
}

/// Up to the last end of a line: the meter may just be writing.
fn whole_lines(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|&byte| byte == b'\n');
    end.map_or(bytes, |end| &bytes[..=end])
}

/// The coefficients of a file, or those of the program; and how they are called.
fn coefficients(path: Option<&Path>) -> Result<(Coefficients, String)> {
    let Some(path) = path else {
        return Ok((Coefficients::embedded()?, "embedded".to_owned()));
    };
    let name = path.display().to_string();
    let bytes = files::read(path, COEFFICIENTS_BYTES_MAX)?;
    let text = String::from_utf8(bytes).with_context(|| name.clone())?;
    let read = Coefficients::parse(&text).with_context(|| name.clone())?;
    Ok((read, name))
}

/// Once a second, the first time after a second; a late one delays those that follow.
fn ticker() -> tokio::time::Interval {
    let start = tokio::time::Instant::now() + SAMPLE_EVERY;
    let mut ticker = tokio::time::interval_at(start, SAMPLE_EVERY);
    ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticker
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_being_written_is_left_for_later() {
        assert_eq!(whole_lines(b"time,watts\n1,10\n2,1"), b"time,watts\n1,10\n");
        assert_eq!(whole_lines(b"time"), b"time");
    }
}
