//! Numbers left out at random.

use super::{Keeps, Layer, Site, count};
use crate::cpu;
use crate::operation::{Kernel, Operation};
use crate::recording::{Recording, View};
use serde::{Deserialize, Serialize};

/// In training each number becomes zero with a probability, and the others grow so that the mean stays; `torch.nn.Dropout`
/// (Srivastava and others, "Dropout", 2014). In evaluation nothing changes.
///
/// Which numbers is a function of the seed, the layer, the step, the sample and the place in it, never of peer or cut: so a
/// replay leaves out the same, and backward needs no stored mask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// Of being left out; at least 0 and below 1.
    pub probability: f32,
}

impl Dropout {
    fn record(&self, site: &Site, input: View, output: View, recording: &mut Recording) {
        let Some(position) = site.position else {
            unreachable!("a stage has positions where a layer draws");
        };
        let draw = Draw {
            key: site.key,
            sample: output.elements / site.samples,
            probability: self.probability,
        };
        recording.push(dropout(draw, position, input, output));
    }
}

impl Layer for Dropout {
    fn describe(&self) -> String {
        format!("dropout {}", self.probability)
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, String> {
        if (0.0..1.0).contains(&self.probability) {
            Ok(input.to_vec())
        } else {
            Err("any shape, with a probability of at least 0 and below 1".to_owned())
        }
    }

    /// A product of each number, and about thirty operations on whole numbers, which are not counted.
    fn flops(&self, input: &[usize]) -> [f64; 3] {
        [count(input), count(input), 0.0]
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn draws(&self) -> bool {
        true
    }

    fn record_forward(&self, site: &Site, recording: &mut Recording) {
        self.record(site, site.input, site.output, recording);
    }

    fn record_backward_input(&self, site: &Site, input_gradient: View, recording: &mut Recording) {
        self.record(site, site.output_gradient, input_gradient, recording);
    }
}

/// What a mask is drawn from, beside the position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// Of seed and layer.
    pub key: u32,
    /// Numbers of a sample.
    pub sample: usize,
    /// Of being left out.
    pub probability: f32,
}

impl Draw {
    /// A random word below this leaves a number out.
    pub(crate) fn threshold(&self) -> u32 {
        // A product with a power of two is exact, and below 2^32.
        (f64::from(self.probability) * 4_294_967_296.0) as u32
    }

    /// What the numbers that stay are multiplied with.
    pub(crate) fn scale(&self) -> f32 {
        1.0 / (1.0 - self.probability)
    }
}

/// output = 0 or input / (1 - probability), by a hash of key, step, sample and place; output = input where position, (4)
/// unsigned words, says that nothing is left out: 1 for training, the step, the first sample, and 0.
pub fn dropout(draw: Draw, position: View, input: View, output: View) -> Operation {
    let elements = output.elements;
    let source = include_str!("../../../../shaders/dropout.wgsl");
    let sizes = [elements, draw.sample];
    let mut kernel = Kernel::new(source, &sizes, elements).number(draw.scale());
    kernel.dimensions.extend([draw.key, draw.threshold()]);
    Operation::new(
        "dropout",
        [(position, Some(4)), (input, Some(elements))],
        [(output, Some(elements))],
        kernel,
        move |[position, input], [output], _| {
            let position = bytemuck::cast_slice(position);
            cpu::dropout(&draw, position, input, output);
        },
    )
}
