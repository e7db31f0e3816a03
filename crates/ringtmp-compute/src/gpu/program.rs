//! A plan on a GPU.

use super::Gpu;
use super::builder::{Builder, Dispatch, Way, create_buffers};
use super::faults::scoped;
use super::read_back::{Reading, Staging};
use crate::error::ComputeError;
use crate::platform;
use crate::recording::{BufferId, BufferSpec, Instance, Operation, Plan, RecordingId, View};
use futures::channel::oneshot;
use std::collections::BTreeSet;

/// The most recordings that are submitted before one waits for the GPU: it bounds what is queued when a caller asks for
/// nothing back, and is far more than keeps a GPU busy.
const SUBMISSIONS_MAX: u64 = 32;

/// The most buffers for results that are kept for the next: one for each micro-batch of a usual step.
const STAGING_MAX: usize = 8;

/// A plan's buffers, pipelines and bind groups on a GPU.
pub(crate) struct Program {
    pub(super) gpu: Gpu,
    plan: Plan,
    /// By buffer, then by copy.
    buffers: Vec<Vec<wgpu::Buffer>>,
    uniforms: wgpu::BindGroup,
    uniform_bytes: u64,
    /// By recording.
    pub(super) recordings: Vec<Vec<Dispatch>>,
    /// For results. One that is used is not among them, so that a task that is cancelled takes it along, mapped or not.
    staging: Vec<Staging>,
    /// Recordings submitted so far, and those of them that are known to be done.
    submitted: u64,
    done: u64,
}

impl Program {
    /// Makes a checked plan ready and tries every kernel.
    pub(crate) async fn new(gpu: Gpu, plan: Plan) -> Result<Self, ComputeError> {
        check_limits(&gpu.device.limits(), &plan)?;
        let device = gpu.device.clone();
        let bytes = plan.bytes();
        // In two scopes, so that running out of memory is told apart from a kernel that does not compile.
        let buffers = scoped(&device, bytes, || create_buffers(&device, &plan)).await?;
        let mut builder = Builder::new(&gpu, &plan, &buffers);
        let (recordings, uniforms) = scoped(&device, bytes, || builder.build()).await?;
        // What goes wrong on other threads, on which shaders are compiled, is in no scope.
        gpu.faults.check(bytes)?;
        let uniform_bytes = builder.uniform_bytes();
        let staging = Vec::new();
        let mut program = Self {
            gpu,
            plan,
            buffers,
            uniforms,
            uniform_bytes,
            recordings,
            staging,
            submitted: 0,
            done: 0,
        };
        program.choose().await?;
        program.warm_up().await?;
        Ok(program)
    }

    /// Bytes it takes.
    pub(crate) fn bytes(&self) -> u64 {
        let staging: u64 = self.staging.iter().map(Staging::size).sum();
        self.plan.bytes() + self.uniform_bytes + staging
    }

    /// Fills a view.
    pub(crate) fn write(&mut self, view: View, instance: Instance, words: &[u32]) {
        assert_eq!(words.len(), view.elements, "words for a view");
        let buffer = self.buffer(view.buffer, instance);
        self.gpu
            .queue
            .write_buffer(buffer, 4 * view.offset as u64, bytemuck::cast_slice(words));
    }

    /// Copies a buffer, before whatever is played next.
    pub(crate) fn copy(&mut self, buffer: BufferId, from: Instance, to: Instance) {
        let (from, to) = (self.buffer(buffer, from), self.buffer(buffer, to));
        if from == to {
            return;
        }
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(from, 0, to, 0, from.size());
        self.gpu.queue.submit([encoder.finish()]);
    }

    /// Plays a recording in one submission, and reads views if any are asked for.
    pub(crate) async fn run(
        &mut self,
        recording: RecordingId,
        instance: Instance,
        views: &[View],
    ) -> Result<Vec<Vec<u32>>, ComputeError> {
        if views.is_empty() {
            self.gpu.faults.check(self.bytes())?;
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            self.encode(recording, instance, &mut encoder);
            self.gpu.queue.submit([encoder.finish()]);
            self.count().await?;
            return Ok(Vec::new());
        }
        let reading = self.begin(recording, instance, views).await?;
        self.finish(reading).await
    }

    /// Plays a recording in one submission, and has views copied out, for which [`Program::finish`] waits.
    pub(crate) async fn begin(
        &mut self,
        recording: RecordingId,
        instance: Instance,
        views: &[View],
    ) -> Result<Reading, ComputeError> {
        self.gpu.faults.check(self.bytes())?;
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        self.encode(recording, instance, &mut encoder);
        let staging = self.room(view_bytes(views));
        self.copy_out(instance, views, &staging, &mut encoder);
        let submission = self.gpu.queue.submit([encoder.finish()]);
        let mut reading = staging.start(submission, view_words(views));
        reading.number = self.submitted + 1;
        self.count().await?;
        Ok(reading)
    }

    /// Waits for what was copied out.
    pub(crate) async fn finish(&mut self, reading: Reading) -> Result<Vec<Vec<u32>>, ComputeError> {
        let number = reading.number;
        let (results, staging) = reading.finish(&self.gpu).await?;
        // What was submitted after it may still be under way.
        self.done = self.done.max(number);
        self.staging.push(staging);
        if self.staging.len() > STAGING_MAX {
            let sizes = self.staging.iter().map(Staging::size).enumerate();
            if let Some((smallest, _)) = sizes.min_by_key(|(_, size)| *size) {
                self.staging.swap_remove(smallest);
            }
        }
        Ok(results)
    }

    /// A buffer for results: the smallest that is kept and large enough, or a new one.
    fn room(&mut self, bytes: u64) -> Staging {
        let sizes = self.staging.iter().map(Staging::size).enumerate();
        let enough = sizes.filter(|(_, size)| *size >= bytes);
        match enough.min_by_key(|(_, size)| *size) {
            Some((kept, _)) => self.staging.swap_remove(kept),
            None => Staging::new(&self.gpu, bytes),
        }
    }

    /// Counts a recording that was submitted, and bounds what is queued.
    async fn count(&mut self) -> Result<(), ComputeError> {
        self.submitted += 1;
        if self.submitted - self.done >= SUBMISSIONS_MAX {
            self.idle().await?;
        }
        Ok(())
    }

    /// Reads views.
    pub(crate) async fn read(
        &self,
        instance: Instance,
        views: &[View],
    ) -> Result<Vec<Vec<u32>>, ComputeError> {
        if views.is_empty() {
            return Ok(Vec::new());
        }
        self.gpu.faults.check(self.bytes())?;
        let staging = Staging::new(&self.gpu, view_bytes(views));
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        self.copy_out(instance, views, &staging, &mut encoder);
        let submission = self.gpu.queue.submit([encoder.finish()]);
        let reading = staging.start(submission, view_words(views));
        Ok(reading.finish(&self.gpu).await?.0)
    }

    fn encode(
        &self,
        recording: RecordingId,
        instance: Instance,
        encoder: &mut wgpu::CommandEncoder,
    ) {
        let label = Some(self.plan.recordings[recording.0].label);
        let descriptor = wgpu::ComputePassDescriptor {
            label,
            timestamp_writes: None,
        };
        let mut pass = encoder.begin_compute_pass(&descriptor);
        for dispatch in &self.recordings[recording.0] {
            self.encode_one(dispatch, 0, instance, &mut pass);
        }
    }

    /// Encodes an operation with one of its shaders.
    pub(super) fn encode_one(
        &self,
        dispatch: &Dispatch,
        way: usize,
        instance: Instance,
        pass: &mut wgpu::ComputePass<'_>,
    ) {
        let Way { pipeline, grid, .. } = &dispatch.ways[way];
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, &self.uniforms, &[dispatch.uniform_offset]);
        pass.set_bind_group(1, dispatch.group(instance), &[]);
        pass.dispatch_workgroups(grid.0, grid.1, 1);
    }

    fn copy_out(
        &self,
        instance: Instance,
        views: &[View],
        staging: &Staging,
        encoder: &mut wgpu::CommandEncoder,
    ) {
        let mut to = 0;
        for view in views {
            let (from, bytes) = (4 * view.offset as u64, 4 * view.elements as u64);
            encoder.copy_buffer_to_buffer(
                self.buffer(view.buffer, instance),
                from,
                staging.buffer(),
                to,
                bytes,
            );
            to += bytes;
        }
    }

    /// Plays every pipeline once on zeros, since drivers compile it when it is first used; then clears the traces.
    async fn warm_up(&mut self) -> Result<(), ComputeError> {
        let mut warm = BTreeSet::new();
        for dispatch in self.recordings.iter().flatten() {
            if warm.insert((dispatch.ways[0].name, dispatch.kind.constants())) {
                let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
                {
                    let mut pass = encoder.begin_compute_pass(&Default::default());
                    self.encode_one(dispatch, 0, Instance::default(), &mut pass);
                }
                self.gpu.queue.submit([encoder.finish()]);
            }
        }
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        self.buffers
            .iter()
            .flatten()
            .for_each(|buffer| encoder.clear_buffer(buffer, 0, None));
        self.gpu.queue.submit([encoder.finish()]);
        self.idle().await
    }

    /// Waits until everything submitted is done.
    pub(super) async fn idle(&mut self) -> Result<(), ComputeError> {
        let (done, finished) = oneshot::channel();
        self.gpu.queue.on_submitted_work_done(move || {
            // Nobody waits any more if the task was cancelled.
            let _ = done.send(());
        });
        platform::wait_for_gpu(&self.gpu.device, None)?;
        let finished = finished.await;
        self.done = self.submitted;
        self.gpu.faults.check(self.bytes())?;
        let silent = |_| ComputeError::GpuRefused {
            reason: "it never said that it was done".to_owned(),
        };
        finished.map_err(silent)
    }

    fn buffer(&self, buffer: BufferId, instance: Instance) -> &wgpu::Buffer {
        &self.buffers[buffer.0][self.plan.copy_of(buffer, instance)]
    }
}

fn view_words(views: &[View]) -> Vec<usize> {
    views.iter().map(|view| view.elements).collect()
}

fn view_bytes(views: &[View]) -> u64 {
    views.iter().map(|view| 4 * view.elements as u64).sum()
}

/// Refuses a plan whose buffers the device cannot make or bind.
fn check_limits(limits: &wgpu::Limits, plan: &Plan) -> Result<(), ComputeError> {
    let too_large = |what: &str, bytes: u64, limit: u64| {
        let what = what.to_owned();
        if bytes > limit {
            Err(ComputeError::TooLarge { what, bytes, limit })
        } else {
            Ok(())
        }
    };
    for BufferSpec { label, words, .. } in &plan.buffers {
        too_large(label, 4 * *words as u64, limits.max_buffer_size)?;
    }
    for recording in &plan.recordings {
        let operations = recording.operations.iter();
        for operand in operations.flat_map(Operation::operands) {
            let label = &plan.buffers[operand.view.buffer.0].label;
            let bytes = 4 * operand.view.elements as u64;
            too_large(label, bytes, limits.max_storage_buffer_binding_size)?;
        }
    }
    Ok(())
}
