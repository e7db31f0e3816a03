//! In a browser.

use crate::error::ComputeError;

/// A browser gives its adapters no names.
pub(crate) fn adapter_name(_info: &wgpu::AdapterInfo) -> String {
    "WebGPU".to_owned()
}

/// Nothing to do: the browser calls back from its event loop, and takes a hung device away by itself.
pub(crate) fn wait_for_gpu(_device: &wgpu::Device) -> Result<(), ComputeError> {
    Ok(())
}
