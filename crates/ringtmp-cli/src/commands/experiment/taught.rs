//! Real peers that learn, beside the simulator with real gradients.

use super::imitated::Imitated;
use super::learner::{Gradients, run_file};
use super::real::{Course, RESULT, TRACE, begins, slower, train};
use crate::result::Evaluation;
use anyhow::{Context, Result, anyhow, bail, ensure};
use ringtmp_core::schedule::Mode;
use ringtmp_core::signal::Replication;
use ringtmp_core::trace::json::from_json;
use ringtmp_core::trace::{Activity, Span};
use ringtmp_experiment::{
    Cell, Kind, Learner, Lesson, Outcome, Profiles, Reached, Spread, Way, right_answers,
};
use ringtmp_sim::check::simulate_checked;
use serde::Deserialize;

/// Updates between two evaluations.
const EVALUATE_EVERY: u32 = 5;

/// Each of three, as `imitated` counts it. Nearly all that a perceptron takes is its first layer, whose tasks are long.
const SLOWNESS: f64 = 1.25;

/// Shares are told in millionths.
const ACCURACY_ROUNDED: f64 = 1e6;

/// The share of right answers after so many steps, in their order.
type Right = Vec<(u32, f64)>;

/// What is read of a result.
#[derive(Deserialize)]
struct Told {
    evaluations: Vec<Evaluation>,
}

/// Trains with real peers, simulates the same with real gradients, and tells both.
///
/// # Errors
///
/// What keeps the peers from training.
pub(super) fn run(cell: &Cell, profiles: &Profiles) -> Result<Outcome> {
    let Kind::Taught { steps } = cell.kind else {
        bail!("only cells of learning are run with real peers that learn");
    };
    let lesson = Lesson {
        preset: cell.model.preset.clone(),
        steps,
        batch: u32::from(cell.micro_batches) * cell.micro_batch,
        micro_batch: cell.micro_batch,
        evaluate_every: EVALUATE_EVERY,
        spread: Spread::Shared,
        devices: cell.peers,
        seed: cell.seed,
    };
    let mut file = run_file(&lesson, Mode::Sync);
    // What copying costs is told by resilience.
    file.replicate = Replication::Off;
    let imitated = Imitated::of(cell, file, SLOWNESS, profiles)?;
    let folder = tempfile::tempdir().context("no place for the run's files")?;
    train(cell, &imitated, folder.path())?;
    let text = std::fs::read_to_string(folder.path().join(TRACE))?;
    let trace = from_json(&text)?.spans;
    let text = std::fs::read_to_string(folder.path().join(RESULT))?;
    let told: Told = serde_json::from_str(&text).context("the result of real peers")?;
    let told = told.evaluations.iter();
    let right: Right = told.map(|one| (one.steps, one.accuracy.into())).collect();
    let (simulated, right_simulated) = simulate(cell, &lesson, &imitated)?;
    let after = |right: &Right| right.iter().map(|(steps, _)| *steps).collect::<Vec<_>>();
    let (told, foretold) = (after(&right), after(&right_simulated));
    ensure!(
        told == foretold && !told.is_empty(),
        "real peers evaluated after {told:?} steps, and simulated ones after {foretold:?}"
    );
    if let Err(reason) = slower(&Course::of(&trace, cell), &Course::of(&simulated, cell)) {
        return Ok(Outcome::Refused { reason });
    }
    Ok(Outcome::Taught {
        real: course(&trace, cell.way, &right)?,
        simulated: course(&simulated, cell.way, &right_simulated)?,
    })
}

/// The trace, and what is learnt.
fn simulate(cell: &Cell, lesson: &Lesson, imitated: &Imitated) -> Result<(Vec<Span>, Right)> {
    let scenario = imitated.scenario();
    match (imitated.choice(), cell.way) {
        (None, Way::Ring(mode) | Way::FewRing(mode)) => {
            let held = Gradients::default()
                .ring(lesson, mode)
                .map_err(|error| anyhow!(error))?;
            let right = held.iter().map(|held| (held.steps, held.accuracy));
            Ok((simulate_checked(scenario)?.trace, right.collect()))
        }
        (None, _) => bail!("{} is simulated as a team", cell.way),
        (Some(choice), _) => {
            let outcome = Gradients::default().team(lesson, scenario, choice);
            let outcome = outcome.map_err(|error| anyhow!(error))?;
            let right = right_answers(&outcome);
            Ok((outcome.trace, right))
        }
    }
}

/// When that was known, by the same rule for both: once the last device had evaluated.
fn course(trace: &[Span], way: Way, right: &[(u32, f64)]) -> Result<Vec<Reached>> {
    let began = begins(trace, way);
    let known = |steps: u32| {
        let of =
            |span: &&Span| span.activity == Activity::Evaluate && span.details.step == Some(steps);
        trace.iter().filter(of).map(|span| span.end).max()
    };
    let reached = |(steps, accuracy): &(u32, f64)| {
        let steps = *steps;
        // Some are told in 32 bits.
        let accuracy = (accuracy * ACCURACY_ROUNDED).round() / ACCURACY_ROUNDED;
        let known = known(steps).with_context(|| format!("nobody evaluated after step {steps}"))?;
        Ok(Reached {
            steps,
            seconds: known.since(began).as_secs_f64(),
            accuracy,
        })
    };
    right.iter().map(reached).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringtmp_core::time::Time;
    use ringtmp_core::trace::Details;

    #[test]
    fn an_evaluation_is_known_once_the_last_device_has_made_it() {
        let span = |peer, activity, step, start: u64| Span {
            peer,
            activity,
            start: Time::from_micros(1_000_000 * start),
            end: Time::from_micros(1_000_000 * (start + 1)),
            details: Details {
                step: Some(step),
                ..Details::default()
            },
        };
        let trace = [
            span(0, Activity::Forward, 0, 2),
            span(1, Activity::Forward, 0, 3),
            span(0, Activity::Evaluate, 8, 10),
            span(1, Activity::Evaluate, 8, 12),
            span(0, Activity::Evaluate, 16, 20),
        ];
        let right = [(8, 0.5), (16, 0.75)];
        let told = course(&trace, Way::AllReduce, &right).expect("all were made");
        let seconds: Vec<f64> = told.iter().map(|reached| reached.seconds).collect();
        assert_eq!(seconds, [10.0, 18.0], "from the last worker's start");
        let missing = course(&trace, Way::AllReduce, &[(24, 1.0)]);
        assert!(missing.is_err());
    }
}
