//! A smooth rectifier.

use super::{Keeps, Layer, Site, count};
use crate::cpu;
use crate::operation::{Kernel, Operation};
use crate::recording::{Recording, View};
use serde::{Deserialize, Serialize};

/// y = x Φ(x), with the normal distribution function by its approximation with tanh; `torch.nn.GELU(approximate="tanh")`
/// (Hendrycks and Gimpel, "Gaussian error linear units", 2016).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gelu {}

impl Layer for Gelu {
    fn describe(&self) -> String {
        "gelu".to_owned()
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, String> {
        Ok(input.to_vec())
    }

    /// About ten operations a number forward, twenty backward; an exponential counts as one.
    fn flops(&self, input: &[usize]) -> [f64; 3] {
        [10.0 * count(input), 20.0 * count(input), 0.0]
    }

    fn keeps(&self) -> Keeps {
        Keeps {
            input: true,
            output: false,
            output_gradient: false,
        }
    }

    fn record_forward(&self, site: &Site, recording: &mut Recording) {
        recording.push(gelu(site.input, site.output));
    }

    fn record_backward_input(&self, site: &Site, input_gradient: View, recording: &mut Recording) {
        recording.push(gelu_backward(
            site.input,
            site.output_gradient,
            input_gradient,
        ));
    }
}

/// output = input / (1 + exp(-2u)), with u = sqrt(2/π) (input + 0.044715 input³).
pub fn gelu(input: View, output: View) -> Operation {
    let elements = output.elements;
    let source = include_str!("../../../../shaders/gelu.wgsl");
    Operation::new(
        "gelu",
        [(input, Some(elements))],
        [(output, Some(elements))],
        Kernel::in_fours(source, elements),
        |[input], [output], _| cpu::gelu(input, output),
    )
}

/// `input_gradient` = `output_gradient` (s + 2 input s (1 - s) u'), with s = 1 / (1 + exp(-2u)).
pub fn gelu_backward(input: View, output_gradient: View, input_gradient: View) -> Operation {
    let elements = input_gradient.elements;
    let source = include_str!("../../../../shaders/gelu_backward.wgsl");
    Operation::new(
        "gelu_backward",
        [(input, Some(elements)), (output_gradient, Some(elements))],
        [(input_gradient, Some(elements))],
        Kernel::in_fours(source, elements),
        |[input, output_gradient], [input_gradient], _| {
            cpu::gelu_backward(input, output_gradient, input_gradient);
        },
    )
}
