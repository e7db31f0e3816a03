//! In a browser.

use crate::error::ComputeError;

/// A browser gives its adapters no names.
pub(crate) fn adapter_name(_info: &wgpu::AdapterInfo) -> String {
    "WebGPU".to_owned()
}

/// Does some work for each item: a tab has one thread, and the browser compiles behind its back.
pub(crate) fn in_parallel<T, R>(items: &[T], work: impl Fn(&T) -> R) -> Vec<R> {
    items.iter().map(work).collect()
}

/// Nothing to do: the browser calls back from its event loop, and takes a hung device away by itself.
pub(crate) fn wait_for_gpu(
    _device: &wgpu::Device,
    _submission: Option<wgpu::SubmissionIndex>,
) -> Result<(), ComputeError> {
    Ok(())
}
