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
    let [height, width] = geometry.image;
    let [rows, columns] = geometry.output;
    let planes = input.chunks_exact(height * width);
    let outputs = output.chunks_exact_mut(rows * columns);
    let places = places.chunks_exact_mut(rows * columns);
    for ((plane, output), places) in planes.zip(outputs).zip(places) {
        for p in 0..rows {
            for q in 0..columns {
                let corner = p * geometry.stride * width + q * geometry.stride;
                let mut best = corner;
                for line in 0..geometry.kernel {
                    let start = corner + line * width;
                    for place in start..start + geometry.kernel {
                        let (value, largest) = (plane[place], plane[best]);
                        if value > largest || (value.is_nan() && !largest.is_nan()) {
                            best = place;
                        }
                    }
                }
                output[p * columns + q] = plane[best];
                // A plane has fewer than 2^28 pixels.
                places[p * columns + q] = best as u32;
            }
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
