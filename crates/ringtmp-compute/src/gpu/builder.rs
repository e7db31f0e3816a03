//! What a plan needs on a GPU: buffers, pipelines and bind groups, made once.

use super::Gpu;
use super::choice::Kind;
use super::kernels::{PipelineKey, UNIFORM_WORDS, WORKGROUP, grid, uniform};
use crate::operation::Variant;
use crate::platform;
use crate::recording::{BufferSpec, Instance, Lifetime, Operation, Plan, View};
use std::collections::{BTreeMap, BTreeSet};

/// One operation, ready to be encoded.
pub(super) struct Dispatch {
    /// Its shaders; but one, once it was chosen.
    pub(super) ways: Vec<Way>,
    /// What it is called when shaders are chosen.
    pub(super) kind: Kind,
    /// Where its dimensions are in the uniform buffer.
    pub(super) uniform_offset: u32,
    /// By version, then by slot; one if no operand is a version's, or a slot's.
    groups: Vec<Vec<wgpu::BindGroup>>,
}

/// An operation with one of its shaders.
pub(super) struct Way {
    pub(super) name: &'static str,
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) grid: (u32, u32),
}

impl Dispatch {
    pub(super) fn group(&self, instance: Instance) -> &wgpu::BindGroup {
        let slots = &self.groups[instance.version.min(self.groups.len() - 1)];
        &slots[instance.slot.min(slots.len() - 1)]
    }
}

/// Bytes of so many words, filled up to a whole number of fours: shaders read and write four at a time.
fn in_fours(words: usize) -> u64 {
    16 * (words as u64).div_ceil(4)
}

pub(super) fn create_buffers(device: &wgpu::Device, plan: &Plan) -> Vec<Vec<wgpu::Buffer>> {
    let usage =
        wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let create = |spec: &BufferSpec| {
        let (label, size) = (Some(spec.label.as_str()), in_fours(spec.words));
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
pub(super) struct Builder<'a> {
    gpu: &'a Gpu,
    plan: &'a Plan,
    buffers: &'a [Vec<wgpu::Buffer>],
    limits: wgpu::Limits,
    uniform_layout: wgpu::BindGroupLayout,
    uniform_bytes: u64,
    pipelines: BTreeMap<PipelineKey, wgpu::ComputePipeline>,
    /// Of operands, by which of them may be written: shaders of one operation share its bind groups.
    layouts: BTreeMap<Vec<bool>, wgpu::BindGroupLayout>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(gpu: &'a Gpu, plan: &'a Plan, buffers: &'a [Vec<wgpu::Buffer>]) -> Self {
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
        let (pipelines, layouts) = (BTreeMap::new(), BTreeMap::new());
        Self {
            gpu,
            plan,
            buffers,
            limits,
            uniform_layout,
            uniform_bytes: 0,
            pipelines,
            layouts,
        }
    }

    pub(super) fn uniform_bytes(&self) -> u64 {
        self.uniform_bytes
    }

    pub(super) fn build(&mut self) -> (Vec<Vec<Dispatch>>, wgpu::BindGroup) {
        self.compile();
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
                let kind = Kind::of(operation);
                let variants = self.gpu.candidates(&kind, operation).into_iter();
                let ways = variants.map(|variant| self.way(operation, variant));
                dispatches.push(Dispatch {
                    ways: ways.collect(),
                    kind,
                    uniform_offset,
                    groups: self.bind_groups(operation),
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

    fn way(&self, operation: &Operation, variant: Variant) -> Way {
        let groups_max = self.limits.max_compute_workgroups_per_dimension;
        Way {
            name: variant.name,
            // Since they were compiled, candidates can at most have become fewer.
            pipeline: self.pipelines[&PipelineKey::of(operation, variant)].clone(),
            grid: grid(variant.threads, groups_max),
        }
    }

    fn layout(&mut self, writable: &[bool]) -> wgpu::BindGroupLayout {
        if let Some(layout) = self.layouts.get(writable) {
            return layout.clone();
        }
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
        let entries: Vec<_> = (0..).zip(writable).map(entry).collect();
        let descriptor = wgpu::BindGroupLayoutDescriptor {
            label: Some("operands"),
            entries: &entries,
        };
        let layout = self.gpu.device.create_bind_group_layout(&descriptor);
        self.layouts.insert(writable.to_vec(), layout.clone());
        layout
    }

    /// Compiles what the plan needs, several pipelines at a time.
    fn compile(&mut self) {
        let operations = self.plan.recordings.iter();
        let operations = operations.flat_map(|recording| &recording.operations);
        let keys = operations.flat_map(|operation| {
            let variants = self.gpu.candidates(&Kind::of(operation), operation);
            let variants = variants.into_iter();
            variants.map(|variant| PipelineKey::of(operation, variant))
        });
        let keys: BTreeSet<PipelineKey> = keys.collect();
        let with_layout = |key: PipelineKey| (self.layout(&key.writable), key);
        let keys: Vec<_> = keys.into_iter().map(with_layout).collect();
        let (device, uniform_layout) = (&self.gpu.device, &self.uniform_layout);
        let pipelines = platform::in_parallel(&keys, |(storage, key)| {
            compile(device, [uniform_layout, storage], key)
        });
        let keys = keys.into_iter().map(|(_, key)| key);
        self.pipelines = keys.zip(pipelines).collect();
    }

    /// One group per version and slot, or one for all of them if no operand is a version's or a slot's.
    fn bind_groups(&mut self, operation: &Operation) -> Vec<Vec<wgpu::BindGroup>> {
        let operands = operation.operands();
        let writable = operands.iter().map(|operand| operand.access.writes());
        let layout = self.layout(&writable.collect::<Vec<_>>());
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
                    size: wgpu::BufferSize::new(in_fours(view.elements)),
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

fn compile(
    device: &wgpu::Device,
    layouts: [&wgpu::BindGroupLayout; 2],
    key: &PipelineKey,
) -> wgpu::ComputePipeline {
    let label = Some(key.name);
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label,
        bind_group_layouts: &layouts.map(Some),
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
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: Some(&layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &constants,
            ..Default::default()
        },
        cache: None,
    })
}
