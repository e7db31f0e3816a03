//! What each subcommand does.

pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod curves;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod energy;
pub(crate) mod experiment;
mod fetch;
pub(crate) mod generate;
pub(crate) mod guard;
pub(crate) mod idle;
pub(crate) mod join;
pub(crate) mod man;
pub(crate) mod predict;
pub(crate) mod ps;
pub(crate) mod resume;
pub(crate) mod serve;
pub(crate) mod sim;
mod spent;
pub(crate) mod trace;
pub(crate) mod train;
pub(crate) mod trained;
pub(crate) mod watch;
