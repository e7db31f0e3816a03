//! What the checkers find.

use std::time::Duration;

/// What is wrong with a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Complaint {
    /// A gradient was added twice, never, or out of roster order.
    #[error(
        "stage {stage} accumulated micro-batch {got:?} where {expected:?} (step, sequence) was due"
    )]
    NotOnceInOrder {
        /// Where.
        stage: usize,
        /// What came.
        got: (u32, u16),
        /// What should have come.
        expected: (u32, u16),
    },
    /// An update without its whole roster, or a roster that is not whole in the end.
    #[error(
        "stage {stage} stood at {at:?} (step, micro-batches) when the update of step {step} was due"
    )]
    RosterNotWhole {
        /// Where.
        stage: usize,
        /// The step of the update.
        step: u32,
        /// How far it was.
        at: (u32, u16),
    },
    /// An update before all stages knew the squares of their gradients.
    #[error(
        "stage {stage} made the update of step {step} when only {known} stages knew their squares"
    )]
    EarlyUpdate {
        /// Where.
        stage: usize,
        /// The step of the update.
        step: u32,
        /// Stages that knew theirs.
        known: usize,
    },
    /// Devices left on purpose and nothing else happened, and yet steps were made again.
    #[error("{steps} steps were made again for a device that left on purpose")]
    MadeAgain {
        /// How many.
        steps: u32,
    },
    /// Too far ahead.
    #[error("stage {stage} had {ahead} micro-batches in flight with a credit of {credit}")]
    OverCredit {
        /// Where.
        stage: usize,
        /// In flight.
        ahead: u16,
        /// Allowed.
        credit: u16,
    },
    /// A credit came back that was not out, or is out in the end.
    #[error("stage {stage} ended with {ahead} credits out")]
    CreditLost {
        /// Where.
        stage: usize,
        /// How many; negative where more came back than went out.
        ahead: i32,
    },
    /// Samples that came by twice, never, or out of turn.
    #[error(
        "samples of source {source_index} came to stage {stage} with number {got} where {expected} was due"
    )]
    SamplesNotInTurn {
        /// Where.
        stage: usize,
        /// Whose, counted among the sources.
        source_index: usize,
        /// The number of their micro-batch, counted over the run.
        got: u64,
        /// The number whose turn it was.
        expected: u64,
    },
    /// Too many samples on their way.
    #[error(
        "{waiting} micro-batches of samples were on their way to the head, whose window is {window}"
    )]
    SamplesWaiting {
        /// How many.
        waiting: usize,
        /// At most.
        window: usize,
    },
    /// Two micro-batches in one slot, or more slots than allowed.
    #[error("stage {stage} put a micro-batch into slot {slot}, which is taken or does not exist")]
    Slot {
        /// Where.
        stage: usize,
        /// Which.
        slot: u16,
    },
    /// More memory than the limits, or limits than the device, allow.
    #[error("stage {stage} took {bytes} bytes; {bytes_max} are allowed")]
    Memory {
        /// Where.
        stage: usize,
        /// Taken.
        bytes: u64,
        /// Allowed.
        bytes_max: u64,
    },
    /// A step took longer than its work can take.
    #[error("step {step} committed {took:?} after the one before it; its bound is {bound:?}")]
    Late {
        /// Which.
        step: u32,
        /// Since the commit before.
        took: Duration,
        /// At most.
        bound: Duration,
    },
    /// A ring that does nothing, though the room says that it trains.
    #[error("the ring stands still: no step committed for {stood:?}; the bound is {bound:?}")]
    StandsStill {
        /// Since the last commit.
        stood: Duration,
        /// At most.
        bound: Duration,
    },
    /// A node that keeps its plan although the room has stopped the run.
    #[error("device {device} goes on with a run that was stopped")]
    GoesOn {
        /// Which.
        device: usize,
    },
    /// Steps that were safe are made again.
    #[error(
        "the ring goes on from version {start}, though every layer of the stable version {stable} is left"
    )]
    StableGivenUp {
        /// What the head had called stable.
        stable: u32,
        /// What the plan begins with.
        start: u32,
    },
    /// A room waits for layers that are there.
    #[error(
        "the room waits for layers, though every layer of version {version} lies on a disk that is there"
    )]
    WaitsInVain {
        /// Which version.
        version: u32,
    },
    /// A version was called stable of which a layer would be lost with one device.
    #[error("version {version} was called stable, and {holders} devices hold layer {layer} of it")]
    NotTwice {
        /// Which layer.
        layer: u16,
        /// Updates that it has seen.
        version: u32,
        /// Devices that hold it.
        holders: usize,
    },
    /// Copies that nobody needs any more.
    #[error("device {device} keeps {versions} versions of layer {layer}")]
    TooManyCopies {
        /// Which device.
        device: usize,
        /// Which layer.
        layer: u16,
        /// How many.
        versions: usize,
    },
    /// A device that does as it should is to be cut out.
    #[error("device {by} calls device {device} to account: {reason}")]
    Accused {
        /// Which.
        device: usize,
        /// By whom.
        by: usize,
        /// For what.
        reason: String,
    },
    /// Payloads that nobody took.
    #[error("{count} payloads are left over")]
    Leaked {
        /// How many.
        count: usize,
    },
    /// Other weights than those of one process.
    #[error("the weights of layer {layer} are not those that one process gets")]
    Digest {
        /// The first such layer.
        layer: u16,
    },
}
