//! The largest of each square of an image.

use super::conv2d::{Geometry, places};
use super::{Keeps, Layer, Site, Workspace, count};
use crate::cpu;
use crate::operation::{Kernel, Operation, Variant};
use crate::recording::{Lifetime, Recording, View};
use serde::{Deserialize, Serialize};

/// The largest number of each square window; `torch.nn.MaxPool2d`. Of equal ones the first takes the gradient.
///
/// It keeps where each was found rather than its input. Letters as of [`super::conv2d::Conv2d`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxPool2d {
    /// The side of the window, in pixels (K).
    pub kernel: usize,
    /// Pixels from one window to the next; the side of the window where it is not given.
    #[serde(default)]
    pub stride: Option<usize>,
}

impl MaxPool2d {
    fn places(&self, size: usize) -> Option<usize> {
        places(size, self.kernel, self.stride.unwrap_or(self.kernel), 0)
    }

    fn geometry(&self, site: &Site) -> Geometry {
        let [channels, height, width] =
            [0, 1, 2].map(|axis| site.shape.get(axis).copied().unwrap_or(1));
        let side = |size| self.places(size).unwrap_or(1);
        Geometry {
            samples: site.samples,
            inputs: channels,
            outputs: channels,
            image: [height, width],
            output: [side(height), side(width)],
            kernel: self.kernel,
            stride: self.stride.unwrap_or(self.kernel),
            padding: 0,
        }
    }
}

impl Layer for MaxPool2d {
    fn describe(&self) -> String {
        format!("max_pool2d {0} x {0}", self.kernel)
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, String> {
        let expected = || {
            format!(
                "[channels, at least {} high, as wide], with a kernel and a stride above zero",
                self.kernel
            )
        };
        let [channels, height, width] = *input else {
            return Err(expected());
        };
        match (self.places(height), self.places(width)) {
            (Some(height), Some(width)) if self.kernel > 0 => Ok(vec![channels, height, width]),
            _ => Err(expected()),
        }
    }

    /// A comparison for each number of each window forward, an addition for each window backward.
    fn flops(&self, input: &[usize]) -> [f64; 3] {
        let outputs = self.output_shape(input).map_or(0.0, |shape| count(&shape));
        [outputs * count(&[self.kernel; 2]), outputs, 0.0]
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    /// Where in its image, row by row, the largest of each window was.
    fn workspace(&self, samples: usize, input: &[usize]) -> Vec<Workspace> {
        let windows: usize = self
            .output_shape(input)
            .map_or(1, |shape| shape.iter().product());
        vec![Workspace {
            label: "places",
            words: samples * windows,
            lifetime: Lifetime::Slot,
        }]
    }

    fn record_forward(&self, site: &Site, recording: &mut Recording) {
        let geometry = self.geometry(site);
        let found = site.workspace[0];
        recording.push(max_pool2d(geometry, site.input, site.output, found));
    }

    fn record_backward_input(&self, site: &Site, input_gradient: View, recording: &mut Recording) {
        recording.push(max_pool2d_backward(
            self.geometry(site),
            site.workspace[0],
            site.output_gradient,
            input_gradient,
        ));
    }
}

/// output (N, C, P, Q) = the largest of each window of input (N, C, H, W); places (N, C, P, Q), unsigned, where in its image.
pub fn max_pool2d(geometry: Geometry, input: View, output: View, places: View) -> Operation {
    let source = include_str!("../../../../shaders/max_pool2d.wgsl");
    let rows = Variant::of_threads(
        "max_pool2d_rows",
        include_str!("../../../../shaders/max_pool2d_rows.wgsl"),
        geometry.samples * geometry.outputs * geometry.output[0],
    );
    Operation::new(
        "max_pool2d",
        [(input, geometry.inputs_size())],
        [
            (output, geometry.outputs_size()),
            (places, geometry.outputs_size()),
        ],
        Kernel::new(source, &geometry.dimensions(), output.elements).variant(true, rows),
        move |[input], [output, places], _| {
            let places = bytemuck::cast_slice_mut(places);
            cpu::max_pool2d(&geometry, input, output, places);
        },
    )
}

/// `input_gradient` (N, C, H, W) = the sum of `output_gradient` (N, C, P, Q) over the windows whose place is there.
pub fn max_pool2d_backward(
    geometry: Geometry,
    places: View,
    output_gradient: View,
    input_gradient: View,
) -> Operation {
    let source = include_str!("../../../../shaders/max_pool2d_backward.wgsl");
    let rows = Variant::of_threads(
        "max_pool2d_backward_rows",
        include_str!("../../../../shaders/max_pool2d_backward_rows.wgsl"),
        geometry.samples * geometry.inputs * geometry.image[0],
    );
    Operation::new(
        "max_pool2d_backward",
        [
            (places, geometry.outputs_size()),
            (output_gradient, geometry.outputs_size()),
        ],
        [(input_gradient, geometry.inputs_size())],
        Kernel::new(source, &geometry.dimensions(), input_gradient.elements)
            .variant(geometry.stride == geometry.kernel, rows),
        move |[places, output_gradient], [input_gradient], _| {
            let places = bytemuck::cast_slice(places);
            cpu::max_pool2d_backward(&geometry, places, output_gradient, input_gradient);
        },
    )
}
