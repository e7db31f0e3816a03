//! `ringtmp curves`: how many samples it takes to get as far as another run, from the logs of both.

mod chart;

use super::sim::plain;
use crate::files;
use crate::result::write_json;
use anyhow::{Context, Result, bail};
use chart::{Chart, Line};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The version of the JSON below: keys are added, never changed.
const SCHEMA_VERSION: u32 = 1;

/// The longest log that is read: a million steps.
const LOG_BYTES_MAX: u64 = 64 << 20;

/// A mean is over one step in so many of the first run, if nobody says otherwise: enough steps for the loss of one batch not
/// to matter, few enough for the mean not to lag.
const WINDOW_PART: usize = 20;

#[derive(Args, Debug)]
pub(crate) struct Curves {
    /// Ways to train, each with the logs of its seeds: NAME=LOG,LOG. The first is the one to be reached; the others' logs are
    /// of the same seeds, in the same order
    #[arg(required = true, value_name = "NAME=LOG,LOG")]
    ways: Vec<Way>,
    /// Samples of a step
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Steps of a running mean of the loss; a twentieth of the first log if not given
    #[arg(long, value_name = "STEPS")]
    window: Option<usize>,
    /// Draw the running means to this file, as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// What the drawing is called
    #[arg(long, default_value = "")]
    title: String,
    /// Write the figures to this file ("-" for standard output)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One way to train.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Way {
    name: String,
    logs: Vec<PathBuf>,
}

impl FromStr for Way {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, logs) = text
            .split_once('=')
            .filter(|(name, logs)| !name.is_empty() && !logs.is_empty())
            .ok_or_else(|| format!("{text:?} is not NAME=LOG,LOG"))?;
        Ok(Self {
            name: name.to_owned(),
            logs: logs.split(',').map(PathBuf::from).collect(),
        })
    }
}

/// The figures.
#[derive(Debug, PartialEq, Serialize)]
struct Comparison {
    schema_version: u32,
    batch: u32,
    window_steps: usize,
    ways: Vec<Compared>,
}

/// How one way did, seed by seed.
#[derive(Debug, PartialEq, Serialize)]
struct Compared {
    name: String,
    steps: usize,
    /// The running mean after the last step.
    loss_last: Vec<f64>,
    /// Steps until the running mean was as low as the first way's last of the same seed, as a part of the first way's steps;
    /// none where it never was.
    reached: Vec<Option<f64>>,
}

/// Compares, and draws.
pub(crate) fn run(curves: &Curves) -> Result<()> {
    let losses: Vec<Vec<Vec<f64>>> = curves
        .ways
        .iter()
        .map(|way| way.logs.iter().map(|path| read(path)).collect())
        .collect::<Result<_>>()?;
    let seeds = losses[0].len();
    if let Some(other) = losses.iter().position(|logs| logs.len() != seeds) {
        let (first, other) = (&curves.ways[0].name, &curves.ways[other].name);
        bail!("{other} and {first} have different numbers of logs: each has one for every seed");
    }
    let steps = losses[0][0].len();
    let window = curves.window.unwrap_or(steps / WINDOW_PART).max(1);
    let means: Vec<Vec<Vec<f64>>> = losses
        .iter()
        .map(|logs| logs.iter().map(|log| running_mean(log, window)).collect())
        .collect();
    if means.iter().flatten().any(Vec::is_empty) {
        bail!("a log has fewer than the {window} steps of a mean: give a smaller --window");
    }
    let names = curves.ways.iter().map(|way| way.name.clone());
    let comparison = Comparison {
        schema_version: SCHEMA_VERSION,
        batch: curves.batch,
        window_steps: window,
        ways: compare(names, &means, window),
    };
    if let Some(path) = &curves.svg {
        let drawing = curves.chart(&means, window).svg();
        files::replace(path, drawing.as_bytes())?;
    }
    match &curves.json {
        Some(path) => write_json(&comparison, path),
        None => {
            outln!("{}", table(&comparison));
            Ok(())
        }
    }
}

/// The losses of a log.
fn read(path: &Path) -> Result<Vec<f64>> {
    let text = String::from_utf8(files::read(path, LOG_BYTES_MAX)?)
        .with_context(|| format!("{} is not UTF-8", path.display()))?;
    let loss = |(index, line): (usize, &str)| {
        let mut cells = line.split(',');
        let step: Option<usize> = cells.next().and_then(|step| step.parse().ok());
        let loss: Option<f64> = cells.next().and_then(|loss| loss.parse().ok());
        let whole = step == Some(index);
        loss.filter(|loss| whole && loss.is_finite())
            .with_context(|| {
                format!(
                    "{}, line {}: neither step {index} nor a loss",
                    path.display(),
                    index + 2
                )
            })
    };
    let losses = text.lines().skip(1).enumerate().map(loss);
    losses.collect()
}

/// Means over so many steps: the first is of the first `window` steps, the last of the last.
fn running_mean(losses: &[f64], window: usize) -> Vec<f64> {
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / window as f64;
    losses.windows(window).map(mean).collect()
}

fn compare(
    names: impl Iterator<Item = String>,
    means: &[Vec<Vec<f64>>],
    window: usize,
) -> Vec<Compared> {
    let last = |means: &Vec<f64>| means.last().copied().unwrap_or(f64::NAN);
    let targets: Vec<f64> = means[0].iter().map(last).collect();
    let way = |(name, seeds): (String, &Vec<Vec<f64>>)| {
        let reached = seeds.iter().zip(&targets).zip(&means[0]);
        let reached = reached.map(|((means, target), first)| {
            let at = means.iter().position(|mean| mean <= target)?;
            Some((at + window) as f64 / (first.len() + window - 1) as f64)
        });
        Compared {
            name,
            steps: seeds[0].len() + window - 1,
            loss_last: seeds.iter().map(last).collect(),
            reached: reached.collect(),
        }
    };
    names.zip(means).map(way).collect()
}

impl Curves {
    fn chart(&self, means: &[Vec<Vec<f64>>], window: usize) -> Chart {
        let batch = f64::from(self.batch);
        let samples = |index: usize| (index + window) as f64 * batch;
        let line = |(way, seeds): (&Way, &Vec<Vec<f64>>)| {
            let length = seeds.iter().map(Vec::len).min().unwrap_or(0);
            let point = |index: usize| {
                let all = || seeds.iter().map(|means| means[index]);
                let low = all().fold(f64::INFINITY, f64::min);
                let high = all().fold(0.0, f64::max);
                let mean = all().sum::<f64>() / seeds.len() as f64;
                (samples(index), [low, mean, high])
            };
            Line {
                name: way.name.clone(),
                points: (0..length).map(point).collect(),
            }
        };
        let lines: Vec<Line> = self.ways.iter().zip(means).map(line).collect();
        let first = lines[0].points.last();
        Chart {
            title: self.title.clone(),
            target: first.map(|(samples, [_, mean, _])| (*samples, *mean)),
            lines,
        }
    }
}

fn table(comparison: &Comparison) -> comfy_table::Table {
    let mut table = plain(&[
        "",
        "seeds",
        "steps",
        "loss at the end",
        "as good as the first after",
    ]);
    for way in &comparison.ways {
        let (mean, spread) = mean_and_spread(&way.loss_last);
        let reached: Vec<f64> = way.reached.iter().copied().flatten().collect();
        let times = |times: &f64| format!("{times:.2}");
        let each: Vec<String> = reached.iter().map(times).collect();
        let words = match way.reached.len() - reached.len() {
            0 => format!("{:.2} ({})", mean_and_spread(&reached).0, each.join(", ")),
            never => format!("never with {never} of {} seeds", way.reached.len()),
        };
        table.add_row([
            way.name.clone(),
            way.loss_last.len().to_string(),
            way.steps.to_string(),
            format!("{mean:.4} ± {spread:.4}"),
            words,
        ]);
    }
    table
}

/// The mean, and the standard deviation of a sample; none of one.
fn mean_and_spread(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (values.len().max(2) - 1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> impl Iterator<Item = String> {
        ["sync", "late"].into_iter().map(str::to_owned)
    }

    #[test]
    fn a_way_has_reached_the_first_when_its_mean_is_as_low_as_the_firsts_last() {
        let falling = |steps: usize, each: f64| -> Vec<f64> {
            (0..steps).map(|step| 10.0 - each * step as f64).collect()
        };
        let mean = |losses: &[f64]| running_mean(losses, 2);
        // The mean of the last two is 6.5, which the slower one has after its steps 6 and 7, counted from 0.
        let means = [
            vec![mean(&falling(5, 1.0)), mean(&falling(5, 1.0))],
            vec![mean(&falling(8, 0.5)), mean(&falling(9, 0.5))],
        ];
        let compared = compare(names(), &means, 2);
        assert_eq!(compared[0].reached, [Some(1.0), Some(1.0)]);
        assert_eq!((compared[0].steps, compared[1].steps), (5, 8));
        assert_eq!(compared[0].loss_last, [6.5, 6.5]);
        assert_eq!(compared[1].loss_last[0], 6.75);
        assert_eq!(compared[1].reached, [None, Some(9.0 / 5.0)]);
        let text = table(&Comparison {
            schema_version: SCHEMA_VERSION,
            batch: 1,
            window_steps: 2,
            ways: compared,
        });
        let text = text.to_string();
        assert!(text.contains("never with 1 of 2 seeds"), "{text}");
        assert!(text.contains("1.00 (1.00, 1.00)"), "{text}");
    }

    #[test]
    fn logs_are_read_line_by_line_and_a_hole_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("written");
            read(&path)
        };
        let header = "step,loss,seconds\n";
        let losses = read(&format!("{header}0,2.5,0.1\n1,1.25,0.2\n")).expect("a log");
        assert_eq!(losses, [2.5, 1.25]);
        for wrong in ["0,2.5,0.1\n2,1,0.2\n", "0,nan,0.1\n", "0\n"] {
            let error = read(&format!("{header}{wrong}")).expect_err("no log");
            assert!(error.to_string().contains("log.csv, line "), "{error}");
        }
    }

    #[test]
    fn the_spread_is_that_of_a_sample() {
        assert_eq!(mean_and_spread(&[1.0, 3.0]), (2.0, 2f64.sqrt()));
        assert_eq!(mean_and_spread(&[1.0]), (1.0, 0.0));
    }

    #[test]
    fn a_way_has_a_name_and_logs() {
        let way: Way = "2bw=a.csv,b.csv".parse().expect("a way");
        assert_eq!((way.name.as_str(), way.logs.len()), ("2bw", 2));
        for wrong in ["a.csv", "=a.csv", "sync="] {
            assert!(wrong.parse::<Way>().is_err(), "{wrong}");
        }
    }
}
