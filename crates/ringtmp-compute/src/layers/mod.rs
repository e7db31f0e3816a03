//! The layers. One file a layer; [`LayerSpec`] is the table of them.

mod linear;
mod relu;

use crate::recording::{Recording, View};
pub use linear::Linear;
pub use relu::Relu;
use serde::{Deserialize, Serialize};

/// A layer as a run file names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LayerSpec {
    /// A matrix product and a bias.
    Linear(Linear),
    /// What is negative becomes zero.
    Relu(Relu),
}

impl LayerSpec {
    /// The layer behind the name.
    pub fn layer(&self) -> &dyn Layer {
        match self {
            Self::Linear(layer) => layer,
            Self::Relu(layer) => layer,
        }
    }

    /// A [`Linear`] layer.
    pub const fn linear(inputs: usize, outputs: usize) -> Self {
        Self::Linear(Linear { inputs, outputs })
    }

    /// A [`Relu`] layer.
    pub const fn relu() -> Self {
        Self::Relu(Relu {})
    }
}

/// A layer: its shapes, its costs, and the operations of its three passes.
///
/// A layer records operations and computes nothing. What it records may depend on its own sizes and on the number of
/// rows, never on its neighbours or on where the model is cut.
pub trait Layer {
    /// In words, such as "linear 784 → 256".
    fn describe(&self) -> String;

    /// The shape of a sample after the layer; or, in words, the shape that it takes.
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, String>;

    /// What it learns, in the order in which PyTorch's module lists it.
    fn parameters(&self) -> Vec<ParameterSpec>;

    /// Floating-point operations of F, B and W for one sample of this shape.
    fn flops(&self, input: &[usize]) -> [f64; 3];

    /// What has to outlive F for B and W.
    fn keeps(&self) -> Keeps;

    /// F: output from input and parameters.
    fn record_forward(&self, site: &Site, recording: &mut Recording);

    /// B: gradient of the input from gradient of the output, into `input_gradient`.
    fn record_backward_input(&self, site: &Site, input_gradient: View, recording: &mut Recording);

    /// W: adds to the gradients of the parameters.
    fn record_backward_weights(&self, site: &Site, recording: &mut Recording);
}

/// The tensors of F that B and W of a layer read. Others share one buffer over all micro-batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keeps {
    /// Its input.
    pub input: bool,
    /// Its output.
    pub output: bool,
    /// The gradient of its output, from B until W.
    pub output_gradient: bool,
}

/// One tensor that a layer learns.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterSpec {
    /// As PyTorch's module calls it.
    pub name: &'static str,
    /// As PyTorch's module shapes it.
    pub shape: Vec<usize>,
    /// Its first values.
    pub initial: Initial,
}

/// The first values of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// Evenly spread over `-bound..bound`.
    Uniform {
        /// The bound, above zero.
        bound: f32,
    },
}

/// Where a layer stands in a stage: the buffers around it.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its input, (micro-batch, sample shape).
    pub input: View,
    /// Its output.
    pub output: View,
    /// The gradient of its output.
    pub output_gradient: View,
    /// What it learns, in the order of [`Layer::parameters`].
    pub parameters: Vec<View>,
    /// The gradients of what it learns, in the same order.
    pub gradients: Vec<View>,
}
