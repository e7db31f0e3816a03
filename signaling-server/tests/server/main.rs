//! The server over real sockets.

mod common;
mod http;
mod signal;
