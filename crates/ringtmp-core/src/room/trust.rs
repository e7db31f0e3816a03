//! Who has shown at the door that it knows the room's secret, and what others may say. (Members rely on none of it: see
//! [`crate::secret`].)

use super::Room;
use crate::ids::PeerId;
use crate::secret::Verifier;
use crate::signal::{ClientMessage, Refusal, ServerMessage};

impl Room {
    /// By what those are known who know the room's secret; none of a room that is open to everybody.
    pub fn verifier(&self) -> Option<Verifier> {
        self.run.verifier
    }

    /// This member has shown that it knows the secret.
    pub fn is_trusted(&mut self, peer: PeerId) {
        let mut members = self.members.iter_mut();
        if let Some(member) = members.find(|member| member.peer == peer) {
            member.trusted = true;
        }
    }

    /// The host, where it is here and knows the secret.
    pub fn trusted_host(&self) -> Option<PeerId> {
        let host = self.host.here(&self.members);
        host.filter(|host| self.trusts(*host))
    }

    pub(super) fn trusts(&self, peer: PeerId) -> bool {
        let mut members = self.members.iter();
        members.any(|member| member.peer == peer && member.trusted)
    }

    /// Whether a member says what only those may who know the secret. It is told so where it wants to govern the run; what belongs to
    /// a part in it, which nobody else has, is dropped.
    pub(super) fn goes_too_far(&mut self, from: PeerId, message: &ClientMessage) -> bool {
        if self.trusts(from) {
            return false;
        }
        let governs = match message {
            ClientMessage::Create { .. }
            | ClientMessage::Knock
            | ClientMessage::Asking(_)
            | ClientMessage::Join { .. }
            | ClientMessage::Return(_)
            | ClientMessage::Leave
            | ClientMessage::HandOn
            | ClientMessage::Clock { .. } => return false,
            ClientMessage::Rename { peer, .. } if *peer == from => return false,
            ClientMessage::Rename { .. }
            | ClientMessage::Claim { .. }
            | ClientMessage::Kick { .. }
            | ClientMessage::Start
            | ClientMessage::Pause
            | ClientMessage::Resume
            | ClientMessage::Stop => true,
            ClientMessage::Profile { .. }
            | ClientMessage::Pledge { .. }
            | ClientMessage::Signal { .. }
            | ClientMessage::Stumbled { .. }
            | ClientMessage::Computes { .. }
            | ClientMessage::Ready { .. }
            | ClientMessage::Failed { .. }
            | ClientMessage::Suspect { .. }
            | ClientMessage::Here { .. }
            | ClientMessage::LinkLost { .. }
            | ClientMessage::Holdings { .. }
            | ClientMessage::Offer { .. }
            | ClientMessage::Stable { .. }
            | ClientMessage::Progress { .. }
            | ClientMessage::Report { .. }
            | ClientMessage::Done { .. } => false,
        };
        if governs {
            let refusal = Refusal::OnlyWatches;
            let refused = ServerMessage::Refused { refusal };
            self.output.push_back((from, refused));
        }
        true
    }
}
