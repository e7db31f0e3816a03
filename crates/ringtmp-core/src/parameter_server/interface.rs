//! What a member and its surroundings tell each other.

use super::layout::{MemberIndex, RangeIndex};
use super::message::{Message, Refusal, Score, Sums};
use crate::ids::{LayerIndex, PayloadId, Step};
use crate::time::Time;
use crate::wire::WireError;

/// Something to compute, one at a time.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Puts weights that came into the worker's model. Payloads stay until they are discarded.
    Load {
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

/// What a server holds that goes on under another plan: for each of its ranges, the clock of its weights.
pub type Clocks = Vec<Step>;

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
