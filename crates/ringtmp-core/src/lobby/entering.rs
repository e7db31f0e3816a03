//! How rooms are opened, and how members come into them, the first time or again.

use super::asking;
use super::door::{self, Shown};
use super::schedule::Due;
use super::{Bucket, ConnectionId, Entry, Lobby, LobbyOutput, VisitorId, check};
use crate::ids::{MemberToken, PeerId, RoomCode, ShortCode};
use crate::room::Room;
use crate::signal::{Refusal, Returning, Role, RunDescriptor, ServerMessage};
use crate::time::Time;
use std::collections::BTreeMap;

impl Lobby {
    pub(super) fn create(
        &mut self,
        now: Time,
        entropy: [u8; 16],
        connection: ConnectionId,
        protocol: u16,
        run: RunDescriptor,
    ) {
        let verdict =
            check::protocol(protocol).and_then(|()| self.check_new_room(connection, &run));
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
        self.open(now, connection, room, code);
        if let Some(state) = self.connections.get_mut(&connection) {
            state.opened = Some(code);
        }
        self.output.push_back(LobbyOutput::Send {
            connection,
            message: ServerMessage::Created { room: code },
        });
    }

    fn open(&mut self, now: Time, connection: ConnectionId, room: Room, code: RoomCode) {
        let opened_by = self.visitor(connection);
        // A code that somebody brings can be chosen so that it has the short code of a room that others are asked into.
        let is_known = self.is_ambiguous(code);
        let entry = Entry {
            room,
            short: (!is_known).then(|| ShortCode::of(code)),
            askers: BTreeMap::new(),
            asks: Bucket::full(now, asking::RATE),
            connections: BTreeMap::new(),
            empty_since: Some(now),
            opened_by,
            messages: Bucket::full(now, self.limits.room_messages()),
            due: None,
        };
        self.rooms.insert(code, entry);
        *self.visitors.entry(opened_by).or_default() += 1;
        self.totals.rooms_created_total += 1;
        self.drain(now, code);
    }

    /// Whose a connection is.
    fn visitor(&self, connection: ConnectionId) -> VisitorId {
        let state = self.connections.get(&connection);
        state.map_or(VisitorId(0), |state| state.visitor)
    }

    fn check_new_room(&self, connection: ConnectionId, run: &RunDescriptor) -> Result<(), Refusal> {
        let limits = &self.limits;
        let opened = self.visitors.get(&self.visitor(connection));
        if opened.is_some_and(|opened| *opened >= limits.rooms_per_visitor_max) {
            return Err(Refusal::TooManyRooms {
                rooms_max: limits.rooms_per_visitor_max,
            });
        }
        if self.rooms.len() < limits.rooms_max as usize {
            check::run(run, limits)
        } else {
            Err(Refusal::ServerFull {
                rooms_max: limits.rooms_max,
            })
        }
    }

    /// A room ends: nobody has been in it for too long. Nobody decides on those who ask any more.
    pub(super) fn end_room(&mut self, now: Time, code: RoomCode) {
        let Some(mut entry) = self.rooms.remove(&code) else {
            return;
        };
        self.schedule.set(Due::Room(code), &mut entry.due, None);
        for asker in entry.askers.into_values() {
            self.decided(now, asker, None);
        }
        if let Some(opened) = self.visitors.get_mut(&entry.opened_by) {
            *opened = opened.saturating_sub(1);
            if *opened == 0 {
                self.visitors.remove(&entry.opened_by);
            }
        }
    }

    /// A member is back over a new socket. If this server does not know its room, the server was restarted.
    pub(super) fn come_back(&mut self, now: Time, connection: ConnectionId, back: Returning) {
        let (code, peer) = (back.room, back.peer);
        let shown = self.shown_at_door(connection, back.proof);
        if let Err(refusal) = self.check_return(connection, &back, shown) {
            self.refuse(connection, refusal);
            return self.close(connection);
        }
        if !self.rooms.contains_key(&code) {
            let room = Room::rebuilt(code, back.run.clone(), self.incarnation, now);
            self.open(now, connection, room, code);
        }
        let Some(entry) = self.rooms.get_mut(&code) else {
            return;
        };
        let before = entry.connections.insert(peer, connection);
        entry.empty_since = None;
        entry.room.come_back(now, back);
        self.belongs(now, connection, Some((code, peer)));
        match before {
            None => self.members += 1,
            // Its old socket, which may be closed without anybody having noticed.
            Some(before) if self.connections.contains_key(&before) => {
                self.belongs(now, before, None);
                self.close(before);
            }
            Some(_) => {}
        }
        self.drain(now, code);
    }

    fn check_return(
        &self,
        connection: ConnectionId,
        back: &Returning,
        shown: Option<Shown>,
    ) -> Result<(), Refusal> {
        check::protocol(back.protocol)?;
        let (code, role) = (back.room, back.role);
        let takes_part = match role {
            Role::Participant => true,
            Role::Server => back.run.outline.topology.takes_servers(),
            // Who watches joins anew.
            Role::Spectator => false,
        };
        if !takes_part {
            return Err(Refusal::NotThatMember);
        }
        let Some(entry) = self.rooms.get(&code) else {
            self.check_new_room(connection, &back.run)?;
            return door::check(back.run.verifier, code, role, shown);
        };
        let members_max = self.limits.members_max;
        match entry.room.token_of(back.peer) {
            Some(token) if token == back.token => Ok(()),
            Some(_) => Err(Refusal::NotThatMember),
            None if entry.room.members() >= usize::from(members_max) => {
                Err(Refusal::RoomFull { members_max })
            }
            // Whatever run it says that is.
            None if !entry.room.takes(role) => Err(Refusal::NotThatMember),
            None => door::check(entry.room.verifier(), code, role, shown),
        }
    }

    pub(super) fn join(
        &mut self,
        now: Time,
        entropy: [u8; 16],
        connection: ConnectionId,
        code: RoomCode,
        (protocol, role, shown): (u16, Role, Option<Shown>),
        admit: impl FnOnce(&mut Room, PeerId, MemberToken),
    ) {
        let members_max = self.limits.members_max;
        // All members see who comes: no more than twice what may be at once.
        let burst = f64::from(self.limits.room_messages_burst);
        let owes = self.owes(now, code, burst);
        let verdict = check::protocol(protocol).and_then(|()| match self.rooms.get_mut(&code) {
            None => Err(Refusal::NoSuchRoom { room: code }),
            Some(entry) if entry.room.members() >= usize::from(members_max) => {
                Err(Refusal::RoomFull { members_max })
            }
            Some(_) if owes => Err(Refusal::RoomTooFast),
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
        let opened = self.connections.get(&connection);
        let opened = opened.is_some_and(|state| state.opened == Some(code));
        admit(&mut entry.room, peer, MemberToken(token));
        if opened {
            entry.room.is_host(peer);
        }
        self.members += 1;
        self.belongs(now, connection, Some((code, peer)));
        if role != Role::Spectator {
            self.tell_ice_servers(connection);
        }
        self.drain(now, code);
    }

    /// Before anything else that a newcomer is told: links are made as soon as it is welcome.
    fn tell_ice_servers(&mut self, connection: ConnectionId) {
        if !self.ice_servers.is_empty() {
            let servers = self.ice_servers.clone();
            let message = ServerMessage::IceServers { servers };
            self.output.push_back(LobbyOutput::Send {
                connection,
                message,
            });
        }
    }
}

/// A token of the six random bytes of which no room code is made: over 100,000 years of guesses at the rate that is let through.
fn host_token(entropy: [u8; 16]) -> MemberToken {
    let bytes: [u8; 8] = std::array::from_fn(|i| entropy.get(10 + i).copied().unwrap_or(0));
    MemberToken(u64::from_le_bytes(bytes))
}

/// Two numbers of 16 random bytes.
pub(super) fn halves(entropy: [u8; 16]) -> [u64; 2] {
    let bits = u128::from_le_bytes(entropy);
    [bits as u64, (bits >> 64) as u64]
}
