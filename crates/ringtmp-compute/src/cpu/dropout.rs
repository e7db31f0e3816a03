//! Numbers left out at random.

use super::random::pcg4d;
use crate::layers::dropout::Draw;

/// output = 0 or input / (1 - probability), by a hash of key, step, sample and place; or the input, in evaluation.
pub(crate) fn dropout(draw: &Draw, position: &[u32], input: &[f32], output: &mut [f32]) {
    let [training, step, first, ..] = *position else {
        return;
    };
    if training == 0 {
        output.copy_from_slice(input);
        return;
    }
    let (threshold, scale) = (draw.threshold(), draw.scale());
    let samples = output
        .chunks_exact_mut(draw.sample)
        .zip(input.chunks_exact(draw.sample));
    for ((output, input), sample) in samples.zip(0u32..) {
        let sample = first.wrapping_add(sample);
        for ((output, input), place) in output.iter_mut().zip(input).zip(0u32..) {
            let stays = pcg4d([draw.key, step, sample, place]) >= threshold;
            *output = if stays { input * scale } else { 0.0 };
        }
    }
}
