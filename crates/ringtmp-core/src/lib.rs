//! The ring protocol, sans-IO.
//!
//! A **room** ([`room::Room`], run at the signalling server by a [`lobby::Lobby`]) gathers peers, makes a [`plan::Plan`] and
//! tells everyone to prepare and then to commit it. A **node** ([`node::Node`], run by every peer) obeys the room, greets
//! its ring neighbours, and turns the plan into tasks (forward, backward, update) and messages by the rule in
//! [`schedule`]. Peers speak to the room in [`signal`] messages and to each other in [`wire`] frames.
//!
//! Nothing here reads a clock, draws a random number, opens a socket or spawns a task: time and randomness are arguments,
//! inputs go in through `handle`, outputs are drained from `poll_output`. The same code runs in a tab, in a native peer, at
//! the server and in the simulator. Tensors appear only as opaque [`ids::PayloadId`]s and as their shapes on the wire.

mod beats;
pub mod codec;
pub mod curve;
pub mod ids;
pub mod kept;
pub mod lobby;
pub mod node;
pub mod parameter_server;
pub mod partition;
pub mod plan;
pub mod profile;
pub mod replica;
pub mod room;
pub mod schedule;
pub mod secret;
pub mod signal;
pub mod time;
pub mod trace;
pub mod wire;
