//! A device that was lost while it trained: a GPU whose driver was reset, or that the system has taken away. Its stage is gone with
//! it; the copies lie in this process' own memory.

use crate::platform::sleep;
use crate::workshop::{WorkError, Workshop};
use ringtmp_compute::{ComputeError, Executor, ExecutorKind};
use std::time::Duration;

/// How often a GPU that was lost is asked for. A driver that was reset, or a browser whose GPU process has died, needs a moment.
const TRIES_MAX: u32 = 4;

/// Between two tries.
const TRY_EVERY: Duration = Duration::from_millis(500);

impl WorkError {
    /// Whether it is the device that failed, and another or the same one made anew may do.
    pub(crate) fn is_of_device(&self) -> bool {
        match self {
            Self::Compute(error) => matches!(
                error,
                ComputeError::GpuLost { .. }
                    | ComputeError::GpuRefused { .. }
                    | ComputeError::OutOfMemory { .. }
            ),
            Self::Data(_)
            | Self::Parts { .. }
            | Self::NonFiniteWeights
            | Self::Copy(_)
            | Self::Labels(_) => false,
        }
    }
}

impl Workshop {
    /// Opens the GPU again, unless it is gone, or whatever computes otherwise.
    pub(crate) async fn reopen(&mut self, is_gone: bool) -> Executor {
        self.bench = None;
        let tries = if is_gone { 0 } else { TRIES_MAX };
        for again in (0..tries).rev() {
            match Executor::open(self.circumstances.executor).await {
                Ok(gpu) if gpu.kind() == ExecutorKind::Gpu => {
                    self.executor = gpu;
                    return self.executor.clone();
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "the GPU is not there again"),
            }
            if again > 0 {
                sleep(TRY_EVERY).await;
            }
        }
        self.executor = Executor::cpu();
        self.executor.clone()
    }
}
