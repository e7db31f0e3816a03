//! Rings whose devices train on their own samples, each where it is.

use ringtmp_compute::{Executor, Packed, Stage, StageConfig};
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::signal::LayerDigest;
use ringtmp_data::{Dataset, picture};
use ringtmp_peer::{
    Asked, DataPlace, DataSource, DataSpec, DataTable, ExecutorChoice, FreshState, OptimizerTable,
    Order, OwnSamples, Parameter, Predictor, Run, RunFile, Solo, Split, Supply, View, Writer,
    open_data,
};
use ringtmp_tests::ring::{Over, RingDevice, STROKES, Trained, train_ring, whole_model};
use std::path::Path;
use std::sync::Arc;

const CPU: ExecutorChoice = ExecutorChoice::Cpu;

fn run_file(peers: usize, steps: u32, split: Split) -> RunFile {
    RunFile {
        steps,
        data: DataTable {
            source: DataSource::Every,
            split,
            ..DataTable::default()
        },
        evaluate_every: 0,
        evaluation_samples: 40,
        start_at_peers: u16::try_from(peers).expect("a few peers"),
        codec: CodecChoice::F32,
        ..RunFile::default()
    }
}

/// The devices that are sources, in ring order, by their numbers.
fn sources(views: &[View]) -> Vec<usize> {
    let room = views[0].room.as_ref().expect("in a room");
    let plan = room.ring().expect("a plan");
    let device = |stage: usize| {
        let peer = Some(plan.order[stage]);
        views.iter().position(|view| view.me == peer)
    };
    let stages = plan.sources.iter().map(|stage| usize::from(stage.0));
    let devices = stages.map(|stage| device(stage).expect("a known device"));
    devices.collect()
}

/// Forty digits of this seed as a table, at `path`.
fn write_table(path: &Path, seed: u64) {
    let batch = Dataset::digits(seed).train(Order::Sequential, seed, 0, 40);
    let rows = batch.inputs.floats().chunks(784).zip(&batch.labels);
    let row = |(pixels, label): (&[f32], &u32)| {
        let cells = pixels.iter().map(f32::to_string).chain([label.to_string()]);
        cells.collect::<Vec<_>>().join(",")
    };
    let rows: Vec<String> = rows.map(row).collect();
    std::fs::write(path, rows.join("\n")).expect("written");
}

/// The weights that one process gets on these samples.
async fn alone(run: Run, supplies: Vec<Supply>) -> Vec<LayerDigest> {
    let executor = Executor::open(CPU).await.expect("the CPU");
    let data = Dataset::digits(run.file.seed);
    let mut solo = Solo::new(run, data, executor).await.expect("a perceptron");
    solo.set_sources(supplies);
    while solo.steps_done() < solo.run().file.steps {
        solo.step().await.expect("computed");
    }
    let digests = solo.stage().digests().await.expect("readable");
    let digest = |(layer, sha256): (usize, String)| LayerDigest {
        layer: layer as u16,
        sha256,
    };
    digests.into_iter().map(digest).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_train_on_files_of_their_own_beside_one_that_only_computes_and_equal_one_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let table = |device: usize| folder.path().join(format!("{device}.csv"));
    let device = |number: usize| {
        write_table(&table(number), 100 + number as u64);
        let location = table(number).display().to_string();
        RingDevice {
            executor: CPU,
            samples: OwnSamples::Data(DataSpec::Csv { location }),
            drawn: None,
            asks: false,
            ..RingDevice::from(CPU)
        }
    };
    // All of a ring of three: head, middle and tail. Then one of them without samples.
    for without in [None, Some(1)] {
        let mut devices: Vec<RingDevice> = (0..3).map(device).collect();
        if let Some(without) = without {
            devices[without].samples = OwnSamples::None;
        }
        let run = run_file(3, 7, Split::Even);
        let ring = train_ring(run.clone(), &devices, Over::Loopback { seed: 3 }).await;
        let sources = sources(&ring.views);
        assert_eq!(sources.len(), if without.is_some() { 2 } else { 3 });
        assert!(!sources.iter().any(|device| Some(*device) == without));
        let supply = |device: &usize| {
            let bytes = std::fs::read(table(*device)).expect("written before");
            Supply::whole(Arc::new(Dataset::csv(&bytes).expect("a table")))
        };
        let run = run.check().expect("a sound run");
        let alone = alone(run, sources.iter().map(supply).collect()).await;
        assert_eq!(ring.result.digests, alone, "without {without:?}");
    }
}

/// The share of right answers on held-out digits, class by class.
async fn accuracy_by_class(run: &Run, weights: &[Parameter]) -> [f32; 10] {
    const SAMPLES: u32 = 500;
    let config = StageConfig {
        micro_batch: 1,
        ..whole_model(run)
    };
    let mut stage = Stage::new(config, Executor::open(CPU).await.expect("the CPU"))
        .await
        .expect("a perceptron");
    stage.set_parameters(weights).expect("the ring's own");
    let data = Dataset::digits(run.file.seed);
    let mut right = [0.0; 10];
    for first in 0..SAMPLES {
        let sample = data.test(first, 1);
        let samples = Packed::from_f32(&[1, 784], sample.inputs.floats()).expect("a digit");
        let report = stage.forward_loss(0, &samples, &sample.labels).await;
        right[sample.labels[0] as usize] += report.expect("computed").correct as f32;
    }
    right.map(|right| right / (SAMPLES / 10) as f32)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn classes_that_only_one_device_has_are_learnt_by_the_whole_ring_and_a_drawn_digit_is_used() {
    let mut devices: [RingDevice; 3] = std::array::from_fn(|_| CPU.into());
    devices[1].drawn = Some(1);
    let run = run_file(3, 300, Split::ByLabel);
    let ring = train_ring(run.clone(), &devices, Over::Loopback { seed: 4 }).await;
    assert_eq!(sources(&ring.views).len(), 3);
    let Trained { weights, views, .. } = ring;
    let fresh = &views[1].fresh;
    assert!(
        matches!(&fresh[..], [sample] if sample.label == 1 && matches!(sample.state, FreshState::Used { .. })),
        "{fresh:?}"
    );
    let accuracy = accuracy_by_class(&run.check().expect("a sound run"), &weights).await;
    // Each class is at one device, three or four to a device.
    for (class, accuracy) in accuracy.iter().enumerate() {
        assert!(*accuracy >= 0.7, "class {class}: {accuracy}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_gets_the_softmax_of_the_whole_network_wherever_in_the_ring_it_stands() {
    // So slow that no weight changes: what is answered early is what the last weights say.
    let mut run = run_file(3, 40, Split::Even);
    run.optimizer = OptimizerTable {
        learning_rate: Some(1e-30),
        ..run.optimizer
    };
    let mut devices: [RingDevice; 3] = std::array::from_fn(|_| CPU.into());
    for device in &mut devices {
        device.asks = true;
    }
    let ring = train_ring(run.clone(), &devices, Over::Loopback { seed: 5 }).await;
    let run = run.check().expect("a sound run");
    let executor = Executor::open(CPU).await.expect("the CPU");
    let model = Predictor::new(&run, &ring.weights, executor).await;
    let stroke = STROKES.map(|point| point.map(f32::from));
    let drawn = picture(&[stroke.to_vec()]).expect("a stroke");
    let told = model.expect("it fits").predict(&drawn, drawn.len()).await;
    let expected = told.expect("computed").remove(0).probabilities;
    for view in &ring.views {
        let Some(Asked::Answered { probabilities, .. }) = &view.asked else {
            panic!("{:?}", view.asked);
        };
        assert_eq!(*probabilities, expected);
    }
    let sum: f32 = expected.iter().sum();
    assert!((sum - 1.0).abs() < 1e-5, "{expected:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_types_a_start_reads_what_the_network_writes_wherever_in_the_ring_it_stands() {
    const START: &str = "17+25=";
    // So slow that no weight changes; only the head draws samples, and takes what the others ask.
    let run = RunFile {
        steps: 40,
        batch: 4,
        micro_batch: 2,
        evaluate_every: 0,
        start_at_peers: 3,
        codec: CodecChoice::F32,
        optimizer: OptimizerTable {
            learning_rate: Some(1e-30),
            ..RunFile::of_preset("gpt-nano").optimizer
        },
        ..RunFile::of_preset("gpt-nano")
    };
    let mut devices: [RingDevice; 3] = std::array::from_fn(|_| CPU.into());
    for device in &mut devices {
        device.writes = Some(START);
    }
    let ring = train_ring(run.clone(), &devices, Over::Loopback { seed: 6 }).await;
    assert_eq!(sources(&ring.views).len(), 1);
    let run = run.check().expect("a sound run");
    let executor = Executor::open(CPU).await.expect("the CPU");
    let data = open_data(&run, &DataPlace::Disk).await.expect("sums");
    let writer = Writer::new(&run, data.vocabulary(), &ring.weights, executor).await;
    let mut writer = writer.expect("it fits");
    let told = writer.answer(START, 4, '\n').await.expect("computed").text;
    for view in &ring.views {
        let writing = view.writing.as_ref().expect("a start was typed");
        assert_eq!(writing.start, START);
        assert!(
            matches!(&writing.written[..], [written] if written.text == told && written.first <= written.last),
            "{told:?} {writing:?}"
        );
    }
}
