//! How far a stage may run ahead, and how much it may put off: what the rule of [`super::Schedule`] is bounded by.
//!
//! ```text
//! c_i  = ceil(alpha * R_i / T) + 1     credit of stage i
//! R_i  = own F + B, those of all later stages, and the later hops, both ways
//! T    = the most that one stage does for a micro-batch: max(F + B + W)
//! ```
//!
//! A credit below `R_i / T` caps the rate at `c_i / R_i`: `alpha = 2` leaves as much again for jitter. Memory decides between
//! the least that works at all, what the formula wants, and the most that is of use. The room decides them with the plan, which
//! carries them to the peers.

use crate::ids::{Step, Version};
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
const LEVELS: u32 = 64;

/// The most round trips that a credit covers: beyond them it is at its maximum anyway.
const ROUND_TRIPS_MAX: f64 = 64.0;

/// The most numbers that an optimizer keeps for each that is learnt: Adam keeps two.
pub const OPTIMIZER_NUMBERS_MAX: u8 = 8;

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

    /// The weights that F of a step uses at a stage that has made `updates`. What belongs to the time after the last of
    /// `steps`, an evaluation, sees all of them.
    pub fn version(self, step: Step, updates: Step, steps: u32) -> Version {
        Version(match self {
            Self::Sync | Self::OneForwardOneBackward => step.0,
            Self::TwoVersions | Self::Async if step.0 >= steps => steps,
            Self::TwoVersions => step.0.saturating_sub(1),
            Self::Async => updates.0,
        })
    }

    /// Versions of weights that training needs to go on from the end of a step.
    pub const fn versions_copied(self) -> u16 {
        match self {
            Self::Sync | Self::OneForwardOneBackward | Self::Async => 1,
            Self::TwoVersions => 2,
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
    /// Numbers that the optimizer keeps for each one that is learnt; at most [`OPTIMIZER_NUMBERS_MAX`].
    pub optimizer_numbers: u8,
    /// Whether an update waits for the sum of the squares of all stages' gradients.
    pub clips_gradients: bool,
}

impl ScheduleSpec {
    /// The usual one: alpha 2, an optimizer with one number for each that is learnt, gradients as they are.
    pub const fn new(mode: Mode, micro_batch_samples: u32) -> Self {
        Self {
            mode,
            micro_batch_samples,
            credit_factor: 2.0,
            weights_pending_max: WEIGHTS_PENDING_MAX,
            optimizer_numbers: 1,
            clips_gradients: false,
        }
    }

    /// Whether limits can be computed from it.
    pub fn is_sane(&self) -> bool {
        let positive = |x: f64| x.is_finite() && x >= 0.0;
        self.micro_batch_samples >= 1
            && positive(self.credit_factor)
            && self.optimizer_numbers <= OPTIMIZER_NUMBERS_MAX
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

/// What a stage costs under a plan, per micro-batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StageCost {
    /// Seconds of F, of B and of W.
    pub seconds: [f64; 3],
    /// Seconds to the next stage.
    pub hop_seconds: f64,
    /// Of these, how long the link is taken up: what is sent meanwhile has to wait.
    pub transfer_seconds: f64,
    /// Numbers it learns.
    pub parameters: u64,
    /// Bytes it keeps from F until W.
    pub stash_bytes: u64,
    /// Bytes of its input; at the head none, unless samples come to it from sources elsewhere.
    pub input_bytes: u64,
    /// Bytes that it may take; none where it is not known, which means being frugal.
    pub memory_bytes_max: Option<u64>,
    /// Copies of its layers, each with all that training goes on from, that it keeps beside them.
    pub copies: u16,
}

impl StageCost {
    /// Bytes a stage takes at most: its parameters with their gradient, what the optimizer keeps of them and as many versions of
    /// them as the mode wants; its copies of them; its slots; and the inputs that its predecessor's credit lets wait here.
    pub fn memory_bytes(
        &self,
        limits: Limits,
        predecessor_credit: Option<u16>,
        spec: &ScheduleSpec,
        micro_batches: u16,
    ) -> u64 {
        let numbers = 1
            + u64::from(spec.optimizer_numbers)
            + u64::from(versions(spec, limits, micro_batches))
            + u64::from(self.copies) * numbers_copied(spec);
        let weights = self.parameters.saturating_mul(NUMBER_BYTES * numbers);
        let slots = u64::from(limits.slots).saturating_mul(self.stash_bytes);
        // At the head samples wait, whose window is its own credit.
        let queue = u64::from(predecessor_credit.unwrap_or(limits.credit));
        let queue = queue.saturating_mul(self.input_bytes);
        weights.saturating_add(slots).saturating_add(queue)
    }

    /// Bytes that are lacking for the least that works, of a stage with so many stages from it to the tail.
    pub fn lacking_bytes(&self, spec: &ScheduleSpec, micro_batches: u16, later: usize) -> u64 {
        let least = match spec.mode {
            Mode::OneForwardOneBackward => rival(later),
            Mode::Sync | Mode::TwoVersions | Mode::Async => least(spec, micro_batches),
        };
        let before = match spec.mode {
            Mode::OneForwardOneBackward => rival(later + 1),
            Mode::Sync | Mode::TwoVersions | Mode::Async => least,
        };
        let needed = self.memory_bytes(least, Some(before.credit), spec, micro_batches);
        needed.saturating_sub(self.memory_bytes_max.unwrap_or(u64::MAX))
    }
}

/// Numbers that a copy has for each one that is learnt.
pub fn numbers_copied(spec: &ScheduleSpec) -> u64 {
    u64::from(spec.mode.versions_copied()) + u64::from(spec.optimizer_numbers)
}

/// Versions of its weights that a stage holds at once.
pub fn versions(spec: &ScheduleSpec, limits: Limits, micro_batches: u16) -> u16 {
    match spec.mode {
        Mode::Sync | Mode::OneForwardOneBackward => 1,
        Mode::TwoVersions => 2,
        // Micro-batches between F and W span so many steps, each of which may have seen an update; one that waits for the sum of
        // squares is seen later.
        Mode::Async => limits.slots / micro_batches.max(1) + 2 + u16::from(spec.clips_gradients),
    }
}

/// The limits of all stages, head first: the most generous with which every stage keeps to its memory, and the least that work
/// where it cannot ([`StageCost::lacking_bytes`]). What waits at a stage is its predecessor's credit, so that both give way
/// where memory is short, the more generous one first.
pub fn limits(spec: &ScheduleSpec, micro_batches: u16, costs: &[StageCost]) -> Vec<Limits> {
    if spec.mode == Mode::OneForwardOneBackward {
        return (0..costs.len()).map(|i| rival(costs.len() - i)).collect();
    }
    let trips = round_trips(spec, costs);
    let most = |cost: &StageCost| levels(cost.memory_bytes_max.is_some());
    let mut levels: Vec<u32> = costs.iter().map(most).collect();
    let at =
        |stage: usize, levels: &[u32]| generous(spec, micro_batches, trips[stage], levels[stage]);
    for (stage, cost) in costs.iter().enumerate() {
        let Some(memory) = cost.memory_bytes_max else {
            continue;
        };
        let before = stage.checked_sub(1);
        loop {
            let credit = before.map(|before| at(before, &levels).credit);
            if cost.memory_bytes(at(stage, &levels), credit, spec, micro_batches) <= memory {
                break;
            }
            let gives_way = match before {
                Some(before) if levels[before] > levels[stage] => before,
                Some(_) | None => stage,
            };
            if levels[gives_way] == 0 {
                break;
            }
            levels[gives_way] -= 1;
        }
    }
    (0..costs.len()).map(|stage| at(stage, &levels)).collect()
}

/// The highest level of generosity: where memory is not known, what the formula wants.
fn levels(memory_is_known: bool) -> u32 {
    if memory_is_known {
        3 * LEVELS
    } else {
        2 * LEVELS
    }
}

/// The least limits of a stage whose credit covers so many of `R / T`; none if no memory suffices. In 1F1B the credit is the
/// number of stages to the tail.
pub fn least_limits(
    spec: &ScheduleSpec,
    micro_batches: u16,
    credit: u16,
    memory_is_known: bool,
) -> Option<Limits> {
    if spec.mode == Mode::OneForwardOneBackward {
        return Some(rival(usize::from(credit.max(1))));
    }
    let trips = spec.credit_factor * f64::from(credit);
    let limits = |level| generous(spec, micro_batches, trips, level);
    let mut all = (0..=levels(memory_is_known)).map(limits);
    all.find(|limits| limits.credit >= credit)
}

/// What 1F1B is bounded by, with so many stages from this one to the tail: it has no W to put off but the one it does next.
fn rival(later: usize) -> Limits {
    let credit = u16::try_from(later).unwrap_or(u16::MAX).min(CREDIT_MAX);
    Limits {
        credit,
        weights_pending: 1,
        slots: credit + 1,
    }
}

/// The least that works.
fn least(spec: &ScheduleSpec, micro_batches: u16) -> Limits {
    generous(spec, micro_batches, 0.0, 0)
}

/// Of each stage R, head first: its own F and B, those of all later stages, and the later hops, both ways.
pub fn round_trip_seconds(costs: &[StageCost]) -> Vec<f64> {
    let later = |sum: &mut f64, (i, cost): (usize, &StageCost)| {
        let hop = if i + 1 == costs.len() {
            0.0
        } else {
            cost.hop_seconds
        };
        *sum += cost.seconds[0] + cost.seconds[1] + 2.0 * hop;
        Some(*sum)
    };
    let mut trips: Vec<f64> = costs.iter().enumerate().rev().scan(0.0, later).collect();
    trips.reverse();
    trips
}

/// Of each stage `alpha R / T`, head first: how many micro-batches the busiest stage or link works off while one goes to the tail
/// and back.
fn round_trips(spec: &ScheduleSpec, costs: &[StageCost]) -> Vec<f64> {
    let busy = |cost: &StageCost| cost.seconds.iter().sum::<f64>().max(cost.transfer_seconds);
    let busiest = costs.iter().map(busy).fold(0.0, f64::max);
    let trips = round_trip_seconds(costs).into_iter();
    trips
        .map(|seconds| spec.credit_factor * seconds / busiest)
        .collect()
}

/// The limits of one stage at a level of generosity: 0 is the least, [`LEVELS`] what the formula wants, twice that the most
/// that is of use.
fn generous(spec: &ScheduleSpec, micro_batches: u16, trips: f64, level: u32) -> Limits {
    // A ring of which nothing takes time has trips that are no number.
    let trips = if trips.is_finite() {
        trips.min(ROUND_TRIPS_MAX)
    } else {
        ROUND_TRIPS_MAX
    };
    let credit = (trips.ceil() as u16).saturating_add(1).min(CREDIT_MAX);
    let pending = match spec.mode {
        // Each that is put off makes an update later, and with it the weights of every F before (measured in docs/performance.md).
        Mode::Async => (micro_batches / 2).max(1),
        Mode::Sync | Mode::TwoVersions | Mode::OneForwardOneBackward => WEIGHTS_PENDING_MAX,
    };
    let pending = spec.weights_pending_max.min(pending);
    let between = |low: u16, high: u16, share: u32| {
        let span = u32::from(high.saturating_sub(low));
        low + u16::try_from(span * share / LEVELS).unwrap_or(0)
    };
    // Credits and put-off W. Below two credits nothing overlaps, and an evaluation would stop the flow.
    let least = (2, 1);
    let wanted = (credit.max(2), pending.min(WEIGHTS_PENDING_FRUGAL));
    // A credit below R / T caps the rate, whatever is put off.
    let covering = (trips / spec.credit_factor.max(1.0)).ceil() as u16;
    let covering = covering.clamp(least.0, wanted.0);
    let share = |phase: u32| level.saturating_sub(phase * LEVELS).min(LEVELS);
    let credit = if level <= LEVELS {
        between(least.0, covering, level)
    } else {
        between(covering, wanted.0, share(1))
    };
    let weights_pending = between(least.1, wanted.1, share(1));
    let second = share(2);
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
