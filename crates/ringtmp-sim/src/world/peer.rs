//! A peer under virtual time: its node, its stage, and what its device takes for a task.

use super::{Event, World};
use crate::compute::Compute;
use crate::scenario::TaskKind;
use ringtmp_core::codec::TensorCodec;
use ringtmp_core::ids::{Epoch, PayloadId, PeerId};
use ringtmp_core::kept::Kept;
use ringtmp_core::lobby::ConnectionId;
use ringtmp_core::node::{Assignment, Input, Node, Outcome};
use ringtmp_core::replica::CopyId;
use ringtmp_core::schedule::Task;
use ringtmp_core::time::Time;
use ringtmp_core::trace::{Activity, Details, Span};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// What a payload is.
pub(crate) enum Load<C: Compute> {
    /// Of a micro-batch.
    Tensors(C::Tensors),
    /// Of a layer; each piece carries it whole, since nobody looks at parts.
    Copy(C::Copy),
}

impl<C: Compute> Clone for Load<C> {
    fn clone(&self) -> Self {
        match self {
            Self::Tensors(tensors) => Self::Tensors(tensors.clone()),
            Self::Copy(copy) => Self::Copy(copy.clone()),
        }
    }
}

pub(crate) struct Peer<C: Compute> {
    /// Its socket, while it lives.
    pub(super) connection: Option<ConnectionId>,
    /// It lives, but its socket is gone.
    pub(super) offline: bool,
    /// It does nothing until then.
    pub(super) frozen: Option<Time>,
    /// The newest plan that has reached it.
    pub(super) obeyed: Option<Epoch>,
    /// A stage's copy before the newest.
    #[cfg(test)]
    pub(super) before: BTreeMap<u16, C::Copy>,
    /// Copies of layers, whole ones.
    pub(super) vault: BTreeMap<CopyId, C::Copy>,
    /// What is being read, and for which plan.
    pub(super) reading: Vec<(Epoch, CopyId, C::Copy)>,
    /// What is being written.
    pub(super) writing: BTreeMap<CopyId, C::Copy>,
    /// What outlives the peer, in the order in which it was kept.
    pub(super) disk: Vec<(Kept, BTreeMap<CopyId, C::Copy>)>,
    pub(super) node: Node,
    pub(super) id: Option<PeerId>,
    pub(super) stage: Option<C>,
    /// The layers of the stage.
    pub(super) layers: Option<Range<usize>>,
    /// How its tensors are written, before it and after it.
    pub(super) codecs: [Option<TensorCodec>; 2],
    pub(super) payloads: BTreeMap<PayloadId, Load<C>>,
    next_payload: u64,
    /// When it will be woken.
    pub(super) wakes: Option<Time>,
    /// What it has been waiting for, and since when.
    waiting: Option<(Activity, Time)>,
}

impl<C: Compute> Default for Peer<C> {
    fn default() -> Self {
        Self {
            connection: None,
            offline: false,
            frozen: None,
            obeyed: None,
            #[cfg(test)]
            before: BTreeMap::new(),
            vault: BTreeMap::new(),
            reading: Vec::new(),
            writing: BTreeMap::new(),
            disk: Vec::new(),
            node: Node::new(),
            id: None,
            stage: None,
            layers: None,
            codecs: [None; 2],
            payloads: BTreeMap::new(),
            next_payload: 0,
            wakes: None,
            waiting: None,
        }
    }
}

impl<C: Compute> Peer<C> {
    pub(super) fn keep(&mut self, load: Load<C>) -> PayloadId {
        self.next_payload += 1;
        let id = PayloadId(self.next_payload);
        self.payloads.insert(id, load);
        id
    }

    fn take_tensors(&mut self, payload: PayloadId) -> Option<C::Tensors> {
        match self.payloads.remove(&payload)? {
            Load::Tensors(tensors) => Some(tensors),
            Load::Copy(_) => None,
        }
    }
}

impl<C: Compute, B: FnMut(Assignment) -> C> World<'_, C, B> {
    pub(super) fn build(&mut self, at: usize, assignment: Assignment) {
        #[cfg(test)]
        let assignment = {
            let mut assignment = assignment;
            self.planted.assigned(at, &mut assignment);
            assignment
        };
        let layers = &assignment.layers;
        self.peers[at].layers = Some(usize::from(layers.start.0)..usize::from(layers.end.0));
        self.peers[at].codecs = [assignment.input_codec, assignment.output_codec];
        let epoch = assignment.epoch;
        if self.is_current(epoch) {
            self.watch.built(self.stage(at), &assignment);
        }
        let start = assignment.start;
        let mut stage = (self.build)(assignment);
        if start.0 > 0 {
            stage.restore(&self.copies(at, start));
        }
        self.peers[at].stage = Some(stage);
        let built = Box::new(Input::Built { epoch });
        self.schedule(Duration::ZERO, Event::Done(at, built));
    }

    pub(super) fn digest(&mut self, at: usize, epoch: Epoch) {
        let digests = self.peers[at].stage.as_ref().map(Compute::digests);
        let told = digests.clone().unwrap_or_default();
        self.digested.insert(at, told);
        let digested = Input::Digested {
            epoch,
            digests: digests.unwrap_or_default(),
            links: Vec::new(),
        };
        self.schedule(Duration::ZERO, Event::Done(at, Box::new(digested)));
    }

    /// Computes at once, and lets the result come when the device would have it.
    pub(super) fn compute(&mut self, at: usize, epoch: Epoch, task: Task) {
        let input = task
            .payload()
            .and_then(|payload| self.peers[at].take_tensors(payload));
        let takes = self.task_time(at, &task);
        self.note_busy(at, &task, takes);
        let (output, loss) = if self.is_current(epoch) {
            self.work(at, task, input)
        } else {
            self.carry_out(at, task, input)
        };
        let payload = output.map(|tensors| self.peers[at].keep(Load::Tensors(tensors)));
        let squares = match task {
            Task::Squares { .. } => self.squares(at),
            Task::Draw { .. }
            | Task::Forward { .. }
            | Task::BackwardInput { .. }
            | Task::BackwardWeights { .. }
            | Task::Update { .. } => Vec::new(),
        };
        let outcome = Outcome {
            payload,
            loss,
            answer: None,
            squares,
        };
        let completed = Input::Completed {
            epoch,
            task,
            outcome,
        };
        self.schedule(takes, Event::Done(at, Box::new(completed)));
    }

    #[cfg(not(test))]
    fn work(&mut self, at: usize, task: Task, input: Option<C::Tensors>) -> Worked<C> {
        self.work_off(at, task, input)
    }

    pub(crate) fn squares(&self, at: usize) -> Vec<f64> {
        let stage = self.peers[at].stage.as_ref();
        let squares = stage.map(Compute::squares).unwrap_or_default();
        #[cfg(test)]
        let squares = self.planted.squares(at, squares);
        squares
    }

    pub(crate) fn work_off(
        &mut self,
        at: usize,
        task: Task,
        input: Option<C::Tensors>,
    ) -> Worked<C> {
        self.watch.started(self.stage(at), &task);
        self.carry_out(at, task, input)
    }

    pub(crate) fn carry_out(
        &mut self,
        at: usize,
        task: Task,
        input: Option<C::Tensors>,
    ) -> Worked<C> {
        let stage = self.peers[at].stage.as_mut();
        stage.map_or((None, None), |stage| stage.work(task, input))
    }

    fn task_time(&mut self, at: usize, task: &Task) -> Duration {
        let layers = self.peers[at].layers.clone().unwrap_or_default();
        let seconds = self
            .scenario
            .task_seconds(at, &layers, TaskKind::from(task));
        let factor = self.scenario.jitter_factor(&mut self.draws[at]);
        let time = Duration::from_secs_f64(seconds * factor);
        #[cfg(test)]
        let time = self.planted.slowed(at, task, time);
        time
    }

    pub(super) fn done(&mut self, at: usize, input: Input) {
        if let Input::Completed { task, epoch, .. } = &input
            && self.is_current(*epoch)
        {
            self.watch.completed(self.now, self.stage(at), task);
        }
        match &input {
            Input::Kept { kept: Some(kept) } => self.is_kept(at, kept),
            Input::Loaded { epoch, .. } => self.is_loaded(at, *epoch),
            _ => {}
        }
        self.input(at, input);
    }

    fn note_busy(&mut self, at: usize, task: &Task, takes: Duration) {
        self.end_waiting(at);
        self.trace.push(Span {
            peer: at as u32,
            activity: Activity::of_task(task),
            start: self.now,
            end: self.now + takes,
            details: Details::of_task(task),
        });
    }

    /// After every input: what an idle peer waits for now.
    pub(super) fn note_waiting(&mut self, at: usize) {
        let waiting = self.peers[at].node.waiting().map(Activity::of_waiting);
        if waiting == self.peers[at].waiting.map(|(activity, _)| activity) {
            return;
        }
        self.end_waiting(at);
        self.peers[at].waiting = waiting.map(|activity| (activity, self.now));
    }

    fn end_waiting(&mut self, at: usize) {
        if let Some((activity, start)) = self.peers[at].waiting.take()
            && start < self.now
        {
            self.trace.push(Span {
                peer: at as u32,
                activity,
                start,
                end: self.now,
                details: Details::default(),
            });
        }
    }
}

/// The output of a task, and the loss.
pub(crate) type Worked<C> = (
    Option<<C as Compute>::Tensors>,
    Option<ringtmp_core::node::Loss>,
);
