//! The members' surroundings: time, devices and links.

mod links;
mod room;
mod seat;

use super::{TeamCompute, TeamFault, TeamMade, TeamOutcome, payloads};
use crate::random::Draws;
use crate::scenario::{FaultKind, Scenario};
use ringtmp_core::ids::{Epoch, LayerIndex, PeerId};
use ringtmp_core::parameter_server::{
    Event, Frame, Input, Job, MemberIndex, Message, Outcome, Output, Polled, Score, Task,
    UPDATE_OPERATIONS,
};
use ringtmp_core::signal::{ClientMessage, RunDescriptor, ServerMessage};
use ringtmp_core::time::Time;
use ringtmp_core::trace::{Activity, Details, Span};
use ringtmp_core::wire::Lane;
use room::Meeting;
use seat::{Device, Seat};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

/// More events than any run of so many members, ranges, micro-batches and steps has.
const EVENTS_PER_PUSH_MAX: u64 = 32;

/// Beats, while virtual time goes on: four a second over each link, each of which leaves, arrives and wakes somebody.
const EVENTS_PER_LINK_SECOND_MAX: f64 = 64.0;

/// Where nobody computes and the room does not change for so long, nothing but beats will ever happen again: a room waits for two minutes
/// at most.
const STILL_MAX: Duration = Duration::from_secs(300);

/// A frame on its way.
struct Parcel<N> {
    /// Devices, not members.
    from: usize,
    to: usize,
    epoch: Epoch,
    message: Message,
    numbers: Option<N>,
    bytes: u64,
    handed_over: Time,
}

enum Happening<N> {
    /// A link opens at one end, for a plan.
    LinkUp(usize, usize, Epoch),
    /// A frame has left its sender's access link, if that has not died since.
    Left(usize, u32),
    /// Its first bytes reach the receiver's.
    Reaches(Box<Parcel<N>>),
    Arrives(Box<Parcel<N>>),
    /// A task is done, if its device has not died since.
    Done(usize, u32),
    Wake(usize),
    ToRoom(PeerId, Box<ClientMessage>),
    FromRoom(usize, PeerId, Box<ServerMessage>),
    RoomTick,
    /// The server gives a socket up.
    SocketLost(PeerId),
    Fault(FaultKind),
    /// A device that died comes as another.
    Returns(usize),
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

pub(super) struct World<'a, C: TeamCompute> {
    scenario: &'a Scenario,
    /// Under the newest plan.
    job: Arc<Job>,
    /// Under the newest plan, the device of each member.
    order: Arc<[usize]>,
    compute: &'a mut C,
    now: Time,
    sequence: u64,
    heap: BinaryHeap<Reverse<Scheduled<C::Numbers>>>,
    devices: Vec<Device<C::Numbers>>,
    /// Of runs in which something goes wrong.
    meeting: Option<Meeting>,
    trace: Vec<Span>,
    scores: Vec<(Time, Score)>,
    aborted: Option<String>,
    /// When a task was last done, or the room changed.
    moved: Time,
    /// Seconds for each operation on numbers, of a device whose part of an update takes a second.
    seconds_per_operation: f64,
}

impl<'a, C: TeamCompute> World<'a, C> {
    pub(super) fn new(scenario: &'a Scenario, job: Job, compute: &'a mut C) -> Self {
        // An update is of an even part of the model, as that of a stage in a ring of these devices.
        let parameters: u64 = scenario
            .outline
            .layers
            .iter()
            .map(|layer| layer.parameters)
            .sum();
        let part = parameters as f64 / f64::from(job.layout.members);
        let devices = 0..u64::from(job.layout.members);
        Self {
            devices: devices
                .map(|at| Device::new(Draws::new(scenario.seed, at)))
                .collect(),
            scenario,
            job: Arc::new(job),
            order: (0..scenario.devices.len()).collect(),
            compute,
            now: Time::ZERO,
            sequence: 0,
            heap: BinaryHeap::new(),
            meeting: None,
            trace: Vec::new(),
            scores: Vec::new(),
            aborted: None,
            moved: Time::ZERO,
            seconds_per_operation: 1.0 / (UPDATE_OPERATIONS * part.max(1.0)),
        }
    }

    /// Works the run off; `run` is what the room is told of it, where things go wrong.
    pub(super) fn run(mut self, run: Option<RunDescriptor>) -> Result<TeamOutcome, TeamFault> {
        let job = self.job.clone();
        match run {
            None => self.sit_all(&job),
            Some(run) => self.meet(Job::clone(&job), run),
        }
        let most = self.events_max();
        let links = f64::from(job.layout.members) * f64::from(job.layout.members);
        let mut events: u64 = 0;
        while let Some(Reverse(next)) = self.heap.pop() {
            self.now = next.at;
            if let Some(until) = self.frozen_until(&next.what) {
                // Whatever was to happen to it waits, in the same order.
                self.schedule(until.since(self.now), next.what);
                continue;
            }
            self.happen(next.what);
            events += 1;
            let beats = self.now.since(Time::ZERO).as_secs_f64() * links;
            let allowed = most.saturating_add((beats * EVENTS_PER_LINK_SECOND_MAX) as u64);
            let over = self.aborted.is_some() || self.is_over() || self.is_still();
            if events >= allowed || over {
                break;
            }
        }
        self.ended()
    }

    fn events_max(&self) -> u64 {
        let layout = &self.job.layout;
        let members = u64::from(layout.members);
        let pushes = layout.ranges.len() as u64 + u64::from(self.job.layers);
        let micro_batches =
            u64::from(layout.micro_batches()) + u64::from(self.job.evaluation_micro_batches);
        let per_step = members * (pushes + members) + micro_batches;
        let steps = u64::from(self.job.steps) + 2;
        // What goes wrong makes as much necessary again.
        let again = 1 + self.scenario.faults.len() as u64;
        EVENTS_PER_PUSH_MAX
            .saturating_mul(per_step * steps)
            .saturating_mul(again)
    }

    /// Beats would go on for ever.
    fn is_over(&self) -> bool {
        match &self.meeting {
            Some(meeting) => meeting.is_over(),
            None => {
                let finished = |seat: &Seat| seat.finished;
                let mut seats = self.devices.iter().map(|device| device.seat.as_ref());
                let on_their_way = self.devices.iter().any(|device| device.is_sending);
                !on_their_way && seats.all(|seat| seat.is_some_and(finished))
            }
        }
    }

    fn is_still(&self) -> bool {
        let still = self.now.since(self.moved) > STILL_MAX;
        still && self.devices.iter().all(|device| device.running.is_none())
    }

    fn ended(self) -> Result<TeamOutcome, TeamFault> {
        if let Some(reason) = self.aborted {
            return Err(TeamFault::Broken(reason));
        }
        if let Some(meeting) = &self.meeting
            && meeting.stopped().is_none()
            && !meeting.is_over()
        {
            let reason = format!(
                "nothing happens any more while the room is {:?}",
                meeting.state()
            );
            return Err(TeamFault::Broken(reason));
        }
        if let Some(reason) = self.meeting.as_ref().and_then(Meeting::stopped) {
            return Err(TeamFault::Stopped {
                seconds: self.now.since(Time::ZERO).as_secs_f64(),
                reason,
            });
        }
        for me in self.order.iter() {
            let Some(device) = self.devices.get(*me) else {
                continue;
            };
            let Some(seat) = &device.seat else { continue };
            // Who stands in waits for the end of the run.
            if !seat.finished && !seat.job.layout.stands_in(seat.me) {
                let reason = format!("device {me} does not finish: nobody sends what it waits for");
                return Err(TeamFault::Broken(reason));
            }
            if device.payloads.len() != seat.member.payloads_kept() {
                let reason = format!("device {me} ends with numbers that it forgot to discard");
                return Err(TeamFault::Broken(reason));
            }
        }
        let workers = self.job.layout.workers.iter();
        let done = workers.map(|worker| &self.devices[self.order[place(*worker)]].done);
        Ok(TeamOutcome {
            done: done.cloned().collect(),
            bytes_sent: self
                .devices
                .iter()
                .map(|device| device.bytes_sent)
                .collect(),
            recoveries: self.meeting.map(|it| it.recoveries()).unwrap_or_default(),
            order: self.order.to_vec(),
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
            Happening::LinkUp(at, other, epoch) => self.link_up(at, other, epoch),
            Happening::Left(at, deaths) => {
                if self.devices[at].deaths == deaths {
                    self.devices[at].is_sending = false;
                    self.begin_to_send(at);
                }
            }
            Happening::Reaches(parcel) => self.reaches(parcel),
            Happening::Arrives(parcel) => self.arrives(*parcel),
            Happening::Done(at, deaths) => {
                if self.devices[at].deaths == deaths {
                    self.done(at);
                }
            }
            Happening::Wake(at) => {
                self.devices[at].wakes = None;
                self.input(at, Input::Tick);
            }
            Happening::ToRoom(from, message) => self.said(from, *message),
            Happening::FromRoom(at, to, message) => self.heard(at, to, *message),
            Happening::RoomTick => self.room_tick(),
            Happening::SocketLost(peer) => self.socket_lost(peer),
            Happening::Fault(what) => self.goes_wrong(what),
            Happening::Returns(at) => self.join(at),
        }
    }

    fn input(&mut self, at: usize, input: Input) {
        let now = self.now;
        let Some(seat) = &mut self.devices[at].seat else {
            return;
        };
        seat.member.handle(now, input);
        loop {
            let Some(seat) = &mut self.devices[at].seat else {
                return;
            };
            if seat.ends {
                break;
            }
            match seat.member.poll_output() {
                Polled::Do(output) => self.output(at, output),
                Polled::Wait(wake) => {
                    if let Some(wake) = wake
                        && self.devices[at].wakes.is_none_or(|known| wake < known)
                    {
                        self.devices[at].wakes = Some(wake);
                        self.schedule(wake.since(self.now), Happening::Wake(at));
                    }
                    break;
                }
            }
        }
        let device = &mut self.devices[at];
        let waits = device
            .seat
            .as_ref()
            .is_some_and(|seat| seat.member.is_waiting());
        if waits {
            device.idle_since.get_or_insert(self.now);
        }
    }

    fn output(&mut self, at: usize, output: Output) {
        let now = self.now;
        let device = &mut self.devices[at];
        let Some(seat) = &mut device.seat else { return };
        match output {
            Output::Send {
                to,
                message,
                payload,
            } => {
                if seat.order[place(to)] >= self.scenario.devices.len() {
                    // It died before this plan was heard of.
                    return;
                }
                let parcel = Parcel {
                    from: at,
                    to: seat.order[place(to)],
                    epoch: seat.epoch,
                    message,
                    numbers: payload.map(|payload| device.payloads[&payload].clone()),
                    bytes: Frame::length(Some(now), &message),
                    handed_over: now,
                };
                match message.lane() {
                    Lane::Control => device.control.push_back(parcel),
                    Lane::Tensors => device.tensors.push_back(parcel),
                }
                self.begin_to_send(at);
            }
            Output::Run(task) => self.begin(at, task),
            Output::Discard(payload) => {
                device.payloads.remove(&payload);
            }
            Output::Event(event) => self.event(at, event),
        }
    }

    fn event(&mut self, at: usize, event: Event) {
        let Some(seat) = &mut self.devices[at].seat else {
            return;
        };
        match &event {
            Event::Begun => seat.begun = true,
            Event::Finished => seat.finished = true,
            Event::Score(score) => self.scores.push((self.now, *score)),
            // Where a run goes on, ranges may be one step further than the slowest.
            Event::Refused { refusal, .. } if self.meeting.is_none() => {
                self.aborted = Some(format!("device {at} refuses a push: {refusal}"));
            }
            Event::Aborted { reason, .. } | Event::LinkLost { reason, .. }
                if self.meeting.is_none() =>
            {
                self.aborted = Some(format!("device {at}: {reason}"));
            }
            _ => {}
        }
        let epoch = seat.epoch;
        self.tell(at, epoch, event);
    }

    fn begin(&mut self, at: usize, task: Task) {
        let takes = self.takes(at, &task);
        let now = self.now;
        let device = &mut self.devices[at];
        if let Some(start) = device.idle_since.take() {
            self.trace.push(Span {
                peer: at as u32,
                activity: Activity::WaitInput,
                start,
                end: now,
                details: Details::default(),
            });
        }
        device.running = Some((task, now));
        let deaths = device.deaths;
        self.schedule(takes, Happening::Done(at, deaths));
    }

    /// What a task takes on its device, jitter included.
    fn takes(&mut self, at: usize, task: &Task) -> Duration {
        let scenario = self.scenario;
        let seat = self.devices[at].seat.as_ref();
        let job = seat.map_or(&self.job, |seat| &seat.job);
        let cost = task.cost(job, &scenario.outline.layers);
        let device = &scenario.devices[at];
        let samples = f64::from(scenario.outline.schedule.micro_batch_samples);
        let passes = cost.flops.iter().zip(device.flops_per_second);
        let computing: f64 = passes.map(|(flops, speed)| flops * samples / speed).sum();
        let numbers = cost.numbers * self.seconds_per_operation * device.update_seconds;
        let jitter = scenario.jitter_factor(&mut self.devices[at].draws);
        Duration::from_secs_f64((computing + numbers) * jitter)
    }

    fn done(&mut self, at: usize) {
        let Some((task, start)) = self.devices[at].running.take() else {
            return;
        };
        self.moved = self.now;
        self.trace.push(Span {
            peer: at as u32,
            activity: task.activity(),
            start,
            end: self.now,
            details: task.details(),
        });
        let device = &mut self.devices[at];
        if let Task::BackwardLayer {
            layer: LayerIndex(0),
            clock,
            ..
        } = task
        {
            device.did(clock, self.now);
        }
        let inputs: Vec<C::Numbers> = payloads(&task)
            .iter()
            .map(|payload| device.payloads[payload].clone())
            .collect();
        let made = match self.compute.work(at, &task, inputs) {
            Ok(made) => made,
            Err(reason) => {
                self.aborted = Some(format!("device {at}: {reason}"));
                return;
            }
        };
        let outcome = match made {
            TeamMade::Done => Outcome::Done,
            TeamMade::Sums(sums) => Outcome::Sums(sums),
            TeamMade::Gradients(all) => {
                let kept = all.into_iter().map(|numbers| device.keep(numbers));
                Outcome::Gradients(kept.collect())
            }
            TeamMade::Numbers(numbers) => Outcome::Numbers(device.keep(numbers)),
            TeamMade::Copied(slots) => {
                let kept = slots.into_iter().map(|numbers| device.keep(numbers));
                Outcome::Copied(kept.collect())
            }
        };
        self.input(at, Input::Completed { outcome });
        if self.devices[at].seat.as_ref().is_some_and(|seat| seat.ends) {
            self.stand_up(at);
            self.tell_holding(at);
        }
    }
}

/// Members are as many as devices, so that both fit.
fn index(place: usize) -> MemberIndex {
    MemberIndex(place as u16)
}

fn place(index: MemberIndex) -> usize {
    usize::from(index.0)
}
