//! The link: two lanes of whole frames, queued on both sides.
//!
//! An [`Endpoint`] is what the owner's halves ([`LinkSender`], [`LinkReceiver`]) and a platform's pumps share. The owner
//! queues frames, which are cut at once; a pump takes chunk after chunk with [`Endpoint::next_piece`] whenever its
//! channel takes more. What a channel brings goes into [`Endpoint::accept`], which puts frames together for the owner.
//! Where a platform can hold the peer back, its pump awaits [`Endpoint::incoming_space`] before each chunk.

use crate::error::LinkError;
use crate::lane::LaneState;
use futures::task::AtomicWaker;
use ringtmp_core::wire::{CHUNK_BYTES_MAX, CONTROL_FRAME_BYTES_MAX, FRAME_BYTES_MAX, Lane, chunks};
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The most bytes that wait to be sent on the tensors lane: two of the longest frames, one each way round a stage. The
/// schedule's credits keep the normal case far below it.
pub const QUEUE_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;

/// The most bytes that wait to be sent on the control lane: its messages are a few hundred bytes, a few a second, so that
/// this is minutes of them.
pub const CONTROL_QUEUE_BYTES_MAX: usize = 16 * CONTROL_FRAME_BYTES_MAX;

/// Below so many bytes that wait on the tensors lane a link has room for another frame: enough to keep a channel busy between two
/// looks, and little enough that what waits is held once, by who sends it.
pub const ROOM_BYTES: usize = 4 * 1024 * 1024;

/// Where reading pauses, on platforms that can hold the peer back: enough to keep a reader busy between two looks.
const PAUSE_BYTES: usize = 4 * 1024 * 1024;

/// Bytes that a link has moved and holds, counted as chunks on the channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Handed to the channels so far.
    pub sent: u64,
    /// Taken from the channels so far.
    pub received: u64,
    /// Waiting to be handed to the channels.
    pub queued: u64,
    /// Whether it goes by way of a server that relays.
    pub relayed: bool,
}

/// A connection to one peer. Dropping the receiver closes it.
#[derive(Debug)]
pub struct Link {
    /// Queues frames for the peer.
    pub sender: LinkSender,
    /// Takes frames from the peer.
    pub receiver: LinkReceiver,
}

/// The sending half of a [`Link`].
#[derive(Clone)]
pub struct LinkSender {
    endpoint: Endpoint,
}

impl LinkSender {
    /// Queues a frame of 1 to [`Lane::frame_bytes_max`] bytes. Never waits.
    ///
    /// # Errors
    ///
    /// [`LinkError::Stuck`] while [`QUEUE_BYTES_MAX`] (or [`CONTROL_QUEUE_BYTES_MAX`]) would be exceeded, and
    /// [`LinkError::FrameLength`]: the frame is dropped, the link stays open. Otherwise the error that ended the link.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the queue owns its frames, however it stores them"
    )]
    pub fn queue(&self, lane: Lane, frame: Vec<u8>) -> Result<(), LinkError> {
        self.endpoint.queue(lane, &frame)
    }

    /// Whether fewer than [`ROOM_BYTES`] wait on the tensors lane, or the link has ended. Who queues a frame only then never meets
    /// [`LinkError::Stuck`], whatever the frame's length.
    pub fn has_room(&self) -> bool {
        self.endpoint.lock().has_room()
    }

    /// Whether it [has room](Self::has_room); if not, the task is woken once it has. One task at a time can wait for it.
    pub fn poll_room(&self, context: &Context<'_>) -> Poll<()> {
        self.endpoint.0.room.register(context.waker());
        match self.has_room() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// What the link has moved so far.
    pub fn traffic(&self) -> Traffic {
        self.endpoint.traffic()
    }

    /// Closes the link. What is still queued is dropped; the peer notices at once.
    pub fn close(&self) {
        self.endpoint.end(LinkError::CLOSED_BY_US);
    }

    /// How many chunks the bytes are that were handed to the channels.
    #[cfg(test)]
    pub(crate) fn chunks_sent(&self) -> u64 {
        self.endpoint.lock().chunks_sent
    }

    /// Sends bytes that are no chunks, as a broken peer would.
    #[cfg(test)]
    pub(crate) fn queue_raw(&self, lane: Lane, message: Vec<u8>) {
        self.endpoint.lock().lanes[slot(lane)].queue([message]);
        self.endpoint.0.outgoing[slot(lane)].wake();
    }
}

/// The receiving half of a [`Link`].
pub struct LinkReceiver {
    endpoint: Endpoint,
}

impl LinkReceiver {
    /// Waits for the next whole frame; the control lane goes first. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// Once the link has ended, and every frame that came before has been taken: why it ended, every time.
    pub async fn receive(&mut self) -> Result<(Lane, Vec<u8>), LinkError> {
        poll_fn(|context| self.endpoint.poll_receive(context)).await
    }
}

impl Drop for LinkReceiver {
    fn drop(&mut self) {
        // A link that nobody reads would only fill up.
        self.endpoint.end(LinkError::CLOSED_BY_US);
    }
}

/// The state of a link that its owner and its pumps share.
#[derive(Clone)]
pub(crate) struct Endpoint(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    // Each has exactly one task that waits for it.
    outgoing: [AtomicWaker; 2],
    space: [AtomicWaker; 2],
    incoming: AtomicWaker,
    room: AtomicWaker,
}

struct State {
    lanes: [LaneState; 2],
    end: Option<LinkError>,
    end_wakers: Vec<Waker>,
    sent: u64,
    #[cfg(test)]
    chunks_sent: u64,
    received: u64,
    relayed: bool,
    heard: bool,
}

impl Endpoint {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                lanes: Lane::ALL.map(LaneState::new),
                end: None,
                end_wakers: Vec::new(),
                sent: 0,
                #[cfg(test)]
                chunks_sent: 0,
                received: 0,
                relayed: false,
                heard: false,
            }),
            outgoing: Default::default(),
            space: Default::default(),
            incoming: AtomicWaker::new(),
            room: AtomicWaker::new(),
        }))
    }

    /// The owner's halves.
    pub(crate) fn link(&self) -> Link {
        Link {
            sender: LinkSender {
                endpoint: self.clone(),
            },
            receiver: LinkReceiver {
                endpoint: self.clone(),
            },
        }
    }

    /// Waits for a chunk to send on a lane; `None` once the link has ended.
    pub(crate) async fn next_outgoing(&self, lane: Lane) -> Option<Vec<u8>> {
        self.next_piece(lane, CHUNK_BYTES_MAX).await
    }

    /// The same, of which no more than so many bytes are wanted at once.
    pub(crate) async fn next_piece(&self, lane: Lane, longest: usize) -> Option<Vec<u8>> {
        poll_fn(|context| {
            self.0.outgoing[slot(lane)].register(context.waker());
            let mut state = self.lock();
            if state.end.is_some() {
                return Poll::Ready(None);
            }
            let had_room = state.has_room();
            let Some(chunk) = state.lanes[slot(lane)].unqueue(longest) else {
                return Poll::Pending;
            };
            state.sent += chunk.len() as u64;
            #[cfg(test)]
            {
                state.chunks_sent += 1;
            }
            let has_room = state.has_room();
            drop(state);
            if has_room && !had_room {
                self.0.room.wake();
            }
            Poll::Ready(Some(chunk))
        })
        .await
    }

    /// Takes a message that the channel of a lane brought. A broken one ends the link.
    pub(crate) fn accept(&self, lane: Lane, message: &[u8]) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        state.received += message.len() as u64;
        let accepted = state.lanes[slot(lane)].accept(lane, message);
        drop(state);
        match accepted {
            Ok(true) => self.0.incoming.wake(),
            Ok(false) => {}
            Err(error) => self.end(error),
        }
    }

    /// Waits until the owner has read enough that more may come in on a lane; false once the link has ended.
    pub(crate) async fn incoming_space(&self, lane: Lane) -> bool {
        poll_fn(|context| {
            self.0.space[slot(lane)].register(context.waker());
            let state = self.lock();
            if state.end.is_some() {
                return Poll::Ready(false);
            }
            if state.lanes[slot(lane)].incoming_bytes < pause_bytes(lane) {
                Poll::Ready(true)
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// Ends the link, for the first reason given. Frames that have come stay readable unless we end it ourselves.
    pub(crate) fn end(&self, reason: LinkError) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        for (lane, lane_state) in Lane::ALL.into_iter().zip(&mut state.lanes) {
            let readable = std::mem::take(&mut lane_state.incoming);
            let readable_bytes = lane_state.incoming_bytes;
            *lane_state = LaneState::new(lane);
            if reason != LinkError::CLOSED_BY_US {
                lane_state.incoming = readable;
                lane_state.incoming_bytes = readable_bytes;
            }
        }
        state.end = Some(reason);
        let wakers = std::mem::take(&mut state.end_wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        self.0.incoming.wake();
        self.0.room.wake();
        self.0
            .outgoing
            .iter()
            .chain(&self.0.space)
            .for_each(AtomicWaker::wake);
    }

    /// Waits for the end of the link, and says why it ended.
    pub(crate) async fn ended(&self) -> LinkError {
        poll_fn(|context| {
            let mut state = self.lock();
            if let Some(reason) = &state.end {
                return Poll::Ready(reason.clone());
            }
            if !state
                .end_wakers
                .iter()
                .any(|waker| waker.will_wake(context.waker()))
            {
                state.end_wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.lock().traffic()
    }

    /// Which way it goes is known.
    pub(crate) fn set_relayed(&self, relayed: bool) {
        self.lock().relayed = relayed;
    }

    /// The peer has said something, by the way of connection messages.
    pub(crate) fn hear(&self) {
        self.lock().heard = true;
    }

    pub(crate) fn was_heard(&self) -> bool {
        self.lock().heard
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().end.is_some()
    }

    fn queue(&self, lane: Lane, frame: &[u8]) -> Result<(), LinkError> {
        let limit = lane.frame_bytes_max();
        if frame.is_empty() || frame.len() > limit {
            return Err(LinkError::FrameLength {
                lane,
                size: frame.len(),
                limit,
            });
        }
        let mut state = self.lock();
        if let Some(reason) = &state.end {
            return Err(reason.clone());
        }
        let (waiting, limit) = (
            state.lanes[slot(lane)].outgoing_bytes,
            queue_bytes_max(lane),
        );
        // A lone frame always fits, so that the limit and the longest frame cannot contradict each other.
        if waiting > 0 && waiting + frame.len() > limit {
            return Err(LinkError::Stuck {
                lane,
                waiting,
                limit,
            });
        }
        state.lanes[slot(lane)].queue(chunks(frame));
        drop(state);
        self.0.outgoing[slot(lane)].wake();
        Ok(())
    }

    fn poll_receive(&self, context: &mut Context<'_>) -> Poll<Result<(Lane, Vec<u8>), LinkError>> {
        self.0.incoming.register(context.waker());
        let mut state = self.lock();
        for lane in Lane::ALL {
            if let Some(frame) = state.lanes[slot(lane)].take_frame() {
                drop(state);
                self.0.space[slot(lane)].wake();
                return Poll::Ready(Ok((lane, frame)));
            }
        }
        match &state.end {
            Some(reason) => Poll::Ready(Err(reason.clone())),
            None => Poll::Pending,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave the state half changed.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self) -> bool {
        self.end.is_some() || self.lanes[slot(Lane::Tensors)].outgoing_bytes < ROOM_BYTES
    }

    fn traffic(&self) -> Traffic {
        let queued = self
            .lanes
            .iter()
            .map(|lane| lane.outgoing_bytes as u64)
            .sum();
        Traffic {
            sent: self.sent,
            received: self.received,
            queued,
            relayed: self.relayed,
        }
    }
}

impl fmt::Debug for LinkSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkSender")
            .field("traffic", &self.traffic())
            .finish()
    }
}

impl fmt::Debug for LinkReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkReceiver").finish_non_exhaustive()
    }
}

const fn slot(lane: Lane) -> usize {
    lane.channel_id() as usize
}

/// The most bytes that may wait on a lane: to be sent, or, where the peer cannot be held back, to be read.
pub(crate) const fn queue_bytes_max(lane: Lane) -> usize {
    match lane {
        Lane::Control => CONTROL_QUEUE_BYTES_MAX,
        Lane::Tensors => QUEUE_BYTES_MAX,
    }
}

const fn pause_bytes(lane: Lane) -> usize {
    match lane {
        Lane::Control => CHUNK_BYTES_MAX,
        Lane::Tensors => PAUSE_BYTES,
    }
}
