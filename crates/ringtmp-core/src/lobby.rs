//! All rooms of a server, and the limits that keep it standing.

use crate::ids::{PeerId, RoomCode};
use crate::room::Room;
use crate::signal::{
    ClientMessage, PROTOCOL_VERSION, RUN_FILE_BYTES_MAX, Refusal, RunDescriptor, SIGNAL_BYTES_MAX,
    ServerMessage,
};
use crate::time::Time;
use std::collections::{BTreeMap, VecDeque};
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
    /// A text longer than [`SIGNAL_BYTES_MAX`] was announced or arrived.
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

#[derive(Debug)]
struct Connection {
    membership: Option<(RoomCode, PeerId)>,
    /// Messages it may still send now.
    tokens: f64,
    tokens_at: Time,
    closing: bool,
}

#[derive(Debug)]
struct Entry {
    room: Room,
    connections: BTreeMap<PeerId, ConnectionId>,
    empty_since: Option<Time>,
}

/// All rooms of a server. Every call of [`Lobby::handle`] is followed by draining [`Lobby::poll_output`].
#[derive(Debug)]
pub struct Lobby {
    limits: Limits,
    rooms: BTreeMap<RoomCode, Entry>,
    connections: BTreeMap<ConnectionId, Connection>,
    output: VecDeque<LobbyOutput>,
    totals: Statistics,
}

impl Lobby {
    /// A lobby without rooms.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            rooms: BTreeMap::new(),
            connections: BTreeMap::new(),
            output: VecDeque::new(),
            totals: Statistics::default(),
        }
    }

    /// Takes an input. `entropy` must be fresh unpredictable bytes each time: room codes and peer ids are made of them.
    pub fn handle(&mut self, now: Time, entropy: [u8; 16], input: LobbyInput<'_>) {
        match input {
            LobbyInput::Connected { connection } => self.connected(now, connection),
            LobbyInput::Text { connection, text } => self.text(now, entropy, connection, text),
            LobbyInput::Oversized { connection, bytes } => {
                self.refuse(
                    connection,
                    Refusal::TooLong {
                        bytes,
                        bytes_max: SIGNAL_BYTES_MAX as u64,
                    },
                );
                self.close(connection);
            }
            LobbyInput::Disconnected { connection } => self.disconnected(now, connection),
            LobbyInput::Tick => {}
        }
        self.tick(now);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<LobbyOutput> {
        self.output.pop_front()
    }

    /// When [`LobbyInput::Tick`] is due, if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Time> {
        let idle = |entry: &Entry| entry.empty_since.map(|since| since + self.limits.room_idle);
        let timeouts = self
            .rooms
            .values()
            .flat_map(|entry| [entry.room.poll_timeout(), idle(entry)]);
        timeouts.flatten().min()
    }

    /// Figures about this lobby.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            rooms: self.rooms.len() as u64,
            members: self
                .rooms
                .values()
                .map(|entry| entry.connections.len() as u64)
                .sum(),
            connections: self.connections.len() as u64,
            ..self.totals
        }
    }

    fn connected(&mut self, now: Time, connection: ConnectionId) {
        let tokens = f64::from(self.limits.messages_burst);
        let fresh = Connection {
            membership: None,
            tokens,
            tokens_at: now,
            closing: false,
        };
        self.connections.insert(connection, fresh);
    }

    fn text(&mut self, now: Time, entropy: [u8; 16], connection: ConnectionId, text: &str) {
        let Some(state) = self.connections.get_mut(&connection) else {
            return;
        };
        if state.closing {
            return;
        }
        self.totals.messages_total += 1;
        if !state.spend(now, &self.limits) {
            self.refuse(connection, Refusal::TooFast);
            return self.close(connection);
        }
        let membership = state.membership;
        let message = match serde_json::from_str::<ClientMessage>(text) {
            Ok(message) => message,
            Err(error) => {
                return self.refuse(
                    connection,
                    Refusal::Malformed {
                        detail: error.to_string(),
                    },
                );
            }
        };
        match (membership, message) {
            (None, ClientMessage::Create { protocol, run }) => {
                self.create(now, entropy, connection, protocol, run);
            }
            (
                None,
                ClientMessage::Join {
                    protocol,
                    room,
                    role,
                    device,
                    has_data,
                },
            ) => {
                let admit = |room: &mut Room, peer| room.join(now, peer, role, device, has_data);
                self.join(entropy, connection, protocol, room, admit);
            }
            (None, _) => {
                let detail = "it has not joined a room".to_owned();
                self.refuse(connection, Refusal::Malformed { detail });
            }
            (Some((code, peer)), message) => self.member_says(now, connection, code, peer, message),
        }
    }

    fn member_says(
        &mut self,
        now: Time,
        connection: ConnectionId,
        code: RoomCode,
        peer: PeerId,
        message: ClientMessage,
    ) {
        let leaves = message == ClientMessage::Leave;
        if let ClientMessage::Signal { .. } = message {
            self.totals.relayed_total += 1;
        }
        if leaves {
            self.part(now, connection);
        } else if let Some(entry) = self.rooms.get_mut(&code) {
            entry.room.message(now, peer, message);
            self.drain(code);
        }
    }

    fn create(
        &mut self,
        now: Time,
        entropy: [u8; 16],
        connection: ConnectionId,
        protocol: u16,
        run: RunDescriptor,
    ) {
        let room_left = if self.rooms.len() < self.limits.rooms_max as usize {
            Ok(())
        } else {
            Err(Refusal::ServerFull {
                rooms_max: self.limits.rooms_max,
            })
        };
        let verdict = check_protocol(protocol)
            .and(room_left)
            .and_then(|()| check_run(&run, &self.limits));
        if let Err(refusal) = verdict {
            self.refuse(connection, refusal);
            return self.close(connection);
        }
        let bytes: [u8; 10] = std::array::from_fn(|i| entropy[i]);
        let code = RoomCode::from_random(bytes);
        let room = Room::new(code, run, 0, now);
        self.rooms.insert(
            code,
            Entry {
                room,
                connections: BTreeMap::new(),
                empty_since: Some(now),
            },
        );
        self.totals.rooms_created_total += 1;
        self.output.push_back(LobbyOutput::Send {
            connection,
            message: ServerMessage::Created { room: code },
        });
    }

    fn join(
        &mut self,
        entropy: [u8; 16],
        connection: ConnectionId,
        protocol: u16,
        code: RoomCode,
        admit: impl FnOnce(&mut Room, PeerId),
    ) {
        let members_max = self.limits.members_max;
        let verdict = check_protocol(protocol).and_then(|()| match self.rooms.get_mut(&code) {
            None => Err(Refusal::NoSuchRoom { room: code }),
            Some(entry) if entry.room.members() >= usize::from(members_max) => {
                Err(Refusal::RoomFull { members_max })
            }
            Some(entry) => Ok(entry),
        });
        let entry = match verdict {
            Ok(entry) => entry,
            Err(refusal) => {
                self.refuse(connection, refusal);
                return self.close(connection);
            }
        };
        let bytes: [u8; 8] = std::array::from_fn(|i| entropy[i]);
        let mut peer = PeerId(u64::from_le_bytes(bytes));
        while entry.room.has(peer) {
            peer.0 = peer.0.wrapping_add(1);
        }
        entry.connections.insert(peer, connection);
        entry.empty_since = None;
        if let Some(state) = self.connections.get_mut(&connection) {
            state.membership = Some((code, peer));
        }
        admit(&mut entry.room, peer);
        self.drain(code);
    }

    fn disconnected(&mut self, now: Time, connection: ConnectionId) {
        self.part(now, connection);
        self.connections.remove(&connection);
    }

    /// Takes a connection out of its room.
    fn part(&mut self, now: Time, connection: ConnectionId) {
        let membership = self
            .connections
            .get_mut(&connection)
            .and_then(|state| state.membership.take());
        let Some((code, peer)) = membership else {
            return;
        };
        let Some(entry) = self.rooms.get_mut(&code) else {
            return;
        };
        entry.connections.remove(&peer);
        entry.room.leave(now, peer);
        if entry.connections.is_empty() {
            entry.empty_since = Some(now);
        }
        self.drain(code);
    }

    fn tick(&mut self, now: Time) {
        let idle = self.limits.room_idle;
        self.rooms
            .retain(|_, entry| entry.empty_since.is_none_or(|since| now < since + idle));
        let due = |entry: &Entry| {
            entry
                .room
                .poll_timeout()
                .is_some_and(|timeout| now >= timeout)
        };
        let codes: Vec<RoomCode> = self
            .rooms
            .iter()
            .filter(|(_, entry)| due(entry))
            .map(|(code, _)| *code)
            .collect();
        for code in codes {
            if let Some(entry) = self.rooms.get_mut(&code) {
                entry.room.tick(now);
            }
            self.drain(code);
        }
    }

    fn drain(&mut self, code: RoomCode) {
        let Some(entry) = self.rooms.get_mut(&code) else {
            return;
        };
        while let Some((peer, message)) = entry.room.poll_output() {
            // A member that has just left gets nothing more.
            if let Some(connection) = entry.connections.get(&peer) {
                self.output.push_back(LobbyOutput::Send {
                    connection: *connection,
                    message,
                });
            }
        }
    }

    fn refuse(&mut self, connection: ConnectionId, refusal: Refusal) {
        self.totals.refusals_total += 1;
        self.output.push_back(LobbyOutput::Send {
            connection,
            message: ServerMessage::Refused { refusal },
        });
    }

    fn close(&mut self, connection: ConnectionId) {
        if let Some(state) = self.connections.get_mut(&connection) {
            state.closing = true;
        }
        self.output.push_back(LobbyOutput::Close { connection });
    }
}

impl Connection {
    /// Token bucket: takes one message's worth, or says that there is none.
    fn spend(&mut self, now: Time, limits: &Limits) -> bool {
        let earned =
            now.since(self.tokens_at).as_secs_f64() * f64::from(limits.messages_per_second);
        self.tokens = (self.tokens + earned).min(f64::from(limits.messages_burst));
        self.tokens_at = now;
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

fn check_protocol(theirs: u16) -> Result<(), Refusal> {
    if theirs == PROTOCOL_VERSION {
        Ok(())
    } else {
        Err(Refusal::Version {
            ours: PROTOCOL_VERSION,
            theirs,
        })
    }
}

fn check_run(run: &RunDescriptor, limits: &Limits) -> Result<(), Refusal> {
    let outline = &run.outline;
    let complaint = if run.toml.len() > RUN_FILE_BYTES_MAX {
        format!(
            "its file of {} bytes is over the limit of {RUN_FILE_BYTES_MAX}",
            run.toml.len()
        )
    } else if outline.start_at_peers > limits.members_max {
        format!(
            "it waits for {} devices; a room takes {}",
            outline.start_at_peers, limits.members_max
        )
    } else if let Some(complaint) = outline.complaint() {
        complaint
    } else {
        return Ok(());
    };
    Err(Refusal::BadRun { detail: complaint })
}
