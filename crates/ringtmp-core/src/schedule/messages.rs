//! What a schedule and its surroundings tell each other.

use crate::ids::{MicroBatchId, PayloadId, Slot, Step, Version};
use crate::wire::{Purpose, TensorKind};

pub use crate::wire::SumKind;

/// Something to compute, one at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Task {
    /// Samples and labels for the head, from the data of a source that is not the head.
    Draw {
        /// Which.
        micro_batch: MicroBatchId,
    },
    /// F. At the tail it ends in the loss.
    Forward {
        /// Which.
        micro_batch: MicroBatchId,
        /// What for.
        purpose: Purpose,
        /// Where its activations are kept.
        slot: Slot,
        /// The weights to use.
        version: Version,
        /// The stage's input; none at the head where it draws it from its own data.
        input: Option<PayloadId>,
    },
    /// B.
    BackwardInput {
        /// Which.
        micro_batch: MicroBatchId,
        /// Where its activations are.
        slot: Slot,
        /// The weights its F used.
        version: Version,
        /// The gradient of the stage's output; none at the tail, which has it from the loss.
        output_gradient: Option<PayloadId>,
    },
    /// W.
    BackwardWeights {
        /// Which.
        micro_batch: MicroBatchId,
        /// Where its activations are.
        slot: Slot,
        /// The weights its F used.
        version: Version,
    },
    /// The sums of the squares of this stage's gradients, parameter by parameter, where gradients are clipped by the norm of
    /// all stages' together.
    Squares {
        /// Of which step.
        step: Step,
    },
    /// The optimizer.
    Update {
        /// Of which step.
        step: Step,
        /// The sum of the squares of all stages' gradients, where they are clipped.
        square_sum: Option<f64>,
    },
}

impl Task {
    /// The tensors it works on, if they came from a neighbour.
    pub const fn payload(&self) -> Option<PayloadId> {
        match self {
            Self::Forward { input, .. } => *input,
            Self::BackwardInput {
                output_gradient, ..
            } => *output_gradient,
            Self::Draw { .. }
            | Self::BackwardWeights { .. }
            | Self::Squares { .. }
            | Self::Update { .. } => None,
        }
    }
}

/// A neighbour in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// The stage before.
    Predecessor,
    /// The stage after.
    Successor,
}

/// A tensor for a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Whom it is for.
    pub to: Neighbour,
    /// What it is.
    pub kind: TensorKind,
    /// What for.
    pub purpose: Purpose,
    /// Which micro-batch.
    pub micro_batch: MicroBatchId,
    /// The numbers; none for a release.
    pub payload: Option<PayloadId>,
}

/// A sum of squares of gradients for a neighbour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SquareSum {
    /// Whom it is for.
    pub to: Neighbour,
    /// Of which stages.
    pub kind: SumKind,
    /// Of which step's gradients.
    pub step: Step,
    /// The sum.
    pub sum: f64,
}

/// A neighbour sent what no correct peer would send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Not the next micro-batch of the roster.
    #[error("a neighbour sent {kind:?} of micro-batch {sequence} of step {step} out of order")]
    OutOfOrder {
        /// What it sent.
        kind: TensorKind,
        /// The step it named.
        step: u32,
        /// The sequence it named.
        sequence: u16,
    },
    /// From the wrong side.
    #[error("a neighbour sent {kind:?} against its direction")]
    WrongWay {
        /// What it sent.
        kind: TensorKind,
    },
    /// Samples that would have to wait longer than there is room for.
    #[error(
        "the predecessor sent samples of micro-batch {sequence} of step {step}, too far ahead of what has been worked on"
    )]
    TooFarAhead {
        /// The step it named.
        step: u32,
        /// The sequence it named.
        sequence: u16,
    },
    /// More than its credit.
    #[error("the predecessor sent more micro-batches than its credit of {credit}")]
    OverCredit {
        /// What it may have in flight.
        credit: u16,
    },
    /// A sum of squares that was not due.
    #[error(
        "a neighbour sent the {kind:?} sum of the squares of step {step}'s gradients out of turn"
    )]
    SumOutOfTurn {
        /// Of which stages.
        kind: SumKind,
        /// The step it named.
        step: u32,
    },
    /// What no squares add up to.
    #[error(
        "a neighbour sent a sum of the squares of step {step}'s gradients that is infinite, negative or no number"
    )]
    NoSum {
        /// The step it named.
        step: u32,
    },
    /// A sum of squares in a run that does not clip.
    #[error("a neighbour sent a sum of squares, and this run clips no gradients")]
    NotClipped,
}
