//! Where this device keeps what it holds of runs.

use crate::network::folder;
use anyhow::Result;
use clap::Args;
use ringtmp_peer::Keep;
use std::path::PathBuf;

/// Whether and where to keep runs.
#[derive(Args, Clone, Debug)]
pub(crate) struct KeepChoice {
    /// Keep what is needed to go on with runs whose devices were all lost in this folder; without it, in the user's folder for
    /// programs' data
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Keep nothing on this device's disk
    #[arg(long, conflicts_with = "keep")]
    no_keep: bool,
}

impl KeepChoice {
    /// Where to keep runs; none if nothing is to be kept.
    pub(crate) fn keep(&self) -> Option<Keep> {
        match (&self.keep, self.no_keep) {
            (_, true) => None,
            (Some(folder), false) => Some(Keep::at(folder)),
            (None, false) => usual()
                .inspect_err(|error| tracing::warn!("nothing is kept on this device: {error}"))
                .ok()
                .map(Keep::at),
        }
    }
}

/// The folder in which runs are kept where nobody names another.
pub(crate) fn usual() -> Result<PathBuf> {
    Ok(folder()?.join("runs"))
}
