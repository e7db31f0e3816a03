//! Runs with real gradients.

use super::one::samples;
use super::{Failure, Tried, Worker, choice, scenario};
use crate::cell::{Cell, ModelCosts, Spread, Way};
use crate::learn::{Lesson, of_ring, of_team};
use crate::outcome::{Figures, Outcome, Point};
use crate::profile::DeviceProfile;
use ringtmp_core::parameter_server::UPDATE_OPERATIONS;
use ringtmp_core::schedule::Mode;
use ringtmp_core::signal::RunOutline;
use ringtmp_sim::check::simulate_checked;
use ringtmp_sim::{Scenario, SimulationError};

/// Evaluations of a run.
const EVALUATIONS: u32 = 16;

/// Who has no gradients.
const NO_LEARNER: &str = "nothing here computes gradients";

impl Worker<'_> {
    /// How a model learns.
    pub(super) fn learns(
        &self,
        cell: &Cell,
        steps: u32,
        spread: Spread,
    ) -> Result<Outcome, Failure> {
        let refused = |reason: String| Ok(Outcome::Refused { reason });
        let Some(learner) = self.learner else {
            return refused(NO_LEARNER.to_owned());
        };
        let lesson = Lesson {
            preset: cell.model.preset.clone(),
            steps,
            batch: u32::from(cell.micro_batches) * cell.micro_batch,
            micro_batch: cell.micro_batch,
            evaluate_every: (steps / EVALUATIONS).max(1),
            spread,
            devices: cell.peers,
            seed: cell.seed,
        };
        let outline = match learner.outline(&lesson) {
            Ok(outline) => outline,
            Err(reason) => return refused(reason),
        };
        let devices = self.profiles.devices(&cell.profile, cell.peers)?;
        let scenario = lesson_scenario(cell, outline, &devices, steps);
        // What these devices cannot run they cannot learn either: it is asked before anything is computed.
        let costs = ModelCosts {
            layers: scenario.outline.layers.clone(),
            sample_bytes: scenario.outline.sample_bytes,
        };
        let figures = match self.simulate(cell, &scenario, &costs, &devices)? {
            Tried::Ran(figures) => figures,
            Tried::Refused(reason) => return refused(reason),
        };
        let batch = f64::from(lesson.batch);
        let broken = |error: String| Failure::Broken(error);
        let mut points = match (choice(cell.way), cell.way) {
            (Some(choice), _) => {
                let outcome = learner.team(&lesson, &scenario, choice).map_err(broken)?;
                of_team(&outcome, batch)
            }
            (None, Way::Ring(mode)) => {
                let outcome = match simulate_checked(&scenario) {
                    Ok(outcome) => outcome,
                    Err(
                        error @ (SimulationError::Scenario(_)
                        | SimulationError::Refused { .. }
                        | SimulationError::Stopped { .. }),
                    ) => return refused(error.to_string()),
                    Err(error) => return Err(broken(error.to_string())),
                };
                // Devices that hold no layers bring no samples.
                let lesson = Lesson {
                    devices: outcome.order.len() as u16,
                    ..lesson
                };
                let held = learner.ring(&lesson, mode).map_err(broken)?;
                of_ring(&held, &outcome.trace, batch)
            }
            (None, _) => return refused("only rings of all devices learn here".to_owned()),
        };
        bill(&figures, &scenario, &mut points);
        Ok(Outcome::Learnt { points })
    }
}

/// Says what the devices took until each point: of what the same run takes in all, the part that time has.
fn bill(figures: &Figures, scenario: &Scenario, points: &mut [Point]) {
    let per_second = samples(scenario) / figures.seconds;
    for point in points {
        let joules = |per_sample: f64| per_sample * per_second * point.seconds;
        let of = &figures.joules;
        point.estimated_joules = joules(of.estimated_joules_per_sample);
        point.estimated_joules_low = joules(of.estimated_joules_per_sample_low);
        point.estimated_joules_high = joules(of.estimated_joules_per_sample_high);
    }
}

/// The devices of the cell, with the run that is learnt.
fn lesson_scenario(
    cell: &Cell,
    outline: RunOutline,
    devices: &[&DeviceProfile],
    steps: u32,
) -> Scenario {
    let costs = ModelCosts {
        layers: outline.layers.clone(),
        sample_bytes: outline.sample_bytes,
    };
    let usual = scenario(cell, &costs, devices, steps);
    let mode = match cell.way {
        Way::Ring(mode) | Way::FewRing(mode) => mode,
        Way::ParameterServer { .. } | Way::AllReduce => Mode::Sync,
    };
    let part = UPDATE_OPERATIONS * costs.parameters() as f64 / devices.len().max(1) as f64;
    let mut schedule = outline.schedule;
    schedule.mode = mode;
    Scenario {
        outline: RunOutline {
            evaluate_every: outline.evaluate_every,
            evaluation_micro_batches: outline.evaluation_micro_batches,
            source: outline.source,
            schedule,
            ..usual.outline
        },
        devices: devices.iter().map(|device| device.spec(part)).collect(),
        ..usual
    }
}
