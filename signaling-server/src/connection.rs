//! One WebSocket: reads texts into the hub, writes what the hub queues, and notices when the other side is gone.

use crate::hub::{Event, Socket};
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use ringtmp_core::lobby::ConnectionId;
use ringtmp_core::signal::SIGNAL_BYTES_MAX;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite;

/// Messages that wait to be written to one socket. A room of the usual limit sends a few dozen when everybody connects to
/// everybody; a socket with so many unread ones has stopped reading and is cut.
pub const OUTGOING_MESSAGES_MAX: usize = 256;

/// The longest message that is read whole, so that its sender can be told how long it was. Anything over
/// [`SIGNAL_BYTES_MAX`] is refused; a message over this one is not even received.
pub(crate) const READ_BYTES_MAX: usize = 4 * SIGNAL_BYTES_MAX;

/// The read and write buffers of a socket: messages are a few kB.
pub(crate) const BUFFER_BYTES: usize = 8 * 1024;

/// How long one message may take to be written. The kernel's buffer takes it at once unless the other side has stopped
/// reading.
pub(crate) const WRITE_MAX: Duration = Duration::from_secs(10);

/// How long to wait for the answer to our goodbye: closing before it arrives can destroy our last words on their way.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// Pings in the time after which silence means death: one lost to a busy page does not cut it.
pub(crate) const PINGS_PER_SILENCE: u32 = 4;

/// What the hub wants written.
pub(crate) enum Outgoing {
    Text(Utf8Bytes),
    Close,
}

/// Why the reading side stopped.
enum ReadEnd {
    /// Closed or broken by the other side.
    Gone,
    /// Nothing came for too long.
    Silent,
    /// The server is ending.
    HubGone,
}

/// Serves a socket until it ends. Returns whether it was cut for its silence.
pub(crate) async fn serve(
    socket: WebSocket,
    connection: ConnectionId,
    hub: mpsc::Sender<Event>,
    silence_max: Duration,
) -> bool {
    let (mut sink, mut stream) = socket.split();
    let (outgoing, queue) = mpsc::channel(OUTGOING_MESSAGES_MAX);
    let (cut, mut cut_seen) = oneshot::channel();
    let socket = Socket { outgoing, cut };
    if hub
        .send(Event::Connected { connection, socket })
        .await
        .is_err()
    {
        return false;
    }
    let silent = tokio::select! {
        end = read(&mut stream, connection, &hub, silence_max) => matches!(end, ReadEnd::Silent),
        written = write(&mut sink, queue, silence_max / PINGS_PER_SILENCE) => {
            if written.is_ok() {
                let answer = async { while let Some(Ok(_)) = stream.next().await {} };
                // Whether they answer or not, the socket ends here.
                let _in_time = tokio::time::timeout(CLOSE_MAX, answer).await;
            }
            false
        }
        Ok(()) = &mut cut_seen => false,
    };
    // The hub may be gone; then nobody needs to know.
    let _hub_gone = hub.send(Event::Disconnected { connection }).await;
    silent
}

/// Reads until the socket ends. After a message too long to be received it only waits: the lobby closes the connection
/// once it has said why.
async fn read(
    stream: &mut SplitStream<WebSocket>,
    connection: ConnectionId,
    hub: &mpsc::Sender<Event>,
    silence_max: Duration,
) -> ReadEnd {
    loop {
        let message = match tokio::time::timeout(silence_max, stream.next()).await {
            Err(_) => return ReadEnd::Silent,
            Ok(None) => return ReadEnd::Gone,
            Ok(Some(Err(error))) => {
                let Some(bytes) = bytes_if_too_long(error) else {
                    return ReadEnd::Gone;
                };
                let told = hub.send(Event::Oversized { connection, bytes }).await;
                return match told {
                    Ok(()) => std::future::pending().await,
                    Err(_) => ReadEnd::HubGone,
                };
            }
            Ok(Some(Ok(message))) => message,
        };
        let event = match message {
            Message::Text(text) => text_event(connection, text),
            // The protocol is text; bytes that are text all the same are read as such.
            Message::Binary(bytes) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                text_event(connection, Utf8Bytes::from(text))
            }
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Close(_) => return ReadEnd::Gone,
        };
        if hub.send(event).await.is_err() {
            return ReadEnd::HubGone;
        }
    }
}

/// A text, or only its length if it is too long.
pub(crate) fn text_event(connection: ConnectionId, text: Utf8Bytes) -> Event {
    let bytes = text.as_str().len();
    if bytes > SIGNAL_BYTES_MAX {
        let bytes = bytes as u64;
        Event::Oversized { connection, bytes }
    } else {
        Event::Text { connection, text }
    }
}

/// The length of a message that was too long to be received; none for other errors.
fn bytes_if_too_long(error: axum::Error) -> Option<u64> {
    use tungstenite::error::CapacityError;
    match *error.into_inner().downcast::<tungstenite::Error>().ok()? {
        tungstenite::Error::Capacity(CapacityError::MessageTooLong { size, .. }) => {
            Some(size as u64)
        }
        _ => None,
    }
}

/// Writes what is queued, and pings, until the goodbye is written (also when the hub is gone) or the socket fails.
async fn write(
    sink: &mut SplitSink<WebSocket, Message>,
    mut queue: mpsc::Receiver<Outgoing>,
    ping_every: Duration,
) -> Result<(), axum::Error> {
    let mut pings = tokio::time::interval(ping_every);
    pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick is immediate, and nobody who has just connected needs a ping.
    pings.tick().await;
    loop {
        let (message, last) = tokio::select! {
            outgoing = queue.recv() => match outgoing {
                Some(Outgoing::Text(text)) => (Message::Text(text), false),
                Some(Outgoing::Close) => (close_message(close_code::NORMAL), true),
                None => (close_message(close_code::AWAY), true),
            },
            _ = pings.tick() => (Message::Ping(Default::default()), false),
        };
        match tokio::time::timeout(WRITE_MAX, sink.send(message)).await {
            Ok(written) => written?,
            Err(late) => return Err(axum::Error::new(late)),
        }
        if last {
            return Ok(());
        }
    }
}

fn close_message(code: u16) -> Message {
    Message::Close(Some(CloseFrame {
        code,
        reason: Utf8Bytes::from_static(""),
    }))
}
