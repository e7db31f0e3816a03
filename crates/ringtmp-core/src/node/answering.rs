//! What the network says of a sample that a source asks about. The question rides with a micro-batch, as its samples do; the answer is
//! made by the tail and comes over the closing link, from stage to stage, until it is with who asked.

use super::{Active, Event, Node, Output};
use crate::ids::{Epoch, PeerId};
use crate::wire::{Answer, Body};

impl Node {
    /// The tail has an answer.
    pub(super) fn answered(&mut self, answer: Answer) {
        let Some(active) = &self.active else { return };
        let (me, epoch) = (active.me(), active.plan.epoch);
        self.pass_on(me, epoch, answer);
    }

    /// An answer comes by.
    pub(super) fn answer(&mut self, from: PeerId, epoch: Epoch, answer: Answer) {
        let current = |active: &&Active| active.plan.epoch == epoch;
        let Some(active) = self.active.as_ref().filter(current) else {
            return;
        };
        // It comes round from the tail, which is where it ends at the latest.
        let tail = active.plan.order.last().copied();
        let comes_round = active.plan.predecessor(active.stage) == from;
        if let Some(tail) = tail.filter(|tail| comes_round && *tail != active.me()) {
            self.pass_on(tail, epoch, answer);
        }
    }

    /// To the user, if it was asked here; else to the next stage, unless all have had it.
    fn pass_on(&mut self, tail: PeerId, epoch: Epoch, answer: Answer) {
        let Some(active) = &self.active else { return };
        let to = active.plan.successor(active.stage);
        if answer.micro_batch.source == active.me() {
            self.output.push_back(Output::Event(Event::Answer(answer)));
        } else if to != tail {
            self.output.push_back(Output::Send {
                to,
                epoch,
                body: Body::Answer(answer),
                payload: None,
            });
        }
    }
}
