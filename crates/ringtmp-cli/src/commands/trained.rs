//! A trained model, as commands that use one are told of it.

use super::train::{read_checkpoint, weights};
use crate::run_choice;
use anyhow::{Result, bail};
use clap::Args;
use ringtmp_peer::{Parameter, Run};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(crate) struct Trained {
    /// The folder of the checkpoint
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "weights",
        required_unless_present = "weights"
    )]
    checkpoint: Option<PathBuf>,
    /// Or weights, exported from a run or from PyTorch
    #[arg(long, value_name = "FILE.safetensors", requires = "run")]
    weights: Option<PathBuf>,
    /// The run that the weights are of
    #[arg(long, value_name = "FILE.toml", requires = "weights")]
    run: Option<PathBuf>,
}

impl Trained {
    /// The run and its weights.
    pub(crate) fn read(&self) -> Result<(Run, Vec<Parameter>)> {
        match (&self.checkpoint, &self.weights, &self.run) {
            (Some(folder), ..) => {
                let checkpoint = read_checkpoint(folder)?;
                Ok((checkpoint.run, checkpoint.weights))
            }
            (None, Some(path), Some(run)) => {
                let run = run_choice::read(run)?.check()?;
                let weights = weights(path, &run)?;
                Ok((run, weights))
            }
            (None, ..) => bail!("say --checkpoint DIR, or --weights and --run"),
        }
    }
}
