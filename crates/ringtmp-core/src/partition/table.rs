//! The table of the recurrence, a row at a time: of each peer, for each layer it might begin with, the best way to the last layer
//! within so many seconds per micro-batch.

use super::problem::Problem;
use super::states::{Aim, ROUNDING, Row, State, Want, put_costs};
use super::sums::Sums;
use crate::codec::TensorCodec;
use crate::replica::VERSIONS_HELD;
use crate::schedule::{CREDIT_MAX, Limits, Mode, StageCost, least_limits};
use std::ops::Range;

/// Limits of a stage, as the table reckons with them.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// Bytes for each number that is learnt.
    number_bytes: f64,
    slots: f64,
    credit: f64,
}

/// What may come behind each boundary, with the hop there.
#[derive(Default)]
struct Behind {
    states: Vec<Option<State>>,
    /// Their [`State::cost`], infinite where there is none: all that is read of most.
    costs: Vec<f64>,
    /// Whose cost is above this is none of the best; by boundary.
    costs_max: Vec<f64>,
    /// Nothing is behind boundaries before this one.
    first: usize,
}

impl Behind {
    fn clear(&mut self, boundaries: usize) {
        self.states.clear();
        self.states.resize(boundaries, None);
        self.costs_max.clear();
        self.costs_max.resize(boundaries, f64::INFINITY);
    }
}

/// As many shards as a row costs by itself, beside some for each of its layers.
const ROW_EVALUATIONS: u64 = 64;

/// Makes rows.
pub(super) struct Table<'a> {
    problem: &'a Problem,
    sums: Sums,
    /// By credit, from 0: the least limits with so much; by whether memory is known.
    held: [Vec<Option<Held>>; 2],
    /// By device and layer to begin with: where its shard ends at the latest for want of memory.
    holds_up_to: Vec<Vec<usize>>,
    /// The same for want of memory or seconds.
    reach: Vec<Vec<usize>>,
    want: Want,
    /// Rows that nobody needs any more, for their memory: to get it anew for each takes as long as to fill it.
    pool: Vec<Row>,
    /// The same for what is behind a row.
    behind: Behind,
    /// Shards weighed so far.
    pub evaluations: u64,
}

impl<'a> Table<'a> {
    /// A table for a problem whose tensors are all written in one codec.
    pub(super) fn new(problem: &'a Problem, codec: TensorCodec) -> Self {
        let held = [false, true].map(|memory_is_known| {
            let credits = 0..=CREDIT_MAX;
            let least = |credit| {
                let (spec, micro_batches) = (&problem.schedule, problem.micro_batches);
                least_limits(spec, micro_batches, credit, memory_is_known)
                    .map(|limits| Held::of(problem, limits))
            };
            credits.map(least).collect()
        });
        let mut table = Self {
            problem,
            sums: Sums::of(problem, codec),
            held,
            holds_up_to: Vec::new(),
            reach: Vec::new(),
            want: Want {
                aim: Aim::Fastest,
                seconds: f64::INFINITY,
                credits: false,
            },
            pool: Vec::new(),
            behind: Behind::default(),
            evaluations: 0,
        };
        let devices = 0..problem.devices.len();
        table.holds_up_to = devices.map(|device| table.held_by(device)).collect();
        table
    }

    pub(super) fn layers(&self) -> usize {
        self.problem.layers.len()
    }

    /// F, B and W of all layers on a device.
    pub(super) fn work_of_all(&self, device: usize) -> f64 {
        self.work(device, 0, self.layers())
    }

    /// F, B and W of some layers on a device.
    pub(super) fn work(&self, device: usize, from: usize, end: usize) -> f64 {
        let sums = &self.sums.work[device];
        (sums[end][0] - sums[from][0]).max(0.0)
    }

    /// F and B of some layers on a device.
    pub(super) fn own_trip(&self, device: usize, from: usize, end: usize) -> f64 {
        let sums = &self.sums.work[device];
        (sums[end][1] - sums[from][1]).max(0.0)
    }

    /// How long a link is taken up by a micro-batch at a boundary, and what it adds to a round trip.
    pub(super) fn hop(&self, from: usize, to: usize, boundary: usize) -> [f64; 2] {
        let hop = self.problem.hops.get(from, to);
        let transfer = hop.transfer_seconds(self.sums.sent_bytes[boundary]);
        [transfer, 2.0 * (hop.delay_seconds + transfer)]
    }

    /// Where a shard that begins at a layer ends at the latest, within what was wanted last.
    pub(super) fn reach(&self, device: usize, from: usize) -> usize {
        self.reach[device][from]
    }

    /// The least that any arrangement can come to: all devices together, and the costliest layer on the fastest.
    pub(super) fn seconds_min(&self) -> f64 {
        let devices = || 0..self.sums.work.len();
        let speed: f64 = devices().map(|device| 1.0 / self.work_of_all(device)).sum();
        let layer = |layer: usize| {
            let on = |device| self.work(device, layer, layer + 1);
            devices().map(on).fold(f64::INFINITY, f64::min)
        };
        (0..self.layers()).map(layer).fold(1.0 / speed, f64::max)
    }

    /// More than any arrangement comes to that fits.
    pub(super) fn seconds_max(&self) -> f64 {
        let devices = 0..self.sums.work.len();
        let work: f64 = devices.clone().map(|device| self.work_of_all(device)).sum();
        let largest = self.sums.sent_bytes.iter().copied().max().unwrap_or(0);
        let hops = self.problem.hops.known();
        let slowest = hops
            .map(|hop| hop.delay_seconds + hop.transfer_seconds(largest))
            .fold(0.0, f64::max);
        let rate = self.problem.medium_bytes_per_second;
        let air = rate.map_or(0.0, |rate| 4.0 * largest as f64 / rate);
        2.0 * (work + devices.len() as f64 * (slowest + air))
    }

    /// Begins to look for something else: rows that were made before are of no use any more.
    pub(super) fn want(&mut self, want: Want) {
        let limits = |want: Want| (want.seconds, want.aim == Aim::LeastLacking);
        let as_before = limits(want) == limits(self.want) && !self.reach.is_empty();
        self.want = want;
        if !as_before {
            let devices = 0..self.problem.devices.len();
            self.reach = devices.map(|device| self.reach_of(device)).collect();
            self.evaluations += (self.reach.len() * self.layers()) as u64;
        }
    }

    fn reach_of(&self, device: usize) -> Vec<usize> {
        let n = self.layers();
        if self.want.aim == Aim::LeastLacking {
            return vec![n; n];
        }
        let seconds_max = self.want.seconds * (1.0 + ROUNDING);
        let within = |from, end| self.work(device, from, end) <= seconds_max;
        let in_time = ends(n, within);
        let both = in_time.zip(&self.holds_up_to[device]);
        both.map(|(in_time, held)| in_time.min(*held)).collect()
    }

    /// Where a shard ends at the latest for which a device has the memory, by the layer it begins with.
    fn held_by(&self, device: usize) -> Vec<usize> {
        let holds = |from, end| self.lacking(device, from..end, 1, 0.0) == 0.0;
        ends(self.layers(), holds).collect()
    }

    /// The farthest layer that a device can begin with which comes after others that get as far as `from`.
    pub(super) fn farthest(&self, device: usize, from: usize) -> usize {
        self.reach[device].get(from).map_or(from, |end| *end)
    }

    /// The row of a device, for what it might begin with up to `last`. It has one of `successors` (rows that are there already)
    /// behind it, or nobody where it may be the tail.
    pub(super) fn row(
        &mut self,
        device: usize,
        rows: &[Row],
        successors: impl Iterator<Item = usize>,
        may_be_tail: bool,
        last: usize,
    ) -> Row {
        let n = self.layers();
        let ends_max = self.reach[device][..=last.min(n - 1)].iter().copied().max();
        let mut row = self.pool.pop().unwrap_or_default();
        let mut behind = std::mem::take(&mut self.behind);
        behind.clear(n + 1);
        self.look_behind(device, rows, successors, ends_max.unwrap_or(0), &mut behind);
        behind.states[n] = may_be_tail.then_some(State::NOTHING);
        let aim = self.want.aim;
        let states = &behind.states;
        behind.first = states.iter().position(Option::is_some).unwrap_or(n);
        put_costs(states, aim, &mut behind.costs);
        row.device = device;
        row.states.clear();
        let starts = 0..=last.min(n - 1);
        row.states
            .extend(starts.map(|from| self.best(device, from, &behind)));
        row.states.resize(n, None);
        put_costs(&row.states, aim, &mut row.costs);
        self.behind = behind;
        self.evaluations += ROW_EVALUATIONS + 4 * n as u64;
        row
    }

    /// Takes rows back that nobody needs any more.
    pub(super) fn recycle(&mut self, rows: Vec<Row>) {
        self.pool.extend(rows);
    }

    /// For each boundary up to `last` the best of what may come behind it, with the hop there.
    fn look_behind(
        &mut self,
        device: usize,
        rows: &[Row],
        successors: impl Iterator<Item = usize>,
        last: usize,
        behind: &mut Behind,
    ) {
        let Want { aim, seconds, .. } = self.want;
        let (behind, costs_max) = (&mut behind.states, &mut behind.costs_max);
        for index in successors {
            let row = &rows[index];
            let hop = self.problem.hops.get(device, row.device);
            let air = self.problem.air_per_byte(device, row.device);
            let costs = row.costs.iter().zip(costs_max.iter_mut()).enumerate();
            for (boundary, (cost, cost_max)) in costs.take(last + 1).skip(1) {
                self.evaluations += u64::from(cost.is_finite());
                // With the hop it costs no less.
                if *cost > *cost_max {
                    continue;
                }
                let Some(state) = row.states[boundary] else {
                    continue;
                };
                let bytes = self.sums.sent_bytes[boundary];
                let transfer = hop.transfer_seconds(bytes);
                if transfer > seconds * (1.0 + ROUNDING) {
                    continue;
                }
                let joined = State {
                    seconds: state.seconds.max(transfer),
                    trip: state.trip + 2.0 * (hop.delay_seconds + transfer),
                    air: state.air + air * bytes as f64,
                    next: Some(index),
                    ..state
                };
                if behind[boundary].is_none_or(|best| joined.beats(&best, aim)) {
                    behind[boundary] = Some(joined);
                    *cost_max = joined.cost_max(aim);
                }
            }
        }
    }

    /// The best that a device can begin with at a layer.
    fn best(&mut self, device: usize, from: usize, behind: &Behind) -> Option<State> {
        let mut best: Option<State> = None;
        // Most ends are passed over by their first cost alone.
        let mut cost_max = f64::INFINITY;
        let aim = self.want.aim;
        let lacks = aim == Aim::LeastLacking;
        let mut ends = behind.first.max(from + 1)..self.reach[device][from] + 1;
        while !ends.is_empty() {
            let passed_over = self.passed_over(device, from, ends.clone(), behind, cost_max);
            let end = ends.start + passed_over;
            self.evaluations += (passed_over + 1).min(ends.len()) as u64;
            if !ends.contains(&end) {
                break;
            }
            ends.start = end + 1;
            let Some(state) = behind.states[end] else {
                continue;
            };
            let lacking = if lacks {
                self.lacking(device, from..end, state.peers + 1, 1.0)
            } else {
                0.0
            };
            // More layers only lack more.
            if best.is_some_and(|best| lacking > best.lacking) {
                break;
            }
            let work = self.work(device, from, end);
            let candidate = State {
                seconds: state.seconds.max(work),
                squares: state.squares + work * work,
                trip: state.trip + self.own_trip(device, from, end),
                lacking: state.lacking + lacking,
                peers: state.peers + 1,
                end,
                ..state
            };
            if best.is_none_or(|best| candidate.beats(&best, aim))
                && (lacks || self.holds(device, from, &candidate))
            {
                best = Some(candidate);
                cost_max = candidate.cost_max(aim);
                if aim == Aim::Fastest {
                    // More layers only take longer.
                    let in_time =
                        |sums: &[f64; 2]| sums[0] - self.sums.work[device][from][0] <= cost_max;
                    let sums = &self.sums.work[device][ends.clone()];
                    ends.end = ends.start + sums.partition_point(in_time);
                }
            }
        }
        best
    }

    /// How many of some ends cost more than `cost_max` before the first that does not, by the [`State::cost`] of the shard and what
    /// is behind it but for what lacks.
    fn passed_over(
        &self,
        device: usize,
        from: usize,
        ends: Range<usize>,
        behind: &Behind,
        cost_max: f64,
    ) -> usize {
        let sums = &self.sums.work[device][ends.clone()];
        let [work, trip] = self.sums.work[device][from];
        let mut costs = behind.costs[ends].iter().zip(sums);
        let first = match self.want.aim {
            Aim::Fastest => costs.position(|(cost, sums)| cost.max(sums[0] - work) <= cost_max),
            Aim::ShortestTrip => costs.position(|(cost, sums)| cost + (sums[1] - trip) <= cost_max),
            Aim::MostPeers => costs.position(|(cost, _)| cost - 1.0 <= cost_max),
            Aim::LeastAir => costs.position(|(cost, _)| *cost <= cost_max),
            Aim::LeastLacking => Some(0),
        };
        first.unwrap_or(sums.len())
    }

    /// Bytes that a device lacks for the least that works, with so many stages from it to the tail; `queue` is 0 to leave out what
    /// queues there.
    pub(super) fn lacking(
        &self,
        device: usize,
        layers: Range<usize>,
        later: usize,
        queue: f64,
    ) -> f64 {
        let Some(memory) = self.problem.devices[device].memory_bytes else {
            return 0.0;
        };
        let [least, before] = if self.is_static() {
            [later, later + 1].map(|later| self.held(true, later))
        } else {
            [self.held(true, 0); 2]
        };
        let (Some(least), Some(before)) = (least, before) else {
            return 0.0;
        };
        let queue = queue * before.credit;
        (self.bytes(layers, least, queue) - memory as f64).max(0.0)
    }

    fn bytes(&self, layers: Range<usize>, held: Held, queue: f64) -> f64 {
        let (sums, from, end) = (&self.sums, layers.start, layers.end);
        (sums.parameters[end] - sums.parameters[from]) * held.number_bytes
            + (sums.stash_bytes[end] - sums.stash_bytes[from]) * held.slots
            + sums.input_bytes[from] * queue
    }

    /// More credit than this a stage never gets on a device, for want of memory or of use.
    pub(super) fn credit_max(&self, device: usize, layers: Range<usize>) -> f64 {
        let flushes = self.problem.schedule.mode.flushes();
        let useful = if flushes {
            f64::from(self.problem.micro_batches.clamp(2, CREDIT_MAX))
        } else {
            f64::from(CREDIT_MAX)
        };
        let memory = self.problem.devices[device].memory_bytes;
        let (Some(memory), Some(least)) = (memory, self.held(true, 0)) else {
            return useful;
        };
        let one = |slots, number_bytes| Held {
            number_bytes,
            slots,
            credit: 0.0,
        };
        let spare = memory as f64 - self.bytes(layers.clone(), one(0.0, least.number_bytes), 0.0);
        let slots = (spare / self.bytes(layers, one(1.0, 0.0), 0.0)).floor();
        // What flows keeps a place for a W besides.
        let credit = if flushes { slots } else { slots - 1.0 };
        credit.clamp(least.credit, useful.max(least.credit))
    }

    fn is_static(&self) -> bool {
        self.problem.schedule.mode == Mode::OneForwardOneBackward
    }

    fn held(&self, memory_is_known: bool, credit: usize) -> Option<Held> {
        let held = &self.held[usize::from(memory_is_known)];
        held.get(credit).copied().flatten()
    }

    /// Whether a device has memory for a stage, with the credit that its way to the tail and back asks for.
    fn holds(&self, device: usize, from: usize, state: &State) -> bool {
        let memory = self.problem.devices[device].memory_bytes;
        let trips = if self.want.credits {
            state.trip / self.want.seconds
        } else {
            0.0
        };
        // The tail sends nothing ahead; who comes before has at most the seconds that are wanted to add.
        let own = if state.peers == 1 { 0.0 } else { trips };
        let [own, before] = if self.is_static() {
            if own > state.peers.min(usize::from(CREDIT_MAX)) as f64 * (1.0 + ROUNDING) {
                return false;
            }
            [state.peers, state.peers + 1].map(|peers| peers.min(usize::from(CREDIT_MAX)))
        } else {
            let before = if self.want.credits { trips + 1.0 } else { 0.0 };
            [whole(own), whole(before)]
        };
        let Some(own) = self.held(memory.is_some(), own) else {
            return false;
        };
        let before = self.held(memory.is_some(), before);
        let queue = match before {
            Some(before) if from > 0 => before.credit,
            Some(_) | None if from > 0 => f64::from(CREDIT_MAX),
            Some(_) | None => own.credit,
        };
        memory.is_none_or(|memory| self.bytes(from..state.end, own, queue) <= memory as f64)
    }
}

/// For each beginning the last end that is good, where shorter shards always are if longer ones are.
fn ends(layers: usize, good: impl Fn(usize, usize) -> bool) -> impl Iterator<Item = usize> {
    let mut end = 0;
    (0..layers).map(move |from| {
        end = end.max(from);
        while end < layers && good(from, end + 1) {
            end += 1;
        }
        end
    })
}

/// The least whole number that is not less, but for rounding; larger than any credit if it is no number.
fn whole(trips: f64) -> usize {
    if trips.is_nan() {
        return usize::MAX;
    }
    let least = trips * (1.0 - ROUNDING);
    // In place of `ceil`, which without further instructions is a call.
    let down = least as usize;
    down.saturating_add(usize::from((down as f64) < least))
}

impl Held {
    fn of(problem: &Problem, limits: Limits) -> Self {
        let copies = if problem.keeps_copies {
            VERSIONS_HELD
        } else {
            0
        };
        let of = |parameters, stash_bytes| StageCost {
            parameters,
            stash_bytes,
            copies,
            ..StageCost::default()
        };
        let bytes = |cost: StageCost| {
            let (spec, micro_batches) = (&problem.schedule, problem.micro_batches);
            cost.memory_bytes(limits, None, spec, micro_batches) as f64
        };
        Self {
            number_bytes: bytes(of(1, 0)),
            slots: bytes(of(0, 1)),
            credit: f64::from(limits.credit),
        }
    }
}
