//! Which peers in which order: the spaces that the table is solved over.

use super::SKIP_GAIN;
use super::problem::Problem;
use super::rows::{Aim, Row, Shards, State, Table, shards};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The most peers of which every order is searched: the table has a row for each peer before each set of others.
pub(super) const SUBSET_PEERS_MAX: usize = 8;

/// The most layers with which every order is searched: keeps the table of 1,024 rows within 15 MB.
const SUBSET_LAYERS_MAX: usize = 128;

/// Shards that may be weighed before the search for better orders ends: a tenth of a second on a slow server.
pub(super) const EVALUATIONS_MAX: u64 = 3_000_000;

/// Credits depend on the arrangement that is sought: that of the first round is what the second reckons with.
const ROUNDS: usize = 2;

/// Halvings in the search for the bound that air time or credits allow: to a five-hundredth of what there is to gain.
const HALVINGS: usize = 9;

/// Where to look for arrangements.
#[derive(Clone, Debug, PartialEq)]
enum Space {
    /// All orders of all sets of peers.
    Sets,
    /// One order, some of them left out.
    Order(Vec<usize>),
}

/// The best of a space.
struct Solution {
    state: State,
    shards: Shards,
}

/// Looks for arrangements.
pub(super) struct Search<'a> {
    problem: &'a Problem,
    table: Table<'a>,
    seconds_unclamped: f64,
}

impl<'a> Search<'a> {
    pub(super) fn new(problem: &'a Problem) -> Self {
        Self {
            problem,
            table: Table::new(problem),
            seconds_unclamped: 0.0,
        }
    }

    pub(super) fn evaluations(&self) -> u64 {
        self.table.evaluations
    }

    /// What the fastest candidate would come to, were every credit as high as is of use.
    pub(super) fn seconds_unclamped(&self) -> f64 {
        self.seconds_unclamped
    }

    /// Arrangements worth assessing, the best of them among them; at least one, which lacks memory if all do.
    pub(super) fn candidates(&mut self) -> Vec<Shards> {
        let peers = self.problem.devices.len();
        let all = peers <= SUBSET_PEERS_MAX && self.table.layers() <= SUBSET_LAYERS_MAX;
        let joined = Space::Order((0..peers).collect());
        let mut candidates = Vec::new();
        for _ in 0..ROUNDS {
            let first = self.solve(&joined, Aim::Fastest(f64::INFINITY));
            let space = if all {
                Space::Sets
            } else {
                self.best_order(&first)
            };
            let (found, busy) = self.of_space(&space, first);
            candidates.extend(found);
            match busy {
                Some(busy) => self.table.pace = busy,
                None => break,
            }
        }
        candidates
    }

    /// The fastest arrangement of a space, that with the most peers among those nearly as fast, and that which gets by with the
    /// air time there is; and what the busiest of the fastest has to do, if there is one that fits. `known` is one that there is at least.
    fn of_space(&mut self, space: &Space, known: Option<Solution>) -> (Vec<Shards>, Option<f64>) {
        let fits = known
            .as_ref()
            .filter(|known| known.state.lacking_bytes == 0);
        let limit = fits.map_or(f64::INFINITY, |known| known.state.seconds);
        let Some(fastest) = self.solve(space, Aim::Fastest(limit)).or(known) else {
            return (Vec::new(), None);
        };
        let State {
            seconds,
            busy,
            air,
            lacking_bytes,
            ..
        } = fastest.state;
        let mut found = vec![fastest.shards];
        if lacking_bytes > 0 {
            return (found, None);
        }
        let close = self.solve(space, Aim::MostPeers(seconds * (1.0 + SKIP_GAIN)));
        found.extend(close.map(|solution| solution.shards));
        if air > seconds {
            let fits = |state: &State, seconds| state.air <= seconds;
            found.extend(self.halved(space, [seconds, air], Aim::LeastAir, fits));
        }
        // A state keeps the fastest way on, which need not be the shortest: where credits are short, that matters.
        self.table.clamps = false;
        let without = self.solve(space, Aim::Fastest(seconds));
        self.table.clamps = true;
        if let Some(without) = without {
            self.seconds_unclamped = without.state.seconds;
            found.push(without.shards);
        }
        if seconds > self.seconds_unclamped * (1.0 + SKIP_GAIN) {
            let between = [self.seconds_unclamped, seconds];
            found.extend(self.halved(space, between, Aim::ShortestTrip, |_, _| true));
        }
        (found, Some(busy))
    }

    /// The arrangements that an aim leads to within fewer and fewer seconds, by halving what is between two bounds.
    fn halved(
        &mut self,
        space: &Space,
        [mut low, mut high]: [f64; 2],
        aim: fn(f64) -> Aim,
        fits: fn(&State, f64) -> bool,
    ) -> Vec<Shards> {
        let mut found = Vec::new();
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            let solution = self.solve(space, aim(middle));
            let fits = |state: &State| state.lacking_bytes == 0 && fits(state, middle);
            match solution.filter(|solution| fits(&solution.state)) {
                Some(solution) => {
                    high = middle;
                    found.push(solution.shards);
                }
                None => low = middle,
            }
        }
        found
    }

    fn solve(&mut self, space: &Space, aim: Aim) -> Option<Solution> {
        let rows = match space {
            Space::Sets => self.rows_of_sets(aim),
            Space::Order(order) => self.rows_of_order(order, aim),
        };
        let heads = rows.iter().enumerate();
        let states = heads.filter_map(|(index, row)| Some((index, row.states[0]?)));
        let best = states.reduce(|best, other| {
            if other.1.beats(&best.1, aim) {
                other
            } else {
                best
            }
        });
        best.map(|(index, state)| Solution {
            state,
            shards: shards(&rows, index),
        })
    }

    /// A row for each peer, those behind it being any of the later ones.
    fn rows_of_order(&mut self, order: &[usize], aim: Aim) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::with_capacity(order.len());
        for device in order.iter().rev() {
            // The nearest first, so that of equals nobody is left out.
            let successors: Vec<usize> = (0..rows.len()).rev().collect();
            let row = self.table.row(*device, &rows, &successors, true, aim);
            rows.push(row);
        }
        rows
    }

    /// A row for each peer before each set of others, all of which take part.
    fn rows_of_sets(&mut self, aim: Aim) -> Vec<Row> {
        let peers = self.problem.devices.len();
        let mut rows: Vec<Row> = Vec::new();
        let mut index = BTreeMap::new();
        for set in 1_usize..1 << peers {
            let members = || (0..peers).filter(move |device| set >> device & 1 == 1);
            for device in members() {
                let others = set & !(1 << device);
                let behind = members().filter_map(|next| index.get(&(others, next)).copied());
                let successors: Vec<usize> = behind.collect();
                let row = self.table.row(device, &rows, &successors, others == 0, aim);
                index.insert((set, device), rows.len());
                rows.push(row);
            }
        }
        rows
    }

    /// Sorted orders, and what 2-opt makes of the best (Croes, 1958): segments are turned round as long as that helps.
    fn best_order(&mut self, joined: &Option<Solution>) -> Space {
        let peers = self.problem.devices.len();
        let mut best: Vec<usize> = (0..peers).collect();
        let mut state = joined.as_ref().map(|solution| solution.state);
        let spent = self.table.evaluations;
        let good_enough = self.table.seconds_min() * (1.0 + SKIP_GAIN);
        let turned = (1..peers).flat_map(|length| {
            (0..peers - length).map(move |from| Change::Turn(from, from + length))
        });
        for change in Change::SORTS.into_iter().chain(turned) {
            let enough =
                state.is_some_and(|state| state.lacking_bytes == 0 && state.seconds <= good_enough);
            if enough || self.table.evaluations - spent > EVALUATIONS_MAX / (2 * ROUNDS as u64) {
                break;
            }
            let order = self.changed(&best, change);
            let limit = state.filter(|state| state.lacking_bytes == 0);
            let aim = Aim::Fastest(limit.map_or(f64::INFINITY, |state| state.seconds));
            let found = self.solve(&Space::Order(order.clone()), aim);
            if let Some(found) = found
                && state.is_none_or(|state| found.state.beats(&state, aim))
            {
                (best, state) = (order, Some(found.state));
            }
        }
        Space::Order(best)
    }

    fn changed(&self, order: &[usize], change: Change) -> Vec<usize> {
        let devices = &self.problem.devices;
        let mut order = order.to_vec();
        match change {
            // Where memory is not known it counts as little: being frugal is what it leads to.
            Change::Memory => order.sort_by_key(|device| {
                std::cmp::Reverse(devices[*device].memory_bytes.unwrap_or(0))
            }),
            Change::Speed => order.sort_by(|a, b| self.by_work(*a, *b)),
            Change::Links => order = self.by_links(),
            Change::Turn(from, to) => order[from..=to].reverse(),
        }
        order
    }

    fn by_work(&self, one: usize, other: usize) -> Ordering {
        let work = |device| self.table.work_of_all(device);
        work(one).total_cmp(&work(other))
    }

    /// From the fastest peer on, always to the one that is reached soonest.
    fn by_links(&self) -> Vec<usize> {
        let mut left: Vec<usize> = (0..self.problem.devices.len()).collect();
        left.sort_by(|a, b| self.by_work(*a, *b));
        let largest = self
            .problem
            .layers
            .iter()
            .map(|layer| layer.output_bytes)
            .max();
        let seconds = |from: usize, to: usize| {
            let hop = self.problem.hops.get(from, to);
            hop.delay_seconds + hop.transfer_seconds(largest.unwrap_or(0))
        };
        let mut order = vec![left.remove(0)];
        while let Some(last) = order.last().copied().filter(|_| !left.is_empty()) {
            let nearest = (0..left.len())
                .min_by(|a, b| seconds(last, left[*a]).total_cmp(&seconds(last, left[*b])));
            order.push(left.remove(nearest.unwrap_or(0)));
        }
        order
    }
}

/// Another order made of one.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// Most memory first: the head has the most micro-batches on their way.
    Memory,
    /// Fastest first.
    Speed,
    /// Along the fastest links.
    Links,
    /// A segment the other way round, both ends included.
    Turn(usize, usize),
}

impl Change {
    const SORTS: [Self; 3] = [Self::Memory, Self::Speed, Self::Links];
}
