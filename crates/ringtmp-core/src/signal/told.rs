//! What a member has told its room and cannot be sure of: a socket may break with it, and a server forget it.

use super::ClientMessage;
use crate::ids::PeerId;
use std::mem::{Discriminant, discriminant};

/// What a member repeats over its next socket: of each kind the last, and of lost links one for each.
#[derive(Clone, Debug, Default)]
pub struct Unsure(Vec<ClientMessage>);

impl Unsure {
    /// This is told.
    pub fn told(&mut self, message: ClientMessage) {
        let slot = slot(&message);
        self.0.retain(|other| self::slot(other) != slot);
        self.0.push(message);
    }

    /// Another plan, or none, is in force: what was said under the last means nothing any more.
    pub fn forget(&mut self) {
        self.0.retain(|told| {
            matches!(
                told,
                ClientMessage::Profile { .. } | ClientMessage::Offer { .. } | ClientMessage::HandOn
            )
        });
    }

    /// What is to be repeated, in order.
    pub fn repeated(&self) -> impl Iterator<Item = &ClientMessage> {
        self.0.iter()
    }
}

/// Of messages with the same slot only the last has to be heard.
fn slot(message: &ClientMessage) -> (Discriminant<ClientMessage>, Option<PeerId>) {
    let about = match message {
        ClientMessage::LinkLost { peer, .. } => Some(*peer),
        _ => None,
    };
    (discriminant(message), about)
}
