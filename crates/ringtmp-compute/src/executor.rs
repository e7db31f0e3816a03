//! Executors: who carries out a plan.

use crate::cpu;
use crate::error::ComputeError;
use crate::gpu;
use crate::platform;
use crate::recording::{BufferId, Instance, Plan, RecordingId, View};
use std::fmt;
use std::str::FromStr;

/// Which executor a user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExecutorChoice {
    /// A hardware GPU if there is one, else the CPU: GPUs emulated in software are several times slower than it.
    #[default]
    Auto,
    /// Any GPU, an emulated one too.
    Gpu,
    /// The CPU.
    Cpu,
}

/// A text that names no executor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an executor is auto, gpu or cpu, not {0:?}")]
pub struct UnknownExecutor(String);

impl FromStr for ExecutorChoice {
    type Err = UnknownExecutor;

    fn from_str(text: &str) -> Result<Self, UnknownExecutor> {
        match text {
            "auto" => Ok(Self::Auto),
            "gpu" => Ok(Self::Gpu),
            "cpu" => Ok(Self::Cpu),
            _ => Err(UnknownExecutor(text.chars().take(32).collect())),
        }
    }
}

impl fmt::Display for ExecutorChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Gpu => "gpu",
            Self::Cpu => "cpu",
        })
    }
}

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutorKind {
    /// WGSL kernels.
    Gpu,
    /// Functions.
    Cpu,
}

/// A device that computes. Cloning gives another handle to the same device.
#[derive(Clone, Debug)]
pub struct Executor(Device);

#[derive(Clone, Debug)]
enum Device {
    Cpu,
    Gpu(gpu::Gpu),
}

impl Executor {
    /// Opens a device. Fails only if a GPU is asked for and there is none.
    pub async fn open(choice: ExecutorChoice) -> Result<Self, ComputeError> {
        match choice {
            ExecutorChoice::Cpu => Ok(Self(Device::Cpu)),
            ExecutorChoice::Gpu => Ok(Self(Device::Gpu(gpu::Gpu::open(true).await?))),
            ExecutorChoice::Auto => match gpu::Gpu::open(false).await {
                Ok(gpu) => Ok(Self(Device::Gpu(gpu))),
                Err(error) => {
                    tracing::info!(%error, "computing on the CPU");
                    Ok(Self(Device::Cpu))
                }
            },
        }
    }

    /// The CPU, which is always there.
    pub fn cpu() -> Self {
        Self(Device::Cpu)
    }

    /// Loses the device for good, as if its driver had been reset. Does nothing to a CPU.
    pub fn lose(&self) {
        match &self.0 {
            Device::Cpu => {}
            Device::Gpu(gpu) => gpu.destroy(),
        }
    }

    /// What computes.
    pub fn kind(&self) -> ExecutorKind {
        match self.0 {
            Device::Cpu => ExecutorKind::Cpu,
            Device::Gpu(_) => ExecutorKind::Gpu,
        }
    }

    /// The same executor, which uses one shader (a [`crate::operation::Variant`]) wherever an operation has it, whichever is the
    /// fastest: to test or to measure it. A CPU has none, and stays what it is.
    pub fn preferring(&self, shader: &'static str) -> Self {
        match &self.0 {
            Device::Cpu => self.clone(),
            Device::Gpu(gpu) => Self(Device::Gpu(gpu.preferring(shader))),
        }
    }

    /// A name for people, such as "llvmpipe (LLVM 15.0.6, 256 bits)", "WebGPU" or "CPU, simd128".
    pub fn adapter(&self) -> String {
        match &self.0 {
            Device::Cpu => format!("CPU, {}", platform::instruction_set()),
            Device::Gpu(gpu) => gpu.name().to_owned(),
        }
    }

    /// Makes a plan ready: checks it, takes all its memory, and compiles and tries every kernel, so that nothing of this
    /// falls into a training step. All buffers are zeros.
    pub async fn prepare(&self, plan: Plan) -> Result<Program, ComputeError> {
        plan.check()?;
        let machine = match &self.0 {
            Device::Cpu => Machine::Cpu(cpu::Memory::new(plan)?),
            Device::Gpu(gpu) => Machine::Gpu(Box::new(gpu::Program::new(gpu.clone(), plan).await?)),
        };
        Ok(Program(machine))
    }
}

/// Views on their way to the host.
#[derive(Debug)]
pub struct Reading(Source);

#[derive(Debug)]
enum Source {
    Here(Vec<Vec<u32>>),
    Gpu(gpu::Reading),
}

/// A plan on a device.
///
/// Views and recordings must be those of its plan, slots and versions below its numbers of them, and words as many as the
/// view has elements; anything else is the caller's fault and panics.
pub struct Program(Machine);

enum Machine {
    Cpu(cpu::Memory),
    Gpu(Box<gpu::Program>),
}

impl Program {
    /// Fills a view of one instance (what its buffer has no copies for does not matter) with 32-bit words.
    pub fn write(&mut self, view: View, instance: Instance, words: &[u32]) {
        match &mut self.0 {
            Machine::Cpu(memory) => memory.write(view, instance, words),
            Machine::Gpu(program) => program.write(view, instance, words),
        }
    }

    /// Copies a buffer from one instance to another.
    pub fn copy(&mut self, buffer: BufferId, from: Instance, to: Instance) {
        match &mut self.0 {
            Machine::Cpu(memory) => memory.copy(buffer, from, to),
            Machine::Gpu(program) => program.copy(buffer, from, to),
        }
    }

    /// Plays a recording in one instance, then reads views. Without views, it may return while a GPU still works.
    pub async fn run(
        &mut self,
        recording: RecordingId,
        instance: Instance,
        views: &[View],
    ) -> Result<Vec<Vec<u32>>, ComputeError> {
        match &mut self.0 {
            Machine::Cpu(memory) => {
                memory.run(recording, instance);
                Ok(memory.read_all(instance, views))
            }
            Machine::Gpu(program) => program.run(recording, instance, views).await,
        }
    }

    /// Plays a recording in one instance, and has views copied out, for which [`Program::finish`] waits: a GPU goes on meanwhile.
    pub async fn begin(
        &mut self,
        recording: RecordingId,
        instance: Instance,
        views: &[View],
    ) -> Result<Reading, ComputeError> {
        Ok(Reading(match &mut self.0 {
            Machine::Cpu(memory) => {
                memory.run(recording, instance);
                Source::Here(memory.read_all(instance, views))
            }
            Machine::Gpu(program) => Source::Gpu(program.begin(recording, instance, views).await?),
        }))
    }

    /// Waits for what was copied out.
    pub async fn finish(&mut self, reading: Reading) -> Result<Vec<Vec<u32>>, ComputeError> {
        match (reading.0, &mut self.0) {
            (Source::Gpu(reading), Machine::Gpu(program)) => program.finish(reading).await,
            (Source::Here(words), _) => Ok(words),
            (Source::Gpu(_), Machine::Cpu(_)) => panic!("a reading of another program"),
        }
    }

    /// Reads views.
    pub async fn read(
        &self,
        instance: Instance,
        views: &[View],
    ) -> Result<Vec<Vec<u32>>, ComputeError> {
        match &self.0 {
            Machine::Cpu(memory) => Ok(memory.read_all(instance, views)),
            Machine::Gpu(program) => program.read(instance, views).await,
        }
    }

    /// Bytes it takes on its device.
    pub fn bytes(&self) -> u64 {
        match &self.0 {
            Machine::Cpu(memory) => memory.bytes(),
            Machine::Gpu(program) => program.bytes(),
        }
    }
}
