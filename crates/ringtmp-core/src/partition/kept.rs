//! Copies take memory too. A ring that keeps them holds two versions of each layer with its owner, which the table reckons with
//! ([`StageCost::copies`]), and two with its buddy, the peer after the owner: how much that is depends on who comes before whom, which no
//! table of shards knows. So an arrangement is looked for as if there were none of these, and again with so much less memory as they would
//! have taken, until they fit.

use super::assess::{Arrangement, NoFit};
use super::common::arrange_together;
use super::problem::Problem;
use super::settle;
use super::states::Shards;
use crate::replica::{VERSIONS_HELD, copy_bytes_max};
use crate::schedule::StageCost;
use std::ops::Range;

/// How often less memory is tried before there is no more hope.
const ROUNDS_MAX: usize = 8;

/// Who gives way where a buddy has no room for what it would keep of the peer before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GivesWay {
    /// The buddy, which holds fewer layers of its own, or none.
    Buddy,
    /// The owner too, where that would take more than half of what the buddy has: it holds fewer layers, and others more.
    Both,
}

/// Arranges layers on all peers but those that would hold up the others, and, in a ring that keeps copies, so that these fit too.
///
/// # Errors
///
/// Who lacks how much memory.
///
/// # Panics
///
/// Without a peer or a layer.
pub fn arrange_kept(problem: &Problem) -> Result<Arrangement, NoFit> {
    if !problem.keeps_copies {
        return arrange_together(problem);
    }
    let buddies = narrowed(problem, GivesWay::Buddy);
    if buddies.as_ref().is_ok_and(|found| found.rounds == 1) {
        return buddies.map(|found| found.arrangement);
    }
    match (buddies, narrowed(problem, GivesWay::Both)) {
        (Ok(one), Ok(other)) if other.arrangement.seconds < one.arrangement.seconds => {
            Ok(other.arrangement)
        }
        (Ok(found), _) | (Err(_), Ok(found)) => Ok(found.arrangement),
        (Err(no_fit), Err(_)) => Err(no_fit),
    }
}

struct Found {
    arrangement: Arrangement,
    rounds: usize,
}

fn narrowed(problem: &Problem, gives_way: GivesWay) -> Result<Found, NoFit> {
    let mut narrow = problem.clone();
    let mut refused = NoFit { lacks: Vec::new() };
    for rounds in 1..=ROUNDS_MAX {
        let found = arrange_together(&narrow).map_err(|no_fit| problem.of_all(&narrow, no_fit))?;
        let shards = found.shards();
        match settle_kept(problem, &shards) {
            Ok(arrangement) => {
                return Ok(Found {
                    arrangement,
                    rounds,
                });
            }
            Err(no_fit) => refused = no_fit,
        }
        problem.narrow(&mut narrow, &shards, gives_way);
    }
    Err(refused)
}

/// Limits and codecs of an order and its cuts, with room for what each keeps of the one before it.
///
/// # Errors
///
/// Who lacks how much memory for it.
pub(super) fn settle_kept(problem: &Problem, shards: &Shards) -> Result<Arrangement, NoFit> {
    let mut narrow = problem.clone();
    for (device, _, bytes) in problem.kept_for_others(shards) {
        let memory = &mut narrow.devices[device].memory_bytes;
        *memory = memory.map(|memory| memory.saturating_sub(bytes));
    }
    settle(&narrow, shards).map_err(|no_fit| problem.of_all(&narrow, no_fit))
}

impl Problem {
    /// Of each peer: whose layers it keeps, and the bytes that these take.
    fn kept_for_others(&self, shards: &Shards) -> Vec<(usize, usize, u64)> {
        if !self.keeps_copies || shards.len() < 2 {
            return Vec::new();
        }
        let before = shards.iter().cycle().skip(shards.len() - 1);
        let pairs = shards.iter().zip(before);
        pairs
            .map(|((device, _), (owner, layers))| (*device, *owner, self.copies_bytes(layers)))
            .collect()
    }

    /// Bytes of the copies of some layers that a device holds.
    fn copies_bytes(&self, layers: &Range<usize>) -> u64 {
        let once = self.layers[layers.clone()]
            .iter()
            .map(|layer| copy_bytes_max(layer, &self.schedule))
            .fold(0, u64::saturating_add);
        once.saturating_mul(u64::from(VERSIONS_HELD))
    }

    /// The least bytes with which a device can hold some layers at all.
    fn least_bytes(&self, device: usize, layers: Range<usize>) -> u64 {
        let cost = StageCost {
            memory_bytes_max: Some(0),
            ..self.stage(device, layers, None)
        };
        cost.lacking_bytes(&self.schedule, self.micro_batches, 1)
    }

    /// Takes from the memory that an arrangement is looked for with what this one lacked.
    fn narrow(&self, narrow: &mut Self, shards: &Shards, gives_way: GivesWay) {
        for (device, owner, bytes) in self.kept_for_others(shards) {
            let Some(memory) = self.devices[device].memory_bytes else {
                continue;
            };
            let (half, left) = (memory / 2, memory.saturating_sub(bytes));
            let left = match gives_way {
                GivesWay::Buddy => left,
                GivesWay::Both => left.max(half),
            };
            let narrowed = narrow.devices[device].memory_bytes.unwrap_or(memory);
            narrow.devices[device].memory_bytes = Some(narrowed.min(left));
            if gives_way == GivesWay::Both && bytes > half {
                // What a stage takes goes with what it holds, nearly: if it is not enough, there is another round.
                let held = shards.iter().find(|(device, _)| *device == owner);
                let held = held.map_or(0, |(_, layers)| self.least_bytes(owner, layers.clone()));
                let share = half as f64 / bytes as f64;
                let owners = narrow.devices[owner].memory_bytes.unwrap_or(u64::MAX);
                narrow.devices[owner].memory_bytes = Some(owners.min((held as f64 * share) as u64));
            }
        }
    }

    /// What is lacking, in terms of the memory that devices really give.
    fn of_all(&self, narrow: &Self, mut no_fit: NoFit) -> NoFit {
        for lack in &mut no_fit.lacks {
            let [given, narrowed] =
                [self, narrow].map(|problem| problem.devices[lack.device].memory_bytes);
            let (Some(given), Some(narrowed)) = (given, narrowed) else {
                continue;
            };
            lack.needed_bytes = lack.needed_bytes.saturating_add(given - narrowed);
            lack.memory_bytes = given;
        }
        no_fit
    }
}

#[cfg(test)]
mod tests {
    use super::super::Lack;
    use super::super::tests::{every_arrangement, problem, small_problem};
    use super::*;
    use proptest::strategy::{Strategy, ValueTree};
    use proptest::test_runner::TestRunner;

    /// What each device of an arrangement takes, copies included, beside what it gives.
    fn taken(problem: &Problem, arrangement: &Arrangement) -> Vec<(u64, Option<u64>)> {
        let costs = problem.stages(&arrangement.order, &arrangement.cuts, &arrangement.codecs);
        let kept = problem.kept_for_others(&arrangement.shards());
        let stages = costs.iter().enumerate().map(|(i, cost)| {
            let before = i
                .checked_sub(1)
                .map(|before| arrangement.limits[before].credit);
            let (spec, micro_batches) = (&problem.schedule, problem.micro_batches);
            let own = cost.memory_bytes(arrangement.limits[i], before, spec, micro_batches);
            let others = kept.get(i).map_or(0, |(_, _, bytes)| *bytes);
            (own + others, cost.memory_bytes_max)
        });
        stages.collect()
    }

    fn drawn(runner: &mut TestRunner) -> Problem {
        let tree = small_problem().new_tree(runner);
        tree.expect("numbers are drawn").current()
    }

    /// Of all there are, each settled with room for copies.
    fn best_by_force(problem: &Problem) -> Option<f64> {
        let mut best: Option<f64> = None;
        every_arrangement(problem, &mut |shards| {
            if let Ok(arrangement) = settle_kept(problem, shards) {
                let seconds = arrangement.seconds;
                best = Some(best.map_or(seconds, |best| best.min(seconds)));
            }
        });
        best
    }

    /// A heuristic: of what can be had it may miss some, but what it finds fits, and what it refuses it says why.
    #[test]
    fn what_is_kept_fits_and_few_arrangements_are_missed() {
        let mut runner = TestRunner::deterministic();
        let (mut found, mut missed, mut slower, mut refused) = (0, 0, 0, 0);
        for case in 0..600 {
            let mut problem = drawn(&mut runner);
            problem.keeps_copies = true;
            match (arrange_kept(&problem), best_by_force(&problem)) {
                (Ok(arrangement), best) => {
                    found += 1;
                    for (stage, (bytes, given)) in taken(&problem, &arrangement).iter().enumerate()
                    {
                        let fits = given.is_none_or(|given| *bytes <= given);
                        assert!(fits, "case {case}, stage {stage}: {bytes} of {given:?}");
                    }
                    let best = best.expect("there is one, since it was found");
                    slower += usize::from(arrangement.seconds > 1.05 * best);
                }
                (Err(no_fit), best) => {
                    refused += 1;
                    missed += usize::from(best.is_some());
                    let lacks = |lack: &Lack| lack.needed_bytes > lack.memory_bytes;
                    assert!(!no_fit.lacks.is_empty(), "case {case}");
                    assert!(no_fit.lacks.iter().all(lacks), "case {case}: {no_fit:?}");
                }
            }
        }
        println!(
            "{found} found, {slower} of them slow, {refused} refused, {missed} of them missed"
        );
        assert!(found > 200 && refused > 30, "{found} {refused}");
        assert!(
            missed * 20 < found && slower * 10 < found,
            "{missed} {slower}"
        );
    }

    #[test]
    fn a_ring_that_keeps_nothing_is_arranged_as_if_there_were_no_copies() {
        let mut runner = TestRunner::deterministic();
        for case in 0..50 {
            let problem = drawn(&mut runner);
            let bare = arrange_together(&problem);
            assert_eq!(arrange_kept(&problem), bare, "case {case}");
        }
    }

    #[test]
    fn a_small_device_keeps_its_place_after_a_large_one_that_gives_way() {
        let mut problem = problem(&[1.0; 8], &[1.0; 3]);
        problem.keeps_copies = true;
        for layer in &mut problem.layers {
            layer.parameters = 1000;
        }
        let all = problem.copies_bytes(&(0..8));
        for (device, bytes) in [(0, 4 * all), (1, 4 * all), (2, all)] {
            problem.devices[device].memory_bytes = Some(bytes);
        }
        let arrangement = arrange_kept(&problem).expect("there is room");
        assert!(arrangement.order.contains(&2), "{arrangement:?}");
        for (bytes, given) in taken(&problem, &arrangement) {
            let fits = given.is_some_and(|given| bytes <= given);
            assert!(fits, "{bytes} of {given:?}");
        }
    }
}
