//! What the layers before each boundary come to.

use super::problem::{Device, Problem};
use crate::codec::TensorCodec;
use crate::plan::LayerCost;

/// Sums over the first layers, so that those of any shard are a difference. Bytes are counted in floating point, which does not
/// overflow whatever a run or a peer claims.
pub(super) struct Sums {
    /// By device: F, B and W of a micro-batch, and F and B alone.
    pub work: Vec<Vec<[f64; 2]>>,
    pub parameters: Vec<f64>,
    pub stash_bytes: Vec<f64>,
    pub input_bytes: Vec<f64>,
    pub sent_bytes: Vec<u64>,
}

impl Sums {
    pub(super) fn of(problem: &Problem, codec: TensorCodec) -> Self {
        let samples = f64::from(problem.schedule.micro_batch_samples);
        let work = |device: &Device| {
            let add = |sum: &mut [f64; 2], layer: &[f64; 3]| {
                sum[0] += samples * layer.iter().sum::<f64>();
                sum[1] += samples * (layer[0] + layer[1]);
                Some(*sum)
            };
            let sums = device.layer_seconds.iter().scan([0.0; 2], add);
            std::iter::once([0.0; 2]).chain(sums).collect()
        };
        let running = |of: &dyn Fn(&LayerCost) -> f64| {
            let add = |sum: &mut f64, layer| {
                *sum += of(layer);
                Some(*sum)
            };
            let sums = problem.layers.iter().scan(0.0, add);
            std::iter::once(0.0).chain(sums).collect()
        };
        let boundaries = || 0..=problem.layers.len();
        Self {
            work: problem.devices.iter().map(work).collect(),
            parameters: running(&|layer| layer.parameters as f64),
            stash_bytes: running(&|layer| layer.stash_bytes as f64 * samples),
            input_bytes: boundaries()
                .map(|boundary| problem.input_bytes(boundary) as f64)
                .collect(),
            sent_bytes: boundaries()
                .map(|boundary| problem.sent_bytes(boundary, codec))
                .collect(),
        }
    }
}
