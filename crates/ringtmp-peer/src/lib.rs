//! The shell of a peer: it drives `core` and `compute` over a transport.
//!
//! [`run`] connects to the signalling server, creates or joins a room, and then runs one event loop: whatever happens
//! (a message from the server, a frame from a neighbour, a finished computation, a wish of the user, the clock) goes into
//! the pure [`ringtmp_core::node::Node`], and whatever the node asks for is done. The shell is the only owner of the clock
//! and of tasks; it decides nothing about the protocol. What there is to show is published as a [`view::View`].
//!
//! [`Team`] and [`run_member`] train runs whose paradigm is a parameter server or all-reduce.
//!
//! [`mod@bench`] tells how fast a device computes. [`Solo`] trains the same runs in one process, without a ring. [`Checkpoint`] and the safetensors of [`to_safetensors`] are
//! bytes; where they lie is the caller's business. [`Writer`] lets a trained model of text go on with a prompt, [`Predictor`] tells classes.

pub mod bench;
mod checkpoint;
mod datasets;
mod device;
mod error;
mod measure;
mod member;
mod pace;
mod payloads;
mod platform;
mod predictor;
mod progress;
mod run_file;
mod samples;
mod scribe;
mod shell;
mod solo;
mod store;
mod vault;
mod view;
mod weights;
mod workshop;
mod writer;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use datasets::{DataError, DataPlace, open_data};
pub use error::PeerError;
pub use measure::layer_seconds;
pub use member::{
    Courier, CraftError, Lately, Learnt, Made, MemberSetup, Reply, Spent, Team, TeamError,
    TeamEvent, TeamResult, TeamSettings, Told, Workbench, member_job, run_member,
};
pub use pace::{Pace, update_operations};
pub use predictor::{Prediction, Predictor, PredictorError};
pub use ringtmp_compute::{Arithmetic, ComputeError, Executor, ExecutorChoice, Packed, Parameter};
pub use ringtmp_core::schedule::DataSource;
pub use ringtmp_data::{
    CSV_BYTES_MAX, DataSpec, DataSpecError, Dataset, IDX_BYTES_MAX, Order, Questions, ShareError,
    Split,
};
pub use run_file::{
    DataTable, Measure, ModelTable, OptimizerTable, Paradigm, ParameterServerTable, RuleName, Run,
    RunFile, RunFileError, UnknownParadigm, UnknownRule,
};
pub use samples::Supply;
pub use shell::{
    ConnectorSource, DoorFault, Entry, Fetched, Keep, Own, Setup, Traced, run, run_over,
};
pub use solo::{GradientNorm, Score, Solo};
pub use store::{KEPT_BYTES_MAX, KEPT_EVERY_MIN, KeptRun, RUNS_KEPT_MAX, Store, StoreError};
pub use view::*;
pub use weights::{WEIGHTS_BYTES_MAX, WeightsError, from_safetensors, to_safetensors};
pub use workshop::OwnSamples;
pub use writer::{Answer, Manner, Writer, WriterError};
