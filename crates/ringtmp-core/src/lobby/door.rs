//! Who may take part in a room with a secret: those who answer a question that was drawn for them. Others may watch.

use super::Lobby;
use super::interface::{ConnectionId, LobbyOutput};
use crate::ids::RoomCode;
use crate::secret::{DoorProof, DoorQuestion, Hex, Verifier};
use crate::signal::{Refusal, Role, ServerMessage};

/// An answer, and what it answers; nothing of it has been checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    question: DoorQuestion,
    proof: DoorProof,
}

impl Lobby {
    /// Draws a question for a connection; an older one is void.
    pub(super) fn ask_at_door(&mut self, entropy: [u8; 16], connection: ConnectionId) {
        let Some(state) = self.connections.get_mut(&connection) else {
            return;
        };
        let question = Hex(entropy);
        state.question = Some(question);
        self.output.push_back(LobbyOutput::Send {
            connection,
            message: ServerMessage::Question { question },
        });
    }

    /// What a connection shows, if it was asked. It is asked once for each answer.
    pub(super) fn shown_at_door(
        &mut self,
        connection: ConnectionId,
        proof: Option<DoorProof>,
    ) -> Option<Shown> {
        let question = self.connections.get_mut(&connection)?.question.take()?;
        let proof = proof?;
        Some(Shown { question, proof })
    }
}

/// Whether a device may come in as what it wants to be. What is shown has to be right even where nothing would have to be.
pub(super) fn check(
    verifier: Option<Verifier>,
    room: RoomCode,
    role: Role,
    shown: Option<Shown>,
) -> Result<(), Refusal> {
    match (verifier, shown) {
        (None, _) => Ok(()),
        (Some(verifier), Some(Shown { question, proof })) => verifier
            .admits(proof, question, room, role)
            .map_err(|_| Refusal::SecretWrong { room }),
        (Some(_), None) if role == Role::Spectator => Ok(()),
        (Some(_), None) => Err(Refusal::SecretMissing { room }),
    }
}
