//! Small changes to an arrangement whose credits are clamped: what a credit comes to depends on both neighbours, which the table
//! cannot see.

use super::assess::Arrangement;
use super::problem::Problem;
use super::rows::{ROUNDING, Shards};

/// Changes that may be assessed for one arrangement: some rounds over those of eight peers.
const ASSESSMENTS_MAX: usize = 1000;

/// Changes an arrangement for the better as long as that goes: where a cut is, who holds a shard, who takes part.
pub(super) fn polished(problem: &Problem, arrangement: Arrangement) -> Arrangement {
    let mut best = arrangement;
    let mut assessments = 0;
    loop {
        let shards = shards_of(&best);
        let mut improved = None;
        for changed in changes(problem, &shards) {
            assessments += 1;
            if assessments > ASSESSMENTS_MAX {
                return best;
            }
            let seconds_max = improved
                .as_ref()
                .map_or(best.seconds, |other: &Arrangement| other.seconds);
            if let Ok(other) = problem.assess(&changed)
                && other.seconds < seconds_max * (1.0 - ROUNDING)
            {
                improved = Some(other);
            }
        }
        match improved {
            Some(other) => best = other,
            None => return best,
        }
    }
}

fn shards_of(arrangement: &Arrangement) -> Shards {
    let bounds = arrangement.cuts.windows(2);
    let layers = bounds.map(|pair| usize::from(pair[0])..usize::from(pair[1]));
    arrangement.order.iter().copied().zip(layers).collect()
}

fn changes(problem: &Problem, shards: &Shards) -> Vec<Shards> {
    let mut changes = Vec::new();
    let mut change = |change: &dyn Fn(&mut Shards)| {
        let mut changed = shards.clone();
        change(&mut changed);
        changes.push(changed);
    };
    let spare = || {
        (0..problem.devices.len()).filter(|device| shards.iter().all(|(taken, _)| taken != device))
    };
    for (i, (_, layers)) in shards.iter().enumerate() {
        for device in spare() {
            change(&|shards| shards[i].0 = device);
            for middle in layers.start + 1..layers.end {
                for (first, second) in [(i, i), (i, i + 1)] {
                    change(&|shards| {
                        shards.insert(first, shards[i].clone());
                        shards[second].0 = device;
                        shards[i].1.end = middle;
                        shards[i + 1].1.start = middle;
                    });
                }
            }
        }
        for other in i + 1..shards.len() {
            change(&|shards| (shards[i].0, shards[other].0) = (shards[other].0, shards[i].0));
        }
        if i + 1 == shards.len() {
            continue;
        }
        for middle in layers.start + 1..shards[i + 1].1.end {
            change(&|shards| {
                shards[i].1.end = middle;
                shards[i + 1].1.start = middle;
            });
        }
        for gone in [i, i + 1] {
            change(&|shards| {
                let whole = shards[i].1.start..shards[i + 1].1.end;
                shards[2 * i + 1 - gone].1 = whole;
                shards.remove(gone);
            });
        }
    }
    changes
}
