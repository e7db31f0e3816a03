//! The native platform: WebRTC and WebSocket over tokio.
//!
//! Everything here needs a multi-threaded tokio runtime: attempts and the WebRTC crate's own tasks run on it, so that a
//! caller which computes on its own thread does not hold up the links.

mod peer_connection;
pub(crate) mod socket;
#[cfg(test)]
mod tests;

use crate::connector::{Attempt, Backend as AnyBackend, Connector};
use std::time::Duration;

/// A connector of this process.
pub fn connector() -> Connector {
    Connector::new(AnyBackend::Platform(Backend))
}

pub(crate) struct Backend;

impl Backend {
    #[expect(clippy::unused_self, reason = "in a browser the backend has a state")]
    pub(crate) fn start(&self, attempt: Attempt) {
        spawn(peer_connection::run(attempt));
    }
}

pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    // Detached: every task ends with its link, or with the socket it serves.
    drop(tokio::spawn(task));
}

pub(crate) async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}
