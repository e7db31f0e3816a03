//! What tasks cost, and how they are told of.

use super::Job;
use super::interface::Task;
use super::message::Message;
use crate::ids::Step;
use crate::plan::LayerCost;
use crate::trace::{Activity, Details};

/// Operations for each number that is copied or added: it is read and written once.
pub const COPY_OPERATIONS: f64 = 1.0;

/// Operations of an update for each number: weights, gradients and what the optimizer remembers are read and written.
pub const UPDATE_OPERATIONS: f64 = 10.0;

/// What a task costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Operations per sample in F, in B and in W.
    pub flops: [f64; 3],
    /// Operations on parameters, gradients and weights.
    pub numbers: f64,
}

impl Task {
    /// What it costs where layers cost so much.
    pub fn cost(&self, job: &Job, layers: &[LayerCost]) -> Cost {
        let sum = |part: usize| -> f64 { layers.iter().map(|layer| layer.flops[part]).sum() };
        let elements = |range: &super::RangeIndex| {
            let spec = job.layout.ranges.get(range.0 as usize);
            spec.map_or(0.0, |spec| f64::from(spec.elements))
        };
        let of_flops = |flops| Cost {
            flops,
            numbers: 0.0,
        };
        let of_numbers = |numbers| Cost {
            flops: [0.0; 3],
            numbers,
        };
        match self {
            Self::Load { weights, .. } => {
                let numbers: f64 = weights.iter().map(|(range, _)| elements(range)).sum();
                of_numbers(COPY_OPERATIONS * numbers)
            }
            Self::Evaluate { .. } | Self::Forward { .. } => of_flops([sum(0), 0.0, 0.0]),
            // Nobody wants the gradient of the samples, but a ring's head is charged for it as well: paradigms are compared by the
            // same costs.
            Self::Backward { .. } => of_flops([0.0, sum(1), sum(2)]),
            Self::BackwardLayer { layer, .. } => {
                let cost = layers.get(usize::from(layer.0));
                let [_, input, weights] = cost.map_or([0.0; 3], |layer| layer.flops);
                of_flops([0.0, input, weights])
            }
            Self::Merge { range, .. } | Self::Read { range } => {
                of_numbers(COPY_OPERATIONS * elements(range))
            }
            Self::Copy { range, .. } => {
                let slots = job.copies.map_or(1, |copies| copies.slots);
                of_numbers(COPY_OPERATIONS * f64::from(slots) * elements(range))
            }
            Self::Count { range, update, .. } => {
                let update = update.map_or(0.0, |_| UPDATE_OPERATIONS);
                of_numbers((COPY_OPERATIONS + update) * elements(range))
            }
        }
    }

    /// That of its span.
    pub const fn activity(&self) -> Activity {
        match self {
            Self::Evaluate { .. } => Activity::Evaluate,
            Self::Forward { .. } => Activity::Forward,
            Self::Backward { .. } | Self::BackwardLayer { .. } => Activity::BackwardWeights,
            Self::Load { .. }
            | Self::Merge { .. }
            | Self::Read { .. }
            | Self::Copy { .. }
            | Self::Count { .. } => Activity::Update,
        }
    }

    /// Those of its span.
    pub fn details(&self) -> Details {
        let of = |clock: Step, micro_batch| Details {
            step: Some(clock.0),
            micro_batch,
            ..Details::default()
        };
        match self {
            Self::Load { .. } | Self::Read { .. } => Details::default(),
            Self::Evaluate { clock, sequence }
            | Self::Forward { clock, sequence }
            | Self::Backward { clock, sequence }
            | Self::BackwardLayer {
                clock, sequence, ..
            } => of(*clock, Some(*sequence)),
            Self::Merge { clock, .. } | Self::Count { clock, .. } => of(*clock, None),
            Self::Copy { version, .. } => of(*version, None),
        }
    }
}

impl Message {
    /// That of its span, and of which clock it is; none of what is no transfer of training.
    pub const fn transfer(&self) -> Option<(Activity, Step)> {
        match self {
            Self::Push(push) => Some((Activity::Gradient, push.clock)),
            Self::Weights(weights) => Some((Activity::Weights, weights.clock)),
            Self::Greeting(_)
            | Self::Score(_)
            | Self::Refused(_)
            | Self::Copy(_)
            | Self::Kept(..)
            | Self::Stable(_)
            | Self::Beat(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::LayerIndex;

    #[test]
    fn backward_costs_the_same_at_once_and_layer_by_layer() {
        let wanted = super::super::Wanted {
            exchange: super::super::Exchange::AllReduce,
            placement: super::super::Placement::Single,
            shards: 0,
            members: 1,
            parameters: &[3, 4],
            micro_batches: 1,
            speeds: &[],
        };
        let job = Job {
            run: super::super::RunDigest([0; 32]),
            layout: super::super::Layout::new(&wanted).expect("sound"),
            staleness: super::super::Staleness::default(),
            steps: 1,
            layers: 2,
            codecs: crate::parameter_server::Codecs::of(crate::codec::CodecChoice::F32),
            evaluate_every: 0,
            evaluation_micro_batches: 0,
            copies: None,
        };
        let layer = |flops| LayerCost {
            flops,
            parameters: 1,
            output_bytes: 4,
            stash_bytes: 4,
        };
        let layers = [layer([1.0, 2.0, 4.0]), layer([8.0, 16.0, 32.0])];
        let (clock, sequence) = (Step(0), 0);
        let whole = Task::Backward { clock, sequence }.cost(&job, &layers);
        assert_eq!(whole.flops, [0.0, 18.0, 36.0]);
        let parts = [0, 1].map(|layer| {
            let layer = LayerIndex(layer);
            let task = Task::BackwardLayer {
                clock,
                sequence,
                layer,
            };
            task.cost(&job, &layers).flops
        });
        let sum = [0, 1, 2].map(|part| parts[0][part] + parts[1][part]);
        assert_eq!(sum, whole.flops);
    }
}
