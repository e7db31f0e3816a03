//! The part of a node that trains: it moves tensors and tasks between neighbours, schedule and shell.

use super::tally::Tally;
use super::{Active, Event, Node, Outcome, Output};
use crate::ids::{Epoch, MicroBatchId, PayloadId, PeerId, StageIndex, Step};
use crate::plan::Plan;
use crate::schedule::{Neighbour, Outgoing, Roster, Schedule, SquareSum, SumKind, Task, Waiting};
use crate::signal::{ClientMessage, LayerDigest, LinkTraffic, Point, RunOutline};
use crate::time::Time;
use crate::wire::{Body, Purpose, TensorKind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The room has not committed the plan; what arrives early waits, bounded by credits.
    Waiting,
    Going,
    Over,
}

/// Training under one plan.
#[derive(Debug)]
pub(super) struct Training {
    pub(super) schedule: Schedule,
    tally: Tally,
    phase: Phase,
}

impl Training {
    pub(super) fn new(plan: &Plan, stage: StageIndex, outline: &RunOutline) -> Self {
        let roster = Roster::new(outline, plan);
        let schedule = Schedule::new(stage, &outline.schedule, &plan.limits, roster);
        Self {
            schedule,
            tally: Tally::default(),
            phase: Phase::Waiting,
        }
    }

    /// Whether it begins now, and has not before.
    pub(super) fn begin(&mut self) -> bool {
        let begins = self.phase == Phase::Waiting;
        if begins {
            self.phase = Phase::Going;
        }
        begins
    }

    pub(super) fn has_begun(&self) -> bool {
        self.phase != Phase::Waiting
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    pub(super) fn waiting(&self) -> Option<Waiting> {
        (self.phase == Phase::Going)
            .then(|| self.schedule.waiting())
            .flatten()
    }

    pub(super) fn points_due(&self) -> Option<Time> {
        self.tally.due()
    }
}

impl Node {
    pub(super) fn tensor(
        &mut self,
        from: PeerId,
        epoch: Epoch,
        kind: TensorKind,
        purpose: Purpose,
        micro_batch: MicroBatchId,
        payload: Option<PayloadId>,
    ) {
        let Some(active) = self
            .active
            .as_mut()
            .filter(|active| active.plan.epoch == epoch)
        else {
            // Of a plan that is no more. (A newer plan's frames come on its own link, after its greeting.)
            return self.output.extend(payload.map(Output::Discard));
        };
        let Some(side) = active
            .side(from, kind)
            .filter(|_| active.links.get(&from).is_some_and(|link| link.greeted))
        else {
            self.output.extend(payload.map(Output::Discard));
            let name = self.name(from);
            return self.blame(from, format!("{name} sent {kind:?} without being asked"));
        };
        // A release carries no numbers, and everything else does: what has none would be taken for the head's own data, and
        // what a release carried would be kept for ever.
        if payload.is_some() == (kind == TensorKind::Release) {
            self.output.extend(payload.map(Output::Discard));
            let name = self.name(from);
            return self.blame(
                from,
                format!("{name} sent {kind:?} with the wrong number of tensors"),
            );
        }
        match active
            .training
            .schedule
            .arrived(side, kind, purpose, micro_batch, payload)
        {
            Ok(out) => self.send(out),
            Err(violation) => {
                self.output.extend(payload.map(Output::Discard));
                self.blame(from, format!("{}: {violation}", self.name(from)));
            }
        }
    }

    pub(super) fn completed(&mut self, now: Time, epoch: Epoch, task: Task, outcome: Outcome) {
        let Some(active) = self
            .active
            .as_mut()
            .filter(|active| active.plan.epoch == epoch)
        else {
            return self.output.extend(outcome.payload.map(Output::Discard));
        };
        let is_head = active.stage.0 == 0;
        let training = &mut active.training;
        let scored = match task {
            Task::Forward {
                micro_batch,
                purpose,
                ..
            } => Some((micro_batch, purpose)),
            Task::BackwardInput { micro_batch, .. } => Some((micro_batch, Purpose::Train)),
            Task::Draw { .. }
            | Task::BackwardWeights { .. }
            | Task::Squares { .. }
            | Task::Update { .. } => None,
        };
        if let (Some((micro_batch, purpose)), Some(loss)) = (scored, outcome.loss) {
            let count = training.schedule.roster().count(purpose, micro_batch.step);
            training.tally.add(now, purpose, micro_batch, count, loss);
        }
        if let (Some((micro_batch, _)), Some(probabilities)) = (scored, outcome.answer) {
            self.answered(micro_batch, probabilities);
        }
        let Some(active) = &mut self.active else {
            return;
        };
        let training = &mut active.training;
        let out = training.schedule.completed(task, outcome.payload);
        let sum = match task {
            Task::Squares { .. } => training.schedule.squared(outcome.squares),
            Task::Draw { .. }
            | Task::Forward { .. }
            | Task::BackwardInput { .. }
            | Task::BackwardWeights { .. }
            | Task::Update { .. } => None,
        };
        self.task_ended(now);
        match task {
            Task::Forward {
                micro_batch,
                purpose: Purpose::Train,
                ..
            } if is_head && micro_batch.sequence == 0 => self.mark(micro_batch.step),
            Task::Update { .. } => {
                self.note_update(now);
                self.copy_if_reached();
            }
            _ => {}
        }
        self.send(out);
        self.send_sum(sum);
    }

    pub(super) fn square_sum(
        &mut self,
        from: PeerId,
        epoch: Epoch,
        kind: SumKind,
        step: Step,
        sum: f64,
    ) {
        let Some(active) = self
            .active
            .as_mut()
            .filter(|active| active.plan.epoch == epoch)
        else {
            return;
        };
        let sender = match kind {
            SumKind::Partial => active.plan.successor(active.stage),
            SumKind::Total => active.plan.predecessor(active.stage),
        };
        if sender != from || active.links.get(&from).is_none_or(|link| !link.greeted) {
            let name = self.name(from);
            return self.blame(
                from,
                format!("{name} sent a sum of squares without being asked"),
            );
        }
        match active.training.schedule.sum_arrived(kind, step, sum) {
            Ok(out) => self.send_sum(out),
            Err(violation) => self.blame(from, format!("{}: {violation}", self.name(from))),
        }
    }

    fn send_sum(&mut self, out: Option<SquareSum>) {
        let (Some(out), Some(active)) = (out, &self.active) else {
            return;
        };
        let SquareSum {
            to,
            kind,
            step,
            sum,
        } = out;
        self.output.push_back(Output::Send {
            to: active.neighbour(to),
            epoch: active.plan.epoch,
            body: Body::SquareSum { kind, step, sum },
            payload: None,
        });
    }

    pub(super) fn progress(
        &mut self,
        from: PeerId,
        epoch: Epoch,
        origin: PeerId,
        points: Vec<Point>,
    ) {
        let Some(active) = self
            .active
            .as_ref()
            .filter(|active| active.plan.epoch == epoch)
        else {
            return;
        };
        // Comes round from the tail; whoever says otherwise is not believed.
        if active.plan.predecessor(active.stage) != from
            || active.plan.order.last() != Some(&origin)
        {
            return;
        }
        let next = active.plan.successor(active.stage);
        if next != origin {
            let body = Body::Progress {
                origin,
                points: points.clone(),
            };
            self.output.push_back(Output::Send {
                to: next,
                epoch,
                body,
                payload: None,
            });
        }
        self.output.push_back(Output::Event(Event::Points(points)));
    }

    /// After every input: the next task, points that are due, the end.
    pub(super) fn advance(&mut self, now: Time) {
        let Some(active) = &mut self.active else {
            return;
        };
        let epoch = active.plan.epoch;
        let training = &mut active.training;
        if training.phase != Phase::Going {
            return;
        }
        if let Some(task) = training.schedule.pick() {
            self.output.push_back(Output::Run { epoch, task });
            if let Some(beats) = &mut active.beats {
                beats.task_began(now);
            }
        }
        let end = training.schedule.is_finished();
        if let Some(points) = training.tally.take(now, end) {
            self.publish(epoch, points);
        }
        if end && let Some(active) = &mut self.active {
            active.training.phase = Phase::Over;
            self.output.push_back(Output::Digest { epoch });
        }
    }

    /// This peer's part is done.
    pub(super) fn digested(
        &mut self,
        epoch: Epoch,
        digests: Vec<LayerDigest>,
        links: Vec<LinkTraffic>,
    ) {
        if self.under(epoch).is_none() {
            return;
        }
        self.tell(ClientMessage::Done {
            epoch,
            digests,
            links,
        });
        self.output.push_back(Output::Event(Event::Finished));
    }

    /// The tail tells the room, and the ring over the closing link.
    fn publish(&mut self, epoch: Epoch, points: Vec<Point>) {
        let Some(active) = &self.active else { return };
        let me = active.plan.order[usize::from(active.stage.0)];
        let next = active.plan.successor(active.stage);
        if next != me {
            let body = Body::Progress {
                origin: me,
                points: points.clone(),
            };
            self.output.push_back(Output::Send {
                to: next,
                epoch,
                body,
                payload: None,
            });
        }
        self.output
            .push_back(Output::ToRoom(ClientMessage::Progress {
                epoch,
                points: points.clone(),
            }));
        self.output.push_back(Output::Event(Event::Points(points)));
    }

    fn send(&mut self, out: Option<Outgoing>) {
        let (Some(out), Some(active)) = (out, &self.active) else {
            return;
        };
        let to = active.neighbour(out.to);
        let Outgoing {
            kind,
            purpose,
            micro_batch,
            payload,
            ..
        } = out;
        let body = Body::Tensor {
            kind,
            purpose,
            micro_batch,
            parts: Vec::new(),
        };
        self.output.push_back(Output::Send {
            to,
            epoch: active.plan.epoch,
            body,
            payload,
        });
    }
}

impl Active {
    fn neighbour(&self, which: Neighbour) -> PeerId {
        match which {
            Neighbour::Predecessor => self.plan.predecessor(self.stage),
            Neighbour::Successor => self.plan.successor(self.stage),
        }
    }

    /// On which side the sender of such a tensor stands. With two peers both sides are the same peer, so what it sends
    /// decides.
    fn side(&self, from: PeerId, kind: TensorKind) -> Option<Neighbour> {
        let side = match kind {
            TensorKind::Activation | TensorKind::Samples => {
                (self.plan.predecessor(self.stage), Neighbour::Predecessor)
            }
            TensorKind::Gradient | TensorKind::Release => {
                (self.plan.successor(self.stage), Neighbour::Successor)
            }
        };
        (side.0 == from).then_some(side.1)
    }
}
