//! How a device that has only a room's short code asks its host to be let in. The server passes on what it cannot read: see
//! [`crate::secret::pairing`].

use super::Device;
use crate::ids::{PeerId, RoomCode, ShortCode};
use crate::secret::pairing::{Commitment, Opening, PairingKey, SealedLink};
use serde::{Deserialize, Serialize};

/// The most devices that ask to be let into a room at once: more than a person would compare digits with.
pub const ASKERS_MAX: usize = 8;

/// What the two ends say to the server. Askers are no members; they are named by an id of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "asking", rename_all = "snake_case")]
pub enum Asking {
    /// An asker: let me into this room.
    Ask {
        /// Must equal [`super::PROTOCOL_VERSION`].
        protocol: u16,
        /// Which room.
        code: ShortCode,
        /// The device that asks.
        device: Device,
        /// To what it has committed itself.
        commitment: Commitment,
    },
    /// The host: this is my key.
    Meet {
        /// For whom.
        asker: PeerId,
        /// Of use for this asker alone.
        key: PairingKey,
    },
    /// The asker: this is what I have committed myself to.
    Reveal {
        /// What it is.
        opening: Opening,
    },
    /// The host has decided.
    Decide {
        /// About whom.
        asker: PeerId,
        /// The room's link, sealed for the asker; none where it is not let in.
        link: Option<SealedLink>,
    },
}

/// What the server says to the two ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "asked", rename_all = "snake_case")]
pub enum Asked {
    /// To the asker: the room is open to everybody, and needs no asking.
    Open {
        /// Its code.
        room: RoomCode,
    },
    /// To the host: somebody asks.
    Asks {
        /// Who, until it is decided.
        asker: PeerId,
        /// The device, as it says.
        device: Device,
        /// To what it has committed itself.
        commitment: Commitment,
    },
    /// To the asker: the host's key.
    Meets {
        /// As the host sent it.
        key: PairingKey,
    },
    /// To the host: what the asker has committed itself to.
    Reveals {
        /// Who.
        asker: PeerId,
        /// As the asker sent it.
        opening: Opening,
    },
    /// To the host: the asker is gone.
    Gone {
        /// Who.
        asker: PeerId,
    },
    /// To the asker: the host has decided.
    Decided {
        /// What lets it in, or nothing.
        link: Option<SealedLink>,
    },
}
