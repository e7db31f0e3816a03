//! The CPU executor: one function per operation, under the operation's name.
//!
//! Sums run in a fixed order and elementary functions come from `libm`, so that every device computes the same bits.

mod column_sum;
mod cross_entropy;
mod matrix_product;
mod relu;
mod sgd;

use crate::error::ComputeError;
use crate::recording::{MatrixProduct, Operation, Plan, RecordingId, View};

/// A plan's buffers in memory.
pub(crate) struct Memory {
    plan: Plan,
    /// By buffer, then by slot (one for a stage's buffer). Words, which casts turn into floats.
    buffers: Vec<Vec<Vec<u32>>>,
    scratch: matrix_product::Scratch,
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
            plan,
            scratch: matrix_product::Scratch::default(),
        })
    }

    /// Bytes taken.
    pub(crate) fn bytes(&self) -> u64 {
        self.plan.bytes() + self.scratch.bytes()
    }

    /// Fills a view.
    pub(crate) fn write(&mut self, view: View, slot: usize, words: &[u32]) {
        let copy = self.copy_of(view, slot);
        let buffer = &mut self.buffers[view.buffer.0][copy];
        buffer[view.offset..view.offset + view.elements].copy_from_slice(words);
    }

    /// Reads a view.
    pub(crate) fn read(&self, view: View, slot: usize) -> Vec<u32> {
        self.words(view, slot).to_vec()
    }

    /// Plays a recording.
    pub(crate) fn run(&mut self, recording: RecordingId, slot: usize) {
        for i in 0..self.plan.recordings[recording.0].operations.len() {
            let operation = self.plan.recordings[recording.0].operations[i];
            self.operate(operation, slot);
        }
    }

    fn operate(&mut self, operation: Operation, slot: usize) {
        match operation {
            Operation::MatrixProduct(product) => self.multiply(&product, slot),
            Operation::ColumnSum {
                input,
                output,
                columns,
                ..
            } => {
                self.writing([output], slot, |memory, [output]| {
                    column_sum::column_sum(memory.floats(input, slot), output, columns);
                });
            }
            Operation::Relu { input, output } => {
                self.writing([output], slot, |memory, [output]| {
                    relu::relu(memory.floats(input, slot), output);
                });
            }
            Operation::ReluBackward {
                output,
                output_gradient,
                input_gradient,
            } => {
                self.writing([input_gradient], slot, |memory, [input_gradient]| {
                    let output_gradient = memory.floats(output_gradient, slot);
                    relu::relu_backward(
                        memory.floats(output, slot),
                        output_gradient,
                        input_gradient,
                    );
                });
            }
            Operation::CrossEntropy {
                logits,
                labels,
                gradient,
                losses,
                classes,
                scale,
                ..
            } => {
                self.writing([gradient, losses], slot, |memory, [gradient, losses]| {
                    let (logits, labels) =
                        (memory.floats(logits, slot), memory.words(labels, slot));
                    cross_entropy::cross_entropy(logits, labels, gradient, losses, classes, scale);
                });
            }
            Operation::Sgd {
                parameters,
                gradients,
                learning_rate,
            } => {
                self.writing(
                    [parameters, gradients],
                    slot,
                    |_, [parameters, gradients]| {
                        sgd::sgd(parameters, gradients, learning_rate);
                    },
                );
            }
        }
    }

    fn multiply(&mut self, product: &MatrixProduct, slot: usize) {
        let mut scratch = std::mem::take(&mut self.scratch);
        self.writing([product.output], slot, |memory, [output]| {
            let left = memory.floats(product.left, slot);
            let right = memory.floats(product.right, slot);
            let bias = product.bias.map(|bias| memory.floats(bias, slot));
            matrix_product::matrix_product(product, left, right, bias, output, &mut scratch);
        });
        self.scratch = scratch;
    }

    /// Takes the written buffers out while the others are read; a checked plan never uses one of them twice.
    fn writing<const N: usize>(
        &mut self,
        views: [View; N],
        slot: usize,
        compute: impl FnOnce(&Self, [&mut [f32]; N]),
    ) {
        let copies = views.map(|view| self.copy_of(view, slot));
        let mut taken: [Vec<u32>; N] = std::array::from_fn(|i| {
            std::mem::take(&mut self.buffers[views[i].buffer.0][copies[i]])
        });
        let mut each = views.iter().zip(taken.iter_mut()).map(|(view, buffer)| {
            bytemuck::cast_slice_mut(&mut buffer[view.offset..view.offset + view.elements])
        });
        let outputs = std::array::from_fn(|_| each.next().unwrap_or_default());
        compute(self, outputs);
        for ((view, copy), buffer) in views.iter().zip(copies).zip(taken) {
            self.buffers[view.buffer.0][copy] = buffer;
        }
    }

    fn floats(&self, view: View, slot: usize) -> &[f32] {
        bytemuck::cast_slice(self.words(view, slot))
    }

    fn words(&self, view: View, slot: usize) -> &[u32] {
        let buffer = &self.buffers[view.buffer.0][self.copy_of(view, slot)];
        &buffer[view.offset..view.offset + view.elements]
    }

    /// Which copy of its buffer a view means in this slot.
    fn copy_of(&self, view: View, slot: usize) -> usize {
        slot.min(self.buffers[view.buffer.0].len() - 1)
    }
}
