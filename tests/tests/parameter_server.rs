//! A parameter server without staleness, and all-reduce, compute exactly what one process computes that adds up gradients worker by
//! worker, and then the workers' in their order: bit for bit on the CPU executor with 32-bit floats on the wire.
//!
//! The yardstick is a loop over one whole-model stage, written without members, links or shells.

use futures::executor::block_on;
use ringtmp_compute::packing::{dither_key, pack_rows, unpack_vector};
use ringtmp_compute::{ComputeError, Packed, Packing, RangeUpdate, RangeUpdater, Stage};
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::parameter_server::{
    Exchange, Layout, Placement, Staleness, TeamStart, WorkerIndex,
};
use ringtmp_core::profile::Planning;
use ringtmp_core::signal::{LayerDigest, Replication, Role, RoomView};
use ringtmp_data::{Dataset, Order};
use ringtmp_peer::{
    Executor, ExecutorChoice, OptimizerTable, Paradigm, ParameterServerTable, RuleName, Run,
    RunFile, ServerState, TeamEvent, TeamResult, member_job,
};
use ringtmp_tests::ring::{
    Over, RingDevice, Trained, train_ring, train_ring_whose_server, whole_model,
};
use ringtmp_tests::team::{train_and_lose, train_team};

const STEPS: u32 = 12;

const CPU: ExecutorChoice = ExecutorChoice::Cpu;

const MEMORY: Over = Over::Loopback { seed: 1 };

fn all_reduce() -> RunFile {
    RunFile {
        paradigm: Paradigm::AllReduce,
        steps: STEPS,
        // Seven micro-batches, which no number of workers here divides.
        batch: 56,
        micro_batch: 8,
        evaluate_every: 5,
        evaluation_samples: 100,
        codec: CodecChoice::F32,
        ..RunFile::default()
    }
}

fn server(placement: Placement, tau: Staleness) -> RunFile {
    let shards = (placement == Placement::Dedicated).then_some(2);
    RunFile {
        paradigm: Paradigm::ParameterServer,
        parameter_server: ParameterServerTable {
            placement: Some(placement),
            shards,
            tau: Some(tau),
        },
        ..all_reduce()
    }
}

const BSP: Staleness = Staleness::Steps(0);

/// What plain training gives.
#[derive(Debug, PartialEq)]
struct Alone {
    digests: Vec<LayerDigest>,
    losses: Vec<f32>,
}

/// The gradients of one worker's part of a step, by layer, and the sum of its losses.
async fn gradients(
    run: &Run,
    stage: &mut Stage,
    data: &Dataset,
    step: u32,
    part: std::ops::Range<u16>,
) -> Result<(Vec<Vec<f32>>, f64), ComputeError> {
    let file = &run.file;
    let layers = run.layers.len();
    let (mut loss, mut all) = (0.0, vec![Vec::new(); layers]);
    for sequence in part.clone() {
        let first = u64::from(step * file.batch + u32::from(sequence) * file.micro_batch);
        let batch = data.train(Order::Shuffled, file.seed, first, file.micro_batch);
        let samples = Packed::from_f32(&[file.micro_batch as usize, 784], batch.inputs.floats())?;
        let report = stage.forward_loss(0, &samples, &batch.labels).await?;
        loss += f64::from(report.loss_sum);
        if sequence + 1 < part.end {
            stage.backward_input(0, None).await?;
            stage.backward_weights(0).await?;
            continue;
        }
        for layer in (0..layers).rev() {
            all[layer] = stage.backward_layer(0, layer).await?;
        }
    }
    Ok((all, loss))
}

/// As it is after a link that writes it so.
fn through(packing: Packing, values: &[f32]) -> Vec<f32> {
    let packed = packing.pack_vector(values).expect("as many as a range has");
    unpack_vector(&packed).expect("packed by us")
}

/// A gradient as it is after a link of a run with this codec, from the member that worked it out.
fn pushed(
    run: &Run,
    layout: &Layout,
    range: usize,
    (step, worker): (u32, usize),
    values: &[f32],
) -> Vec<f32> {
    let file = &run.file;
    if file.codec != CodecChoice::Int8 {
        return through(written(file.codec), values);
    }
    let key = dither_key(file.seed, usize::from(layout.ranges[range].layer.0));
    let member = usize::from(layout.workers[worker].0);
    let sample = (member * layout.ranges.len() + range) as u32;
    let packed = pack_rows(values, 64, key, (step, sample)).expect("whole rows");
    let mut rows = unpack_vector(&packed).expect("packed by us");
    rows.truncate(values.len());
    rows
}

/// How weights are written, and gradients but with `int8`.
fn written(codec: CodecChoice) -> Packing {
    match codec {
        CodecChoice::F32 => Packing::F32,
        CodecChoice::F16 | CodecChoice::Int8 | CodecChoice::Auto => Packing::F16,
    }
}

/// The sum of the workers' gradients of one range, in the order in which it is added up.
fn sum(
    run: &Run,
    layout: &Layout,
    range: usize,
    step: u32,
    of_workers: &[Vec<Vec<f32>>],
) -> Vec<f32> {
    let spec = &layout.ranges[range];
    let (layer, start) = (usize::from(spec.layer.0), spec.start as usize);
    let part = |worker: usize| &of_workers[worker][layer][start..start + spec.elements as usize];
    let workers = of_workers.len();
    let first = match layout.exchange {
        Exchange::Server => 0,
        // Round the ring, from the device after the one whose range it is.
        Exchange::AllReduce => usize::from(layout.shards[usize::from(spec.shard.0)].0) + 1,
    };
    let order = (0..workers).map(|place| (first + place) % workers);
    let mut sum = vec![0.0; spec.elements as usize];
    for worker in order {
        let gradient = pushed(run, layout, range, (step, worker), part(worker));
        sum.iter_mut()
            .zip(gradient)
            .for_each(|(sum, gradient)| *sum += gradient);
        if layout.exchange == Exchange::AllReduce {
            // Partial sums travel; the last is added up at home.
            let is_home = worker == (first + workers - 1) % workers;
            sum = if is_home {
                sum
            } else {
                through(written(run.file.codec), &sum)
            };
        }
    }
    sum
}

async fn train_alone(run: &Run, layout: &Layout) -> Result<Alone, ComputeError> {
    let file = &run.file;
    let executor = Executor::open(CPU).await?;
    let packing = written(file.codec);
    let mut stage = Stage::layer_by_layer(whole_model(run), executor.clone()).await?;
    stage.draw_all();
    let mut layers = vec![Vec::new(); run.layers.len()];
    for parameter in stage.parameters().await? {
        layers[parameter.layer].extend(parameter.values);
    }
    let cut = layout.ranges.iter().map(|spec| {
        let start = spec.start as usize;
        layers[usize::from(spec.layer.0)][start..start + spec.elements as usize].to_vec()
    });
    let first: Vec<Vec<f32>> = cut.collect();
    let mut updater = RangeUpdater::new(run.optimizer, &first, &executor).await?;
    let data = Dataset::digits(file.seed);
    let mut losses = Vec::new();
    for step in 0..file.steps {
        let (mut of_workers, mut loss) = (Vec::new(), 0.0);
        for worker in 0..layout.workers.len() as u16 {
            let part = layout.part(WorkerIndex(worker), run.micro_batches());
            let (gradients, sum) = gradients(run, &mut stage, &data, step, part).await?;
            of_workers.push(gradients);
            loss += sum;
        }
        losses.push((loss / f64::from(file.batch)) as f32);
        for (range, spec) in layout.ranges.iter().enumerate() {
            updater.add(range, &sum(run, layout, range, step, &of_workers))?;
            let update = RangeUpdate {
                step: step.into(),
                updates: step.into(),
                scale: 1.0,
                part: 1.0,
            };
            let weights = through(packing, &updater.update(range, update).await?);
            let layer = usize::from(spec.layer.0);
            stage.write_parameters(layer, spec.start as usize, &weights)?;
        }
    }
    let digest = |(layer, sha256)| LayerDigest {
        layer: layer as u16,
        sha256,
    };
    let digests = stage.digests().await?.into_iter().map(digest).collect();
    Ok(Alone { digests, losses })
}

fn alone(file: &RunFile, members: u16) -> Alone {
    let run = file.clone().check().expect("the run is sound");
    let job = member_job(&run, members, &[]).expect("they can share it");
    block_on(Box::pin(train_alone(&run, &job.layout))).expect("the CPU always trains")
}

async fn team(file: &RunFile, members: usize, over: Over) -> (TeamResult, Vec<TeamEvent>) {
    let members = vec![CPU; members];
    let trained = train_team(file.clone(), &members, over).await;
    trained.expect("nobody is lost")
}

async fn assert_equals_alone(file: &RunFile, members: usize, over: Over) {
    let (result, events) = team(file, members, over).await;
    let alone = alone(file, members as u16);
    assert_eq!(
        result.digests, alone.digests,
        "{over:?}, {:?}",
        file.parameter_server
    );
    let losses = events.iter().filter_map(|event| match event {
        TeamEvent::Step { score, .. } => Some(score.loss),
        TeamEvent::Begun | TeamEvent::Evaluated { .. } => None,
    });
    assert!(losses.eq(alone.losses.iter().copied()));
    let (first, last) = (alone.losses[0], alone.losses[alone.losses.len() - 1]);
    assert!(last < first, "nothing was learnt: {first} to {last}");
    let evaluated = events.iter().filter_map(|event| match event {
        TeamEvent::Evaluated { step, .. } => Some(*step),
        TeamEvent::Begun | TeamEvent::Step { .. } => None,
    });
    assert!(evaluated.eq([5, 10, 12]));
    assert!(result.held_out.is_some_and(|score| score.accuracy > 0.2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_staleness_every_placement_over_loopback_equals_one_process_bit_for_bit() {
    for placement in Placement::ALL {
        for seed in [1, 2] {
            let file = server(placement, BSP);
            assert_equals_alone(&file, 4, Over::Loopback { seed }).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_staleness_every_placement_over_webrtc_equals_one_process_bit_for_bit() {
    for placement in Placement::ALL {
        assert_equals_alone(&server(placement, BSP), 4, Over::WebRtc).await;
    }
}

/// Trains in a room, by so many that came as servers and so many others; what one process gives.
async fn assert_equals_alone_in_a_room(file: &RunFile, servers: usize, others: usize, over: Over) {
    let members = servers + others;
    let file = RunFile {
        // Equal speeds, so that shares are those of one process.
        planning: Planning::Counted,
        start_at_peers: members as u16,
        ..file.clone()
    };
    let device = |place: usize| RingDevice {
        role: if place < servers {
            Role::Server
        } else {
            Role::Participant
        },
        ..CPU.into()
    };
    let devices: Vec<RingDevice> = (0..members).map(device).collect();
    let trained = train_ring(file.clone(), &devices, over).await;
    let alone = alone(&file, members as u16);
    assert_eq!(
        trained.result.digests, alone.digests,
        "{over:?}, {servers} servers and {others} others, {:?}",
        file.parameter_server
    );
    let result = trained.result;
    assert_eq!(result.loss_first, alone.losses.first().copied());
    assert_eq!(result.loss_last, alone.losses.last().copied());
    assert!(result.test_accuracy.is_some_and(|accuracy| accuracy > 0.2));
    for view in trained.views {
        let room = view.room.expect("it was in one");
        let plan = room.team().expect("a plan of whole models").clone();
        assert!(room.ring().is_none());
        assert_eq!(plan.order.len(), members);
        for member in &room.members {
            let sent: u64 = member.links.iter().map(|link| link.bytes).sum();
            if plan.order.contains(&member.peer) {
                assert!(sent > 0, "{} sent nothing", member.device.name);
                let report = member.report.as_ref().expect("it has reported");
                assert!(report.run.busy > 0.0 && report.run.busy <= 1.0);
            }
            if member.role == Role::Server {
                assert!(plan.serves(member.peer) && !plan.works(member.peer));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_without_staleness_equals_one_process_bit_for_bit() {
    for placement in [Placement::Single, Placement::Dedicated] {
        let file = server(placement, BSP);
        let servers = if placement == Placement::Single { 1 } else { 2 };
        // With servers that came as such, and with the room's choice of them.
        for came in [servers, 0] {
            assert_equals_alone_in_a_room(&file, came, 4 - came, MEMORY).await;
        }
        assert_equals_alone_in_a_room(&file, servers, 4 - servers, Over::WebRtc).await;
    }
    let colocated = server(Placement::Colocated, BSP);
    for file in [colocated, all_reduce()] {
        assert_equals_alone_in_a_room(&file, 0, 3, MEMORY).await;
        assert_equals_alone_in_a_room(&file, 0, 3, Over::WebRtc).await;
    }
}

/// A run of these devices, one of which dies; the room as its first device last saw it, which is not that one.
async fn lose_one(
    file: RunFile,
    servers: usize,
    devices: usize,
    (dies, at): (usize, u32),
    over: Over,
) -> (Trained, RoomView) {
    let file = RunFile {
        planning: Planning::Counted,
        start_at_peers: devices as u16,
        steps: 60,
        replicate: Replication::Every(4),
        ..file
    };
    let device = |place: usize| RingDevice {
        role: if place < servers {
            Role::Server
        } else {
            Role::Participant
        },
        dies_at: (place == dies).then_some(at),
        ..CPU.into()
    };
    let devices: Vec<RingDevice> = (0..devices).map(device).collect();
    let trained = train_ring(file.clone(), &devices, over).await;
    assert_eq!(trained.result.steps, 60);
    // The room has compared those of the workers that are left.
    let layers = file.check().expect("sound").layers.len();
    assert_eq!(trained.result.digests.len(), layers);
    let result = &trained.result;
    let (first, last) = (result.loss_first, result.loss_last);
    let (first, last) = (first.expect("a loss"), last.expect("a loss"));
    assert!(last < first, "{over:?}: {first} to {last}");
    let watches = usize::from(dies == 0);
    let room = trained.views[watches].room.clone().expect("it was in one");
    assert_eq!(room.recoveries.len(), 1, "{over:?}: {:?}", room.recoveries);
    assert!(room.recoveries[0].seconds.is_some());
    (trained, room)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_goes_on_without_a_worker_that_dies_and_its_share_goes_to_the_others() {
    for over in [MEMORY, Over::WebRtc] {
        let file = server(Placement::Single, BSP);
        let (_, room) = lose_one(file, 1, 4, (2, 8), over).await;
        let plan = room.team().expect("a plan of whole models");
        assert_eq!((plan.workers.len(), plan.shares.iter().sum()), (2, 7u16));
        // The server had it all: nothing was made again.
        assert!(matches!(plan.start, TeamStart::Held { .. }), "{plan:?}");
        assert_eq!(room.recoveries[0].repeated, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_goes_on_without_whoever_dies_from_the_copies_that_the_others_keep() {
    let with_staleness = server(Placement::Colocated, Staleness::Steps(2));
    for (file, servers, dies, over) in [
        (server(Placement::Single, BSP), 1, 0, Over::WebRtc),
        (server(Placement::Colocated, BSP), 0, 1, MEMORY),
        (with_staleness, 0, 2, MEMORY),
        (all_reduce(), 0, 1, MEMORY),
        (all_reduce(), 0, 1, Over::WebRtc),
    ] {
        let (_, room) = lose_one(file, servers, 4, (dies, 13), over).await;
        let plan = room.team().expect("a plan of whole models");
        let TeamStart::Copies { version } = plan.start else {
            panic!("{over:?}: it goes on from what died: {plan:?}");
        };
        assert!(version.0 > 0 && version.0.is_multiple_of(4), "{version:?}");
        assert_eq!(room.recoveries[0].step, version.0);
        assert!(room.recoveries[0].repeated <= 8, "{:?}", room.recoveries);
        assert_eq!(plan.workers.len(), 3);
        // What it had is with one of the others.
        assert_eq!(plan.shards.len(), if servers == 1 { 1 } else { 4 });
        assert!(room.stable.is_some_and(|stable| stable.0 >= version.0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_knew_goes_on_with_its_copy_bit_for_bit() {
    // Two workers before and after: the server's copies are with the first, which serves from then on and works as before.
    let file = RunFile {
        codec: CodecChoice::F32,
        ..server(Placement::Single, BSP)
    };
    let (lost, room) = lose_one(file.clone(), 1, 3, (0, 13), MEMORY).await;
    let plan = room.team().expect("a plan of whole models");
    assert_eq!((plan.workers.len(), plan.shards.len()), (2, 1));
    let undisturbed = RunFile {
        planning: Planning::Counted,
        start_at_peers: 3,
        steps: 60,
        ..file
    };
    let whole = |place: usize| RingDevice {
        role: if place == 0 {
            Role::Server
        } else {
            Role::Participant
        },
        ..CPU.into()
    };
    let devices: Vec<RingDevice> = (0..3).map(whole).collect();
    let whole = train_ring(undisturbed, &devices, MEMORY).await;
    assert_eq!(lost.result.digests, whole.result.digests);
}

/// A server and two workers, slow enough that a run outlives the return of a signalling server.
fn slow_team() -> (RunFile, Vec<RingDevice>) {
    let file = RunFile {
        steps: 60,
        evaluate_every: 0,
        // The same shares each time, and so the same bits.
        planning: Planning::Counted,
        start_at_peers: 3,
        replicate: Replication::Every(2),
        ..server(Placement::Single, BSP)
    };
    let device = |place: usize| RingDevice {
        role: if place == 0 {
            Role::Server
        } else {
            Role::Participant
        },
        operations_per_second: Some(2e9),
        ..CPU.into()
    };
    (file, (0..3).map(device).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signalling_server_that_is_restarted_finds_the_team_at_work_and_no_step_is_made_again() {
    let (file, devices) = slow_team();
    let undisturbed = train_ring(file.clone(), &devices, MEMORY).await;
    let trained = train_ring_whose_server(Some(10), file, &devices, Over::WebRtc).await;
    assert_eq!(trained.result.digests, undisturbed.result.digests);
    assert_eq!(trained.plans.len(), 1, "{:?}", trained.plans);
    assert_eq!(trained.result.loss_first, undisturbed.result.loss_first);
    assert_eq!(trained.result.loss_last, undisturbed.result.loss_last);
    for view in &trained.views {
        assert_eq!(view.server, ServerState::Connected);
        let room = view.room.as_ref().expect("it was in one");
        assert_eq!(room.recoveries, [], "nobody was interrupted");
        // The curves begin where the run began, and not where the server did.
        assert_eq!(view.points.first().map(|point| point.step), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_while_the_signalling_server_is_restarted_is_missed_when_it_is_back() {
    let (file, mut devices) = slow_team();
    devices[2].dies_at = Some(10);
    let trained = train_ring_whose_server(Some(10), file, &devices, MEMORY).await;
    assert_eq!(trained.result.steps, 60);
    let room = trained.views[0].room.as_ref().expect("it was in one");
    assert_eq!(room.recoveries.len(), 1, "{:?}", room.recoveries);
    let plan = room.team().expect("a plan of whole models");
    assert_eq!(plan.shares, [7]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_reduce_over_loopback_and_webrtc_equals_one_process_bit_for_bit() {
    for members in [1, 2, 3] {
        assert_equals_alone(&all_reduce(), members, MEMORY).await;
    }
    assert_equals_alone(&all_reduce(), 3, Over::WebRtc).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_optimizer_remembers_stays_with_the_range() {
    for rule in [RuleName::Nesterov, RuleName::Adamw] {
        let optimizer = OptimizerTable::new(rule, 0.01);
        for file in [server(Placement::Colocated, BSP), all_reduce()] {
            assert_equals_alone(&RunFile { optimizer, ..file }, 3, MEMORY).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_floats_on_the_wire_give_what_one_process_gives_that_rounds_as_often() {
    for file in [server(Placement::Dedicated, BSP), all_reduce()] {
        let codec = CodecChoice::F16;
        assert_equals_alone(&RunFile { codec, ..file }, 4, MEMORY).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gradients_in_8_bits_give_what_one_process_gives_that_rounds_as_often() {
    let codec = CodecChoice::Int8;
    for placement in [Placement::Dedicated, Placement::Colocated] {
        let file = server(placement, BSP);
        assert_equals_alone(
            &RunFile {
                codec,
                ..file.clone()
            },
            4,
            MEMORY,
        )
        .await;
        let sent = async |codec| {
            let (result, _) = team(
                &RunFile {
                    codec,
                    ..file.clone()
                },
                4,
                MEMORY,
            )
            .await;
            result
                .spent
                .iter()
                .map(|spent| spent.bytes_sent)
                .sum::<u64>()
        };
        // Gradients in 8.5 bits and weights in 16, in place of 16 and 16.
        let share = sent(CodecChoice::Int8).await as f64 / sent(CodecChoice::F16).await as f64;
        assert!((0.75..0.8).contains(&share), "{share}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_staleness_it_trains_and_all_end_with_the_same_weights() {
    for tau in [Staleness::Steps(2), Staleness::Infinite] {
        for placement in Placement::ALL {
            let file = RunFile {
                steps: 40,
                ..server(placement, tau)
            };
            let (result, _) = team(&file, 4, MEMORY).await;
            let (first, last) = (result.first, result.last);
            let losses = first.zip(last).map(|(first, last)| [first.loss, last.loss]);
            assert!(
                losses.is_some_and(|[first, last]| last < 0.9 * first),
                "{losses:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_pushes_goes_as_far_as_one_update() {
    // In the first step all gradients are of the same weights, however late they come.
    let one_step = |tau| RunFile {
        steps: 1,
        ..server(Placement::Dedicated, tau)
    };
    let (together, _) = team(&one_step(BSP), 5, MEMORY).await;
    let (one_by_one, _) = team(&one_step(Staleness::Infinite), 5, MEMORY).await;
    assert_ne!(together.digests, one_by_one.digests, "rounded more often");
    for (a, b) in together.weights.iter().zip(&one_by_one.weights) {
        for (a, b) in a.values.iter().zip(&b.values) {
            assert!((a - b).abs() <= 1e-6, "{a}, {b}");
        }
    }
}

/// Sums, in which only the answers' characters count, so that no two workers have as many labels.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_labels_do_not_all_count_every_way_gives_the_mean_over_those_that_do() {
    let toml = |more: &str| {
        format!(
            "steps = 6
            batch = 12
            micro_batch = 2
            evaluation_samples = 20
            codec = 'f32'
            model = {{ preset = 'gpt', depth = 1, width = 16, heads = 2, context = 10 }}
            optimizer = {{ rule = 'nesterov', learning_rate = 0.1 }}
            {more}"
        )
    };
    let file = |more: &str| RunFile::parse(&toml(more)).expect("a run file");
    let solo = {
        let run = file("").check().expect("sound");
        let data = ringtmp_peer::open_data(&run, &ringtmp_peer::DataPlace::Disk).await;
        let executor = Executor::open(CPU).await.expect("the CPU");
        let solo = ringtmp_peer::Solo::new(run, data.expect("no files"), executor);
        let mut solo = Box::pin(solo).await.expect("it fits");
        for _ in 0..6 {
            solo.step().await.expect("the CPU always trains");
        }
        solo.stage().parameters().await.expect("readable")
    };
    for paradigm in ["parameter-server", "all-reduce"] {
        let file = RunFile {
            paradigm: paradigm.parse().expect("one of them"),
            ..file("")
        };
        let (result, _) = team(&file, 3, MEMORY).await;
        assert_eq!(result.weights.len(), solo.len());
        for (ours, expected) in result.weights.iter().zip(&solo) {
            assert_eq!(ours.name, expected.name);
            for (a, b) in ours.values.iter().zip(&expected.values) {
                // Added up in another order.
                assert!((a - b).abs() <= 1e-5, "{}: {a}, {b}", ours.name);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_team_of_cpu_and_gpu_stays_within_one_ten_thousandth_of_one_of_cpus() {
    if let Err(error) = Executor::open(ExecutorChoice::Gpu).await {
        eprintln!("SKIP: no team of CPU and GPU: {error}");
        return;
    }
    let file = server(Placement::Single, BSP);
    let (expected, _) = team(&file, 3, MEMORY).await;
    // A worker, then the server.
    for gpu in [0, 2] {
        let mut members = [CPU; 3];
        members[gpu] = ExecutorChoice::Gpu;
        let (mixed, _) = train_team(file.clone(), &members, MEMORY)
            .await
            .expect("nobody is lost");
        for (ours, expected) in mixed.weights.iter().zip(&expected.weights) {
            for (a, b) in ours.values.iter().zip(&expected.values) {
                assert!(
                    (a - b).abs() <= 1e-4,
                    "{}: {a}, {b}; GPU at {gpu}",
                    ours.name
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_dies_ends_the_run_and_is_named() {
    let endless = |file| RunFile {
        steps: 1_000_000,
        ..file
    };
    let teams = [
        (server(Placement::Single, BSP), 2, "device 3, a server"),
        (
            server(Placement::Colocated, Staleness::Infinite),
            1,
            "device 2, a worker",
        ),
        (all_reduce(), 1, "device 2, a worker"),
    ];
    for over in [MEMORY, Over::WebRtc] {
        for (file, lost, name) in teams.clone() {
            let ended = train_and_lose(endless(file), &[CPU; 3], over, Some(lost)).await;
            let error = ended.expect_err("it cannot go on").to_string();
            let said = error.starts_with(name) && error.contains("the link to it is lost");
            assert!(said, "{over:?}: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn training_that_diverges_is_said_with_the_device_and_the_layer() {
    for file in [server(Placement::Single, BSP), all_reduce()] {
        let file = RunFile {
            optimizer: OptimizerTable::new(RuleName::Sgd, 1e30),
            ..file
        };
        let ended = train_team(file, &[CPU; 3], MEMORY).await;
        let error = ended.expect_err("nothing can be learnt so").to_string();
        assert!(
            error.contains("device") && error.contains("learning rate"),
            "{error}"
        );
    }
}
