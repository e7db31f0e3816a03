//! The trajectory of PyTorch: the same weights and batches must give the same losses.
//!
//! The reference lies beside the repository, in `../shared/reference` or where `RINGTMP_REFERENCE` says, with its data in
//! `data` beside it; where it is absent the test is skipped aloud.

#![cfg(not(target_arch = "wasm32"))]

mod common;

use common::say;
use futures::executor::block_on;
use ringtmp_compute::{
    Executor, ExecutorChoice, ModelSpec, OptimizerSpec, Packed, Parameter, Stage, StageConfig,
};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

#[derive(serde::Deserialize)]
struct Trajectory {
    batch: usize,
    lr: f32,
    losses: Vec<f32>,
    first_gradient_norms: BTreeMap<String, f64>,
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

/// Trains along the trajectory, in micro-batches, with all of the model in one stage.
fn follow(choice: ExecutorChoice, micro_batch: usize, tolerance: f32) {
    let Some(folder) = reference() else { return };
    let executor = match block_on(Executor::open(choice)) {
        Ok(executor) => executor,
        Err(error) => return say(&format!("SKIP: {error}")),
    };
    let text = std::fs::read(folder.join("mlp.json")).expect("readable");
    let expected: Trajectory = serde_json::from_slice(&text).expect("a trajectory");
    let images = unpacked(
        &folder.join("../data/mnist-10k/t10k-images-idx3-ubyte.gz"),
        16,
    );
    let labels = unpacked(
        &folder.join("../data/mnist-10k/t10k-labels-idx1-ubyte.gz"),
        8,
    );
    let config = StageConfig {
        model: ModelSpec::preset("mlp").expect("a preset"),
        layers: 0..5,
        micro_batch,
        batch: expected.batch,
        slots: 1,
        seed: 0,
        optimizer: OptimizerSpec::Sgd {
            learning_rate: expected.lr,
        },
    };
    let mut stage = block_on(Stage::new(config, executor)).expect("a stage");
    let first = weights(&folder.join("mlp.init.safetensors"));
    stage
        .set_parameters(&first)
        .expect("the weights of the preset");
    let mut worst = 0.0f32;
    for (step, expected_loss) in expected.losses.iter().enumerate() {
        let mut loss = 0.0;
        let end = (step + 1) * expected.batch;
        for start in (step * expected.batch..end).step_by(micro_batch) {
            let range = start..start + micro_batch;
            let pixels = &images[range.start * 784..range.end * 784];
            let values: Vec<_> = pixels
                .iter()
                .map(|pixel| f32::from(*pixel) / 255.0)
                .collect();
            let input = Packed::from_f32(&[micro_batch, 784], &values).expect("a micro-batch");
            let labels: Vec<_> = labels[range]
                .iter()
                .map(|label| u32::from(*label))
                .collect();
            loss += block_on(stage.forward_loss(0, &input, &labels))
                .expect("a loss")
                .loss_sum;
            block_on(stage.backward_input(0, None)).expect("B");
            block_on(stage.backward_weights(0)).expect("W");
        }
        block_on(stage.update()).expect("an update");
        let loss = loss / expected.batch as f32;
        let error = (loss - expected_loss).abs() / expected_loss;
        assert!(
            error <= tolerance,
            "step {step}: {loss}, PyTorch has {expected_loss}"
        );
        worst = worst.max(error);
        if step == 0 {
            check_norms(
                &first,
                &block_on(stage.parameters()).expect("parameters"),
                &expected,
            );
        }
    }
    say(&format!(
        "{}: largest relative difference of a loss {worst:.1e}",
        stage.executor().adapter()
    ));
}

/// The first step is the gradient times the learning rate.
fn check_norms(before: &[Parameter], after: &[Parameter], expected: &Trajectory) {
    assert_eq!(after.len(), expected.first_gradient_norms.len());
    for parameter in after {
        let name = &parameter.name;
        let old = before
            .iter()
            .find(|old| old.name == *name)
            .expect("the same names");
        let change =
            |(a, b): (&f32, &f32)| (f64::from(*b) - f64::from(*a)) / f64::from(expected.lr);
        let squares = parameter
            .values
            .iter()
            .zip(&old.values)
            .map(change)
            .map(|g| g * g)
            .sum::<f64>();
        let (norm, pytorch) = (squares.sqrt(), expected.first_gradient_norms[name]);
        assert!(
            (norm - pytorch).abs() <= 1e-3 * pytorch,
            "{name}: {norm}, PyTorch has {pytorch}"
        );
    }
}

#[test]
fn the_cpu_follows_pytorch() {
    follow(ExecutorChoice::Cpu, 64, 1e-4);
}

#[test]
fn the_cpu_follows_pytorch_in_micro_batches() {
    follow(ExecutorChoice::Cpu, 8, 1e-4);
}

#[test]
fn a_gpu_follows_pytorch() {
    follow(ExecutorChoice::Gpu, 32, 1e-3);
}
