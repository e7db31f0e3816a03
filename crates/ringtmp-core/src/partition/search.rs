//! Which peers in which order: the spaces that the table is solved over.

use super::assess::{Arrangement, NoFit};
use super::problem::Problem;
use super::states::{Aim, ROUNDING, Row, Shards, State, Want, shards};
use super::table::Table;
use super::{SKIP_GAIN, branches};
use crate::codec::TensorCodec;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The most peers of which every order is searched: the table has a row for each peer before each set of others.
pub(super) const SUBSET_PEERS_MAX: usize = 8;

/// The most layers with which every order is searched: keeps the table of 1,024 rows within 15 MB.
const SUBSET_LAYERS_MAX: usize = 128;

/// Shards that may be weighed before the search ends with the best it has: a tenth of a second with 64 peers and 500 layers.
pub(super) const EVALUATIONS_MAX: u64 = 3_000_000;

/// The most peers of an order that may be left out between two that are not; at its ends any number may be. More would make the
/// search for orders itself slower by more than it gains.
const SKIPS_MAX: usize = 8;

/// What is looked for is faster by at least this share: less is not worth the search.
const STEP: f64 = 0.005;

/// The same, while orders are compared.
const COARSE_STEP: f64 = 0.1;

/// How much more time is tried next where nothing is found within some.
const GROWTH: f64 = 1.5;

/// Halvings in the search for the bound that air time or credits allow, where it is far from what they do not.
const HALVINGS: usize = 12;

/// Where to look for arrangements.
#[derive(Clone, Debug, PartialEq)]
enum Space {
    /// All orders of all sets of peers.
    Sets,
    /// One order, some of them left out.
    Order(Vec<usize>),
}

/// Looks for arrangements whose tensors are all written in one codec.
pub(super) struct Search<'a> {
    problem: &'a Problem,
    codec: TensorCodec,
    table: Table<'a>,
    found: Vec<Arrangement>,
    refused: Option<NoFit>,
}

impl<'a> Search<'a> {
    pub(super) fn new(problem: &'a Problem, codec: TensorCodec) -> Self {
        Self {
            problem,
            codec,
            table: Table::new(problem, codec),
            found: Vec::new(),
            refused: None,
        }
    }

    pub(super) fn evaluations(&self) -> u64 {
        self.table.evaluations
    }

    /// Arrangements worth choosing from, the fastest that was found among them.
    ///
    /// # Errors
    ///
    /// Who lacks how much memory, where nothing fits.
    pub(super) fn run(&mut self) -> Result<Vec<Arrangement>, NoFit> {
        let peers = self.problem.devices.len();
        let all = peers <= SUBSET_PEERS_MAX && self.table.layers() <= SUBSET_LAYERS_MAX;
        let mut space = if all {
            Space::Sets
        } else {
            Space::Order((0..peers).collect())
        };
        self.begin(&space, if all { STEP } else { COARSE_STEP });
        if !all {
            space = self.better_order(space);
        }
        if self.found.is_empty() {
            self.solve(&space, Aim::LeastLacking, f64::INFINITY, false);
        }
        if all {
            self.prove();
        }
        if self.found.is_empty() {
            return Err(self.refused.take().unwrap_or(NoFit { lacks: Vec::new() }));
        }
        self.solve(
            &space,
            Aim::MostPeers,
            self.seconds() * (1.0 + SKIP_GAIN),
            true,
        );
        Ok(std::mem::take(&mut self.found))
    }

    /// Whether no more is to be looked for; what fits is, in any case.
    fn is_spent(&self) -> bool {
        self.table.evaluations > EVALUATIONS_MAX
    }

    /// The fewest that were found.
    fn seconds(&self) -> f64 {
        fastest_seconds(&self.found)
    }

    /// The fastest arrangement of a space, looked for within ever more time.
    fn begin(&mut self, space: &Space, step: f64) {
        let most = self.table.seconds_max() * GROWTH;
        let mut seconds = self.table.seconds_min() * (1.0 + SKIP_GAIN);
        while self.found.is_empty() && seconds <= most && !self.is_spent() {
            self.fastest(space, seconds, step);
            seconds = (seconds * GROWTH).max(f64::MIN_POSITIVE);
        }
    }

    /// The fastest arrangement of a space, among those within so many seconds.
    fn fastest(&mut self, space: &Space, seconds: f64, step: f64) {
        let Some(unclamped) = self.solve(space, Aim::Fastest, seconds, false) else {
            return;
        };
        // Without credits and air time the table is exact.
        let low = unclamped.seconds;
        if self.seconds() > low * (1.0 + step) {
            self.solve(space, Aim::Fastest, seconds, true);
        }
        self.halve(space, low, step);
    }

    /// Halves what is between seconds that are too few and those of the best there is.
    fn halve(&mut self, space: &Space, mut low: f64, step: f64) {
        for _ in 0..HALVINGS {
            let high = self.seconds();
            if high <= low * (1.0 + step) || !high.is_finite() || self.is_spent() {
                break;
            }
            let middle = if low > 0.0 {
                (low * high).sqrt()
            } else {
                0.5 * high
            };
            if !self.within(space, middle) {
                low = middle;
            }
        }
    }

    /// Whether the table has an arrangement of a space within so many seconds, which is kept.
    fn within(&mut self, space: &Space, seconds: f64) -> bool {
        let shortest = self.solve(space, Aim::ShortestTrip, seconds, true);
        let fits = |state: Option<State>| state.is_some_and(|state| state.air <= seconds);
        if shortest.is_none() || fits(shortest) {
            return shortest.is_some();
        }
        fits(self.solve(space, Aim::LeastAir, seconds, true))
    }

    /// The best of a space, which is assessed and kept.
    fn solve(&mut self, space: &Space, aim: Aim, seconds: f64, credits: bool) -> Option<State> {
        self.table.want(Want {
            aim,
            seconds,
            credits,
        });
        let rows = match space {
            Space::Sets => rows_of_sets(&mut self.table, self.problem.devices.len()),
            Space::Order(order) => self.rows_of_order(order),
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
        let best = best.map(|(index, state)| (shards(&rows, index), state));
        self.table.recycle(rows);
        let (shards, state) = best?;
        self.keep(&shards);
        Some(state)
    }

    fn keep(&mut self, shards: &Shards) {
        let codecs = vec![self.codec; shards.len() - 1];
        match self.problem.assess(shards, codecs) {
            Ok(arrangement) => self.found.push(arrangement),
            Err(no_fit) => self.refused = Some(no_fit),
        }
    }

    /// A row for each peer, those behind it being any of the later ones.
    fn rows_of_order(&mut self, order: &[usize]) -> Vec<Row> {
        let farthest = order.iter().scan(0, |last, device| {
            let own = *last;
            *last = self.table.farthest(*device, own).max(own);
            Some(own)
        });
        let farthest: Vec<usize> = farthest.collect();
        let mut rows: Vec<Row> = Vec::with_capacity(order.len());
        let (tail, last) = (order[order.len() - 1], farthest[order.len() - 1]);
        self.table.evaluations += order.len() as u64;
        if self.table.farthest(tail, last) < self.table.layers() {
            return rows;
        }
        for (device, last) in order.iter().zip(farthest).rev() {
            // The nearest first, so that of equals nobody is left out.
            let successors = (0..rows.len()).rev().take(1 + SKIPS_MAX);
            let row = self.table.row(*device, &rows, successors, true, last);
            rows.push(row);
        }
        rows
    }

    /// Sorted orders, and what 2-opt makes of the best (Croes, 1958): segments are turned round as long as that helps.
    fn better_order(&mut self, joined: Space) -> Space {
        let peers = self.problem.devices.len();
        let mut best: Vec<usize> = (0..peers).collect();
        let mut space = joined;
        let good_enough = self.table.seconds_min() * (1.0 + SKIP_GAIN);
        let turned = (1..peers).flat_map(|length| {
            (0..peers - length).map(move |from| Change::Turn(from, from + length))
        });
        for change in Change::SORTS.into_iter().chain(turned) {
            if self.seconds() <= good_enough || self.is_spent() {
                break;
            }
            let order = self.changed(&best, change);
            let changed = Space::Order(order.clone());
            let before = self.seconds();
            if before.is_finite() {
                let seconds = before * (1.0 - STEP);
                if self.within(&changed, seconds) {
                    self.fastest(&changed, seconds, COARSE_STEP);
                }
            } else if change.is_sort() {
                self.fastest(&changed, self.table.seconds_max(), COARSE_STEP);
            }
            if self.seconds() < before {
                (best, space) = (order, changed);
            }
        }
        let seconds = self.seconds() * (1.0 + ROUNDING);
        if seconds.is_finite() {
            self.fastest(&space, seconds, STEP);
        }
        space
    }

    fn changed(&self, order: &[usize], change: Change) -> Vec<usize> {
        let devices = &self.problem.devices;
        let mut order = order.to_vec();
        match change {
            // Where memory is not known it counts as little: being frugal is what it leads to.
            Change::Memory => order.sort_by_key(|device| {
                std::cmp::Reverse(devices[*device].memory_bytes.unwrap_or(0))
            }),
            Change::LastMemory => {
                order.sort_by_key(|device| devices[*device].memory_bytes.unwrap_or(0));
            }
            Change::Speed => order.sort_by(|a, b| self.by_work(*a, *b)),
            Change::LastSpeed => order.sort_by(|a, b| self.by_work(*b, *a)),
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
        let largest = (0..self.table.layers())
            .map(|boundary| self.problem.sent_bytes(boundary, self.codec))
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

    /// Looks for what is faster than the best found, until there is none or the search has gone on for long enough.
    fn prove(&mut self) {
        branches::search(self.problem, &mut self.table, self.codec, &mut self.found);
    }
}

/// A row for each peer before each set of others, all of which take part.
pub(super) fn rows_of_sets(table: &mut Table<'_>, peers: usize) -> Vec<Row> {
    let all = (1_usize << peers) - 1;
    let members = |set: usize| (0..peers).filter(move |device| set >> device & 1 == 1);
    // How far each set gets that comes before.
    let mut farthest = vec![0; all + 1];
    for set in 1..=all {
        let got = members(set).map(|device| table.farthest(device, farthest[set & !(1 << device)]));
        farthest[set] = got.max().unwrap_or(0);
    }
    let mut rows: Vec<Row> = Vec::new();
    let mut index = BTreeMap::new();
    for set in 1..=all {
        let last = farthest[all & !set];
        for device in members(set) {
            let others = set & !(1 << device);
            let behind = members(others).filter_map(|next| index.get(&(others, next)).copied());
            let behind: Vec<usize> = behind.collect();
            let row = table.row(device, &rows, behind.into_iter(), others == 0, last);
            index.insert((set, device), rows.len());
            rows.push(row);
        }
    }
    rows
}

/// The fewest seconds of some arrangements; infinitely many of none.
pub(super) fn fastest_seconds(arrangements: &[Arrangement]) -> f64 {
    let seconds = arrangements.iter().map(|arrangement| arrangement.seconds);
    seconds.fold(f64::INFINITY, f64::min)
}

/// Another order made of one.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// Most memory first: the head has the most micro-batches on their way.
    Memory,
    /// Most memory last: the tail has place for the most layers, since it keeps the fewest micro-batches.
    LastMemory,
    /// Fastest first.
    Speed,
    /// Fastest last: the way to the tail and back is short.
    LastSpeed,
    /// Along the fastest links.
    Links,
    /// A segment the other way round, both ends included.
    Turn(usize, usize),
}

impl Change {
    const SORTS: [Self; 5] = [
        Self::Memory,
        Self::LastMemory,
        Self::Speed,
        Self::LastSpeed,
        Self::Links,
    ];

    fn is_sort(self) -> bool {
        !matches!(self, Self::Turn(..))
    }
}
