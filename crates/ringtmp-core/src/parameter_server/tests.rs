//! Members among themselves, under random orders of events. Numbers are imitated by what is in them: which pushes.

mod losses;
mod refusals;

use super::*;
use crate::codec::CodecChoice;
use crate::ids::{LayerIndex, PayloadId, Step};
use crate::signal::Replication;
use crate::time::Time;
use crate::wire::{Codec, Lane, Purpose};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A push: whose, and of which step.
type Of = (u16, u32);

/// What is in the numbers of a range: pushes, in the order in which they were added up.
type Log = Vec<Of>;

#[derive(Clone, Debug, Default)]
struct Device {
    /// The worker's model, by range.
    model: Vec<Log>,
    /// The shard's weights and the sum since the last update, by range.
    weights: Vec<Log>,
    sum: Vec<Log>,
    /// Updates by range: the step that the schedule sees, and micro-batches.
    updates: Vec<Vec<(u32, u16)>>,
    payloads: BTreeMap<PayloadId, Log>,
    next_payload: u64,
    running: Option<Task>,
    finished: bool,
    /// By step: the forwards made.
    forwards: BTreeMap<(u32, u16), u32>,
    evaluated: BTreeSet<(u32, u16)>,
}

impl Device {
    fn keep(&mut self, log: Log) -> PayloadId {
        self.next_payload += 1;
        let id = PayloadId(self.next_payload);
        self.payloads.insert(id, log);
        id
    }
}

/// Of so many events one is that a link comes up, while there are others: now and then a worker is far before the last is there.
const LINK_TAKES: usize = 20;

/// Messages on their way, with what their numbers are.
type Channel = VecDeque<(Message, Option<Log>)>;

struct World {
    job: Arc<Job>,
    members: Vec<Member>,
    devices: Vec<Device>,
    /// By sender, receiver and lane.
    channels: BTreeMap<(u16, u16, Lane), Channel>,
    /// Ends of links that are not there yet: whose, and to whom.
    rising: BTreeSet<(u16, u16)>,
    events: Vec<(u16, Event)>,
    random: u64,
    now: Time,
}

impl World {
    fn new(job: &Job, seed: u64) -> Self {
        let job = Arc::new(job.clone());
        let ranges = job.layout.ranges.len();
        let device = Device {
            model: vec![Log::new(); ranges],
            weights: vec![Log::new(); ranges],
            sum: vec![Log::new(); ranges],
            updates: vec![Vec::new(); ranges],
            ..Device::default()
        };
        let members = (0..job.layout.members).map(MemberIndex);
        let devices = vec![device; usize::from(job.layout.members)];
        let members = members.map(|me| Member::new(job.clone(), me)).collect();
        Self::of(job, seed, members, devices)
    }

    fn of(job: Arc<Job>, seed: u64, members: Vec<Member>, devices: Vec<Device>) -> Self {
        let mut world = Self {
            members,
            devices,
            channels: BTreeMap::new(),
            rising: BTreeSet::new(),
            events: Vec::new(),
            random: seed,
            now: Time::ZERO,
            job: job.clone(),
        };
        let members = (0..job.layout.members).map(MemberIndex);
        for me in members {
            let links = job.layout.links(me).into_iter();
            world.rising.extend(links.map(|peer| (me.0, peer.0)));
            world.input(me.0, Input::Built);
        }
        world
    }

    /// All links are there from the start.
    fn linked(mut self) -> Self {
        for end in self.rising.clone() {
            self.rise(end);
        }
        self
    }

    fn draw(&mut self, below: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below as u64) as usize
    }

    fn input(&mut self, me: u16, input: Input) {
        self.now = self.now + std::time::Duration::from_micros(1);
        self.members[usize::from(me)].handle(self.now, input);
        while let Polled::Do(output) = self.members[usize::from(me)].poll_output() {
            self.output(me, output);
        }
    }

    fn output(&mut self, me: u16, output: Output) {
        let device = &mut self.devices[usize::from(me)];
        match output {
            Output::Send {
                to,
                message,
                payload,
            } => {
                let linked = self.job.layout.links(MemberIndex(me)).contains(&to);
                assert!(linked, "{me} has no link to {to:?}");
                assert!(
                    !self.rising.contains(&(me, to.0)),
                    "{me} sends {message:?} to {to:?} before their link is there"
                );
                let log = payload.map(|payload| device.payloads[&payload].clone());
                assert_eq!(log.is_some(), message.numbers().is_some());
                let channel = self.channels.entry((me, to.0, message.lane()));
                channel.or_default().push_back((message, log));
            }
            Output::Run(task) => {
                let busy = device.running.replace(task);
                assert_eq!(busy, None, "one task at a time");
            }
            Output::Discard(payload) => {
                let known = device.payloads.remove(&payload);
                assert!(known.is_some(), "{me} forgets {payload:?} twice");
            }
            Output::Event(event) => {
                device.finished |= event == Event::Finished;
                self.events.push((me, event));
            }
        }
    }

    /// Lets one thing happen, whichever; false if nothing can.
    fn step(&mut self) -> bool {
        // A link brings nothing before its own end is there.
        let brings = |(from, to, _): &(u16, u16, Lane)| !self.rising.contains(&(*to, *from));
        let waiting = self.channels.iter().filter(|(_, queue)| !queue.is_empty());
        let waiting = waiting.filter(|(key, _)| brings(key));
        let channels: Vec<_> = waiting.map(|(key, _)| *key).collect();
        let rising: Vec<(u16, u16)> = self.rising.iter().copied().collect();
        let busy = |me: &u16| self.devices[usize::from(*me)].running.is_some();
        let busy: Vec<u16> = (0..self.job.layout.members).filter(busy).collect();
        let happens = channels.len() + busy.len();
        if !rising.is_empty() && (happens == 0 || self.draw(LINK_TAKES) == 0) {
            let end = rising[self.draw(rising.len())];
            self.rise(end);
            return true;
        }
        if happens == 0 {
            return false;
        }
        let choice = self.draw(happens);
        match channels.get(choice) {
            Some(key) => self.deliver(*key),
            None => self.complete(busy[choice - channels.len()]),
        }
        true
    }

    fn rise(&mut self, (me, peer): (u16, u16)) {
        self.rising.remove(&(me, peer));
        let peer = MemberIndex(peer);
        self.input(me, Input::LinkUp { peer });
    }

    fn deliver(&mut self, key: (u16, u16, Lane)) {
        let (from, to, _) = key;
        let next = self.channels.get_mut(&key).and_then(VecDeque::pop_front);
        let Some((message, log)) = next else { return };
        let device = &mut self.devices[usize::from(to)];
        let payload = log.map(|log| device.keep(log));
        let from = MemberIndex(from);
        self.input(
            to,
            Input::Message {
                from,
                message,
                payload,
            },
        );
    }

    fn complete(&mut self, me: u16) {
        let task = self.devices[usize::from(me)].running.take();
        let outcome = self.carry_out(me, &task.expect("it is busy"));
        self.input(me, Input::Completed { outcome });
    }

    fn carry_out(&mut self, me: u16, task: &Task) -> Outcome {
        let job = self.job.clone();
        let worker = job.layout.worker_at(MemberIndex(me));
        let device = &mut self.devices[usize::from(me)];
        match task {
            Task::Load { weights, .. } => {
                for (range, payload) in weights {
                    device.model[range.0 as usize] = device.payloads[payload].clone();
                }
                Outcome::Done
            }
            Task::Evaluate { clock, sequence } => {
                assert!(device.evaluated.insert((clock.0, *sequence)), "once");
                Outcome::Sums(Sums::default())
            }
            Task::Forward { clock, sequence } => {
                *device.forwards.entry((clock.0, *sequence)).or_default() += 1;
                assert_fresh(&job, *clock, &device.model);
                Outcome::Sums(Sums {
                    labels: 1,
                    ..Sums::default()
                })
            }
            Task::Backward { .. } => Outcome::Done,
            Task::BackwardLayer { clock, layer, .. } => {
                let of = (worker.expect("a worker computes").0, clock.0);
                let ranges = job.layout.ranges_of(*layer);
                Outcome::Gradients(ranges.map(|_| device.keep(vec![of])).collect())
            }
            Task::Read { range } => {
                let weights = device.weights[range.0 as usize].clone();
                Outcome::Numbers(device.keep(weights))
            }
            Task::Copy { range, .. } => {
                let place = range.0 as usize;
                let updates = device.updates[place].iter();
                let updates = updates.map(|(step, micro_batches)| (*micro_batches, *step));
                let slots = [device.weights[place].clone(), updates.collect()];
                Outcome::Copied(slots.map(|slot| device.keep(slot)).to_vec())
            }
            Task::Merge { partial, own, .. } => {
                let both = [&device.payloads[partial][..], &device.payloads[own]].concat();
                Outcome::Numbers(device.keep(both))
            }
            Task::Count {
                range,
                gradient,
                update,
                ..
            } => {
                let place = range.0 as usize;
                let added = device.payloads[gradient].clone();
                device.sum[place].extend(added);
                let Some(update) = update else {
                    return Outcome::Done;
                };
                assert_eq!(update.updates as usize, device.updates[place].len());
                assert_eq!(update.labels, u64::from(update.micro_batches));
                device.updates[place].push((update.step.0, update.micro_batches));
                let sum = std::mem::take(&mut device.sum[place]);
                device.weights[place].extend(sum);
                let weights = device.weights[place].clone();
                Outcome::Numbers(device.keep(weights))
            }
        }
    }

    fn run(job: &Job, seed: u64) -> Self {
        let mut world = Self::new(job, seed);
        while world.step() {}
        let aborted = world
            .events
            .iter()
            .find(|(_, event)| matches!(event, Event::Aborted { .. } | Event::Refused { .. }));
        assert_eq!(aborted, None, "seed {seed}");
        world
    }
}

/// No worker computes with weights that miss more than the staleness allows.
fn assert_fresh(job: &Job, clock: Step, model: &[Log]) {
    let needs = job.needs(clock).0;
    for log in model {
        for worker in 0..job.layout.workers.len() as u16 {
            let missing = (0..needs).find(|clock| !log.contains(&(worker, *clock)));
            assert_eq!(missing, None, "at {clock:?}");
        }
    }
}

/// Often, so that steps wait for what is kept.
fn copies(layout: &Layout) -> Option<CopySpec> {
    CopySpec::new(Replication::Every(2), layout, Codec::F32, 1)
}

fn job(exchange: Exchange, placement: Placement, members: u16, staleness: Staleness) -> Job {
    // A layer that learns nothing, one that is cut between shards, and one that is cut into pieces.
    let parameters = [7, 0, 5, u64::from(RANGE_ELEMENTS_MAX) + 9];
    let wanted = Wanted {
        exchange,
        placement,
        shards: 2,
        members,
        parameters: &parameters,
        micro_batches: 7,
        speeds: &[],
    };
    let layout = Layout::new(&wanted).expect("sound");
    Job {
        run: RunDigest([3; 32]),
        copies: copies(&layout),
        layout,
        staleness,
        steps: 5,
        layers: parameters.len() as u16,
        codecs: Codecs::of(CodecChoice::F32),
        evaluate_every: 2,
        evaluation_micro_batches: 3,
    }
}

/// Every way in which a run can be put together.
fn jobs() -> Vec<Job> {
    let taus = [0, 1, 2, 4].map(Staleness::Steps);
    let mut jobs = vec![
        job(Exchange::AllReduce, Placement::Single, 1, taus[0]),
        job(Exchange::AllReduce, Placement::Single, 2, taus[0]),
        job(Exchange::AllReduce, Placement::Single, 4, taus[0]),
    ];
    for placement in Placement::ALL {
        for members in [3, 5] {
            let staleness = taus.into_iter().chain([Staleness::Infinite]);
            jobs.extend(staleness.map(|tau| job(Exchange::Server, placement, members, tau)));
        }
    }
    jobs
}

const SEEDS: u64 = 25;

#[test]
fn under_any_order_of_events_each_push_counts_once_and_nothing_is_left() {
    for job in jobs() {
        for seed in 0..SEEDS {
            let world = World::run(&job, seed);
            let workers = job.layout.workers.len() as u16;
            let all: BTreeSet<Of> = (0..workers)
                .flat_map(|worker| (0..job.steps).map(move |clock| (worker, clock)))
                .collect();
            for (index, spec) in job.layout.ranges.iter().enumerate() {
                let home = job.layout.shards[usize::from(spec.shard.0)];
                let log = &world.devices[usize::from(home.0)].weights[index];
                assert_eq!(log.len(), all.len(), "seed {seed}: {job:?}");
                assert_eq!(log.iter().copied().collect::<BTreeSet<_>>(), all);
                for worker in &job.layout.workers {
                    let model = &world.devices[usize::from(worker.0)].model[index];
                    assert_eq!(model, log, "all end with the same weights; seed {seed}");
                }
            }
            for (me, device) in world.devices.iter().enumerate() {
                assert!(device.finished, "{me} of {job:?}, seed {seed}");
                let kept = world.members[me].payloads_kept();
                assert_eq!(device.payloads.len(), kept, "{me} keeps more");
            }
        }
    }
}

#[test]
fn every_micro_batch_is_computed_once_and_every_score_arrives() {
    for job in jobs() {
        let world = World::run(&job, 1);
        let (mut forwards, mut evaluations) = (BTreeMap::new(), Vec::<(u32, u16)>::new());
        for device in &world.devices {
            for (of, times) in &device.forwards {
                *forwards.entry(*of).or_insert(0) += times;
            }
            evaluations.extend(&device.evaluated);
        }
        let expected = (0..job.steps).flat_map(|clock| (0..7).map(move |of| ((clock, of), 1)));
        assert!(forwards.into_iter().eq(expected), "{job:?}");
        evaluations.sort_unstable();
        let due = [2, 4, 5]
            .into_iter()
            .flat_map(|clock| (0..3).map(move |of| (clock, of)));
        assert!(evaluations.into_iter().eq(due), "{job:?}");
        let scores = world.events.iter().filter_map(|(me, event)| match event {
            Event::Score(score) => {
                assert_eq!(MemberIndex(*me), job.layout.collector());
                Some((score.purpose, score.clock.0, score.worker.0))
            }
            _ => None,
        });
        let scores: BTreeSet<_> = scores.collect();
        assert_eq!(scores.len(), 8 * job.layout.workers.len());
        assert!(scores.contains(&(Purpose::Evaluate, 5, 0)));
    }
}

#[test]
fn without_staleness_gradients_are_added_in_one_order_whatever_happens() {
    let order = |job: &Job, seed| {
        let world = World::run(job, seed);
        let home = |range: usize| job.layout.home(RangeIndex(range as u32));
        let log = |range: usize| world.devices[usize::from(home(range).0)].weights[range].clone();
        (0..job.layout.ranges.len()).map(log).collect::<Vec<_>>()
    };
    for job in jobs().iter().filter(|job| job.staleness.is_synchronous()) {
        let first = order(job, 0);
        for seed in 1..SEEDS {
            assert_eq!(order(job, seed), first, "seed {seed}");
        }
        let workers = job.layout.workers.len() as u16;
        for (index, log) in first.iter().enumerate() {
            // At a server in their order; round a ring from the one after the home to the home.
            let begins = match job.layout.exchange {
                Exchange::Server => 0,
                Exchange::AllReduce => job.layout.home(RangeIndex(index as u32)).0 + 1,
            };
            let expected = (0..job.steps).flat_map(|clock| {
                (0..workers).map(move |place| ((begins + place) % workers, clock))
            });
            assert!(log.iter().copied().eq(expected), "{log:?}");
        }
    }
}

#[test]
fn updates_are_scheduled_by_whole_batches_and_know_their_part() {
    let updates = |staleness| {
        let job = job(Exchange::Server, Placement::Single, 4, staleness);
        let world = World::run(&job, 3);
        let server = job.layout.shards[0];
        world.devices[usize::from(server.0)].updates[0].clone()
    };
    let whole: Vec<(u32, u16)> = (0..5).map(|step| (step, 7)).collect();
    assert_eq!(updates(Staleness::Steps(0)), whole);
    for staleness in [Staleness::Steps(2), Staleness::Infinite] {
        let parts = updates(staleness);
        assert_eq!(parts.len(), 15, "one for each push");
        let steps = parts.iter().map(|(step, _)| *step);
        assert!(steps.eq((0..15).map(|update| update / 3)));
        let seen: u16 = parts.iter().map(|(_, micro_batches)| micro_batches).sum();
        assert_eq!(seen, 5 * 7);
    }
}

#[test]
fn a_layers_gradients_are_on_their_way_while_the_layers_before_it_go_backward() {
    let job = job(Exchange::Server, Placement::Single, 3, Staleness::Steps(0));
    let mut world = World::new(&job, 1).linked();
    let pushed = |world: &World| {
        let sent = world.channels.get(&(0, 2, Lane::Tensors));
        sent.map_or(0, VecDeque::len)
    };
    // Greetings first; then worker 0 alone, whose pushes stay where they are.
    while let Some(key) = world.channels.iter().find(|(_, queue)| !queue.is_empty()) {
        let key = *key.0;
        world.deliver(key);
    }
    let mut seen = Vec::new();
    while let Some(task) = world.devices[0].running.clone() {
        if let Task::BackwardLayer { layer, .. } = task {
            seen.push((layer, pushed(&world)));
        }
        world.complete(0);
    }
    // Two pieces of layer 3, one of layer 2, none of layer 1, one of layer 0.
    let layers = [3, 2, 1, 0].map(LayerIndex);
    assert!(seen.into_iter().eq(layers.into_iter().zip([0, 2, 3, 3])));
    assert_eq!(pushed(&world), 4);
    assert!(world.members[0].is_waiting());
}

#[test]
fn a_staleness_reads_back_as_it_is_written() {
    for (text, staleness) in [
        ("0", Staleness::Steps(0)),
        ("16", Staleness::Steps(16)),
        ("\"infinite\"", Staleness::Infinite),
    ] {
        assert_eq!(
            serde_json::from_str::<Staleness>(text).expect("sound"),
            staleness
        );
        assert_eq!(serde_json::to_string(&staleness).expect("sound"), text);
        assert_eq!(staleness.to_string().parse(), Ok(staleness));
    }
    assert!(serde_json::from_str::<Staleness>("\"never\"").is_err());
    assert!("-1".parse::<Staleness>().is_err());
}
