//! Why a peer ends.

use crate::run_file::RunFileError;
use crate::shell::DoorFault;
use crate::store::StoreError;
use ringtmp_compute::ComputeError;
use ringtmp_core::signal::Refusal;
use ringtmp_transport::SignallingError;

/// Why a peer could not begin, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The run file cannot be run.
    #[error(transparent)]
    RunFile(#[from] RunFileError),
    /// The server said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The server cannot be reached, or was lost before the room let us in.
    #[error(transparent)]
    Signalling(#[from] SignallingError),
    /// The server answered something else than was asked.
    #[error("the server answered \"{0}\" to something else: it is broken, or no RingTMP server")]
    Unexpected(&'static str),
    /// The room is not the one that the link leads to.
    #[error(transparent)]
    Door(#[from] DoorFault),
    /// The host of the room wants it no more.
    #[error("{0}, who opened the room, has sent this device away")]
    Kicked(String),
    /// What was kept of the run cannot be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Workers draw from the run's own data.
    #[error(
        "this device came with samples of its own, or with none: where devices hold whole models each has its share of the run's data"
    )]
    OwnSamples,
    /// There is nothing to compute with.
    #[error(transparent)]
    Compute(#[from] ComputeError),
}
