//! Why a link or the signalling socket fails: whose fault it is, and what to do. The same on every platform.

use crate::address::Fingerprint;
use crate::{ANSWER_TIMEOUT, CONNECT_TIMEOUT, STALL_MAX};
use ringtmp_core::secret::ProofError;
use ringtmp_core::signal::SIGNAL_BYTES_MAX;
use ringtmp_core::wire::{Lane, WireError};

/// The most characters of a foreign text (a browser's exception, an operating system's error) that an error keeps.
const DETAIL_CHARS_MAX: usize = 200;

/// Who ended a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// This device: the owner closed or dropped the link, or replaced it by a newer one.
    Us,
    /// The peer said goodbye.
    Peer,
    /// Nobody: the path broke, or the peer's device vanished.
    Network,
}

/// Why a link cannot be made or has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The link has ended; nobody broke the protocol.
    #[error("the link is closed: {}", closed_words(*.by))]
    Closed {
        /// Who ended it.
        by: ClosedBy,
    },
    /// The peer broke the wire protocol; the link is closed.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The peer does not read. The frame was not queued; the link is still open.
    #[error("the peer has stopped reading: {waiting} bytes wait on lane {}, {limit} are the limit", .lane.label())]
    Stuck {
        /// The lane that is full.
        lane: Lane,
        /// Bytes that wait already.
        waiting: usize,
        /// The most that may wait.
        limit: usize,
    },
    /// The peer has taken nothing for [`STALL_MAX`](crate::STALL_MAX) of what waits for it; the link is closed.
    #[error("the peer has read nothing for {} s: {waiting} bytes wait for it", STALL_MAX.as_secs())]
    Stalled {
        /// Bytes that wait.
        waiting: u64,
    },
    /// This device does not keep up with what the peer sends, on a platform where the peer cannot be held back; the link is
    /// closed.
    #[error("this device does not keep up: {waiting} bytes wait to be read on lane {}, {limit} are the limit", .lane.label())]
    Overrun {
        /// The lane that is full.
        lane: Lane,
        /// Bytes that wait already.
        waiting: usize,
        /// The most that may wait.
        limit: usize,
    },
    /// A frame to be sent is empty or too long. It was not queued; the fault is this program's.
    #[error("a frame of {size} bytes cannot be sent on lane {}: 1 to {limit} can", .lane.label())]
    FrameLength {
        /// The lane it was meant for.
        lane: Lane,
        /// Its length in bytes.
        size: usize,
        /// The most bytes of a frame there.
        limit: usize,
    },
    /// The peer sent a connection message that cannot be used: it is broken, or of another kind of program.
    #[error("the peer sent a connection message that cannot be used: {detail}")]
    Signal {
        /// What is wrong with it.
        detail: String,
    },
    /// What came in the peer's name was not made by who knows the room's secret. The fault is the peer's, or the server's, which may have
    /// put somebody in its place; nothing was sent to whoever it is.
    #[error("the device at the other end is not to be trusted: {0}")]
    Unproved(#[from] ProofError),
    /// No path to the peer was found in time.
    #[error("no connection to the peer: {detail}")]
    Unreachable {
        /// How far it came.
        detail: String,
    },
    /// This device or browser cannot make connections.
    #[error("this device cannot make a connection: {detail}")]
    Device {
        /// What it said.
        detail: String,
    },
}

impl LinkError {
    pub(crate) const CLOSED_BY_US: Self = Self::Closed { by: ClosedBy::Us };
    pub(crate) const CLOSED_BY_PEER: Self = Self::Closed { by: ClosedBy::Peer };
    pub(crate) const LOST: Self = Self::Closed {
        by: ClosedBy::Network,
    };

    pub(crate) fn signal(detail: impl ToString) -> Self {
        Self::Signal {
            detail: cut(detail),
        }
    }

    pub(crate) fn device(detail: impl ToString) -> Self {
        Self::Device {
            detail: cut(detail),
        }
    }

    pub(crate) fn unreachable_in_time() -> Self {
        Self::Unreachable {
            detail: format!("no path was found within {} s", CONNECT_TIMEOUT.as_secs()),
        }
    }

    pub(crate) fn unanswered_in_time() -> Self {
        Self::Unreachable {
            detail: format!("it did not answer within {} s", ANSWER_TIMEOUT.as_secs()),
        }
    }

    pub(crate) fn unconfirmed_in_time() -> Self {
        Self::Unreachable {
            detail: format!(
                "the channel is open, but the peer has not confirmed within {} s that it asked for it",
                CONNECT_TIMEOUT.as_secs()
            ),
        }
    }

    /// What the user can do about it, in a sentence or two; empty where there is nothing to do.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Closed {
                by: ClosedBy::Us | ClosedBy::Peer,
            } => "",
            Self::Closed {
                by: ClosedBy::Network,
            } => "Look whether the other device is still on, awake and in the network.",
            Self::Wire(_) | Self::Signal { .. } => {
                "Reload the page (or update the program) on both devices, so that they run the same version."
            }
            Self::Unproved(_) => {
                "Open the room's whole link again on the other device. If it does not help, do not use this server: somebody stands between \
                 the devices."
            }
            Self::Stuck { .. } | Self::Stalled { .. } => {
                "The other device is overloaded or its tab is frozen: bring the tab to the front, or leave it out."
            }
            Self::Overrun { .. } => {
                "This device is too slow for its part of the ring, or its tab was frozen: reload the page."
            }
            Self::FrameLength { .. } => {
                "This is a bug, or a model larger than planned for: use a smaller micro-batch, and report it."
            }
            Self::Unreachable { .. } => {
                "Both devices must reach each other directly. Put them in one network, turn off VPNs, let the firewall pass UDP, and avoid \
                 guest Wi-Fi, which isolates its devices from each other."
            }
            Self::Device { .. } => {
                "Use a current browser with WebRTC enabled (some privacy extensions disable it), and check that a network is up."
            }
        }
    }
}

/// Why the signalling socket fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignallingError {
    /// The address is not one of a signalling server: the user mistyped it, or the program was built without it.
    #[error("{url:?} is not the address of a signalling server: {detail}")]
    Address {
        /// The address, cut short.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// No server answers there.
    #[error(
        "the signalling server cannot be reached: {detail}; check the address, and that the server runs"
    )]
    Unreachable {
        /// What the network said.
        detail: String,
    },
    /// The server's certificate is not trusted: it is another server, or one whose certificate signs itself.
    #[error(
        "the server's certificate is not trusted: {detail}; its SHA-256 is {sha256}. If the server prints the same, add #sha256={sha256} to the address"
    )]
    Untrusted {
        /// The certificate that it shows.
        sha256: Fingerprint,
        /// Why it is not trusted.
        detail: String,
    },
    /// The socket has ended.
    #[error("the connection to the signalling server is closed: {detail}")]
    Closed {
        /// What the server or the network said.
        detail: String,
    },
    /// The server sent something that is no message: it speaks another protocol, or a newer one.
    #[error(
        "the signalling server sent what cannot be read: {detail}; reload the page (or update the program)"
    )]
    Malformed {
        /// What is wrong with it.
        detail: String,
    },
    /// A message to be sent is too long; it was not queued. The fault is this device's.
    #[error(
        "a message of {size} bytes is too long for the signalling server, which takes {SIGNAL_BYTES_MAX}"
    )]
    TooLong {
        /// Its length in bytes.
        size: usize,
    },
    /// The server has stopped reading; the message was not queued.
    #[error("the signalling server has stopped reading: {waiting} messages wait")]
    Stuck {
        /// Messages that wait already.
        waiting: usize,
    },
}

impl SignallingError {
    pub(crate) fn closed(detail: impl ToString) -> Self {
        Self::Closed {
            detail: cut(detail),
        }
    }

    pub(crate) fn unreachable(detail: impl ToString) -> Self {
        Self::Unreachable {
            detail: cut(detail),
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn untrusted(sha256: Fingerprint, detail: impl ToString) -> Self {
        Self::Untrusted {
            sha256,
            detail: cut(detail),
        }
    }

    pub(crate) fn malformed(detail: impl ToString) -> Self {
        Self::Malformed {
            detail: cut(detail),
        }
    }

    pub(crate) fn address(url: &str, detail: impl ToString) -> Self {
        Self::Address {
            url: cut(url),
            detail: cut(detail),
        }
    }
}

fn closed_words(by: ClosedBy) -> &'static str {
    match by {
        ClosedBy::Us => "this device closed it",
        ClosedBy::Peer => "the peer closed it",
        ClosedBy::Network => "the peer's device or the network between is gone",
    }
}

fn cut(text: impl ToString) -> String {
    text.to_string().chars().take(DETAIL_CHARS_MAX).collect()
}
