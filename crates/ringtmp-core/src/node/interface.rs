//! What goes into a node and what comes out of it.

use crate::codec::TensorCodec;
use crate::ids::{
    Epoch, LayerIndex, MicroBatchId, PayloadId, PeerId, SourceIndex, StageIndex, Version,
};
use crate::kept::{Kept, Past};
use crate::plan::Plan;
use crate::profile::Profile;
use crate::replica::CopyId;
use crate::schedule::{Task, versions};
use crate::signal::{
    ClientMessage, LayerDigest, LinkTraffic, Point, RunOutline, ServerMessage, Signal,
};
use crate::time::Time;
use crate::trace::Report;
use crate::wire::{Answer, Body, Piece, Purpose, Question, TensorKind, WireError};
use std::ops::Range;
use std::time::Duration;

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
    /// Bytes have come from a neighbour since this was said last, of a frame that may not be whole yet: a long one on a slow link takes
    /// longer than silence may last.
    Stirs {
        /// From whom.
        peer: PeerId,
    },
    /// What came in a neighbour's name, to make a link, was not made by who knows the room's secret.
    LinkUnproved {
        /// In whose name.
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
    /// A frame with a piece of a layer's copy, whose bytes the shell keeps under `payload`.
    Piece {
        /// From whom.
        from: PeerId,
        /// Under which plan.
        epoch: Epoch,
        /// Which one.
        piece: Piece,
        /// Its bytes.
        payload: PayloadId,
    },
    /// A frame with a piece of a layer's weights, whose bytes the shell keeps under `payload`.
    Weights {
        /// From whom.
        from: PeerId,
        /// Under which plan.
        epoch: Epoch,
        /// Which one.
        piece: Piece,
        /// Its bytes.
        payload: PayloadId,
    },
    /// The answer to [`Output::Snapshot`]: the shell has copies of the stage's layers that learn something.
    Snapped {
        /// Under which plan.
        epoch: Epoch,
        /// Updates that they have seen.
        version: Version,
        /// The layers, with the bytes of their copies.
        copies: Vec<(LayerIndex, u64)>,
        /// How long the stage did nothing else.
        took: Duration,
    },
    /// What this peer keeps of the run on its disk; told once, if it is a participant.
    Storage {
        /// The least time between two versions that are kept; none where nothing can be.
        every: Option<Duration>,
        /// What is there already.
        kept: Vec<Kept>,
    },
    /// The answer to [`Output::Keep`]: it is on the disk, or could not be.
    Kept {
        /// What; none if it could not be.
        kept: Option<Kept>,
    },
    /// The answer to [`Output::Load`]: they are here, with their bytes. Or [`Input::Failed`].
    Loaded {
        /// Under which plan.
        epoch: Epoch,
        /// Which.
        copies: Vec<(CopyId, u64)>,
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
    /// The device has lost what it held, as a GPU that was reset: the stage is gone, copies are left, and another stage can be
    /// built.
    Stumbled {
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
    /// The user wants the weights of the whole model: [`Event::ModelBegins`] says of which version, once there is one. To be asked again
    /// under the next plan.
    Fetch,
    /// The user wants them no more.
    FetchNoMore,
    /// After [`Output::Digest`]: the shell has the last version of the stage's weights, as far as [`Output::SendWeights`] may ask for it.
    HasLast {
        /// Of which plan.
        epoch: Epoch,
    },
    /// The user asks what follows a text: one question at a time, which is asked again under the next plan if no
    /// [`Event::Answer`] with its number has come.
    Question(Question),
    /// The answer to what [`Event::Question`] brought from another stage.
    Answer(Answer),
    /// The user wants something of the room.
    Ask(ClientMessage),
    /// Time has passed.
    Tick,
}

/// What came out of a task.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The output, kept by the shell.
    pub payload: Option<PayloadId>,
    /// At the tail, after F; or after B, so that F need not wait for it.
    pub loss: Option<Loss>,
    /// At the tail, after F of a micro-batch with a sample that is asked about: how probable each class is.
    pub answer: Option<Vec<f32>>,
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
    /// Send a piece of a copy that is here.
    SendPiece {
        /// To whom.
        to: PeerId,
        /// Under which plan.
        epoch: Epoch,
        /// Which one.
        piece: Piece,
    },
    /// Put a piece that has come to those before it; one with offset 0 begins a copy anew.
    Store {
        /// Which one.
        piece: Piece,
        /// Its bytes, to be forgotten otherwise.
        payload: PayloadId,
    },
    /// Send a piece of a layer's newest weights, out of its copy that is here or of the last version.
    SendWeights {
        /// To whom.
        to: PeerId,
        /// Under which plan.
        epoch: Epoch,
        /// Which one; a copy's pieces count the weights alone.
        piece: Piece,
    },
    /// Put a piece of a layer's weights to those that are here of the model that the user wants.
    Collect {
        /// Which one.
        piece: Piece,
        /// Its bytes, to be forgotten otherwise.
        payload: PayloadId,
    },
    /// Begin such a model with the weights of own layers, out of their copies or of the last version.
    CollectOwn {
        /// Which version.
        version: Version,
        /// Which layers.
        layers: Vec<LayerIndex>,
    },
    /// Copy the stage's layers, before the next task; answer [`Input::Snapped`] or [`Input::Failed`].
    Snapshot {
        /// Under which plan.
        epoch: Epoch,
        /// Updates that they have seen.
        version: Version,
    },
    /// Keep copies that are here on the disk as well; answer [`Input::Kept`]. One version at a time.
    Keep {
        /// Which version, of which layers, and who has made it.
        kept: Kept,
    },
    /// Get copies from the disk; answer [`Input::Loaded`] or [`Input::Failed`].
    Load {
        /// For which plan.
        epoch: Epoch,
        /// Under which plan they were copied.
        past: Past,
        /// Which.
        copies: Vec<CopyId>,
    },
    /// Remove versions from the disk.
    Forsake {
        /// Which.
        versions: Vec<(Past, Version)>,
    },
    /// Remove all that is kept of the run: it is over.
    Clear,
    /// Forget copies, whole ones and parts.
    Forget {
        /// Which.
        copies: Vec<CopyId>,
    },
    /// Measure what the run's layers take here; answer [`Input::Measured`], unless a plan has come meanwhile.
    Measure,
    /// Build a stage, from the copies that are here if it does not begin at the beginning; answer [`Input::Built`] or
    /// [`Input::Failed`].
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
    /// How probable each class is for a sample that this peer asked about, or drew for who asks.
    Answer(Answer),
    /// What this peer's user or another stage asks: it is to ride with a micro-batch of this peer, of each asker the newest.
    Question(Question),
    /// From now on the weights of the whole model come, as of this version: what came before of another is of no use.
    ModelBegins(Version),
    /// All of them are here.
    ModelIsHere(Version),
    /// Training begins, or began while the server was away.
    Training,
    /// This peer's part is done.
    Finished,
    /// Every layer lies with two stages, as it was after so many updates.
    Stable(Version),
    /// The ring is being put together anew.
    Halted {
        /// In words.
        reason: String,
    },
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
    /// Updates that its layers have seen; if any, it is built from copies.
    pub start: Version,
}

impl Assignment {
    /// That of a stage of a plan that was checked.
    pub fn of(plan: &Plan, stage: StageIndex, outline: &RunOutline) -> Self {
        let own = plan.limits[usize::from(stage.0)];
        let [input_codec, output_codec] = plan.codecs_of(stage);
        Self {
            epoch: plan.epoch,
            stage,
            stages: plan.stages(),
            layers: plan.layers(stage),
            slots: own.slots,
            versions: versions(&outline.schedule, own, outline.micro_batches),
            source: plan.source_of(stage),
            sources: u16::try_from(plan.sources.len()).unwrap_or(u16::MAX),
            input_codec,
            output_codec,
            start: plan.start,
        }
    }

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
