//! One task that owns the lobby and hands it events; sockets talk to it over bounded queues.

use crate::ServerError;
use crate::outgoing::{Outgoing, Queue};
use prometheus_client::metrics::counter::Counter;
use ringtmp_core::lobby::{ConnectionId, Lobby, LobbyInput, LobbyOutput, Statistics, VisitorId};
use ringtmp_core::signal::{RoomView, ServerMessage};
use ringtmp_core::time::Time;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Events that wait for the lobby. It handles one in microseconds; when so many wait, sockets stop reading, and TCP tells
/// the senders to slow down.
pub(crate) const EVENTS_MAX: usize = 256;

/// How long the hub sleeps when the lobby has nothing to time out; any event wakes it before.
const IDLE_SLEEP: Duration = Duration::from_secs(3600);

/// Random bytes that are asked of the system at a time.
const ENTROPY_BYTES: usize = 1024;

/// What a socket tells the hub.
pub(crate) enum Event {
    Connected {
        connection: ConnectionId,
        visitor: VisitorId,
        socket: Socket,
    },
    Text {
        connection: ConnectionId,
        text: Utf8Bytes,
    },
    Oversized {
        connection: ConnectionId,
        bytes: u64,
    },
    Disconnected {
        connection: ConnectionId,
    },
}

/// The hub's ends of a socket.
pub(crate) struct Socket {
    /// Messages to write, and the goodbye after them.
    pub(crate) outgoing: Queue,
    /// Cuts the socket at once, whatever it still has to write.
    pub(crate) cut: oneshot::Sender<()>,
}

/// The lobby with a clock, random bytes and sockets.
pub(crate) struct Hub {
    lobby: Lobby,
    sockets: HashMap<ConnectionId, Socket>,
    entropy: Entropy,
    /// The view that was written last, and how: all members of a room are told the same.
    view: Option<(Arc<RoomView>, Utf8Bytes)>,
    statistics: watch::Sender<Statistics>,
    slow_readers: Counter,
    started: Instant,
}

impl Hub {
    pub(crate) fn new(
        lobby: Lobby,
        statistics: watch::Sender<Statistics>,
        slow_readers: Counter,
    ) -> Self {
        Self {
            lobby,
            sockets: HashMap::new(),
            entropy: Entropy::default(),
            view: None,
            statistics,
            slow_readers,
            started: Instant::now(),
        }
    }

    /// Runs until the system gives no more random bytes. Dropping it says goodbye to every socket.
    pub(crate) async fn run(mut self, mut events: mpsc::Receiver<Event>) -> ServerError {
        loop {
            let wake = self.wake();
            let handled = tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.event(event),
                    // Only when the router is gone, and with it everybody who could wait for us.
                    None => std::future::pending().await,
                },
                () = tokio::time::sleep_until(wake) => self.handle(LobbyInput::Tick),
            };
            if let Err(error) = handled {
                return ServerError::Entropy(error);
            }
            self.statistics.send_replace(self.lobby.statistics());
        }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.started.elapsed()
    }

    /// When the lobby wants its next tick.
    fn wake(&self) -> Instant {
        match self.lobby.poll_timeout() {
            Some(time) => self.started + time.since(Time::ZERO),
            None => Instant::now() + IDLE_SLEEP,
        }
    }

    fn event(&mut self, event: Event) -> Result<(), getrandom::Error> {
        match event {
            Event::Connected {
                connection,
                visitor,
                socket,
            } => {
                self.sockets.insert(connection, socket);
                self.handle(LobbyInput::Connected {
                    connection,
                    visitor,
                })
            }
            Event::Text { connection, text } => {
                let text = text.as_str();
                self.handle(LobbyInput::Text { connection, text })
            }
            Event::Oversized { connection, bytes } => {
                self.handle(LobbyInput::Oversized { connection, bytes })
            }
            Event::Disconnected { connection } => match self.sockets.remove(&connection) {
                Some(_) => self.handle(LobbyInput::Disconnected { connection }),
                // It was cut, and the lobby knows.
                None => Ok(()),
            },
        }
    }

    /// Hands one input to the lobby and carries out what comes back; sockets that have to be dropped on the way are
    /// further inputs.
    fn handle(&mut self, input: LobbyInput<'_>) -> Result<(), getrandom::Error> {
        self.lobby.handle(self.now(), self.entropy.next()?, input);
        // Each turn takes a socket out of the map, so there is an end.
        while let Some(connection) = self.drain() {
            let input = LobbyInput::Disconnected { connection };
            self.lobby.handle(self.now(), self.entropy.next()?, input);
        }
        Ok(())
    }

    /// Carries out outputs. Stops at a socket that does not read, cuts it, and returns its id.
    fn drain(&mut self) -> Option<ConnectionId> {
        while let Some(output) = self.lobby.poll_output() {
            let (connection, outgoing) = match output {
                LobbyOutput::Send {
                    connection,
                    message,
                } => match self.written(&message) {
                    Some(text) => (connection, Outgoing::Text(text)),
                    None => continue,
                },
                LobbyOutput::Close { connection } => (connection, Outgoing::Close),
            };
            if !self.queue(connection, outgoing) {
                return Some(connection);
            }
        }
        None
    }

    /// A message as JSON.
    fn written(&mut self, message: &ServerMessage) -> Option<Utf8Bytes> {
        let ServerMessage::Room { room } = message else {
            return json(message);
        };
        match &self.view {
            Some((view, text)) if Arc::ptr_eq(view, room) => Some(text.clone()),
            _ => {
                let text = json(message)?;
                self.view = Some((Arc::clone(room), text.clone()));
                Some(text)
            }
        }
    }

    /// Queues something to write; false if the socket was cut because it does not read.
    fn queue(&mut self, connection: ConnectionId, outgoing: Outgoing) -> bool {
        let Some(socket) = self.sockets.get(&connection) else {
            return true;
        };
        if socket.outgoing.push(outgoing).is_ok() {
            return true;
        }
        tracing::warn!(connection = connection.0, "dropped: it does not read");
        self.slow_readers.inc();
        if let Some(socket) = self.sockets.remove(&connection) {
            let _gone = socket.cut.send(());
        }
        false
    }
}

fn json(message: &ServerMessage) -> Option<Utf8Bytes> {
    match serde_json::to_string(message) {
        Ok(text) => Some(Utf8Bytes::from(text)),
        Err(error) => {
            // Every message type has string keys, so this is a bug in them, not in the peer.
            tracing::error!(%error, "a message cannot be written as JSON");
            None
        }
    }
}

/// Random bytes of the system, of which some are asked for in advance. Each is given out once.
#[derive(Default)]
struct Entropy {
    bytes: Vec<u8>,
}

impl Entropy {
    fn next(&mut self) -> Result<[u8; 16], getrandom::Error> {
        if self.bytes.len() < 16 {
            self.bytes = vec![0; ENTROPY_BYTES];
            getrandom::fill(&mut self.bytes)?;
        }
        let rest = self.bytes.split_off(self.bytes.len() - 16);
        Ok(std::array::from_fn(|i| rest[i]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_random_bytes_are_given_out_twice() {
        let mut entropy = Entropy::default();
        let given: BTreeSet<[u8; 16]> = (0..1000)
            .map(|_| entropy.next().expect("the system has some"))
            .collect();
        assert_eq!(given.len(), 1000);
    }
}
