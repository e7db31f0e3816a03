//! The layers. One file a layer; [`LayerSpec`] is the table of them.

pub mod causal_attention;
pub mod conv2d;
pub mod dropout;
pub mod embedding;
pub mod flatten;
pub mod gelu;
pub mod layer_norm;
pub mod linear;
pub mod max_pool2d;
pub mod relu;
mod residual;
pub mod transformer;

use crate::recording::{Lifetime, Recording, View};
use causal_attention::CausalAttention;
use conv2d::Conv2d;
use dropout::Dropout;
use embedding::Embedding;
use flatten::Flatten;
use gelu::Gelu;
use layer_norm::LayerNorm;
use linear::Linear;
use max_pool2d::MaxPool2d;
use relu::Relu;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use transformer::{TransformerAttention, TransformerMlp};

/// Makes [`LayerSpec`] and the way from a name to its layer.
macro_rules! table {
    ($($layer:ident: $doc:literal,)*) => {
        /// A layer as a run file names it.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        pub enum LayerSpec {
            $(#[doc = $doc] $layer($layer),)*
        }

        impl LayerSpec {
            /// The layer behind the name.
            pub fn layer(&self) -> &dyn Layer {
                match self {
                    $(Self::$layer(layer) => layer,)*
                }
            }
        }

        $(impl From<$layer> for LayerSpec {
            fn from(layer: $layer) -> Self {
                Self::$layer(layer)
            }
        })*
    };
}

table! {
    CausalAttention: "Each token looks at those up to itself.",
    Conv2d: "A convolution over images.",
    Dropout: "Numbers left out at random in training.",
    Embedding: "Tokens become vectors; the first layer of a model.",
    Flatten: "A sample's dimensions become one.",
    Gelu: "A smooth rectifier.",
    LayerNorm: "Rows get mean 0 and variance 1.",
    Linear: "A matrix product and a bias.",
    MaxPool2d: "The largest of each square of an image.",
    Relu: "What is negative becomes zero.",
    TransformerAttention: "The first half of a transformer block.",
    TransformerMlp: "The second half of a transformer block.",
}

impl LayerSpec {
    /// A [`Linear`] layer with a bias.
    pub const fn linear(inputs: usize, outputs: usize) -> Self {
        Self::Linear(Linear {
            inputs,
            outputs,
            bias: true,
        })
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
    fn parameters(&self) -> Vec<ParameterSpec> {
        Vec::new()
    }

    /// Floating-point operations of F, B and W for one sample of this shape.
    fn flops(&self, input: &[usize]) -> [f64; 3];

    /// What has to outlive F for B and W.
    fn keeps(&self) -> Keeps;

    /// Memory of its own for so many samples of this shape.
    fn workspace(&self, _samples: usize, _input: &[usize]) -> Vec<Workspace> {
        Vec::new()
    }

    /// Whether its output is its input under another shape: it records nothing, and both are one buffer.
    fn only_reshapes(&self) -> bool {
        false
    }

    /// How many tokens it knows, if its input is tokens (unsigned, each below this) and not numbers: it is then the first layer.
    fn tokens(&self) -> Option<usize> {
        None
    }

    /// Whether PyTorch's twin has it in one module with the layer before it.
    fn joins(&self, _before: &LayerSpec) -> bool {
        false
    }

    /// Whether it draws at random, so that a stage has to know the step and the samples of each micro-batch.
    fn draws(&self) -> bool {
        false
    }

    /// F: output from input and parameters.
    fn record_forward(&self, site: &Site, recording: &mut Recording);

    /// B: gradient of the input from gradient of the output, into `input_gradient`.
    fn record_backward_input(&self, site: &Site, input_gradient: View, recording: &mut Recording);

    /// W: adds to the gradients of the parameters.
    fn record_backward_weights(&self, _site: &Site, _recording: &mut Recording) {}
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

/// Memory that a layer has for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// For people.
    pub label: &'static str,
    /// Words of 32 bits.
    pub words: usize,
    /// A slot's if it outlives a task.
    pub lifetime: Lifetime,
}

/// One tensor that a layer learns.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterSpec {
    /// As PyTorch's module calls it.
    pub name: Cow<'static, str>,
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
    /// Normally distributed around zero.
    Normal {
        /// The root of the variance.
        deviation: f32,
    },
    /// All the same.
    Constant {
        /// This.
        value: f32,
    },
}

impl Initial {
    /// As `torch.nn.Linear` and `torch.nn.Conv2d` begin, if so many numbers go into each output.
    pub(crate) fn fan_in(inputs: usize) -> Self {
        Self::Uniform {
            bound: 1.0 / (inputs as f32).sqrt(),
        }
    }
}

/// Where a layer stands in a stage: the buffers around it.
#[derive(Clone, Debug)]
pub struct Site {
    /// Samples of a micro-batch.
    pub samples: usize,
    /// The shape of one sample before the layer.
    pub shape: Vec<usize>,
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
    /// Its memory, in the order of [`Layer::workspace`].
    pub workspace: Vec<View>,
    /// Where the micro-batch stands in the run, see [`dropout::dropout`]; in a stage with a layer that [`Layer::draws`].
    pub position: Option<View>,
    /// What it draws from beside the position: a hash of the seed and the place of the layer in the model.
    pub key: u32,
}

/// The product of a sample's shape, for costs.
fn count(shape: &[usize]) -> f64 {
    shape.iter().map(|size| *size as f64).product()
}
