//! What goes into a lobby and what comes out of it.

use crate::signal::ServerMessage;
use std::time::Duration;

/// What a server allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Rooms at once.
    pub rooms_max: u32,
    /// Members of a room, spectators included.
    pub members_max: u16,
    /// Messages a connection may send at once. Connecting to two neighbours takes about 40.
    pub messages_burst: u32,
    /// Messages a connection may send for long. A tail sends about 7 a second.
    pub messages_per_second: u32,
    /// A room without members is closed after this time.
    pub room_idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rooms_max: 1024,
            members_max: 64,
            messages_burst: 200,
            messages_per_second: 50,
            room_idle: Duration::from_secs(600),
        }
    }
}

/// One socket, named by its owner; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What happens at a server's sockets.
#[derive(Clone, Copy, Debug)]
pub enum LobbyInput<'a> {
    /// A socket was opened.
    Connected {
        /// The socket.
        connection: ConnectionId,
    },
    /// A text arrived.
    Text {
        /// The socket.
        connection: ConnectionId,
        /// The text.
        text: &'a str,
    },
    /// A text longer than [`SIGNAL_BYTES_MAX`](crate::signal::SIGNAL_BYTES_MAX) was announced or arrived.
    Oversized {
        /// The socket.
        connection: ConnectionId,
        /// Its length.
        bytes: u64,
    },
    /// A socket was closed.
    Disconnected {
        /// The socket.
        connection: ConnectionId,
    },
    /// Time has passed.
    Tick,
}

/// What a server must do.
#[derive(Clone, Debug, PartialEq)]
pub enum LobbyOutput {
    /// Send a message.
    Send {
        /// The socket.
        connection: ConnectionId,
        /// The message.
        message: ServerMessage,
    },
    /// Close a socket, after what was sent to it. [`LobbyInput::Disconnected`] is still expected.
    Close {
        /// The socket.
        connection: ConnectionId,
    },
}

/// Figures about a lobby.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Rooms now.
    pub rooms: u64,
    /// Members of rooms now.
    pub members: u64,
    /// Sockets now.
    pub connections: u64,
    /// Texts received so far.
    pub messages_total: u64,
    /// Connection messages passed on so far.
    pub relayed_total: u64,
    /// Refusals so far.
    pub refusals_total: u64,
    /// Rooms opened so far.
    pub rooms_created_total: u64,
}
