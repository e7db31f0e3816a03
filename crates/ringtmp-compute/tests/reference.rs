//! The trajectory of PyTorch: the same weights and batches must give the same losses.
//!
//! The reference lies beside the repository, in `../shared/reference` or where `RINGTMP_REFERENCE` says, with its data in
//! `data` beside it; where it is absent the test is skipped aloud.

#![cfg(not(target_arch = "wasm32"))]

mod common;

use common::say;
use futures::executor::block_on;
use ringtmp_compute::{
    AdamSettings, Arithmetic, Executor, ExecutorChoice, ModelSpec, OptimizerSpec, Packed, Packing,
    Parameter, Rule, Stage, StageConfig,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

#[derive(serde::Deserialize)]
struct Trajectory {
    batch: usize,
    optimizer: String,
    lr: f32,
    #[serde(default)]
    weight_decay: f32,
    losses: Vec<f32>,
    first_gradient_norms: BTreeMap<String, f64>,
}

impl Trajectory {
    fn optimizer(&self) -> OptimizerSpec {
        let adam = AdamSettings::default();
        let rule = match self.optimizer.as_str() {
            "sgd" => Rule::Sgd {},
            "adam" => Rule::Adam(adam),
            "adamw" => Rule::Adamw {
                adam,
                weight_decay: self.weight_decay,
            },
            other => panic!("the reference has the optimizer {other}"),
        };
        OptimizerSpec::new(rule, self.lr)
    }
}

#[derive(serde::Deserialize)]
struct Entry {
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

fn reference() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference");
    let folder = std::env::var_os("RINGTMP_REFERENCE").map_or(beside, PathBuf::from);
    let found = folder.join("mlp.json").is_file();
    if !found {
        say(&format!("SKIP: no reference in {}", folder.display()));
    }
    found.then_some(folder)
}

/// Weights from a safetensors file: a length, a header in JSON, and the numbers.
fn weights(path: &Path) -> Vec<Parameter> {
    let bytes = std::fs::read(path).expect("readable weights");
    let (length, rest) = bytes.split_first_chunk::<8>().expect("a length");
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let entries: BTreeMap<String, Entry> = serde_json::from_slice(header).expect("a header");
    let parameter = |(name, entry): (String, Entry)| {
        let [start, end] = entry.data_offsets;
        let (words, _) = data[start..end].as_chunks::<4>();
        let layer = name
            .split('.')
            .next()
            .and_then(|layer| layer.parse().ok())
            .expect("a layer");
        let values = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
        Parameter {
            layer,
            name,
            shape: entry.shape,
            values,
        }
    };
    entries.into_iter().map(parameter).collect()
}

fn unpacked(path: &Path, header: usize) -> Vec<u8> {
    let file = std::fs::File::open(path).expect("the data is there");
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file)
        .read_to_end(&mut bytes)
        .expect("gzip");
    bytes.split_off(header)
}

/// The samples of a preset in the order of the reference.
enum Samples {
    Images { pixels: Vec<u8>, labels: Vec<u8> },
    Text { tokens: Vec<u32> },
}

impl Samples {
    /// Characters are numbered by the sorted set of all in the file.
    fn open(folder: &Path, preset: &str) -> Self {
        if preset.starts_with("gpt") {
            let path = folder.join("../data/text/tinyshakespeare.txt");
            let text = std::fs::read_to_string(path).expect("the data is there");
            let known: BTreeSet<_> = text.chars().collect();
            let number: BTreeMap<_, _> = known.into_iter().zip(0..).collect();
            let tokens = text.chars().map(|character| number[&character]).collect();
            return Self::Text { tokens };
        }
        let data = folder.join("../data/mnist-10k");
        Self::Images {
            pixels: unpacked(&data.join("t10k-images-idx3-ubyte.gz"), 16),
            labels: unpacked(&data.join("t10k-labels-idx1-ubyte.gz"), 8),
        }
    }

    /// `count` samples from the `first` on, of this shape, and their labels.
    fn draw(&self, first: usize, count: usize, shape: &[usize]) -> (Packed, Vec<u32>) {
        let shape: Vec<_> = [count].iter().chain(shape).copied().collect();
        match self {
            Self::Text { tokens } => {
                let (context, characters) = (shape[1], shape[0] * shape[1]);
                let start = first * context;
                let input = Packed::from_u32(&shape, &tokens[start..start + characters]);
                let labels = tokens[start + 1..start + 1 + characters].to_vec();
                (input.expect("a micro-batch"), labels)
            }
            Self::Images { pixels, labels } => {
                let range = first..first + count;
                let values: Vec<_> = pixels[range.start * 784..range.end * 784]
                    .iter()
                    .map(|pixel| f32::from(*pixel) / 255.0)
                    .collect();
                let labels = labels[range].iter().map(|label| u32::from(*label));
                let input = Packed::from_f32(&shape, &values).expect("a micro-batch");
                (input, labels.collect())
            }
        }
    }
}

/// Trains along the trajectory, in micro-batches, with all of the model in one stage.
fn follow(preset: &str, choice: ExecutorChoice, micro_batch: usize, tolerance: f32) {
    let Some(folder) = reference() else { return };
    let executor = match block_on(Executor::open(choice)) {
        Ok(executor) => executor,
        Err(error) => return say(&format!("SKIP: {error}")),
    };
    let text = std::fs::read(folder.join(format!("{preset}.json"))).expect("readable");
    let expected: Trajectory = serde_json::from_slice(&text).expect("a trajectory");
    let model = ModelSpec::preset(preset).expect("a preset");
    let (samples, shape) = (Samples::open(&folder, preset), model.input.clone());
    let config = StageConfig {
        layers: 0..model.layers.len(),
        model,
        micro_batch,
        batch: expected.batch,
        slots: 1,
        versions: 1,
        seed: 0,
        optimizer: expected.optimizer(),
        input_packing: Packing::F32,
        output_packing: Packing::F32,
        arithmetic: Arithmetic::default(),
    };
    let mut stage = block_on(Stage::new(config, executor)).expect("a stage");
    stage
        .set_parameters(&weights(&folder.join(format!("{preset}.init.safetensors"))))
        .expect("the weights of the preset");
    let mut worst = 0.0f32;
    for (step, expected_loss) in expected.losses.iter().enumerate() {
        let (mut loss, mut rows) = (0.0, 0);
        let end = (step + 1) * expected.batch;
        for first in (step * expected.batch..end).step_by(micro_batch) {
            let (input, labels) = samples.draw(first, micro_batch, &shape);
            let report = block_on(stage.forward_loss(0, &input, &labels)).expect("a loss");
            loss += report.loss_sum;
            rows += report.samples;
            block_on(stage.backward_input(0, None)).expect("B");
            block_on(stage.backward_weights(0)).expect("W");
        }
        if step == 0 {
            check_norms(&mut stage, &expected);
        }
        block_on(stage.update(step as u64)).expect("an update");
        let loss = loss / rows as f32;
        let error = (loss - expected_loss).abs() / expected_loss;
        assert!(
            error <= tolerance,
            "{preset}, step {step}: {loss}, PyTorch has {expected_loss}"
        );
        worst = worst.max(error);
    }
    say(&format!(
        "{preset}, {}: largest relative difference of a loss {worst:.1e}",
        stage.executor().adapter()
    ));
}

fn check_norms(stage: &mut Stage, expected: &Trajectory) {
    let squares = block_on(stage.gradient_squares()).expect("sums of squares");
    assert_eq!(squares.len(), expected.first_gradient_norms.len());
    let mut worst = 0.0f64;
    for squares in squares {
        let (norm, name) = (squares.sum.sqrt(), squares.name);
        let pytorch = expected.first_gradient_norms[&name];
        let error = (norm - pytorch).abs() / pytorch;
        assert!(error <= 1e-3, "{name}: {norm}, PyTorch has {pytorch}");
        worst = worst.max(error);
    }
    say(&format!(
        "largest relative difference of a gradient's norm {worst:.1e}"
    ));
}

#[test]
fn the_cpu_follows_pytorch_with_the_mlp() {
    follow("mlp", ExecutorChoice::Cpu, 64, 1e-4);
}

#[test]
fn the_cpu_follows_pytorch_with_the_mlp_in_micro_batches() {
    follow("mlp", ExecutorChoice::Cpu, 8, 1e-4);
}

#[test]
fn a_gpu_follows_pytorch_with_the_mlp() {
    follow("mlp", ExecutorChoice::Gpu, 32, 1e-3);
}

#[test]
fn the_cpu_follows_pytorch_with_the_cnn() {
    follow("cnn", ExecutorChoice::Cpu, 32, 1e-4);
}

#[test]
fn the_cpu_follows_pytorch_with_the_cnn_in_micro_batches() {
    follow("cnn", ExecutorChoice::Cpu, 4, 1e-4);
}

#[test]
fn a_gpu_follows_pytorch_with_the_cnn() {
    follow("cnn", ExecutorChoice::Gpu, 16, 1e-3);
}

#[test]
fn the_cpu_follows_pytorch_with_gpt_nano() {
    follow("gpt-nano", ExecutorChoice::Cpu, 8, 1e-4);
}

#[test]
fn the_cpu_follows_pytorch_with_gpt_nano_in_micro_batches() {
    follow("gpt-nano", ExecutorChoice::Cpu, 2, 1e-4);
}

#[test]
fn a_gpu_follows_pytorch_with_gpt_nano() {
    follow("gpt-nano", ExecutorChoice::Gpu, 4, 1e-3);
}
