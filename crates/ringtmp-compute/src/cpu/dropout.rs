//! Numbers left out at random.

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
            let stays = random([draw.key, step, sample, place]) >= threshold;
            *output = if stays { input * scale } else { 0.0 };
        }
    }
}

/// A random word from four others: `pcg4d` of Jarzynski and Olano, "Hash functions for GPU rendering", 2020.
fn random(words: [u32; 4]) -> u32 {
    let mut v = words.map(|word| word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let mix = |v: &mut [u32; 4]| {
        for (target, a, b) in [(0, 1, 3), (1, 2, 0), (2, 0, 1), (3, 1, 2)] {
            v[target] = v[target].wrapping_add(v[a].wrapping_mul(v[b]));
        }
    };
    mix(&mut v);
    v = v.map(|word| word ^ (word >> 16));
    mix(&mut v);
    v[0]
}
