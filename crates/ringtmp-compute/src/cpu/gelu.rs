//! The smooth rectifier and its gradient.

use super::elementary::exp;
use crate::platform::{VectorTask, run_vectorised};

/// The root of 2/π.
const ROOT: f32 = 0.797_884_6;

/// Of the cubic term.
const CUBIC: f32 = 0.044_715;

/// output = input / (1 + exp(-2u)), with u = sqrt(2/π) (input + 0.044715 input³).
pub(crate) fn gelu(input: &[f32], output: &mut [f32]) {
    run_vectorised(Forward { input, output });
}

struct Forward<'a> {
    input: &'a [f32],
    output: &'a mut [f32],
}

impl VectorTask for Forward<'_> {
    #[inline(always)]
    fn run<const LANES: usize>(self) {
        for (output, x) in self.output.iter_mut().zip(self.input) {
            *output = x / (1.0 + exp(minus_2u(*x)));
        }
    }
}

/// `input_gradient` = `output_gradient` (s + 2 input s (1 - s) u'), with s = 1 / (1 + exp(-2u)).
pub(crate) fn gelu_backward(input: &[f32], output_gradient: &[f32], input_gradient: &mut [f32]) {
    run_vectorised(Backward {
        input,
        output_gradient,
        input_gradient,
    });
}

struct Backward<'a> {
    input: &'a [f32],
    output_gradient: &'a [f32],
    input_gradient: &'a mut [f32],
}

impl VectorTask for Backward<'_> {
    #[inline(always)]
    fn run<const LANES: usize>(self) {
        let gradients = self.input_gradient.iter_mut().zip(self.output_gradient);
        for ((input_gradient, output_gradient), x) in gradients.zip(self.input) {
            let s = 1.0 / (1.0 + exp(minus_2u(*x)));
            let slope = ROOT * (1.0 + 3.0 * CUBIC * x * x);
            *input_gradient = output_gradient * (s + 2.0 * x * s * (1.0 - s) * slope);
        }
    }
}

#[inline(always)]
fn minus_2u(x: f32) -> f32 {
    -2.0 * ROOT * (x + CUBIC * x * x * x)
}
