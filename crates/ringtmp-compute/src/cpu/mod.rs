//! The CPU executor: one function per operation, under the operation's name.
//!
//! Sums run in a fixed order and elementary functions come from `libm`, so that every device computes the same bits, unless a
//! plan lets it fuse ([`Arithmetic`]).

mod add;
mod attention;
mod column_sum;
mod conv2d;
mod cross_entropy;
mod dropout;
mod elementary;
mod embedding;
mod gelu;
mod layer_norm;
mod matrix_product;
mod max_pool2d;
mod optimizers;
mod packing;
mod random;
mod relu;
mod squared_error;

use crate::error::ComputeError;
use crate::operation::{Call, Operand};
use crate::recording::{Arithmetic, BufferId, Instance, Operation, Plan, RecordingId, View};
use std::ops::Range;

pub(crate) use add::add;
pub(crate) use attention::{
    attention, attention_backward_keys_values, attention_backward_queries, attention_products,
};
pub(crate) use column_sum::column_sum;
pub(crate) use conv2d::{channel_sum, conv2d, conv2d_backward_input, conv2d_backward_weights};
pub(crate) use cross_entropy::cross_entropy;
pub(crate) use dropout::dropout;
pub(crate) use embedding::{embedding, embedding_backward};
pub(crate) use gelu::{gelu, gelu_backward};
pub(crate) use layer_norm::{layer_norm, layer_norm_backward, layer_norm_backward_weights};
use matrix_product::Multiplier;
pub(crate) use matrix_product::matrix_product;
pub(crate) use max_pool2d::{max_pool2d, max_pool2d_backward};
pub(crate) use optimizers::{adam, momentum, sgd, square_sums};
pub(crate) use packing::{int8_scales, pack_f16, pack_int8, unpack_f16, unpack_int8};
pub(crate) use relu::{relu, relu_backward};
pub(crate) use squared_error::squared_error;

/// Memory for what an operation makes on its way, kept from one to the next; as large as the largest so far.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    multiplier: Multiplier,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Scratch {
    fn new(arithmetic: Arithmetic) -> Self {
        Self {
            multiplier: Multiplier::new(arithmetic),
            ..Self::default()
        }
    }

    fn bytes(&self) -> u64 {
        self.multiplier.bytes() + 4 * (self.first.capacity() + self.second.capacity()) as u64
    }
}

/// A plan's buffers in memory.
pub(crate) struct Memory {
    plan: Plan,
    /// By buffer, then by copy. Words, which casts turn into floats.
    buffers: Vec<Vec<Vec<u32>>>,
    scratch: Scratch,
}

impl Memory {
    /// Takes the memory that a checked plan asks for.
    pub(crate) fn new(plan: Plan) -> Result<Self, ComputeError> {
        let bytes = plan.bytes();
        let zeros = |words: usize| {
            let mut buffer = Vec::new();
            let taken = buffer.try_reserve_exact(words);
            taken.map_err(|_| ComputeError::OutOfMemory { bytes })?;
            buffer.resize(words, 0);
            Ok(buffer)
        };
        let copies = |spec| (0..plan.copies(spec)).map(|_| zeros(spec.words)).collect();
        let buffers: Result<_, ComputeError> = plan.buffers.iter().map(copies).collect();
        Ok(Self {
            buffers: buffers?,
            scratch: Scratch::new(plan.arithmetic),
            plan,
        })
    }

    /// Bytes taken.
    pub(crate) fn bytes(&self) -> u64 {
        self.plan.bytes() + self.scratch.bytes()
    }

    /// Fills a view.
    pub(crate) fn write(&mut self, view: View, instance: Instance, words: &[u32]) {
        let copy = self.plan.copy_of(view.buffer, instance);
        let buffer = &mut self.buffers[view.buffer.0][copy];
        buffer[range(view)].copy_from_slice(words);
    }

    /// Copies a buffer.
    pub(crate) fn copy(&mut self, buffer: BufferId, from: Instance, to: Instance) {
        let [from, to] = [from, to].map(|instance| self.plan.copy_of(buffer, instance));
        if let Ok([from, to]) = self.buffers[buffer.0].get_disjoint_mut([from, to]) {
            to.copy_from_slice(from);
        }
    }

    /// Reads views.
    pub(crate) fn read_all(&self, instance: Instance, views: &[View]) -> Vec<Vec<u32>> {
        let read = |view: &View| {
            let copy = self.plan.copy_of(view.buffer, instance);
            self.buffers[view.buffer.0][copy][range(*view)].to_vec()
        };
        views.iter().map(read).collect()
    }

    /// Plays a recording.
    pub(crate) fn run(&mut self, recording: RecordingId, instance: Instance) {
        let Self {
            plan,
            buffers,
            scratch,
        } = self;
        let copy_of = |view: View| plan.copy_of(view.buffer, instance);
        for operation in &plan.recordings[recording.0].operations {
            operate(operation, copy_of, buffers, scratch);
        }
    }
}

fn range(view: View) -> Range<usize> {
    view.offset..view.offset + view.elements
}

/// Takes the written buffers out while the others are read; a checked plan never uses one of them twice.
fn operate(
    operation: &Operation,
    copy_of: impl Fn(View) -> usize,
    buffers: &mut [Vec<Vec<u32>>],
    scratch: &mut Scratch,
) {
    let (written, read): (Vec<&Operand>, Vec<&Operand>) = operation
        .operands()
        .iter()
        .partition(|operand| operand.access.writes());
    let mut taken: Vec<_> = written
        .iter()
        .map(|operand| {
            let copy = copy_of(operand.view);
            std::mem::take(&mut buffers[operand.view.buffer.0][copy])
        })
        .collect();
    let reads = read.iter().map(|operand| {
        let buffer = &buffers[operand.view.buffer.0][copy_of(operand.view)];
        bytemuck::cast_slice(&buffer[range(operand.view)])
    });
    let writes = written
        .iter()
        .zip(&mut taken)
        .map(|(operand, buffer)| bytemuck::cast_slice_mut(&mut buffer[range(operand.view)]));
    operation.call(Call {
        reads: reads.collect(),
        writes: writes.collect(),
        scratch,
    });
    for (operand, buffer) in written.iter().zip(taken) {
        let copy = copy_of(operand.view);
        buffers[operand.view.buffer.0][copy] = buffer;
    }
}
