//! Normalisation of rows and its gradients.

use super::elementary::sum;

/// Added to a variance, as PyTorch does.
const EPSILON: f32 = 1e-5;

/// output = weight (input - mean) inverse deviation + bias; moments (R, 2) = mean, inverse deviation.
pub(crate) fn layer_norm(
    input: &[f32],
    weight: &[f32],
    bias: &[f32],
    output: &mut [f32],
    moments: &mut [f32],
) {
    let columns = weight.len();
    let rows = input
        .chunks_exact(columns)
        .zip(output.chunks_exact_mut(columns));
    let (moments, _) = moments.as_chunks_mut::<2>();
    for ((input, output), moments) in rows.zip(moments) {
        let mean = sum(input, input, |x, _| x) / columns as f32;
        let variance = sum(input, input, |x, _| (x - mean) * (x - mean)) / columns as f32;
        let inverse = 1.0 / (variance + EPSILON).sqrt();
        let affine = weight.iter().zip(bias);
        for ((output, x), (weight, bias)) in output.iter_mut().zip(input).zip(affine) {
            *output = (x - mean) * inverse * weight + bias;
        }
        *moments = [mean, inverse];
    }
}

/// With x the normalised input and g = weight * `output_gradient`: `input_gradient` = inverse deviation (g - mean(g) - x
/// mean(g x)).
pub(crate) fn layer_norm_backward(
    input: &[f32],
    moments: &[f32],
    weight: &[f32],
    output_gradient: &[f32],
    input_gradient: &mut [f32],
) {
    let columns = weight.len();
    let rows = input
        .chunks_exact(columns)
        .zip(output_gradient.chunks_exact(columns))
        .zip(input_gradient.chunks_exact_mut(columns));
    let (moments, _) = moments.as_chunks::<2>();
    for (((input, dy), dx), [mean, inverse]) in rows.zip(moments) {
        for ((g, dy), weight) in dx.iter_mut().zip(dy).zip(weight) {
            *g = dy * weight;
        }
        let mean_g = sum(dx, dx, |g, _| g) / columns as f32;
        let mean_gx = sum(dx, input, |g, x| g * ((x - mean) * inverse)) / columns as f32;
        for (g, x) in dx.iter_mut().zip(input) {
            *g = inverse * (*g - mean_g - (x - mean) * inverse * mean_gx);
        }
    }
}

/// `weight_gradient` (C) += the sum over rows of `output_gradient` times the normalised input.
pub(crate) fn layer_norm_backward_weights(
    input: &[f32],
    moments: &[f32],
    output_gradient: &[f32],
    weight_gradient: &mut [f32],
) {
    let columns = weight_gradient.len();
    let mut sums = vec![0.0; columns];
    let rows = input
        .chunks_exact(columns)
        .zip(output_gradient.chunks_exact(columns));
    let (moments, _) = moments.as_chunks::<2>();
    for ((input, dy), [mean, inverse]) in rows.zip(moments) {
        for ((sum, x), dy) in sums.iter_mut().zip(input).zip(dy) {
            *sum += dy * ((x - mean) * inverse);
        }
    }
    weight_gradient
        .iter_mut()
        .zip(&sums)
        .for_each(|(gradient, sum)| *gradient += sum);
}
