//! What goes into a lobby and what comes out of it.

use super::bucket::Rate;
use crate::signal::ServerMessage;
use std::time::Duration;

/// What a server allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Rooms at once.
    pub rooms_max: u32,
    /// Rooms at once that one visitor has opened. A lecture of 200 phones behind one address may open a room each.
    pub rooms_per_visitor_max: u32,
    /// Members of a room, spectators included.
    pub members_max: u16,
    /// Messages a connection may send at once. Connecting to two neighbours takes about 40.
    pub messages_burst: u32,
    /// Messages a connection may send for long. A tail sends about 7 a second.
    pub messages_per_second: u32,
    /// Messages that members of a room may cause to be sent to members, at once: what is shown to all counts once for each. A full room
    /// that starts causes about 13,000: each device is seen to come, to have measured and to be ready, and connects.
    pub room_messages_burst: u32,
    /// The same, for long. A full room whose tail tells 60 spectators of its progress takes about 500 a second.
    pub room_messages_per_second: u32,
    /// A room without members is closed after this time.
    pub room_idle: Duration,
    /// A connection that is in no room is closed after this time: clients open it to create or to join, and do so at once. None: never.
    pub roomless_max: Option<Duration>,
}

impl Limits {
    /// Messages of one connection.
    pub(super) fn messages(&self) -> Rate {
        Rate {
            burst: self.messages_burst,
            per_second: self.messages_per_second,
        }
    }

    /// Messages that one room causes.
    pub(super) fn room_messages(&self) -> Rate {
        Rate {
            burst: self.room_messages_burst,
            per_second: self.room_messages_per_second,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rooms_max: 1024,
            rooms_per_visitor_max: 256,
            members_max: 64,
            messages_burst: 200,
            messages_per_second: 50,
            room_messages_burst: 20_000,
            room_messages_per_second: 2_000,
            room_idle: Duration::from_secs(600),
            roomless_max: Some(Duration::from_secs(60)),
        }
    }
}

/// Whom the server takes for one: an address, or a network of a household. Named by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VisitorId(pub u64);

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
        /// Whose it is.
        visitor: VisitorId,
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
