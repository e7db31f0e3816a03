//! Clock, waiting and files of a server with TLS, on both platforms: the one place where they differ.

use ringtmp_core::time::Time;
use std::time::Duration;
use web_time::Instant;

/// How long the event loop may go on before it lets others of its thread run.
const TURN_MAX: Duration = Duration::from_millis(8);

/// The clock of one peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }
}

/// Waits.
pub(crate) async fn sleep(delay: Duration) {
    imp::sleep(delay).await;
}

/// Lets sockets, channels and timers of this thread have a turn, if the last one was some time ago.
#[derive(Debug)]
pub(crate) struct Breath {
    last: Instant,
}

impl Breath {
    pub(crate) fn new() -> Self {
        Self {
            last: Instant::now(),
        }
    }

    pub(crate) async fn take(&mut self) {
        if self.last.elapsed() >= TURN_MAX {
            imp::yield_turn().await;
            self.last = Instant::now();
        }
    }
}

/// A file of a server whose certificate the address may name, which a usual client would not trust; none where a usual client
/// will do. In a browser the user has settled that with it.
pub(crate) async fn fetch(
    server: &str,
    url: &str,
    bytes_max: u64,
) -> Option<Result<Option<Vec<u8>>, String>> {
    imp::fetch(server, url, bytes_max).await
}

#[cfg(not(target_arch = "wasm32"))]
mod imp {
    use ringtmp_transport::ServerAddress;
    use std::time::Duration;

    pub(super) async fn fetch(
        server: &str,
        url: &str,
        bytes_max: u64,
    ) -> Option<Result<Option<Vec<u8>>, String>> {
        let server: ServerAddress = server.parse().ok()?;
        let path = url.strip_prefix(server.origin())?;
        match server.is_secure() {
            // Large, and seldom.
            true => Some(Box::pin(ringtmp_transport::native::get(&server, path, bytes_max)).await),
            false => None,
        }
    }

    pub(super) async fn sleep(delay: Duration) {
        tokio::time::sleep(delay).await;
    }

    pub(super) async fn yield_turn() {
        tokio::task::yield_now().await;
    }
}

#[cfg(target_arch = "wasm32")]
mod imp {
    use futures::channel::oneshot;
    use std::time::Duration;
    use wasm_bindgen::prelude::*;
    use web_sys::MessageChannel;

    pub(super) async fn fetch(
        _server: &str,
        _url: &str,
        _bytes_max: u64,
    ) -> Option<Result<Option<Vec<u8>>, String>> {
        None
    }

    pub(super) async fn sleep(delay: Duration) {
        // Rounded up: who is woken too early only has to wait again.
        let ms = u32::try_from(delay.as_micros().div_ceil(1000)).unwrap_or(u32::MAX);
        gloo_timers::future::TimeoutFuture::new(ms).await;
    }

    /// Promises run before any event; only a new event lets other events in. A message to ourselves comes at once, whereas
    /// a timer is held back by 4 ms, or by a second in a hidden page.
    pub(super) async fn yield_turn() {
        let Ok(channel) = MessageChannel::new() else {
            return sleep(Duration::ZERO).await;
        };
        let (sender, receiver) = oneshot::channel();
        let arrived = Closure::once_into_js(move || sender.send(()).is_ok());
        channel.port1().set_onmessage(Some(arrived.unchecked_ref()));
        if channel.port2().post_message(&JsValue::NULL).is_ok() {
            // The sender lives until the message has come.
            receiver.await.ok();
        }
        channel.port1().close();
    }
}
