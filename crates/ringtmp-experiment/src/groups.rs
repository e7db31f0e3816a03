//! Cells that differ by their seeds alone, and what is known of them together.

use crate::cell::Cell;
use crate::outcome::{Figures, Outcome};
use crate::store::Finished;
use serde::Serialize;

/// A mean, and how far off it may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// Over the seeds.
    pub mean: f64,
    /// Half of the 95% interval of the mean (Student's t); 0 with one seed, which therefore says nothing of who is better.
    pub half_width: f64,
    /// Seeds.
    pub seeds: usize,
}

/// Student's t for 95%, two-sided, by degrees of freedom from 1.
const STUDENT: [f64; 15] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131,
];

/// The same for more: a little too wide.
const STUDENT_MORE: f64 = 2.131;

/// Of a mean, what rounding may make of it.
const ROUNDING: f64 = 1e-12;

impl Estimate {
    /// Of some values; none of none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let seeds = values.len();
        if seeds == 0 {
            return None;
        }
        let count = seeds as f64;
        let mean = values.iter().sum::<f64>() / count;
        if seeds == 1 {
            return Some(Self {
                mean,
                half_width: 0.0,
                seeds,
            });
        }
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let error = (squares / (count - 1.0) / count).sqrt();
        let student = STUDENT.get(seeds - 2).copied().unwrap_or(STUDENT_MORE);
        // Equal values have a mean that is off by rounding.
        let half_width = Some(student * error).filter(|half| *half > ROUNDING * mean.abs());
        Some(Self {
            mean,
            half_width: half_width.unwrap_or(0.0),
            seeds,
        })
    }

    /// The least of the interval.
    pub fn low(&self) -> f64 {
        self.mean - self.half_width
    }

    /// The most of it.
    pub fn high(&self) -> f64 {
        self.mean + self.half_width
    }
}

/// Cells that differ by their seeds alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The first of them.
    pub cell: Cell,
    /// All.
    pub outcomes: Vec<Outcome>,
    /// Their seeds.
    pub seeds: Vec<u64>,
}

/// Which seeds: what is chosen by some is told of the others, so that choosing does not flatter it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The even ones, by which the best of several ways is chosen.
    Chooses,
    /// The odd ones, of which it is told.
    Tells,
}

/// The fewest seeds by which one way can be told from another: one has no interval.
const SEEDS_LEAST: usize = 2;

/// Of fewer it is said how many they were: t is large then, and a single seed moves the mean.
const SEEDS_USUAL: usize = 5;

/// Whether so many seeds say anything of who is better.
pub(crate) const fn are_enough(seeds: usize) -> bool {
    seeds >= SEEDS_LEAST
}

/// What a finding says of its own basis where that is small: `, of 3 seeds only`.
pub(crate) fn few(seeds: usize) -> String {
    match seeds {
        0 => String::new(),
        1 => ", of one seed only".to_owned(),
        few if few < SEEDS_USUAL => format!(", of {few} seeds only"),
        _ => String::new(),
    }
}

impl Group {
    /// One figure over the seeds that ran; none where all were refused.
    pub fn figure(&self, figure: impl Fn(&Figures) -> f64) -> Option<Estimate> {
        estimate(self.outcomes.iter(), figure)
    }

    /// One figure over half of the seeds; over all where one alone was run.
    pub fn figure_in(&self, half: Half, figure: impl Fn(&Figures) -> f64) -> Option<Estimate> {
        estimate(self.half(half), figure)
    }

    /// The outcomes of half of the seeds; of all where one alone was run.
    fn half(&self, half: Half) -> impl Iterator<Item = &Outcome> {
        let chooses = half == Half::Chooses;
        let all = self.seeds.len() < 2;
        let seeds = self.seeds.iter().zip(&self.outcomes);
        seeds
            .filter(move |(seed, _)| all || seed.is_multiple_of(2) == chooses)
            .map(|(_, outcome)| outcome)
    }

    /// How many runs of half of the seeds did not get there, and how many these are. What is told of the others flatters.
    pub fn missing_in(&self, half: Half) -> (usize, usize) {
        let refused = |outcome: &&Outcome| matches!(outcome, Outcome::Refused { .. });
        let missing = self.half(half).filter(refused).count();
        (missing, self.half(half).count())
    }

    /// How often it was refused, or ended before its end.
    pub fn refusals(&self) -> usize {
        let refused = |outcome: &&Outcome| matches!(outcome, Outcome::Refused { .. });
        self.outcomes.iter().filter(refused).count()
    }

    /// Why it was refused, if it was.
    pub fn refusal(&self) -> Option<&str> {
        self.outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Refused { reason } => Some(reason.as_str()),
            Outcome::Ran(_)
            | Outcome::Grew { .. }
            | Outcome::Learnt { .. }
            | Outcome::Taught { .. }
            | Outcome::Real(_)
            | Outcome::Struck(_)
            | Outcome::Lasted(_)
            | Outcome::Spent(_) => None,
        })
    }
}

/// Of those that ran.
fn estimate<'a>(
    outcomes: impl Iterator<Item = &'a Outcome>,
    figure: impl Fn(&Figures) -> f64,
) -> Option<Estimate> {
    let ran = outcomes.filter_map(|outcome| match outcome {
        Outcome::Ran(figures) => Some(figure(figures)),
        Outcome::Grew { .. }
        | Outcome::Learnt { .. }
        | Outcome::Taught { .. }
        | Outcome::Real(_)
        | Outcome::Struck(_)
        | Outcome::Lasted(_)
        | Outcome::Spent(_)
        | Outcome::Refused { .. } => None,
    });
    Estimate::of(&ran.collect::<Vec<_>>())
}

/// Groups, in the order of their first cells.
pub(crate) fn groups(finished: &[Finished]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for one in finished {
        let first = |group: &&mut Group| {
            let seed = group.cell.seed;
            let cell = Cell {
                seed,
                ..one.cell.clone()
            };
            group.cell == cell
        };
        match groups.iter_mut().find(first) {
            Some(group) => {
                group.outcomes.push(one.outcome.clone());
                group.seeds.push(one.cell.seed);
            }
            None => groups.push(Group {
                cell: one.cell.clone(),
                outcomes: vec![one.outcome.clone()],
                seeds: vec![one.cell.seed],
            }),
        }
    }
    groups
}
