//! What waits to be written to one socket, within bounds of number and length.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;
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
pub(crate) struct Queue {
    messages: mpsc::Sender<Outgoing>,
    bytes: Arc<AtomicUsize>,
}

/// The socket's end.
#[derive(Debug)]
pub(crate) struct Outgoings {
    messages: mpsc::Receiver<Outgoing>,
    bytes: Arc<AtomicUsize>,
}

/// The socket has stopped reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Queue {
    /// Queues something to write. That the socket is gone is no error: it will say so itself.
    pub(crate) fn push(&self, outgoing: Outgoing) -> Result<(), Full> {
        let bytes = match &outgoing {
            Outgoing::Text(text) => text.len(),
            Outgoing::Close => 0,
        };
        let waiting = self.bytes.load(Ordering::Relaxed);
        if waiting > 0 && waiting + bytes > OUTGOING_BYTES_MAX {
            return Err(Full);
        }
        // Counted first: the other end may be done with it at once.
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        match self.messages.try_send(outgoing) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Full),
        }
    }
}

impl Outgoings {
    pub(crate) fn new() -> (Queue, Self) {
        let (sender, messages) = mpsc::channel(OUTGOING_MESSAGES_MAX);
        let bytes = Arc::<AtomicUsize>::default();
        let queue = Queue {
            messages: sender,
            bytes: Arc::clone(&bytes),
        };
        (queue, Self { messages, bytes })
    }

    /// What is to be written next; none when the hub is gone.
    pub(crate) async fn next(&mut self) -> Option<Outgoing> {
        self.messages.recv().await
    }

    /// A text of so many bytes does not wait any more.
    pub(crate) fn written(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
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
}
