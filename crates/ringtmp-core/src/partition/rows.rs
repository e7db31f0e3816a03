//! The table of the recurrence, a row at a time.

use super::problem::{Device, Problem};
use crate::plan::LayerCost;
use crate::schedule::StageCost;

/// Seconds closer to each other than this share are equal: sums in another order differ by as much.
pub(super) const ROUNDING: f64 = 1e-9;

/// What is wanted of an arrangement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Aim {
    /// The fewest seconds, among those below a limit.
    Fastest(f64),
    /// The most peers within so many seconds.
    MostPeers(f64),
    /// The least use of the shared medium within so many seconds.
    LeastAir(f64),
    /// The shortest way to the tail and back within so many seconds: short of memory it is what the credits suffice for.
    ShortestTrip(f64),
}

impl Aim {
    fn seconds_max(self) -> f64 {
        match self {
            Self::Fastest(seconds)
            | Self::MostPeers(seconds)
            | Self::LeastAir(seconds)
            | Self::ShortestTrip(seconds) => seconds,
        }
    }
}

/// What the stages from some layer to the last come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct State {
    /// Bytes that their peers lack, in all.
    pub lacking_bytes: u64,
    /// The seconds per micro-batch that they allow.
    pub seconds: f64,
    /// The most that one of them, or a link between them, has to do, in seconds per micro-batch.
    pub busy: f64,
    /// The most layers of one of them.
    layers: usize,
    /// F and B of all of them, and the hops between them, both ways.
    round_trip: f64,
    /// The credit that the stage before them can have at most, for what queues at the first of them.
    credit_before: f64,
    /// Seconds per micro-batch that they take up of the shared medium.
    pub air: f64,
    /// How many they are.
    pub peers: usize,
    /// Where the first of them ends.
    end: usize,
    /// The row of the next one.
    next: Option<usize>,
}

impl State {
    /// Behind the last layer.
    const NOTHING: Self = Self {
        lacking_bytes: 0,
        seconds: 0.0,
        busy: 0.0,
        layers: 0,
        round_trip: 0.0,
        credit_before: f64::INFINITY,
        air: 0.0,
        peers: 0,
        end: 0,
        next: None,
    };

    /// Whether it is rather what is wanted than `other`.
    pub(super) fn beats(&self, other: &Self, aim: Aim) -> bool {
        if self.lacking_bytes != other.lacking_bytes {
            return self.lacking_bytes < other.lacking_bytes;
        }
        let wanted = match aim {
            Aim::Fastest(_) => None,
            Aim::MostPeers(_) => Some((other.peers as f64, self.peers as f64)),
            Aim::LeastAir(_) => Some((self.air, other.air)),
            Aim::ShortestTrip(_) => Some((self.round_trip, other.round_trip)),
        };
        let least = [(self.seconds, other.seconds), (self.busy, other.busy)];
        for (own, others) in wanted.into_iter().chain(least) {
            if (own - others).abs() > ROUNDING * own.abs().max(others.abs()) {
                return own < others;
            }
        }
        self.layers < other.layers
    }
}

/// Of one peer as the first of some stages, the best state for each layer it might begin with.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub device: usize,
    pub states: Vec<Option<State>>,
}

/// The shards of some peers: device and layers, head first.
pub(super) type Shards = Vec<(usize, std::ops::Range<usize>)>;

/// Follows the states from the first layer on.
pub(super) fn shards(rows: &[Row], head: usize) -> Shards {
    let mut shards = Vec::new();
    let (mut row, mut from) = (Some(head), 0);
    while let Some((device, state)) =
        row.and_then(|row| Some((rows[row].device, rows[row].states[from]?)))
    {
        shards.push((device, from..state.end));
        (row, from) = (state.next, state.end);
    }
    shards
}

/// Sums over the first layers, so that those of any shard are a difference.
struct Sums {
    /// By device: F, B and W of a micro-batch, and F and B alone.
    work: Vec<Vec<[f64; 2]>>,
    parameters: Vec<u64>,
    stash_bytes: Vec<u64>,
    input_bytes: Vec<u64>,
    sent_bytes: Vec<u64>,
}

/// Makes rows.
pub(super) struct Table<'a> {
    problem: &'a Problem,
    sums: Sums,
    /// What the busiest stage or link is taken to have to do: credits are reckoned with it.
    pub pace: f64,
    /// Whether credits that memory clamps count.
    pub clamps: bool,
    /// Shards weighed so far.
    pub evaluations: u64,
}

impl<'a> Table<'a> {
    pub(super) fn new(problem: &'a Problem) -> Self {
        let samples = f64::from(problem.schedule.micro_batch_samples);
        let work = |device: &Device| {
            let add = |sum: &mut [f64; 2], layer: &[f64; 3]| {
                sum[0] += samples * layer.iter().sum::<f64>();
                sum[1] += samples * (layer[0] + layer[1]);
                Some(*sum)
            };
            let sums = device.layer_seconds.iter().scan([0.0; 2], add);
            std::iter::once([0.0; 2]).chain(sums).collect()
        };
        let running = |of: &dyn Fn(&LayerCost) -> u64| {
            let add = |sum: &mut u64, layer| {
                *sum = sum.saturating_add(of(layer));
                Some(*sum)
            };
            let sums = problem.layers.iter().scan(0, add);
            std::iter::once(0).chain(sums).collect()
        };
        let samples = u64::from(problem.schedule.micro_batch_samples);
        let boundaries = || 0..=problem.layers.len();
        let sums = Sums {
            work: problem.devices.iter().map(work).collect(),
            parameters: running(&|layer| layer.parameters),
            stash_bytes: running(&|layer| layer.stash_bytes.saturating_mul(samples)),
            input_bytes: boundaries()
                .map(|boundary| problem.input_bytes(boundary))
                .collect(),
            sent_bytes: boundaries()
                .map(|boundary| problem.sent_bytes(boundary))
                .collect(),
        };
        // No ring is faster than all its peers together.
        let speed: f64 = sums
            .work
            .iter()
            .filter_map(|of: &Vec<[f64; 2]>| of.last())
            .map(|all| 1.0 / all[0])
            .sum();
        Self {
            problem,
            sums,
            pace: 1.0 / speed,
            clamps: true,
            evaluations: 0,
        }
    }

    pub(super) fn layers(&self) -> usize {
        self.problem.layers.len()
    }

    /// F, B and W of all layers on a device.
    pub(super) fn work_of_all(&self, device: usize) -> f64 {
        self.sums.work[device][self.layers()][0]
    }

    /// The least that any arrangement can come to: all devices together, and the costliest layer on the fastest.
    pub(super) fn seconds_min(&self) -> f64 {
        let speed: f64 = (0..self.sums.work.len())
            .map(|device| 1.0 / self.work_of_all(device))
            .sum();
        let layer = |layer: usize| {
            let on = |work: &Vec<[f64; 2]>| work[layer + 1][0] - work[layer][0];
            self.sums.work.iter().map(on).fold(f64::INFINITY, f64::min)
        };
        (0..self.layers()).map(layer).fold(1.0 / speed, f64::max)
    }

    /// The row of a device with one of `successors` (rows that are there already) behind it, or nobody where it may be the
    /// tail.
    pub(super) fn row(
        &mut self,
        device: usize,
        rows: &[Row],
        successors: &[usize],
        may_be_tail: bool,
        aim: Aim,
    ) -> Row {
        let n = self.layers();
        let mut behind = self.behind(device, rows, successors, aim);
        behind[n] = may_be_tail.then_some(State::NOTHING);
        let states = (0..n).map(|from| self.best(device, from, &behind, aim));
        Row {
            device,
            states: states.collect(),
        }
    }

    /// For each boundary the best of what may come behind it, with the hop there.
    fn behind(
        &mut self,
        device: usize,
        rows: &[Row],
        successors: &[usize],
        aim: Aim,
    ) -> Vec<Option<State>> {
        let mut behind: Vec<Option<State>> = vec![None; self.layers() + 1];
        for index in successors {
            let row = &rows[*index];
            let hop = self.problem.hops.get(device, row.device);
            for (boundary, state) in row.states.iter().enumerate().skip(1) {
                let Some(state) = state else { continue };
                self.evaluations += 1;
                let transfer = hop.transfer_seconds(self.sums.sent_bytes[boundary]);
                let joined = State {
                    seconds: state.seconds.max(transfer),
                    busy: state.busy.max(transfer),
                    round_trip: state.round_trip + 2.0 * (hop.delay_seconds + transfer),
                    air: state.air + self.problem.air_seconds(boundary, device, row.device),
                    next: Some(*index),
                    ..*state
                };
                if joined.seconds <= aim.seconds_max()
                    && behind[boundary].is_none_or(|best| joined.beats(&best, aim))
                {
                    behind[boundary] = Some(joined);
                }
            }
        }
        behind
    }

    fn best(
        &mut self,
        device: usize,
        from: usize,
        behind: &[Option<State>],
        aim: Aim,
    ) -> Option<State> {
        let mut best: Option<State> = None;
        for (end, state) in behind.iter().enumerate().skip(from + 1) {
            // More layers only mean more work.
            let so_far =
                best.filter(|best| best.lacking_bytes == 0 && matches!(aim, Aim::Fastest(_)));
            let seconds_max = so_far.map_or(f64::INFINITY, |best| best.seconds);
            let seconds_max = seconds_max.min(aim.seconds_max()) * (1.0 + ROUNDING);
            if self.work(device, from, end) > seconds_max {
                break;
            }
            let Some(state) = state.filter(|state| state.seconds <= seconds_max) else {
                continue;
            };
            self.evaluations += 1;
            let candidate = self.extended(device, from, end, &state);
            if candidate.seconds <= aim.seconds_max() * (1.0 + ROUNDING)
                && best.is_none_or(|best| candidate.beats(&best, aim))
            {
                best = Some(candidate);
            }
        }
        best
    }

    fn work(&self, device: usize, from: usize, end: usize) -> f64 {
        self.sums.work[device][end][0] - self.sums.work[device][from][0]
    }

    /// The layers `from..end` on a device, before what is behind them.
    fn extended(&self, device: usize, from: usize, end: usize, behind: &State) -> State {
        let sums = &self.sums;
        let work = self.work(device, from, end);
        let own = sums.work[device][end][1] - sums.work[device][from][1];
        let round_trip = own + behind.round_trip;
        let stage = StageCost {
            seconds: [own, 0.0, work - own],
            hop_seconds: 0.0,
            transfer_seconds: 0.0,
            parameters: sums.parameters[end] - sums.parameters[from],
            stash_bytes: sums.stash_bytes[end] - sums.stash_bytes[from],
            input_bytes: sums.input_bytes[from],
            memory_bytes_max: self.problem.devices[device].memory_bytes,
        };
        let (spec, micro_batches) = (&self.problem.schedule, self.problem.micro_batches);
        let later = behind.peers + 1;
        let lacking_bytes = stage.lacking_bytes(spec, micro_batches, later);
        // The stage before has at most a bound's worth of F and B to add.
        let trips = [round_trip, round_trip + self.pace];
        let trips = trips.map(|seconds| spec.credit_factor * seconds / self.pace);
        let [own_credit, credit_before] = stage.credits_about(trips, later, spec, micro_batches);
        // The tail sends nothing ahead.
        let credit = if self.clamps && behind.peers > 0 {
            own_credit.min(behind.credit_before)
        } else {
            f64::INFINITY
        };
        State {
            lacking_bytes: behind.lacking_bytes.saturating_add(lacking_bytes),
            seconds: behind.seconds.max(work).max(round_trip / credit),
            busy: behind.busy.max(work),
            layers: behind.layers.max(end - from),
            round_trip,
            credit_before,
            air: behind.air,
            peers: behind.peers + 1,
            end,
            next: behind.next,
        }
    }
}
