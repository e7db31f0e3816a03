//! How far a stage may run ahead, and how much it may put off: what the rule of [`super::Schedule`] is bounded by.
//!
//! ```text
//! c_i  = ceil(alpha * R_i / T) + 1     credit of stage i
//! R_i  = own F + B, those of all later stages, and the delays of the later hops, both ways
//! T    = the most that one stage does for a micro-batch: max(F + B + W)
//! ```
//!
//! A credit below `R_i / T` caps the rate at `c_i / R_i`: `alpha = 2` leaves as much again for jitter. Memory decides between
//! the least that works at all, what the formula wants, and the most that is of use. The room decides them with the plan, which
//! carries them to the peers.

use crate::plan::LayerCost;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The highest credit, whatever the formula says: bounds what a stage holds and what its successor queues.
pub const CREDIT_MAX: u16 = 64;

/// The most W that may be put off, whatever memory there is. In `sync` no more than the micro-batches of a step are ever
/// there to be put off, and 32 of them take the idle share below one percent.
pub const WEIGHTS_PENDING_MAX: u16 = 32;

/// The most places for activations: credit and put-off W never take more.
pub const SLOTS_MAX: u16 = CREDIT_MAX + WEIGHTS_PENDING_MAX;

/// The most W put off where memory is short or unknown: each costs the activations of a micro-batch.
const WEIGHTS_PENDING_FRUGAL: u16 = 8;

/// The most W put off in modes that do not flush: more does not gain (measured in docs/performance.md).
const WEIGHTS_PENDING_FLOWING: u16 = 16;

/// Steps between the least limits and those of the formula, and again from there to the most of use.
const LEVELS: u32 = 16;

/// The most round trips that a credit covers: beyond them it is at its maximum anyway.
const ROUND_TRIPS_MAX: f64 = 64.0;

/// Bytes of a number.
const NUMBER_BYTES: u64 = 4;

/// When a stage may begin a micro-batch of the next step, and with which weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Each stage flushes for itself: F of step t uses the weights after t updates. Equals training in one process.
    #[default]
    #[serde(rename = "sync")]
    Sync,
    /// No flush, two versions: F of step t uses the weights after t - 1 updates, at every stage (PipeDream-2BW, ICML'21).
    #[serde(rename = "2bw")]
    TwoVersions,
    /// No flush, the newest weights there are, kept until their W (PipeDream, SOSP'19). Every stage has a delay of its own.
    #[serde(rename = "async")]
    Async,
    /// The static rival: at most `stages - i` micro-batches ahead, then F and B in turn, B and W as one, flush.
    #[serde(rename = "1f1b")]
    OneForwardOneBackward,
}

impl Mode {
    /// All, in the order in which they are told to users.
    pub const ALL: [Self; 4] = [
        Self::Sync,
        Self::TwoVersions,
        Self::Async,
        Self::OneForwardOneBackward,
    ];

    /// As run files and command lines write it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::TwoVersions => "2bw",
            Self::Async => "async",
            Self::OneForwardOneBackward => "1f1b",
        }
    }

    /// Whether a stage finishes a step before it begins the next.
    pub const fn flushes(self) -> bool {
        match self {
            Self::Sync | Self::OneForwardOneBackward => true,
            Self::TwoVersions | Self::Async => false,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A text that names no mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no schedule {0:?}; choose sync, 2bw, async or 1f1b")]
pub struct UnknownMode(String);

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        let named = Self::ALL.into_iter().find(|mode| mode.word() == text);
        named.ok_or_else(|| UnknownMode(text.chars().take(32).collect()))
    }
}

/// How a run is scheduled: the part of its outline on which room and peers must agree.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleSpec {
    /// The mode.
    pub mode: Mode,
    /// Samples of a micro-batch; layer costs are per sample.
    pub micro_batch_samples: u32,
    /// How many round trips to the tail a credit covers: alpha.
    pub credit_factor: f64,
    /// The most W put off; at most [`WEIGHTS_PENDING_MAX`].
    pub weights_pending_max: u16,
    /// The delay of a hop, as the operations per sample that a stage could do meanwhile.
    pub hop_flops: f64,
    /// Bytes that a stage may take at a peer; none where it is not known, which means being frugal.
    pub memory_bytes_max: Option<u64>,
}

impl ScheduleSpec {
    /// The usual one: alpha 2, hops that cost nothing, frugal.
    pub const fn new(mode: Mode, micro_batch_samples: u32) -> Self {
        Self {
            mode,
            micro_batch_samples,
            credit_factor: 2.0,
            weights_pending_max: WEIGHTS_PENDING_MAX,
            hop_flops: 0.0,
            memory_bytes_max: None,
        }
    }

    /// Whether limits can be computed from it.
    pub fn is_sane(&self) -> bool {
        let positive = |x: f64| x.is_finite() && x >= 0.0;
        self.micro_batch_samples >= 1
            && positive(self.credit_factor)
            && positive(self.hop_flops)
            && (1..=WEIGHTS_PENDING_MAX).contains(&self.weights_pending_max)
    }
}

/// What bounds one stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Micro-batches that may be on their way beyond this stage: F done, B (or the release) not yet back.
    pub credit: u16,
    /// W put off before one of them comes before F.
    pub weights_pending: u16,
    /// Places for activations, of those in flight and those kept for W. Where a stage flushes, both share them, and it never
    /// needs more than a step has micro-batches.
    pub slots: u16,
}

impl Limits {
    /// Whether a stage can work within them, and they bound what it takes.
    pub fn are_sane(&self) -> bool {
        (1..=CREDIT_MAX).contains(&self.credit)
            && (1..=WEIGHTS_PENDING_MAX).contains(&self.weights_pending)
            && (1..=SLOTS_MAX).contains(&self.slots)
    }
}

/// What a stage costs under a plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StageCost {
    /// Operations of F, of B and of W, per sample; divided by the speed of its peer where peers differ.
    pub flops: [f64; 3],
    /// The delay of the hop to the next stage, in the same unit.
    pub hop: f64,
    /// Numbers it learns.
    pub parameters: u64,
    /// Bytes it keeps from F until W, per sample.
    pub stash_bytes: u64,
    /// Bytes of its input, per sample; at the head none, unless samples come to it from sources elsewhere.
    pub input_bytes: u64,
}

impl StageCost {
    /// The costs of the stages between `cuts`, on equal peers.
    pub fn of(layers: &[LayerCost], cuts: &[u16], spec: &ScheduleSpec) -> Vec<Self> {
        let bounds = cuts.windows(2);
        bounds
            .map(|pair| {
                let (from, to) = (usize::from(pair[0]), usize::from(pair[1]));
                let held = layers.get(from..to).unwrap_or_default();
                let before = from.checked_sub(1).and_then(|before| layers.get(before));
                Self {
                    flops: [0, 1, 2].map(|i| held.iter().map(|layer| layer.flops[i]).sum()),
                    hop: spec.hop_flops,
                    parameters: saturating_sum(held.iter().map(|layer| layer.parameters)),
                    stash_bytes: saturating_sum(held.iter().map(|layer| layer.stash_bytes)),
                    input_bytes: before.map_or(0, |layer| layer.output_bytes),
                }
            })
            .collect()
    }

    /// Bytes a stage takes at most: its parameters with their gradient, one number of optimizer state and as many versions of
    /// weights as the mode keeps; its slots; and the inputs that its predecessor's credit lets wait here.
    pub fn memory_bytes(
        &self,
        limits: Limits,
        predecessor: Option<Limits>,
        spec: &ScheduleSpec,
        micro_batches: u16,
    ) -> u64 {
        let versions = u64::from(versions(spec.mode, limits, micro_batches));
        let samples = u64::from(spec.micro_batch_samples);
        let weights = self
            .parameters
            .saturating_mul(NUMBER_BYTES * (2 + versions));
        let slots = (samples * u64::from(limits.slots)).saturating_mul(self.stash_bytes);
        // At the head samples wait, whose window is its own credit.
        let queue = samples * u64::from(predecessor.unwrap_or(limits).credit);
        let queue = queue.saturating_mul(self.input_bytes);
        weights.saturating_add(slots).saturating_add(queue)
    }
}

/// Versions of its weights that a stage holds at once.
pub fn versions(mode: Mode, limits: Limits, micro_batches: u16) -> u16 {
    match mode {
        Mode::Sync | Mode::OneForwardOneBackward => 1,
        Mode::TwoVersions => 2,
        // Micro-batches between F and W span so many steps, each of which may have seen an update.
        Mode::Async => limits.slots / micro_batches.max(1) + 2,
    }
}

/// The limits of all stages, head first: the most generous that leave every stage within the memory there is, and the least
/// that work where none does (whether a stage fits at all is for the plan to decide). Generosity is one number for the whole
/// ring, since a clamped credit anywhere caps the rate of all.
pub fn limits(spec: &ScheduleSpec, micro_batches: u16, costs: &[StageCost]) -> Vec<Limits> {
    if spec.mode == Mode::OneForwardOneBackward {
        return (0..costs.len()).map(|i| rival(i, costs.len())).collect();
    }
    let round_trips = round_trips(spec, costs);
    let at = |level| {
        let stages = round_trips.iter();
        stages
            .map(|trips| generous(spec, micro_batches, *trips, level))
            .collect::<Vec<_>>()
    };
    let Some(memory) = spec.memory_bytes_max else {
        return at(LEVELS);
    };
    let fits = |limits: &Vec<Limits>| {
        let before = std::iter::once(None).chain(limits.iter().copied().map(Some));
        let mut stages = costs.iter().zip(limits).zip(before);
        stages.all(|((cost, limits), before)| {
            cost.memory_bytes(*limits, before, spec, micro_batches) <= memory
        })
    };
    let mut levels = (0..=2 * LEVELS).rev().map(at);
    levels.find(fits).unwrap_or_else(|| at(0))
}

/// What 1F1B is bounded by: it has no W to put off but the one it does next.
fn rival(stage: usize, stages: usize) -> Limits {
    let later = u16::try_from(stages - stage).unwrap_or(u16::MAX);
    let credit = later.min(CREDIT_MAX);
    Limits {
        credit,
        weights_pending: 1,
        slots: credit + 1,
    }
}

/// Of each stage, `R_i / T`: how many micro-batches the busiest stage works off while one goes to the tail and back.
fn round_trips(spec: &ScheduleSpec, costs: &[StageCost]) -> Vec<f64> {
    let total = |cost: &StageCost| cost.flops.iter().sum::<f64>();
    let busiest = costs.iter().map(total).fold(0.0, f64::max);
    let mut later = 0.0;
    let mut trips: Vec<f64> = costs
        .iter()
        .enumerate()
        .rev()
        .map(|(i, cost)| {
            let hop = if i + 1 == costs.len() { 0.0 } else { cost.hop };
            later += cost.flops[0] + cost.flops[1] + 2.0 * hop;
            spec.credit_factor * later / busiest
        })
        .map(|trips| {
            if trips.is_finite() {
                trips.min(ROUND_TRIPS_MAX)
            } else {
                ROUND_TRIPS_MAX
            }
        })
        .collect();
    trips.reverse();
    trips
}

/// The limits of one stage at a level of generosity: 0 is the least, [`LEVELS`] what the formula wants, twice that the most
/// that is of use.
fn generous(spec: &ScheduleSpec, micro_batches: u16, trips: f64, level: u32) -> Limits {
    let credit = |trips: f64| (trips.ceil() as u16).saturating_add(1).min(CREDIT_MAX);
    let pending = spec.weights_pending_max.min(WEIGHTS_PENDING_MAX);
    let between = |low: u16, high: u16, share: u32| {
        let span = u32::from(high.saturating_sub(low));
        low + u16::try_from(span * share / LEVELS).unwrap_or(0)
    };
    // Credits and put-off W. Below two credits nothing overlaps, and an evaluation would stop the flow.
    let least = (2, 1);
    let wanted = (credit(trips).max(2), pending.min(WEIGHTS_PENDING_FRUGAL));
    let (first, second) = (level.min(LEVELS), level.saturating_sub(LEVELS));
    let credit = between(least.0, wanted.0, first);
    let weights_pending = between(least.1, wanted.1, first);
    if spec.mode.flushes() {
        // What is in flight and what is put off share the slots, of which a step never needs more than micro-batches.
        let all = micro_batches.clamp(2, SLOTS_MAX);
        let slots = between((credit + weights_pending).min(all), all, second);
        Limits {
            credit: slots.min(CREDIT_MAX),
            weights_pending: slots.min(pending).min(micro_batches),
            slots,
        }
    } else {
        let most = pending.min(WEIGHTS_PENDING_FLOWING);
        let weights_pending = between(weights_pending, most, second);
        Limits {
            credit,
            weights_pending,
            slots: credit + weights_pending,
        }
    }
}

fn saturating_sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}
