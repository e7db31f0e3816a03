//! A ring computes exactly what one process computes: bit for bit on the CPU executor with 32-bit floats on the wire.
//!
//! The yardstick is a loop over one whole-model stage, written without the ring's protocol, transport or shell.

use futures::executor::block_on;
use ringtmp_compute::packing::{
    Dither, dither_key, int8_scales, pack_f16, pack_int8, unpack_f16, unpack_int8,
};
use ringtmp_compute::recording::{Instance, Lifetime, Plan, Recording};
use ringtmp_compute::{
    Executor, ExecutorChoice, Format, Packed, Packing, Parameter, Position, Stage, StageConfig,
};
use ringtmp_core::codec::{CodecChoice, TensorCodec};
use ringtmp_core::profile::Planning;
use ringtmp_core::schedule::Mode;
use ringtmp_core::signal::{LayerDigest, Replication, RunResult};
use ringtmp_data::{Dataset, Order};
use ringtmp_peer::{DataPlace, OptimizerTable, RuleName, Run, RunFile, Solo, open_data};
use ringtmp_tests::ring::{Over, RingDevice, Trained, train_ring, whole_model};

const STEPS: u32 = 50;

const CPU: ExecutorChoice = ExecutorChoice::Cpu;

fn run_file(peers: u16) -> RunFile {
    RunFile {
        steps: STEPS,
        evaluate_every: 20,
        evaluation_samples: 100,
        start_at_peers: peers,
        codec: CodecChoice::F32,
        ..RunFile::default()
    }
}

/// What [`STEPS`] steps of plain training in one process give.
struct Alone {
    digests: Vec<LayerDigest>,
    weights: Vec<Parameter>,
    losses: Vec<f32>,
}

fn alone() -> Alone {
    let run = run_file(1).check().expect("the run is sound");
    block_on(train_alone(&run)).expect("the CPU always trains")
}

fn layer_digest((layer, sha256): (usize, String)) -> LayerDigest {
    LayerDigest {
        layer: layer as u16,
        sha256,
    }
}

async fn train_alone(run: &Run) -> Result<Alone, ringtmp_compute::ComputeError> {
    let file = &run.file;
    let mut stage =
        Stage::new(whole_model(run), Executor::open(ExecutorChoice::Cpu).await?).await?;
    let data = Dataset::digits(file.seed);
    let mut losses = Vec::new();
    for step in 0..file.steps {
        let mut sum = 0.0;
        for micro_batch in 0..file.batch / file.micro_batch {
            let first = u64::from(step * file.batch + micro_batch * file.micro_batch);
            let batch = data.train(Order::Shuffled, file.seed, first, file.micro_batch);
            let samples =
                Packed::from_f32(&[file.micro_batch as usize, 784], batch.inputs.floats())?;
            sum += f64::from(
                stage
                    .forward_loss(0, &samples, &batch.labels)
                    .await?
                    .loss_sum,
            );
            stage.backward_input(0, None).await?;
            stage.backward_weights(0).await?;
        }
        stage.update(u64::from(step)).await?;
        losses.push((sum / f64::from(file.batch)) as f32);
    }
    let digests = stage
        .digests()
        .await?
        .into_iter()
        .map(layer_digest)
        .collect();
    let weights = stage.parameters().await?;
    Ok(Alone {
        digests,
        weights,
        losses,
    })
}

async fn bounded_ring(executors: &[ExecutorChoice], over: Over) -> Trained {
    let peers = u16::try_from(executors.len()).expect("a few peers");
    bounded_ring_of(run_file(peers), executors, over).await
}

async fn bounded_ring_of(run: RunFile, executors: &[ExecutorChoice], over: Over) -> Trained {
    let devices: Vec<RingDevice> = executors.iter().copied().map(RingDevice::from).collect();
    train_ring(run, &devices, over).await
}

fn assert_equal_to_alone(result: &RunResult) {
    let alone = alone();
    assert_eq!(result.digests, alone.digests);
    let (first, last) = (alone.losses[0], alone.losses[alone.losses.len() - 1]);
    assert_eq!(
        (result.loss_first, result.loss_last),
        (Some(first), Some(last))
    );
    assert!(last < first, "nothing was learnt: {first} to {last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_native_peer_equals_a_plain_loop_bit_for_bit() {
    let Trained { result, .. } = bounded_ring(&[CPU; 1], Over::Loopback { seed: 1 }).await;
    assert_equal_to_alone(&result);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_of_three_over_loopback_equals_one_process_bit_for_bit() {
    for seed in [1, 2, 3] {
        let Trained { result, views, .. } = bounded_ring(&[CPU; 3], Over::Loopback { seed }).await;
        assert_equal_to_alone(&result);
        for view in views {
            let plan = view
                .room
                .and_then(|room| room.ring().cloned())
                .expect("a plan");
            assert_eq!(plan.cuts, [0, 1, 3, 5], "no peer holds the whole model");
        }
    }
}

/// A run in which weights are late, and [`RunFile::batch`] in enough micro-batches that the steps of the ring overlap.
fn late(mode: Mode, rule: RuleName) -> RunFile {
    RunFile {
        schedule: mode,
        optimizer: OptimizerTable::new(rule, 0.01),
        micro_batch: 8,
        ..run_file(3)
    }
}

/// All weights that a run gives in one process, and its accuracy on held-out samples at the end.
async fn solo(file: RunFile) -> (Vec<Parameter>, f32) {
    let run = file.check().expect("the run is sound");
    let data = open_data(&run, &DataPlace::Disk).await;
    let data = data.expect("it needs no files");
    let executor = Executor::open(CPU).await.expect("the CPU");
    let steps = run.file.steps;
    let mut solo = Solo::new(run, data, executor).await.expect("it fits");
    for _ in 0..steps {
        solo.step().await.expect("the CPU always trains");
    }
    let score = solo.evaluate().await.expect("computed");
    let weights = solo.stage().parameters().await.expect("readable");
    (weights, score.expect("held-out samples").accuracy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_in_2bw_equals_one_process_in_2bw_bit_for_bit_and_no_other() {
    for rule in [RuleName::Nesterov, RuleName::Adam] {
        let file = late(Mode::TwoVersions, rule);
        let (weights, accuracy) = solo(file.clone()).await;
        let ring = bounded_ring_of(file, &[CPU; 3], Over::Loopback { seed: 6 }).await;
        assert_eq!(ring.weights, weights, "{rule}");
        assert_eq!(ring.result.test_accuracy, Some(accuracy));
        let (sync, _) = solo(late(Mode::Sync, rule)).await;
        assert_ne!(ring.weights, sync, "{rule}: the weights are late");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_that_clips_by_the_norm_of_all_stages_equals_one_process_bit_for_bit() {
    for mode in [Mode::Sync, Mode::TwoVersions] {
        let clipped = |clip_norm| RunFile {
            optimizer: OptimizerTable {
                clip_norm,
                ..OptimizerTable::new(RuleName::Nesterov, 0.05)
            },
            ..late(mode, RuleName::Nesterov)
        };
        let file = clipped(Some(0.2));
        let (weights, accuracy) = solo(file.clone()).await;
        let ring = bounded_ring_of(file, &[CPU; 3], Over::Loopback { seed: 8 }).await;
        assert_eq!(ring.weights, weights, "{mode}");
        assert_eq!(ring.result.test_accuracy, Some(accuracy));
        let (free, _) = solo(clipped(None)).await;
        assert_ne!(weights, free, "{mode}: there is something to clip");
    }
}

/// Sums, in which only the answers' characters count, so that no two steps have as many labels.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_whose_labels_do_not_all_count_equals_one_process_bit_for_bit() {
    let toml = "steps = 12
        batch = 8
        micro_batch = 2
        evaluation_samples = 20
        codec = 'f32'
        start_at_peers = 3
        model = { preset = 'gpt', depth = 1, width = 16, heads = 2, context = 10 }
        optimizer = { rule = 'nesterov', learning_rate = 0.1, clip_norm = 0.5 }";
    for mode in [Mode::Sync, Mode::TwoVersions] {
        let mut file = RunFile::parse(toml).expect("a run file");
        file.schedule = mode;
        let (weights, accuracy) = solo(file.clone()).await;
        let ring = bounded_ring_of(file, &[CPU; 3], Over::Loopback { seed: 9 }).await;
        assert_eq!(ring.weights, weights, "{mode}");
        assert_eq!(ring.result.test_accuracy, Some(accuracy));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_in_async_trains() {
    let file = late(Mode::Async, RuleName::Nesterov);
    let ring = bounded_ring_of(file, &[CPU; 3], Over::Loopback { seed: 7 }).await;
    let (first, last) = (ring.result.loss_first, ring.result.loss_last);
    assert!(last < first, "nothing was learnt: {first:?} to {last:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_of_three_over_webrtc_equals_one_process_bit_for_bit() {
    let Trained { result, views, .. } = bounded_ring(&[CPU; 3], Over::WebRtc).await;
    assert_equal_to_alone(&result);
    for view in views {
        let sent: u64 = view.links.iter().map(|link| link.sent).sum();
        assert!(sent > 0, "nothing went over the links: {:?}", view.links);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_peers_share_one_connection_and_equal_one_process() {
    let Trained { result, views, .. } = bounded_ring(&[CPU; 2], Over::WebRtc).await;
    assert_equal_to_alone(&result);
    assert!(views.iter().all(|view| view.links.len() == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_beyond_the_layers_are_spares() {
    let Trained { result, views, .. } = bounded_ring(&[CPU; 7], Over::Loopback { seed: 4 }).await;
    assert_equal_to_alone(&result);
    let holding = views.iter().filter(|view| {
        let room = view.room.as_ref().expect("in a room");
        let me = view.me.expect("has an id");
        room.ring().expect("a plan").layers_of(me).is_some()
    });
    assert_eq!(holding.count(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_of_cpu_and_gpu_stays_within_one_ten_thousandth_of_one_process() {
    if let Err(error) = Executor::open(ExecutorChoice::Gpu).await {
        eprintln!("SKIP: no ring of CPU and GPU: {error}");
        return;
    }
    for gpu in 0..3 {
        let mut executors = [CPU; 3];
        executors[gpu] = ExecutorChoice::Gpu;
        let ring = bounded_ring(&executors, Over::Loopback { seed: 5 }).await;
        let alone = alone().weights;
        assert_eq!(ring.weights.len(), alone.len());
        for (ours, expected) in ring.weights.iter().zip(&alone) {
            assert_eq!((&ours.name, &ours.shape), (&expected.name, &expected.shape));
            for (i, (a, b)) in ours.values.iter().zip(&expected.values).enumerate() {
                let near = (a - b).abs() <= 1e-4;
                assert!(
                    near,
                    "{}[{i}]: {a} in the ring, {b} alone; GPU at {gpu}",
                    ours.name
                );
            }
        }
    }
}

/// One process that trains stages between `cuts` one after the other, and packs and unpacks what crosses a cut.
async fn train_alone_packed(
    run: &Run,
    cuts: &[usize],
) -> Result<Vec<LayerDigest>, ringtmp_compute::ComputeError> {
    let file = &run.file;
    let executor = Executor::open(ExecutorChoice::Cpu).await?;
    let mut stages = Vec::new();
    for cut in cuts.windows(2) {
        let config = StageConfig {
            layers: cut[0]..cut[1],
            ..whole_model(run)
        };
        stages.push(Stage::new(config, executor.clone()).await?);
    }
    let data = Dataset::digits(file.seed);
    for step in 0..file.steps {
        for first_sample in (0..file.batch).step_by(file.micro_batch as usize) {
            let position = Position { step, first_sample };
            let first = u64::from(step * file.batch + first_sample);
            let batch = data.train(Order::Shuffled, file.seed, first, file.micro_batch);
            let mut tensor =
                Packed::from_f32(&[file.micro_batch as usize, 784], batch.inputs.floats())?;
            let (tail, others) = stages.split_last_mut().expect("a stage");
            for stage in others {
                tensor = stage.forward(0, &tensor).await?;
                tensor = through(file.codec.usual(), &tensor, None).await?;
            }
            tail.forward_loss(0, &tensor, &batch.labels).await?;
            let mut gradient = None;
            for (stage, layer) in stages.iter_mut().zip(cuts).rev() {
                gradient = stage.backward_input(0, gradient.as_ref()).await?;
                stage.backward_weights(0).await?;
                if let Some(tensor) = &mut gradient {
                    let key = dither_key(file.seed, *layer);
                    *tensor = through(file.codec.usual(), tensor, Some((key, position))).await?;
                }
            }
        }
        for stage in &mut stages {
            stage.update(u64::from(step)).await?;
        }
    }
    let mut digests = Vec::new();
    for stage in &stages {
        digests.extend(stage.digests().await?.into_iter().map(layer_digest));
    }
    Ok(digests)
}

/// A tensor packed and unpacked, a gradient with what its rounding is drawn from.
async fn through(
    codec: TensorCodec,
    tensor: &Packed,
    gradient: Option<(u32, Position)>,
) -> Result<Packed, ringtmp_compute::ComputeError> {
    let (shape, values) = (&tensor.shape, tensor.f32s()?);
    let packing = match codec {
        TensorCodec::F32 => Packing::F32,
        TensorCodec::F16 => Packing::F16,
        TensorCodec::Int8 => Packing::Int8,
    };
    let format = packing.format(shape);
    let words = format.bytes(values.len()).expect("whole rows").div_ceil(4);
    let mut plan = Plan {
        slots: 1,
        ..Plan::default()
    };
    let mut buffer = |words| plan.buffer("test", words, Lifetime::Stage);
    let (input, packed, output) = (buffer(values.len()), buffer(words), buffer(values.len()));
    let place = buffer(4);
    let dither = gradient.map(|(key, _)| {
        let sample = values.len() / shape[0];
        (Dither { key, sample }, place)
    });
    let operations = match format {
        Format::F16 => vec![pack_f16(input, packed), unpack_f16(packed, output)],
        Format::I8 { row } => vec![
            int8_scales(input, packed, row),
            pack_int8(dither, input, packed, row),
            unpack_int8(packed, output, row),
        ],
        Format::F32 | Format::U32 => return Ok(tensor.clone()),
    };
    let recording = plan.record(Recording {
        label: "test",
        operations,
    });
    let executor = Executor::open(ExecutorChoice::Cpu).await?;
    let mut program = executor.prepare(plan).await?;
    let first = Instance::default();
    let bits: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
    program.write(input, first, &bits);
    if let Some((_, Position { step, first_sample })) = gradient {
        program.write(place, first, &[1, step, first_sample, 0]);
    }
    let words = program.run(recording, first, &[output]).await?.concat();
    let unpacked: Vec<f32> = words.into_iter().map(f32::from_bits).collect();
    Ok(Packed::from_f32(shape, &unpacked)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_that_packs_equals_one_process_that_packs_at_its_cuts_bit_for_bit() {
    let mut bytes = Vec::new();
    for codec in [CodecChoice::F32, CodecChoice::F16, CodecChoice::Int8] {
        let file = RunFile {
            codec,
            steps: 20,
            // Copies are in 32-bit floats, whatever the codec.
            replicate: Replication::Off,
            // As many links each time, however busy the machine.
            planning: Planning::Counted,
            ..run_file(3)
        };
        let over = Over::Loopback { seed: 6 };
        let ring = bounded_ring_of(file.clone(), &[CPU; 3], over).await;
        let run = file.check().expect("the run is sound");
        let room = ring.views[0].room.as_ref();
        let plan = room.and_then(|room| room.ring()).expect("a plan");
        let cuts: Vec<usize> = plan.cuts.iter().map(|cut| usize::from(*cut)).collect();
        let alone = train_alone_packed(&run, &cuts).await;
        let alone = alone.expect("the CPU always trains");
        assert_eq!(ring.result.digests, alone, "{codec}");
        let sent = ring.views.iter().flat_map(|view| &view.links);
        bytes.push(sent.map(|link| link.sent).sum::<u64>());
    }
    let [f32, f16, int8] = *bytes else {
        panic!("three codecs")
    };
    let share = |bytes: u64| bytes as f64 / f32 as f64;
    // Labels and headers are as large as ever.
    assert!((0.5..0.56).contains(&share(f16)), "{bytes:?}");
    assert!((0.25..0.34).contains(&share(int8)), "{bytes:?}");
}
