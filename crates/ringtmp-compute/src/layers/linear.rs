//! y = x Wᵀ + b.

use super::{Initial, Keeps, Layer, ParameterSpec, Site, count};
use crate::operations::{MatrixProduct, column_sum};
use crate::recording::{Recording, View};
use serde::{Deserialize, Serialize};

/// A matrix product and a bias over the last dimension of a sample; `torch.nn.Linear`.
///
/// Letters: R rows (micro-batch times the outer dimensions of a sample), I inputs, O outputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Numbers of a row before it (I).
    pub inputs: usize,
    /// Numbers of a row after it (O).
    pub outputs: usize,
    /// Whether it has a bias.
    #[serde(default = "with_bias")]
    pub bias: bool,
}

fn with_bias() -> bool {
    true
}

impl Layer for Linear {
    fn describe(&self) -> String {
        format!("linear {} → {}", self.inputs, self.outputs)
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, String> {
        match input.split_last() {
            Some((last, outer)) if *last == self.inputs => {
                Ok(outer.iter().copied().chain([self.outputs]).collect())
            }
            _ => Err(format!("[.., {}]", self.inputs)),
        }
    }

    /// Weight (O, I) and bias (O), both within one over the root of I, as `torch.nn.Linear` begins.
    fn parameters(&self) -> Vec<ParameterSpec> {
        let initial = Initial::fan_in(self.inputs);
        let weight = ParameterSpec {
            name: "weight".into(),
            shape: vec![self.outputs, self.inputs],
            initial,
        };
        let bias = ParameterSpec {
            name: "bias".into(),
            shape: vec![self.outputs],
            initial,
        };
        [weight]
            .into_iter()
            .chain(self.bias.then_some(bias))
            .collect()
    }

    /// A multiplication and an addition for each weight and row, in each of the three passes.
    fn flops(&self, input: &[usize]) -> [f64; 3] {
        [2.0 * count(input) * self.outputs as f64; 3]
    }

    fn keeps(&self) -> Keeps {
        Keeps {
            input: true,
            output: false,
            output_gradient: true,
        }
    }

    /// y (R, O) = x (R, I) Wᵀ (I, O) + b (O).
    fn record_forward(&self, site: &Site, recording: &mut Recording) {
        recording.push(MatrixProduct {
            left: site.input,
            right: site.parameters[0],
            bias: site.parameters.get(1).copied(),
            output: site.output,
            rows: self.rows(site),
            columns: self.outputs,
            inner: self.inputs,
            transpose_left: false,
            transpose_right: true,
            accumulate: false,
        });
    }

    /// dx (R, I) = dy (R, O) W (O, I).
    fn record_backward_input(&self, site: &Site, input_gradient: View, recording: &mut Recording) {
        recording.push(MatrixProduct {
            left: site.output_gradient,
            right: site.parameters[0],
            bias: None,
            output: input_gradient,
            rows: self.rows(site),
            columns: self.inputs,
            inner: self.outputs,
            transpose_left: false,
            transpose_right: false,
            accumulate: false,
        });
    }

    /// dW (O, I) += dyᵀ (O, R) x (R, I); db (O) += the sum of the rows of dy.
    fn record_backward_weights(&self, site: &Site, recording: &mut Recording) {
        recording.push(MatrixProduct {
            left: site.output_gradient,
            right: site.input,
            bias: None,
            output: site.gradients[0],
            rows: self.outputs,
            columns: self.inputs,
            inner: self.rows(site),
            transpose_left: true,
            transpose_right: false,
            accumulate: true,
        });
        if let Some(bias_gradient) = site.gradients.get(1) {
            recording.push(column_sum(
                site.output_gradient,
                *bias_gradient,
                self.rows(site),
                self.outputs,
            ));
        }
    }
}

impl Linear {
    /// R.
    fn rows(&self, site: &Site) -> usize {
        site.input.elements / self.inputs
    }
}
