//! All rooms of a server, and the limits that keep it standing.

mod asking;
mod checks;
mod door;
mod interface;

use crate::ids::{MemberToken, PeerId, RoomCode, ShortCode};
use crate::room::Room;
use crate::secret::DoorQuestion;
use crate::signal::{
    ClientMessage, Refusal, Returning, Role, RunDescriptor, SIGNAL_BYTES_MAX, ServerMessage,
};
use crate::time::Time;
use checks::{check_protocol, check_run};
use door::Shown;
use std::collections::{BTreeMap, VecDeque};

pub use interface::{ConnectionId, Limits, LobbyInput, LobbyOutput, Statistics};

#[derive(Debug)]
struct Connection {
    membership: Option<(RoomCode, PeerId)>,
    /// The room that was created over it.
    opened: Option<RoomCode>,
    /// What it was asked, and has not answered.
    question: Option<DoorQuestion>,
    /// Of which room's host it asks to be let in, and under which name.
    asks: Option<(RoomCode, PeerId)>,
    /// Messages it may still send now.
    tokens: f64,
    tokens_at: Time,
    closing: bool,
}

#[derive(Debug)]
struct Entry {
    room: Room,
    short: ShortCode,
    /// Who asks to be let in: at most [`ASKERS_MAX`](crate::signal::ASKERS_MAX).
    askers: BTreeMap<PeerId, ConnectionId>,
    connections: BTreeMap<PeerId, ConnectionId>,
    empty_since: Option<Time>,
}

/// All rooms of a server. Every call of [`Lobby::handle`] is followed by draining [`Lobby::poll_output`].
#[derive(Debug)]
pub struct Lobby {
    limits: Limits,
    incarnation: u32,
    rooms: BTreeMap<RoomCode, Entry>,
    connections: BTreeMap<ConnectionId, Connection>,
    output: VecDeque<LobbyOutput>,
    totals: Statistics,
}

impl Lobby {
    /// A lobby without rooms. `incarnation` is greater than that of every lobby that had this one's address before, so that no
    /// epoch is issued twice: the time at which the server was started.
    pub fn new(limits: Limits, incarnation: u32) -> Self {
        Self {
            limits,
            incarnation,
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
            opened: None,
            question: None,
            asks: None,
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
                    proof,
                },
            ) => {
                let shown = self.shown_at_door(connection, proof);
                let admit = |room: &mut Room, peer, token| {
                    room.join(now, peer, token, role, device, has_data);
                    if shown.is_some() {
                        room.is_trusted(peer);
                    }
                };
                let asks = (protocol, role, shown);
                self.join(entropy, connection, room, asks, admit);
            }
            (None, ClientMessage::Knock) => self.ask_at_door(entropy, connection),
            (None, ClientMessage::Asking(says)) => self.asker_says(entropy, connection, says),
            (None, ClientMessage::Return(back)) => self.come_back(now, connection, *back),
            (None, _) => {
                let detail = "it has not joined a room".to_owned();
                self.refuse(connection, Refusal::Malformed { detail });
            }
            (Some((code, peer)), ClientMessage::Asking(says)) => self.host_says(code, peer, says),
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
            self.part(now, connection, Room::leave);
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
        let verdict = check_protocol(protocol).and_then(|()| self.check_new_room(&run));
        if let Err(refusal) = verdict {
            self.refuse(connection, refusal);
            return self.close(connection);
        }
        let mut bytes: [u8; 10] = std::array::from_fn(|i| entropy[i]);
        while self.is_ambiguous(RoomCode::from_random(bytes)) {
            bytes[9] = bytes[9].wrapping_add(1);
        }
        let code = RoomCode::from_random(bytes);
        let mut room = Room::new(code, run, self.incarnation, now);
        room.belongs_to(host_token(entropy));
        self.open(now, room, code);
        if let Some(state) = self.connections.get_mut(&connection) {
            state.opened = Some(code);
        }
        self.output.push_back(LobbyOutput::Send {
            connection,
            message: ServerMessage::Created { room: code },
        });
    }

    fn open(&mut self, now: Time, room: Room, code: RoomCode) {
        let entry = Entry {
            room,
            short: ShortCode::of(code),
            askers: BTreeMap::new(),
            connections: BTreeMap::new(),
            empty_since: Some(now),
        };
        self.rooms.insert(code, entry);
        self.totals.rooms_created_total += 1;
    }

    fn check_new_room(&self, run: &RunDescriptor) -> Result<(), Refusal> {
        if self.rooms.len() < self.limits.rooms_max as usize {
            check_run(run, &self.limits)
        } else {
            Err(Refusal::ServerFull {
                rooms_max: self.limits.rooms_max,
            })
        }
    }

    /// A member is back over a new socket. If this server does not know its room, the server was restarted.
    fn come_back(&mut self, now: Time, connection: ConnectionId, back: Returning) {
        let (code, peer) = (back.room, back.peer);
        let shown = self.shown_at_door(connection, back.proof);
        if let Err(refusal) = self.check_return(&back, shown) {
            self.refuse(connection, refusal);
            return self.close(connection);
        }
        if !self.rooms.contains_key(&code) {
            let room = Room::rebuilt(code, back.run.clone(), self.incarnation, now);
            self.open(now, room, code);
        }
        let Some(entry) = self.rooms.get_mut(&code) else {
            return;
        };
        let before = entry.connections.insert(peer, connection);
        entry.empty_since = None;
        entry.room.come_back(now, back);
        if let Some(state) = self.connections.get_mut(&connection) {
            state.membership = Some((code, peer));
        }
        // Its old socket, which may be closed without anybody having noticed.
        if let Some(before) = before
            && let Some(state) = self.connections.get_mut(&before)
        {
            state.membership = None;
            self.close(before);
        }
        self.drain(code);
    }

    fn check_return(&self, back: &Returning, shown: Option<Shown>) -> Result<(), Refusal> {
        check_protocol(back.protocol)?;
        let (code, role) = (back.room, Role::Participant);
        let Some(entry) = self.rooms.get(&code) else {
            self.check_new_room(&back.run)?;
            return door::check(back.run.verifier, code, role, shown);
        };
        let members_max = self.limits.members_max;
        match entry.room.token_of(back.peer) {
            Some(token) if token == back.token => Ok(()),
            Some(_) => Err(Refusal::NotThatMember),
            None if entry.room.members() >= usize::from(members_max) => {
                Err(Refusal::RoomFull { members_max })
            }
            None => door::check(entry.room.verifier(), code, role, shown),
        }
    }

    fn join(
        &mut self,
        entropy: [u8; 16],
        connection: ConnectionId,
        code: RoomCode,
        (protocol, role, shown): (u16, Role, Option<Shown>),
        admit: impl FnOnce(&mut Room, PeerId, MemberToken),
    ) {
        let members_max = self.limits.members_max;
        let verdict = check_protocol(protocol).and_then(|()| match self.rooms.get_mut(&code) {
            None => Err(Refusal::NoSuchRoom { room: code }),
            Some(entry) if entry.room.members() >= usize::from(members_max) => {
                Err(Refusal::RoomFull { members_max })
            }
            Some(entry) if !entry.room.takes(role) => Err(Refusal::NoServerWanted { room: code }),
            Some(entry) => door::check(entry.room.verifier(), code, role, shown).map(|()| entry),
        });
        let entry = match verdict {
            Ok(entry) => entry,
            Err(refusal) => {
                self.refuse(connection, refusal);
                return self.close(connection);
            }
        };
        let [id, token] = halves(entropy);
        let mut peer = PeerId(id);
        while entry.room.has(peer) {
            peer.0 = peer.0.wrapping_add(1);
        }
        entry.connections.insert(peer, connection);
        entry.empty_since = None;
        if let Some(state) = self.connections.get_mut(&connection) {
            state.membership = Some((code, peer));
        }
        let opened = self.connections.get(&connection);
        let opened = opened.is_some_and(|state| state.opened == Some(code));
        admit(&mut entry.room, peer, MemberToken(token));
        if opened {
            entry.room.is_host(peer);
        }
        self.drain(code);
    }

    fn disconnected(&mut self, now: Time, connection: ConnectionId) {
        self.withdraw(connection);
        self.part(now, connection, Room::away);
        self.connections.remove(&connection);
    }

    /// Takes a connection out of its room.
    fn part(
        &mut self,
        now: Time,
        connection: ConnectionId,
        goes: impl FnOnce(&mut Room, Time, PeerId),
    ) {
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
        goes(&mut entry.room, now, peer);
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

/// A token of the six random bytes of which no room code is made: over 100,000 years of guesses at the rate that is let through.
fn host_token(entropy: [u8; 16]) -> MemberToken {
    let bytes: [u8; 8] = std::array::from_fn(|i| entropy.get(10 + i).copied().unwrap_or(0));
    MemberToken(u64::from_le_bytes(bytes))
}

/// Two numbers of 16 random bytes.
fn halves(entropy: [u8; 16]) -> [u64; 2] {
    let bits = u128::from_le_bytes(entropy);
    [bits as u64, (bits >> 64) as u64]
}
