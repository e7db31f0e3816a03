//! Watches samples on their way from sources elsewhere to the head.

use super::Complaint;
use ringtmp_core::ids::{MicroBatchId, Step};
use ringtmp_core::schedule::Deal;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(super) struct Transit {
    deal: Deal,
    window: usize,
    first_step: Step,
    /// Numbers of the micro-batches whose samples are on their way to the head, or wait there.
    waiting: BTreeSet<u64>,
    /// By stage and source, the number of the micro-batch whose samples should come by next.
    next: BTreeMap<(usize, u16), u64>,
}

impl Transit {
    pub(super) fn new(micro_batches: u16, window: u16, first_step: Step) -> Self {
        Self {
            deal: Deal {
                micro_batches,
                sources: 1,
            },
            window: usize::from(window),
            first_step,
            waiting: BTreeSet::new(),
            next: BTreeMap::new(),
        }
    }

    pub(super) fn planned(&mut self, sources: u16) {
        self.deal.sources = sources;
    }

    fn number(&self, id: MicroBatchId) -> u64 {
        self.deal.number(id.step, id.sequence)
    }

    pub(super) fn drawn(&mut self, id: MicroBatchId) -> Option<Complaint> {
        self.waiting.insert(self.number(id));
        let (waiting, window) = (self.waiting.len(), self.window);
        (waiting > window).then_some(Complaint::SamplesWaiting { waiting, window })
    }

    pub(super) fn arrived(&mut self, stage: usize, id: MicroBatchId) -> Option<Complaint> {
        let got = self.number(id);
        let source = self.deal.source(got);
        let next = self.next.entry((stage, source.0));
        let next = next.or_insert_with(|| {
            let first = self.deal.number(self.first_step, 0);
            let its_own = |number: &u64| self.deal.source(*number) == source;
            (first..).find(its_own).unwrap_or(first)
        });
        let expected = std::mem::replace(next, got + u64::from(self.deal.sources));
        (got != expected).then_some(Complaint::SamplesNotInTurn {
            stage,
            source_index: usize::from(source.0),
            got,
            expected,
        })
    }

    /// The head has begun a training micro-batch: whether its samples came from elsewhere.
    pub(super) fn entered(&mut self, id: MicroBatchId) -> bool {
        self.waiting.remove(&self.number(id))
    }
}
