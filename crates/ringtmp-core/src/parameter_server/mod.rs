//! Training on whole copies of the model: a parameter server, and ring all-reduce beside it. Sans-IO, as all of core.
//!
//! **Workers** hold the whole model. In each **step** (a worker's **clock** counts those it has finished) a worker computes the
//! gradients of its share of the step's micro-batches and **pushes** them, layer by layer while backward goes on. The parameters
//! are cut into **ranges**, each within one layer and owned by one **shard**, which adds up pushes, lets the optimizer update its
//! range, and sends the weights back: the answer to a push is the **pull**.
//!
//! ```text
//!   worker: F B..  layer 5 ──push──▶ shard 1: add, add, update ──weights──▶ all workers
//!                  layer 4 ──push──▶ shard 0: ...                          (while layers 3.. go backward)
//! ```
//!
//! **Staleness** tau says how far workers may drift apart. A worker begins the step with clock c only with weights in which all
//! pushes of all workers with clocks below c - tau are counted (Ho and others, "More effective distributed ML via a stale
//! synchronous parallel parameter server", 2013). With tau = 0 (BSP) all gradients of a step are added up, worker after worker,
//! and make one update: every run gives the same bits. With tau > 0 (SSP), or none (ASP), every push makes an update of its own
//! as it arrives; having seen a part of the batch, it has that part of the learning rate (Goyal and others, "Accurate, large
//! minibatch SGD", 2017), so that a whole batch of pushes goes as far as one update.
//!
//! **All-reduce** ([`Exchange::AllReduce`]): every member is worker and shard, and linked to its two neighbours alone. The gradient
//! of a range travels once round the ring, every worker adding its own, and ends at the range's shard, which updates; the
//! weights travel round once more (Rabenseifner, "Optimization of collective reduction operations", 2004, with the update
//! between reduce-scatter and all-gather).
//!
//! **Losses.** Every so many steps a shard's ranges are copied to its **buddy**, with what the optimizer remembers ([`CopySpec`]). Who
//! loses a link, or hears nothing over it for too long, says so and does nothing more; what members leave ([`Carried`]) is what those under the next plan
//! begin with ([`TeamStart`]): where all shards are left with what they hold, otherwise all with the newest version of which every shard is left.
//!
//! Each device is a [`Member`]: links, at most one worker, at most one shard. Inputs go into [`Member::handle`], outputs are
//! drained from [`Member::poll_output`].

mod chain;
mod collector;
mod copies;
mod cost;
mod desk;
mod interface;
mod layout;
mod member;
mod message;
mod plan;
mod shard;
mod worker;

#[cfg(test)]
mod tests;

pub use copies::CopySpec;
pub use cost::{COPY_OPERATIONS, Cost, UPDATE_OPERATIONS};
pub use interface::{
    Carried, Event, Input, KeptCopy, Outcome, Output, Polled, Reached, Task, Update,
};
pub use layout::{
    Exchange, Layout, LayoutError, MEMBERS_MAX, MemberIndex, Placement, RANGE_ELEMENTS_MAX,
    RANGES_MAX, RangeIndex, RangeSpec, ShardIndex, Wanted, WorkerIndex,
};
pub use member::{GREETING_INTERVAL, Member};
pub use message::{
    Copy, Frame, Greeting, Message, Numbers, Push, Refusal, RunDigest, Score, Sums, Weights,
};
pub use plan::{
    TeamDevice, TeamPlan, TeamPlanError, TeamSpare, TeamSpareReason, TeamStart, Topology,
};

use crate::codec::CodecChoice;
use crate::ids::Step;
use crate::replica::VERSIONS_HELD;
use crate::wire::Codec;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The most pushes of one range that a worker may have under way: one that is being counted while the next is computed. With
/// it, a fast worker cannot bury a slow shard.
pub const PUSHES_AHEAD_MAX: u32 = 2;

/// How far workers may drift apart: tau.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Staleness {
    /// A worker misses at most the pushes of so many clocks; 0 for none.
    Steps(u32),
    /// No limit.
    Infinite,
}

impl Default for Staleness {
    fn default() -> Self {
        Self::Steps(0)
    }
}

impl Staleness {
    /// Whether each step makes one update of all workers' gradients.
    pub const fn is_synchronous(self) -> bool {
        matches!(self, Self::Steps(0))
    }

    /// The clock below which all pushes must be in the weights with which a worker begins the step with clock `clock`.
    pub const fn needs(self, clock: Step) -> Step {
        match self {
            Self::Steps(tau) => Step(clock.0.saturating_sub(tau)),
            Self::Infinite => Step(0),
        }
    }
}

impl fmt::Display for Staleness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(tau) => tau.fmt(f),
            Self::Infinite => f.write_str("infinite"),
        }
    }
}

/// A text that is no staleness.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tau is a number of steps, or infinite, not {0:?}")]
pub struct NoStaleness(String);

impl FromStr for Staleness {
    type Err = NoStaleness;

    fn from_str(text: &str) -> Result<Self, NoStaleness> {
        if text == "infinite" {
            return Ok(Self::Infinite);
        }
        let steps = text.parse().map(Self::Steps);
        steps.map_err(|_| NoStaleness(text.chars().take(32).collect()))
    }
}

/// As it is written: a number or `"infinite"`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged, expecting = "tau is a number of steps, or \"infinite\"")]
enum Written {
    Steps(u32),
    Word(String),
}

impl TryFrom<Written> for Staleness {
    type Error = NoStaleness;

    fn try_from(written: Written) -> Result<Self, NoStaleness> {
        match written {
            Written::Steps(tau) => Ok(Self::Steps(tau)),
            Written::Word(word) if word == "infinite" => Ok(Self::Infinite),
            Written::Word(word) => Err(NoStaleness(word.chars().take(32).collect())),
        }
    }
}

impl From<Staleness> for Written {
    fn from(staleness: Staleness) -> Self {
        match staleness {
            Staleness::Steps(tau) => Self::Steps(tau),
            Staleness::Infinite => Self::Word("infinite".to_owned()),
        }
    }
}

/// Numbers of a gradient in 8 bits that share a scale, which so costs half a bit a number.
const GRADIENT_ROW: u32 = 64;

// So that a range with its last row filled up is still within the limit.
const _: () = assert!(layout::RANGE_ELEMENTS_MAX.is_multiple_of(GRADIENT_ROW));

/// How members write numbers to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codecs {
    /// Of a range's weights.
    pub weights: Codec,
    /// Of a range's gradient; where rows share a scale, zeros fill up the last one.
    pub gradients: Codec,
}

impl Codecs {
    /// What a run asks for. Weights are never in 8 bits: a step is less than the 127th of the largest of them.
    pub const fn of(choice: CodecChoice) -> Self {
        let (weights, gradients) = match choice {
            CodecChoice::F32 => (Codec::F32, Codec::F32),
            CodecChoice::F16 | CodecChoice::Auto => (Codec::F16, Codec::F16),
            CodecChoice::Int8 => (Codec::F16, Codec::I8 { row: GRADIENT_ROW }),
        };
        Self { weights, gradients }
    }
}

/// What all members agree on.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Names the run and its build: members with another do not take part.
    pub run: RunDigest,
    /// Who does what.
    pub layout: Layout,
    /// How far workers may drift apart.
    pub staleness: Staleness,
    /// Steps to make; every worker has a part in each.
    pub steps: u32,
    /// Layers of the model.
    pub layers: u16,
    /// How gradients and weights are written.
    pub codecs: Codecs,
    /// Evaluate before every so many steps, and at the end; 0 for the end only.
    pub evaluate_every: u32,
    /// Micro-batches of an evaluation, which workers share as those of a step; 0 for none.
    pub evaluation_micro_batches: u16,
    /// Which versions are copied, so that the run outlives the loss of a shard; none where none are.
    pub copies: Option<CopySpec>,
}

impl Job {
    /// Whether an evaluation stands before the step with this clock.
    pub fn evaluates_before(&self, clock: Step) -> bool {
        let due = clock.0 == self.steps
            || self.evaluate_every > 0 && clock.0.is_multiple_of(self.evaluate_every);
        self.evaluation_micro_batches > 0 && clock.0 > 0 && due
    }

    /// How a range's weights are written.
    pub fn weights(&self, range: RangeIndex) -> Option<Numbers> {
        self.numbers(range, self.codecs.weights)
    }

    /// How a range's gradient is written.
    pub fn gradient(&self, range: RangeIndex) -> Option<Numbers> {
        self.numbers(range, self.codecs.gradients)
    }

    fn numbers(&self, range: RangeIndex, codec: Codec) -> Option<Numbers> {
        let elements = self.layout.ranges.get(range.0 as usize)?.elements;
        let elements = match codec {
            Codec::I8 { row } => elements.next_multiple_of(row),
            Codec::F32 | Codec::F16 | Codec::U32 => elements,
        };
        Some(Numbers { codec, elements })
    }

    /// Bytes that copies take at a member at most: two versions of each part that is there, or whose buddy it is.
    pub fn copies_bytes(&self, member: MemberIndex) -> u64 {
        let (layout, Some(copies)) = (&self.layout, self.copies) else {
            return 0;
        };
        let shards = (0..).map(ShardIndex).zip(&layout.shards);
        let kept =
            shards.filter(|(shard, home)| **home == member || layout.buddy(*shard) == Some(member));
        let ranges = kept.flat_map(|(shard, _)| layout.ranges_of_shard(shard));
        let elements = ranges.map(|range| u64::from(layout.ranges[range as usize].elements));
        let numbers = elements
            .sum::<u64>()
            .saturating_mul(u64::from(copies.slots));
        numbers.saturating_mul(copies::NUMBER_BYTES * u64::from(VERSIONS_HELD))
    }

    /// The clock below which all pushes must be in the weights with which a worker begins, or, at the end, ends.
    pub fn needs(&self, clock: Step) -> Step {
        if clock.0 >= self.steps {
            return Step(self.steps);
        }
        self.staleness.needs(clock)
    }
}
