//! In a native process.

use crate::error::ComputeError;
use std::time::Duration;

/// How long a task may take on a GPU: a kernel should stay under 0.1 s, drivers reset a GPU after 2 to 10 s, and software
/// adapters are slow.
const GPU_WAIT_MAX: Duration = Duration::from_secs(60);

/// The name that the driver gives.
pub(crate) fn adapter_name(info: &wgpu::AdapterInfo) -> String {
    info.name.clone()
}

/// Blocks until everything submitted so far is done and its callbacks have been called.
pub(crate) fn wait_for_gpu(device: &wgpu::Device) -> Result<(), ComputeError> {
    let wait = wgpu::PollType::Wait {
        submission_index: None,
        timeout: Some(GPU_WAIT_MAX),
    };
    match device.poll(wait) {
        Ok(_) => Ok(()),
        Err(error) => Err(ComputeError::GpuRefused {
            reason: error.to_string(),
        }),
    }
}
