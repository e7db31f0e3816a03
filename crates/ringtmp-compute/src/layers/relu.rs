//! y = max(x, 0).

use super::{Keeps, Layer, ParameterSpec, Site};
use crate::recording::{Operation, Recording, View};
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

    fn parameters(&self) -> Vec<ParameterSpec> {
        Vec::new()
    }

    fn flops(&self, input: &[usize]) -> [f64; 3] {
        let elements = input.iter().map(|size| *size as f64).product();
        [elements, elements, 0.0]
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
        recording.push(Operation::Relu {
            input: site.input,
            output: site.output,
        });
    }

    /// dx = dy where y > 0, else 0.
    fn record_backward_input(&self, site: &Site, input_gradient: View, recording: &mut Recording) {
        recording.push(Operation::ReluBackward {
            output: site.output,
            output_gradient: site.output_gradient,
            input_gradient,
        });
    }

    fn record_backward_weights(&self, _site: &Site, _recording: &mut Recording) {}
}
