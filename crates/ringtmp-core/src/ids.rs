//! Names for things. An index, a count and a size are different types.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not 16 hexadecimal digits.
    #[error("a peer id is 16 hexadecimal digits, not {0:?}")]
    Peer(String),
    /// Not 16 hexadecimal digits either.
    #[error("a member's token is 16 hexadecimal digits")]
    Token,
    /// Not [`RoomCode::LENGTH`] characters of the code's alphabet.
    #[error("a room code is 16 letters and digits, not {0:?}")]
    Room(String),
    /// Not [`ShortCode::LENGTH`] characters of that code's alphabet.
    #[error("a room's short code is six letters and digits without I, L, O, U, 0 and 1, not {0:?}")]
    Short(String),
}

/// One participant, named by the server. Written as 16 hexadecimal digits (JavaScript cannot hold 64-bit integers).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerId(pub u64);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

impl FromStr for PeerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        match u64::from_str_radix(text, 16) {
            Ok(id) if digits => Ok(Self(id)),
            _ => Err(IdError::Peer(excerpt(text))),
        }
    }
}

impl TryFrom<String> for PeerId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<PeerId> for String {
    fn from(id: PeerId) -> Self {
        id.to_string()
    }
}

/// What only a member and its room know: it shows that who returns is who left. Written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MemberToken(pub u64);

impl fmt::Debug for MemberToken {
    /// Not told: logs are read by others.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemberToken")
    }
}

impl TryFrom<String> for MemberToken {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        match u64::from_str_radix(&text, 16) {
            Ok(token) if digits => Ok(Self(token)),
            _ => Err(IdError::Token),
        }
    }
}

impl From<MemberToken> for String {
    fn from(token: MemberToken) -> Self {
        format!("{:016x}", token.0)
    }
}

/// The name of a room: 80 random bits as 16 characters of Crockford's base 32, lower case, so that it cannot be guessed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomCode([u8; RoomCode::LENGTH]);

impl RoomCode {
    /// Characters in a code.
    pub const LENGTH: usize = 16;
    pub(crate) const ALPHABET: &'static [u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

    /// Its characters.
    pub(crate) const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// The code of ten random bytes.
    pub fn from_random(bytes: [u8; 10]) -> Self {
        let bits = bytes
            .iter()
            .fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
        Self(std::array::from_fn(|i| {
            Self::ALPHABET[(bits >> (5 * (Self::LENGTH - 1 - i)) & 31) as usize]
        }))
    }
}

impl fmt::Display for RoomCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(f, "{}", char::from(*byte)))
    }
}

impl fmt::Debug for RoomCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoomCode({self})")
    }
}

impl FromStr for RoomCode {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let lower = text.to_ascii_lowercase();
        let bytes: [u8; Self::LENGTH] = lower
            .as_bytes()
            .try_into()
            .map_err(|_| IdError::Room(excerpt(text)))?;
        if bytes.iter().all(|byte| Self::ALPHABET.contains(byte)) {
            Ok(Self(bytes))
        } else {
            Err(IdError::Room(excerpt(text)))
        }
    }
}

/// A room's code for those who type it or hear it: six characters, none of which is taken for another. Written in capitals.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShortCode([u8; ShortCode::LENGTH]);

impl ShortCode {
    /// Characters in a code.
    pub const LENGTH: usize = 6;
    /// Neither I, L, O and U nor 0 and 1.
    const ALPHABET: &'static [u8; 30] = b"23456789ABCDEFGHJKMNPQRSTVWXYZ";

    /// That of a room, from which the room's own code cannot be told.
    pub fn of(room: RoomCode) -> Self {
        let digest = Sha256::new()
            .chain_update(b"ringtmp short code 1")
            .chain_update(room.0);
        let digest: [u8; 32] = digest.finalize().into();
        // One byte a character; that some come a ninth more often than others costs nothing.
        Self(std::array::from_fn(|i| {
            Self::ALPHABET[usize::from(digest[i]) % Self::ALPHABET.len()]
        }))
    }
}

impl fmt::Display for ShortCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(f, "{}", char::from(*byte)))
    }
}

impl fmt::Debug for ShortCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShortCode({self})")
    }
}

impl FromStr for ShortCode {
    type Err = IdError;

    /// Takes lower case, and blanks and hyphens anywhere.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let refused = || IdError::Short(excerpt(text));
        let mut code = [0; Self::LENGTH];
        let mut places = code.iter_mut();
        for character in text.chars().filter(|c| !matches!(c, ' ' | '-')) {
            let byte = u8::try_from(character.to_ascii_uppercase()).map_err(|_| refused())?;
            let place = places.next().ok_or_else(refused)?;
            *place = byte;
        }
        let whole = places.next().is_none();
        let known = code.iter().all(|byte| Self::ALPHABET.contains(byte));
        (whole && known).then_some(Self(code)).ok_or_else(refused)
    }
}

impl TryFrom<String> for ShortCode {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<ShortCode> for String {
    fn from(code: ShortCode) -> Self {
        code.to_string()
    }
}

impl TryFrom<String> for RoomCode {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<RoomCode> for String {
    fn from(code: RoomCode) -> Self {
        code.to_string()
    }
}

/// The version of a plan: (number, incarnation of the coordinator). Never issued twice; a newer one replaces an older one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch {
    /// Counts plans of a room.
    pub number: u32,
    /// Counts restarts of the coordinator of the room.
    pub incarnation: u32,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.number, self.incarnation)
    }
}

/// The place of a stage in the ring; 0 is the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StageIndex(pub u16);

/// The place of a layer in the model, counting the modules of the preset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LayerIndex(pub u16);

/// One optimizer update, counted from 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Step(pub u32);

impl Step {
    /// The step after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Which of a stage's weights: how many updates they have seen.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Version(pub u32);

/// One of the peers whose samples a run is trained on, counted in ring order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SourceIndex(pub u16);

/// One micro-batch. Gradients accumulate in the order of step and sequence, of which the source is a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MicroBatchId {
    /// The step it belongs to. An evaluation belongs to the step that comes after it.
    pub step: Step,
    /// The peer whose data it is.
    pub source: PeerId,
    /// Counts the micro-batches of this step and purpose, whatever their sources.
    pub sequence: u16,
}

/// A tensor (or several) that the shell holds for the node. The node only passes it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadId(pub u64);

/// A place for the activations of one micro-batch in a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

/// The start of a text that was refused, short enough to be shown.
fn excerpt(text: &str) -> String {
    text.chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_code_reads_back_as_it_was_written() {
        let code = RoomCode::from_random([0xff, 0, 1, 2, 3, 4, 5, 6, 7, 0x1f]);
        assert_eq!(code.to_string().parse(), Ok(code));
        assert_eq!(code.to_string().to_uppercase().parse(), Ok(code));
        assert_eq!(code.to_string().len(), RoomCode::LENGTH);
        assert_ne!(
            code,
            RoomCode::from_random([0xff, 0, 1, 2, 3, 4, 5, 6, 7, 0x1e])
        );
    }

    #[test]
    fn what_is_no_id_is_refused_with_a_short_excerpt() {
        assert!("12".parse::<PeerId>().is_err());
        assert!("+00000000000000f".parse::<PeerId>().is_err());
        assert!("oooooooooooooooo".parse::<RoomCode>().is_err());
        let long = "x".repeat(1_000_000);
        assert!(
            long.parse::<RoomCode>()
                .is_err_and(|error| error.to_string().len() < 100)
        );
    }
}
