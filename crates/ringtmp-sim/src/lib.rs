//! The deterministic simulator.
//!
//! A [`Scenario`] says which run, which devices and which links; [`simulate`] lets the core's own lobby and nodes work it off
//! under virtual time and gives an [`Outcome`]: who computed, sent and waited when ([`ringtmp_core::trace`]), what came out, and
//! what it cost. Nothing but the nodes' surroundings is imitated:
//!
//! ```text
//! Lobby ◀── messages, 1 ms ──▶ Node ── Run ──▶ device: speed, jitter ──▶ Compute (an argument) ──▶ Completed
//!                               ▲ └── Send ──▶ link: rate, then delay ──▶ Node of the neighbour
//!                               └──── one heap of events, by (time, sequence number)
//! ```
//!
//! [`team`] does the same for runs whose workers hold whole models: a parameter server, or all-reduce.
//!
//! All randomness is a function of the scenario's seed, so that a seed replays its run exactly. A connection that breaks
//! ([`Loss`]) is an event in that heap, and whatever else may happen to a ring is to be one more kind. While a run goes on, [`check`] watches it: that is how a scheduler's
//! mistake is found even where the run seems to end well.

pub mod any;
pub mod check;
pub mod compute;

mod fault;
mod random;
pub mod report;
mod scenario;
mod tally;
pub mod team;

pub mod timeline;
mod world;

#[cfg(test)]
mod planted;
#[cfg(test)]
mod tests;

pub use random::{Draws, EXPONENTIAL_MAX};
pub use ringtmp_core::partition::{Hop, Hops};
pub use scenario::{
    DeviceSpec, FORWARD, Fault, FaultKind, Loss, PEERS_MAX, SERVER_SILENCE, Scenario,
    ScenarioError, TaskKind,
};
pub use world::{Outcome, SimulationError, StageUse, simulate};
