//! The socket to the signalling server: JSON texts, in order, bounded both ways.

use crate::address::ServerAddress;
use crate::error::SignallingError;
use crate::platform::socket;
use futures::StreamExt;
use futures::channel::mpsc;
use ringtmp_core::signal::{ClientMessage, SIGNAL_BYTES_MAX, ServerMessage};
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// The most messages that wait to be sent, and that wait to be read: a joining peer exchanges a few dozen.
pub const SIGNALLING_QUEUE_MAX: usize = 256;

/// A connection to the signalling server. Dropping it closes it.
pub struct Signalling {
    outgoing: Mutex<Outgoing>,
    incoming: Incoming,
    /// Why it has ended, once it has.
    end: Option<SignallingError>,
}

enum Outgoing {
    Texts(mpsc::Sender<String>),
    Messages(mpsc::Sender<ClientMessage>),
}

enum Incoming {
    Texts(mpsc::Receiver<Result<String, SignallingError>>),
    Messages(mpsc::Receiver<ServerMessage>),
}

/// The platform's ends of a socket: what it is to send, and where it puts what has come. It closes when one of them does.
pub(crate) struct SocketEnds {
    pub(crate) outgoing: mpsc::Receiver<String>,
    pub(crate) incoming: mpsc::Sender<Result<String, SignallingError>>,
}

impl Signalling {
    /// Connects to a server, such as `http://192.168.1.7:8080`; see [`ServerAddress`]. On native it must be called within a tokio
    /// runtime.
    pub async fn connect(server: &str) -> Result<Self, SignallingError> {
        let server: ServerAddress = server.parse()?;
        let (to_socket, outgoing) = mpsc::channel(SIGNALLING_QUEUE_MAX);
        let (incoming, from_socket) = mpsc::channel(SIGNALLING_QUEUE_MAX);
        socket::open(&server, SocketEnds { outgoing, incoming }).await?;
        Ok(Self {
            outgoing: Mutex::new(Outgoing::Texts(to_socket)),
            incoming: Incoming::Texts(from_socket),
            end: None,
        })
    }

    /// A connection through channels in memory, to a lobby in the same process.
    pub fn from_channels(
        outgoing: mpsc::Sender<ClientMessage>,
        incoming: mpsc::Receiver<ServerMessage>,
    ) -> Self {
        Self {
            outgoing: Mutex::new(Outgoing::Messages(outgoing)),
            incoming: Incoming::Messages(incoming),
            end: None,
        }
    }

    /// Queues a message. Never waits.
    ///
    /// # Errors
    ///
    /// [`SignallingError::Stuck`] and [`SignallingError::TooLong`] drop the message and leave the connection open;
    /// [`SignallingError::Closed`] means that [`Signalling::receive`] has more to say.
    pub fn send(&self, message: &ClientMessage) -> Result<(), SignallingError> {
        let text = serde_json::to_string(message).map_err(SignallingError::malformed)?;
        if text.len() > SIGNAL_BYTES_MAX {
            return Err(SignallingError::TooLong { size: text.len() });
        }
        let mut outgoing = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        let full = match &mut *outgoing {
            Outgoing::Texts(sender) => sender.try_send(text).map_err(|error| error.is_full()),
            Outgoing::Messages(sender) => sender
                .try_send(message.clone())
                .map_err(|error| error.is_full()),
        };
        full.map_err(|full| match full {
            true => SignallingError::Stuck {
                waiting: SIGNALLING_QUEUE_MAX,
            },
            false => SignallingError::closed("it has ended"),
        })
    }

    /// Waits for the next message. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// Once the connection has ended, or the server has sent what is no message: why, every time.
    pub async fn receive(&mut self) -> Result<ServerMessage, SignallingError> {
        if let Some(end) = &self.end {
            return Err(end.clone());
        }
        let received = match &mut self.incoming {
            Incoming::Texts(receiver) => receiver.next().await.map(|text| parse(&text?)),
            Incoming::Messages(receiver) => receiver.next().await.map(Ok),
        };
        let message =
            received.unwrap_or_else(|| Err(SignallingError::closed("the server ended it")));
        self.end = message.as_ref().err().cloned();
        message
    }
}

impl fmt::Debug for Signalling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signalling")
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

fn parse(text: &str) -> Result<ServerMessage, SignallingError> {
    if text.len() > SIGNAL_BYTES_MAX {
        return Err(SignallingError::malformed(format_args!(
            "a message of {} bytes",
            text.len()
        )));
    }
    serde_json::from_str(text).map_err(SignallingError::malformed)
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
