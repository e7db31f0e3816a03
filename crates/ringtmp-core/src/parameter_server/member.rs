//! A device: its links, and the worker and the shards on it.

mod life;

pub use life::GREETING_INTERVAL;

use super::chain::Chain;
use super::collector::Collector;
use super::copies::{Copies, Due};
use super::desk::{Desk, Work};
use super::interface::{Carried, Event, Input, Outcome, Output, Polled, Task};
use super::layout::{Exchange, MemberIndex};
use super::message::{Message, Push, Refusal, Score};
use super::shard::Shard;
use super::worker::{Fault, Worker};
use super::{Job, TeamStart, Weights};
use crate::beats::Beats;
use crate::ids::{PayloadId, Step};
use crate::time::Time;
use life::Links;
use std::collections::VecDeque;
use std::sync::Arc;

/// What goes on at a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Preparing,
    Training,
    Finished,
    Aborted,
}

/// One device's part of a run.
#[derive(Debug)]
pub struct Member {
    desk: Desk,
    phase: Phase,
    built: bool,
    links: Links,
    /// Of those that have greeted; none where the run does not outlive losses, and once it does nothing more.
    beats: Option<Beats<MemberIndex>>,
    worker: Option<Worker>,
    /// Of who has any part of the parameters, and in all-reduce of all.
    shard: Option<Shard>,
    copies: Copies,
    /// In all-reduce alone.
    chain: Option<Chain>,
    /// At one member alone.
    collector: Option<Collector>,
    /// Scores to pass on, which came before all links were there: one of a worker, since nobody goes on to a second step before this
    /// member has had its part in the first.
    early: Vec<Score>,
    /// Likewise what others send of a run that goes on, that is to be answered or passed on.
    early_frames: Vec<(MemberIndex, Message, Option<PayloadId>)>,
    running: Option<Work>,
}

impl Member {
    /// A device of a run that has not begun. Its links are to be made, and model and ranges to be built.
    pub fn new(job: Arc<Job>, me: MemberIndex) -> Self {
        Self::going_on(job, me, TeamStart::Beginning, Carried::default())
    }

    /// A device of a run that goes on: workers get all weights first, from where the parameters are. What is `carried` holds at least
    /// what the start names of its own ranges.
    pub fn going_on(
        job: Arc<Job>,
        me: MemberIndex,
        start: TeamStart,
        mut carried: Carried,
    ) -> Self {
        let layout = &job.layout;
        let begins = start == TeamStart::Beginning;
        let links = layout.links(me).into_iter();
        let mut desk = Desk {
            job: job.clone(),
            me,
            output: VecDeque::new(),
            local: VecDeque::new(),
            work: VecDeque::new(),
            begins_below: None,
            due: Due::new(&job, start),
        };
        let reached = life::reached(&job, me, start, &mut carried, &mut desk);
        let serves = layout.serves(me) || layout.exchange == Exchange::AllReduce;
        let shard = serves.then(|| match begins {
            true => Shard::new(&job, me),
            false => Shard::going_on(&job, me, &reached),
        });
        if let Some(shard) = shard.as_ref().filter(|_| !begins) {
            desk.work.extend(shard.reads());
        }
        let worker = layout.worker_at(me).map(|worker| match begins {
            true => Worker::new(&job, worker),
            false => Worker::coming(&job, worker),
        });
        let collects = layout.collector() == me;
        let copies = Copies::new(desk.due, carried);
        desk.begins_below = copies.begins_below();
        Self {
            phase: Phase::Preparing,
            built: false,
            links: Links::new(links),
            // Where nothing outlives a loss, it is enough to hear of it from the link.
            beats: job
                .copies
                .map(|_| Beats::begin(Time::ZERO, std::iter::empty())),
            worker,
            shard,
            copies,
            chain: (layout.exchange == Exchange::AllReduce).then(|| Chain::new(&job)),
            collector: collects.then(|| match begins {
                true => Collector::new(&job),
                false => Collector::going_on(&job),
            }),
            early: Vec::new(),
            early_frames: Vec::new(),
            running: None,
            desk,
        }
    }

    /// Numbers that it keeps as copies, also once its part is done.
    pub fn payloads_kept(&self) -> usize {
        self.copies.payloads()
    }

    /// What those can go on from that follow it.
    pub fn carry(&self) -> Carried {
        Carried {
            reached: self.shard.as_ref().map(Shard::reached).unwrap_or_default(),
            copies: self.copies.carry(&self.desk.job),
        }
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Time, input: Input) {
        let quiet = input == Input::Tick;
        if matches!(self.phase, Phase::Finished | Phase::Aborted) {
            match input {
                // What was under way when this member stopped is made, and what is held has it in it.
                Input::Completed { outcome } => self.completed(now, outcome),
                other => self.after_the_end(other),
            }
            return self.beat(now, false);
        }
        self.hears(now, &input);
        match input {
            Input::Built => self.is_built(now),
            Input::LinkUp { peer } => self.link_up(now, peer),
            Input::LinkLost { peer, reason } => self.link_lost(peer, reason),
            Input::Message {
                from,
                message,
                payload,
            } => self.message(now, from, message, payload),
            Input::Unreadable { from, error } => self.abort(Some(from), error.to_string()),
            Input::Completed { outcome } => self.completed(now, outcome),
            Input::Failed { reason } => self.abort(None, reason),
            Input::Hold(held) => {
                if let Some(worker) = &mut self.worker {
                    worker.hold(held);
                }
            }
            Input::Doubted { peer } => {
                if let Some(beats) = &mut self.beats {
                    beats.doubt(now, peer);
                }
            }
            Input::Vouched { peer } => {
                if let Some(beats) = &mut self.beats {
                    beats.vouch(peer);
                }
            }
            // It was heard.
            Input::Stirs { .. } | Input::Tick => {}
        }
        self.greet_again(now);
        self.advance(now);
        self.beat(now, quiet);
    }

    /// What to do next, or until when to wait.
    pub fn poll_output(&mut self) -> Polled {
        match self.desk.output.pop_front() {
            Some(output) => Polled::Do(output),
            None => Polled::Wait(self.wakes()),
        }
    }

    /// Whether this device is idle in the midst of training: a worker that waits for weights, a shard that waits for gradients.
    pub fn is_waiting(&self) -> bool {
        self.phase == Phase::Training && self.running.is_none()
    }

    /// What all members agree on.
    pub fn job(&self) -> &Arc<Job> {
        &self.desk.job
    }

    /// Others may still have something to pass round the ring.
    fn after_the_end(&mut self, input: Input) {
        match input {
            Input::Message {
                from,
                message: Message::Score(score),
                ..
            } if self.phase == Phase::Finished => self.score(from, score),
            Input::Message {
                payload: Some(payload),
                ..
            } => self.desk.discard(payload),
            _ => {}
        }
    }

    fn message(
        &mut self,
        now: Time,
        from: MemberIndex,
        message: Message,
        payload: Option<PayloadId>,
    ) {
        if self.phase == Phase::Preparing && self.is_to_wait(&message) {
            if self.early_frames.len() < self.early_max() {
                return self.early_frames.push((from, message, payload));
            }
            payload.into_iter().for_each(|it| self.desk.discard(it));
            return self.blame(
                from,
                &"it sent more than there can be before the run begins",
            );
        }
        match (message, payload) {
            (Message::Greeting(greeting), _) => self.greeted(now, from, &greeting),
            (Message::Push(push), Some(payload)) => self.push(from, push, payload),
            (Message::Weights(weights), Some(payload)) => self.weights(from, &weights, payload),
            (Message::Score(score), _) => self.score(from, score),
            // What was counted before is counted: nothing is lost.
            (Message::Refused(Refusal::Duplicate { .. }), _) => {}
            (Message::Refused(refusal), _) => self.blame(from, &Fault::Refused(refusal)),
            (Message::Copy(copy), Some(payload)) => {
                let taken = self.copies.take(from, &copy, payload, &mut self.desk);
                if let Err(fault) = taken {
                    self.blame(from, &fault);
                }
            }
            (Message::Kept(shard, version), _) => {
                match self.copies.kept(from, shard, version, &mut self.desk) {
                    Ok(Some(stable)) => self.stable(self.desk.me, stable),
                    Ok(None) => {}
                    Err(fault) => self.blame(from, &fault),
                }
            }
            (Message::Stable(version), _) => self.stable(from, version),
            // It has been heard.
            (Message::Beat(_), _) => {}
            // The numbers of a range are never none.
            (Message::Push(_) | Message::Weights(_) | Message::Copy(_), None) => {}
        }
    }

    /// Whether an answer to it, or the message itself, may have to go over a link that is not there yet.
    fn is_to_wait(&self, message: &Message) -> bool {
        let job = &self.desk.job;
        match message {
            // What does not fit is refused at once.
            Message::Weights(weights) => {
                self.chain.is_some() && job.weights(weights.range) == Some(weights.numbers)
            }
            Message::Push(push) => {
                self.chain.is_some() && job.gradient(push.range) == Some(push.numbers)
            }
            Message::Copy(copy) => {
                let spec = job.layout.ranges.get(copy.range.0 as usize);
                spec.is_some_and(|spec| spec.elements == copy.numbers.elements)
            }
            Message::Kept(..) | Message::Stable(_) => true,
            Message::Greeting(_) | Message::Score(_) | Message::Refused(_) | Message::Beat(_) => {
                false
            }
        }
    }

    /// Of each range a sum, its weights and a copy of it; of each shard that it is kept, and that all are.
    fn early_max(&self) -> usize {
        let job = &self.desk.job;
        let slots = job.copies.map_or(0, |copies| usize::from(copies.slots));
        job.layout.ranges.len() * (2 + slots) + job.layout.shards.len() + 1
    }

    fn stable(&mut self, from: MemberIndex, version: Step) {
        match self.copies.stable(from, version, &mut self.desk) {
            Ok(true) if self.collector.is_some() => self.desk.event(Event::Stable(version)),
            Ok(_) => {}
            Err(fault) => self.blame(from, &fault),
        }
    }

    fn push(&mut self, from: MemberIndex, push: Push, payload: PayloadId) {
        let desk = &mut self.desk;
        match (&mut self.chain, &mut self.shard) {
            (Some(chain), Some(shard)) => {
                if let Err(refusal) = chain.partial(from, &push, payload, shard, desk) {
                    desk.event(Event::Refused { from, refusal });
                    desk.say(from, Message::Refused(refusal));
                }
            }
            (None, Some(shard)) => shard.push(from, push, payload, desk),
            (_, None) => {
                let refusal = Refusal::Range(push.range);
                desk.discard(payload);
                desk.event(Event::Refused { from, refusal });
                desk.say(from, Message::Refused(refusal));
            }
        }
    }

    fn weights(&mut self, from: MemberIndex, weights: &Weights, payload: PayloadId) {
        let desk = &mut self.desk;
        let Some(worker) = &mut self.worker else {
            desk.discard(payload);
            return self.blame(from, &Fault::Unasked(weights.range));
        };
        let comes = worker.comes();
        if let Err(fault) = worker.weights(from, weights, payload, desk) {
            return self.blame(from, &fault);
        }
        if let Some(chain) = self.chain.as_mut().filter(|_| comes) {
            chain.goes_on(weights.range, weights.clock);
        }
        let next = self
            .chain
            .as_ref()
            .and_then(|_| Chain::passes_on(weights, desk));
        if let Some(to) = next {
            desk.output.push_back(Output::Send {
                to,
                message: Message::Weights(*weights),
                payload: Some(payload),
            });
        }
    }

    fn score(&mut self, from: MemberIndex, score: Score) {
        let desk = &mut self.desk;
        let layout = &desk.job.layout;
        let whose = layout.workers.get(usize::from(score.worker.0));
        let expected = match layout.exchange {
            Exchange::Server => whose == Some(&from),
            Exchange::AllReduce => whose.is_some(),
        };
        let job = desk.job.clone();
        let early = self.phase == Phase::Preparing;
        let taken = match &mut self.collector {
            _ if !expected => false,
            Some(collector) => collector.take(&score, &job),
            None if early => self.early.len() < job.layout.workers.len(),
            None => self.chain.is_some(),
        };
        if !taken {
            self.blame(from, &Fault::Score);
        } else if self.collector.is_some() {
            desk.event(Event::Score(score));
        } else if early {
            self.early.push(score);
        } else {
            desk.say(job.layout.successor(desk.me), Message::Score(score));
        }
    }

    fn completed(&mut self, now: Time, outcome: Outcome) {
        let Some(work) = self.running.take() else {
            return;
        };
        if let Some(beats) = &mut self.beats {
            beats.task_ended(now);
        }
        let desk = &mut self.desk;
        match (&work.task, &mut self.shard, &mut self.worker) {
            (Task::Count { .. }, Some(shard), _) => shard.counted(&work, &outcome, desk),
            (Task::Read { range }, Some(shard), _) => shard.read(*range, &outcome, desk),
            (Task::Copy { range, version }, Some(shard), _) => {
                if let Outcome::Copied(slots) = outcome {
                    let updates = shard.updates(*range);
                    self.copies.own(*range, *version, updates, slots, desk);
                }
            }
            (Task::Merge { .. }, _, _) => Chain::merged(&work, &outcome, desk),
            (task, _, Some(worker)) => {
                for (push, payload) in worker.completed(task, outcome, desk) {
                    self.push_out(push, payload);
                }
            }
            (_, _, None) => {}
        }
    }

    /// A gradient of the worker here, on its way.
    fn push_out(&mut self, push: Push, payload: PayloadId) {
        let desk = &mut self.desk;
        match (&mut self.chain, &mut self.shard) {
            (Some(chain), Some(shard)) => chain.own(push, payload, shard, desk),
            (Some(_) | None, _) => {
                let home = desk.job.layout.home(push.range);
                desk.send(vec![(home, Message::Push(push))], payload);
            }
        }
    }

    /// Hands over what this member's parts have said to each other, and begins what can be begun.
    fn advance(&mut self, now: Time) {
        loop {
            while let Some((message, payload)) = self.desk.local.pop_front() {
                self.message(now, self.desk.me, message, payload);
            }
            if self.phase == Phase::Preparing && self.is_prepared() {
                self.begin(now);
            }
            if self.phase != Phase::Training || self.running.is_some() {
                return;
            }
            let own = |worker: &mut Worker, desk: &mut Desk| worker.next(desk).map(Work::of);
            let next = match self.desk.work.pop_front() {
                Some(work) => Some(work),
                None => self
                    .worker
                    .as_mut()
                    .and_then(|worker| own(worker, &mut self.desk)),
            };
            if let Some(work) = next {
                self.desk.output.push_back(Output::Run(work.task.clone()));
                self.running = Some(work);
                if let Some(beats) = &mut self.beats {
                    beats.task_began(now);
                }
            }
            // The worker may have told the collector something on its way.
            if self.desk.local.is_empty() {
                break;
            }
        }
        if self.is_done() {
            self.phase = Phase::Finished;
            self.desk.event(Event::Finished);
        }
    }

    fn begin(&mut self, now: Time) {
        self.phase = Phase::Training;
        self.desk.event(Event::Begun);
        self.copies.begin(&mut self.desk);
        let to = self.desk.job.layout.successor(self.desk.me);
        for score in self.early.drain(..) {
            self.desk.say(to, Message::Score(score));
        }
        for (from, message, payload) in std::mem::take(&mut self.early_frames) {
            self.message(now, from, message, payload);
        }
    }

    fn is_prepared(&self) -> bool {
        self.built && self.links.all_greeted()
    }

    /// Who only keeps copies does so until the run ends, or another plan has more for it to do.
    fn is_done(&self) -> bool {
        let job = &self.desk.job;
        (self.worker.is_some() || self.shard.is_some())
            && self.running.is_none()
            && self.desk.work.is_empty()
            && self.worker.as_ref().is_none_or(Worker::is_done)
            && self.shard.as_ref().is_none_or(Shard::is_done)
            && self
                .collector
                .as_ref()
                .is_none_or(|collector| collector.is_done(job))
    }

    fn blame(&mut self, culprit: MemberIndex, fault: &dyn std::fmt::Display) {
        self.abort(Some(culprit), fault.to_string());
    }

    fn abort(&mut self, culprit: Option<MemberIndex>, reason: String) {
        self.ends(Event::Aborted { culprit, reason });
    }
}
