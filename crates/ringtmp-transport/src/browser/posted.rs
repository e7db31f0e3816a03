//! A lane whose channel stays on the page: bytes are posted to and from the worker under credits, so that neither side
//! piles up what the other does not take.

use super::channel::{Channel, Heard};
use super::event::{Changes, describe};
use super::port::{
    AttemptId, Ending, POST_WINDOW_BYTES, ToWorker, attached_bytes, post_bytes, tell,
};
use crate::link::queue_bytes_max;
use js_sys::{Array, ArrayBuffer, Uint8Array};
use ringtmp_core::wire::{CHUNK_BYTES_MAX, Lane};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use web_sys::{MessagePort, RtcDataChannel};

/// One lane of a connection, on the page.
pub(super) struct PostedLane {
    port: MessagePort,
    attempt: AttemptId,
    lane: Lane,
    channel: Channel,
    changes: Changes,
    /// From the worker, for the channel; the worker's credit bounds it.
    outgoing: RefCell<VecDeque<Uint8Array>>,
    /// Bytes that we may still post to the worker.
    credit: Cell<usize>,
    /// From the channel, for the worker, which has let its credit run out.
    backlog: RefCell<VecDeque<Uint8Array>>,
    backlog_bytes: Cell<usize>,
}

impl PostedLane {
    /// Keeps a channel, in the task in which it was made.
    pub(super) fn new(
        port: MessagePort,
        attempt: AttemptId,
        lane: Lane,
        channel: RtcDataChannel,
    ) -> Rc<Self> {
        Rc::new_cyclic(|this: &Weak<Self>| {
            let this = this.clone();
            let heard = move |heard| {
                if let Some(this) = this.upgrade() {
                    this.hear(heard);
                }
            };
            Self {
                port,
                attempt,
                lane,
                channel: Channel::new(channel, heard),
                changes: Changes::default(),
                outgoing: RefCell::default(),
                credit: Cell::new(POST_WINDOW_BYTES),
                backlog: RefCell::default(),
                backlog_bytes: Cell::new(0),
            }
        })
    }

    /// Waits until the channel is open; false if it closes first.
    pub(super) async fn opened(&self) -> bool {
        self.channel.opened().await.is_ok()
    }

    /// Takes what the worker posted.
    pub(super) fn queue(&self, attachments: &Array) {
        if let Some(bytes) = attached_bytes(attachments) {
            self.outgoing
                .borrow_mut()
                .push_back(Uint8Array::new(&bytes));
            self.changes.notify();
        }
    }

    /// The worker has taken so many bytes.
    pub(super) fn credit(&self, bytes: usize) {
        self.credit.set(self.credit.get() + bytes);
        loop {
            let next = self.backlog.borrow_mut().pop_front();
            let Some(bytes) = next else { return };
            if length(&bytes) > self.credit.get() {
                return self.backlog.borrow_mut().push_front(bytes);
            }
            self.backlog_bytes
                .set(self.backlog_bytes.get() - length(&bytes));
            self.post(&bytes);
        }
    }

    /// Sends what the worker posted, as the channel takes it.
    pub(super) async fn pump_out(&self) {
        loop {
            let bytes = self
                .changes
                .until(|| self.outgoing.borrow_mut().pop_front())
                .await;
            if self.channel.send_array(&bytes).await.is_err() {
                return self.ended(Ending::Closed);
            }
            let credit = ToWorker::Credit {
                attempt: self.attempt,
                lane: self.lane.into(),
                bytes: length(&bytes),
            };
            tell(&self.port, &credit);
        }
    }

    fn hear(&self, heard: Heard) {
        match heard {
            Heard::Close => self.ended(Ending::Closed),
            Heard::Message(bytes) => self.take(&bytes),
            Heard::Text => self.ended(Ending::Signal {
                detail: "text on a data channel".to_owned(),
            }),
        }
    }

    fn take(&self, message: &ArrayBuffer) {
        let bytes = Uint8Array::new(message);
        // Of a message that is too long, enough goes on for the worker to see that it is.
        let bytes = if length(&bytes) > CHUNK_BYTES_MAX {
            bytes.slice(0, CHUNK_BYTES_MAX as u32 + 1)
        } else {
            bytes
        };
        if self.backlog_bytes.get() == 0 && length(&bytes) <= self.credit.get() {
            return self.post(&bytes);
        }
        let (waiting, limit) = (self.backlog_bytes.get(), queue_bytes_max(self.lane));
        if waiting + length(&bytes) > limit {
            return self.ended(Ending::Overrun {
                lane: self.lane.into(),
                waiting,
                limit,
            });
        }
        self.backlog_bytes.set(waiting + length(&bytes));
        self.backlog.borrow_mut().push_back(bytes);
    }

    fn post(&self, bytes: &Uint8Array) {
        // Posting takes the bytes away, and with them their length.
        self.credit.set(self.credit.get() - length(bytes));
        let message = ToWorker::Data {
            attempt: self.attempt,
            lane: self.lane.into(),
        };
        if let Err(thrown) = post_bytes(&self.port, &message, bytes) {
            self.ended(Ending::Browser {
                detail: describe(&thrown),
            });
        }
    }

    fn ended(&self, ending: Ending) {
        tell(
            &self.port,
            &ToWorker::Ended {
                attempt: self.attempt,
                ending,
            },
        );
    }
}

fn length(bytes: &Uint8Array) -> usize {
    bytes.length() as usize
}
