//! In a native process.

use crate::error::ComputeError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// How long a task may take on a GPU: a kernel should stay under 0.1 s, drivers reset a GPU after 2 to 10 s, and software
/// adapters are slow.
const GPU_WAIT_MAX: Duration = Duration::from_secs(60);

/// The name that the driver gives.
pub(crate) fn adapter_name(info: &wgpu::AdapterInfo) -> String {
    info.name.clone()
}

/// Does some work for each item, on as many threads as there are cores, and gives what came out in the order of the items.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let take_turns = || {
        let turn = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|i| *i < items.len());
        let done = std::iter::from_fn(|| turn().map(|i| (i, work(&items[i]))));
        done.collect::<Vec<_>>()
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut done: Vec<_> = thread::scope(|scope| {
        let workers = (0..cores.min(items.len())).map(|_| scope.spawn(take_turns));
        let workers: Vec<_> = workers.collect();
        let results = workers.into_iter().map(thread::ScopedJoinHandle::join);
        results
            .flat_map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Blocks until a submission is done, or all so far, and their callbacks have been called.
pub(crate) fn wait_for_gpu(
    device: &wgpu::Device,
    submission: Option<wgpu::SubmissionIndex>,
) -> Result<(), ComputeError> {
    let wait = wgpu::PollType::Wait {
        submission_index: submission,
        timeout: Some(GPU_WAIT_MAX),
    };
    match device.poll(wait) {
        Ok(_) => Ok(()),
        // A device that is lost takes nothing, and tells so when one waits for all.
        Err(wgpu::PollError::WrongSubmissionIndex(..)) => wait_for_gpu(device, None),
        Err(error) => Err(ComputeError::GpuRefused {
            reason: error.to_string(),
        }),
    }
}
