//! What only those know who were given a room's link, and what they prove with it.
//!
//! Who opens a room draws a [`RoomSecret`]. It lies in the fragment of the room's link ([`RoomLink`]) and never reaches the server;
//! what does is made of it by HKDF, one way:
//!
//! ```text
//!   secret ──┬─ "door" ──────────▶ signing key ── public half ──▶ in the run's descriptor: the server, everybody   (`door`)
//!            └─ "link", room ────▶ key of a MAC, known to members alone                                          (`handshake`)
//! ```
//!
//! At the **door** a device signs a number that the server has just drawn, so that an honest server keeps strangers out of the run;
//! they may watch. Members do not rely on it: a **handshake** goes with every offer and answer between them, so that a server that
//! forges, swaps or replays these is found out before a description reaches a connection. Randomness is an argument.

mod bytes;
mod door;
mod handshake;
pub mod pairing;

pub use bytes::{Hex, NoHex};
pub use door::{DoorError, DoorProof, DoorQuestion, Verifier};
pub use handshake::{Handshake, LinkKey, Mac, Nonce, Opened, Proof, ProofError};

use crate::ids::RoomCode;
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::fmt;
use std::str::FromStr;

/// Keeps our keys apart from those of any other program, and of any later way to make them.
const SALT: &[u8] = b"ringtmp room secret 1";

/// 128 random bits that the link of a room carries. Written as 26 characters of the alphabet of room codes.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomSecret([u8; RoomSecret::BYTES]);

/// Why a text is no secret. It does not repeat the text, which may be nearly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a room's secret is 26 letters and digits: copy the whole link, from the device that opened the room"
)]
pub struct NoSecret;

impl RoomSecret {
    /// Bytes of a secret.
    pub const BYTES: usize = 16;
    /// Characters of a secret: five bits each, of which the first has but three.
    pub const LENGTH: usize = 26;

    /// The secret of 16 fresh unpredictable bytes.
    pub const fn from_random(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// 32 bytes for one purpose, from which the secret cannot be told.
    fn derive(&self, purpose: &[u8], context: &[u8]) -> [u8; 32] {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(Some(SALT), &self.0)
            .expand_multi_info(&[purpose, context], &mut key)
            .expect("HKDF gives up to 255 times as much");
        key
    }
}

impl fmt::Debug for RoomSecret {
    /// Not told: logs are read by others.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoomSecret")
    }
}

impl fmt::Display for RoomSecret {
    /// As it is read: for links alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        (0..Self::LENGTH).rev().try_for_each(|place| {
            let digit = RoomCode::ALPHABET[(bits >> (5 * place) & 31) as usize];
            write!(f, "{}", char::from(digit))
        })
    }
}

impl FromStr for RoomSecret {
    type Err = NoSecret;

    fn from_str(text: &str) -> Result<Self, NoSecret> {
        let digit = |byte: u8| {
            let byte = byte.to_ascii_lowercase();
            RoomCode::ALPHABET.iter().position(|digit| *digit == byte)
        };
        if text.len() != Self::LENGTH {
            return Err(NoSecret);
        }
        let bits = text.bytes().try_fold(0_u128, |bits, byte| {
            let high = bits >> (128 - 5);
            let digit = digit(byte).filter(|_| high == 0)?;
            Some(bits << 5 | digit as u128)
        });
        let bits = bits.ok_or(NoSecret)?;
        Ok(Self(bits.to_be_bytes()))
    }
}

impl TryFrom<String> for RoomSecret {
    type Error = NoSecret;

    fn try_from(text: String) -> Result<Self, NoSecret> {
        text.parse()
    }
}

impl From<RoomSecret> for String {
    fn from(secret: RoomSecret) -> Self {
        secret.to_string()
    }
}

/// What leads into a room: its code and, unless the room is open to everybody, its secret. Written as the end of its link:
/// `CODE` or `CODE#secret=SECRET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomLink {
    /// The room.
    pub room: RoomCode,
    /// Its secret; none of a room that is open, or where this device knows of none.
    pub secret: Option<RoomSecret>,
}

impl RoomLink {
    /// The part of a link's fragment that names a secret.
    pub const SECRET_PART: &'static str = "secret";

    /// A room without what would let one in; only its code is known.
    pub const fn without_secret(room: RoomCode) -> Self {
        Self { room, secret: None }
    }

    /// The parts of a fragment that say what is for the client alone: the secret.
    pub fn fragment(&self) -> Option<String> {
        let secret = self.secret?;
        Some(format!("{}={secret}", Self::SECRET_PART))
    }
}

impl fmt::Display for RoomLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fragment() {
            None => write!(f, "{}", self.room),
            Some(fragment) => write!(f, "{}#{fragment}", self.room),
        }
    }
}

/// The secret that a link's fragment names; none where it names none.
///
/// # Errors
///
/// Where what it names is no secret.
pub fn secret_of(fragment: &str) -> Result<Option<RoomSecret>, NoSecret> {
    let pairs = fragment.split('&').filter_map(|part| part.split_once('='));
    let mut named = pairs.filter(|(name, _)| *name == RoomLink::SECRET_PART);
    named.next().map(|(_, text)| text.parse()).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_reads_back_as_it_was_written_and_is_not_told_in_logs() {
        for bytes in [[0; 16], [255; 16], std::array::from_fn(|i| 17 * i as u8)] {
            let secret = RoomSecret::from_random(bytes);
            let text = secret.to_string();
            assert_eq!(text.len(), RoomSecret::LENGTH);
            assert_eq!(text.parse(), Ok(secret));
            assert_eq!(text.to_uppercase().parse(), Ok(secret));
            assert!(!format!("{secret:?}").contains(&text[..4]));
        }
        for text in [
            "",
            "0",
            "8zzzzzzzzzzzzzzzzzzzzzzzzz",
            "7zzzzzzzzzzzzzzzzzzzzzzzzu",
            "ä",
        ] {
            assert_eq!(text.parse::<RoomSecret>(), Err(NoSecret), "{text}");
        }
    }

    #[test]
    fn a_link_carries_the_secret_behind_the_number_sign() {
        let room = RoomCode::from_random([7; 10]);
        let drawn = RoomSecret::from_random([9; 16]);
        let secret = Some(drawn);
        for link in [RoomLink { room, secret }, RoomLink::without_secret(room)] {
            let text = link.to_string();
            let (code, fragment) = text.split_once('#').unwrap_or((&text, ""));
            assert_eq!(code.parse(), Ok(room));
            assert_eq!(secret_of(fragment), Ok(link.secret));
        }
        let more = format!("sha256=ab&secret={drawn}&x");
        assert_eq!(secret_of(&more), Ok(secret));
        assert_eq!(secret_of("secret=short"), Err(NoSecret));
    }

    #[test]
    fn purposes_rooms_and_secrets_have_keys_of_their_own() {
        let [one, other] = [1, 2].map(|byte| RoomSecret::from_random([byte; 16]));
        let keys = [
            one.derive(b"door", b""),
            one.derive(b"link", b"a"),
            one.derive(b"link", b"b"),
            other.derive(b"link", b"a"),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "key {at}");
        }
    }
}
