//! Links between peers, and the socket to the signalling server.
//!
//! A [`Link`] carries whole frames on two lanes, in order and reliably: [`Lane::Control`] never waits behind
//! [`Lane::Tensors`]. Links are made by a [`Connector`], which exchanges connection messages
//! ([`Signal`](ringtmp_core::signal::Signal)) with the peer through whatever relays them: the [`Signalling`] socket to the
//! server, or a test. There are three kinds of links under one contract:
//!
//! - in a browser (`browser`): data channels that the page makes and a worker uses;
//! - in a native process (`native`): the same channels through a WebRTC crate;
//! - [`loopback`]: in memory, with a seeded order of delivery, everywhere.
//!
//! **Bounds.** What waits to be sent is bounded by [`QUEUE_BYTES_MAX`] and [`CONTROL_QUEUE_BYTES_MAX`]: beyond them
//! [`LinkSender::queue`] says [`LinkError::Stuck`] (who may have more to send than that waits for [`LinkSender::poll_room`]), and the link ends with [`LinkError::Stalled`] where none of it moves for
//! [`STALL_MAX`]. What waits to be read holds the peer back on native and loopback; a browser's channel cannot be held back, so
//! there the link ends with [`LinkError::Overrun`] at the same bounds. Whatever a peer sends is checked before memory is taken
//! for it; a broken chunk ends the link with [`LinkError::Wire`].
//!
//! **Ends.** A link ends once, for one reason, which every later call repeats.
//!
//! [`Lane::Control`]: ringtmp_core::wire::Lane::Control
//! [`Lane::Tensors`]: ringtmp_core::wire::Lane::Tensors

mod address;
mod connector;
mod error;
mod lane;
mod limits;
mod link;
pub mod loopback;
mod negotiation;
mod proving;
mod signalling;
mod stall;

#[cfg(target_arch = "wasm32")]
pub mod browser;
#[cfg(target_arch = "wasm32")]
use browser as platform;

#[cfg(not(target_arch = "wasm32"))]
pub mod native;
#[cfg(not(target_arch = "wasm32"))]
use native as platform;

#[cfg(test)]
mod contract;

pub use address::{Fingerprint, NoFingerprint, ServerAddress, SignallingWay};
pub use connector::{ConnectRole, Connector, ConnectorEvent};
pub use error::{ClosedBy, LinkError, SignallingError};
pub use limits::{ANSWER_TIMEOUT, CONNECT_TIMEOUT};
pub use link::{
    CONTROL_QUEUE_BYTES_MAX, Link, LinkReceiver, LinkSender, QUEUE_BYTES_MAX, ROOM_BYTES, Traffic,
};
pub use signalling::{SIGNALLING_QUEUE_MAX, Signalling};
pub use stall::STALL_MAX;
