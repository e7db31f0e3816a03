//! Causal multi-head attention.

use super::{Keeps, Layer, Site, Workspace, count};
use crate::cpu;
use crate::operation::{Kernel, Operation, Variant, product};
use crate::recording::{Lifetime, Recording, View};
use serde::{Deserialize, Serialize};

/// The widest head: a thread of a kernel keeps two rows of so many numbers. A test reads it from the shaders.
pub(crate) const HEAD_WIDTH_MAX: usize = 128;

/// Each token looks at itself and those before it; `scaled_dot_product_attention(q, k, v, is_causal=True)` of PyTorch (Vaswani
/// and others, "Attention is all you need", 2017).
///
/// The scores are never stored: backward makes them again from the logarithm of the sum of each row's exponentials (Dao,
/// "FlashAttention-2", 2023, algorithm 2).
///
/// Letters: N samples, T tokens of a sample, D width, H heads, E = D / H the width of a head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CausalAttention {
    /// Numbers of a token's vector after it, a third of those before it (D).
    pub width: usize,
    /// Heads, which divide the width (H).
    pub heads: usize,
}

/// The sizes of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// N.
    pub samples: usize,
    /// T.
    pub tokens: usize,
    /// H.
    pub heads: usize,
    /// E.
    pub head_width: usize,
}

impl Heads {
    /// D.
    pub(crate) fn width(&self) -> usize {
        self.heads * self.head_width
    }

    /// What scores are multiplied with: one over the root of E.
    pub(crate) fn scale(&self) -> f32 {
        1.0 / (self.head_width as f32).sqrt()
    }

    /// (N, T, 3D).
    fn packed_size(&self) -> Option<usize> {
        product([self.samples, self.tokens, 3, self.heads, self.head_width])
    }

    /// (N, T, D).
    fn output_size(&self) -> Option<usize> {
        product([self.samples, self.tokens, self.heads, self.head_width])
    }

    /// (N, H, T).
    fn rows(&self) -> Option<usize> {
        product([self.samples, self.heads, self.tokens])
    }

    fn kernel(&self, source: &'static str) -> Kernel {
        let sizes = [self.samples, self.tokens, self.heads, self.head_width];
        Kernel::new(source, &sizes, self.rows().unwrap_or(0))
    }

    /// One with a shader that reads four numbers at a time, where heads are made of such.
    fn wide_kernel(
        &self,
        source: &'static str,
        (name, wide): (&'static str, &'static str),
    ) -> Kernel {
        let variant = Variant::of_threads(name, wide, self.rows().unwrap_or(0));
        let kernel = self.kernel(source).number(self.scale());
        kernel.variant(self.head_width.is_multiple_of(4), variant)
    }
}

impl CausalAttention {
    fn heads(&self, site: &Site) -> Heads {
        Heads {
            samples: site.samples,
            tokens: site.shape.first().copied().unwrap_or(1),
            heads: self.heads,
            head_width: self.width / self.heads,
        }
    }
}

impl Layer for CausalAttention {
    fn describe(&self) -> String {
        format!("causal_attention {}, {} heads", self.width, self.heads)
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, String> {
        let Self { width, heads } = *self;
        let divides = heads > 0 && width.is_multiple_of(heads) && width / heads <= HEAD_WIDTH_MAX;
        match *input {
            [tokens, packed] if divides && Some(packed) == width.checked_mul(3) => {
                Ok(vec![tokens, width])
            }
            _ => Err(format!(
                "[tokens, 3 x {width}], with heads of equal width up to {HEAD_WIDTH_MAX}"
            )),
        }
    }

    /// Half of all pairs of tokens: two products of their vectors forward, five backward.
    fn flops(&self, input: &[usize]) -> [f64; 3] {
        let tokens = input.first().copied().unwrap_or(0);
        let pairs = count(&[tokens, tokens, self.width]);
        [2.0 * pairs, 5.0 * pairs, 0.0]
    }

    fn keeps(&self) -> Keeps {
        Keeps {
            input: true,
            output: true,
            output_gradient: false,
        }
    }

    /// The logarithms of sums of exponentials, and in B the sums of outputs times their gradients; both (N, H, T).
    fn workspace(&self, samples: usize, input: &[usize]) -> Vec<Workspace> {
        let words = samples * self.heads * input.first().copied().unwrap_or(1);
        vec![
            Workspace {
                label: "log-sums",
                words,
                lifetime: Lifetime::Slot,
            },
            Workspace {
                label: "output products",
                words,
                lifetime: Lifetime::Stage,
            },
        ]
    }

    fn record_forward(&self, site: &Site, recording: &mut Recording) {
        recording.push(attention(
            self.heads(site),
            site.input,
            site.output,
            site.workspace[0],
        ));
    }

    fn record_backward_input(&self, site: &Site, input_gradient: View, recording: &mut Recording) {
        let (heads, gradient) = (self.heads(site), site.output_gradient);
        let products = site.workspace[1];
        recording.push(attention_products(heads, site.output, gradient, products));
        let site = BackwardSite {
            packed: site.input,
            output_gradient: gradient,
            log_sums: site.workspace[0],
            products,
            packed_gradient: input_gradient,
        };
        recording.push(attention_backward_queries(heads, &site));
        recording.push(attention_backward_keys_values(heads, &site));
    }
}

/// output (N, T, D) = softmax(Q Kᵀ scale) V for each head, over the tokens up to one's own; packed (N, T, 3D) has queries, keys
/// and values side by side, each (H, E); `log_sums` (N, H, T) = the logarithm of the sum of the exponentials.
pub fn attention(heads: Heads, packed: View, output: View, log_sums: View) -> Operation {
    let source = include_str!("../../../../shaders/attention.wgsl");
    let wide = include_str!("../../../../shaders/attention_wide.wgsl");
    Operation::new(
        "attention",
        [(packed, heads.packed_size())],
        [(output, heads.output_size()), (log_sums, heads.rows())],
        heads.wide_kernel(source, ("attention_wide", wide)),
        move |[packed], [output, log_sums], scratch| {
            cpu::attention(&heads, packed, output, log_sums, scratch);
        },
    )
}

/// products (N, H, T) = the sum over E of output (N, T, D) times `output_gradient` (N, T, D).
pub fn attention_products(
    heads: Heads,
    output: View,
    output_gradient: View,
    products: View,
) -> Operation {
    let source = include_str!("../../../../shaders/attention_products.wgsl");
    let size = heads.output_size();
    Operation::new(
        "attention_products",
        [(output, size), (output_gradient, size)],
        [(products, heads.rows())],
        heads.kernel(source),
        move |[output, output_gradient], [products], _| {
            cpu::attention_products(&heads, output, output_gradient, products);
        },
    )
}

/// What the gradients of an attention are made from.
#[derive(Clone, Copy, Debug)]
pub struct BackwardSite {
    /// (N, T, 3D).
    pub packed: View,
    /// (N, T, D).
    pub output_gradient: View,
    /// (N, H, T).
    pub log_sums: View,
    /// (N, H, T), see [`attention_products`].
    pub products: View,
    /// (N, T, 3D).
    pub packed_gradient: View,
}

impl BackwardSite {
    fn reads(&self, heads: &Heads) -> [(View, Option<usize>); 4] {
        [
            (self.packed, heads.packed_size()),
            (self.output_gradient, heads.output_size()),
            (self.log_sums, heads.rows()),
            (self.products, heads.rows()),
        ]
    }
}

/// The queries' third of `packed_gradient`: dQ = dS K, with dS = P (dO Vᵀ - products) scale and P = exp(Q Kᵀ scale - `log_sums`).
pub fn attention_backward_queries(heads: Heads, site: &BackwardSite) -> Operation {
    let source = include_str!("../../../../shaders/attention_backward_queries.wgsl");
    let wide = include_str!("../../../../shaders/attention_backward_queries_wide.wgsl");
    Operation::new(
        "attention_backward_queries",
        site.reads(&heads),
        [(site.packed_gradient, heads.packed_size())],
        heads.wide_kernel(source, ("attention_backward_queries_wide", wide)),
        move |reads, [packed_gradient], scratch| {
            cpu::attention_backward_queries(&heads, reads, packed_gradient, scratch);
        },
    )
}

/// The other two thirds of `packed_gradient`: dK = dSᵀ Q and dV = Pᵀ dO.
pub fn attention_backward_keys_values(heads: Heads, site: &BackwardSite) -> Operation {
    let source = include_str!("../../../../shaders/attention_backward_keys_values.wgsl");
    let wide = include_str!("../../../../shaders/attention_backward_keys_values_wide.wgsl");
    Operation::new(
        "attention_backward_keys_values",
        site.reads(&heads),
        [(site.packed_gradient, heads.packed_size())],
        heads.wide_kernel(source, ("attention_backward_keys_values_wide", wide)),
        move |reads, [packed_gradient], scratch| {
            cpu::attention_backward_keys_values(&heads, reads, packed_gradient, scratch);
        },
    )
}
