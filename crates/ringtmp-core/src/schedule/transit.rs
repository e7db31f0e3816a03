//! How samples get to the head from sources elsewhere: forward round the ring, past the tail and over the closing link.
//!
//! A stage passes on at once what comes by, so that samples wait only at their source and at the head. Their queue there is
//! bounded by a window, apart from the credits of activations: a source at stage i draws micro-batch g (counted over the run)
//! while
//!
//! ```text
//! g < F done at stage i + window
//! ```
//!
//! The micro-batches before it, its own among them, come by as activations, and that acknowledges them: nothing else has to
//! be said. The head has done F of at least as many, so that no more than the window wait for it, whoever they are from.
//! Links keep order, so the stage after a source knows exactly how far the source was when it sent, and finds out
//! the first frame too many. Further on, the source's credit bounds by how much it can be ahead of what has been seen there.
//!
//! The window is the head's credit: time for one way round the ring, where the credit has time for both.

use super::{Limits, Roster, Violation, out_of_order};
use crate::ids::{MicroBatchId, PayloadId, StageIndex};
use crate::wire::TensorKind;
use std::collections::BTreeMap;

/// The samples of one source, seen from one stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passage {
    /// They are drawn here, to be sent.
    Begins,
    /// They come by, at most so far ahead of the training micro-batches that have entered here.
    Passes { ahead_max: u64 },
    /// They do not come by.
    Elsewhere,
}

/// The samples that come by one stage.
#[derive(Debug)]
pub(super) struct Transit {
    is_head: bool,
    window: u64,
    passages: Vec<Passage>,
    /// Of each source, the number of the micro-batch whose samples are next here.
    next: Vec<u64>,
    /// At the head: those whose turn has not come, by number.
    waiting: BTreeMap<u64, PayloadId>,
    /// Training micro-batches whose F is done here.
    forwarded: u64,
}

impl Transit {
    pub(super) fn new(stage: StageIndex, limits: &[Limits], roster: &Roster) -> Self {
        let window = u64::from(limits[0].credit);
        let is_head = stage.0 == 0;
        let passage = |source: StageIndex| {
            if source.0 == 0 {
                // The head draws its own in their F.
                Passage::Elsewhere
            } else if source == stage {
                Passage::Begins
            } else if is_head || source.0 + 1 == stage.0 {
                Passage::Passes { ahead_max: window }
            } else if source < stage {
                let in_flight = u64::from(limits[usize::from(source.0)].credit);
                Passage::Passes {
                    ahead_max: window + in_flight,
                }
            } else {
                Passage::Elsewhere
            }
        };
        let sources = roster.sources.iter();
        let first = roster.deal().number(roster.first_step, 0);
        let next = (first..).take(roster.sources.len());
        let mut next: Vec<u64> = next.collect();
        next.sort_unstable_by_key(|number| roster.deal().source(*number));
        Self {
            is_head,
            window,
            passages: sources.map(|source| passage(source.stage)).collect(),
            next,
            waiting: BTreeMap::new(),
            forwarded: first,
        }
    }

    /// What waits at the head.
    pub(super) fn payloads(&self) -> impl Iterator<Item = PayloadId> + '_ {
        self.waiting.values().copied()
    }

    /// The micro-batch to draw here now, if any.
    pub(super) fn to_draw(&self, roster: &Roster) -> Option<MicroBatchId> {
        let begins = |passage: &Passage| *passage == Passage::Begins;
        let own = self.passages.iter().position(begins)?;
        let number = self.next[own];
        (number < self.forwarded + self.window)
            .then(|| roster.micro_batch(number))
            .flatten()
    }

    /// A micro-batch is drawn, or has come by.
    pub(super) fn passed(&mut self, roster: &Roster, id: MicroBatchId) {
        let deal = roster.deal();
        let number = deal.number(id.step, id.sequence);
        self.next[usize::from(deal.source(number).0)] = number + u64::from(deal.sources);
    }

    /// F of a training micro-batch is done here.
    pub(super) fn forwarded(&mut self) {
        self.forwarded += 1;
    }

    /// Samples have come from the predecessor; `entered` training micro-batches have entered this stage so far. Whether they
    /// are to be passed on.
    pub(super) fn arrived(
        &mut self,
        roster: &Roster,
        entered: u64,
        id: MicroBatchId,
        payload: Option<PayloadId>,
    ) -> Result<bool, Violation> {
        let number = roster.deal().number(id.step, id.sequence);
        let source = usize::from(roster.deal().source(number).0);
        let Passage::Passes { ahead_max } = self.passages[source] else {
            return Err(out_of_order(TensorKind::Samples, id));
        };
        // The whole name is compared, so that a sequence past its step's end is no other micro-batch's number.
        if roster.micro_batch(number) != Some(id) || self.next[source] != number {
            return Err(out_of_order(TensorKind::Samples, id));
        }
        if number >= entered + ahead_max {
            return Err(Violation::TooFarAhead {
                step: id.step.0,
                sequence: id.sequence,
            });
        }
        self.passed(roster, id);
        if self.is_head {
            self.waiting
                .extend(payload.map(|payload| (number, payload)));
        }
        Ok(!self.is_head)
    }

    /// Whether the head gets the samples of a training micro-batch from elsewhere, and if so, whether they are here.
    pub(super) fn at_head(&self, roster: &Roster, number: u64) -> Option<Option<PayloadId>> {
        (roster.source(number).stage.0 != 0).then(|| self.waiting.get(&number).copied())
    }

    /// The head takes the samples of a micro-batch.
    pub(super) fn take(&mut self, number: u64) {
        self.waiting.remove(&number);
    }
}
