//! What the page and the worker say to each other: a JSON text, and beside it what JSON cannot hold (channels, bytes).
//!
//! Both ends are one build of one program, so a message that cannot be read is a bug, and is logged as one.

use super::event::describe;
use crate::connector::ConnectRole;
use js_sys::{Array, ArrayBuffer, Uint8Array};
use ringtmp_core::ids::Epoch;
use ringtmp_core::signal::{IceServer, Signal};
use ringtmp_core::wire::Lane;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Event, MessageEvent, MessagePort};

/// Bytes of a lane that may be on their way between page and worker, each way: as many as a channel takes at once.
pub(super) const POST_WINDOW_BYTES: usize = 1024 * 1024;

/// One attempt to connect, named by the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct AttemptId(pub(super) u32);

/// From the worker to the page.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToPage {
    /// The worker is there; try whether channels can be moved to it.
    Hello,
    /// Make a connection and its channels.
    Connect {
        attempt: AttemptId,
        role: ConnectRole,
        epoch: Epoch,
        ice_servers: Vec<IceServer>,
    },
    /// The peer said this.
    Signal { attempt: AttemptId, signal: Signal },
    /// Give the attempt up, or close the connection.
    Close { attempt: AttemptId },
    /// Send these bytes (attached).
    Data { attempt: AttemptId, lane: LaneTag },
    /// So many bytes were taken from what you posted.
    Credit {
        attempt: AttemptId,
        lane: LaneTag,
        bytes: usize,
    },
    /// A transferred channel could not be read here: post from now on.
    PostOnly,
}

/// From the page to the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToWorker {
    /// Channels that nobody needs (attached), to see whether they arrive. If not, say [`ToPage::PostOnly`].
    Probe,
    /// There is nothing to be seen: the page posts.
    NoProbe,
    /// The channels (attached, in the order of the lanes).
    Channels { attempt: AttemptId },
    /// The page keeps the channels.
    Posting { attempt: AttemptId },
    /// The connection goes by way of a server that relays, or no longer.
    Relayed { attempt: AttemptId, relayed: bool },
    /// Both of the page's channels are open.
    Open { attempt: AttemptId },
    /// Say this to the peer.
    Signal { attempt: AttemptId, signal: Signal },
    /// The peer sent these bytes (attached).
    Data { attempt: AttemptId, lane: LaneTag },
    /// So many bytes were taken from what you posted.
    Credit {
        attempt: AttemptId,
        lane: LaneTag,
        bytes: usize,
    },
    /// The connection has failed or ended.
    Ended { attempt: AttemptId, ending: Ending },
}

/// How a connection ended, as the page saw it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ending {
    /// The browser gave the path up.
    Failed,
    /// A channel was closed.
    Closed,
    /// The page goes away.
    Page,
    /// The browser cannot make connections, or took offence at one.
    Browser { detail: String },
    /// The peer's connection message cannot be used.
    Signal { detail: String },
    /// More came in than was read.
    Overrun {
        lane: LaneTag,
        waiting: usize,
        limit: usize,
    },
}

/// A [`Lane`] by the id of its channel.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct LaneTag(u16);

impl From<Lane> for LaneTag {
    fn from(lane: Lane) -> Self {
        Self(lane.channel_id())
    }
}

impl LaneTag {
    pub(super) fn lane(self) -> Lane {
        if self.0 == Lane::Control.channel_id() {
            Lane::Control
        } else {
            Lane::Tensors
        }
    }
}

/// A message as JavaScript sees it, with what is to be moved.
pub(super) fn package(
    message: &impl Serialize,
    attachments: &[JsValue],
) -> Result<(Array, Array), JsValue> {
    let text =
        serde_json::to_string(message).map_err(|error| JsValue::from_str(&error.to_string()))?;
    let list: Array = attachments.iter().collect();
    Ok((Array::of1(&JsValue::from_str(&text)).concat(&list), list))
}

/// Posts a message; `attachments` move to the other side.
pub(super) fn post(
    port: &MessagePort,
    message: &impl Serialize,
    attachments: &[JsValue],
) -> Result<(), JsValue> {
    let (all, list) = package(message, attachments)?;
    port.post_message_with_transferable(&all, &list)
}

/// Posts a message that holds nothing the browser could object to.
pub(super) fn tell(port: &MessagePort, message: &impl Serialize) {
    if let Err(error) = post(port, message, &[]) {
        tracing::error!(
            error = describe(&error),
            "a message between page and worker was not sent"
        );
    }
}

/// Posts bytes with a message.
pub(super) fn post_bytes(
    port: &MessagePort,
    message: &impl Serialize,
    bytes: &Uint8Array,
) -> Result<(), JsValue> {
    post(port, message, &[bytes.buffer().into()])
}

/// Reads a message and what is attached to it.
pub(super) fn read<M: DeserializeOwned>(event: &Event) -> Option<(M, Array)> {
    let all: Array = event.dyn_ref::<MessageEvent>()?.data().dyn_into().ok()?;
    let text = all.shift().as_string()?;
    match serde_json::from_str(&text) {
        Ok(message) => Some((message, all)),
        Err(error) => {
            tracing::error!(%error, "a message between page and worker cannot be read");
            None
        }
    }
}

/// The bytes attached to a message.
pub(super) fn attached_bytes(attachments: &Array) -> Option<ArrayBuffer> {
    attachments.get(0).dyn_into().ok()
}
