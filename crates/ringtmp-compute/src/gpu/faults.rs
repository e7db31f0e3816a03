//! What goes wrong on a GPU, which it tells in callbacks.

use crate::error::ComputeError;
use std::sync::{Arc, Mutex, PoisonError};

/// The first fault of a device. A device that was lost stays lost.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Option<Fault>>);

#[derive(Clone, Debug)]
enum Fault {
    Lost(String),
    OutOfMemory,
    Refused(String),
}

impl Faults {
    /// Listens to a device, whose errors would panic otherwise.
    pub(super) fn watch(device: &wgpu::Device) -> Arc<Self> {
        let faults = Arc::new(Self::default());
        let (lost, uncaptured) = (Arc::clone(&faults), Arc::clone(&faults));
        device.set_device_lost_callback(move |reason, message| {
            let text = if message.is_empty() {
                format!("{reason:?}")
            } else {
                message
            };
            lost.note(Fault::Lost(text));
        });
        device.on_uncaptured_error(Arc::new(move |error| uncaptured.note(Fault::from(error))));
        faults
    }

    /// Fails if something has gone wrong since the last check; `bytes` is what the stage takes.
    pub(super) fn check(&self, bytes: u64) -> Result<(), ComputeError> {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(fault) = first.take() else {
            return Ok(());
        };
        if matches!(fault, Fault::Lost(_)) {
            *first = Some(fault.clone());
        }
        Err(fault.into_error(bytes))
    }

    fn note(&self, fault: Fault) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if first.is_none() || matches!(fault, Fault::Lost(_)) {
            *first = Some(fault);
        }
    }
}

impl Fault {
    fn into_error(self, bytes: u64) -> ComputeError {
        match self {
            Self::Lost(reason) => ComputeError::GpuLost { reason },
            Self::OutOfMemory => ComputeError::OutOfMemory { bytes },
            Self::Refused(reason) => ComputeError::GpuRefused { reason },
        }
    }
}

impl From<wgpu::Error> for Fault {
    fn from(error: wgpu::Error) -> Self {
        match error {
            wgpu::Error::OutOfMemory { .. } => Self::OutOfMemory,
            wgpu::Error::Validation { description, .. } => Self::Refused(description),
            wgpu::Error::Internal { description, .. } => Self::Refused(description),
        }
    }
}

/// Runs `make` and fails with the first error that it causes on the device; `bytes` is what the stage takes.
pub(super) async fn scoped<T>(
    device: &wgpu::Device,
    bytes: u64,
    make: impl FnOnce() -> T,
) -> Result<T, ComputeError> {
    let (made, errors) = {
        let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
        let made = make();
        let (internal, validation, memory) = (internal.pop(), validation.pop(), memory.pop());
        // Running out of memory makes what follows invalid, so it is the cause.
        (made, async {
            [memory.await, validation.await, internal.await]
        })
    };
    match errors.await.into_iter().flatten().next() {
        Some(error) => Err(Fault::from(error).into_error(bytes)),
        None => Ok(made),
    }
}
