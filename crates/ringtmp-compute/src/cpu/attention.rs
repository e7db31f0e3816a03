//! Causal attention, head by head, with the scores of one head (T, T) in scratch memory.

use super::Scratch;
use super::elementary::{exp, sum};
use super::matrix_product::{Matrix, Multiplier, Sizes, multiply};
use crate::layers::causal_attention::Heads;

/// output (N, T, D) = softmax(Q Kᵀ scale) V for each head; `log_sums` (N, H, T).
pub(crate) fn attention(
    heads: &Heads,
    packed: &[f32],
    output: &mut [f32],
    log_sums: &mut [f32],
    scratch: &mut Scratch,
) {
    let (tokens, width) = (heads.tokens, heads.width());
    let Scratch {
        multiplier, first, ..
    } = scratch;
    first.resize(tokens * tokens, 0.0);
    for (head, log_sums) in all(heads).zip(log_sums.chunks_exact_mut(tokens)) {
        let [queries, keys, values] = head.packed(packed);
        multiply(scores(heads), queries, keys.transposed(), first, multiplier);
        for (t, (row, log_sum)) in first.chunks_exact_mut(tokens).zip(log_sums).enumerate() {
            let (seen, unseen) = row.split_at_mut(t + 1);
            unseen.fill(0.0);
            *log_sum = softmax(seen, heads.scale());
        }
        let sizes = rows_of(heads, tokens, width);
        let output = &mut output[head.output..];
        multiply(
            sizes,
            Matrix::rows(first, tokens),
            values,
            output,
            multiplier,
        );
    }
}

/// products (N, H, T) = the sum over E of output times its gradient.
pub(crate) fn attention_products(
    heads: &Heads,
    output: &[f32],
    output_gradient: &[f32],
    products: &mut [f32],
) {
    let (width, head_width) = (heads.width(), heads.head_width);
    for (head, products) in all(heads).zip(products.chunks_exact_mut(heads.tokens)) {
        for (t, product) in products.iter_mut().enumerate() {
            let start = head.output + t * width;
            let range = start..start + head_width;
            *product = sum(&output[range.clone()], &output_gradient[range], |a, b| {
                a * b
            });
        }
    }
}

/// The queries' third of `packed_gradient`: dQ = dS K.
pub(crate) fn attention_backward_queries(
    heads: &Heads,
    [packed, output_gradient, log_sums, products]: [&[f32]; 4],
    packed_gradient: &mut [f32],
    scratch: &mut Scratch,
) {
    let width = heads.width();
    let Scratch {
        multiplier,
        first,
        second,
    } = scratch;
    for head in all(heads) {
        let [queries, keys, values] = head.packed(packed);
        let gradient = Matrix::rows(&output_gradient[head.output..], width);
        weights(heads, &head, [queries, keys], log_sums, first, multiplier);
        let sources = [gradient, values];
        score_gradients(heads, &head, sources, products, [first, second], multiplier);
        let sizes = rows_of(heads, heads.tokens, 3 * width);
        let target = &mut packed_gradient[head.queries..];
        multiply(
            sizes,
            Matrix::rows(second, heads.tokens),
            keys,
            target,
            multiplier,
        );
    }
}

/// The other two thirds of `packed_gradient`: dK = dSᵀ Q and dV = Pᵀ dO.
pub(crate) fn attention_backward_keys_values(
    heads: &Heads,
    [packed, output_gradient, log_sums, products]: [&[f32]; 4],
    packed_gradient: &mut [f32],
    scratch: &mut Scratch,
) {
    let (tokens, width) = (heads.tokens, heads.width());
    let Scratch {
        multiplier,
        first,
        second,
    } = scratch;
    for head in all(heads) {
        let [queries, keys, values] = head.packed(packed);
        let gradient = Matrix::rows(&output_gradient[head.output..], width);
        weights(heads, &head, [queries, keys], log_sums, first, multiplier);
        let sources = [gradient, values];
        score_gradients(heads, &head, sources, products, [first, second], multiplier);
        let sizes = rows_of(heads, tokens, 3 * width);
        for (left, right, target) in [(&*second, queries, width), (&*first, gradient, 2 * width)] {
            let left = Matrix::rows(left, tokens).transposed();
            let target = &mut packed_gradient[head.queries + target..];
            multiply(sizes, left, right, target, multiplier);
        }
    }
}

/// One head of one sample.
struct Head {
    /// Its place among the heads of all samples.
    index: usize,
    /// Where its queries begin.
    queries: usize,
    /// D.
    width: usize,
    /// Where its output begins.
    output: usize,
}

impl Head {
    /// Queries, keys and values, (T, E) each.
    fn packed<'a>(&self, packed: &'a [f32]) -> [Matrix<'a>; 3] {
        [0, 1, 2].map(|i| Matrix::rows(&packed[self.queries + i * self.width..], 3 * self.width))
    }
}

/// The heads of the first sample, then those of the second, and so on.
fn all(heads: &Heads) -> impl Iterator<Item = Head> + use<> {
    let Heads {
        samples,
        tokens,
        heads: count,
        head_width,
    } = *heads;
    let width = heads.width();
    (0..samples * count).map(move |index| {
        let (sample, head) = (index / count, index % count);
        Head {
            index,
            queries: sample * tokens * 3 * width + head * head_width,
            width,
            output: sample * tokens * width + head * head_width,
        }
    })
}

/// Of a product (T, T) over E.
fn scores(heads: &Heads) -> Sizes {
    Sizes {
        rows: heads.tokens,
        columns: heads.tokens,
        inner: heads.head_width,
        stride: heads.tokens,
        add: false,
    }
}

/// Of a product (T, E) over `inner`, whose rows lie `stride` apart.
fn rows_of(heads: &Heads, inner: usize, stride: usize) -> Sizes {
    Sizes {
        rows: heads.tokens,
        columns: heads.head_width,
        inner,
        stride,
        add: false,
    }
}

/// Turns scores, still to be scaled, into weights, and gives the logarithm of the sum of their exponentials.
fn softmax(row: &mut [f32], scale: f32) -> f32 {
    let mut largest = f32::NEG_INFINITY;
    for score in row.iter_mut() {
        *score *= scale;
        largest = if *score > largest { *score } else { largest };
    }
    row.iter_mut()
        .for_each(|score| *score = exp(*score - largest));
    let total = sum(row, row, |weight, _| weight);
    row.iter_mut().for_each(|weight| *weight /= total);
    largest + libm::logf(total)
}

/// P (T, T) = exp(Q Kᵀ scale - `log_sums`), and zero for tokens to come.
fn weights(
    heads: &Heads,
    head: &Head,
    [queries, keys]: [Matrix<'_>; 2],
    log_sums: &[f32],
    weights: &mut Vec<f32>,
    multiplier: &mut Multiplier,
) {
    let (tokens, scale) = (heads.tokens, heads.scale());
    weights.resize(tokens * tokens, 0.0);
    multiply(
        scores(heads),
        queries,
        keys.transposed(),
        weights,
        multiplier,
    );
    let log_sums = &log_sums[head.index * tokens..][..tokens];
    for (t, (row, log_sum)) in weights.chunks_exact_mut(tokens).zip(log_sums).enumerate() {
        let (seen, unseen) = row.split_at_mut(t + 1);
        unseen.fill(0.0);
        seen.iter_mut()
            .for_each(|score| *score = exp(*score * scale - log_sum));
    }
}

/// dS (T, T) = P (dO Vᵀ - products) scale.
fn score_gradients(
    heads: &Heads,
    head: &Head,
    [output_gradient, values]: [Matrix<'_>; 2],
    products: &[f32],
    [weights, gradients]: [&mut Vec<f32>; 2],
    multiplier: &mut Multiplier,
) {
    let (tokens, scale) = (heads.tokens, heads.scale());
    gradients.resize(tokens * tokens, 0.0);
    let right = values.transposed();
    multiply(scores(heads), output_gradient, right, gradients, multiplier);
    let products = &products[head.index * tokens..][..tokens];
    let rows = gradients
        .chunks_exact_mut(tokens)
        .zip(weights.chunks_exact(tokens));
    for ((gradients, weights), product) in rows.zip(products) {
        for (gradient, weight) in gradients.iter_mut().zip(weights) {
            *gradient = weight * (*gradient - product) * scale;
        }
    }
}
