//! The order in which connection messages are applied, the same for every platform: candidates wait for the remote
//! description, and each end takes one description of the right kind.

use crate::connector::ConnectRole;
use crate::error::LinkError;
use ringtmp_core::signal::Signal;

/// What to do to the connection next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Apply the peer's offer, and send an answer.
    Answer(String),
    /// Apply the peer's answer.
    Finish(String),
    /// Try an address.
    Candidate {
        /// The candidate line.
        candidate: String,
        /// The media section it belongs to.
        mid: Option<String>,
    },
}

/// One negotiation, from our end.
pub(crate) struct Negotiation {
    role: ConnectRole,
    described: bool,
    // Bounded by the queue that signals come through: without a description, it ends at its limit.
    waiting: Vec<Step>,
}

impl Negotiation {
    /// The most candidates that wait for the description; a device has a few addresses.
    const WAITING_MAX: usize = 64;

    pub(crate) fn new(role: ConnectRole) -> Self {
        Self {
            role,
            described: false,
            waiting: Vec::new(),
        }
    }

    /// Whether we describe the connection first.
    pub(crate) fn offers(&self) -> bool {
        self.role == ConnectRole::Offer
    }

    /// Takes a message from the peer; gives what can now be done, in order.
    pub(crate) fn take(&mut self, signal: Signal) -> Result<Vec<Step>, LinkError> {
        match (signal, self.role) {
            (Signal::Offer { sdp, .. }, ConnectRole::Answer) => self.describe(Step::Answer(sdp)),
            (Signal::Answer { sdp, .. }, ConnectRole::Offer) => self.describe(Step::Finish(sdp)),
            (Signal::Candidate { candidate, mid, .. }, _) => self.candidate(candidate, mid),
            // Of no use to a connection: see `crate::proving`.
            (Signal::Confirm { .. }, _) => Ok(Vec::new()),
            (Signal::Offer { .. }, ConnectRole::Offer) => {
                Err(LinkError::signal("an offer, where it was to answer"))
            }
            (Signal::Answer { .. }, ConnectRole::Answer) => {
                Err(LinkError::signal("an answer, where it was to offer"))
            }
        }
    }

    fn describe(&mut self, step: Step) -> Result<Vec<Step>, LinkError> {
        if self.described {
            return Err(LinkError::signal("a second description"));
        }
        self.described = true;
        let waiting = std::mem::take(&mut self.waiting);
        Ok(std::iter::once(step).chain(waiting).collect())
    }

    fn candidate(
        &mut self,
        candidate: String,
        mid: Option<String>,
    ) -> Result<Vec<Step>, LinkError> {
        if candidate.is_empty() {
            // Browsers mark the end of their candidates so; nothing depends on it.
            return Ok(Vec::new());
        }
        let step = Step::Candidate { candidate, mid };
        if self.described {
            return Ok(vec![step]);
        }
        if self.waiting.len() >= Self::WAITING_MAX {
            return Err(LinkError::signal(
                "too many candidates before a description",
            ));
        }
        self.waiting.push(step);
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringtmp_core::ids::Epoch;

    fn candidate(text: &str) -> Signal {
        Signal::Candidate {
            epoch: Epoch::default(),
            candidate: text.to_owned(),
            mid: None,
        }
    }

    fn offer() -> Signal {
        Signal::offer(Epoch::default(), "sdp".to_owned())
    }

    fn answer() -> Signal {
        Signal::answer(Epoch::default(), "sdp".to_owned())
    }

    #[test]
    fn candidates_wait_for_the_description() {
        let mut negotiation = Negotiation::new(ConnectRole::Answer);
        assert_eq!(negotiation.take(candidate("one")), Ok(vec![]));
        let first = Step::Candidate {
            candidate: "one".to_owned(),
            mid: None,
        };
        assert_eq!(
            negotiation.take(offer()),
            Ok(vec![Step::Answer("sdp".to_owned()), first])
        );
        let second = Step::Candidate {
            candidate: "two".to_owned(),
            mid: None,
        };
        assert_eq!(negotiation.take(candidate("two")), Ok(vec![second]));
        assert_eq!(negotiation.take(candidate("")), Ok(vec![]));
    }

    #[test]
    fn a_description_of_the_wrong_kind_or_a_second_one_is_refused() {
        assert!(Negotiation::new(ConnectRole::Offer).take(offer()).is_err());
        assert!(
            Negotiation::new(ConnectRole::Answer)
                .take(answer())
                .is_err()
        );
        let mut negotiation = Negotiation::new(ConnectRole::Offer);
        assert_eq!(
            negotiation.take(answer()),
            Ok(vec![Step::Finish("sdp".to_owned())])
        );
        assert!(negotiation.take(answer()).is_err());
    }

    #[test]
    fn candidates_without_a_description_do_not_pile_up() {
        let mut negotiation = Negotiation::new(ConnectRole::Offer);
        for _ in 0..Negotiation::WAITING_MAX {
            assert_eq!(negotiation.take(candidate("one")), Ok(vec![]));
        }
        assert!(negotiation.take(candidate("one")).is_err());
    }
}
