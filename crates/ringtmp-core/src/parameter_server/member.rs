//! A device: its links, and the worker and the shard on it.

use super::chain::Chain;
use super::collector::Collector;
use super::desk::{Desk, Work};
use super::interface::{Clocks, Event, Input, Outcome, Output, Polled, Task};
use super::layout::{Exchange, MemberIndex, WorkerIndex};
use super::message::{Greeting, Message, Push, Refusal, Score};
use super::shard::Shard;
use super::worker::{Fault, Worker};
use super::{Job, Weights};
use crate::ids::{PayloadId, Step};
use crate::signal::PROTOCOL_VERSION;
use crate::time::Time;
use crate::wire::WireError;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// A greeting that was not answered is repeated after this time: a data channel can open at one end earlier than at the other.
pub const GREETING_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, Default)]
struct LinkState {
    greeted: bool,
    due: Option<Time>,
}

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
    links: BTreeMap<MemberIndex, LinkState>,
    worker: Option<Worker>,
    shard: Option<Shard>,
    /// In all-reduce alone.
    chain: Option<Chain>,
    /// At one member alone.
    collector: Option<Collector>,
    /// Scores to pass on, which came before all links were there: one of a worker, since nobody goes on to a second step before this
    /// member has had its part in the first.
    early: Vec<Score>,
    running: Option<Work>,
}

impl Member {
    /// A device of a run that has not begun. Its links are to be made, and model and ranges to be built.
    pub fn new(job: Arc<Job>, me: MemberIndex) -> Self {
        let layout = &job.layout;
        let links = layout.links(me).into_iter();
        Self {
            phase: Phase::Preparing,
            built: false,
            links: links.map(|peer| (peer, LinkState::default())).collect(),
            worker: layout.worker_at(me).map(|worker| Worker::new(&job, worker)),
            shard: layout.shard_at(me).map(|shard| Shard::new(&job, shard)),
            chain: (layout.exchange == Exchange::AllReduce).then(|| Chain::new(&job)),
            collector: (layout.collector() == me).then(|| Collector::new(&job)),
            early: Vec::new(),
            running: None,
            desk: Desk {
                job: job.clone(),
                me,
                output: VecDeque::new(),
                local: VecDeque::new(),
                work: VecDeque::new(),
            },
        }
    }

    /// A device of a run that goes on: workers get all weights first, from servers that hold them with these clocks.
    pub fn going_on(job: Arc<Job>, me: MemberIndex, clocks: &[Step]) -> Self {
        let mut member = Self::new(job.clone(), me);
        let layout = &job.layout;
        member.worker = layout.worker_at(me).map(|it| Worker::coming(&job, it));
        member.shard = layout
            .shard_at(me)
            .map(|shard| Shard::going_on(&job, shard, clocks));
        if let Some(shard) = &member.shard {
            member.desk.work.extend(shard.reads());
        }
        if member.collector.is_some() {
            member.collector = Some(Collector::going_on(&job));
        }
        member
    }

    /// What its shard holds: the clock of each range.
    pub fn clocks(&self) -> Clocks {
        self.shard.as_ref().map(Shard::clocks).unwrap_or_default()
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Time, input: Input) {
        if matches!(self.phase, Phase::Finished | Phase::Aborted) {
            return self.after_the_end(input);
        }
        match input {
            Input::Built => self.built = true,
            Input::LinkUp { peer } => self.link_up(now, peer),
            Input::LinkLost { peer, reason } => {
                if self.links.contains_key(&peer) {
                    self.abort(Some(peer), format!("the link to it is lost: {reason}"));
                }
            }
            Input::Message {
                from,
                message,
                payload,
            } => self.message(from, message, payload),
            Input::Unreadable { from, error } => self.abort(Some(from), error.to_string()),
            Input::Completed { outcome } => self.completed(outcome),
            Input::Failed { reason } => self.abort(None, reason),
            Input::Hold(held) => {
                if let Some(worker) = &mut self.worker {
                    worker.hold(held);
                }
            }
            Input::Tick => {}
        }
        self.greet_again(now);
        self.advance();
    }

    /// What to do next, or until when to wait.
    pub fn poll_output(&mut self) -> Polled {
        match self.desk.output.pop_front() {
            Some(output) => Polled::Do(output),
            None => Polled::Wait(self.links.values().filter_map(|link| link.due).min()),
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

    fn link_up(&mut self, now: Time, peer: MemberIndex) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.due = (!link.greeted).then_some(now + GREETING_INTERVAL);
            self.greet(peer);
        }
    }

    fn greet(&mut self, peer: MemberIndex) {
        let greeting = Greeting {
            protocol: PROTOCOL_VERSION,
            run: self.desk.job.run,
            member: self.desk.me,
        };
        self.desk.say(peer, Message::Greeting(greeting));
    }

    fn greet_again(&mut self, now: Time) {
        let is_due = |link: &LinkState| link.due.is_some_and(|due| now >= due);
        let due = self.links.iter().filter(|(_, link)| is_due(link));
        let due: Vec<MemberIndex> = due.map(|(peer, _)| *peer).collect();
        for peer in due {
            self.link_up(now, peer);
        }
    }

    fn greeted(&mut self, from: MemberIndex, greeting: &Greeting) {
        let (ours, theirs) = (PROTOCOL_VERSION, greeting.protocol);
        let fault = if ours != theirs {
            Some(WireError::Version { ours, theirs }.to_string())
        } else if greeting.run != self.desk.job.run {
            Some("it trains another run, or another build of it".to_owned())
        } else if greeting.member != from {
            Some("it is not the device that was expected at this end".to_owned())
        } else {
            None
        };
        if let Some(fault) = fault {
            return self.abort(Some(from), fault);
        }
        if let Some(link) = self.links.get_mut(&from)
            && !link.greeted
        {
            *link = LinkState {
                greeted: true,
                due: None,
            };
            // It is there now, so that this greeting cannot be lost as an earlier one may have been.
            self.greet(from);
        }
    }

    fn message(&mut self, from: MemberIndex, message: Message, payload: Option<PayloadId>) {
        match (message, payload) {
            (Message::Greeting(greeting), _) => self.greeted(from, &greeting),
            (Message::Push(push), Some(payload)) => self.push(from, push, payload),
            (Message::Weights(weights), Some(payload)) => self.weights(from, &weights, payload),
            (Message::Score(score), _) => self.score(from, score),
            // What was counted before is counted: nothing is lost.
            (Message::Refused(Refusal::Duplicate { .. }), _) => {}
            (Message::Refused(refusal), _) => self.blame(from, Fault::Refused(refusal)),
            // The numbers of a range are never none.
            (Message::Push(_) | Message::Weights(_), None) => {}
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
            return self.blame(from, Fault::Unasked(weights.range));
        };
        if let Err(fault) = worker.weights(from, weights, payload, desk) {
            return self.blame(from, fault);
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
            self.blame(from, Fault::Score);
        } else if self.collector.is_some() {
            desk.event(Event::Score(score));
        } else if early {
            self.early.push(score);
        } else {
            desk.say(job.layout.successor(desk.me), Message::Score(score));
        }
    }

    fn completed(&mut self, outcome: Outcome) {
        let Some(work) = self.running.take() else {
            return;
        };
        let desk = &mut self.desk;
        match (&work.task, &mut self.shard, &mut self.worker) {
            (Task::Count { .. }, Some(shard), _) => shard.counted(&work, &outcome, desk),
            (Task::Read { range }, Some(shard), _) => shard.read(*range, &outcome, desk),
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
    fn advance(&mut self) {
        loop {
            while let Some((message, payload)) = self.desk.local.pop_front() {
                self.message(self.desk.me, message, payload);
            }
            if self.phase == Phase::Preparing && self.is_prepared() {
                self.begin();
            }
            if self.phase != Phase::Training || self.running.is_some() {
                return;
            }
            let own = |worker: &mut Worker, desk: &mut Desk| {
                let task = worker.next(desk)?;
                Some(Work {
                    task,
                    worker: WorkerIndex(0),
                    labels: 0,
                })
            };
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

    fn begin(&mut self) {
        self.phase = Phase::Training;
        self.desk.event(Event::Begun);
        let to = self.desk.job.layout.successor(self.desk.me);
        for score in self.early.drain(..) {
            self.desk.say(to, Message::Score(score));
        }
    }

    fn is_prepared(&self) -> bool {
        self.built && self.links.values().all(|link| link.greeted)
    }

    fn is_done(&self) -> bool {
        let job = &self.desk.job;
        self.running.is_none()
            && self.desk.work.is_empty()
            && self.worker.as_ref().is_none_or(Worker::is_done)
            && self.shard.as_ref().is_none_or(Shard::is_done)
            && self
                .collector
                .as_ref()
                .is_none_or(|collector| collector.is_done(job))
    }

    fn blame(&mut self, culprit: MemberIndex, fault: Fault) {
        self.abort(Some(culprit), fault.to_string());
    }

    fn abort(&mut self, culprit: Option<MemberIndex>, reason: String) {
        self.phase = Phase::Aborted;
        self.links.clear();
        self.desk.event(Event::Aborted { culprit, reason });
    }
}
