//! Clock, waiting, folders on disk and files of a server with TLS, on both platforms: the one place where they differ.

#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(not(target_arch = "wasm32"))]
mod native;

#[cfg(target_arch = "wasm32")]
use browser as imp;
#[cfg(not(target_arch = "wasm32"))]
use native as imp;

pub(crate) use imp::{Claim, Folder};

use ringtmp_core::time::Time;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use web_time::{Instant, SystemTime};

/// How long the event loop may go on before it lets others of its thread run.
const TURN_MAX: Duration = Duration::from_millis(8);

/// Bytes that are hashed, or written in a tab, in one go: some milliseconds of a phone's time.
const STRETCH_BYTES: usize = 256 * 1024;

/// Bytes that are shared with whoever else holds them.
pub(crate) type Bytes = Arc<Vec<u8>>;

/// Something in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) is_folder: bool,
}

/// Why a folder or file cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DiskError {
    /// There is no disk to have, in words.
    None(String),
    /// No space is left.
    Full,
    /// Somebody else has it open.
    InUse,
    /// Anything else, in the system's words.
    Other(String),
}

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

/// Fresh unpredictable bytes; none where the system has none to give.
pub(crate) fn random_bytes<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes)
}

/// Seconds since 1970, by the device's clock.
pub(crate) fn seconds_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// The SHA-256 of these bytes, one after the other, without keeping others of this thread waiting.
pub(crate) async fn sha256(parts: &[Bytes]) -> [u8; 32] {
    let mut digest = Sha256::new();
    let mut breath = Breath::new();
    for stretch in parts.iter().flat_map(|part| part.chunks(STRETCH_BYTES)) {
        digest.update(stretch);
        breath.take().await;
    }
    digest.finalize().into()
}
