//! One data channel of a browser, on the page or in the worker.

use super::event::{Changes, Listener, describe};
use crate::error::LinkError;
use futures::future::{Either, select};
use js_sys::{ArrayBuffer, Uint8Array};
use std::pin::pin;
use std::rc::Rc;
use wasm_bindgen::JsCast;
use web_sys::{MessageEvent, RtcDataChannel, RtcDataChannelState, RtcDataChannelType};

/// Where sending pauses: with more in its buffer a browser gains nothing, and at 16 MiB some throw.
const HIGH_MARK_BYTES: u32 = 1024 * 1024;

/// Where sending resumes: enough that the channel does not run dry before we have refilled it.
const LOW_MARK_BYTES: u32 = 256 * 1024;

/// A data channel. Dropping it closes it and removes its listeners.
pub(super) struct Channel {
    channel: RtcDataChannel,
    changes: Rc<Changes>,
    _listeners: [Listener; 5],
}

impl Channel {
    /// Takes a channel over, in the task in which it was made or came.
    pub(super) fn new(
        channel: RtcDataChannel,
        mut heard: impl FnMut(Heard) + Clone + 'static,
    ) -> Self {
        channel.set_binary_type(RtcDataChannelType::Arraybuffer);
        channel.set_buffered_amount_low_threshold(LOW_MARK_BYTES);
        let changes = Rc::new(Changes::default());
        let listen = |name, mut then: Box<dyn FnMut()>| {
            let changes = Rc::clone(&changes);
            Listener::new(&channel, name, move |_| {
                changes.notify();
                then();
            })
        };
        let nothing = || Box::new(|| ()) as Box<dyn FnMut()>;
        let mut closed = heard.clone();
        let listeners = [
            listen("open", nothing()),
            listen("close", Box::new(move || closed(Heard::Close))),
            // An error is followed by a close.
            listen("error", nothing()),
            listen("bufferedamountlow", nothing()),
            Listener::new(&channel, "message", move |event| {
                let data = event.dyn_ref::<MessageEvent>().map(MessageEvent::data);
                match data.and_then(|data| data.dyn_into::<ArrayBuffer>().ok()) {
                    Some(bytes) => heard(Heard::Message(bytes)),
                    None => heard(Heard::Text),
                }
            }),
        ];
        Self {
            channel,
            changes,
            _listeners: listeners,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.channel.ready_state() == RtcDataChannelState::Open
    }

    fn is_over(&self) -> bool {
        matches!(
            self.channel.ready_state(),
            RtcDataChannelState::Closing | RtcDataChannelState::Closed
        )
    }

    /// Waits until the channel is open.
    pub(super) async fn opened(&self) -> Result<(), LinkError> {
        self.when(|| self.is_open()).await
    }

    /// Sends a chunk as soon as the channel's buffer is below its high mark.
    pub(super) async fn send(&self, bytes: &[u8]) -> Result<(), LinkError> {
        self.writable().await?;
        self.channel
            .send_with_u8_array(bytes)
            .map_err(|thrown| self.refusal(&describe(&thrown)))
    }

    /// Like [`Channel::send`], for bytes that are already outside our memory.
    pub(super) async fn send_array(&self, bytes: &Uint8Array) -> Result<(), LinkError> {
        self.writable().await?;
        self.channel
            .send_with_js_u8_array(bytes)
            .map_err(|thrown| self.refusal(&describe(&thrown)))
    }

    async fn writable(&self) -> Result<(), LinkError> {
        if self.channel.buffered_amount() < HIGH_MARK_BYTES {
            return Ok(());
        }
        self.when(|| self.channel.buffered_amount() <= LOW_MARK_BYTES)
            .await
    }

    /// A throw on a closed channel only says that it is closed.
    fn refusal(&self, detail: &str) -> LinkError {
        if self.is_over() {
            LinkError::CLOSED_BY_PEER
        } else {
            LinkError::device(detail)
        }
    }

    async fn when(&self, ready: impl Fn() -> bool) -> Result<(), LinkError> {
        let ready = pin!(self.changes.until(|| ready().then_some(())));
        let over = pin!(self.changes.until(|| self.is_over().then_some(())));
        match select(ready, over).await {
            Either::Left(_) => Ok(()),
            Either::Right(_) => Err(LinkError::CLOSED_BY_PEER),
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.channel.close();
    }
}

/// What a channel tells its owner.
pub(super) enum Heard {
    /// It is closed, by the peer or with the connection.
    Close,
    /// Bytes came.
    Message(ArrayBuffer),
    /// Something came that is no bytes; we never send such.
    Text,
}
