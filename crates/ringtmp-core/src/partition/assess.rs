//! What an arrangement really comes to, with the limits that its stages get.

use super::problem::Problem;
use super::states::Shards;
use crate::codec::TensorCodec;
use crate::schedule::{Limits, StageCost, limits, round_trip_seconds};
use std::fmt;
use std::ops::Range;

/// Who holds what, within which limits.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrangement {
    /// Places in [`Problem::devices`], head first.
    pub order: Vec<usize>,
    /// As in a plan: one more than there are stages.
    pub cuts: Vec<u16>,
    /// What bounds each stage.
    pub limits: Vec<Limits>,
    /// How tensors are written on each hop, head first: one fewer than stages.
    pub codecs: Vec<TensorCodec>,
    /// The bound: no micro-batch can take less, in the long run.
    pub seconds: f64,
}

impl Arrangement {
    /// Device and layers of each stage.
    pub(super) fn shards(&self) -> Shards {
        let bounds = self.cuts.windows(2);
        let layers = bounds.map(|pair| usize::from(pair[0])..usize::from(pair[1]));
        self.order.iter().copied().zip(layers).collect()
    }

    /// Hops that are written in 8 bits.
    pub(super) fn rounded_hops(&self) -> usize {
        let rounded = |codec: &&TensorCodec| **codec == TensorCodec::Int8;
        self.codecs.iter().filter(rounded).count()
    }
}

/// A peer that lacks memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Its place in [`Problem::devices`].
    pub device: usize,
    /// What it would hold.
    pub layers: Range<usize>,
    /// Bytes that this takes at least.
    pub needed_bytes: u64,
    /// Bytes that it gives.
    pub memory_bytes: u64,
}

/// No arrangement fits the memory there is. What is told is the arrangement that lacks least in all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the model fits no arrangement of these devices: {}", self.told(|device| format!("device {}", device + 1)))]
pub struct NoFit {
    /// Who lacks, head first; at least one.
    pub lacks: Vec<Lack>,
}

impl NoFit {
    /// In words for people, who know devices by name.
    pub fn told(&self, name: impl Fn(usize) -> String) -> String {
        let one = |lack: &Lack| {
            let missing = Megabytes(lack.needed_bytes - lack.memory_bytes);
            let (needed, given) = (Megabytes(lack.needed_bytes), Megabytes(lack.memory_bytes));
            let name = name(lack.device);
            let layers = layers_in_words(&lack.layers);
            format!("{name} lacks {missing} for {layers} ({needed} needed, {given} given)")
        };
        self.lacks.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}

/// Layers as people count them, from 1.
pub fn layers_in_words(layers: &Range<usize>) -> String {
    let (from, to) = (layers.start + 1, layers.end);
    if from == to {
        format!("layer {from}")
    } else {
        format!("layers {from} to {to}")
    }
}

struct Megabytes(u64);

impl fmt::Display for Megabytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} MB", self.0 as f64 / 1e6)
    }
}

impl Problem {
    /// What each stage of an arrangement costs, whose hops are written as told.
    pub fn stages(&self, order: &[usize], cuts: &[u16], codecs: &[TensorCodec]) -> Vec<StageCost> {
        let stages = order.iter().zip(cuts.windows(2)).enumerate();
        stages
            .map(|(i, (device, pair))| {
                let layers = usize::from(pair[0])..usize::from(pair[1]);
                let next = order.get(i + 1).copied().zip(codecs.get(i).copied());
                self.stage(*device, layers, next)
            })
            .collect()
    }

    /// Whether a device gives too little memory for any layer.
    pub fn holds_nothing(&self, device: usize) -> bool {
        (0..self.layers.len()).all(|layer| {
            let cost = self.stage(device, layer..layer + 1, None);
            cost.lacking_bytes(&self.schedule, self.micro_batches, 1) > 0
        })
    }

    /// The bound of an arrangement under given limits and codecs.
    pub fn seconds(
        &self,
        order: &[usize],
        cuts: &[u16],
        limits: &[Limits],
        codecs: &[TensorCodec],
    ) -> f64 {
        let costs = self.stages(order, cuts, codecs);
        let arrangement = Arrangement {
            order: order.to_vec(),
            cuts: cuts.to_vec(),
            limits: limits.to_vec(),
            codecs: codecs.to_vec(),
            seconds: 0.0,
        };
        self.bound_seconds(&arrangement, &costs)
    }

    /// The limits and the bound of an arrangement.
    ///
    /// # Errors
    ///
    /// Who lacks memory for it.
    pub(super) fn assess(
        &self,
        shards: &Shards,
        codecs: Vec<TensorCodec>,
    ) -> Result<Arrangement, NoFit> {
        let order: Vec<usize> = shards.iter().map(|(device, _)| *device).collect();
        let ends = shards.iter().map(|(_, layers)| layers.end);
        let cuts: Vec<u16> = std::iter::once(0)
            .chain(ends)
            .map(|cut| u16::try_from(cut).expect("a run has at most LAYERS_MAX layers"))
            .collect();
        let costs = self.stages(&order, &cuts, &codecs);
        let lacks: Vec<Lack> = shards
            .iter()
            .zip(&costs)
            .enumerate()
            .filter_map(|(i, ((device, layers), cost))| {
                let later = order.len() - i;
                let lacking = cost.lacking_bytes(&self.schedule, self.micro_batches, later);
                let memory_bytes = cost.memory_bytes_max?;
                (lacking > 0).then(|| Lack {
                    device: *device,
                    layers: layers.clone(),
                    needed_bytes: memory_bytes.saturating_add(lacking),
                    memory_bytes,
                })
            })
            .collect();
        if !lacks.is_empty() {
            return Err(NoFit { lacks });
        }
        let limits = limits(&self.schedule, self.micro_batches, &costs);
        let mut arrangement = Arrangement {
            order,
            cuts,
            limits,
            codecs,
            seconds: 0.0,
        };
        arrangement.seconds = self.bound_seconds(&arrangement, &costs);
        Ok(arrangement)
    }

    /// What a micro-batch takes at least in the long run: at the busiest stage, on the busiest link, on the shared medium, or
    /// for as many on their way as a credit allows.
    fn bound_seconds(&self, arrangement: &Arrangement, costs: &[StageCost]) -> f64 {
        let busiest = costs
            .iter()
            .map(|cost| cost.seconds.iter().sum::<f64>().max(cost.transfer_seconds))
            .fold(0.0, f64::max);
        // The tail sends nothing ahead.
        let trips = round_trip_seconds(costs);
        let ahead = trips.iter().zip(&arrangement.limits).take(costs.len() - 1);
        let slowest = ahead
            .map(|(trip, limits)| trip / f64::from(limits.credit))
            .fold(busiest, f64::max);
        let hops = arrangement.order.windows(2).zip(&arrangement.cuts[1..]);
        let air: f64 = hops
            .zip(&arrangement.codecs)
            .map(|((pair, cut), codec)| {
                let bytes = self.sent_bytes(usize::from(*cut), *codec);
                self.air_per_byte(pair[0], pair[1]) * bytes as f64
            })
            .sum();
        slowest.max(air)
    }
}
