//! `ringtmp train` and `ringtmp export`: a run from a file or from flags, in one process or in a ring of local peers.

mod alone;
mod bar;
mod log;
mod ring;

use crate::arguments::{Export, Train};
use crate::files;
use crate::result::RunReport;
use anyhow::{Context, Result, bail};
use ringtmp_peer::{
    Checkpoint, GradientNorm, Parameter, Run, RunFile, Score, WEIGHTS_BYTES_MAX, from_safetensors,
    to_safetensors,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The most bytes of a run file; one has a few hundred.
const RUN_FILE_BYTES_MAX: u64 = 1 << 20;

/// The name of a checkpoint in its folder.
const CHECKPOINT: &str = "checkpoint.ringtmp";

/// Trains, and writes what was asked for.
pub(crate) async fn run(train: Train, quiet: bool) -> Result<()> {
    let run = run_of(&train)?.check()?;
    let initial = train
        .init
        .as_ref()
        .map(|path| weights(path, &run))
        .transpose()?;
    if train.json.is_some() && train.peers == 1 {
        bail!("--json tells of a ring: train with --peers 2 or more, or leave it out");
    }
    let ended = if train.peers > 1 {
        if train.checkpoint.is_some() {
            bail!(
                "a ring keeps no checkpoints yet: leave out --checkpoint, or train with --peers 1"
            );
        }
        ring::train(&train, run, initial, quiet).await?
    } else {
        alone::train(&train, run, initial, quiet).await?
    };
    if let Some(path) = &train.export {
        files::replace(path, &to_safetensors(&ended.weights))?;
    }
    match (&train.json, &ended.report) {
        (Some(path), Some(report)) => report.write(path)?,
        _ => println!("{}", ended.summary()),
    }
    Ok(())
}

/// What a run leaves.
struct Ended {
    steps: u32,
    weights: Vec<Parameter>,
    /// Of the last step.
    loss: Option<f32>,
    /// On held-out samples; a ring tells no loss of them.
    held_out: Option<HeldOut>,
    /// Of a ring.
    report: Option<RunReport>,
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
            words += &format!(", held-out accuracy {:.1} %", 100.0 * held_out.accuracy);
        }
        words
    }
}

/// The run file, with what the flags say instead.
fn run_of(train: &Train) -> Result<RunFile> {
    let mut file = match &train.run {
        Some(path) => read_run(path)?,
        None => RunFile::default(),
    };
    let flags = &train.flags;
    file.preset = flags.preset.clone().unwrap_or(file.preset);
    file.data = flags.data.clone().unwrap_or(file.data);
    file.steps = flags.steps.unwrap_or(file.steps);
    file.seed = flags.seed.unwrap_or(file.seed);
    file.learning_rate = flags.learning_rate.unwrap_or(file.learning_rate);
    file.source = flags.source.map_or(file.source, Into::into);
    file.split = flags.split.map_or(file.split, Into::into);
    file.order = flags.order.map_or(file.order, Into::into);
    file.evaluate_every = flags.evaluate_every.unwrap_or(file.evaluate_every);
    file.evaluation_samples = flags.evaluation_samples.unwrap_or(file.evaluation_samples);
    file.codec = flags.codec.unwrap_or(file.codec);
    file.batch = flags.batch.unwrap_or(file.batch);
    file.micro_batch = match flags.micro_batch {
        Some(samples) => samples,
        // A batch of another size than the file's: in one piece where the file's micro-batches do not fit into it.
        None if file.batch.is_multiple_of(file.micro_batch.max(1)) => file.micro_batch,
        None => file.batch,
    };
    Ok(file)
}

pub(crate) fn read_run(path: &Path) -> Result<RunFile> {
    let text = String::from_utf8(files::read(path, RUN_FILE_BYTES_MAX)?)
        .with_context(|| format!("{} is not UTF-8", path.display()))?;
    RunFile::parse(&text).with_context(|| path.display().to_string())
}

fn weights(path: &Path, run: &Run) -> Result<Vec<Parameter>> {
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

fn read_checkpoint(folder: &Path) -> Result<Checkpoint> {
    let path = checkpoint_path(folder);
    let bytes = files::read(&path, WEIGHTS_BYTES_MAX)?;
    Checkpoint::decode(&bytes).with_context(|| path.display().to_string())
}

/// `ringtmp export`: the weights of a checkpoint for others to read.
pub(crate) fn export(export: &Export) -> Result<()> {
    let checkpoint = read_checkpoint(&export.checkpoint)?;
    files::replace(&export.output, &to_safetensors(&checkpoint.weights))?;
    println!(
        "{}: the weights of {} after step {}",
        export.output.display(),
        checkpoint.run.file.preset,
        checkpoint.step
    );
    Ok(())
}
