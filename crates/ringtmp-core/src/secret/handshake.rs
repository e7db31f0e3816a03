//! How the two ends of a link prove to each other, through a server that they do not trust, that they know the room's secret.
//!
//! ```text
//!   offerer                                                              answerer
//!      │── offer:   nonce a, MAC("offer", link, a, sdp a) ─────────────────▶│  made by a member, for this link
//!      │◀─ answer:  nonce b, MAC("answer", link, a, sdp a, b, sdp b) ───────│  made by a member, now, to this very offer
//!      │── confirm:          MAC("confirm", link, a, sdp a, b, sdp b) ─────▶│  so is the offer: it was not replayed
//! ```
//!
//! The *link* is the protocol, the epoch and both ids, the offerer's first; the room is in the key ([`LinkKey`]). Descriptions hold the
//! fingerprints of the certificates with which the ends open their channel, and are given to a connection only once they are proved:
//! so whoever stands between has no certificate that either end would take. The answerer takes nothing off the channel before the offer
//! is confirmed. What says which end speaks is part of what is proved, so that nothing is of use when sent back to its sender.
//!
//! Addresses to try ([`Signal::Candidate`]) are not proved: whoever sits at an address that was put in sees what anybody on the way
//! sees, packets that it cannot read, and can only drop them.

use super::{Hex, RoomSecret};
use crate::ids::{Epoch, PeerId, RoomCode};
use crate::signal::{PROTOCOL_VERSION, Signal};
use hmac::{Hmac, KeyInit, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

const PURPOSE: &[u8] = b"link";

/// A number that an end draws for one attempt, and never again.
pub type Nonce = Hex<16>;

/// What only a member can have made.
pub type Mac = Hex<32>;

/// What goes with a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The sender's, for this attempt.
    pub nonce: Nonce,
    /// Of the description and all that was said before it.
    pub mac: Mac,
}

/// Why a message is not believed. Which of the two is at fault cannot be told from it: a device that does not know the secret, or a server
/// that has put itself between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A description without a proof.
    #[error(
        "it does not prove that it knows the room's secret: it has not got the room's link, or the server has put somebody else in its place"
    )]
    Missing,
    /// The proof is of another secret, room, plan, link, attempt or description.
    #[error(
        "its proof does not fit this link: it does not know the room's secret, or the server has changed, swapped or repeated what it sent"
    )]
    Wrong,
    /// A message that cannot come now.
    #[error(
        "it answers or confirms what was not said, or offers twice: it is broken, or the server has made that up"
    )]
    Early,
}

/// The key of a room's links.
#[derive(Clone)]
pub struct LinkKey([u8; 32]);

impl LinkKey {
    /// The key of a room with this secret.
    pub fn new(secret: &RoomSecret, room: RoomCode) -> Self {
        Self(secret.derive(PURPOSE, room.as_bytes()))
    }

    fn mac(&self) -> Hmac<Sha256> {
        Hmac::new_from_slice(&self.0).expect("HMAC takes keys of any length")
    }
}

impl fmt::Debug for LinkKey {
    /// Not told: logs are read by others.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKey")
    }
}

/// Which message a MAC is for, and so who has made it.
#[derive(Clone, Copy)]
enum Says {
    Offer = 1,
    Answer = 2,
    Confirm = 3,
}

/// A description that was proved: who drew which number for it, and what it says.
#[derive(Clone, Copy, Debug)]
struct Described {
    nonce: Nonce,
    digest: [u8; 32],
}

impl Described {
    fn new(nonce: Nonce, sdp: &str) -> Self {
        let digest = Sha256::digest(sdp.as_bytes()).into();
        Self { nonce, digest }
    }
}

/// What came of a message from the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It is proved, or needs no proof: give it to the connection.
    Pass(Signal),
    /// The answer to our offer is proved: give it to the connection, and say this to the peer. Our end is sure of the other.
    Answered {
        /// For the connection.
        answer: Signal,
        /// For the peer.
        confirm: Signal,
    },
    /// Our end is sure of the other.
    Confirmed,
}

/// One attempt to connect, as one end proves it to the other.
#[derive(Clone, Debug)]
pub struct Handshake {
    key: LinkKey,
    epoch: Epoch,
    offerer: PeerId,
    answerer: PeerId,
    /// Whether we are the offerer.
    offers: bool,
    nonce: Nonce,
    offer: Option<Described>,
    answer: Option<Described>,
}

impl Handshake {
    /// An attempt of `me` to connect to `peer`, for the plan of `epoch`. `nonce` has to be fresh and unpredictable.
    pub fn new(
        key: LinkKey,
        [me, peer]: [PeerId; 2],
        offers: bool,
        epoch: Epoch,
        nonce: [u8; 16],
    ) -> Self {
        let (offerer, answerer) = if offers { (me, peer) } else { (peer, me) };
        Self {
            key,
            epoch,
            offerer,
            answerer,
            offers,
            nonce: Hex(nonce),
            offer: None,
            answer: None,
        }
    }

    /// Proves what our connection has to say.
    pub fn seal(&mut self, signal: Signal) -> Signal {
        match signal {
            Signal::Offer { epoch, sdp, .. } => {
                self.offer = Some(Described::new(self.nonce, &sdp));
                let proof = self.proof(Says::Offer);
                Signal::Offer { epoch, sdp, proof }
            }
            Signal::Answer { epoch, sdp, .. } => {
                self.answer = Some(Described::new(self.nonce, &sdp));
                let proof = self.proof(Says::Answer);
                Signal::Answer { epoch, sdp, proof }
            }
            other @ (Signal::Candidate { .. } | Signal::Confirm { .. }) => other,
        }
    }

    /// Takes what is said to come from the other end.
    ///
    /// # Errors
    ///
    /// [`ProofError`] where it is not believed. Nothing of it has been taken in then.
    pub fn open(&mut self, signal: Signal) -> Result<Opened, ProofError> {
        match signal {
            Signal::Offer { epoch, sdp, proof } => {
                self.check_offer(&sdp, proof)?;
                let proof = proof.ok_or(ProofError::Missing)?;
                if self.offer.is_some() {
                    return Err(ProofError::Early);
                }
                self.offer = Some(Described::new(proof.nonce, &sdp));
                Ok(Opened::Pass(Signal::offer(epoch, sdp)))
            }
            Signal::Answer { epoch, sdp, proof } => {
                let proof = proof.ok_or(ProofError::Missing)?;
                if !self.offers || self.offer.is_none() || self.answer.is_some() {
                    return Err(ProofError::Early);
                }
                let answer = Some(Described::new(proof.nonce, &sdp));
                self.verify(Says::Answer, self.offer, answer, proof.mac)?;
                self.answer = answer;
                let mac = self.mac(Says::Confirm, self.offer, answer);
                let mac = Hex(mac.finalize().into_bytes().into());
                Ok(Opened::Answered {
                    answer: Signal::answer(epoch, sdp),
                    confirm: Signal::Confirm { epoch, mac },
                })
            }
            Signal::Confirm { mac, .. } => {
                if self.offers || self.answer.is_none() {
                    return Err(ProofError::Early);
                }
                self.verify(Says::Confirm, self.offer, self.answer, mac)?;
                Ok(Opened::Confirmed)
            }
            other @ Signal::Candidate { .. } => Ok(Opened::Pass(other)),
        }
    }

    /// Whether an offer was made by a member for this link, some time or other.
    ///
    /// # Errors
    ///
    /// [`ProofError`] where it was not.
    pub fn check_offer(&self, sdp: &str, proof: Option<Proof>) -> Result<(), ProofError> {
        let proof = proof.ok_or(ProofError::Missing)?;
        if self.offers {
            // Our own is the only one there can be.
            return Err(ProofError::Wrong);
        }
        let offer = Some(Described::new(proof.nonce, sdp));
        self.verify(Says::Offer, offer, None, proof.mac)
    }

    fn proof(&self, says: Says) -> Option<Proof> {
        let mac = self.mac(says, self.offer, self.answer);
        Some(Proof {
            nonce: self.nonce,
            mac: Hex(mac.finalize().into_bytes().into()),
        })
    }

    fn verify(
        &self,
        says: Says,
        offer: Option<Described>,
        answer: Option<Described>,
        mac: Mac,
    ) -> Result<(), ProofError> {
        // In a time that does not depend on where they differ.
        self.mac(says, offer, answer)
            .verify_slice(&mac.0)
            .map_err(|_| ProofError::Wrong)
    }

    /// What is proved. All its parts have one length for each message, so no two give the same bytes.
    fn mac(&self, says: Says, offer: Option<Described>, answer: Option<Described>) -> Hmac<Sha256> {
        let mut mac = self.key.mac();
        mac.update(&[says as u8]);
        mac.update(&PROTOCOL_VERSION.to_be_bytes());
        mac.update(&self.epoch.number.to_be_bytes());
        mac.update(&self.epoch.incarnation.to_be_bytes());
        mac.update(&self.offerer.0.to_be_bytes());
        mac.update(&self.answerer.0.to_be_bytes());
        let descriptions = match says {
            Says::Offer => [offer, None],
            Says::Answer | Says::Confirm => [offer, answer],
        };
        for described in descriptions.into_iter().flatten() {
            mac.update(&described.nonce.0);
            mac.update(&described.digest);
        }
        mac
    }
}
