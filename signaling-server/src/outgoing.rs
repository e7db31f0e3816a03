//! What waits to be written to one socket, within bounds of number and length.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Messages that wait to be written to one socket. A room of the usual limit sends a few dozen when everybody connects to
/// everybody; a socket with so many unread ones has stopped reading and is cut.
pub const OUTGOING_MESSAGES_MAX: usize = 256;

/// Bytes of messages that wait to be written to one socket, if there is more than one: more than anybody is sent at once (a run of
/// 1,024 layers has 130 kB, the view of a full room some 100 kB), and little enough that hundreds of sockets that do not read are no
/// danger.
pub const OUTGOING_BYTES_MAX: usize = 1 << 20;

/// What the hub wants written.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Text(Utf8Bytes),
    Close,
}

/// The hub's end.
#[derive(Debug)]
pub(crate) struct Queue(Arc<Shared>);

/// The socket's end.
#[derive(Debug)]
pub(crate) struct Outgoings(Arc<Shared>);

/// Both have it. (A channel of tokio's keeps places for 32 messages at least; here an idle socket keeps none.)
#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// There is something to write, or there will be nothing more.
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Outgoing>,
    /// Of messages that wait, or are being written.
    bytes: usize,
    hub_gone: bool,
    socket_gone: bool,
}

/// The socket has stopped reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Queues something to write. That the socket is gone is no error: it will say so itself.
    pub(crate) fn push(&self, outgoing: Outgoing) -> Result<(), Full> {
        let bytes = match &outgoing {
            Outgoing::Text(text) => text.len(),
            Outgoing::Close => 0,
        };
        let mut waiting = self.0.lock();
        if waiting.socket_gone {
            return Ok(());
        }
        let too_long = waiting.bytes > 0 && waiting.bytes + bytes > OUTGOING_BYTES_MAX;
        if too_long || waiting.messages.len() >= OUTGOING_MESSAGES_MAX {
            return Err(Full);
        }
        waiting.bytes += bytes;
        waiting.messages.push_back(outgoing);
        drop(waiting);
        self.0.news.notify_one();
        Ok(())
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.0.lock().hub_gone = true;
        self.0.news.notify_one();
    }
}

impl Outgoings {
    pub(crate) fn new() -> (Queue, Self) {
        let shared = Arc::<Shared>::default();
        (Queue(Arc::clone(&shared)), Self(shared))
    }

    /// What is to be written next; none when the hub is gone. Nothing is lost if it is not awaited to its end.
    pub(crate) async fn next(&mut self) -> Option<Outgoing> {
        loop {
            if let Some(next) = self.now() {
                return next;
            }
            self.0.news.notified().await;
        }
    }

    /// The same, if it is known now.
    fn now(&self) -> Option<Option<Outgoing>> {
        let mut waiting = self.0.lock();
        if let Some(next) = waiting.messages.pop_front() {
            if waiting.messages.is_empty() {
                waiting.messages = VecDeque::new();
            }
            return Some(Some(next));
        }
        waiting.hub_gone.then_some(None)
    }

    /// A text of so many bytes does not wait any more.
    pub(crate) fn written(&self, bytes: usize) {
        let mut waiting = self.0.lock();
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
    }
}

impl Drop for Outgoings {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.socket_gone = true;
        waiting.messages = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: usize) -> Outgoing {
        Outgoing::Text("x".repeat(bytes).into())
    }

    #[tokio::test]
    async fn a_queue_is_full_by_number_and_by_length() {
        let (queue, mut socket) = Outgoings::new();
        for _ in 0..OUTGOING_MESSAGES_MAX {
            assert_eq!(queue.push(text(1)), Ok(()));
        }
        assert_eq!(queue.push(text(1)), Err(Full), "by number");
        let (queue, _socket) = Outgoings::new();
        assert_eq!(
            queue.push(text(2 * OUTGOING_BYTES_MAX)),
            Ok(()),
            "one of any length"
        );
        assert_eq!(queue.push(text(1)), Err(Full), "by length");
        for _ in 0..OUTGOING_MESSAGES_MAX {
            assert!(matches!(socket.next().await, Some(Outgoing::Text(_))));
            socket.written(1);
        }
    }

    #[tokio::test]
    async fn what_was_written_makes_room() {
        let (queue, mut socket) = Outgoings::new();
        for _ in 0..10 {
            assert_eq!(queue.push(text(OUTGOING_BYTES_MAX / 2)), Ok(()));
            assert_eq!(queue.push(text(OUTGOING_BYTES_MAX / 2)), Ok(()));
            assert_eq!(queue.push(text(1)), Err(Full));
            for _ in 0..2 {
                assert!(socket.next().await.is_some());
                socket.written(OUTGOING_BYTES_MAX / 2);
            }
        }
    }

    #[tokio::test]
    async fn what_is_said_last_is_written_and_then_there_is_nothing_more() {
        let (queue, mut socket) = Outgoings::new();
        let writer = tokio::spawn(async move {
            let mut written = 0;
            while socket.next().await.is_some() {
                written += 1;
            }
            written
        });
        for _ in 0..3 {
            assert_eq!(queue.push(text(1)), Ok(()));
            tokio::task::yield_now().await;
        }
        drop(queue);
        let written = tokio::time::timeout(std::time::Duration::from_secs(10), writer).await;
        assert_eq!(written.expect("in time").expect("no panic"), 3);
        let (queue, socket) = Outgoings::new();
        drop(socket);
        assert_eq!(queue.push(text(1)), Ok(()), "it will say so itself");
    }
}
