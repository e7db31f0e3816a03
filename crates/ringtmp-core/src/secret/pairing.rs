//! How a device that has not got a room's link is let in by the room's host, through a server that neither trusts.
//!
//! ```text
//!   asker                                                        host
//!     │── ask:    commitment to key a and a nonce ────────────────▶│  shows who asks
//!     │◀─ meet:   key h ───────────────────────────────────────────│
//!     │── reveal: key a, nonce ───────────────────────────────────▶│  is it what was committed to?
//!     │        both show six digits of the whole exchange          │
//!     │◀─ let in: code and secret, encrypted under a and h ────────│  once its user has compared, and said *Allow*
//! ```
//!
//! Whoever stands between has to choose its own key for the host before it sees the host's, and its own key for the asker before it sees
//! the asker's: so it cannot choose them to give both the same digits, and each exchange gives it one chance in a million (Vaudenay, "Secure
//! communications over insecure channels based on short authenticated strings", CRYPTO 2005). How many there are before anybody has
//! compared digits, the host's device has to bound. Keys are X25519, of use once; the secret is sealed with
//! ChaCha20-Poly1305.

use super::{Hex, RoomLink, RoomSecret};
use crate::ids::RoomCode;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use x25519_dalek::{PublicKey, StaticSecret};

/// Keeps these digests and keys apart from any others.
const CONTEXT: &[u8] = b"ringtmp pairing 1";

/// The public key of one end, for one exchange.
pub type PairingKey = Hex<32>;

/// What an asker commits to.
pub type Commitment = Hex<32>;

/// A room's code and secret, encrypted for one asker.
pub type SealedLink = Hex<{ RoomCode::LENGTH + RoomSecret::BYTES + 16 }>;

/// What an asker has committed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// Its key.
    pub key: PairingKey,
    /// What keeps the commitment from telling the key.
    pub nonce: Hex<32>,
}

/// Six digits that both ends show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digits(u32);

impl fmt::Display for Digits {
    /// In two groups, as they are read aloud.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03} {:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// Why an exchange does not go on. The fault is the other end's, or the server's, which may stand between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairingError {
    /// The asker reveals something else than it has committed to.
    #[error("the other device has changed its key: somebody may stand between")]
    Changed,
    /// A key with which nothing is secret.
    #[error("the other device's key cannot be used")]
    Key,
    /// What was sent cannot be opened.
    #[error("what the host sent cannot be opened: somebody may stand between")]
    Sealed,
    /// A message that cannot come now.
    #[error("the other device says what cannot come now")]
    Early,
}

/// What both ends know once their keys are known.
#[derive(Clone)]
struct Shared {
    transcript: [u8; 32],
    key: [u8; 32],
}

impl Shared {
    fn new(
        secret: &StaticSecret,
        theirs: PairingKey,
        host: PairingKey,
        opening: &Opening,
    ) -> Result<Self, PairingError> {
        let common = secret.diffie_hellman(&PublicKey::from(theirs.0));
        if !common.was_contributory() {
            return Err(PairingError::Key);
        }
        let transcript = Sha256::new()
            .chain_update(CONTEXT)
            .chain_update(b" transcript")
            .chain_update(commitment(opening).0)
            .chain_update(host.0)
            .chain_update(opening.key.0)
            .chain_update(opening.nonce.0);
        let transcript: [u8; 32] = transcript.finalize().into();
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(Some(&transcript), common.as_bytes())
            .expand(CONTEXT, &mut key)
            .expect("HKDF gives up to 255 times as much");
        Ok(Self { transcript, key })
    }

    fn digits(&self) -> Digits {
        let digest = Sha256::new()
            .chain_update(CONTEXT)
            .chain_update(b" digits")
            .chain_update(self.transcript);
        let digest: [u8; 32] = digest.finalize().into();
        // Of 64 bits, so that no digits come more often than others by more than one in 10^13.
        let (bits, _) = digest.split_at(8);
        let bits = bits
            .iter()
            .fold(0, |bits, byte| bits << 8 | u64::from(*byte));
        Digits((bits % 1_000_000) as u32)
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(&self.key.into())
    }
}

/// What a commitment to this is.
fn commitment(opening: &Opening) -> Commitment {
    let digest = Sha256::new()
        .chain_update(CONTEXT)
        .chain_update(b" commitment")
        .chain_update(opening.key.0)
        .chain_update(opening.nonce.0);
    Hex(digest.finalize().into())
}

/// A device that asks to be let in.
pub struct Asker {
    secret: StaticSecret,
    opening: Opening,
    shared: Option<Shared>,
}

impl Asker {
    /// One that asks with fresh unpredictable bytes.
    pub fn new(key: [u8; 32], nonce: [u8; 32]) -> Self {
        let secret = StaticSecret::from(key);
        let opening = Opening {
            key: Hex(PublicKey::from(&secret).to_bytes()),
            nonce: Hex(nonce),
        };
        Self {
            secret,
            opening,
            shared: None,
        }
    }

    /// What it asks with.
    pub fn commitment(&self) -> Commitment {
        commitment(&self.opening)
    }

    /// The host has sent its key: gives what is to be revealed, and the digits to show.
    ///
    /// # Errors
    ///
    /// [`PairingError`], after which the exchange is over.
    pub fn meet(&mut self, host: PairingKey) -> Result<(Opening, Digits), PairingError> {
        if self.shared.is_some() {
            // A second key would give the host's side a second try.
            return Err(PairingError::Early);
        }
        let shared = Shared::new(&self.secret, host, host, &self.opening)?;
        let digits = shared.digits();
        self.shared = Some(shared);
        Ok((self.opening, digits))
    }

    /// The host has let this device in.
    ///
    /// # Errors
    ///
    /// [`PairingError`] where it was not the host whose digits were shown.
    pub fn open(&self, sealed: SealedLink) -> Result<RoomLink, PairingError> {
        let shared = self.shared.as_ref().ok_or(PairingError::Early)?;
        let sealed = Payload {
            msg: &sealed.0,
            aad: &shared.transcript,
        };
        let open = shared.cipher().decrypt(&once(), sealed);
        let open = open.map_err(|_| PairingError::Sealed)?;
        let (code, secret) = open
            .split_at_checked(RoomCode::LENGTH)
            .ok_or(PairingError::Sealed)?;
        let room = std::str::from_utf8(code)
            .ok()
            .and_then(|code| code.parse().ok());
        let secret = secret.try_into().map(RoomSecret::from_random);
        Ok(RoomLink {
            room: room.ok_or(PairingError::Sealed)?,
            secret: Some(secret.map_err(|_| PairingError::Sealed)?),
        })
    }
}

impl fmt::Debug for Asker {
    /// Not told: logs are read by others.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asker")
    }
}

/// The host's end of an exchange with one asker.
pub struct Host {
    secret: StaticSecret,
    commitment: Commitment,
    shared: Option<Shared>,
}

impl Host {
    /// The answer to who asks with this commitment, with fresh unpredictable bytes.
    pub fn new(commitment: Commitment, key: [u8; 32]) -> Self {
        Self {
            secret: StaticSecret::from(key),
            commitment,
            shared: None,
        }
    }

    /// What the asker is told.
    pub fn key(&self) -> PairingKey {
        Hex(PublicKey::from(&self.secret).to_bytes())
    }

    /// The asker reveals what it has committed to: gives the digits to show.
    ///
    /// # Errors
    ///
    /// [`PairingError`], after which the exchange is over.
    pub fn reveal(&mut self, opening: &Opening) -> Result<Digits, PairingError> {
        if self.shared.is_some() {
            return Err(PairingError::Early);
        }
        if commitment(opening) != self.commitment {
            return Err(PairingError::Changed);
        }
        let shared = Shared::new(&self.secret, opening.key, self.key(), opening)?;
        let digits = shared.digits();
        self.shared = Some(shared);
        Ok(digits)
    }

    /// The host's user has compared the digits: what lets the asker in. None before there are any to compare.
    pub fn let_in(&self, room: RoomCode, secret: RoomSecret) -> Option<SealedLink> {
        let shared = self.shared.as_ref()?;
        let link = [&room.as_bytes()[..], &secret.0].concat();
        let link = Payload {
            msg: &link,
            aad: &shared.transcript,
        };
        let sealed = shared.cipher().encrypt(&once(), link).ok()?;
        Some(Hex(sealed.try_into().ok()?))
    }
}

impl fmt::Debug for Host {
    /// Not told: logs are read by others.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Host")
    }
}

/// The number used once of a key that is used once.
fn once() -> Nonce {
    Nonce::from([0; 12])
}
