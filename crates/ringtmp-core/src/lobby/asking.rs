//! Passes on what a device that has only a room's short code, and the room's host, have to say to each other.

use super::entering::halves;
use super::interface::{ConnectionId, LobbyOutput};
use super::{Entry, Lobby, Rate, check};
use crate::ids::{PeerId, RoomCode, ShortCode};
use crate::secret::pairing::{Commitment, SealedLink};
use crate::signal::{ASKERS_MAX, Asked, Asking, Device, Refusal, ServerMessage};
use crate::time::Time;
use std::time::Duration;

/// How long somebody may ask: a little more than a device asks by itself.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(330);

/// How many may ask to be let into a room, however many connections they have: its host answers each, and may say no more than
/// everybody.
pub(super) const RATE: Rate = Rate {
    burst: 16,
    per_second: 1,
};

impl Lobby {
    /// Whether another room is already known by the short code of this one.
    pub(super) fn is_ambiguous(&self, code: RoomCode) -> bool {
        let short = ShortCode::of(code);
        let known =
            |(other, entry): (&RoomCode, &Entry)| *other == code || entry.short == Some(short);
        self.rooms.iter().any(known)
    }

    /// Somebody who is no member asks, or goes on asking.
    pub(super) fn asker_says(
        &mut self,
        now: Time,
        entropy: [u8; 16],
        connection: ConnectionId,
        says: Asking,
    ) {
        let done = match says {
            Asking::Ask {
                protocol,
                code,
                device,
                commitment,
            } => {
                self.withdraw(connection);
                let [asker, _] = halves(entropy);
                let asks = (PeerId(asker), device, commitment);
                let asked =
                    check::protocol(protocol).and_then(|()| self.ask(now, connection, code, asks));
                self.belongs(now, connection, None);
                asked
            }
            Asking::Reveal { opening } => {
                if let Some((room, asker)) = self.asks(connection) {
                    self.tell_host(room, Asked::Reveals { asker, opening });
                }
                Ok(())
            }
            Asking::Meet { .. } | Asking::Decide { .. } => {
                let detail = "it has not joined a room".to_owned();
                Err(Refusal::Malformed { detail })
            }
        };
        if let Err(refusal) = done {
            self.refuse(connection, refusal);
            self.close(connection);
        }
    }

    fn ask(
        &mut self,
        now: Time,
        connection: ConnectionId,
        code: ShortCode,
        (asker, device, commitment): (PeerId, Device, Commitment),
    ) -> Result<(), Refusal> {
        let mut rooms = self.rooms.iter_mut();
        let (room, entry) = rooms
            .find(|(_, entry)| entry.short == Some(code))
            .ok_or(Refusal::NoSuchCode { code })?;
        let room = *room;
        if entry.room.verifier().is_none() {
            self.tell(connection, Asked::Open { room });
            return Ok(());
        }
        let host = entry.room.trusted_host();
        host.ok_or(Refusal::NobodyToAsk)?;
        if entry.askers.len() >= ASKERS_MAX || !entry.asks.spend(now, RATE, 1.0) {
            return Err(Refusal::TooManyAsk);
        }
        entry.askers.insert(asker, connection);
        if let Some(state) = self.connections.get_mut(&connection) {
            state.asks = Some((room, asker));
        }
        let device = device.clipped();
        let asks = Asked::Asks {
            asker,
            device,
            commitment,
        };
        self.tell_host(room, asks);
        Ok(())
    }

    /// A member answers somebody who asks. Only the host is heard.
    pub(super) fn host_says(&mut self, now: Time, code: RoomCode, peer: PeerId, says: Asking) {
        let Some(entry) = self.rooms.get_mut(&code) else {
            return;
        };
        if entry.room.trusted_host() != Some(peer) {
            return;
        }
        match says {
            Asking::Meet { asker, key } => {
                if let Some(connection) = entry.askers.get(&asker).copied() {
                    self.tell(connection, Asked::Meets { key });
                }
            }
            Asking::Decide { asker, link } => {
                let Some(connection) = entry.askers.remove(&asker) else {
                    return;
                };
                self.decided(now, connection, link);
            }
            Asking::Ask { .. } | Asking::Reveal { .. } => {}
        }
    }

    /// Who asked over this connection is told what became of it: what it needs, or that it is not let in.
    pub(super) fn decided(
        &mut self,
        now: Time,
        connection: ConnectionId,
        link: Option<SealedLink>,
    ) {
        if let Some(state) = self.connections.get_mut(&connection) {
            state.asks = None;
        }
        self.belongs(now, connection, None);
        self.tell(connection, Asked::Decided { link });
    }

    /// Who asked over this connection asks no more.
    pub(super) fn withdraw(&mut self, connection: ConnectionId) {
        let state = self.connections.get_mut(&connection);
        let asks = state.and_then(|state| state.asks.take());
        let Some((room, asker)) = asks else {
            return;
        };
        if let Some(entry) = self.rooms.get_mut(&room) {
            entry.askers.remove(&asker);
        }
        self.tell_host(room, Asked::Gone { asker });
    }

    /// Another host knows nothing of those who asked the one before: they may ask anew.
    pub(super) fn host_changed(&mut self, now: Time, code: RoomCode) {
        let entry = self.rooms.get_mut(&code);
        let askers = entry.map(|entry| std::mem::take(&mut entry.askers));
        for asker in askers.unwrap_or_default().into_values() {
            self.decided(now, asker, None);
        }
    }

    fn asks(&self, connection: ConnectionId) -> Option<(RoomCode, PeerId)> {
        self.connections.get(&connection)?.asks
    }

    fn tell_host(&mut self, room: RoomCode, asked: Asked) {
        let entry = self.rooms.get(&room);
        let host = entry.and_then(|entry| {
            let host = entry.room.trusted_host()?;
            entry.connections.get(&host).copied()
        });
        if let Some(host) = host {
            self.tell(host, asked);
        }
    }

    fn tell(&mut self, connection: ConnectionId, asked: Asked) {
        self.output.push_back(LobbyOutput::Send {
            connection,
            message: ServerMessage::Asked(asked),
        });
    }
}
