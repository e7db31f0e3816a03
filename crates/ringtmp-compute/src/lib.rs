//! What one device computes: the forward and backward passes and updates of a run of layers.
//!
//! **Compute is data.** A layer ([`layers::Layer`]) is written once: it *records* [`recording::Operation`]s over planned
//! buffers. A [`stage::Stage`] joins the recordings of its layers, the loss and the optimizer into one [`recording::Plan`],
//! in which every buffer has its size before anything runs. An [`executor::Executor`] makes a plan ready as a
//! [`executor::Program`] and plays its recordings: on the GPU each operation is a WGSL kernel of `shaders/`, on the CPU
//! a function of the same name. A test compares the two, operation by operation.
//!
//! ```text
//!   ModelSpec ── layers::Layer::record_* ──▶ Plan { buffers, recordings } ── Executor::prepare ──▶ Program
//!   StageConfig ─┘                                                                     cpu: functions │ gpu: kernels
//! ```
//!
//! The letters of the field: **F** is forward, **B** backward for the input, **W** backward for the weights.
//!
//! On the CPU executor every result is a fixed sequence of IEEE single-precision operations: no reordering by vector width, and no
//! elementary function of the platform. So the same model, seed and micro-batches give the same bits wherever the model is cut, on
//! every device that fuses multiplications with additions, and on every device that does not; if [`recording::Arithmetic`] says so, on
//! all of them, native or in a browser.
//!
//! Nothing here knows of peers, links or time. Futures complete when the work is done or queued on the GPU; on native
//! builds they block the calling thread while they wait for it, in a browser they yield to the event loop.

mod cpu;
mod error;
pub mod executor;
mod gpu;
pub mod layers;
pub mod loss;
pub mod model;
pub mod operation;
pub mod operations;
pub mod optimizer;
pub mod packing;
mod platform;
pub mod recording;
pub mod stage;
pub mod tensor;
mod updater;

pub use error::{ComputeError, ParameterError};
pub use executor::{Executor, ExecutorChoice, ExecutorKind};
pub use loss::{IGNORED_LABEL, LossReport, LossSpec};
pub use model::{GptSizes, LayerOutline, ModelError, ModelSpec};
pub use optimizer::{AdamSettings, OptimizerError, OptimizerSpec, Rule, Schedule, clip_factor};
pub use packing::Packing;
pub use recording::Arithmetic;
pub use stage::{
    GradientSquares, Parameter, PendingLoss, Position, Rehearsal, Snapshot, Stage, StageConfig,
};
pub use tensor::{Format, Packed, TensorError};
pub use updater::{RangeUpdate, RangeUpdater};
