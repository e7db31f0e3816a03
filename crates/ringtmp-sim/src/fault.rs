//! What goes wrong in a scenario.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Something that goes wrong, and when.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Seconds after the room was opened.
    pub at_seconds: f64,
    /// What.
    pub what: FaultKind,
}

/// What goes wrong. Devices are named by their places in [`Scenario::devices`](crate::Scenario::devices).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A device dies and forgets everything.
    Crash {
        /// Which.
        device: usize,
        /// After so many seconds it joins again, as a newcomer.
        returns_after: Option<f64>,
        /// Whether the server is told at once, as by a closed socket; otherwise it finds out after [`SERVER_SILENCE`].
        noticed: bool,
    },
    /// A device does nothing for so many seconds and then goes on, as a locked phone.
    Pause {
        /// Which.
        device: usize,
        /// For how long.
        seconds: f64,
    },
    /// The connection between two devices breaks in mid-message; both are told, and it can be made again after so many seconds.
    Cut {
        /// Its ends.
        between: [usize; 2],
        /// For how long.
        seconds: f64,
    },
    /// Nothing that one device sends gets through to another for so many seconds, and nobody is told: it comes late, as on
    /// a channel that sends again what was lost.
    OneWay {
        /// Who sends.
        from: usize,
        /// Who hears nothing.
        to: usize,
        /// For how long.
        seconds: f64,
    },
    /// The link between two devices is so many times as slow, both ways and in delay, for so many seconds.
    Slow {
        /// Its ends.
        between: [usize; 2],
        /// For how long.
        seconds: f64,
        /// 1 is as it was.
        times: f64,
    },
    /// Some devices in a row are cut off from all others and from the server for so many seconds, and not from each other.
    Partition {
        /// The first of them.
        first: usize,
        /// How many, counted round all devices.
        devices: usize,
        /// For how long.
        seconds: f64,
    },
    /// A device says goodbye.
    Leave {
        /// Which.
        device: usize,
    },
    /// A device leaves on purpose, once others have its layers.
    HandOn {
        /// Which.
        device: usize,
    },
    /// The GPU of a device is reset: its stage is gone, its copies are left.
    GpuLost {
        /// Which.
        device: usize,
    },
    /// A device's socket to the server breaks; it trains on, and returns after so many seconds.
    SocketLost {
        /// Which.
        device: usize,
        /// For how long.
        seconds: f64,
    },
    /// Nobody reaches the server for so many seconds.
    ServerLost {
        /// For how long.
        seconds: f64,
        /// Whether it has forgotten everything when it is back, as one that was restarted.
        forgets: bool,
    },
    /// A second server, which knows nothing, answers where there was one: some devices in a row lose their sockets and reach
    /// it, the others stay with the first, which is gone after so many seconds.
    TwoServers {
        /// The first of them.
        first: usize,
        /// How many, counted round all devices.
        devices: usize,
        /// For how long.
        seconds: f64,
    },
    /// Every device dies, and after so many seconds all join another room, which goes on with the run.
    AllLost {
        /// Until then.
        seconds: f64,
    },
}

impl FaultKind {
    /// How long it lasts; what is for good lasts no time.
    pub fn seconds(&self) -> f64 {
        match self {
            Self::Crash { .. }
            | Self::Leave { .. }
            | Self::HandOn { .. }
            | Self::GpuLost { .. } => 0.0,
            Self::Pause { seconds, .. }
            | Self::Cut { seconds, .. }
            | Self::OneWay { seconds, .. }
            | Self::Slow { seconds, .. }
            | Self::Partition { seconds, .. }
            | Self::TwoServers { seconds, .. }
            | Self::SocketLost { seconds, .. }
            | Self::ServerLost { seconds, .. }
            | Self::AllLost { seconds } => *seconds,
        }
    }
}

/// After this time without a sign of life the server gives a socket up.
pub const SERVER_SILENCE: Duration = Duration::from_secs(20);
