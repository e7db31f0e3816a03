//! One WebSocket: reads texts into the hub, writes what the hub queues, and notices when the other side is gone.
//!
//! Most sockets are idle most of the time, so what one keeps while nothing happens is what counts: buffers of a few kB, and messages
//! written in pieces, because a buffer stays as long as the longest piece that it has held.

use crate::hub::{Event, Socket};
use crate::outgoing::{Outgoing, Outgoings};
use axum::body::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use ringtmp_core::lobby::{Bucket, ConnectionId, Rate, VisitorId};
use ringtmp_core::signal::SIGNAL_BYTES_MAX;
use ringtmp_core::time::Time;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

/// The longest message that is read whole, so that its sender can be told how long it was. Anything over
/// [`SIGNAL_BYTES_MAX`] is refused; a message over this one is not even received.
pub(crate) const READ_BYTES_MAX: usize = 4 * SIGNAL_BYTES_MAX;

/// The read buffer of a socket, made at once: most messages are a few hundred bytes.
const READ_BUFFER_BYTES: usize = 2 * 1024;

/// The longest piece of a message that is written at once. The write buffer is up to twice as long as the longest.
const PIECE_BYTES: usize = 2 * 1024;

/// What the write buffer may hold: a piece, and answers to pings and to the goodbye.
const WRITE_BUFFER_BYTES_MAX: usize = 2 * PIECE_BYTES;

/// How long one piece of a message may take to be written. The kernel's buffer takes it at once unless the other side has stopped
/// reading.
pub(crate) const WRITE_MAX: Duration = Duration::from_secs(10);

/// How long to wait for the answer to our goodbye: closing before it arrives can destroy our last words on their way.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// Pings in the time after which silence means death: one lost to a busy page does not cut it.
pub(crate) const PINGS_PER_SILENCE: u32 = 4;

/// Pings, and answers to ours, that a socket may send. The lobby never hears of them; ours need one every five seconds.
const CONTROL_FRAMES: Rate = Rate {
    burst: 64,
    per_second: 4,
};

/// A socket that has been upgraded.
pub(crate) type WebSocket = WebSocketStream<TokioIo<Upgraded>>;

/// Whose socket it is, and what it may do.
pub(crate) struct Terms {
    pub(crate) connection: ConnectionId,
    pub(crate) visitor: VisitorId,
    pub(crate) silence_max: Duration,
}

/// Why a socket was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Nothing came for too long.
    Silent,
    /// More pings came than anybody needs.
    Flood,
}

/// Why the reading side stopped.
enum ReadEnd {
    /// Closed or broken by the other side.
    Gone,
    /// By us.
    Cut(Cut),
    /// The server is ending.
    HubGone,
}

/// Begins to speak WebSocket on a socket.
pub(crate) async fn open(socket: Upgraded) -> WebSocket {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(READ_BYTES_MAX))
        .max_frame_size(Some(READ_BYTES_MAX));
    WebSocketStream::from_raw_socket(TokioIo::new(socket), Role::Server, Some(config)).await
}

/// Serves a socket until it ends. Returns why it was cut, if it was.
pub(crate) async fn serve(
    socket: WebSocket,
    terms: Terms,
    hub: mpsc::Sender<Event>,
) -> Option<Cut> {
    let Terms {
        connection,
        visitor,
        silence_max,
    } = terms;
    let (mut sink, mut stream) = socket.split();
    let (outgoing, queue) = Outgoings::new();
    let (cut, mut cut_seen) = oneshot::channel();
    let connected = Event::Connected {
        connection,
        visitor,
        socket: Socket { outgoing, cut },
    };
    if hub.send(connected).await.is_err() {
        return None;
    }
    let was_cut = tokio::select! {
        end = read(&mut stream, connection, &hub, silence_max) => match end {
            ReadEnd::Cut(cut) => Some(cut),
            ReadEnd::Gone | ReadEnd::HubGone => None,
        },
        written = write(&mut sink, queue, silence_max / PINGS_PER_SILENCE) => {
            if written.is_ok() {
                let answer = async { while let Some(Ok(_)) = stream.next().await {} };
                // Whether they answer or not, the socket ends here.
                let _in_time = tokio::time::timeout(CLOSE_MAX, answer).await;
            }
            None
        }
        Ok(()) = &mut cut_seen => None,
    };
    // The hub may be gone; then nobody needs to know.
    let _hub_gone = hub.send(Event::Disconnected { connection }).await;
    was_cut
}

/// Reads until the socket ends. After a message too long to be received it only waits: the lobby closes the connection
/// once it has said why.
async fn read(
    stream: &mut SplitStream<WebSocket>,
    connection: ConnectionId,
    hub: &mpsc::Sender<Event>,
    silence_max: Duration,
) -> ReadEnd {
    let begun = Instant::now();
    let now = || Time::ZERO + begun.elapsed();
    let mut control_frames = Bucket::full(now(), CONTROL_FRAMES);
    loop {
        let message = match tokio::time::timeout(silence_max, stream.next()).await {
            Err(_) => return ReadEnd::Cut(Cut::Silent),
            Ok(None) => return ReadEnd::Gone,
            Ok(Some(Err(error))) => {
                let Some(bytes) = bytes_if_too_long(&error) else {
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
            Message::Ping(_) | Message::Pong(_) => {
                if control_frames.spend(now(), CONTROL_FRAMES, 1.0) {
                    continue;
                }
                return ReadEnd::Cut(Cut::Flood);
            }
            Message::Close(_) => return ReadEnd::Gone,
            Message::Frame(_) => unreachable!("reading gives whole messages"),
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
fn bytes_if_too_long(error: &Error) -> Option<u64> {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { size, .. }) => Some(*size as u64),
        _ => None,
    }
}

/// Writes what is queued, and pings, until the goodbye is written (also when the hub is gone) or the socket fails.
async fn write(
    sink: &mut SplitSink<WebSocket, Message>,
    mut queue: Outgoings,
    ping_every: Duration,
) -> Result<(), Failed> {
    let mut pings = tokio::time::interval(ping_every);
    pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick is immediate, and nobody who has just connected needs a ping.
    pings.tick().await;
    loop {
        tokio::select! {
            outgoing = queue.next() => match outgoing {
                Some(Outgoing::Text(text)) => {
                    let bytes = text.len();
                    write_text(sink, text.into()).await?;
                    queue.written(bytes);
                }
                Some(Outgoing::Close) => return send(sink, close_message(CloseCode::Normal)).await,
                None => return send(sink, close_message(CloseCode::Away)).await,
            },
            _ = pings.tick() => send(sink, Message::Ping(Bytes::new())).await?,
        }
    }
}

/// Writes a text in pieces.
async fn write_text(
    sink: &mut SplitSink<WebSocket, Message>,
    mut text: Bytes,
) -> Result<(), Failed> {
    let mut kind = Data::Text;
    loop {
        let piece = text.split_to(text.len().min(PIECE_BYTES));
        let frame = Frame::message(piece, OpCode::Data(kind), text.is_empty());
        send(sink, Message::Frame(frame)).await?;
        if text.is_empty() {
            return Ok(());
        }
        kind = Data::Continue;
    }
}

/// The socket does not take what is written, or not in time.
struct Failed;

async fn send(sink: &mut SplitSink<WebSocket, Message>, message: Message) -> Result<(), Failed> {
    match tokio::time::timeout(WRITE_MAX, sink.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Failed),
    }
}

fn close_message(code: CloseCode) -> Message {
    Message::Close(Some(CloseFrame {
        code,
        reason: Utf8Bytes::from_static(""),
    }))
}
