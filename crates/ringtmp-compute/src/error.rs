//! What can go wrong, and whose fault it is.

use crate::model::ModelError;
use crate::recording::PlanError;
use crate::tensor::TensorError;

/// Why a computation was not made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ComputeError {
    /// The run file describes no model that could be trained.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A tensor that came in is not what the stage takes; the peer that sent it is broken or of another version.
    #[error("a tensor was refused: {0}")]
    Tensor(#[from] TensorError),
    /// A label names no class; the data or the peer that sent it is wrong.
    #[error("label {label} of sample {sample} is not one of the model's {classes} classes")]
    Label {
        /// The place in the micro-batch.
        sample: usize,
        /// What was given.
        label: u32,
        /// Outputs of the model.
        classes: usize,
    },
    /// A token is not in the vocabulary; the data or the peer that sent it is wrong.
    #[error("token {token} at place {place} is not one of the model's {vocabulary} tokens")]
    Token {
        /// The place in the micro-batch, its samples counted through.
        place: usize,
        /// What was given.
        token: u32,
        /// Tokens that the model knows.
        vocabulary: usize,
    },
    /// Weights that were handed in do not fit.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// A setting of the stage is out of its range; the caller's fault.
    #[error("a stage cannot be made: {0}")]
    Config(String),
    /// A task was asked for out of turn; the caller's fault.
    #[error("{task} of slot {slot}: {reason}")]
    Misuse {
        /// The task.
        task: &'static str,
        /// The slot it was asked for.
        slot: usize,
        /// What it needs first.
        reason: String,
    },
    /// A task needs weights that the stage does not hold, or no longer; the caller's fault.
    #[error(
        "{task} needs the weights after {version} updates; held are those after {oldest} to {newest}"
    )]
    Version {
        /// The task.
        task: &'static str,
        /// The version it needs.
        version: u64,
        /// The oldest version there is.
        oldest: u64,
        /// The newest.
        newest: u64,
    },
    /// An update that is not the next; the caller's fault.
    #[error("the update of step {step} was asked for after {updates} updates")]
    UpdateOutOfTurn {
        /// The step.
        step: u64,
        /// Updates made.
        updates: u64,
    },
    /// An operation was recorded wrongly; our own fault.
    #[error("a recording is wrong (please report this): {0}")]
    Plan(#[from] PlanError),
    /// Training has diverged.
    #[error(
        "the loss at layer {layer} ({description}) is {loss}: training has diverged, try a smaller learning rate"
    )]
    NonFiniteLoss {
        /// The layer that the loss follows.
        layer: usize,
        /// That layer in words.
        description: String,
        /// The sum of the micro-batch's losses: infinite or not a number.
        loss: f32,
    },
    /// Training has diverged.
    #[error(
        "the norm of the gradients is no finite number: training has diverged, try a smaller learning rate"
    )]
    NonFiniteGradients,
    /// A GPU was asked for and there is none.
    #[error("no GPU can be used here ({reason}): choose the CPU executor, or auto")]
    NoGpu {
        /// What the system says.
        reason: String,
    },
    /// The stage does not fit this device.
    #[error(
        "{what} takes {bytes} bytes, over this device's limit of {limit}: give it fewer layers or smaller micro-batches"
    )]
    TooLarge {
        /// The buffer or the sum that is too large.
        what: String,
        /// Its size.
        bytes: u64,
        /// The device's limit.
        limit: u64,
    },
    /// The device's memory is used up.
    #[error(
        "memory for {bytes} bytes is not to be had: close other programs or give this device fewer layers"
    )]
    OutOfMemory {
        /// What the stage takes.
        bytes: u64,
    },
    /// The GPU is gone: unplugged, reset by its driver, or taken by the system. A stage on it is lost; make another one.
    #[error("the GPU was lost ({reason}): the stage has to be made again")]
    GpuLost {
        /// What the system says.
        reason: String,
    },
    /// The GPU or its driver refused work, or did not answer in time.
    #[error("the GPU refused to work ({reason}): update its driver, or choose the CPU executor")]
    GpuRefused {
        /// What the driver says.
        reason: String,
    },
}

/// Why weights that were handed in are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// Not there.
    #[error("the weights lack {name}")]
    Missing {
        /// The parameter that was looked for.
        name: String,
    },
    /// Of another shape.
    #[error(
        "the weights give {name} the shape {actual:?} and {values} values, the model needs {expected:?}"
    )]
    Shape {
        /// The parameter.
        name: String,
        /// By the model.
        expected: Vec<usize>,
        /// As given.
        actual: Vec<usize>,
        /// Numbers given.
        values: usize,
    },
    /// A snapshot that is none of such a stage.
    #[error(
        "the snapshot after {updates} updates has {versions} versions of the weights and {optimizer} tensors of the optimizer, which has {needed} here"
    )]
    Snapshot {
        /// Updates made.
        updates: u64,
        /// Versions in it.
        versions: usize,
        /// Tensors of the optimizer in it.
        optimizer: usize,
        /// Tensors that the optimizer has.
        needed: usize,
    },
    /// More numbers than there are.
    #[error("{end} numbers of layer or range {layer}, which has {has}")]
    Range {
        /// The layer or range.
        layer: usize,
        /// How many were meant.
        end: usize,
        /// How many it has.
        has: usize,
    },
}
