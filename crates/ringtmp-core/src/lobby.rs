//! All rooms of a server, and the limits that keep it standing.
//!
//! Whoever speaks pays for it: a connection for its messages and their length (`check`), a room for what is sent into it because
//! of them. A room that is over its limit listens only to those who have said less than half of what one may, so that who
//! floods it silences itself and not the others.

mod asking;
mod bucket;
mod check;
mod door;
mod entering;
mod interface;
mod schedule;

use crate::ids::{PeerId, RoomCode, ShortCode};
use crate::room::Room;
use crate::secret::DoorQuestion;
use crate::signal::{
    ClientMessage, ICE_SERVERS_MAX, IceServer, Refusal, SIGNAL_BYTES_MAX, ServerMessage,
};
use crate::time::Time;
use schedule::{Due, Schedule};
use std::collections::{BTreeMap, VecDeque};

pub use bucket::{Bucket, Rate};
pub use interface::{ConnectionId, Limits, LobbyInput, LobbyOutput, Statistics, VisitorId};

#[derive(Debug)]
struct Connection {
    visitor: VisitorId,
    membership: Option<(RoomCode, PeerId)>,
    /// It was let go or sent away; what it still had under way is not held against it.
    was_member: bool,
    /// The room that was created over it.
    opened: Option<RoomCode>,
    /// Messages that it may still send.
    messages: Bucket,
    /// What it was asked, and has not answered.
    question: Option<DoorQuestion>,
    /// Of which room's host it asks to be let in, and under which name.
    asks: Option<(RoomCode, PeerId)>,
    closing: bool,
    /// When it is looked at, as the schedule has it.
    due: Option<Time>,
}

#[derive(Debug)]
struct Entry {
    room: Room,
    /// None where another room is known by it already.
    short: Option<ShortCode>,
    /// Who asks to be let in: at most [`ASKERS_MAX`](crate::signal::ASKERS_MAX).
    askers: BTreeMap<PeerId, ConnectionId>,
    /// How many may ask yet.
    asks: Bucket,
    connections: BTreeMap<PeerId, ConnectionId>,
    empty_since: Option<Time>,
    opened_by: VisitorId,
    /// Messages that may still be sent into it.
    messages: Bucket,
    /// When it is looked at, as the schedule has it.
    due: Option<Time>,
}

/// All rooms of a server. Every call of [`Lobby::handle`] is followed by draining [`Lobby::poll_output`].
#[derive(Debug)]
pub struct Lobby {
    limits: Limits,
    ice_servers: Vec<IceServer>,
    incarnation: u32,
    rooms: BTreeMap<RoomCode, Entry>,
    connections: BTreeMap<ConnectionId, Connection>,
    /// How many rooms there are that they opened; nobody with none.
    visitors: BTreeMap<VisitorId, u32>,
    schedule: Schedule,
    /// In all rooms.
    members: u64,
    output: VecDeque<LobbyOutput>,
    totals: Statistics,
}

impl Lobby {
    /// A lobby without rooms. `incarnation` is greater than that of every lobby that had this one's address before, so that no
    /// epoch is issued twice: the time at which the server was started.
    pub fn new(limits: Limits, incarnation: u32) -> Self {
        Self {
            limits,
            ice_servers: Vec::new(),
            incarnation,
            rooms: BTreeMap::new(),
            connections: BTreeMap::new(),
            visitors: BTreeMap::new(),
            schedule: Schedule::default(),
            members: 0,
            output: VecDeque::new(),
            totals: Statistics::default(),
        }
    }

    /// Devices that are let in are told of these servers, at most [`ICE_SERVERS_MAX`]. Without them, links are made only between
    /// devices that reach each other by themselves.
    pub fn tell_of(&mut self, ice_servers: Vec<IceServer>) {
        self.ice_servers = ice_servers;
        self.ice_servers.truncate(ICE_SERVERS_MAX);
    }

    /// Takes an input. `entropy` must be fresh unpredictable bytes each time: room codes and peer ids are made of them.
    pub fn handle(&mut self, now: Time, entropy: [u8; 16], input: LobbyInput<'_>) {
        match input {
            LobbyInput::Connected {
                connection,
                visitor,
            } => self.connected(now, connection, visitor),
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
        self.schedule.next()
    }

    /// Figures about this lobby.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            rooms: self.rooms.len() as u64,
            members: self.members,
            connections: self.connections.len() as u64,
            ..self.totals
        }
    }

    fn connected(&mut self, now: Time, connection: ConnectionId, visitor: VisitorId) {
        let fresh = Connection {
            visitor,
            membership: None,
            was_member: false,
            opened: None,
            messages: Bucket::full(now, self.limits.messages()),
            question: None,
            asks: None,
            closing: false,
            due: None,
        };
        self.connections.insert(connection, fresh);
        self.belongs(now, connection, None);
    }

    /// Which room a connection is in from now on. In none it is closed after a while, unless a host is to decide on it, who has longer.
    fn belongs(
        &mut self,
        now: Time,
        connection: ConnectionId,
        membership: Option<(RoomCode, PeerId)>,
    ) {
        let Some(state) = self.connections.get_mut(&connection) else {
            return;
        };
        state.was_member |= state.membership.is_some();
        state.membership = membership;
        let wait = match (membership, state.asks) {
            (Some(_), _) => None,
            (None, Some(_)) => Some(asking::WAIT_MAX),
            (None, None) => self.limits.roomless_max,
        };
        let ends = wait.map(|wait| now + wait);
        let due = Due::Connection(connection);
        self.schedule.set(due, &mut state.due, ends);
    }

    /// Reads what a connection says, if it may say so much.
    fn read(&mut self, now: Time, connection: ConnectionId, text: &str) -> Option<ClientMessage> {
        let rate = self.limits.messages();
        let state = self.connections.get_mut(&connection)?;
        if !state.messages.spend(now, rate, check::cost(text)) {
            self.refuse(connection, Refusal::TooFast);
            self.close(connection);
            return None;
        }
        let message = match serde_json::from_str::<ClientMessage>(text) {
            Ok(message) => message,
            Err(error) => {
                let detail = error.to_string();
                self.refuse(connection, Refusal::Malformed { detail });
                return None;
            }
        };
        let state = self.connections.get_mut(&connection)?;
        if !state.messages.spend(now, rate, check::cost_more(&message)) {
            self.refuse(connection, Refusal::TooFast);
            self.close(connection);
            return None;
        }
        Some(message)
    }

    fn text(&mut self, now: Time, entropy: [u8; 16], connection: ConnectionId, text: &str) {
        let Some(state) = self.connections.get_mut(&connection) else {
            return;
        };
        if state.closing {
            return;
        }
        self.totals.messages_total += 1;
        let (membership, was_member) = (state.membership, state.was_member);
        let Some(message) = self.read(now, connection, text) else {
            return;
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
                self.join(now, entropy, connection, room, asks, admit);
            }
            (None, ClientMessage::Knock) => self.ask_at_door(entropy, connection),
            (None, ClientMessage::Asking(says)) => {
                self.asker_says(now, entropy, connection, says);
            }
            (None, ClientMessage::Return(back)) => self.come_back(now, connection, *back),
            (None, _) if was_member => {}
            (None, _) => {
                let detail = "it has not joined a room".to_owned();
                self.refuse(connection, Refusal::Malformed { detail });
            }
            (Some((code, peer)), ClientMessage::Asking(says)) => {
                self.host_says(now, code, peer, says);
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
        if message == ClientMessage::Leave {
            return self.part(now, connection, Room::leave);
        }
        let is_signal = matches!(message, ClientMessage::Signal { .. });
        if self.owes(now, code, 0.0) && self.has_said_much(now, connection) {
            return self.refuse(connection, Refusal::RoomTooFast);
        }
        let Some(entry) = self.rooms.get_mut(&code) else {
            return;
        };
        if is_signal {
            self.totals.relayed_total += 1;
        }
        let host = entry.room.trusted_host();
        entry.room.message(now, peer, message);
        if entry.room.trusted_host() != host {
            self.host_changed(now, code);
        }
        self.drain(now, code);
    }

    /// Whether more has been sent into a room than may be, by so many messages.
    fn owes(&mut self, now: Time, code: RoomCode, messages: f64) -> bool {
        let rate = self.limits.room_messages();
        let entry = self.rooms.get_mut(&code);
        entry.is_some_and(|entry| entry.messages.left(now, rate) <= -messages)
    }

    /// Whether a connection has said more than half of what it may.
    fn has_said_much(&mut self, now: Time, connection: ConnectionId) -> bool {
        let rate = self.limits.messages();
        let state = self.connections.get_mut(&connection);
        state.is_some_and(|state| state.messages.left(now, rate) < f64::from(rate.burst) / 2.0)
    }

    fn disconnected(&mut self, now: Time, connection: ConnectionId) {
        self.withdraw(connection);
        self.part(now, connection, Room::away);
        if let Some(mut state) = self.connections.remove(&connection) {
            let due = Due::Connection(connection);
            self.schedule.set(due, &mut state.due, None);
        }
    }

    /// Takes a connection out of its room.
    fn part(
        &mut self,
        now: Time,
        connection: ConnectionId,
        goes: impl FnOnce(&mut Room, Time, PeerId),
    ) {
        let state = self.connections.get(&connection);
        let Some((code, peer)) = state.and_then(|state| state.membership) else {
            return;
        };
        self.belongs(now, connection, None);
        let Some(entry) = self.rooms.get_mut(&code) else {
            return;
        };
        self.members -= u64::from(entry.connections.remove(&peer).is_some());
        goes(&mut entry.room, now, peer);
        if entry.connections.is_empty() {
            entry.empty_since = Some(now);
        }
        self.drain(now, code);
    }

    fn tick(&mut self, now: Time) {
        for due in self.schedule.take(now) {
            match due {
                Due::Room(code) => self.look_at_room(now, code),
                Due::Connection(connection) => self.roomless(now, connection),
            }
        }
    }

    fn look_at_room(&mut self, now: Time, code: RoomCode) {
        let Some(entry) = self.rooms.get_mut(&code) else {
            return;
        };
        // The schedule has forgotten it.
        entry.due = None;
        let idle = self.limits.room_idle;
        if entry.empty_since.is_some_and(|since| now >= since + idle) {
            return self.end_room(now, code);
        }
        if entry.room.poll_timeout().is_some_and(|due| now >= due) {
            entry.room.tick(now);
        }
        self.drain(now, code);
    }

    /// A connection has been in no room for too long.
    fn roomless(&mut self, now: Time, connection: ConnectionId) {
        let Some(state) = self.connections.get_mut(&connection) else {
            return;
        };
        state.due = None;
        if state.asks.is_some() {
            self.withdraw(connection);
            self.decided(now, connection, None);
        } else if !state.closing {
            let seconds = self.limits.roomless_max.unwrap_or_default().as_secs();
            self.refuse(connection, Refusal::Roomless { seconds });
            self.close(connection);
        }
    }

    /// Passes on what a room has to say, and sees when it wants to be looked at next.
    fn drain(&mut self, now: Time, code: RoomCode) {
        let Some(entry) = self.rooms.get_mut(&code) else {
            return;
        };
        let mut sent = 0u32;
        let mut parted = Vec::new();
        while let Some((peer, message)) = entry.room.poll_output() {
            // A member that has just left gets nothing more.
            let Some(connection) = entry.connections.get(&peer).copied() else {
                continue;
            };
            if matches!(
                message,
                ServerMessage::Kicked { .. } | ServerMessage::Released
            ) {
                parted.push((peer, connection));
            }
            sent += 1;
            self.output.push_back(LobbyOutput::Send {
                connection,
                message,
            });
        }
        for (peer, _) in &parted {
            self.members -= u64::from(entry.connections.remove(peer).is_some());
        }
        if entry.connections.is_empty() {
            entry.empty_since.get_or_insert(now);
        }
        let rate = self.limits.room_messages();
        entry.messages.charge(now, rate, f64::from(sent));
        let idle = entry.empty_since.map(|since| since + self.limits.room_idle);
        let next = [entry.room.poll_timeout(), idle]
            .into_iter()
            .flatten()
            .min();
        self.schedule.set(Due::Room(code), &mut entry.due, next);
        for (_, connection) in parted {
            self.belongs(now, connection, None);
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
