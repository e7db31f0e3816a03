//! Tokens become vectors.

use super::{Initial, Keeps, Layer, ParameterSpec, Site, count};
use crate::cpu;
use crate::operation::{Kernel, Operation, product};
use crate::operations::column_sum;
use crate::recording::{Recording, View};
use serde::{Deserialize, Serialize};

/// A learnt vector for each token plus one for each position, as the first layer of a model; `Embed` of the twins.
///
/// Letters: N samples, T tokens of a sample, D width, V vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    /// Tokens there are (V).
    pub vocabulary: usize,
    /// The most tokens of a sample.
    pub context: usize,
    /// Numbers of a token's vector (D).
    pub width: usize,
}

impl Embedding {
    /// The rows of a position embedding that are used, (T, D).
    fn positions(&self, site: &Site, whole: View) -> View {
        let tokens = site.input.elements / site.samples;
        View {
            elements: tokens * self.width,
            ..whole
        }
    }
}

impl Layer for Embedding {
    fn describe(&self) -> String {
        format!("embedding {} → {}", self.vocabulary, self.width)
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, String> {
        match *input {
            [tokens] if tokens <= self.context => Ok(vec![tokens, self.width]),
            _ => Err(format!("[up to {} tokens]", self.context)),
        }
    }

    /// Tokens (V, D) and positions (T, D), normally distributed, as `torch.nn.Embedding` begins.
    fn parameters(&self) -> Vec<ParameterSpec> {
        let parameter = |name: &'static str, rows| ParameterSpec {
            name: name.into(),
            shape: vec![rows, self.width],
            initial: Initial::Normal { deviation: 1.0 },
        };
        vec![
            parameter("wte.weight", self.vocabulary),
            parameter("wpe.weight", self.context),
        ]
    }

    fn flops(&self, input: &[usize]) -> [f64; 3] {
        let outputs = count(input) * self.width as f64;
        [outputs, 0.0, 2.0 * outputs]
    }

    fn keeps(&self) -> Keeps {
        Keeps {
            input: true,
            output: false,
            output_gradient: true,
        }
    }

    fn tokens(&self) -> Option<usize> {
        Some(self.vocabulary)
    }

    fn record_forward(&self, site: &Site, recording: &mut Recording) {
        let positions = self.positions(site, site.parameters[1]);
        let table = site.parameters[0];
        recording.push(embedding(
            self.width,
            site.input,
            table,
            positions,
            site.output,
        ));
    }

    /// Tokens have no gradient.
    fn record_backward_input(&self, _site: &Site, _gradient: View, _recording: &mut Recording) {}

    fn record_backward_weights(&self, site: &Site, recording: &mut Recording) {
        let gradient = site.output_gradient;
        recording.push(embedding_backward(
            self.width,
            site.input,
            gradient,
            site.gradients[0],
        ));
        let positions = self.positions(site, site.gradients[1]);
        let columns = positions.elements;
        recording.push(column_sum(gradient, positions, site.samples, columns));
    }
}

/// output (N, T, D) = table (V, D) \[tokens (N, T)\] + positions (T, D); tokens are unsigned and below V.
pub fn embedding(
    width: usize,
    tokens: View,
    table: View,
    positions: View,
    output: View,
) -> Operation {
    let rows = tokens.elements;
    let length = positions.elements / width;
    let source = include_str!("../../../../shaders/embedding.wgsl");
    Operation::new(
        "embedding",
        [
            (tokens, Some(rows)),
            (table, product([table.elements / width, width])),
            (positions, product([length, width])),
        ],
        [(output, product([rows, width]))],
        Kernel::new(source, &[rows, length, width], output.elements),
        move |[tokens, table, positions], [output], _| {
            let tokens = bytemuck::cast_slice(tokens);
            cpu::embedding(width, tokens, table, positions, output);
        },
    )
}

/// `table_gradient` (V, D) += the sum of `output_gradient` (N, T, D) over the places of each token.
pub fn embedding_backward(
    width: usize,
    tokens: View,
    output_gradient: View,
    table_gradient: View,
) -> Operation {
    let rows = tokens.elements;
    let vocabulary = table_gradient.elements / width;
    let source = include_str!("../../../../shaders/embedding_backward.wgsl");
    Operation::new(
        "embedding_backward",
        [
            (tokens, Some(rows)),
            (output_gradient, product([rows, width])),
        ],
        [(table_gradient, product([vocabulary, width]))],
        Kernel::new(source, &[rows, vocabulary, width], table_gradient.elements),
        move |[tokens, output_gradient], [table_gradient], _| {
            let tokens = bytemuck::cast_slice(tokens);
            cpu::embedding_backward(width, tokens, output_gradient, table_gradient);
        },
    )
}
