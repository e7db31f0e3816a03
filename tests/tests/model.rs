//! The whole model, fetched from a ring by one of its devices, is what one process exports.

use ringtmp_compute::{Executor, ExecutorChoice};
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::signal::Replication;
use ringtmp_data::Dataset;
use ringtmp_peer::{ModelState, Run, RunFile, Solo, from_safetensors, to_safetensors};
use ringtmp_tests::ring::{Over, RingDevice, train_ring};

const STEPS: u32 = 200;

/// Operations in a second: the run takes seconds on the fastest machine, so that what is fetched first is not its end.
const PACE: f64 = 4e9;

const CPU: ExecutorChoice = ExecutorChoice::Cpu;

fn run_file() -> RunFile {
    RunFile {
        steps: STEPS,
        evaluate_every: 0,
        start_at_peers: 3,
        codec: CodecChoice::F32,
        replicate: Replication::Every(5),
        ..RunFile::default()
    }
}

/// What one process exports after so many steps.
async fn exported(run: Run, steps: &[u32]) -> Vec<Vec<u8>> {
    let data = Dataset::digits(run.file.seed);
    let executor = Executor::open(CPU).await.expect("the CPU");
    let mut solo = Solo::new(run, data, executor).await.expect("a perceptron");
    let mut files = Vec::new();
    for steps in steps {
        while solo.steps_done() < *steps {
            solo.step().await.expect("computed");
        }
        let weights = solo.stage().parameters().await.expect("readable");
        files.push(to_safetensors(&weights));
    }
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_fetches_the_model_while_the_ring_trains_and_once_more_when_it_is_done() {
    let mut devices: [RingDevice; 3] = std::array::from_fn(|_| CPU.into());
    devices[1].fetches = true;
    // Which memory is not enough for: refused by name.
    devices[2].fetches = true;
    devices[2].memory_bytes = Some(1_000_000);
    for device in &mut devices {
        device.operations_per_second = Some(PACE);
    }
    let ring = train_ring(run_file(), &devices, Over::Loopback { seed: 7 }).await;
    let steps: Vec<u32> = ring.models.iter().map(|model| model.steps).collect();
    assert!(
        matches!(steps[..], [first, STEPS] if (1..STEPS).contains(&first)),
        "{steps:?}"
    );
    let run = run_file().check().expect("a sound run");
    let expected = exported(run.clone(), &steps).await;
    for (model, expected) in ring.models.iter().zip(expected) {
        assert!(model.file == expected, "after {} steps", model.steps);
        from_safetensors(&model.file, &run.model).expect("as the model has it");
    }
    let refused = &ring.views[2].model;
    assert!(
        matches!(
            refused,
            Some(ModelState::Refused {
                given_bytes: 1_000_000,
                ..
            })
        ),
        "{refused:?}"
    );
}
