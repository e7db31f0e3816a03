//! At the door of a room: what this device shows to get in, and whether the room is the one that its link leads to.

use super::entry::next_message;
use crate::error::PeerError;
use crate::platform::random_bytes;
use crate::view::Access;
use ringtmp_core::secret::pairing::PairingError;
use ringtmp_core::secret::{DoorProof, RoomLink, RoomSecret};
use ringtmp_core::signal::{ClientMessage, Role, RunDescriptor, ServerMessage};
use ringtmp_transport::Signalling;

/// Why a room is not entered that the server would let this device into. The fault is the server's, or the link is of another room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DoorFault {
    /// The link has a secret, and the server says that the room has none.
    #[error(
        "the server says that this room is open to everybody, but its link has a secret: the link is of another room, or the server lies"
    )]
    SaidOpen,
    /// The link has a secret, and the server says that the room has another.
    #[error(
        "the server says that this room has another secret than its link: the link is of another room, or the server lies"
    )]
    OtherSecret,
    /// The link has no secret, and the room has one.
    #[error(
        "this room has a secret, which its link does not have: open the whole link, or scan its code, from a device that is in the room"
    )]
    NoSecret,
    /// The host's user has said no, or there is nobody who could say yes.
    #[error("the room's host did not let this device in")]
    Denied,
    /// The host's user has not decided.
    #[error("nobody has decided for five minutes whether this device is let in: ask again")]
    NoAnswer,
    /// What the host sent leads to another room.
    #[error(
        "the host's link leads to another room than the code: the server lies, or the host does"
    )]
    OtherRoom,
    /// Somebody may stand between this device and the host.
    #[error(transparent)]
    Pairing(#[from] PairingError),
    /// The system gives no random numbers, of which secrets are made.
    #[error("this system gives no random numbers, so no room can have a secret here")]
    NoRandomness,
}

/// Draws the secret of a new room.
pub(super) fn draw_secret() -> Result<RoomSecret, DoorFault> {
    Ok(RoomSecret::from_random(draw()?))
}

/// Draws bytes that nobody can foresee.
pub(super) fn draw<const N: usize>() -> Result<[u8; N], DoorFault> {
    random_bytes().ok_or(DoorFault::NoRandomness)
}

/// What this device can show at a room's door; nothing without the secret.
pub(super) async fn knock(
    signalling: &mut Signalling,
    link: &RoomLink,
    role: Role,
) -> Result<Option<DoorProof>, PeerError> {
    let Some(secret) = link.secret else {
        return Ok(None);
    };
    signalling.send(&ClientMessage::Knock)?;
    match next_message(signalling).await? {
        ServerMessage::Question { question } => Ok(Some(secret.answer(question, link.room, role))),
        other => Err(super::entry::unexpected(&other)),
    }
}

/// Whether the room that let us in is the one that the link leads to, and what we are in it. The server's word alone counts for
/// nothing here: it must not talk a device out of its secret.
pub(super) fn access(
    link: &RoomLink,
    run: &RunDescriptor,
    role: Role,
) -> Result<Access, DoorFault> {
    match (link.secret, run.verifier) {
        (None, None) => Ok(Access::Open),
        (Some(secret), Some(verifier)) if secret.verifier() == verifier => {
            Ok(Access::Secret { secret })
        }
        (Some(_), Some(_)) => Err(DoorFault::OtherSecret),
        (Some(_), None) => Err(DoorFault::SaidOpen),
        (None, Some(_)) if role == Role::Spectator => Ok(Access::Watching),
        (None, Some(_)) => Err(DoorFault::NoSecret),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_file::RunFile;
    use ringtmp_core::ids::RoomCode;

    #[test]
    fn a_server_cannot_talk_a_device_out_of_its_secret() {
        let room = RoomCode::from_random([1; 10]);
        let [ours, other] = [1, 2].map(|byte| RoomSecret::from_random([byte; 16]));
        let run = RunFile::default().check().expect("a run").descriptor();
        let says = |secret: Option<RoomSecret>, in_link, role| {
            let verifier = secret.map(|secret| secret.verifier());
            let run = RunDescriptor {
                verifier,
                ..run.clone()
            };
            let secret = in_link;
            access(&RoomLink { room, secret }, &run, role)
        };
        let (part, watch) = (Role::Participant, Role::Spectator);
        let access = Access::Secret { secret: ours };
        assert_eq!(says(Some(ours), Some(ours), part), Ok(access));
        assert_eq!(says(None, None, part), Ok(Access::Open));
        assert_eq!(says(Some(ours), None, watch), Ok(Access::Watching));
        assert_eq!(says(None, Some(ours), part), Err(DoorFault::SaidOpen));
        assert_eq!(says(None, Some(ours), watch), Err(DoorFault::SaidOpen));
        let another = says(Some(other), Some(ours), part);
        assert_eq!(another, Err(DoorFault::OtherSecret));
        assert_eq!(says(Some(ours), None, part), Err(DoorFault::NoSecret));
    }
}
