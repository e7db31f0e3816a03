//! What this device takes for the layers of a run: told to the room before it plans.
//!
//! Each layer is made a stage of its own and rehearsed; layers that are alike are measured once. A task is repeated until its time
//! can be told from the clock's grain, several rounds over, of which the fastest counts: whatever else the device was busy
//! with made the others slower. By how much the rounds differ is told as noise, so that equal devices are taken for equal.

use crate::pace::update_operations;
use crate::platform::{Breath, Clock};
use crate::run_file::Run;
use crate::workshop::Circumstances;
use ringtmp_compute::layers::LayerSpec;
use ringtmp_compute::{ComputeError, Executor, Packing, Rehearsal, Stage, StageConfig};
use ringtmp_core::profile::{LAYER_SECONDS_MAX, NOISE_MAX, Profile};
use ringtmp_core::schedule::StageCost;
use ringtmp_core::signal::RunOutline;
use ringtmp_core::time::Time;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// How often each task is timed.
const ROUNDS: usize = 3;

/// How long a round takes at least: browsers tell time to a tenth of a millisecond.
const ROUND_MIN: Duration = Duration::from_millis(4);

/// A round is made of at most so many repetitions, for layers that take no time at all.
const REPETITIONS_MAX: f64 = 1000.0;

/// Once so much time has gone, what is left is timed once: a slow device is told from a fast one all the same.
const PATIENCE: Duration = Duration::from_secs(3);

/// Tells a measurement that it comes too late.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hurry(Rc<Cell<bool>>);

impl Hurry {
    /// The plan is there; there is no use in measuring on.
    pub(crate) fn up(&self) {
        self.0.set(true);
    }
}

/// What the tasks of one layer take, in seconds per micro-batch, of each round.
#[derive(Clone, Debug, PartialEq)]
struct Rounds {
    forward: Vec<f64>,
    backward_input: Vec<f64>,
    backward_weights: Vec<f64>,
    /// Of a step, not of a micro-batch.
    update: Vec<f64>,
}

impl Rounds {
    /// F, B and W, W with its part of the step's update; the fastest of each.
    fn fastest(&self, micro_batches: f64) -> [f64; 3] {
        let update = least(&self.update) / micro_batches;
        [
            least(&self.forward),
            least(&self.backward_input),
            least(&self.backward_weights) + update,
        ]
    }

    fn tasks(&self) -> [&Vec<f64>; 4] {
        [
            &self.forward,
            &self.backward_input,
            &self.backward_weights,
            &self.update,
        ]
    }

    /// What a layer counts as that this device cannot hold or compute: a plan that gives it to another is better in any case, and
    /// one that does not fails with the reason.
    fn impossible() -> Self {
        let longest = vec![f64::INFINITY];
        Self {
            forward: longest.clone(),
            backward_input: longest.clone(),
            backward_weights: longest.clone(),
            update: longest,
        }
    }
}

/// Measures all layers of a run, but for those that would not fit into the memory which the device gives; nothing if it was told to
/// hurry. A paced device is as slow as the one it stands for.
pub(crate) async fn profile(
    run: &Run,
    executor: &Executor,
    circumstances: Circumstances,
    clock: Clock,
    hurry: &Hurry,
) -> Option<Profile> {
    let layers = &run.model.layers;
    let outline = run.descriptor().outline;
    let mut timer = Timer {
        run,
        executor,
        clock,
        ends: clock.now() + PATIENCE,
        breath: Breath::new(),
    };
    let mut known: Vec<(Alike<'_>, Rounds)> = Vec::new();
    let mut measured = Vec::new();
    for i in 0..layers.len() {
        let alike = Alike::new(run, i);
        let rounds = match known.iter().find(|(other, _)| *other == alike) {
            Some((_, rounds)) => rounds.clone(),
            None => {
                if hurry.0.get() {
                    return None;
                }
                let rounds = if fits(&outline, i, circumstances.memory_bytes) {
                    timer.layer(i).await.unwrap_or_else(|error| {
                        tracing::warn!(layer = i, %error, "this device cannot compute a layer");
                        Rounds::impossible()
                    })
                } else {
                    Rounds::impossible()
                };
                known.push((alike, rounds.clone()));
                rounds
            }
        };
        measured.push(rounds);
    }
    Some(Profile {
        medium_bytes_per_second: circumstances.medium_bytes_per_second,
        ..told(&outline, &measured, circumstances.operations_per_second)
    })
}

/// Seconds of F, of B and of W per sample, for each layer of a run, as this device computes them by itself, the fastest of a few rounds;
/// updates are left out.
///
/// # Errors
///
/// A layer that this device cannot compute.
pub async fn layer_seconds(run: &Run, executor: &Executor) -> Result<Vec<[f64; 3]>, ComputeError> {
    let clock = Clock::start();
    let mut timer = Timer {
        run,
        executor,
        clock,
        ends: clock.now() + PATIENCE,
        breath: Breath::new(),
    };
    let samples = f64::from(run.file.micro_batch);
    let mut known: Vec<(Alike<'_>, [f64; 3])> = Vec::new();
    let mut all = Vec::new();
    for i in 0..run.model.layers.len() {
        let alike = Alike::new(run, i);
        let seconds = match known.iter().find(|(other, _)| *other == alike) {
            Some((_, seconds)) => *seconds,
            None => {
                // Of a step without end an update is no part.
                let fastest = timer.layer(i).await?.fastest(f64::INFINITY);
                let seconds = fastest.map(|seconds| seconds / samples);
                known.push((alike, seconds));
                seconds
            }
        };
        all.push(seconds);
    }
    Ok(all)
}

/// Whether a layer by itself keeps to so much memory, as planners count it: to measure what no plan gives to this device could end
/// its tab.
fn fits(outline: &RunOutline, layer: usize, memory_bytes_max: Option<u64>) -> bool {
    let samples = u64::from(outline.schedule.micro_batch_samples);
    let cost = &outline.layers[layer];
    let input = layer.checked_sub(1).map(|before| &outline.layers[before]);
    let stage = StageCost {
        parameters: cost.parameters,
        stash_bytes: cost.stash_bytes.saturating_mul(samples),
        input_bytes: input.map_or(0, |before| before.output_bytes.saturating_mul(samples)),
        memory_bytes_max,
        ..StageCost::default()
    };
    stage.lacking_bytes(&outline.schedule, outline.micro_batches, 1) == 0
}

/// What two layers have in common that take equally long.
#[derive(Clone, Debug, PartialEq)]
struct Alike<'a> {
    layer: &'a LayerSpec,
    shape: &'a [usize],
    /// The first layer has no B, and the last one the loss.
    is_end: [bool; 2],
}

impl<'a> Alike<'a> {
    fn new(run: &'a Run, i: usize) -> Self {
        Self {
            layer: &run.model.layers[i],
            shape: &run.shapes[i],
            is_end: [i == 0, i + 1 == run.model.layers.len()],
        }
    }
}

struct Timer<'a> {
    run: &'a Run,
    executor: &'a Executor,
    clock: Clock,
    ends: Time,
    breath: Breath,
}

impl Timer<'_> {
    async fn layer(&mut self, i: usize) -> Result<Rounds, ComputeError> {
        let file = &self.run.file;
        let config = StageConfig {
            model: self.run.model.clone(),
            layers: i..i + 1,
            micro_batch: file.micro_batch as usize,
            batch: file.batch as usize,
            slots: 1,
            versions: 1,
            seed: file.seed,
            optimizer: self.run.optimizer,
            input_packing: Packing::F32,
            output_packing: Packing::F32,
            arithmetic: file.arithmetic,
        };
        let mut stage = Stage::new(config, self.executor.clone()).await?;
        Ok(Rounds {
            forward: self.task(&mut stage, Rehearsal::Forward).await?,
            backward_input: self.task(&mut stage, Rehearsal::BackwardInput).await?,
            backward_weights: self.task(&mut stage, Rehearsal::BackwardWeights).await?,
            update: self.task(&mut stage, Rehearsal::Update).await?,
        })
    }

    /// Seconds of a task in each round.
    async fn task(&mut self, stage: &mut Stage, task: Rehearsal) -> Result<Vec<f64>, ComputeError> {
        let warm_up = self.round(stage, task, 1).await?;
        if self.clock.now() >= self.ends {
            return Ok(vec![warm_up]);
        }
        let repetitions = (ROUND_MIN.as_secs_f64() / warm_up).ceil();
        let repetitions = repetitions.clamp(1.0, REPETITIONS_MAX) as u32;
        let mut rounds = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            rounds.push(self.round(stage, task, repetitions).await?);
        }
        Ok(rounds)
    }

    async fn round(
        &mut self,
        stage: &mut Stage,
        task: Rehearsal,
        repetitions: u32,
    ) -> Result<f64, ComputeError> {
        // The sockets of this thread wait meanwhile.
        self.breath.take().await;
        let start = self.clock.now();
        stage.rehearse(task, repetitions).await?;
        let taken = self.clock.now().since(start);
        Ok(taken.as_secs_f64() / f64::from(repetitions))
    }
}

/// What the room is told: seconds per sample, and of a paced device what its pace says where that is longer.
fn told(outline: &RunOutline, measured: &[Rounds], operations_per_second: Option<f64>) -> Profile {
    let samples = f64::from(outline.schedule.micro_batch_samples);
    let micro_batches = f64::from(outline.micro_batches);
    let paced = |layer: usize| {
        let cost = &outline.layers[layer];
        let update = update_operations(std::slice::from_ref(cost)) / (samples * micro_batches);
        let [forward, input, weights] = cost.flops;
        let operations = [forward, input, weights + update];
        operations.map(|operations| operations_per_second.map_or(0.0, |speed| operations / speed))
    };
    let seconds = |(layer, rounds): (usize, &Rounds)| {
        let own = rounds.fastest(micro_batches);
        let paced = paced(layer);
        [0, 1, 2].map(|pass| {
            let seconds = (own[pass] / samples).max(paced[pass]);
            seconds.clamp(0.0, LAYER_SECONDS_MAX)
        })
    };
    Profile {
        layer_seconds: measured.iter().enumerate().map(seconds).collect(),
        noise: noise(measured, operations_per_second.is_some()),
        links: Vec::new(),
        medium_bytes_per_second: None,
    }
}

/// By what share the rounds of all layers together differed. A pace has no noise.
fn noise(measured: &[Rounds], is_paced: bool) -> f64 {
    if is_paced {
        return 0.0;
    }
    let tasks = || measured.iter().flat_map(Rounds::tasks);
    let finite = |times: &&Vec<f64>| times.iter().all(|seconds| seconds.is_finite());
    let sum = |of: fn(&[f64]) -> f64| tasks().filter(finite).map(|times| of(times)).sum::<f64>();
    let noise = sum(most) / sum(least) - 1.0;
    if noise.is_finite() {
        noise.clamp(0.0, NOISE_MAX)
    } else {
        0.0
    }
}

fn least(seconds: &[f64]) -> f64 {
    seconds.iter().copied().fold(f64::INFINITY, f64::min)
}

fn most(seconds: &[f64]) -> f64 {
    seconds.iter().copied().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_file::{ModelTable, RunFile};
    use ringtmp_compute::ExecutorChoice;

    fn profile_of(preset: &str, circumstances: Circumstances, hurry: &Hurry) -> Option<Profile> {
        let run = RunFile {
            micro_batch: 2,
            batch: 4,
            model: ModelTable::preset(preset),
            ..RunFile::default()
        };
        let run = run.check().expect("a sound run");
        let opening = Executor::open(ExecutorChoice::Cpu);
        let cpu = futures::executor::block_on(opening).expect("a CPU is there");
        let measuring = profile(&run, &cpu, circumstances, Clock::start(), hurry);
        futures::executor::block_on(measuring)
    }

    #[test]
    fn what_is_measured_is_believed_and_layers_that_are_alike_take_as_long() {
        let told = profile_of("gpt-nano", Circumstances::default(), &Hurry::default());
        let told = told.expect("nobody hurries");
        assert_eq!(told.check(11), Ok(()));
        assert_eq!(told.layer_seconds[1], told.layer_seconds[3], "attention");
        assert!(told.layer_seconds.iter().all(|passes| passes[0] > 0.0));
        assert!(told.layer_seconds[0][1] < told.layer_seconds[1][1]);
    }

    #[test]
    fn a_paced_device_tells_its_pace_and_one_that_is_hurried_nothing() {
        let slow = Circumstances {
            operations_per_second: Some(1e3),
            ..Circumstances::default()
        };
        let told = profile_of("mlp", slow, &Hurry::default()).expect("nobody hurries");
        // 2 operations for each of 784 x 256 weights.
        assert!((told.layer_seconds[0][0] - 401.408).abs() < 1.0, "{told:?}");
        assert_eq!(told.noise.to_bits(), 0f64.to_bits());
        let hurry = Hurry::default();
        hurry.up();
        assert_eq!(profile_of("mlp", slow, &hurry), None);
    }

    #[test]
    fn a_layer_that_does_not_fit_is_not_measured() {
        let little = Circumstances {
            memory_bytes: Some(1_000_000),
            ..Circumstances::default()
        };
        let told = profile_of("mlp", little, &Hurry::default()).expect("nobody hurries");
        assert_eq!(told.layer_seconds[0], [LAYER_SECONDS_MAX; 3]);
        assert!(told.layer_seconds[2][0] < 1.0, "{told:?}");
        assert_eq!(told.check(5), Ok(()));
    }
}
