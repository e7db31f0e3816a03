//! The server over real sockets.

mod common;
mod http;
mod network;
mod signal;
mod strain;
