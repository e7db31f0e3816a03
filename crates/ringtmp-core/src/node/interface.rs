//! What goes into a node and what comes out of it.

use crate::codec::TensorCodec;
use crate::ids::{Epoch, LayerIndex, MicroBatchId, PayloadId, PeerId, SourceIndex, StageIndex};
use crate::profile::Profile;
use crate::schedule::Task;
use crate::signal::{ClientMessage, LayerDigest, LinkTraffic, Point, ServerMessage, Signal};
use crate::time::Time;
use crate::trace::Report;
use crate::wire::{Body, Purpose, TensorKind, WireError};
use std::ops::Range;

/// What happens to a peer.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The server speaks.
    Room(ServerMessage),
    /// The socket to the server is gone. Training goes on without it.
    ServerLost,
    /// A link is open, ungreeted.
    LinkUp {
        /// To whom.
        peer: PeerId,
    },
    /// A link could not be made, or is gone.
    LinkLost {
        /// To whom.
        peer: PeerId,
        /// In words for the user.
        reason: String,
    },
    /// A frame that carries no tensor.
    Control {
        /// From whom.
        from: PeerId,
        /// Under which plan.
        epoch: Epoch,
        /// What it says.
        body: Body,
    },
    /// A frame that carries tensors, which the shell keeps under `payload` (none for a release).
    Tensor {
        /// From whom.
        from: PeerId,
        /// Under which plan.
        epoch: Epoch,
        /// Which way.
        kind: TensorKind,
        /// What for.
        purpose: Purpose,
        /// Which one.
        micro_batch: MicroBatchId,
        /// The numbers.
        payload: Option<PayloadId>,
    },
    /// What a neighbour sent cannot be read.
    Unreadable {
        /// From whom.
        from: PeerId,
        /// Why.
        error: WireError,
    },
    /// The stage of [`Output::Build`] is there.
    Built {
        /// Of which plan.
        epoch: Epoch,
    },
    /// A task of [`Output::Run`] is done.
    Completed {
        /// Under which plan.
        epoch: Epoch,
        /// The task.
        task: Task,
        /// What came out.
        outcome: Outcome,
    },
    /// The answer to [`Output::Digest`].
    Digested {
        /// Of which plan.
        epoch: Epoch,
        /// The digests.
        digests: Vec<LayerDigest>,
        /// Bytes sent in all.
        links: Vec<LinkTraffic>,
    },
    /// Building, computing or digesting failed.
    Failed {
        /// Under which plan.
        epoch: Epoch,
        /// In words for the user.
        reason: String,
    },
    /// How the shell's stage does; told about once a second.
    Report {
        /// Bytes sent so far.
        links: Vec<LinkTraffic>,
        /// How it spent its time.
        report: Box<Report>,
    },
    /// The answer to [`Output::Measure`].
    Measured(Profile),
    /// The user wants the room to start, pause, resume or stop.
    Ask(ClientMessage),
    /// Time has passed.
    Tick,
}

/// What came out of a task.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The output, kept by the shell.
    pub payload: Option<PayloadId>,
    /// At the tail, after F.
    pub loss: Option<Loss>,
    /// Of [`Task::Squares`]: the sum of the squares of each parameter's gradient, in the order of layers; finite, or the task
    /// has failed.
    pub squares: Vec<f64>,
}

/// The loss of a micro-batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// Summed over its labels that count.
    pub sum: f32,
    /// Right answers.
    pub correct: u32,
    /// Of how many: in training labels that count, in an evaluation what the run counts answers in.
    pub samples: u32,
}

/// What a peer's shell must do.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Tell the server (if it is there).
    ToRoom(ClientMessage),
    /// Make a link, closing an older one to the same peer.
    Connect {
        /// To whom.
        peer: PeerId,
        /// Whether to make the offer or to wait for it.
        offer: bool,
        /// For which plan.
        epoch: Epoch,
    },
    /// A connection message from the other end of a link being made.
    Deliver {
        /// From whom.
        from: PeerId,
        /// The message.
        signal: Signal,
    },
    /// Close a link.
    Disconnect {
        /// To whom.
        peer: PeerId,
    },
    /// Send a frame.
    Send {
        /// To whom.
        to: PeerId,
        /// Under which plan.
        epoch: Epoch,
        /// What it says. Of a tensor the shell adds the parts.
        body: Body,
        /// The numbers, to be forgotten afterwards.
        payload: Option<PayloadId>,
    },
    /// Measure what the run's layers take here; answer [`Input::Measured`], unless a plan has come meanwhile.
    Measure,
    /// Build a stage; answer [`Input::Built`] or [`Input::Failed`].
    Build(Assignment),
    /// Compute; answer [`Input::Completed`] or [`Input::Failed`]. One at a time.
    Run {
        /// Under which plan.
        epoch: Epoch,
        /// The task.
        task: Task,
    },
    /// Tell the digests of the stage's weights; answer [`Input::Digested`] or [`Input::Failed`].
    Digest {
        /// Of which plan.
        epoch: Epoch,
    },
    /// Forget a payload.
    Discard(PayloadId),
    /// Something to show.
    Event(Event),
}

/// Something to show.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A link carries frames.
    LinkOpen {
        /// To whom.
        peer: PeerId,
    },
    /// A link could not be made or is gone.
    LinkFailed {
        /// To whom.
        peer: PeerId,
        /// In words.
        reason: String,
    },
    /// New points of the curves.
    Points(Vec<Point>),
    /// Training begins, or began while the server was away.
    Training,
    /// This peer's part is done.
    Finished,
    /// The run has ended early here.
    Aborted {
        /// In words.
        reason: String,
    },
}

/// The stage to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Under which plan.
    pub epoch: Epoch,
    /// Which stage.
    pub stage: StageIndex,
    /// Of how many.
    pub stages: usize,
    /// Its layers.
    pub layers: Range<LayerIndex>,
    /// Micro-batches whose activations it keeps at once.
    pub slots: u16,
    /// Versions of its weights it keeps at once.
    pub versions: u16,
    /// Which of the sources it is, if samples of its own are trained on.
    pub source: Option<SourceIndex>,
    /// How many sources there are.
    pub sources: u16,
    /// How the tensors between it and the stage before are written; none at the head.
    pub input_codec: Option<TensorCodec>,
    /// How the tensors between it and the stage after are written; none at the tail.
    pub output_codec: Option<TensorCodec>,
}

impl Assignment {
    /// Whether it is the head.
    pub fn is_head(&self) -> bool {
        self.stage.0 == 0
    }

    /// Whether it is the tail.
    pub fn is_tail(&self) -> bool {
        usize::from(self.stage.0) + 1 == self.stages
    }
}

/// An output, or when to come back.
#[derive(Clone, Debug, PartialEq)]
pub enum Polled {
    /// Do this, then poll again.
    Do(Output),
    /// Nothing until the next input, or until this time.
    Wait(Option<Time>),
}
