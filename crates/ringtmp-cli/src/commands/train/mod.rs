//! `ringtmp train` and `ringtmp export`: a run from a file or from flags, in one process or by local peers: a ring, a parameter
//! server, or all-reduce.

mod alone;
mod bar;
mod log;
mod ring;
mod team;

use crate::arguments::{Export, Train, Transport};
use crate::files;
use crate::result::RunReport;
use anyhow::{Context, Result, bail};
use ringtmp_peer::{
    Checkpoint, GradientNorm, Measure, Paradigm, Parameter, Run, Score, WEIGHTS_BYTES_MAX,
    from_safetensors, to_safetensors,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The name of a checkpoint in its folder.
const CHECKPOINT: &str = "checkpoint.ringtmp";

/// Trains, and writes what was asked for.
pub(crate) async fn run(train: Train, quiet: bool) -> Result<()> {
    let run = train.run.file()?.check()?;
    let initial = train
        .init
        .as_ref()
        .map(|path| weights(path, &run))
        .transpose()?;
    // One device that is emulated or traced is a ring, too.
    let alone = train.peers == 1 && train.pace.is_empty() && train.trace.is_none();
    if train.json.is_some() && alone {
        bail!("--json tells of a ring: train with --peers 2 or more, or leave it out");
    }
    if train.access_link.is_some() && train.peers == 1 {
        bail!("--access-link is for several peers: say --peers 2 or more");
    }
    let paradigm = run.file.paradigm;
    if paradigm != Paradigm::Ring && train.peers == 1 {
        bail!("{paradigm} is for several devices: train with --peers 2 or more");
    }
    let ended = if !alone {
        if train.checkpoint.is_some() {
            bail!(
                "a ring keeps no checkpoints yet: leave out --checkpoint, or train in one process, with --peers 1 and without --pace and --trace"
            );
        }
        if !(train.pace.is_empty() || train.pace.len() == usize::from(train.peers)) {
            let (speeds, peers) = (train.pace.len(), train.peers);
            bail!("--pace names {speeds} speeds for {peers} peers: give one for each");
        }
        if train.access_link.is_some() && train.transport == Transport::Loopback {
            bail!("--access-link delays packets, and memory carries none: say --transport webrtc");
        }
        match paradigm {
            Paradigm::Ring => Box::pin(ring::train(&train, run, initial, quiet)).await?,
            Paradigm::ParameterServer | Paradigm::AllReduce => {
                Box::pin(team::train(&train, run, initial, quiet)).await?
            }
        }
    } else {
        alone::train(&train, run, initial, quiet).await?
    };
    if let Some(path) = &train.export {
        files::replace(path, &to_safetensors(&ended.weights))?;
    }
    match (&train.json, &ended.report) {
        (Some(path), Some(report)) => report.write(path)?,
        (Some(_), None) if ended.reported => {}
        _ => outln!("{}", ended.summary()),
    }
    Ok(())
}

/// What a run leaves.
struct Ended {
    steps: u32,
    measure: Measure,
    weights: Vec<Parameter>,
    /// Of the last step.
    loss: Option<f32>,
    /// On held-out samples; a ring tells no loss of them.
    held_out: Option<HeldOut>,
    /// Of a ring.
    report: Option<RunReport>,
    /// Whether the report that was asked for is written already.
    reported: bool,
}

struct HeldOut {
    loss: Option<f32>,
    accuracy: f32,
}

impl From<Score> for HeldOut {
    fn from(score: Score) -> Self {
        Self {
            loss: Some(score.loss),
            accuracy: score.accuracy,
        }
    }
}

impl Ended {
    fn summary(&self) -> String {
        let mut words = format!("trained {} steps", self.steps);
        if let Some(loss) = self.loss {
            words += &format!(", loss {loss:.4}");
        }
        if let Some(held_out) = &self.held_out {
            if let Some(loss) = held_out.loss {
                words += &format!(", held-out loss {loss:.4}");
            }
            let (measure, percent) = (self.measure.words(), 100.0 * held_out.accuracy);
            words += &format!(", held-out {measure} {percent:.1} %");
        }
        words
    }
}

pub(super) fn weights(path: &Path, run: &Run) -> Result<Vec<Parameter>> {
    let bytes = files::read(path, WEIGHTS_BYTES_MAX)?;
    from_safetensors(&bytes, &run.model).with_context(|| path.display().to_string())
}

/// Writes norms as a JSON object, by parameter.
fn write_norms(path: &Path, norms: &[GradientNorm]) -> Result<()> {
    let by_name: BTreeMap<&str, f64> = norms
        .iter()
        .map(|norm| (norm.name.as_str(), norm.norm))
        .collect();
    let mut json = serde_json::to_vec_pretty(&by_name)?;
    json.push(b'\n');
    files::replace(path, &json)
}

fn checkpoint_path(folder: &Path) -> PathBuf {
    folder.join(CHECKPOINT)
}

pub(super) fn read_checkpoint(folder: &Path) -> Result<Checkpoint> {
    let path = checkpoint_path(folder);
    let bytes = files::read(&path, WEIGHTS_BYTES_MAX)?;
    Checkpoint::decode(&bytes).with_context(|| path.display().to_string())
}

/// `ringtmp export`: the weights of a checkpoint for others to read.
pub(crate) fn export(export: &Export) -> Result<()> {
    let checkpoint = read_checkpoint(&export.checkpoint)?;
    files::replace(&export.output, &to_safetensors(&checkpoint.weights))?;
    outln!(
        "{}: the weights of {} after step {}",
        export.output.display(),
        checkpoint.run.file.model.name(),
        checkpoint.step
    );
    Ok(())
}
