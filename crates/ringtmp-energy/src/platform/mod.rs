//! What differs between platforms: which meters there are, and the clocks.

#[cfg(target_os = "linux")]
pub(crate) mod linux;
#[cfg(not(target_arch = "wasm32"))]
mod native;

#[cfg(not(target_arch = "wasm32"))]
pub use native::{Clock, meters};

#[cfg(target_arch = "wasm32")]
pub use tab::{Clock, meters};

/// A tab, where nothing can be read but what the page is told.
#[cfg(target_arch = "wasm32")]
mod tab {
    use crate::{Found, Moment, Unreadable};
    use std::time::Duration;

    /// The page's clocks: the caller reads them.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Clock;

    impl Clock {
        /// From what `performance.now()` and `Date.now()` say, in milliseconds.
        pub fn moment(since_start_ms: f64, since_1970_ms: f64) -> Moment {
            let duration =
                |ms: f64| Duration::try_from_secs_f64(ms / 1e3).unwrap_or(Duration::ZERO);
            Moment {
                since_start: duration(since_start_ms),
                since_1970: duration(since_1970_ms),
            }
        }
    }

    /// None: a browser shows no counters.
    pub fn meters() -> Found {
        Found {
            meters: Vec::new(),
            unreadable: vec![Unreadable {
                meter: "all".to_owned(),
                why: "a browser shows no counters of energy to pages".to_owned(),
            }],
        }
    }
}
