//! What a network learns from the digits that the project draws carries over to real handwriting.
//!
//! MNIST's test images are looked for in `RINGTMP_MNIST`, else beside the repository in `shared/data/mnist-10k`.

use futures::executor::block_on;
use ringtmp_compute::{ComputeError, Executor, ExecutorChoice, Packed, Stage, StageConfig};
use ringtmp_data::{Batch, Dataset, IDX_TEST, IdxFiles, Order};
use ringtmp_peer::{RunFile, Solo};
use std::fs;
use std::path::PathBuf;

const MICRO_BATCH: u32 = 50;

fn mnist() -> Option<Dataset> {
    let beside = || ringtmp_tests::repository().join("../shared/data/mnist-10k");
    let folder = std::env::var_os("RINGTMP_MNIST").map_or_else(beside, PathBuf::from);
    let read = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| fs::read(folder.join(name)).ok())
    };
    let pair = read(IDX_TEST.images).zip(read(IDX_TEST.labels))?;
    let files = IdxFiles {
        train: None,
        test: Some(pair),
    };
    Some(Dataset::idx(files).expect("the files are what their names say"))
}

/// Trains the default run in one process.
async fn trained(seed: u64) -> Result<Solo, ComputeError> {
    let file = RunFile {
        seed,
        micro_batch: RunFile::default().batch,
        ..RunFile::default()
    };
    let steps = file.steps;
    let run = file.check().expect("the default run is sound");
    let executor = Executor::open(ExecutorChoice::Cpu).await?;
    let mut solo = Solo::new(run, Dataset::digits(seed), executor).await?;
    for _ in 0..steps {
        solo.step().await?;
    }
    Ok(solo)
}

/// The same weights in a stage for batches of another size.
async fn reader(trained: &Stage) -> Result<Stage, ComputeError> {
    let micro_batch = MICRO_BATCH as usize;
    let config = StageConfig {
        micro_batch,
        batch: micro_batch,
        ..trained.config().clone()
    };
    let mut stage = Stage::new(config, trained.executor().clone()).await?;
    stage.set_parameters(&trained.parameters().await?)?;
    Ok(stage)
}

/// How many of the samples it reads right.
async fn right(stage: &mut Stage, batch: &Batch) -> Result<u32, ComputeError> {
    let samples = Packed::from_f32(&[MICRO_BATCH as usize, 784], batch.inputs.floats())?;
    Ok(stage
        .forward_loss(0, &samples, &batch.labels)
        .await?
        .correct)
}

#[test]
fn a_network_trained_on_drawn_digits_alone_reads_mnist() {
    let Some(mnist) = mnist() else {
        eprintln!(
            "SKIP: no MNIST: RINGTMP_MNIST names no folder with t10k-images-idx3-ubyte.gz and its labels"
        );
        return;
    };
    for seed in [1, 2, 3] {
        let (drawn, real) = block_on(async {
            let mut stage = reader(trained(seed).await?.stage()).await?;
            let digits = Dataset::digits(seed);
            let (mut drawn, mut real) = (0, 0);
            for first in (0..10_000).step_by(MICRO_BATCH as usize) {
                drawn += right(&mut stage, &digits.test(first, MICRO_BATCH)).await?;
            }
            // The one pair of files is split 9:1; both parts together are all 10,000 images.
            for first in (0..9_000u64).step_by(MICRO_BATCH as usize) {
                let batch = mnist.train(Order::Sequential, 0, first, MICRO_BATCH);
                real += right(&mut stage, &batch).await?;
            }
            for first in (0..1_000).step_by(MICRO_BATCH as usize) {
                real += right(&mut stage, &mnist.test(first, MICRO_BATCH)).await?;
            }
            Ok::<_, ComputeError>((drawn, real))
        })
        .expect("the CPU always computes");
        println!(
            "seed {seed}: {:.1} % of held-out digits, {:.1} % of MNIST",
            f64::from(drawn) / 100.0,
            f64::from(real) / 100.0
        );
        assert!(
            drawn >= 9_700,
            "seed {seed}: {drawn} of 10,000 held-out digits"
        );
        assert!(
            real >= 8_000,
            "seed {seed}: {real} of MNIST's 10,000 images"
        );
    }
}
