//! Convolutions, as matrix products over the windows of one image at a time.
//!
//! With J = I K K numbers in a window and S = P Q windows, an image's windows are a matrix (J, S), which is made in
//! scratch memory ("im2col": Chellapilla, Puri and Simard, "High performance convolutional neural networks", 2006).

use super::matrix_product::{Matrix, Sizes, multiply};
use super::{Scratch, elementary};
use crate::layers::conv2d::Geometry;

/// output (O, S) = bias + weight (O, J) windows (J, S), image by image.
pub(crate) fn conv2d(
    geometry: &Geometry,
    input: &[f32],
    weight: &[f32],
    bias: &[f32],
    output: &mut [f32],
    scratch: &mut Scratch,
) {
    let (inner, columns) = (window(geometry), windows(geometry));
    let Scratch {
        multiplier, first, ..
    } = scratch;
    first.resize(inner * columns, 0.0);
    let images = input.chunks_exact(input.len() / geometry.samples);
    for (image, output) in images.zip(output.chunks_exact_mut(geometry.outputs * columns)) {
        gather(geometry, image, first);
        let rows = output.chunks_exact_mut(columns).zip(bias);
        rows.for_each(|(row, bias)| row.fill(*bias));
        let sizes = Sizes {
            rows: geometry.outputs,
            columns,
            inner,
            stride: columns,
            add: true,
        };
        let (left, right) = (Matrix::rows(weight, inner), Matrix::rows(first, columns));
        multiply(sizes, left, right, output, multiplier);
    }
}

/// The gradient of the windows (J, S) = weightᵀ (J, O) dy (O, S), added up where windows overlap.
pub(crate) fn conv2d_backward_input(
    geometry: &Geometry,
    output_gradient: &[f32],
    weight: &[f32],
    input_gradient: &mut [f32],
    scratch: &mut Scratch,
) {
    let (inner, columns) = (window(geometry), windows(geometry));
    let Scratch {
        multiplier, first, ..
    } = scratch;
    first.resize(inner * columns, 0.0);
    let images = input_gradient.chunks_exact_mut(input_gradient.len() / geometry.samples);
    for (image, gradient) in images.zip(output_gradient.chunks_exact(geometry.outputs * columns)) {
        let sizes = Sizes {
            rows: inner,
            columns,
            inner: geometry.outputs,
            stride: columns,
            add: false,
        };
        let (left, right) = (
            Matrix::rows(weight, inner).transposed(),
            Matrix::rows(gradient, columns),
        );
        multiply(sizes, left, right, first, multiplier);
        image.fill(0.0);
        scatter(geometry, first, image);
    }
}

/// dW (O, J) += dy (O, S) windowsᵀ (S, J), image by image.
pub(crate) fn conv2d_backward_weights(
    geometry: &Geometry,
    input: &[f32],
    output_gradient: &[f32],
    weight_gradient: &mut [f32],
    scratch: &mut Scratch,
) {
    let (inner, columns) = (window(geometry), windows(geometry));
    let Scratch {
        multiplier, first, ..
    } = scratch;
    first.resize(inner * columns, 0.0);
    let images = input.chunks_exact(input.len() / geometry.samples);
    for (image, gradient) in images.zip(output_gradient.chunks_exact(geometry.outputs * columns)) {
        gather(geometry, image, first);
        let sizes = Sizes {
            rows: geometry.outputs,
            columns: inner,
            inner: columns,
            stride: inner,
            add: true,
        };
        let (left, right) = (
            Matrix::rows(gradient, columns),
            Matrix::rows(first, columns).transposed(),
        );
        multiply(sizes, left, right, weight_gradient, multiplier);
    }
}

/// output (C) += the sum over N and P of input (N, C, P), in that order.
pub(crate) fn channel_sum(input: &[f32], output: &mut [f32], pixels: usize) {
    let channels = output.len();
    let mut sums = vec![0.0; channels];
    for sample in input.chunks_exact(channels * pixels) {
        for (sum, pixels) in sums.iter_mut().zip(sample.chunks_exact(pixels)) {
            *sum += elementary::sum(pixels, pixels, |pixel, _| pixel);
        }
    }
    output
        .iter_mut()
        .zip(&sums)
        .for_each(|(output, sum)| *output += sum);
}

/// J.
fn window(geometry: &Geometry) -> usize {
    geometry.inputs * geometry.kernel * geometry.kernel
}

/// S.
fn windows(geometry: &Geometry) -> usize {
    geometry.output[0] * geometry.output[1]
}

/// Copies the windows of an image (I, H, W) into columns (J, S); what lies outside is zero.
fn gather(geometry: &Geometry, image: &[f32], columns: &mut [f32]) {
    let [height, width] = geometry.image;
    let side = geometry.output[1];
    for (row, columns) in columns.chunks_exact_mut(windows(geometry)).enumerate() {
        let (plane, [ky, kx]) = place(geometry, row);
        let plane = &image[plane * height * width..][..height * width];
        for (p, line) in columns.chunks_exact_mut(side).enumerate() {
            let Some(y) = inside(geometry, p, ky, height) else {
                line.fill(0.0);
                continue;
            };
            let source = &plane[y * width..][..width];
            let (first, last) = span(geometry, kx, width);
            line[..first].fill(0.0);
            line[last..].fill(0.0);
            let start =
                first * geometry.stride + kx - geometry.padding.min(kx + first * geometry.stride);
            let (values, targets) = (&source[start.min(width)..], &mut line[first..last]);
            if geometry.stride == 1 {
                targets.copy_from_slice(&values[..last - first]);
            } else {
                let values = values.iter().step_by(geometry.stride);
                let pairs = targets.iter_mut().zip(values);
                pairs.for_each(|(target, value)| *target = *value);
            }
        }
    }
}

/// Adds the columns (J, S) to the windows of an image (I, H, W).
fn scatter(geometry: &Geometry, columns: &[f32], image: &mut [f32]) {
    let [height, width] = geometry.image;
    let side = geometry.output[1];
    for (row, columns) in columns.chunks_exact(windows(geometry)).enumerate() {
        let (plane, [ky, kx]) = place(geometry, row);
        let plane = &mut image[plane * height * width..][..height * width];
        for (p, line) in columns.chunks_exact(side).enumerate() {
            let Some(y) = inside(geometry, p, ky, height) else {
                continue;
            };
            let target = &mut plane[y * width..][..width];
            let (first, last) = span(geometry, kx, width);
            let start =
                first * geometry.stride + kx - geometry.padding.min(kx + first * geometry.stride);
            let (targets, values) = (&mut target[start.min(width)..], &line[first..last]);
            if geometry.stride == 1 {
                let pairs = targets.iter_mut().zip(values);
                pairs.for_each(|(target, value)| *target += value);
            } else {
                let targets = targets.iter_mut().step_by(geometry.stride);
                let pairs = targets.zip(values);
                pairs.for_each(|(target, value)| *target += value);
            }
        }
    }
}

/// The input channel and the place in the kernel of a row of J.
fn place(geometry: &Geometry, row: usize) -> (usize, [usize; 2]) {
    let area = geometry.kernel * geometry.kernel;
    let within = row % area;
    (
        row / area,
        [within / geometry.kernel, within % geometry.kernel],
    )
}

/// The pixel of place `p` of the kernel and `k` in it, unless it lies in the padding.
fn inside(geometry: &Geometry, p: usize, k: usize, size: usize) -> Option<usize> {
    let pixel = (p * geometry.stride + k).checked_sub(geometry.padding)?;
    (pixel < size).then_some(pixel)
}

/// The places of the kernel in a line, from the first to past the last, at which its `k` lies in the image.
fn span(geometry: &Geometry, k: usize, size: usize) -> (usize, usize) {
    let Geometry {
        stride, padding, ..
    } = *geometry;
    let side = geometry.output[1];
    let first = padding.saturating_sub(k).div_ceil(stride).min(side);
    let last = (size + padding)
        .saturating_sub(k)
        .div_ceil(stride)
        .min(side);
    (first, last.max(first))
}
