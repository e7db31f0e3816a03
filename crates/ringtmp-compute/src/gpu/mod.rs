//! The GPU executor: one WGSL kernel per operation, under the operation's name.

mod builder;
mod choice;
mod faults;
mod kernels;
mod program;
mod read_back;

use crate::error::ComputeError;
use crate::platform;
use choice::Choices;
use faults::Faults;
pub(crate) use program::Program;
pub(crate) use read_back::Reading;
use std::sync::Arc;

/// An open GPU.
#[derive(Clone, Debug)]
pub(crate) struct Gpu {
    name: String,
    device: wgpu::Device,
    queue: wgpu::Queue,
    faults: Arc<Faults>,
    /// Whether it is emulated in software.
    is_software: bool,
    choices: Arc<Choices>,
    /// The shader to use wherever an operation has it, whichever is the fastest.
    preferred: Option<&'static str>,
}

impl Gpu {
    /// Opens the fastest GPU of this device; one that is emulated in software only if that is wanted.
    pub(crate) async fn open(software: bool) -> Result<Self, ComputeError> {
        let none = |reason: String| ComputeError::NoGpu { reason };
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = instance
            .request_adapter(&options)
            .await
            .map_err(|e| none(e.to_string()))?;
        let info = adapter.get_info();
        let name = platform::adapter_name(&info);
        let is_software = info.device_type == wgpu::DeviceType::Cpu;
        if is_software && !software {
            return Err(none(format!("{name} is emulated in software")));
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("ringtmp"),
            // All that the adapter has: a stage may need large buffers, and costs nothing where it does not.
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let opened = adapter.request_device(&descriptor).await;
        let (device, queue) = opened.map_err(|e| none(e.to_string()))?;
        let faults = Faults::watch(&device);
        Ok(Self {
            name,
            device,
            queue,
            faults,
            is_software,
            choices: Arc::default(),
            preferred: None,
        })
    }

    /// The same GPU, which uses one shader wherever an operation has it.
    pub(crate) fn preferring(&self, shader: &'static str) -> Self {
        Self {
            preferred: Some(shader),
            ..self.clone()
        }
    }

    /// Gives the device back to the system, which loses all that is on it.
    pub(crate) fn destroy(&self) {
        self.device.destroy();
    }

    /// The name of the adapter, for people.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::layers::relu::relu;
    use crate::recording::{BufferId, Instance, Lifetime, Plan, Recording, RecordingId, View};
    use futures::executor::block_on;

    fn plan(words: usize) -> Plan {
        let mut plan = Plan {
            slots: 1,
            ..Plan::default()
        };
        let [input, output] = ["in", "out"].map(|name| plan.buffer(name, words, Lifetime::Slot));
        let operations = vec![relu(input, output)];
        plan.record(Recording {
            label: "test",
            operations,
        });
        plan
    }

    fn open() -> Option<Gpu> {
        let gpu = block_on(Gpu::open(true));
        gpu.inspect_err(|error| eprintln!("SKIP: {error}")).ok()
    }

    #[test]
    fn a_lost_device_is_an_error_and_stays_one() {
        let Some(gpu) = open() else { return };
        let mut program = block_on(Program::new(gpu.clone(), plan(8))).expect("a small plan");
        gpu.device.destroy();
        let (id, view) = (RecordingId(0), program_view());
        for _ in 0..2 {
            let lost = block_on(program.run(id, Instance::default(), &[view]));
            assert!(
                matches!(lost, Err(ComputeError::GpuLost { .. })),
                "{lost:?}"
            );
        }
    }

    #[test]
    fn a_buffer_past_the_devices_limits_is_an_error_that_names_both_sizes() {
        let Some(gpu) = open() else { return };
        let limit = gpu.device.limits().max_storage_buffer_binding_size;
        let words = usize::try_from(limit / 4 + 1).expect("64 bits");
        let Err(ComputeError::TooLarge {
            bytes, limit: told, ..
        }) = block_on(Program::new(gpu, plan(words))).map(|_| ())
        else {
            panic!("{limit} bytes are the limit");
        };
        assert!(bytes > told);
    }

    #[test]
    fn what_the_driver_refuses_is_an_error_and_not_a_panic() {
        let Some(gpu) = open() else { return };
        let bad = wgpu::ShaderSource::Wgsl("this is no shader".into());
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: None,
            source: bad,
        };
        let make = || gpu.device.create_shader_module(descriptor.clone());
        let scoped = block_on(faults::scoped(&gpu.device, 0, make));
        assert!(matches!(scoped, Err(ComputeError::GpuRefused { .. })));
        drop(make());
        assert!(matches!(
            gpu.faults.check(0),
            Err(ComputeError::GpuRefused { .. })
        ));
        assert_eq!(gpu.faults.check(0), Ok(()), "it is told once");
    }

    /// The output of [`plan`] with eight words.
    fn program_view() -> View {
        View {
            buffer: BufferId(1),
            offset: 0,
            elements: 8,
        }
    }
}
