//! The members' surroundings: time, devices and links.

use super::{TeamCompute, TeamFault, TeamMade, TeamOutcome, payloads};
use crate::random::Draws;
use crate::scenario::Scenario;
use ringtmp_core::ids::{LayerIndex, PayloadId};
use ringtmp_core::parameter_server::{
    Event, Frame, Input, Job, Member, MemberIndex, Message, Outcome, Output, Polled, Score, Task,
    UPDATE_OPERATIONS,
};
use ringtmp_core::time::Time;
use ringtmp_core::trace::{Activity, Details, Span};
use ringtmp_core::wire::Lane;
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// More events than any run of so many members, ranges, micro-batches and steps has.
const EVENTS_PER_PUSH_MAX: u64 = 32;

/// A frame on its way.
struct Parcel<N> {
    from: MemberIndex,
    to: MemberIndex,
    message: Message,
    numbers: Option<N>,
    bytes: u64,
    handed_over: Time,
}

enum Happening<N> {
    LinkUp(usize, MemberIndex),
    /// A frame has left its sender's access link.
    Left(usize),
    /// Its first bytes reach the receiver's.
    Reaches(Box<Parcel<N>>),
    Arrives(Box<Parcel<N>>),
    Done(usize),
    Wake(usize),
}

struct Scheduled<N> {
    at: Time,
    sequence: u64,
    what: Happening<N>,
}

impl<N> PartialEq for Scheduled<N> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<N> Eq for Scheduled<N> {}

impl<N> PartialOrd for Scheduled<N> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<N> Ord for Scheduled<N> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// A device with a member on it.
struct Device<N> {
    member: Member,
    payloads: BTreeMap<PayloadId, N>,
    next_payload: u64,
    running: Option<(Task, Time)>,
    idle_since: Option<Time>,
    draws: Draws,
    /// Frames that wait for the way out: small and urgent ones first.
    control: VecDeque<Parcel<N>>,
    tensors: VecDeque<Parcel<N>>,
    is_sending: bool,
    /// When the way in is free.
    receives_from: Time,
    begun: bool,
    finished: bool,
    bytes_sent: u64,
    wakes: Option<Time>,
    /// Steps done, and when, in microseconds.
    done: Vec<u64>,
}

pub(super) struct World<'a, C: TeamCompute> {
    scenario: &'a Scenario,
    job: Arc<Job>,
    compute: &'a mut C,
    now: Time,
    sequence: u64,
    heap: BinaryHeap<Reverse<Scheduled<C::Numbers>>>,
    devices: Vec<Device<C::Numbers>>,
    trace: Vec<Span>,
    scores: Vec<(Time, Score)>,
    aborted: Option<String>,
    /// Seconds for each operation on numbers, of a device whose part of an update takes a second.
    seconds_per_operation: f64,
}

impl<'a, C: TeamCompute> World<'a, C> {
    pub(super) fn new(scenario: &'a Scenario, job: Job, compute: &'a mut C) -> Self {
        let job = Arc::new(job);
        let members = 0..job.layout.members;
        let device = |me: u16| Device {
            member: Member::new(job.clone(), MemberIndex(me)),
            payloads: BTreeMap::new(),
            next_payload: 0,
            running: None,
            idle_since: None,
            draws: Draws::new(scenario.seed, u64::from(me)),
            control: VecDeque::new(),
            tensors: VecDeque::new(),
            is_sending: false,
            receives_from: Time::ZERO,
            begun: false,
            finished: false,
            bytes_sent: 0,
            wakes: None,
            done: Vec::new(),
        };
        // An update is of an even part of the model, as that of a stage in a ring of these devices.
        let parameters: u64 = scenario
            .outline
            .layers
            .iter()
            .map(|layer| layer.parameters)
            .sum();
        let part = parameters as f64 / f64::from(job.layout.members);
        Self {
            devices: members.map(device).collect(),
            scenario,
            job,
            compute,
            now: Time::ZERO,
            sequence: 0,
            heap: BinaryHeap::new(),
            trace: Vec::new(),
            scores: Vec::new(),
            aborted: None,
            seconds_per_operation: 1.0 / (UPDATE_OPERATIONS * part.max(1.0)),
        }
    }

    pub(super) fn run(mut self) -> Result<TeamOutcome, TeamFault> {
        for me in 0..self.devices.len() {
            for peer in self.job.layout.links(index(me)) {
                let delay = self.delay(me, place(peer));
                self.schedule(delay, Happening::LinkUp(me, peer));
            }
            self.input(me, Input::Built);
        }
        let layout = &self.job.layout;
        let members = u64::from(layout.members);
        let pushes = layout.ranges.len() as u64 + u64::from(self.job.layers);
        let micro_batches =
            u64::from(layout.micro_batches()) + u64::from(self.job.evaluation_micro_batches);
        let per_step = members * (pushes + members) + micro_batches;
        let steps = u64::from(self.job.steps) + 2;
        let mut left = EVENTS_PER_PUSH_MAX.saturating_mul(per_step * steps);
        while let Some(Reverse(next)) = self.heap.pop() {
            self.now = next.at;
            self.happen(next.what);
            left -= 1;
            if left == 0 || self.aborted.is_some() {
                break;
            }
        }
        self.ended()
    }

    fn ended(self) -> Result<TeamOutcome, TeamFault> {
        if let Some(reason) = self.aborted {
            return Err(TeamFault::Broken(reason));
        }
        for (me, device) in self.devices.iter().enumerate() {
            if !device.finished {
                let reason = format!("device {me} does not finish: nobody sends what it waits for");
                return Err(TeamFault::Broken(reason));
            }
            if !device.payloads.is_empty() {
                let reason = format!("device {me} ends with numbers that it forgot to discard");
                return Err(TeamFault::Broken(reason));
            }
        }
        let workers = self.job.layout.workers.iter();
        Ok(TeamOutcome {
            done: workers
                .map(|worker| self.devices[place(*worker)].done.clone())
                .collect(),
            bytes_sent: self
                .devices
                .iter()
                .map(|device| device.bytes_sent)
                .collect(),
            job: Job::clone(&self.job),
            trace: self.trace,
            scores: self.scores,
        })
    }

    fn schedule(&mut self, after: Duration, what: Happening<C::Numbers>) {
        self.sequence += 1;
        self.heap.push(Reverse(Scheduled {
            at: self.now + after,
            sequence: self.sequence,
            what,
        }));
    }

    fn happen(&mut self, what: Happening<C::Numbers>) {
        match what {
            Happening::LinkUp(me, peer) => self.input(me, Input::LinkUp { peer }),
            Happening::Left(me) => {
                self.devices[me].is_sending = false;
                self.begin_to_send(me);
            }
            Happening::Reaches(parcel) => self.reaches(parcel),
            Happening::Arrives(parcel) => self.arrives(*parcel),
            Happening::Done(me) => self.done(me),
            Happening::Wake(me) => {
                self.devices[me].wakes = None;
                self.input(me, Input::Tick);
            }
        }
    }

    fn input(&mut self, me: usize, input: Input) {
        self.devices[me].member.handle(self.now, input);
        loop {
            match self.devices[me].member.poll_output() {
                Polled::Do(output) => self.output(me, output),
                Polled::Wait(wake) => {
                    if let Some(wake) = wake
                        && self.devices[me].wakes.is_none_or(|known| wake < known)
                    {
                        self.devices[me].wakes = Some(wake);
                        self.schedule(wake.since(self.now), Happening::Wake(me));
                    }
                    break;
                }
            }
        }
        let device = &mut self.devices[me];
        if device.member.is_waiting() {
            device.idle_since.get_or_insert(self.now);
        }
    }

    fn output(&mut self, me: usize, output: Output) {
        let now = self.now;
        let device = &mut self.devices[me];
        match output {
            Output::Send {
                to,
                message,
                payload,
            } => {
                let parcel = Parcel {
                    from: index(me),
                    to,
                    message,
                    numbers: payload.map(|payload| device.payloads[&payload].clone()),
                    bytes: Frame::length(Some(now), &message),
                    handed_over: now,
                };
                match message.lane() {
                    Lane::Control => device.control.push_back(parcel),
                    Lane::Tensors => device.tensors.push_back(parcel),
                }
                self.begin_to_send(me);
            }
            Output::Run(task) => self.begin(me, task),
            Output::Discard(payload) => {
                device.payloads.remove(&payload);
            }
            Output::Event(Event::Begun) => device.begun = true,
            Output::Event(Event::Finished) => device.finished = true,
            Output::Event(Event::Score(score)) => self.scores.push((now, score)),
            Output::Event(Event::Refused { refusal, .. }) => {
                self.aborted = Some(format!("device {me} refuses a push: {refusal}"));
            }
            Output::Event(Event::Aborted { reason, .. }) => {
                self.aborted = Some(format!("device {me}: {reason}"));
            }
        }
    }

    fn begin(&mut self, me: usize, task: Task) {
        let takes = self.takes(me, &task);
        let now = self.now;
        let device = &mut self.devices[me];
        if let Some(start) = device.idle_since.take() {
            self.trace.push(Span {
                peer: me as u32,
                activity: Activity::WaitInput,
                start,
                end: now,
                details: Details::default(),
            });
        }
        device.running = Some((task, now));
        self.schedule(takes, Happening::Done(me));
    }

    /// What a task takes on its device, jitter included.
    fn takes(&mut self, me: usize, task: &Task) -> Duration {
        let scenario = self.scenario;
        let cost = task.cost(&self.job, &scenario.outline.layers);
        let device = &scenario.devices[me];
        let samples = f64::from(scenario.outline.schedule.micro_batch_samples);
        let passes = cost.flops.iter().zip(device.flops_per_second);
        let computing: f64 = passes.map(|(flops, speed)| flops * samples / speed).sum();
        let numbers = cost.numbers * self.seconds_per_operation * device.update_seconds;
        let jitter = scenario.jitter_factor(&mut self.devices[me].draws);
        Duration::from_secs_f64((computing + numbers) * jitter)
    }

    fn done(&mut self, me: usize) {
        let Some((task, start)) = self.devices[me].running.take() else {
            return;
        };
        self.trace.push(Span {
            peer: me as u32,
            activity: task.activity(),
            start,
            end: self.now,
            details: task.details(),
        });
        if let Task::BackwardLayer {
            layer: LayerIndex(0),
            ..
        } = task
        {
            self.devices[me].done.push(self.now.as_micros());
        }
        let device = &mut self.devices[me];
        let inputs: Vec<C::Numbers> = payloads(&task)
            .iter()
            .map(|payload| device.payloads[payload].clone())
            .collect();
        let made = self.compute.work(index(me), &task, inputs);
        let made = match made {
            Ok(made) => made,
            Err(reason) => {
                self.aborted = Some(format!("device {me}: {reason}"));
                return;
            }
        };
        let outcome = match made {
            TeamMade::Done => Outcome::Done,
            TeamMade::Sums(sums) => Outcome::Sums(sums),
            TeamMade::Gradients(all) => {
                let kept = all.into_iter().map(|numbers| keep(device, numbers));
                Outcome::Gradients(kept.collect())
            }
            TeamMade::Numbers(numbers) => Outcome::Numbers(keep(device, numbers)),
        };
        self.input(me, Input::Completed { outcome });
    }

    fn delay(&self, from: usize, to: usize) -> Duration {
        Duration::from_secs_f64(self.scenario.links.get(from, to).delay_seconds)
    }

    fn transfer(&self, parcel: &Parcel<C::Numbers>) -> Duration {
        let link = self
            .scenario
            .links
            .get(place(parcel.from), place(parcel.to));
        Duration::from_secs_f64(link.transfer_seconds(parcel.bytes))
    }

    /// The next frame takes up its sender's access link, if that is free.
    fn begin_to_send(&mut self, me: usize) {
        let device = &mut self.devices[me];
        if device.is_sending {
            return;
        }
        let next = device
            .control
            .pop_front()
            .or_else(|| device.tensors.pop_front());
        let Some(parcel) = next else { return };
        device.is_sending = true;
        if device.begun {
            device.bytes_sent += parcel.bytes;
        }
        let takes = self.transfer(&parcel);
        let delay = self.delay(me, place(parcel.to));
        self.schedule(takes, Happening::Left(me));
        self.schedule(delay, Happening::Reaches(Box::new(parcel)));
    }

    /// It takes up its receiver's access link once that is free, and is there when its last bytes are.
    fn reaches(&mut self, parcel: Box<Parcel<C::Numbers>>) {
        let takes = self.transfer(&parcel);
        let device = &mut self.devices[place(parcel.to)];
        let begins = device.receives_from.max(self.now);
        device.receives_from = begins + takes;
        let after = device.receives_from.since(self.now);
        self.schedule(after, Happening::Arrives(parcel));
    }

    fn arrives(&mut self, parcel: Parcel<C::Numbers>) {
        let me = place(parcel.to);
        let told = match parcel.message {
            Message::Push(push) => Some((Activity::Gradient, push.clock)),
            Message::Weights(weights) => Some((Activity::Weights, weights.clock)),
            Message::Greeting(_) | Message::Score(_) | Message::Refused(_) => None,
        };
        if let Some((activity, clock)) = told {
            self.trace.push(Span {
                peer: u32::from(parcel.from.0),
                activity,
                start: parcel.handed_over,
                end: self.now,
                details: Details {
                    step: Some(clock.0),
                    to: Some(me as u32),
                    ..Details::default()
                },
            });
        }
        let device = &mut self.devices[me];
        let payload = parcel.numbers.map(|numbers| keep(device, numbers));
        let input = Input::Message {
            from: parcel.from,
            message: parcel.message,
            payload,
        };
        self.input(me, input);
    }
}

fn keep<N>(device: &mut Device<N>, numbers: N) -> PayloadId {
    device.next_payload += 1;
    let id = PayloadId(device.next_payload);
    device.payloads.insert(id, numbers);
    id
}

/// Members are as many as devices, so that both fit.
fn index(place: usize) -> MemberIndex {
    MemberIndex(place as u16)
}

fn place(index: MemberIndex) -> usize {
    usize::from(index.0)
}
