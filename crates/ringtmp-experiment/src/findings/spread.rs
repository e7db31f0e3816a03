//! What it does to each way that devices have classes of their own, not samples that all share.

use crate::cell::{Cell, Kind, Spread};
use crate::groups::{Estimate, Group, are_enough, few};
use crate::outcome::Outcome;

/// Of the most devices, each way beside itself with shared samples, seed by seed.
pub(crate) fn spread(groups: &[Group]) -> String {
    let own: Vec<&Group> = groups
        .iter()
        .filter(|group| is(&group.cell, Spread::ByLabel))
        .collect();
    let Some(most) = own.iter().map(|group| group.cell.peers).max() else {
        return String::new();
    };
    let told: Vec<String> = own
        .iter()
        .filter(|group| group.cell.peers == most)
        .filter_map(|group| told(group, groups))
        .collect();
    if told.is_empty() {
        return String::new();
    }
    format!(
        "Accuracy at the end at {most} devices, where each has classes of its own, less that with shared samples, in points: {}.",
        told.join("; ")
    )
}

fn is(cell: &Cell, which: Spread) -> bool {
    matches!(cell.kind, Kind::Progress { spread, .. } if spread == which)
}

fn told(group: &Group, groups: &[Group]) -> Option<String> {
    let twin = |other: &&Group| {
        let (one, other) = (&group.cell, &other.cell);
        is(other, Spread::Shared)
            && (one.way, one.peers) == (other.way, other.peers)
            && (&one.model, &one.profile) == (&other.model, &other.profile)
    };
    let shared = groups.iter().find(twin)?;
    let differences = group.seeds.iter().zip(&group.outcomes);
    let differences = differences.filter_map(|(seed, outcome)| {
        let place = shared.seeds.iter().position(|other| other == seed)?;
        Some(100.0 * (accuracy(outcome)? - accuracy(&shared.outcomes[place])?))
    });
    let differs = Estimate::of(&differences.collect::<Vec<_>>())?;
    let verdict = if !are_enough(differs.seeds) {
        "too few seeds to say more"
    } else if differs.high() < 0.0 {
        "it loses by that"
    } else if differs.low() > 0.0 {
        "it gains by that"
    } else {
        "no difference that seeds would show"
    };
    let runs = group.seeds.len();
    let through = match differs.seeds < runs {
        true => format!(", of those {} of {runs} runs that got there", differs.seeds),
        false => few(differs.seeds),
    };
    Some(format!(
        "{} {:+.1} ± {:.1}{through}, {verdict}",
        group.cell.way, differs.mean, differs.half_width
    ))
}

/// Of held-out samples, at the end.
fn accuracy(outcome: &Outcome) -> Option<f64> {
    match outcome {
        Outcome::Learnt { points } => points.last().map(|point| point.accuracy),
        Outcome::Ran(_)
        | Outcome::Grew { .. }
        | Outcome::Real(_)
        | Outcome::Struck(_)
        | Outcome::Lasted(_)
        | Outcome::Taught { .. }
        | Outcome::Spent(_)
        | Outcome::Refused { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{Model, Way};
    use crate::outcome::Point;

    /// Five runs of all-reduce that end with these accuracies.
    fn group(spread: Spread, accuracies: [f64; 5]) -> Group {
        let ends = |accuracy: f64| Outcome::Learnt {
            points: vec![Point {
                accuracy,
                ..Point::default()
            }],
        };
        Group {
            cell: Cell {
                kind: Kind::Progress { steps: 8, spread },
                model: Model::preset("mlp"),
                way: Way::AllReduce,
                profile: "laptop-wifi".to_owned(),
                peers: 4,
                micro_batches: 4,
                micro_batch: 4,
                seed: 1,
            },
            outcomes: accuracies.map(ends).to_vec(),
            seeds: (1..=5).collect(),
        }
    }

    #[test]
    fn what_classes_of_their_own_cost_is_told_seed_by_seed() {
        let shared = group(Spread::Shared, [0.70, 0.90, 0.80, 0.75, 0.85]);
        let worse = group(Spread::ByLabel, [0.65, 0.86, 0.74, 0.70, 0.80]);
        let told = spread(&[shared.clone(), worse]);
        // Means of the seeds lie further apart than the two ways do; each seed beside itself tells them apart all the same.
        assert!(told.contains("all-reduce -5.0"), "{told}");
        assert!(told.contains("it loses by that"), "{told}");
        let alike = group(Spread::ByLabel, [0.71, 0.89, 0.81, 0.74, 0.85]);
        let told = spread(&[shared.clone(), alike]);
        assert!(told.contains("no difference"), "{told}");
        assert_eq!(spread(std::slice::from_ref(&shared)), "");
        // A run that did not get there is not left out in silence.
        let mut torn = group(Spread::ByLabel, [0.65, 0.86, 0.74, 0.70, 0.80]);
        torn.outcomes[4] = Outcome::Refused {
            reason: "a device lacks memory".to_owned(),
        };
        let told = spread(&[shared, torn]);
        assert!(told.contains("of those 4 of 5 runs"), "{told}");
    }
}
