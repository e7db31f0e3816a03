//! From GPU memory to ours.

use super::Gpu;
use crate::error::ComputeError;
use crate::platform;
use futures::channel::oneshot;

/// A buffer that kernels' results are copied to, and that the host can look into.
#[derive(Debug)]
pub(super) struct Staging(wgpu::Buffer);

impl Staging {
    /// Room for `bytes`.
    pub(super) fn new(gpu: &Gpu, bytes: u64) -> Self {
        Self(gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("staging"),
            size: bytes,
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        }))
    }

    /// Bytes it has room for.
    pub(super) fn size(&self) -> u64 {
        self.0.size()
    }

    /// Where copies go.
    pub(super) fn buffer(&self) -> &wgpu::Buffer {
        &self.0
    }

    /// Has what was submitted to be copied into it, runs of `words` one after the other, mapped as soon as it is there.
    pub(super) fn start(self, submission: wgpu::SubmissionIndex, words: Vec<usize>) -> Reading {
        let total: usize = words.iter().sum();
        let (done, mapped) = oneshot::channel();
        let slice = self.0.slice(..4 * total as u64);
        slice.map_async(wgpu::MapMode::Read, move |result| {
            // Nobody waits any more if the task was cancelled.
            let _ = done.send(result);
        });
        Reading {
            staging: self,
            submission,
            words,
            number: 0,
            mapped,
        }
    }
}

/// What is on its way from a GPU.
#[derive(Debug)]
pub(crate) struct Reading {
    staging: Staging,
    submission: wgpu::SubmissionIndex,
    words: Vec<usize>,
    /// Which of its program's submissions it comes with; none where nobody counts.
    pub(super) number: u64,
    mapped: oneshot::Receiver<Result<(), wgpu::BufferAsyncError>>,
}

impl Reading {
    /// Waits until it is here; with the buffer that it came in.
    pub(super) async fn finish(self, gpu: &Gpu) -> Result<(Vec<Vec<u32>>, Staging), ComputeError> {
        let refused = |reason: &str| ComputeError::GpuRefused {
            reason: reason.to_owned(),
        };
        platform::wait_for_gpu(&gpu.device, Some(self.submission))?;
        let mapped = self.mapped.await;
        gpu.faults.check(self.staging.size())?;
        match mapped {
            Ok(Ok(())) => {}
            // Nothing else takes mapped memory away from us; a browser may say so before it says that the device is lost.
            Ok(Err(_)) => {
                return Err(ComputeError::GpuLost {
                    reason: "its memory cannot be read back".to_owned(),
                });
            }
            Err(_) => return Err(refused("it never said that it was done")),
        }
        let total: usize = self.words.iter().sum();
        let results = {
            let slice = self.staging.0.slice(..4 * total as u64);
            let range = slice
                .get_mapped_range()
                .map_err(|error| refused(&error.to_string()))?;
            let (all, _) = range.as_chunks::<4>();
            let mut rest = all.iter().map(|word| u32::from_le_bytes(*word));
            self.words
                .iter()
                .map(|count| rest.by_ref().take(*count).collect())
                .collect()
        };
        self.staging.0.unmap();
        Ok((results, self.staging))
    }
}
