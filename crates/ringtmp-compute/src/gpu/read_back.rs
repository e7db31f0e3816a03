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

    /// Waits for the copies that were submitted, and reads runs of `words` one after the other.
    pub(super) async fn read(
        &self,
        gpu: &Gpu,
        words: &[usize],
    ) -> Result<Vec<Vec<u32>>, ComputeError> {
        let refused = |reason: &str| ComputeError::GpuRefused {
            reason: reason.to_owned(),
        };
        let total: usize = words.iter().sum();
        let slice = self.0.slice(..4 * total as u64);
        let (done, mapped) = oneshot::channel();
        slice.map_async(wgpu::MapMode::Read, move |result| {
            // Nobody waits any more if the task was cancelled.
            let _ = done.send(result);
        });
        platform::wait_for_gpu(&gpu.device)?;
        let mapped = mapped.await;
        gpu.faults.check(self.size())?;
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
        let results = {
            let range = slice
                .get_mapped_range()
                .map_err(|error| refused(&error.to_string()))?;
            let (all, _) = range.as_chunks::<4>();
            let mut rest = all.iter().map(|word| u32::from_le_bytes(*word));
            words
                .iter()
                .map(|count| rest.by_ref().take(*count).collect())
                .collect()
        };
        self.0.unmap();
        Ok(results)
    }
}
