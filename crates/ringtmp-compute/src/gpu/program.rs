//! A plan on a GPU: buffers, pipelines and bind groups, made once.

use super::Gpu;
use super::faults::scoped;
use super::kernels::{PipelineKey, UNIFORM_WORDS, WORKGROUP, grid, uniform};
use super::read_back::Staging;
use crate::error::ComputeError;
use crate::platform;
use crate::recording::{
    BufferId, BufferSpec, Instance, Lifetime, Operation, Plan, RecordingId, View,
};
use futures::channel::oneshot;
use std::collections::BTreeMap;

/// The most recordings that are submitted before one waits for the GPU: it bounds what is queued when a caller asks for
/// nothing back, and is far more than keeps a GPU busy.
const SUBMISSIONS_MAX: u32 = 32;

/// A plan's buffers, pipelines and bind groups on a GPU.
pub(crate) struct Program {
    gpu: Gpu,
    plan: Plan,
    /// By buffer, then by copy.
    buffers: Vec<Vec<wgpu::Buffer>>,
    uniforms: wgpu::BindGroup,
    uniform_bytes: u64,
    /// By recording.
    recordings: Vec<Vec<Dispatch>>,
    /// For results of tasks; as large as the largest so far. Absent while a task uses it, so that a task that is cancelled
    /// takes it along, mapped or not.
    staging: Option<Staging>,
    /// Recordings submitted since one last waited.
    submissions: u32,
}

/// One operation, ready to be encoded.
struct Dispatch {
    pipeline: wgpu::ComputePipeline,
    /// Where its dimensions are in the uniform buffer.
    uniform_offset: u32,
    /// By version, then by slot; one if no operand is a version's, or a slot's.
    groups: Vec<Vec<wgpu::BindGroup>>,
    grid: (u32, u32),
}

impl Dispatch {
    fn group(&self, instance: Instance) -> &wgpu::BindGroup {
        let slots = &self.groups[instance.version.min(self.groups.len() - 1)];
        &slots[instance.slot.min(slots.len() - 1)]
    }
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
        let uniform_bytes = builder.uniform_bytes;
        let (staging, submissions) = (None, 0);
        let mut program = Self {
            gpu,
            plan,
            buffers,
            uniforms,
            uniform_bytes,
            recordings,
            staging,
            submissions,
        };
        program.warm_up().await?;
        Ok(program)
    }

    /// Bytes it takes.
    pub(crate) fn bytes(&self) -> u64 {
        self.plan.bytes() + self.uniform_bytes + self.staging.as_ref().map_or(0, Staging::size)
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
        self.gpu.faults.check(self.bytes())?;
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        self.encode(recording, instance, &mut encoder);
        if views.is_empty() {
            self.gpu.queue.submit([encoder.finish()]);
            self.submissions += 1;
            if self.submissions >= SUBMISSIONS_MAX {
                self.idle().await?;
            }
            return Ok(Vec::new());
        }
        let bytes = view_bytes(views);
        let kept = self
            .staging
            .take()
            .filter(|staging| staging.size() >= bytes);
        let staging = kept.unwrap_or_else(|| Staging::new(&self.gpu, bytes));
        self.copy_out(instance, views, &staging, &mut encoder);
        self.gpu.queue.submit([encoder.finish()]);
        self.submissions = 0;
        let results = staging.read(&self.gpu, &view_words(views)).await?;
        self.staging = Some(staging);
        Ok(results)
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
        self.gpu.queue.submit([encoder.finish()]);
        staging.read(&self.gpu, &view_words(views)).await
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
            pass.set_pipeline(&dispatch.pipeline);
            pass.set_bind_group(0, &self.uniforms, &[dispatch.uniform_offset]);
            pass.set_bind_group(1, dispatch.group(instance), &[]);
            pass.dispatch_workgroups(dispatch.grid.0, dispatch.grid.1, 1);
        }
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

    /// Plays every recording once on zeros, since drivers compile a pipeline when it is first used; then clears the traces.
    async fn warm_up(&mut self) -> Result<(), ComputeError> {
        for recording in 0..self.recordings.len() {
            self.run(RecordingId(recording), Instance::default(), &[])
                .await?;
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
    async fn idle(&mut self) -> Result<(), ComputeError> {
        let (done, finished) = oneshot::channel();
        self.gpu.queue.on_submitted_work_done(move || {
            // Nobody waits any more if the task was cancelled.
            let _ = done.send(());
        });
        platform::wait_for_gpu(&self.gpu.device)?;
        let finished = finished.await;
        self.submissions = 0;
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

fn create_buffers(device: &wgpu::Device, plan: &Plan) -> Vec<Vec<wgpu::Buffer>> {
    let usage =
        wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let create = |spec: &BufferSpec| {
        let (label, size) = (Some(spec.label.as_str()), 4 * spec.words as u64);
        device.create_buffer(&wgpu::BufferDescriptor {
            label,
            size,
            usage,
            mapped_at_creation: false,
        })
    };
    plan.buffers
        .iter()
        .map(|spec| (0..plan.copies(spec)).map(|_| create(spec)).collect())
        .collect()
}

/// Makes pipelines, bind groups and the uniform buffer.
struct Builder<'a> {
    gpu: &'a Gpu,
    plan: &'a Plan,
    buffers: &'a [Vec<wgpu::Buffer>],
    limits: wgpu::Limits,
    uniform_layout: wgpu::BindGroupLayout,
    uniform_bytes: u64,
    pipelines: BTreeMap<PipelineKey, wgpu::ComputePipeline>,
}

impl<'a> Builder<'a> {
    fn new(gpu: &'a Gpu, plan: &'a Plan, buffers: &'a [Vec<wgpu::Buffer>]) -> Self {
        let entry = wgpu::BindGroupLayoutEntry {
            binding: 0,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Uniform,
                has_dynamic_offset: true,
                min_binding_size: wgpu::BufferSize::new(4 * UNIFORM_WORDS as u64),
            },
            count: None,
        };
        let descriptor = wgpu::BindGroupLayoutDescriptor {
            label: Some("dimensions"),
            entries: &[entry],
        };
        let uniform_layout = gpu.device.create_bind_group_layout(&descriptor);
        let limits = gpu.device.limits();
        let pipelines = BTreeMap::new();
        Self {
            gpu,
            plan,
            buffers,
            limits,
            uniform_layout,
            uniform_bytes: 0,
            pipelines,
        }
    }

    fn build(&mut self) -> (Vec<Vec<Dispatch>>, wgpu::BindGroup) {
        let block = 4 * UNIFORM_WORDS;
        let stride =
            block.next_multiple_of(self.limits.min_uniform_buffer_offset_alignment as usize);
        let mut uniforms: Vec<u32> = Vec::new();
        let mut recordings = Vec::new();
        for recording in &self.plan.recordings {
            let mut dispatches = Vec::new();
            for operation in &recording.operations {
                let uniform_offset = 4 * uniforms.len() as u32;
                uniforms.extend_from_slice(&uniform(operation));
                uniforms.resize(uniform_offset as usize / 4 + stride / 4, 0);
                let pipeline = self.pipeline(&PipelineKey::of(operation));
                let groups = self.bind_groups(operation, &pipeline);
                let grid = grid(
                    operation.kernel().threads,
                    self.limits.max_compute_workgroups_per_dimension,
                );
                dispatches.push(Dispatch {
                    pipeline,
                    uniform_offset,
                    groups,
                    grid,
                });
            }
            recordings.push(dispatches);
        }
        // A buffer of no bytes cannot be bound.
        uniforms.resize(uniforms.len().max(UNIFORM_WORDS), 0);
        self.uniform_bytes = 4 * uniforms.len() as u64;
        (recordings, self.uniform_group(&uniforms))
    }

    fn uniform_group(&self, words: &[u32]) -> wgpu::BindGroup {
        let buffer = self.gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("dimensions"),
            size: self.uniform_bytes,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.gpu
            .queue
            .write_buffer(&buffer, 0, bytemuck::cast_slice(words));
        let block = wgpu::BufferBinding {
            buffer: &buffer,
            offset: 0,
            size: wgpu::BufferSize::new(4 * UNIFORM_WORDS as u64),
        };
        self.gpu
            .device
            .create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("dimensions"),
                layout: &self.uniform_layout,
                entries: &[wgpu::BindGroupEntry {
                    binding: 0,
                    resource: wgpu::BindingResource::Buffer(block),
                }],
            })
    }

    fn pipeline(&mut self, key: &PipelineKey) -> wgpu::ComputePipeline {
        if let Some(pipeline) = self.pipelines.get(key) {
            return pipeline.clone();
        }
        let device = &self.gpu.device;
        let entry = |(binding, writable): (u32, &bool)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Storage {
                    read_only: !writable,
                },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        };
        let entries: Vec<_> = (0..).zip(&key.writable).map(entry).collect();
        let label = Some(key.name);
        let storage = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label,
            entries: &entries,
        });
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&self.uniform_layout), Some(&storage)],
            immediate_size: 0,
        });
        let source = wgpu::ShaderSource::Wgsl(key.source.into());
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label, source });
        let switches = key
            .constants
            .iter()
            .map(|(name, value)| (*name, f64::from(*value)));
        let constants: Vec<_> = switches
            .chain([("WORKGROUP", f64::from(WORKGROUP))])
            .collect();
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                ..Default::default()
            },
            cache: None,
        });
        self.pipelines.insert(key.clone(), pipeline.clone());
        pipeline
    }

    /// One group per version and slot, or one for all of them if no operand is a version's or a slot's.
    fn bind_groups(
        &self,
        operation: &Operation,
        pipeline: &wgpu::ComputePipeline,
    ) -> Vec<Vec<wgpu::BindGroup>> {
        let operands = operation.operands();
        let layout = pipeline.get_bind_group_layout(1);
        let copies = |lifetime: Lifetime| {
            let buffers = operands
                .iter()
                .map(|operand| &self.plan.buffers[operand.view.buffer.0]);
            let own = buffers.filter(|buffer| buffer.lifetime == lifetime);
            own.map(|buffer| self.plan.copies(buffer))
                .max()
                .unwrap_or(1)
        };
        let group = |instance: Instance| {
            let entry = |(binding, view): (u32, View)| {
                let copy = self.plan.copy_of(view.buffer, instance);
                let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &self.buffers[view.buffer.0][copy],
                    offset: 4 * view.offset as u64,
                    size: wgpu::BufferSize::new(4 * view.elements as u64),
                });
                wgpu::BindGroupEntry { binding, resource }
            };
            let views = operands.iter().map(|operand| operand.view);
            let entries: Vec<_> = (0..).zip(views).map(entry).collect();
            let label = Some(operation.name());
            let descriptor = wgpu::BindGroupDescriptor {
                label,
                layout: &layout,
                entries: &entries,
            };
            self.gpu.device.create_bind_group(&descriptor)
        };
        let slots = copies(Lifetime::Slot);
        let groups = |version| (0..slots).map(move |slot| Instance { slot, version });
        (0..copies(Lifetime::Version))
            .map(|version| groups(version).map(group).collect())
            .collect()
    }
}
