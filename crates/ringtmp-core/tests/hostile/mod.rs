//! Bytes of strangers, handed to what reads them: frames as a peer gets them from its neighbours, texts as a server gets them from
//! anybody. The fuzz targets (`fuzz/`) and the short run in every test (`tests/strangers.rs`) go in by these same two doors.
//!
//! Nothing may panic; what is read has to be what was meant; and a lobby keeps to its limits, whoever says what.

use ringtmp_core::ids::{PeerId, RoomCode, ShortCode};
use ringtmp_core::lobby::{
    ConnectionId, Limits, Lobby, LobbyInput, LobbyOutput, Statistics, VisitorId,
};
use ringtmp_core::parameter_server;
use ringtmp_core::secret::{DoorQuestion, RoomSecret};
use ringtmp_core::signal::{Asked, PROTOCOL_VERSION, Role, SIGNAL_BYTES_MAX, ServerMessage};
use ringtmp_core::time::Time;
use ringtmp_core::wire::{Assembler, FRAME_BYTES_MAX, Frame, Lane};
use std::collections::BTreeMap;
use std::time::Duration;

/// Lines of a script that are read.
const LINES_MAX: usize = 256;

/// Connections of a script.
const CONNECTIONS: u64 = 8;

/// What frames of an input came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    /// Frames between peers of a ring.
    pub(crate) frames: u32,
    /// Frames between members of a team.
    pub(crate) team_frames: u32,
}

/// Reads bytes as frames. The first byte says how: as a frame of the ring (0) or of a team (1), whatever version the next byte claims;
/// or as chunks, each behind its length, on the lane of tensors (2) or of control (3).
pub(crate) fn frame(bytes: &[u8]) -> Read {
    let mut read = Read::default();
    let Some((how, rest)) = bytes.split_first() else {
        return read;
    };
    match how % 4 {
        0 => ring_frame(&with_our_version(rest), &mut read),
        1 => team_frame(&with_our_version(rest), &mut read),
        lane => {
            let lane = if lane == 2 {
                Lane::Tensors
            } else {
                Lane::Control
            };
            chunks(lane, rest, &mut read);
        }
    }
    read
}

/// So that no example grows old with the version.
fn with_our_version(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some(version) = bytes.first_mut() {
        *version = u8::try_from(PROTOCOL_VERSION).expect("it is written in one byte");
    }
    bytes
}

fn ring_frame(bytes: &[u8], read: &mut Read) {
    let Ok(frame) = Frame::decode(bytes) else {
        return;
    };
    read.frames += 1;
    let written = frame.encode().expect("what was read can be written");
    // Numbers can be written in more than one way, and NaN equals nothing: what is written is compared.
    let again = Frame::decode(&written).expect("and read again");
    assert_eq!(again.encode().as_ref(), Ok(&written));
}

fn team_frame(bytes: &[u8], read: &mut Read) {
    let Ok(frame) = parameter_server::Frame::decode(bytes) else {
        return;
    };
    read.team_frames += 1;
    let written = frame.encode().expect("what was read can be written");
    let again = parameter_server::Frame::decode(&written).expect("and read again");
    assert_eq!(again.encode().as_ref(), Ok(&written));
}

fn chunks(lane: Lane, mut bytes: &[u8], read: &mut Read) {
    let mut assembler = Assembler::new(lane);
    while let Some((length, rest)) = bytes.split_first() {
        let (chunk, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        bytes = rest;
        match assembler.push(chunk) {
            Ok(None) => {}
            Ok(Some(whole)) => {
                assert!(whole.len() <= FRAME_BYTES_MAX, "{}", whole.len());
                ring_frame(&with_our_version(&whole), read);
            }
            // Whoever sends that is cut off.
            Err(_) => return,
        }
    }
}

/// What a script came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) welcomes: u32,
    pub(crate) relayed: u32,
    pub(crate) prepared: u32,
    pub(crate) halts: u32,
    pub(crate) refusals: u32,
    pub(crate) closed: u32,
    /// What an asker and a host were told of each other.
    pub(crate) asked: u32,
}

/// The secret of rooms that have one.
pub(crate) const SECRET: [u8; 16] = [0x5e; 16];

/// Reads bytes as what happens at a server's sockets, a line each: the digit of a connection and a text that it sends; or `+` (it is
/// opened), `-` (it is closed), `!` (something too long), or `~` and a number (so many milliseconds pass).
///
/// In texts `$ROOM` is the room that was opened last and `$SHORT` its short code, `$PEER` and `$TOKEN` with the digit of a connection are
/// what it was told of itself, `$PROOF` with that digit is how who knows [`SECRET`] answers what it was asked last, `$ASKER` is who asked a
/// host last, and protocol 0 is our version.
pub(crate) fn signalling(bytes: &[u8]) -> Said {
    let text = String::from_utf8_lossy(bytes);
    let mut world = World::new();
    for line in text.lines().take(LINES_MAX) {
        world.line(line);
    }
    world.end();
    world.said
}

struct World {
    lobby: Lobby,
    limits: Limits,
    now: Time,
    entropy: u64,
    room: Option<RoomCode>,
    /// What connections were told of themselves: peer and token.
    told: BTreeMap<u64, (PeerId, String)>,
    questions: BTreeMap<u64, DoorQuestion>,
    asker: Option<PeerId>,
    open: BTreeMap<u64, ConnectionId>,
    next: u64,
    said: Said,
}

impl World {
    fn new() -> Self {
        let limits = Limits {
            rooms_max: 4,
            rooms_per_visitor_max: 2,
            members_max: 6,
            ..Limits::default()
        };
        Self {
            lobby: Lobby::new(limits, 1),
            limits,
            now: Time::ZERO,
            entropy: 0,
            room: None,
            told: BTreeMap::new(),
            questions: BTreeMap::new(),
            asker: None,
            open: BTreeMap::new(),
            next: 0,
            said: Said::default(),
        }
    }

    fn line(&mut self, line: &str) {
        let mut characters = line.chars();
        let digit = characters.next().and_then(|first| first.to_digit(10));
        let name = u64::from(digit.unwrap_or(0)) % CONNECTIONS;
        let rest = characters.as_str().trim_start();
        let connection = self.open.get(&name).copied();
        match (rest, connection) {
            ("+", None) => self.connect(name),
            ("-", Some(connection)) => {
                self.open.remove(&name);
                self.input(LobbyInput::Disconnected { connection });
            }
            ("!", Some(connection)) => self.input(LobbyInput::Oversized {
                connection,
                bytes: 1 << 30,
            }),
            (passes, _) if passes.starts_with('~') => {
                let ms: u32 = passes[1..].trim().parse().unwrap_or(0);
                self.now = self.now + Duration::from_millis(ms.into());
                self.input(LobbyInput::Tick);
            }
            (text, Some(connection)) => {
                let text = self.filled_in(text);
                let text = text.as_str();
                if text.len() <= SIGNAL_BYTES_MAX {
                    self.input(LobbyInput::Text { connection, text });
                }
            }
            (_, None) => {}
        }
    }

    fn connect(&mut self, name: u64) {
        let connection = ConnectionId(self.next);
        self.next += 1;
        self.open.insert(name, connection);
        let visitor = VisitorId(name / 2);
        self.input(LobbyInput::Connected {
            connection,
            visitor,
        });
    }

    fn filled_in(&self, text: &str) -> String {
        let mut text = text.replace(
            "\"protocol\":0,",
            &format!("\"protocol\":{PROTOCOL_VERSION},"),
        );
        if let Some(room) = self.room {
            text = text.replace("$ROOM", &room.to_string());
            text = text.replace("$SHORT", &ShortCode::of(room).to_string());
            let secret = RoomSecret::from_random(SECRET);
            for (name, question) in &self.questions {
                let proof = secret.answer(*question, room, Role::Participant);
                text = text.replace(&format!("$PROOF{name}"), &proof.to_string());
            }
        }
        if let Some(asker) = self.asker {
            text = text.replace("$ASKER", &asker.to_string());
        }
        for (name, (peer, token)) in &self.told {
            text = text.replace(&format!("$PEER{name}"), &peer.to_string());
            text = text.replace(&format!("$TOKEN{name}"), token);
        }
        text
    }

    fn input(&mut self, input: LobbyInput<'_>) {
        self.entropy += 1;
        let mixed = self.entropy.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let entropy = (u128::from(mixed) << 64 | u128::from(mixed.rotate_left(32))).to_le_bytes();
        self.lobby.handle(self.now, entropy, input);
        while let Some(output) = self.lobby.poll_output() {
            self.output(output);
        }
        let Statistics {
            rooms,
            members,
            connections,
            ..
        } = self.lobby.statistics();
        assert!(rooms <= u64::from(self.limits.rooms_max));
        assert!(members <= connections && connections <= CONNECTIONS);
        assert!(members <= rooms * u64::from(self.limits.members_max));
        assert_eq!(connections, self.open.len() as u64);
    }

    fn output(&mut self, output: LobbyOutput) {
        let (to, message) = match output {
            LobbyOutput::Close { .. } => return self.said.closed += 1,
            LobbyOutput::Send {
                connection,
                message,
            } => (connection, message),
        };
        let name = self.open.iter().find(|(_, open)| **open == to);
        let name = *name.expect("nobody is told anything who is not there").0;
        let text = serde_json::to_string(&message).expect("messages are JSON");
        let read = serde_json::from_str::<ServerMessage>(&text);
        assert!(read.is_ok(), "{:?} of {text}", read.err());
        match message {
            ServerMessage::Created { room } => self.room = Some(room),
            ServerMessage::Welcome { peer, token, .. } => {
                self.said.welcomes += 1;
                self.told.insert(name, (peer, String::from(token)));
            }
            ServerMessage::Signal { .. } => self.said.relayed += 1,
            ServerMessage::Question { question } => {
                self.questions.insert(name, question);
            }
            ServerMessage::Asked(asked) => {
                self.said.asked += 1;
                if let Asked::Asks { asker, .. } = asked {
                    self.asker = Some(asker);
                }
            }
            ServerMessage::Prepare { .. } | ServerMessage::PrepareTeam { .. } => {
                self.said.prepared += 1;
            }
            ServerMessage::Halt { .. } => self.said.halts += 1,
            ServerMessage::Refused { .. } => self.said.refusals += 1,
            _ => {}
        }
    }

    /// Everybody goes; nothing may be left after a while.
    fn end(&mut self) {
        for (_, connection) in std::mem::take(&mut self.open) {
            self.lobby
                .handle(self.now, [0; 16], LobbyInput::Disconnected { connection });
            while self.lobby.poll_output().is_some() {}
        }
        // What rooms time meanwhile is less than this each, and there are few.
        for _ in 0..4 {
            self.now = self.now + self.limits.room_idle;
            self.lobby.handle(self.now, [0; 16], LobbyInput::Tick);
            assert_eq!(self.lobby.poll_output(), None, "there is nobody to tell");
        }
        let left = self.lobby.statistics();
        assert_eq!((left.rooms, left.members, left.connections), (0, 0, 0));
        assert_eq!(self.lobby.poll_timeout(), None);
    }
}
