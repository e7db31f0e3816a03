//! Normalisation of each row.

use super::{Initial, Keeps, Layer, ParameterSpec, Site, Workspace, count};
use crate::cpu;
use crate::operation::{Kernel, Operation, Variant, product};
use crate::operations::column_sum;
use crate::operations::{GROUP_COLUMNS, SUMMED_TOGETHER};
use crate::recording::{Lifetime, Recording, View};
use serde::{Deserialize, Serialize};

/// Each row gets mean 0 and variance 1, then a weight and a bias per column; `torch.nn.LayerNorm` (Ba, Kiros and Hinton,
/// "Layer normalization", 2016).
///
/// Letters: R rows, C columns, the last dimension of a sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerNorm {
    /// Numbers of a row (C).
    pub width: usize,
}

impl Layer for LayerNorm {
    fn describe(&self) -> String {
        format!("layer_norm {}", self.width)
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, String> {
        match input.last() {
            Some(last) if *last == self.width => Ok(input.to_vec()),
            _ => Err(format!("[.., {}]", self.width)),
        }
    }

    /// Weight (C), all ones, and bias (C), all zeros.
    fn parameters(&self) -> Vec<ParameterSpec> {
        let parameter = |name: &'static str, value| ParameterSpec {
            name: name.into(),
            shape: vec![self.width],
            initial: Initial::Constant { value },
        };
        vec![parameter("weight", 1.0), parameter("bias", 0.0)]
    }

    /// Operations of each number: sums, differences and products.
    fn flops(&self, input: &[usize]) -> [f64; 3] {
        [7.0, 11.0, 5.0].map(|each| each * count(input))
    }

    fn keeps(&self) -> Keeps {
        Keeps {
            input: true,
            output: false,
            output_gradient: true,
        }
    }

    /// The mean of each row and one over the root of its variance, (R, 2).
    fn workspace(&self, samples: usize, input: &[usize]) -> Vec<Workspace> {
        let rows = samples * input.iter().product::<usize>() / self.width;
        vec![Workspace {
            label: "moments",
            words: 2 * rows,
            lifetime: Lifetime::Slot,
        }]
    }

    fn record_forward(&self, site: &Site, recording: &mut Recording) {
        let [weight, bias] = [site.parameters[0], site.parameters[1]];
        let moments = site.workspace[0];
        recording.push(layer_norm(site.input, weight, bias, site.output, moments));
    }

    fn record_backward_input(&self, site: &Site, input_gradient: View, recording: &mut Recording) {
        recording.push(layer_norm_backward(
            site.input,
            site.workspace[0],
            site.parameters[0],
            site.output_gradient,
            input_gradient,
        ));
    }

    fn record_backward_weights(&self, site: &Site, recording: &mut Recording) {
        let [weight, bias] = [site.gradients[0], site.gradients[1]];
        let (moments, gradient) = (site.workspace[0], site.output_gradient);
        recording.push(layer_norm_backward_weights(
            site.input, moments, gradient, weight,
        ));
        let rows = gradient.elements / self.width;
        recording.push(column_sum(gradient, bias, rows, self.width));
    }
}

/// output (R, C) = weight (C) (input (R, C) - mean) inverse deviation + bias (C); moments (R, 2) = mean, inverse deviation.
pub fn layer_norm(input: View, weight: View, bias: View, output: View, moments: View) -> Operation {
    let columns = weight.elements;
    let rows = moments.elements / 2;
    let size = product([rows, columns]);
    let source = include_str!("../../../../shaders/layer_norm.wgsl");
    let split = Variant::of_groups(
        "layer_norm_split",
        include_str!("../../../../shaders/layer_norm_split.wgsl"),
        rows,
    );
    Operation::new(
        "layer_norm",
        [
            (input, size),
            (weight, Some(columns)),
            (bias, Some(columns)),
        ],
        [(output, size), (moments, product([rows, 2]))],
        Kernel::new(source, &[rows, columns], rows).variant(columns > SUMMED_TOGETHER, split),
        |[input, weight, bias], [output, moments], _| {
            cpu::layer_norm(input, weight, bias, output, moments);
        },
    )
}

/// With x the normalised input and g = weight * `output_gradient`: `input_gradient` = inverse deviation (g - mean(g) - x
/// mean(g x)), means over the row.
pub fn layer_norm_backward(
    input: View,
    moments: View,
    weight: View,
    output_gradient: View,
    input_gradient: View,
) -> Operation {
    let columns = weight.elements;
    let rows = moments.elements / 2;
    let size = product([rows, columns]);
    let source = include_str!("../../../../shaders/layer_norm_backward.wgsl");
    let split = Variant::of_groups(
        "layer_norm_backward_split",
        include_str!("../../../../shaders/layer_norm_backward_split.wgsl"),
        rows,
    );
    Operation::new(
        "layer_norm_backward",
        [
            (input, size),
            (moments, product([rows, 2])),
            (weight, Some(columns)),
            (output_gradient, size),
        ],
        [(input_gradient, size)],
        Kernel::new(source, &[rows, columns], rows).variant(columns > SUMMED_TOGETHER, split),
        |[input, moments, weight, output_gradient], [input_gradient], _| {
            cpu::layer_norm_backward(input, moments, weight, output_gradient, input_gradient);
        },
    )
}

/// `weight_gradient` (C) += the sum over rows of `output_gradient` (R, C) times the normalised input.
pub fn layer_norm_backward_weights(
    input: View,
    moments: View,
    output_gradient: View,
    weight_gradient: View,
) -> Operation {
    let columns = weight_gradient.elements;
    let rows = moments.elements / 2;
    let size = product([rows, columns]);
    let source = include_str!("../../../../shaders/layer_norm_backward_weights.wgsl");
    let split = Variant::of_groups(
        "layer_norm_backward_weights_split",
        include_str!("../../../../shaders/layer_norm_backward_weights_split.wgsl"),
        columns.div_ceil(GROUP_COLUMNS),
    );
    Operation::new(
        "layer_norm_backward_weights",
        [
            (input, size),
            (moments, product([rows, 2])),
            (output_gradient, size),
        ],
        [(weight_gradient, Some(columns))],
        Kernel::new(source, &[rows, columns], columns).variant(rows > SUMMED_TOGETHER, split),
        |[input, moments, output_gradient], [weight_gradient], _| {
            cpu::layer_norm_backward_weights(input, moments, output_gradient, weight_gradient);
        },
    )
}
