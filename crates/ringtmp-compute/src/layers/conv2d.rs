//! Convolutions over images.

use super::{Initial, Keeps, Layer, ParameterSpec, Site, count};
use crate::cpu;
use crate::operation::{Kernel, Operation, Variant, product};
use crate::operations::{SPLIT_THREADS_MAX, SUMMED_TOGETHER};
use crate::recording::{Recording, View};
use serde::{Deserialize, Serialize};

/// Output channels that a thread of `conv2d` computes, and so on for its gradients. A test reads it from the shaders.
pub(crate) const TILE_ROWS: usize = 4;

/// Likewise of the wide shaders.
pub(crate) const WIDE_TILE_ROWS: usize = 16;

/// Pixels that a thread of `conv2d` computes, and so on for its gradients. A test reads it from the shaders.
pub(crate) const TILE_COLUMNS: usize = 4;

/// Pixels in a row that a thread of the shaders for kernels of side 3 computes. A test reads it from them.
pub(crate) const LONG_TILE_COLUMNS: usize = 16;

/// A square kernel slides over an image and its padding of zeros; `torch.nn.Conv2d`.
///
/// Letters: N samples, I input channels, O output channels, (H, W) an image before and (P, Q) after, K the kernel's side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv2d {
    /// Channels before it (I).
    pub inputs: usize,
    /// Channels after it (O).
    pub outputs: usize,
    /// The side of the kernel, in pixels (K).
    pub kernel: usize,
    /// Pixels from one place of the kernel to the next.
    #[serde(default = "one")]
    pub stride: usize,
    /// Zeros around the image, in pixels.
    #[serde(default)]
    pub padding: usize,
}

fn one() -> usize {
    1
}

/// The sizes of a convolution or of a pooling (where I is O).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// N.
    pub samples: usize,
    /// I.
    pub inputs: usize,
    /// O.
    pub outputs: usize,
    /// H and W.
    pub image: [usize; 2],
    /// P and Q.
    pub output: [usize; 2],
    /// K.
    pub kernel: usize,
    /// Pixels from one place of the kernel to the next.
    pub stride: usize,
    /// Zeros around the image.
    pub padding: usize,
}

/// Places of a window of side `kernel` over `size` pixels; nothing if there is none or too many to count.
pub(super) fn places(size: usize, kernel: usize, stride: usize, padding: usize) -> Option<usize> {
    let padded = size.checked_add(padding.checked_mul(2)?)?;
    Some(padded.checked_sub(kernel)?.checked_div(stride)? + 1)
}

impl Layer for Conv2d {
    fn describe(&self) -> String {
        let Self {
            inputs,
            outputs,
            kernel,
            ..
        } = self;
        format!("conv2d {inputs} → {outputs}, {kernel} x {kernel}")
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, String> {
        let expected = || {
            format!(
                "[{}, at least {} high, as wide], with a kernel and a stride above zero",
                self.inputs,
                self.kernel
                    .saturating_sub(2 * self.padding.min(self.kernel))
            )
        };
        let [channels, height, width] = *input else {
            return Err(expected());
        };
        let side = |size| places(size, self.kernel, self.stride, self.padding);
        match (side(height), side(width)) {
            (Some(height), Some(width)) if channels == self.inputs && self.kernel > 0 => {
                Ok(vec![self.outputs, height, width])
            }
            _ => Err(expected()),
        }
    }

    /// Weight (O, I, K, K) and bias (O), both within one over the root of I K K, as `torch.nn.Conv2d` begins.
    fn parameters(&self) -> Vec<ParameterSpec> {
        let area = self.kernel.saturating_mul(self.kernel);
        let initial = Initial::fan_in(self.inputs.saturating_mul(area));
        vec![
            ParameterSpec {
                name: "weight".into(),
                shape: vec![self.outputs, self.inputs, self.kernel, self.kernel],
                initial,
            },
            ParameterSpec {
                name: "bias".into(),
                shape: vec![self.outputs],
                initial,
            },
        ]
    }

    /// A multiplication and an addition for each weight and place, in each of the three passes.
    fn flops(&self, input: &[usize]) -> [f64; 3] {
        let outputs = self.output_shape(input).map_or(0.0, |shape| count(&shape));
        [2.0 * outputs * count(&[self.inputs, self.kernel, self.kernel]); 3]
    }

    fn keeps(&self) -> Keeps {
        Keeps {
            input: true,
            output: false,
            output_gradient: true,
        }
    }

    fn record_forward(&self, site: &Site, recording: &mut Recording) {
        let [weight, bias] = [site.parameters[0], site.parameters[1]];
        let geometry = self.geometry(site);
        recording.push(conv2d(geometry, site.input, weight, bias, site.output));
    }

    fn record_backward_input(&self, site: &Site, input_gradient: View, recording: &mut Recording) {
        recording.push(conv2d_backward_input(
            self.geometry(site),
            site.output_gradient,
            site.parameters[0],
            input_gradient,
        ));
    }

    fn record_backward_weights(&self, site: &Site, recording: &mut Recording) {
        let geometry = self.geometry(site);
        let gradient = site.output_gradient;
        recording.push(conv2d_backward_weights(
            geometry,
            site.input,
            gradient,
            site.gradients[0],
        ));
        let [height, width] = geometry.output;
        recording.push(channel_sum(
            gradient,
            site.gradients[1],
            [site.samples, self.outputs, height * width],
        ));
    }
}

impl Conv2d {
    fn geometry(&self, site: &Site) -> Geometry {
        let [height, width] = [1, 2].map(|axis| site.shape.get(axis).copied().unwrap_or(1));
        let side = |size| places(size, self.kernel, self.stride, self.padding).unwrap_or(1);
        Geometry {
            samples: site.samples,
            inputs: self.inputs,
            outputs: self.outputs,
            image: [height, width],
            output: [side(height), side(width)],
            kernel: self.kernel,
            stride: self.stride,
            padding: self.padding,
        }
    }
}

impl Geometry {
    /// Numbers of N images before.
    pub(crate) fn inputs_size(&self) -> Option<usize> {
        product([self.samples, self.inputs, self.image[0], self.image[1]])
    }

    /// Numbers of N images after.
    pub(crate) fn outputs_size(&self) -> Option<usize> {
        product([self.samples, self.outputs, self.output[0], self.output[1]])
    }

    /// Whether the shaders for kernels of side 3 suit it.
    fn moves_by_one(&self) -> bool {
        self.kernel == 3 && self.stride == 1
    }

    /// Numbers of a weight.
    fn weights_size(&self) -> Option<usize> {
        product([self.outputs, self.inputs, self.kernel, self.kernel])
    }

    /// The words of a shader's `Dimensions`.
    pub(crate) fn dimensions(&self) -> [usize; 10] {
        let [[height, width], [output_height, output_width]] = [self.image, self.output];
        [
            self.samples,
            self.inputs,
            self.outputs,
            height,
            width,
            output_height,
            output_width,
            self.kernel,
            self.stride,
            self.padding,
        ]
    }
}

/// Stretches of [`LONG_TILE_COLUMNS`] pixels in the lines of an image.
fn lines([height, width]: [usize; 2]) -> usize {
    height * width.div_ceil(LONG_TILE_COLUMNS)
}

/// output (N, O, P, Q) = bias (O) + the sum over i, ky, kx of weight (O, I, K, K) input (N, I, stride p + ky - padding,
/// stride q + kx - padding).
pub fn conv2d(
    geometry: Geometry,
    input: View,
    weight: View,
    bias: View,
    output: View,
) -> Operation {
    let pixels = geometry.samples * geometry.output[0] * geometry.output[1];
    let threads = geometry.outputs.div_ceil(TILE_ROWS) * pixels.div_ceil(TILE_COLUMNS);
    let source = include_str!("../../../../shaders/conv2d.wgsl");
    let wide = Variant::of_threads(
        "conv2d_wide",
        include_str!("../../../../shaders/conv2d_wide.wgsl"),
        geometry.outputs.div_ceil(WIDE_TILE_ROWS) * pixels.div_ceil(TILE_COLUMNS),
    );
    let moving = Variant::of_threads(
        "conv2d_3x3",
        include_str!("../../../../shaders/conv2d_3x3.wgsl"),
        geometry.samples * geometry.outputs.div_ceil(TILE_ROWS) * lines(geometry.output),
    );
    Operation::new(
        "conv2d",
        [
            (input, geometry.inputs_size()),
            (weight, geometry.weights_size()),
            (bias, Some(geometry.outputs)),
        ],
        [(output, geometry.outputs_size())],
        Kernel::new(source, &geometry.dimensions(), threads)
            .variant(geometry.outputs > TILE_ROWS, wide)
            .variant(geometry.moves_by_one(), moving),
        move |[input, weight, bias], [output], scratch| {
            cpu::conv2d(&geometry, input, weight, bias, output, scratch);
        },
    )
}

/// `input_gradient` (N, I, H, W) = the sum over all places and o of `output_gradient` (N, O, P, Q) weight (O, I, K, K).
pub fn conv2d_backward_input(
    geometry: Geometry,
    output_gradient: View,
    weight: View,
    input_gradient: View,
) -> Operation {
    let pixels = geometry.samples * geometry.image[0] * geometry.image[1];
    let threads = geometry.inputs.div_ceil(TILE_ROWS) * pixels.div_ceil(TILE_COLUMNS);
    let source = include_str!("../../../../shaders/conv2d_backward_input.wgsl");
    let wide = Variant::of_threads(
        "conv2d_backward_input_wide",
        include_str!("../../../../shaders/conv2d_backward_input_wide.wgsl"),
        geometry.inputs.div_ceil(WIDE_TILE_ROWS) * pixels.div_ceil(TILE_COLUMNS),
    );
    let moving = Variant::of_threads(
        "conv2d_backward_input_3x3",
        include_str!("../../../../shaders/conv2d_backward_input_3x3.wgsl"),
        geometry.samples * geometry.inputs.div_ceil(TILE_ROWS) * lines(geometry.image),
    );
    Operation::new(
        "conv2d_backward_input",
        [
            (output_gradient, geometry.outputs_size()),
            (weight, geometry.weights_size()),
        ],
        [(input_gradient, geometry.inputs_size())],
        Kernel::new(source, &geometry.dimensions(), threads)
            .variant(geometry.inputs > TILE_ROWS, wide)
            .variant(geometry.moves_by_one(), moving),
        move |[output_gradient, weight], [input_gradient], scratch| {
            cpu::conv2d_backward_input(&geometry, output_gradient, weight, input_gradient, scratch);
        },
    )
}

/// `weight_gradient` (O, I, K, K) += the sum over all samples and places of `output_gradient` (N, O, P, Q) input (N, I, H, W).
pub fn conv2d_backward_weights(
    geometry: Geometry,
    input: View,
    output_gradient: View,
    weight_gradient: View,
) -> Operation {
    let columns = geometry.inputs * geometry.kernel * geometry.kernel;
    let threads = geometry.outputs.div_ceil(TILE_ROWS) * columns.div_ceil(TILE_COLUMNS);
    let source = include_str!("../../../../shaders/conv2d_backward_weights.wgsl");
    let split = Variant::of_groups(
        "conv2d_backward_weights_split",
        include_str!("../../../../shaders/conv2d_backward_weights_split.wgsl"),
        threads,
    );
    let moving = Variant::of_threads(
        "conv2d_backward_weights_3x3",
        include_str!("../../../../shaders/conv2d_backward_weights_3x3.wgsl"),
        geometry.outputs.div_ceil(TILE_ROWS) * geometry.inputs,
    );
    Operation::new(
        "conv2d_backward_weights",
        [
            (input, geometry.inputs_size()),
            (output_gradient, geometry.outputs_size()),
        ],
        [(weight_gradient, geometry.weights_size())],
        Kernel::new(source, &geometry.dimensions(), threads)
            .variant(threads <= SPLIT_THREADS_MAX, split)
            .variant(geometry.moves_by_one(), moving),
        move |[input, output_gradient], [weight_gradient], scratch| {
            cpu::conv2d_backward_weights(
                &geometry,
                input,
                output_gradient,
                weight_gradient,
                scratch,
            );
        },
    )
}

/// output (C) += the sum over N and P of input (N, C, P), whose sizes are `[N, C, P]`.
pub fn channel_sum(input: View, output: View, sizes: [usize; 3]) -> Operation {
    let [_, channels, pixels] = sizes;
    let source = include_str!("../../../../shaders/channel_sum.wgsl");
    let split = Variant::of_groups(
        "channel_sum_split",
        include_str!("../../../../shaders/channel_sum_split.wgsl"),
        channels,
    );
    Operation::new(
        "channel_sum",
        [(input, product(sizes))],
        [(output, Some(channels))],
        Kernel::new(source, &sizes, channels).variant(pixels > SUMMED_TOGETHER, split),
        move |[input], [output], _| cpu::channel_sum(input, output, pixels),
    )
}
