//! The native platform: WebRTC and WebSocket over tokio.
//!
//! Everything here needs a multi-threaded tokio runtime: attempts and the WebRTC crate's own tasks run on it, so that a
//! caller which computes on its own thread does not hold up the links.

mod access_link;
mod https;
mod path;
mod peer_connection;
mod runtime;
pub(crate) mod socket;
#[cfg(test)]
mod tests;
mod window;

use crate::connector::{Attempt, Backend as AnyBackend, Connector};
pub use access_link::{AccessLink, UnknownAccessLink};
pub use https::get;
use std::sync::OnceLock;
use std::time::Duration;

/// A connector of this process.
pub fn connector() -> Connector {
    Connector::new(AnyBackend::Platform(Backend::default()))
}

/// A connector whose packets go through an emulated access link, for experiments.
pub fn connector_behind(link: AccessLink) -> Connector {
    Connector::new(AnyBackend::Platform(Backend {
        behind: Some(link),
        access: OnceLock::new(),
    }))
}

#[derive(Default)]
pub(crate) struct Backend {
    behind: Option<AccessLink>,
    /// Made with the first attempt, since it needs a runtime.
    access: OnceLock<access_link::Access>,
}

impl Backend {
    pub(crate) fn start(&self, attempt: Attempt) {
        let make = |link| self.access.get_or_init(|| access_link::Access::new(link));
        let access = self.behind.map(make).cloned();
        spawn(peer_connection::run(attempt, access));
    }

    #[cfg(test)]
    pub(crate) fn carried(&self) -> u64 {
        self.access.get().map_or(0, access_link::Access::carried)
    }
}

pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    // Detached: every task ends with its link, or with the socket it serves.
    drop(tokio::spawn(task));
}

pub(crate) async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}
