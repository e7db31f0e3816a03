//! How fast this device computes: full training steps of the presets, and matrix products. The same code natively and in a tab.
//!
//! A measurement warms up, then takes several rounds of so many steps that each is about as long as was asked for, and tells
//! the median. Inputs are made up and stay the same: what is measured is a stage, not its data.

use ringtmp_compute::operations::MatrixProduct;
use ringtmp_compute::recording::{Instance, Lifetime, Plan, Recording};
use ringtmp_compute::{
    AdamSettings, Arithmetic, ComputeError, Executor, ExecutorKind, ModelSpec, OptimizerSpec,
    Packed, Packing, Rule, Stage, StageConfig,
};
use serde::Serialize;
use std::time::Duration;
use web_time::Instant;

/// The version of the lines' JSON.
const SCHEMA_VERSION: u32 = 1;

/// Of the time of a round, how much is spent on warming up.
const WARM_UP_SHARE: f64 = 0.5;

/// The learning rate of every measured step. Weights change, as they do in training, and stay finite.
const LEARNING_RATE: f32 = 0.001;

/// Seconds that the processors have worked for this process (or for whatever is measured), where that can be told.
pub type CpuSeconds<'a> = &'a dyn Fn() -> Option<f64>;

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BenchSettings {
    /// Rounds, of which the median is told; at least 1.
    pub rounds: u32,
    /// How long a round takes, about.
    pub round: Duration,
}

/// Rates over the rounds of a measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rates {
    first: Duration,
    steps_per_second: f64,
    least: f64,
    most: f64,
    steps_per_cpu_second: Option<f64>,
}

/// How fast a preset trains.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepRate {
    /// Of this line.
    pub schema_version: u32,
    /// The model.
    pub preset: String,
    /// `cpu` or `gpu`.
    pub executor: &'static str,
    /// The device.
    pub adapter: String,
    /// Threads that compute.
    pub threads: u32,
    /// Samples of a step.
    pub batch: usize,
    /// The median of the rounds.
    pub samples_per_second: f64,
    /// The slowest round.
    pub samples_per_second_min: f64,
    /// The fastest round.
    pub samples_per_second_max: f64,
    /// Over all rounds, where processors' time can be told.
    pub samples_per_cpu_second: Option<f64>,
    /// 10^9 operations per second, as layers count them.
    pub gflops: f64,
    /// From nothing to the end of the first step: kernels are compiled, buffers made.
    pub first_step_seconds: f64,
    /// Bytes that the stage takes.
    pub memory_bytes: u64,
}

/// How fast a square matrix product is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProductRate {
    /// Of this line.
    pub schema_version: u32,
    /// Rows, columns and inner dimension.
    pub matrix_product: usize,
    /// `cpu` or `gpu`.
    pub executor: &'static str,
    /// The device.
    pub adapter: String,
    /// Threads that compute.
    pub threads: u32,
    /// 10^9 operations per second, the median of the rounds.
    pub gflops: f64,
    /// The slowest round.
    pub gflops_min: f64,
    /// The fastest round.
    pub gflops_max: f64,
    /// Over all rounds, where processors' time can be told.
    pub gflops_per_cpu_second: Option<f64>,
}

/// The batch a preset is measured with: 64 images of `mlp`, 32 of `cnn`, 8 texts of the transformers.
pub fn usual_batch(preset: &str) -> usize {
    match preset {
        "mlp" => 64,
        "cnn" => 32,
        _ => 8,
    }
}

/// Full training steps of a preset: forward, loss, backward and update of one micro-batch.
///
/// # Errors
///
/// That there is no such preset, or what the device cannot compute.
pub async fn measure_steps(
    preset: &str,
    batch: usize,
    executor: &Executor,
    settings: BenchSettings,
    cpu_seconds: CpuSeconds<'_>,
) -> Result<StepRate, ComputeError> {
    let model = ModelSpec::preset(preset)?;
    let (input, labels) = made_up(&model, batch)?;
    let outline = model.outline()?;
    let flops: f64 = outline.iter().flat_map(|layer| layer.flops).sum();
    let config = StageConfig {
        layers: 0..model.layers.len(),
        optimizer: optimizer(preset),
        micro_batch: batch,
        batch,
        slots: 1,
        versions: 1,
        seed: 1,
        input_packing: Packing::F32,
        output_packing: Packing::F32,
        arithmetic: Arithmetic::default(),
        model,
    };
    let start = Instant::now();
    let mut stage = Stage::new(config, executor.clone()).await?;
    let preparing = start.elapsed();
    let memory_bytes = stage.memory_bytes();
    let mut step = 0;
    let rates = measure(settings, cpu_seconds, async || {
        let loss = stage.begin_loss(0, &input, &labels).await?;
        stage.backward_input(0, None).await?;
        stage.backward_weights(0).await?;
        stage.finish_loss(loss).await?;
        stage.update(step).await?;
        step += 1;
        Ok(())
    })
    .await?;
    let samples = batch as f64;
    Ok(StepRate {
        schema_version: SCHEMA_VERSION,
        preset: preset.to_owned(),
        executor: word(executor),
        adapter: executor.adapter(),
        threads: 1,
        batch,
        samples_per_second: samples * rates.steps_per_second,
        samples_per_second_min: samples * rates.least,
        samples_per_second_max: samples * rates.most,
        samples_per_cpu_second: rates.steps_per_cpu_second.map(|rate| samples * rate),
        gflops: flops * samples * rates.steps_per_second / 1e9,
        first_step_seconds: (preparing + rates.first).as_secs_f64(),
        memory_bytes,
    })
}

/// Products of two square matrices of `size` rows.
///
/// # Errors
///
/// What the device cannot hold or compute.
pub async fn measure_product(
    size: usize,
    executor: &Executor,
    settings: BenchSettings,
    cpu_seconds: CpuSeconds<'_>,
) -> Result<ProductRate, ComputeError> {
    let mut plan = Plan {
        slots: 1,
        ..Plan::default()
    };
    let [left, right, output] =
        ["left", "right", "output"].map(|name| plan.buffer(name, size * size, Lifetime::Stage));
    let mut recording = Recording::new("matrix product");
    recording.push(MatrixProduct {
        left,
        right,
        bias: None,
        output,
        rows: size,
        columns: size,
        inner: size,
        transpose_left: false,
        transpose_right: false,
        accumulate: false,
    });
    let recording = plan.record(recording);
    let mut program = executor.prepare(plan).await?;
    let first = Instance::default();
    let words: Vec<u32> = (0..size * size).map(|i| number(i).to_bits()).collect();
    program.write(left, first, &words);
    program.write(right, first, &words);
    // What is read back says that the product is there; a corner of it is enough.
    let corner = ringtmp_compute::recording::View {
        elements: 1,
        ..output
    };
    let rates = measure(settings, cpu_seconds, async || {
        program.run(recording, first, &[corner]).await?;
        Ok(())
    })
    .await?;
    let gflop = 2.0 * (size as f64).powi(3) / 1e9;
    Ok(ProductRate {
        schema_version: SCHEMA_VERSION,
        matrix_product: size,
        executor: word(executor),
        adapter: executor.adapter(),
        threads: 1,
        gflops: gflop * rates.steps_per_second,
        gflops_min: gflop * rates.least,
        gflops_max: gflop * rates.most,
        gflops_per_cpu_second: rates.steps_per_cpu_second.map(|rate| gflop * rate),
    })
}

/// Runs `step` for the rounds of the settings.
async fn measure(
    settings: BenchSettings,
    cpu_seconds: CpuSeconds<'_>,
    mut step: impl AsyncFnMut() -> Result<(), ComputeError>,
) -> Result<Rates, ComputeError> {
    let start = Instant::now();
    step().await?;
    let first = start.elapsed();
    let (start, mut steps) = (Instant::now(), 0);
    let warm_up = settings.round.mul_f64(WARM_UP_SHARE);
    while steps == 0 || start.elapsed() < warm_up {
        step().await?;
        steps += 1;
    }
    let each = start.elapsed().as_secs_f64() / f64::from(steps);
    let steps = (settings.round.as_secs_f64() / each).clamp(1.0, 1e6) as u32;
    let mut rates = Vec::new();
    let cpu_start = cpu_seconds();
    for _ in 0..settings.rounds.max(1) {
        let start = Instant::now();
        for _ in 0..steps {
            step().await?;
        }
        rates.push(f64::from(steps) / start.elapsed().as_secs_f64());
    }
    let worked = cpu_start.and_then(|start| Some(cpu_seconds()? - start));
    let all = f64::from(steps) * rates.len() as f64;
    rates.sort_by(f64::total_cmp);
    Ok(Rates {
        first,
        steps_per_second: rates[rates.len() / 2],
        least: rates[0],
        most: rates[rates.len() - 1],
        steps_per_cpu_second: worked.map(|seconds| all / seconds),
    })
}

fn word(executor: &Executor) -> &'static str {
    match executor.kind() {
        ExecutorKind::Gpu => "gpu",
        ExecutorKind::Cpu => "cpu",
    }
}

/// The optimizer a preset is usually trained with.
fn optimizer(preset: &str) -> OptimizerSpec {
    let rule = match preset {
        "mlp" => Rule::Sgd {},
        "cnn" => Rule::Adam(AdamSettings::default()),
        _ => Rule::Adamw {
            adam: AdamSettings::default(),
            weight_decay: 0.01,
        },
    };
    OptimizerSpec {
        rule,
        ..OptimizerSpec::sgd(LEARNING_RATE)
    }
}

/// A micro-batch of numbers or tokens, as the model takes, and a label for each row of its logits.
fn made_up(model: &ModelSpec, batch: usize) -> Result<(Packed, Vec<u32>), ComputeError> {
    let shapes = model.shapes()?;
    let (input, output) = (&shapes[0], &shapes[shapes.len() - 1]);
    let shape: Vec<usize> = std::iter::once(batch)
        .chain(input.iter().copied())
        .collect();
    let elements = 0..shape.iter().product();
    let packed = match model.layers[0].layer().tokens() {
        Some(limit) => {
            let tokens: Vec<u32> = elements.map(|i| below(i, limit)).collect();
            Packed::from_u32(&shape, &tokens)?
        }
        None => Packed::from_f32(&shape, &elements.map(number).collect::<Vec<_>>())?,
    };
    let (classes, rows) = output.split_last().map_or((1, 1), |(classes, rows)| {
        (*classes, batch * rows.iter().product::<usize>())
    });
    Ok((packed, (0..rows).map(|i| below(i, classes)).collect()))
}

/// Numbers without a pattern that a processor or a network could use (Knuth's multiplicative hash).
fn scattered(i: usize) -> u32 {
    (i as u32).wrapping_mul(2_654_435_761) >> 8
}

/// 0 to 1.
fn number(i: usize) -> f32 {
    scattered(i) as f32 / (1 << 24) as f32
}

fn below(i: usize, limit: usize) -> u32 {
    scattered(i) % u32::try_from(limit.max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringtmp_compute::ExecutorChoice;

    const BRIEF: BenchSettings = BenchSettings {
        rounds: 3,
        round: Duration::from_millis(1),
    };

    fn cpu() -> Executor {
        let opening = Executor::open(ExecutorChoice::Cpu);
        futures::executor::block_on(opening).expect("a CPU is there")
    }

    #[test]
    fn every_preset_that_is_measured_trains_and_its_rates_agree_with_each_other() {
        let cpu = cpu();
        for preset in ["mlp", "cnn", "gpt-nano"] {
            let measuring = measure_steps(preset, 2, &cpu, BRIEF, &|| None);
            let rate = futures::executor::block_on(Box::pin(measuring)).expect(preset);
            assert!(rate.samples_per_second_min <= rate.samples_per_second);
            assert!(rate.samples_per_second <= rate.samples_per_second_max);
            assert!(rate.gflops > 0.0 && rate.first_step_seconds > 0.0);
            assert!(rate.memory_bytes > 0 && rate.samples_per_cpu_second.is_none());
        }
    }

    #[test]
    fn processor_time_is_told_over_all_rounds() {
        let clock = std::cell::Cell::new(0.0);
        let ticking = || {
            clock.set(clock.get() + 10.0);
            Some(clock.get())
        };
        let cpu = cpu();
        let measuring = measure_product(8, &cpu, BRIEF, &ticking);
        let rate = futures::executor::block_on(Box::pin(measuring)).expect("a product");
        let (gflop, per_cpu) = (2.0 * 512.0 / 1e9, rate.gflops_per_cpu_second);
        let steps = per_cpu.expect("the clock ticks") * 10.0 / gflop;
        assert!(
            (steps - steps.round()).abs() < 1e-3 && steps >= 3.0,
            "{steps}"
        );
    }
}
