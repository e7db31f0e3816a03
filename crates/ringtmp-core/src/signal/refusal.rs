//! Refusals.

use crate::ids::{RoomCode, ShortCode};
use serde::{Deserialize, Serialize};

/// Why the server says no. The texts are for the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Refusal {
    /// No such room.
    #[error("there is no room {room}: it has ended, or the link was not copied whole")]
    NoSuchRoom {
        /// The code that was asked for.
        room: RoomCode,
    },
    /// The room has a secret, and who wants to take part does not show that it knows it.
    #[error(
        "room {room} has a secret, which this device did not show: open the whole link, or scan its code, from a device that is in the room"
    )]
    SecretMissing {
        /// The room.
        room: RoomCode,
    },
    /// What was shown is not the secret of this room.
    #[error(
        "what this device showed is not the secret of room {room}: the link is of another room, or was not copied whole"
    )]
    SecretWrong {
        /// The room.
        room: RoomCode,
    },
    /// Somebody who only watches, without the secret, wants to govern the run.
    #[error("who does not know the room's secret may watch, and nothing else")]
    OnlyWatches,
    /// No room has this short code.
    #[error("there is no room {code}: it has ended, or the code was misheard")]
    NoSuchCode {
        /// What was typed.
        code: ShortCode,
    },
    /// Who could let a device in is not in the room.
    #[error(
        "who opened the room is not there to be asked: open its whole link, or scan its code, from a device that is in the room"
    )]
    NobodyToAsk,
    /// Others ask already.
    #[error("too many devices ask to be let into this room at once: try again in a moment")]
    TooManyAsk,
    /// Who returns is not the member that left.
    #[error("another device is that member of the room: join it anew")]
    NotThatMember,
    /// A server came where none is wanted.
    #[error(
        "the run of room {room} takes no servers of parameters: its devices hold them, or form a ring; join it as a worker"
    )]
    NoServerWanted {
        /// The room.
        room: RoomCode,
    },
    /// The room is full.
    #[error("the room is full: it takes {members_max} members")]
    RoomFull {
        /// The limit.
        members_max: u16,
    },
    /// The server has no place for another room.
    #[error("the server already holds {rooms_max} rooms; try again when one has ended")]
    ServerFull {
        /// The limit.
        rooms_max: u32,
    },
    /// Whoever has this address has opened as many rooms as one may.
    #[error(
        "{rooms_max} rooms that were opened from your address are still there: join one of them, or try again in ten minutes, when empty ones have ended"
    )]
    TooManyRooms {
        /// The limit.
        rooms_max: u32,
    },
    /// The room says more than the server passes on, and who is refused has said more than others.
    #[error("this room's members say more than the server passes on: wait a moment")]
    RoomTooFast,
    /// It was not said which room the connection is for.
    #[error(
        "this connection joined no room within {seconds} s, so the server closed it: open the link again"
    )]
    Roomless {
        /// The limit.
        seconds: u64,
    },
    /// Versions differ.
    #[error(
        "this page speaks protocol {theirs}, the server {ours}: reload the page (or update the program)"
    )]
    Version {
        /// The server's version.
        ours: u16,
        /// The peer's version.
        theirs: u16,
    },
    /// Something that only the host may do.
    #[error("only {host}, who opened the room, may do that")]
    OnlyHost {
        /// Its name.
        host: String,
    },
    /// Something that only the host may do, who is not here.
    #[error("only who opened the room may do that, and is not here")]
    NoHost,
    /// Too many messages.
    #[error("too many messages in a short time; the server closed the connection")]
    TooFast,
    /// The message is longer than [`super::SIGNAL_BYTES_MAX`].
    #[error("a message of {bytes} bytes is over the server's limit of {bytes_max}")]
    TooLong {
        /// Its length.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The message cannot be read, or does not belong here.
    #[error("the server cannot use this message: {detail}")]
    Malformed {
        /// What is wrong with it.
        detail: String,
    },
    /// The run cannot be run.
    #[error("the run is refused: {detail}")]
    BadRun {
        /// What is wrong with it.
        detail: String,
    },
}
