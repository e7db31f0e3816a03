//! How attempts to connect prove, and have proved to them, that both ends know the room's secret: the same on every platform.
//!
//! What an attempt has to say is sealed on its way out, and what comes for it is opened before it gets there, so that a platform's
//! connection never sees a description that is not proved. Without a key (a room that is open to everybody) all passes as it is.

use crate::connector::ConnectRole;
use crate::error::LinkError;
use futures::channel::oneshot;
use ringtmp_core::ids::{Epoch, PeerId};
use ringtmp_core::secret::{Handshake, LinkKey, Opened, ProofError};
use ringtmp_core::signal::Signal;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a connector proves itself with.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) key: LinkKey,
    pub(crate) me: PeerId,
}

/// The proofs of one attempt. All clones are one.
#[derive(Clone, Default)]
pub(crate) struct Proving(Option<Arc<Mutex<State>>>);

struct State {
    handshake: Handshake,
    /// None once our end is sure of the other.
    sure: Option<oneshot::Sender<()>>,
}

/// Whether our end is sure of the other.
#[derive(Debug, Default)]
pub(crate) struct Proved(Option<oneshot::Receiver<()>>);

impl Proving {
    /// For an attempt; where there is no guard, without any proof.
    pub(crate) fn begin(
        guard: Option<&Guard>,
        peer: PeerId,
        role: ConnectRole,
        epoch: Epoch,
    ) -> Result<(Self, Proved), LinkError> {
        let Some(Guard { key, me }) = guard else {
            return Ok((Self(None), Proved(None)));
        };
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(LinkError::device)?;
        let offers = role == ConnectRole::Offer;
        let handshake = Handshake::new(key.clone(), [*me, peer], offers, epoch, nonce);
        let (sender, receiver) = oneshot::channel();
        let state = State {
            handshake,
            sure: Some(sender),
        };
        let proving = Self(Some(Arc::new(Mutex::new(state))));
        Ok((proving, Proved(Some(receiver))))
    }

    /// Proves what our connection has to say.
    pub(crate) fn seal(&self, signal: Signal) -> Signal {
        match self.lock() {
            Some(mut state) => state.handshake.seal(signal),
            None => signal,
        }
    }

    /// Takes what is said to come from the peer.
    pub(crate) fn open(&self, signal: Signal) -> Result<Opened, ProofError> {
        let Some(mut state) = self.lock() else {
            return Ok(Opened::Pass(signal));
        };
        let opened = state.handshake.open(signal)?;
        let is_sure = matches!(opened, Opened::Answered { .. } | Opened::Confirmed);
        if let Some(sure) = state.sure.take_if(|_| is_sure) {
            // Nobody waits for it where the attempt is given up.
            let _ = sure.send(());
        }
        Ok(opened)
    }

    /// Whether an offer is one that a member has made for this link.
    pub(crate) fn check_offer(&self, signal: &Signal) -> Result<(), ProofError> {
        match (self.lock(), signal) {
            (Some(state), Signal::Offer { sdp, proof, .. }) => {
                state.handshake.check_offer(sdp, *proof)
            }
            _ => Ok(()),
        }
    }

    /// Whether our end is sure of the other, so that nothing that is said in its name can do harm.
    pub(crate) fn is_sure(&self) -> bool {
        self.lock().is_some_and(|state| state.sure.is_none())
    }

    fn lock(&self) -> Option<MutexGuard<'_, State>> {
        let state = self.0.as_ref()?;
        Some(state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Proved {
    /// Waits until it is; for ever where the attempt is given up.
    pub(crate) async fn wait(self) {
        if let Some(receiver) = self.0
            && receiver.await.is_err()
        {
            std::future::pending::<()>().await;
        }
    }
}

impl fmt::Debug for Proving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proving")
    }
}
