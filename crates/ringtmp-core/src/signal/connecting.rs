//! How two peers connect.

use crate::ids::Epoch;
use crate::secret::{Mac, Proof};
use serde::{Deserialize, Serialize};

/// A message by which two peers connect, relayed by the server. In a room with a secret descriptions are proved: see [`crate::secret`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Signal {
    /// A session description that offers.
    Offer {
        /// The plan the link is for.
        epoch: Epoch,
        /// The description.
        sdp: String,
        /// That a member has made it.
        #[serde(default)]
        proof: Option<Proof>,
    },
    /// A session description that answers.
    Answer {
        /// The plan the link is for.
        epoch: Epoch,
        /// The description.
        sdp: String,
        /// That a member has made it, for this offer.
        #[serde(default)]
        proof: Option<Proof>,
    },
    /// An address to try.
    Candidate {
        /// The plan the link is for.
        epoch: Epoch,
        /// The candidate line.
        candidate: String,
        /// The media section it belongs to.
        mid: Option<String>,
    },
    /// The answer has reached who offered, and is believed.
    Confirm {
        /// The plan the link is for.
        epoch: Epoch,
        /// That who offered has said so.
        mac: Mac,
    },
}

impl Signal {
    /// A description that offers, without a proof.
    pub const fn offer(epoch: Epoch, sdp: String) -> Self {
        let proof = None;
        Self::Offer { epoch, sdp, proof }
    }

    /// A description that answers, without a proof.
    pub const fn answer(epoch: Epoch, sdp: String) -> Self {
        let proof = None;
        Self::Answer { epoch, sdp, proof }
    }

    /// The plan the link is for.
    pub const fn epoch(&self) -> Epoch {
        match self {
            Self::Offer { epoch, .. }
            | Self::Answer { epoch, .. }
            | Self::Candidate { epoch, .. }
            | Self::Confirm { epoch, .. } => *epoch,
        }
    }
}
