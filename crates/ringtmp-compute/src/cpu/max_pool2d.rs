//! Pooling.

use crate::layers::conv2d::Geometry;

/// output = the largest of each window, places = where in its image. A NaN is larger than anything, so that divergence
/// reaches the loss; of equal numbers the first counts.
pub(crate) fn max_pool2d(
    geometry: &Geometry,
    input: &[f32],
    output: &mut [f32],
    places: &mut [u32],
) {
    // A size that the compiler knows leaves no loop over a window.
    match geometry.kernel {
        2 => pool(geometry, 2, input, output, places),
        3 => pool(geometry, 3, input, output, places),
        kernel => pool(geometry, kernel, input, output, places),
    }
}

#[inline(always)]
fn pool(geometry: &Geometry, kernel: usize, input: &[f32], output: &mut [f32], places: &mut [u32]) {
    let [height, width] = geometry.image;
    let [rows, columns] = geometry.output;
    let outputs = output.chunks_exact_mut(columns);
    let outputs = outputs.zip(places.chunks_exact_mut(columns));
    for (i, (output, places)) in outputs.enumerate() {
        let (plane, row) = (i / rows, i % rows);
        let plane = &input[plane * height * width..][..height * width];
        let start = row * geometry.stride * width;
        let windows = plane[start..].windows((kernel - 1) * width + kernel);
        let windows = windows.step_by(geometry.stride);
        let outputs = output.iter_mut().zip(places);
        for (q, (window, (output, place))) in windows.zip(outputs).enumerate() {
            let (mut largest, mut largest_at) = (window[0], 0);
            for line in 0..kernel {
                for column in 0..kernel {
                    let at = line * width + column;
                    let value = window[at];
                    // Without branches, which nobody could foresee.
                    let takes = (value > largest) | (value.is_nan() & !largest.is_nan());
                    largest = if takes { value } else { largest };
                    largest_at = if takes { at } else { largest_at };
                }
            }
            *output = largest;
            // A plane has fewer than 2^28 pixels.
            *place = (start + q * geometry.stride + largest_at) as u32;
        }
    }
}

/// `input_gradient` = the sum of `output_gradient` over the windows whose place is there.
pub(crate) fn max_pool2d_backward(
    geometry: &Geometry,
    places: &[u32],
    output_gradient: &[f32],
    input_gradient: &mut [f32],
) {
    input_gradient.fill(0.0);
    let [height, width] = geometry.image;
    let windows = geometry.output[0] * geometry.output[1];
    let planes = input_gradient.chunks_exact_mut(height * width);
    let gradients = output_gradient.chunks_exact(windows);
    for ((plane, gradients), places) in planes.zip(gradients).zip(places.chunks_exact(windows)) {
        for (place, gradient) in places.iter().zip(gradients) {
            plane[*place as usize] += gradient;
        }
    }
}
