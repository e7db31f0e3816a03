//! What the planner is told.

use crate::codec::{CodecChoice, TensorCodec};
use crate::plan::LayerCost;
use crate::replica::VERSIONS_HELD;
use crate::schedule::{ScheduleSpec, StageCost};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

/// A peer, as the planner sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Seconds of F, of B and of W per sample, for each layer of the run.
    pub layer_seconds: Vec<[f64; 3]>,
    /// Bytes that its stage may take; none where it is not known, which means being frugal.
    pub memory_bytes: Option<u64>,
    /// Whether it is a station of [`Problem::medium_bytes_per_second`].
    pub on_medium: bool,
}

/// What a link between two peers costs, the same both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hop {
    /// From the last byte sent to the arrival, in seconds.
    pub delay_seconds: f64,
    /// None for a link that takes any amount at once, or of which nothing is known.
    #[serde(default)]
    pub bytes_per_second: Option<f64>,
}

impl Hop {
    /// How long the link is taken up by so many bytes.
    pub fn transfer_seconds(&self, bytes: u64) -> f64 {
        self.bytes_per_second
            .map_or(0.0, |rate| bytes as f64 / rate)
    }
}

/// The links between peers, by their places in [`Problem::devices`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hops {
    usual: Hop,
    between: BTreeMap<(usize, usize), Hop>,
}

impl Hops {
    /// Links that are all alike.
    pub fn all(usual: Hop) -> Self {
        Self {
            usual,
            between: BTreeMap::new(),
        }
    }

    /// The same links, all so many times faster, and nearer by the delay of the nearest.
    pub(super) fn eased(&self, factor: f64) -> Self {
        let delays = self.known().map(|hop| hop.delay_seconds);
        let nearest = delays.fold(f64::INFINITY, f64::min);
        let ease = |hop: &Hop| Hop {
            delay_seconds: hop.delay_seconds - nearest,
            bytes_per_second: hop.bytes_per_second.map(|rate| rate * factor),
        };
        let between = self.between.iter().map(|(pair, hop)| (*pair, ease(hop)));
        Self {
            usual: ease(&self.usual),
            between: between.collect(),
        }
    }

    /// What links are usually like.
    pub(super) fn usual(&self) -> Hop {
        self.usual
    }

    /// Takes those of which nothing is known for what the others are in the middle.
    pub fn guess_unknown(&mut self) {
        let middle = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        let known = || self.between.values();
        let delay = middle(known().map(|hop| hop.delay_seconds).collect());
        let rate = middle(known().filter_map(|hop| hop.bytes_per_second).collect());
        self.usual = Hop {
            delay_seconds: delay.unwrap_or_default(),
            bytes_per_second: rate,
        };
    }

    /// Says what the link between two peers is like.
    pub fn set(&mut self, one: usize, other: usize, hop: Hop) {
        self.between.insert((one.min(other), one.max(other)), hop);
    }

    /// All that is known: what links are usually like, and those that are not.
    pub fn known(&self) -> impl Iterator<Item = Hop> {
        std::iter::once(self.usual).chain(self.between.values().copied())
    }

    /// What the link between two peers is like.
    pub fn get(&self, one: usize, other: usize) -> Hop {
        let between = self.between.get(&(one.min(other), one.max(other)));
        between.copied().unwrap_or(self.usual)
    }
}

/// A run and the peers there are for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// What the layers cost.
    pub layers: Vec<LayerCost>,
    /// How the run is scheduled.
    pub schedule: ScheduleSpec,
    /// Micro-batches of a step.
    pub micro_batches: u16,
    /// The peers.
    pub devices: Vec<Device>,
    /// The links between them.
    pub hops: Hops,
    /// How tensors are written between stages; where that is open, planning chooses for each hop.
    pub codec: CodecChoice,
    /// Bytes of a sample that comes to the head from a source elsewhere; none where the head draws its own.
    pub sample_bytes: u64,
    /// Bytes per second of the medium that stations share; none where there is no such medium.
    pub medium_bytes_per_second: Option<f64>,
    /// Whether each peer keeps copies of its layers, and of those of the peer before it.
    pub keeps_copies: bool,
}

impl Problem {
    /// What a stage costs that holds `layers` on a device; `next` is the device after it, and how it is written to.
    pub fn stage(
        &self,
        device: usize,
        layers: Range<usize>,
        next: Option<(usize, TensorCodec)>,
    ) -> StageCost {
        let samples = f64::from(self.schedule.micro_batch_samples);
        let held = &self.devices[device].layer_seconds[layers.clone()];
        let (delay_seconds, transfer_seconds) = next.map_or((0.0, 0.0), |(next, codec)| {
            let hop = self.hops.get(device, next);
            let bytes = self.sent_bytes(layers.end, codec);
            (hop.delay_seconds, hop.transfer_seconds(bytes))
        });
        let costs = &self.layers[layers.clone()];
        StageCost {
            seconds: [0, 1, 2]
                .map(|pass| samples * held.iter().map(|layer| layer[pass]).sum::<f64>()),
            hop_seconds: delay_seconds + transfer_seconds,
            transfer_seconds,
            parameters: saturating_sum(costs.iter().map(|layer| layer.parameters)),
            stash_bytes: self
                .micro_batch_bytes(saturating_sum(costs.iter().map(|layer| layer.stash_bytes))),
            input_bytes: self.input_bytes(layers.start),
            memory_bytes_max: self.devices[device].memory_bytes,
            copies: if self.keeps_copies { VERSIONS_HELD } else { 0 },
        }
    }

    /// Bytes of a micro-batch, as it was computed, between the layer before `boundary` and the one after it.
    pub(super) fn input_bytes(&self, boundary: usize) -> u64 {
        let before = boundary.checked_sub(1);
        self.micro_batch_bytes(
            before.map_or(self.sample_bytes, |before| self.layers[before].output_bytes),
        )
    }

    /// The same, as it crosses a link.
    pub(super) fn sent_bytes(&self, boundary: usize, codec: TensorCodec) -> u64 {
        codec.bytes(self.input_bytes(boundary))
    }

    fn micro_batch_bytes(&self, sample_bytes: u64) -> u64 {
        sample_bytes.saturating_mul(u64::from(self.schedule.micro_batch_samples))
    }

    /// How long the shared medium is taken up by a byte of each tensor that crosses from one device to the other, and by one of each
    /// gradient that comes back, in seconds.
    pub(super) fn air_per_byte(&self, one: usize, other: usize) -> f64 {
        let Some(rate) = self.medium_bytes_per_second else {
            return 0.0;
        };
        let ends = [one, other]
            .into_iter()
            .filter(|device| self.devices[*device].on_medium);
        // A frame between two stations goes through the air to the access point and again from there.
        2.0 * ends.count() as f64 / rate
    }

    /// Whether anything depends on how tensors are written: there is a link or a medium whose rate is known.
    pub(super) fn bytes_matter(&self) -> bool {
        let known = self.hops.known().any(|hop| hop.bytes_per_second.is_some());
        known || self.medium_bytes_per_second.is_some()
    }
}

fn saturating_sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}
