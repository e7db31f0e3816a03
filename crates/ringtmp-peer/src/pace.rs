//! Pacing: a peer that takes as long for each task as a device of a given speed would. So rings of unequal devices can be
//! tried on one machine, and compared with what the simulator predicts.

use ringtmp_core::ids::LayerIndex;
use ringtmp_core::plan::LayerCost;
use ringtmp_core::schedule::Task;
use ringtmp_core::signal::RunOutline;
use std::ops::Range;
use std::time::Duration;

/// Operations of an update for each number that is learnt: reading and writing weights, gradients and an optimizer's state
/// counts as ten.
const UPDATE_OPERATIONS: f64 = 10.0;

/// What a task may take more than it should before it counts as late: a tenth, and the grain of timers.
const LATE_FACTOR: f64 = 1.1;
const TIMER_GRAIN: Duration = Duration::from_millis(2);

/// The longest that a task is made to take.
const TASK_MAX: Duration = Duration::from_secs(3600);

/// What tasks of a stage take on an emulated device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    forward: Duration,
    backward_input: Duration,
    backward_weights: Duration,
    update: Duration,
}

impl Pace {
    /// What the layers of a run take, a micro-batch at a time, on a device of so many operations per second.
    pub fn new(
        outline: &RunOutline,
        layers: &Range<LayerIndex>,
        operations_per_second: f64,
    ) -> Self {
        let layers = usize::from(layers.start.0)..usize::from(layers.end.0);
        let costs = &outline.layers[layers];
        let samples = f64::from(outline.schedule.micro_batch_samples);
        let part = |part: usize| -> Duration {
            let operations: f64 = costs.iter().map(|layer| layer.flops[part]).sum();
            seconds(operations * samples / operations_per_second)
        };
        Self {
            forward: part(0),
            backward_input: part(1),
            backward_weights: part(2),
            update: seconds(update_operations(costs) / operations_per_second),
        }
    }

    /// What a task takes; none for drawing samples, which no model of a device tells.
    pub fn duration(&self, task: &Task) -> Option<Duration> {
        match task {
            Task::Draw { .. } => None,
            Task::Forward { .. } => Some(self.forward),
            Task::BackwardInput { .. } => Some(self.backward_input),
            Task::BackwardWeights { .. } => Some(self.backward_weights),
            // Both go through all parameters once.
            Task::Squares { .. } | Task::Update { .. } => Some(self.update),
        }
    }
}

/// Whether a task that should have taken `takes` was held up by the machine instead of by its pace.
pub(crate) fn is_late(takes: Duration, taken: Duration) -> bool {
    taken > takes.mul_f64(LATE_FACTOR) + TIMER_GRAIN
}

/// Operations of an update of these layers.
pub fn update_operations(layers: &[LayerCost]) -> f64 {
    let parameters: f64 = layers.iter().map(|layer| layer.parameters as f64).sum();
    parameters * UPDATE_OPERATIONS
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).map_or(TASK_MAX, |duration| duration.min(TASK_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_file::RunFile;
    use ringtmp_core::ids::Step;

    #[test]
    fn a_task_takes_its_operations_over_the_devices_speed_and_is_late_beyond_a_tenth() {
        let run = RunFile::default().check().expect("the default run");
        let outline = run.descriptor().outline;
        let whole = LayerIndex(0)..LayerIndex(outline.layers.len() as u16);
        let pace = |speed| Pace::new(&outline, &whole, speed);
        let (slow, fast) = (pace(1e6), pace(4e6));
        let update = Task::Update {
            step: Step(0),
            square_sum: None,
        };
        let parameters: u64 = outline.layers.iter().map(|layer| layer.parameters).sum();
        let expected = parameters as f64 * 10.0 / 1e6;
        let takes = slow.duration(&update).expect("an update is paced");
        assert!((takes.as_secs_f64() - expected).abs() < 1e-6);
        assert!(slow.forward > fast.forward * 39 / 10 && slow.forward < fast.forward * 41 / 10);
        assert!(!is_late(takes, takes + TIMER_GRAIN));
        assert!(is_late(takes, takes * 12 / 10 + TIMER_GRAIN));
        let never = pace(0.0);
        assert_eq!(never.forward, TASK_MAX);
    }
}
