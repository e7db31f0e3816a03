//! The shell of a peer: it drives `core` and `compute` over a transport.
//!
//! [`run`] connects to the signalling server, creates or joins a room, and then runs one event loop: whatever happens
//! (a message from the server, a frame from a neighbour, a finished computation, a wish of the user, the clock) goes into
//! the pure [`ringtmp_core::node::Node`], and whatever the node asks for is done. The shell is the only owner of the clock
//! and of tasks; it decides nothing about the protocol. What there is to show is published as a [`view::View`].

mod datasets;
mod error;
mod payloads;
mod platform;
mod progress;
mod run_file;
mod shell;
mod view;
mod workshop;

pub use error::PeerError;
pub use ringtmp_compute::ExecutorChoice;
pub use run_file::{Run, RunFile, RunFileError};
pub use shell::{ConnectorSource, Entry, Setup, run, run_over};
pub use view::*;
