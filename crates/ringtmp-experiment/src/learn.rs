//! Real gradients: an argument of experiments, as what layers cost is.

use crate::cell::Spread;
use crate::outcome::Point;
use ringtmp_core::parameter_server::Sums;
use ringtmp_core::schedule::Mode;
use ringtmp_core::signal::RunOutline;
use ringtmp_core::time::Time;
use ringtmp_core::trace::{Activity, Span, extent};
use ringtmp_core::wire::Purpose;
use ringtmp_sim::Scenario;
use ringtmp_sim::team::{TeamChoice, TeamOutcome};
use std::collections::BTreeMap;

/// What is learnt, by run and seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// The preset.
    pub preset: String,
    /// Updates.
    pub steps: u32,
    /// Samples of an update.
    pub batch: u32,
    /// Samples of a micro-batch.
    pub micro_batch: u32,
    /// Updates between two evaluations.
    pub evaluate_every: u32,
    /// Whose samples.
    pub spread: Spread,
    /// Among how many devices they are spread in a ring.
    pub devices: u16,
    /// Makes first weights, data and their order.
    pub seed: u64,
}

/// How good weights are on held-out samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Held {
    /// After so many updates.
    pub steps: u32,
    /// Mean cross entropy.
    pub loss: f64,
    /// 0 to 1.
    pub accuracy: f64,
}

/// Computes gradients.
pub trait Learner {
    /// The run, as a room would have it.
    ///
    /// # Errors
    ///
    /// Why there is no such run.
    fn outline(&self, lesson: &Lesson) -> Result<RunOutline, String>;

    /// What a ring learns: what one process does with the same run, whose weights are the same bit for bit if tensors are written in
    /// 32 bits. After every so many updates, and after the last.
    ///
    /// # Errors
    ///
    /// What cannot be computed.
    fn ring(&self, lesson: &Lesson, mode: Mode) -> Result<Vec<Held>, String>;

    /// What a team learns, while it is simulated.
    ///
    /// # Errors
    ///
    /// What cannot be computed or simulated.
    fn team(
        &self,
        lesson: &Lesson,
        scenario: &Scenario,
        choice: TeamChoice,
    ) -> Result<TeamOutcome, String>;
}

/// When a ring knew how good its weights were.
pub(crate) fn of_ring(held: &[Held], trace: &[Span], batch: f64) -> Vec<Point> {
    let (start, _) = extent(trace);
    let last = |which: &dyn Fn(&Span) -> bool| {
        let spans = trace.iter().filter(|span| which(span));
        spans.map(|span| span.end).max()
    };
    let known = |steps: u32| {
        let evaluated =
            |span: &Span| span.activity == Activity::Evaluate && span.details.step == Some(steps);
        let updated = |span: &Span| {
            span.activity == Activity::Update && span.details.step.is_some_and(|s| s < steps)
        };
        last(&evaluated).max(last(&updated))
    };
    let point = |held: &Held| {
        let steps = f64::from(held.steps);
        Some(Point {
            steps,
            samples: steps * batch,
            seconds: known(held.steps)?.since(start).as_secs_f64(),
            loss: held.loss,
            accuracy: held.accuracy,
            ..Point::default()
        })
    };
    held.iter().filter_map(point).collect()
}

/// The share of held-out samples that a team told right, after so many steps, in their order.
pub fn right_answers(outcome: &TeamOutcome) -> Vec<(u32, f64)> {
    let points = of_team(outcome, 1.0).into_iter();
    points
        .map(|point| (point.steps as u32, point.accuracy))
        .collect()
}

/// What a team's workers found together, when the last of them had told.
pub(crate) fn of_team(outcome: &TeamOutcome, batch: f64) -> Vec<Point> {
    let (start, _) = extent(&outcome.trace);
    let workers = outcome.job.layout.workers.len();
    let mut told: BTreeMap<u32, Vec<(Time, Sums)>> = BTreeMap::new();
    let evaluations = outcome.scores.iter();
    for (at, score) in evaluations.filter(|(_, score)| score.purpose == Purpose::Evaluate) {
        told.entry(score.clock.0)
            .or_default()
            .push((*at, score.sums));
    }
    let point = |(steps, all): (u32, Vec<(Time, Sums)>)| {
        let at = all.iter().map(|(at, _)| *at).max()?;
        let sums = all
            .iter()
            .fold(Sums::default(), |sum, (_, one)| sum.plus(*one));
        let steps = f64::from(steps);
        (all.len() == workers).then(|| Point {
            steps,
            samples: steps * batch,
            seconds: at.since(start).as_secs_f64(),
            loss: sums.loss / sums.labels.max(1) as f64,
            accuracy: sums.right as f64 / sums.of.max(1) as f64,
            ..Point::default()
        })
    };
    told.into_iter().filter_map(point).collect()
}
