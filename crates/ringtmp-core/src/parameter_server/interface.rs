//! What a member and its surroundings tell each other.

use super::layout::{Layout, MemberIndex, RangeIndex, ShardIndex};
use super::message::{Message, Refusal, Score, Sums};
use crate::ids::{Epoch, LayerIndex, PayloadId, Step};
use crate::signal::{Holding, TeamHolding};
use crate::time::Time;
use crate::wire::WireError;
use std::collections::{BTreeMap, BTreeSet};

/// Something to compute, one at a time.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Puts weights that came into the worker's model. Payloads stay until they are discarded.
    Load {
        /// The step that comes after it.
        clock: Step,
        /// Which ranges, and their numbers.
        weights: Vec<(RangeIndex, PayloadId)>,
    },
    /// F of held-out samples, without a backward. Gives [`Outcome::Sums`].
    Evaluate {
        /// The step that comes after the evaluation.
        clock: Step,
        /// Which micro-batch of the evaluation.
        sequence: u16,
    },
    /// F and the loss. Gives [`Outcome::Sums`].
    Forward {
        /// Of which step.
        clock: Step,
        /// Which micro-batch of the step.
        sequence: u16,
    },
    /// B and W of all layers.
    Backward {
        /// Of which step.
        clock: Step,
        /// Which micro-batch of the step.
        sequence: u16,
    },
    /// B and W of one layer, of a worker's last micro-batch of a step; then its gradients are taken out, and zero from then on.
    /// Gives [`Outcome::Gradients`].
    BackwardLayer {
        /// Of which step.
        clock: Step,
        /// Which micro-batch of the step.
        sequence: u16,
        /// The layer: the last first.
        layer: LayerIndex,
    },
    /// The sum of what came round the ring and the worker's own gradient, in this order. Gives [`Outcome::Numbers`].
    Merge {
        /// Of which step.
        clock: Step,
        /// The range.
        range: RangeIndex,
        /// What came.
        partial: PayloadId,
        /// The worker's own.
        own: PayloadId,
    },
    /// The weights of a range as they are: for workers that come to a run that goes on. Gives [`Outcome::Numbers`].
    Read {
        /// The range.
        range: RangeIndex,
    },
    /// A range as it is, with all that the optimizer remembers of it. Gives [`Outcome::Copied`].
    Copy {
        /// The range.
        range: RangeIndex,
        /// The clock of its weights.
        version: Step,
    },
    /// Adds a gradient to the sum of its range, which was zero after the last update; then, if it is time, the optimizer's update,
    /// which gives [`Outcome::Numbers`]: the new weights.
    Count {
        /// Of which step.
        clock: Step,
        /// The range.
        range: RangeIndex,
        /// The gradient.
        gradient: PayloadId,
        /// The update, where it is time.
        update: Option<Update>,
    },
}

/// How far a range is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// All workers' pushes below it are in the weights.
    pub clock: Step,
    /// Updates that it has seen.
    pub updates: u32,
}

/// A whole copy of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptCopy {
    /// Updates that the range had seen.
    pub updates: u32,
    /// The weights, and what the optimizer remembers.
    pub slots: Vec<PayloadId>,
}

/// What a member leaves to the one that follows it under another plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Of its own ranges.
    pub reached: BTreeMap<RangeIndex, Reached>,
    /// Copies that it keeps, of its own ranges and of others'.
    pub copies: BTreeMap<(Step, RangeIndex), KeptCopy>,
}

impl Carried {
    /// What a room is told of it, of a member of this layout that took part under this plan.
    pub fn told(&self, layout: &Layout, me: MemberIndex, under: Epoch) -> Holding {
        let mut kept: BTreeMap<Step, BTreeSet<ShardIndex>> = BTreeMap::new();
        for (version, range) in self.copies.keys() {
            let shard = layout.ranges[range.0 as usize].shard;
            kept.entry(*version).or_default().insert(shard);
        }
        let clocks = self.reached.values().map(|reached| reached.clock);
        let copies = kept.into_iter();
        Holding {
            under,
            updates: clocks.max().unwrap_or_default(),
            copies: Vec::new(),
            team: Some(TeamHolding {
                live: layout.shards_at(me).collect(),
                copies: copies
                    .map(|(version, shards)| (version, shards.into_iter().collect()))
                    .collect(),
            }),
        }
    }
}

/// One update of one range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// The step of the run, by which the learning rate is scheduled.
    pub step: Step,
    /// Updates of the range before it.
    pub updates: u32,
    /// Labels that counted in what was added up.
    pub labels: u64,
    /// Micro-batches that were added up.
    pub micro_batches: u16,
}

/// How a task went.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// Of a forward.
    Sums(Sums),
    /// Of a layer's backward: the gradient of each of its ranges, in order.
    Gradients(Vec<PayloadId>),
    /// Numbers of one range.
    Numbers(PayloadId),
    /// Of a copy: the weights, and what the optimizer remembers.
    Copied(Vec<PayloadId>),
}

/// What happens to a member.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The model (of a worker) and the ranges (of a shard) are there, with the weights that the run's seed gives.
    Built,
    /// A link is open.
    LinkUp {
        /// To whom.
        peer: MemberIndex,
    },
    /// There is no link, or no longer.
    LinkLost {
        /// To whom.
        peer: MemberIndex,
        /// Why.
        reason: String,
    },
    /// Bytes have come from it since this was said last, of a message that may not be whole yet.
    Stirs {
        /// From whom.
        peer: MemberIndex,
    },
    /// A message came; its numbers are kept under an id.
    Message {
        /// From whom.
        from: MemberIndex,
        /// What it says.
        message: Message,
        /// Its numbers.
        payload: Option<PayloadId>,
    },
    /// What came cannot be read.
    Unreadable {
        /// From whom.
        from: MemberIndex,
        /// Why.
        error: WireError,
    },
    /// The task under way is done.
    Completed {
        /// How it went.
        outcome: Outcome,
    },
    /// This device cannot go on.
    Failed {
        /// Why.
        reason: String,
    },
    /// Begin no new step until told otherwise; or the latter.
    Hold(bool),
    /// The room no longer hears a member, who is linked to this one: whether it still lives is soon to be known.
    Doubted {
        /// Which.
        peer: MemberIndex,
    },
    /// The room hears a member of which nothing comes.
    Vouched {
        /// Which.
        peer: MemberIndex,
    },
    /// Time has passed.
    Tick,
}

/// What a member wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this. The payload stays until it is discarded.
    Send {
        /// To whom.
        to: MemberIndex,
        /// What.
        message: Message,
        /// Its numbers.
        payload: Option<PayloadId>,
    },
    /// Compute this.
    Run(Task),
    /// Forget these numbers.
    Discard(PayloadId),
    /// Something to know.
    Event(Event),
}

/// Something to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// All links are open and greeted: training begins.
    Begun,
    /// At the collector: what a worker found.
    Score(Score),
    /// At a shard: a push did not count; training goes on.
    Refused {
        /// Whose it was.
        from: MemberIndex,
        /// Why.
        refusal: Refusal,
    },
    /// At the collector: of every shard this version is there twice.
    Stable(Step),
    /// Nothing comes from a member: does the room hear it?
    Suspect {
        /// Which.
        peer: MemberIndex,
    },
    /// A link is gone, or nothing has come over it for too long: this member does nothing more.
    LinkLost {
        /// To whom.
        peer: MemberIndex,
        /// In words for the user.
        reason: String,
    },
    /// This member's part is done, and nobody waits for it any more.
    Finished,
    /// This member cannot go on.
    Aborted {
        /// Who is at fault, if it is another.
        culprit: Option<MemberIndex>,
        /// Why.
        reason: String,
    },
}

/// An output, or when to come back.
#[derive(Clone, Debug, PartialEq)]
pub enum Polled {
    /// Do this, then poll again.
    Do(Output),
    /// Nothing until the next input, or until this time.
    Wait(Option<Time>),
}
