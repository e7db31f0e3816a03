//! y = max(x, 0).

use super::{Keeps, Layer, Site, count};
use crate::cpu;
use crate::operation::{Kernel, Operation};
use crate::recording::{Recording, View};
use serde::{Deserialize, Serialize};

/// What is negative becomes zero; `torch.nn.ReLU`. The gradient at zero is zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relu {}

impl Layer for Relu {
    fn describe(&self) -> String {
        "relu".to_owned()
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, String> {
        Ok(input.to_vec())
    }

    fn flops(&self, input: &[usize]) -> [f64; 3] {
        [count(input), count(input), 0.0]
    }

    /// The output rather than the input: the layer after it most likely keeps that as well, and they share it.
    fn keeps(&self) -> Keeps {
        Keeps {
            input: false,
            output: true,
            output_gradient: false,
        }
    }

    /// y = x where x > 0, else 0.
    fn record_forward(&self, site: &Site, recording: &mut Recording) {
        recording.push(relu(site.input, site.output));
    }

    /// dx = dy where y > 0, else 0.
    fn record_backward_input(&self, site: &Site, input_gradient: View, recording: &mut Recording) {
        recording.push(relu_backward(
            site.output,
            site.output_gradient,
            input_gradient,
        ));
    }
}

/// output = input where it is above zero, else zero.
pub fn relu(input: View, output: View) -> Operation {
    let elements = output.elements;
    let source = include_str!("../../../../shaders/relu.wgsl");
    Operation::new(
        "relu",
        [(input, Some(elements))],
        [(output, Some(elements))],
        Kernel::in_fours(source, elements),
        |[input], [output], _| cpu::relu(input, output),
    )
}

/// `input_gradient` = `output_gradient` where output is above zero, else zero.
pub fn relu_backward(output: View, output_gradient: View, input_gradient: View) -> Operation {
    let elements = input_gradient.elements;
    let source = include_str!("../../../../shaders/relu_backward.wgsl");
    Operation::new(
        "relu_backward",
        [(output, Some(elements)), (output_gradient, Some(elements))],
        [(input_gradient, Some(elements))],
        Kernel::in_fours(source, elements),
        |[output, output_gradient], [input_gradient], _| {
            cpu::relu_backward(output, output_gradient, input_gradient);
        },
    )
}
