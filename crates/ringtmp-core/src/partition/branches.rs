//! Branch and bound (Land and Doig, 1960): every arrangement of few peers, head first, but for those that cannot be faster than
//! the best there is.
//!
//! What may follow a beginning is bounded by the table without credits: its shortest way to the tail and back, within the seconds
//! that are wanted. What may have gone before is known, and with it the most credits that memory allows. So what is left out is
//! certainly no faster, and where the search ends by itself the best is within [`GAIN_MIN`] of the best there is.

use super::assess::Arrangement;
use super::problem::Problem;
use super::search::{EVALUATIONS_MAX, fastest_seconds, rows_of_sets};
use super::states::{Aim, ROUNDING, Shards, Want};
use super::table::Table;
use crate::codec::TensorCodec;
use crate::schedule::{CREDIT_MAX, Mode};

/// Less of a gain is not looked for.
const GAIN_MIN: f64 = 0.01;

/// Stages that may be weighed before the search ends: about a fiftieth of a second on a slow server.
const STAGES_MAX: u64 = 100_000;

/// Adds faster arrangements to those found, as long as there are any.
pub(super) fn search<'a>(
    problem: &'a Problem,
    table: &mut Table<'a>,
    codec: TensorCodec,
    found: &mut Vec<Arrangement>,
) {
    let mut stages_left = STAGES_MAX;
    // Each round makes the whole table anew, so that small gains from where everything takes for ever would go on for long.
    while stages_left > 0 && table.evaluations <= EVALUATIONS_MAX {
        let seconds = fastest_seconds(found) * (1.0 - GAIN_MIN);
        let faster = Branches::new(problem, table, codec, seconds).first(&mut stages_left);
        match faster {
            Some(faster) => found.push(faster),
            None => return,
        }
    }
}

/// A stage of the beginning.
#[derive(Clone, Copy, Debug)]
struct Begun {
    /// F and B from it to the last stage so far, and the hops between them, both ways.
    trip: f64,
    /// More credit its memory does not allow.
    credit_max: f64,
}

struct Branches<'a, 'b> {
    problem: &'a Problem,
    table: &'b mut Table<'a>,
    codec: TensorCodec,
    seconds: f64,
    /// By set of peers and by the one of them that comes first, for each layer to begin with: the shortest way to the tail and
    /// back of any of them.
    trips: Vec<Vec<f64>>,
    shards: Shards,
}

impl<'a, 'b> Branches<'a, 'b> {
    fn new(
        problem: &'a Problem,
        table: &'b mut Table<'a>,
        codec: TensorCodec,
        seconds: f64,
    ) -> Self {
        table.want(Want {
            aim: Aim::ShortestTrip,
            seconds,
            credits: false,
        });
        let peers = problem.devices.len();
        let nothing = vec![f64::INFINITY; table.layers() + 1];
        let mut trips = vec![nothing; peers << peers];
        let mut rows = rows_of_sets(table, peers).into_iter();
        for set in 1_usize..1 << peers {
            for device in (0..peers).filter(|device| set >> device & 1 == 1) {
                let Some(row) = rows.next() else { continue };
                let mut best: Vec<f64> = row
                    .states
                    .iter()
                    .map(|state| state.map_or(f64::INFINITY, |state| state.trip))
                    .chain([f64::INFINITY])
                    .collect();
                // Any of the others may be left out.
                for other in (0..peers).filter(|other| *other != device && set >> other & 1 == 1) {
                    let fewer = &trips[(set & !(1 << other)) * peers + device];
                    for (best, fewer) in best.iter_mut().zip(fewer) {
                        *best = best.min(*fewer);
                    }
                }
                trips[set * peers + device] = best;
            }
        }
        Self {
            problem,
            table,
            codec,
            seconds,
            trips,
            shards: Vec::new(),
        }
    }

    /// The first arrangement within the seconds that are wanted.
    fn first(mut self, stages_left: &mut u64) -> Option<Arrangement> {
        let all = (1_usize << self.problem.devices.len()) - 1;
        self.extend(all, 0.0, &[], stages_left)
    }

    /// The first one that begins with the shards so far, whose `left` are the other peers.
    fn extend(
        &mut self,
        left: usize,
        air: f64,
        begun: &[Begun],
        stages_left: &mut u64,
    ) -> Option<Arrangement> {
        let from = self.shards.last().map_or(0, |(_, layers)| layers.end);
        let last = self.shards.last().map(|(device, _)| *device);
        let limit = self.seconds * (1.0 + ROUNDING);
        for device in (0..self.problem.devices.len()).filter(|device| left >> device & 1 == 1) {
            let [transfer, both_ways] =
                last.map_or([0.0; 2], |last| self.table.hop(last, device, from));
            let through = last.map_or(0.0, |last| {
                self.problem.air_per_byte(last, device)
                    * self.problem.sent_bytes(from, self.codec) as f64
            });
            if transfer > limit || air + through > limit {
                continue;
            }
            for end in from + 1..=self.table.reach(device, from) {
                *stages_left = stages_left.checked_sub(1)?;
                let own = self.table.own_trip(device, from, end);
                let mut begun: Vec<Begun> = begun
                    .iter()
                    .map(|stage| Begun {
                        trip: stage.trip + both_ways + own,
                        ..*stage
                    })
                    .collect();
                begun.push(Begun {
                    trip: own,
                    credit_max: self.credit_max(device, from, end, left),
                });
                let others = left & !(1 << device);
                if self.bound(&begun, device, end, others) > limit {
                    continue;
                }
                self.shards.push((device, from..end));
                let found = if end == self.table.layers() {
                    let codecs = vec![self.codec; self.shards.len() - 1];
                    let assessed = self.problem.assess(&self.shards, codecs);
                    assessed.ok().filter(|found| found.seconds <= limit)
                } else {
                    self.extend(others, air + through, &begun, stages_left)
                };
                self.shards.pop();
                if found.is_some() {
                    return found;
                }
            }
        }
        None
    }

    /// The seconds that no arrangement is below which begins like this and goes on with some of the others.
    fn bound(&self, begun: &[Begun], device: usize, end: usize, others: usize) -> f64 {
        let peers = self.problem.devices.len();
        let rest = if end == self.table.layers() {
            0.0
        } else {
            let next = (0..peers).filter(|next| others >> next & 1 == 1);
            let trips = next.map(|next| {
                let [transfer, both_ways] = self.table.hop(device, next, end);
                if transfer > self.seconds * (1.0 + ROUNDING) {
                    f64::INFINITY
                } else {
                    both_ways + self.trips[others * peers + next][end]
                }
            });
            trips.fold(f64::INFINITY, f64::min)
        };
        // The tail sends nothing ahead.
        let ahead = if rest == 0.0 && end == self.table.layers() {
            &begun[..begun.len() - 1]
        } else {
            begun
        };
        let seconds = ahead
            .iter()
            .map(|stage| (stage.trip + rest) / stage.credit_max);
        seconds
            .fold(0.0, f64::max)
            .max(if rest.is_finite() { 0.0 } else { f64::INFINITY })
    }

    /// The most credit a stage can have, of which `left` are itself and all that may come after it.
    fn credit_max(&self, device: usize, from: usize, end: usize, left: usize) -> f64 {
        if self.problem.schedule.mode == Mode::OneForwardOneBackward {
            return f64::from(left.count_ones()).min(f64::from(CREDIT_MAX));
        }
        self.table.credit_max(device, from..end)
    }
}
