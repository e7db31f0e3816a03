//! The halves of a transformer block.
//!
//! A block is two layers, so that a model may be cut between them; [`crate::ModelSpec::modules`] counts them as the one
//! module that PyTorch's twin has, in which the names of their parameters differ.

use super::causal_attention::CausalAttention;
use super::gelu::Gelu;
use super::layer_norm::LayerNorm;
use super::residual::Residual;
use super::{Keeps, Layer, LayerSpec, ParameterSpec, Site, Workspace};
use crate::recording::{Recording, View};
use serde::{Deserialize, Serialize};

/// The first half of a block: y = x + `c_proj`(attention(`c_attn`(`ln_1`(x)))), over (T, D), tokens and width.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerAttention {
    /// Numbers of a token's vector (D).
    pub width: usize,
    /// Heads, which divide the width.
    pub heads: usize,
}

/// The second half of a block: y = x + `c_proj`(gelu(`c_fc`(`ln_2`(x)))), over (T, D), through a width of 4D.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerMlp {
    /// Numbers of a token's vector (D).
    pub width: usize,
}

impl TransformerAttention {
    fn residual(&self) -> Residual {
        let Self { width, heads } = *self;
        Residual {
            links: vec![
                ("ln_1", LayerNorm { width }.into()),
                (
                    "attn.c_attn",
                    LayerSpec::linear(width, width.saturating_mul(3)),
                ),
                ("attn", CausalAttention { width, heads }.into()),
                ("attn.c_proj", LayerSpec::linear(width, width)),
            ],
        }
    }
}

impl TransformerMlp {
    fn residual(&self) -> Residual {
        let (width, inner) = (self.width, self.width.saturating_mul(4));
        Residual {
            links: vec![
                ("ln_2", LayerNorm { width }.into()),
                ("mlp.c_fc", LayerSpec::linear(width, inner)),
                ("mlp", Gelu {}.into()),
                ("mlp.c_proj", LayerSpec::linear(inner, width)),
            ],
        }
    }
}

/// All but its words and its links is the same for both halves.
macro_rules! residual_layer {
    ($layer:ident, $describe:expr, $takes:expr, $joins:expr) => {
        impl Layer for $layer {
            fn describe(&self) -> String {
                $describe(self)
            }

            fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, String> {
                match *input {
                    [_, _] => self.residual().output_shape(input),
                    _ => Err($takes(self)),
                }
            }

            fn parameters(&self) -> Vec<ParameterSpec> {
                self.residual().parameters()
            }

            fn flops(&self, input: &[usize]) -> [f64; 3] {
                self.residual().flops(input)
            }

            fn keeps(&self) -> Keeps {
                self.residual().keeps()
            }

            fn workspace(&self, samples: usize, input: &[usize]) -> Vec<Workspace> {
                self.residual().workspace(samples, input)
            }

            fn joins(&self, before: &LayerSpec) -> bool {
                $joins(before)
            }

            fn record_forward(&self, site: &Site, recording: &mut Recording) {
                self.residual().record_forward(site, recording);
            }

            fn record_backward_input(
                &self,
                site: &Site,
                input_gradient: View,
                recording: &mut Recording,
            ) {
                let residual = self.residual();
                residual.record_backward_input(site, input_gradient, recording);
            }

            fn record_backward_weights(&self, site: &Site, recording: &mut Recording) {
                self.residual().record_backward_weights(site, recording);
            }
        }
    };
}

residual_layer!(
    TransformerAttention,
    |layer: &TransformerAttention| format!(
        "transformer_attention {}, {} heads",
        layer.width, layer.heads
    ),
    |layer: &TransformerAttention| format!("[tokens, {}]", layer.width),
    |_: &LayerSpec| false
);

residual_layer!(
    TransformerMlp,
    |layer: &TransformerMlp| format!("transformer_mlp {}", layer.width),
    |layer: &TransformerMlp| format!("[tokens, {}]", layer.width),
    |before: &LayerSpec| matches!(before, LayerSpec::TransformerAttention(_))
);
