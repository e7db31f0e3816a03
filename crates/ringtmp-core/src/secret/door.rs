//! The door of a room: what an honest server asks of who wants to take part.
//!
//! The server knows a public key, which is in the run's descriptor, and draws a number for each who asks. Who knows the secret signs it
//! together with the room and the role; what is signed is of no use for another room, role or number, and does not tell the secret.

use super::{Hex, RoomSecret};
use crate::ids::RoomCode;
use crate::signal::Role;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

const PURPOSE: &[u8] = b"door";

/// Keeps what is signed here apart from anything that is ever signed elsewhere with the same key.
const SIGNED: &[u8] = b"ringtmp door 1";

/// The number that a server draws for who asks; of use once.
pub type DoorQuestion = Hex<16>;

/// What shows that a device knows the room's secret: the signature of a [`DoorQuestion`].
pub type DoorProof = Hex<64>;

/// The public half of a room's secret. From it the secret cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Verifier(Hex<32>);

/// Why a device is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DoorError {
    /// The room's key is none: whoever opened the room has sent nonsense.
    #[error("the key of the room cannot be used")]
    Key,
    /// The device does not know the secret, or answers another question.
    #[error("the device does not know the room's secret")]
    Proof,
}

impl RoomSecret {
    /// What the server is told of it.
    pub fn verifier(&self) -> Verifier {
        Verifier(Hex(self.signing_key().verifying_key().to_bytes()))
    }

    /// Answers a server's question.
    pub fn answer(&self, question: DoorQuestion, room: RoomCode, role: Role) -> DoorProof {
        let signed = self.signing_key().sign(&text(question, room, role));
        Hex(signed.to_bytes())
    }

    fn signing_key(&self) -> SigningKey {
        SigningKey::from_bytes(&self.derive(PURPOSE, b""))
    }
}

impl Verifier {
    /// Whether it is a key at all: said by whoever opens a room.
    ///
    /// # Errors
    ///
    /// [`DoorError::Key`] where it is not.
    pub fn check(&self) -> Result<(), DoorError> {
        self.key().map(|_| ())
    }

    /// Whether an answer to a question was given by who knows the secret.
    ///
    /// # Errors
    ///
    /// [`DoorError`] where it was not.
    pub fn admits(
        &self,
        proof: DoorProof,
        question: DoorQuestion,
        room: RoomCode,
        role: Role,
    ) -> Result<(), DoorError> {
        let signature = Signature::from_bytes(&proof.0);
        self.key()?
            .verify_strict(&text(question, room, role), &signature)
            .map_err(|_| DoorError::Proof)
    }

    fn key(&self) -> Result<VerifyingKey, DoorError> {
        let key = VerifyingKey::from_bytes(&self.0.0).map_err(|_| DoorError::Key)?;
        // A key of small order would verify what nobody has signed.
        (!key.is_weak()).then_some(key).ok_or(DoorError::Key)
    }
}

/// What is signed. All its parts have one length, so no two questions give the same text.
fn text(question: DoorQuestion, room: RoomCode, role: Role) -> Vec<u8> {
    let role = match role {
        Role::Participant => 0,
        Role::Spectator => 1,
        Role::Server => 2,
    };
    let parts = [SIGNED, &question.0, room.as_bytes(), &[role]];
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: DoorQuestion = Hex([3; 16]);

    fn room(byte: u8) -> RoomCode {
        RoomCode::from_random([byte; 10])
    }

    #[test]
    fn only_who_knows_the_secret_answers_and_only_this_question() {
        let [ours, other] = [1, 2].map(|byte| RoomSecret::from_random([byte; 16]));
        let verifier = ours.verifier();
        assert_eq!(verifier.check(), Ok(()));
        let proof = ours.answer(QUESTION, room(1), Role::Participant);
        let admits = |proof, question, room, role| verifier.admits(proof, question, room, role);
        assert_eq!(admits(proof, QUESTION, room(1), Role::Participant), Ok(()));
        for (proof, question, room, role) in [
            (proof, Hex([4; 16]), room(1), Role::Participant),
            (proof, QUESTION, room(2), Role::Participant),
            (proof, QUESTION, room(1), Role::Server),
            (
                other.answer(QUESTION, room(1), Role::Participant),
                QUESTION,
                room(1),
                Role::Participant,
            ),
            (Hex([0; 64]), QUESTION, room(1), Role::Participant),
        ] {
            let said = admits(proof, question, room, role);
            assert_eq!(said, Err(DoorError::Proof));
        }
    }

    #[test]
    fn a_key_that_is_none_lets_nobody_in() {
        // The neutral element of the curve, whose signatures need no key.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let weak = Verifier(Hex(neutral));
        assert_eq!(weak.check(), Err(DoorError::Key));
        let said = weak.admits(Hex([0; 64]), QUESTION, room(1), Role::Participant);
        assert_eq!(said, Err(DoorError::Key));
    }
}
