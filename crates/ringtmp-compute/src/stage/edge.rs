//! The edges of a stage: where tensors come in and go out, packed as their link carries them.

use super::StageConfig;
use crate::model::elements;
use crate::packing::{Dither, Packing, dither_key};
use crate::recording::{Lifetime, Plan, Recording, View};
use crate::tensor::{Format, Packed, TensorError};

/// All tensors that come in and go out.
pub(super) struct Edges {
    /// The micro-batch that comes in.
    pub(super) input: Edge,
    /// The micro-batch that goes out.
    pub(super) output: Edge,
    /// The gradient that comes in.
    pub(super) output_gradient: Edge,
    /// The gradient that goes out; not at the head.
    pub(super) input_gradient: Edge,
}

impl Edges {
    /// Plans the edges of a stage between the shapes of a micro-batch before and after it. `activations` and `gradients` are
    /// the first and the last of the stage; `position` says where a micro-batch stands, if that has a place.
    pub(super) fn new(
        config: &StageConfig,
        [before, after]: [Vec<usize>; 2],
        activations: [View; 2],
        gradients: [View; 2],
        position: Option<View>,
        plan: &mut Plan,
    ) -> Self {
        let (packing, packing_after) = (config.input_packing, config.output_packing);
        let dither = Dither {
            key: dither_key(config.seed, config.layers.start),
            sample: elements(&before[1..]),
        };
        let first = &config.model.layers[config.layers.start];
        let mut edge = |label, shape: &Vec<usize>, packing, inside| {
            Edge::new(label, shape.clone(), packing, inside, plan)
        };
        let mut edges = Self {
            input: edge("input", &before, packing, activations[0]),
            output: edge("output", &after, packing_after, activations[1]),
            output_gradient: edge(
                "gradient of the output",
                &after,
                packing_after,
                gradients[1],
            ),
            input_gradient: edge("gradient of the input", &before, packing, gradients[0]),
        };
        edges.input_gradient.dither = position.map(|position| (dither, position));
        if first.layer().tokens().is_some() {
            edges.input.format = Format::U32;
        }
        edges
    }
}

/// A tensor that comes in or goes out.
pub(super) struct Edge {
    /// Its shape, (micro-batch, sample shape).
    shape: Vec<usize>,
    packing: Packing,
    format: Format,
    /// Where the stage computes with it.
    inside: View,
    /// Where it is written or read, packed; the same place for 32-bit floats.
    pub(super) packed: View,
    /// What random rounding draws from; none for the nearest.
    dither: Option<(Dither, View)>,
}

impl Edge {
    /// Plans an edge around a view.
    fn new(
        label: &str,
        shape: Vec<usize>,
        packing: Packing,
        inside: View,
        plan: &mut Plan,
    ) -> Self {
        let format = packing.format(&shape);
        let packed = match packing {
            Packing::F32 => inside,
            Packing::F16 | Packing::Int8 => {
                let words = format.words(elements(&shape));
                let words = words.expect("a packing's rows divide its shape");
                plan.buffer(format!("packed {label}"), words, Lifetime::Stage)
            }
        };
        Self {
            shape,
            packing,
            format,
            inside,
            packed,
            dither: None,
        }
    }

    /// The words of a tensor that comes in.
    pub(super) fn expect(&self, tensor: &Packed) -> Result<Vec<u32>, TensorError> {
        tensor.expect(&self.shape, self.format)
    }

    /// The tensor that goes out as these words.
    pub(super) fn tensor(&self, words: &[u32]) -> Result<Packed, TensorError> {
        Packed::from_words(&self.shape, self.format, words)
    }

    /// What has to come before the stage computes with it.
    pub(super) fn record_unpack(&self, recording: &mut Recording) {
        let views = (self.packed, self.inside);
        self.packing.record_unpack(&self.shape, views, recording);
    }

    /// What has to come after the stage has computed it.
    pub(super) fn record_pack(&self, recording: &mut Recording) {
        let views = (self.inside, self.packed);
        let packing = self.packing;
        packing.record_pack(&self.shape, self.dither, views, recording);
    }
}
