//! Devices come and go while a ring trains, and it ends with the weights of one that was never disturbed: bit for bit on the CPU
//! executor with 32-bit floats on the wire.

use ringtmp_core::codec::CodecChoice;
use ringtmp_core::schedule::Mode;
use ringtmp_core::signal::{ExecutorKind, Recovery, Replication, RoomState};
use ringtmp_peer::{ExecutorChoice, OptimizerTable, RuleName, RunFile};
use ringtmp_tests::NativePeer;
use ringtmp_tests::program::{Running, ringtmp};
use ringtmp_tests::ring::{Over, RingDevice, Trained, train_ring, train_ring_whose_server};

const STEPS: u32 = 60;

/// How far a GPU may be from the CPU: it rounds otherwise. A micro-batch that is missing moves weights by a hundred times as much.
const TOLERANCE: f32 = 1e-4;

fn run_file(peers: u16) -> RunFile {
    RunFile {
        steps: STEPS,
        evaluate_every: 20,
        evaluation_samples: 64,
        start_at_peers: peers,
        codec: CodecChoice::F32,
        replicate: Replication::Every(3),
        planning: ringtmp_core::profile::Planning::Counted,
        ..RunFile::default()
    }
}

/// So slow that a run outlasts what befalls it on the fastest machine: what a device shows of it may be a tenth of a second old.
fn device() -> RingDevice {
    RingDevice {
        operations_per_second: Some(3e9),
        ..ExecutorChoice::Cpu.into()
    }
}

fn dying(step: u32) -> RingDevice {
    RingDevice {
        dies_at: Some(step),
        ..device()
    }
}

fn coming(step: u32) -> RingDevice {
    RingDevice {
        comes_at: Some(step),
        ..device()
    }
}

fn recoveries(trained: &Trained) -> Vec<Recovery> {
    let views = trained.views.iter().filter_map(|view| view.room.as_ref());
    let mut finished = views.filter(|room| room.state == RoomState::Finished);
    let room = finished.next().expect("somebody saw the end");
    for recovery in &room.recoveries {
        println!("{recovery:?}");
    }
    room.recoveries.clone()
}

async fn undisturbed(run: &RunFile) -> Trained {
    let alone = RunFile {
        start_at_peers: 1,
        ..run.clone()
    };
    let fast = ExecutorChoice::Cpu.into();
    train_ring(alone, &[fast], Over::Loopback { seed: 0 }).await
}

/// Trains a ring of these devices, and compares it with one device that is left in peace.
async fn compare(run: RunFile, devices: &[RingDevice], over: Over) -> Vec<Recovery> {
    let alone = undisturbed(&run).await;
    let ring = train_ring(run, devices, over).await;
    assert_eq!(ring.result.digests, alone.result.digests);
    recoveries(&ring)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_device_of_four_dies_the_others_end_with_the_weights_of_one_left_in_peace() {
    for stage in 0..4 {
        let mut devices = vec![device(); 4];
        devices[stage] = dying(20);
        let over = Over::Loopback { seed: 7 };
        let recoveries = compare(run_file(4), &devices, over).await;
        assert_eq!(recoveries.len(), 1, "stage {stage}");
        assert!(recoveries[0].step >= 12, "stage {stage}: from a copy");
        assert!(recoveries[0].repeated <= 6, "stage {stage}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_of_two_versions_with_a_norm_to_clip_outlives_a_device_too() {
    let run = RunFile {
        schedule: Mode::TwoVersions,
        optimizer: OptimizerTable {
            rule: Some(RuleName::Adam),
            clip_norm: Some(1.0),
            ..OptimizerTable::default()
        },
        ..run_file(3)
    };
    let devices = [device(), dying(20), device()];
    let whole = train_ring(run.clone(), &vec![device(); 3], Over::Loopback { seed: 3 }).await;
    let ring = train_ring(run, &devices, Over::Loopback { seed: 3 }).await;
    assert_eq!(ring.result.digests, whole.result.digests);
    assert_eq!(recoveries(&ring).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leaves_on_purpose_costs_nobody_a_step() {
    for stage in 0..3 {
        let mut devices = vec![device(); 3];
        devices[stage].hands_on_at = Some(20);
        let recoveries = compare(run_file(3), &devices, Over::WebRtc).await;
        let [left] = &recoveries[..] else {
            panic!("stage {stage}: {recoveries:?}");
        };
        let words = format!("device {stage} hands its layers on and leaves");
        assert_eq!((&left.reason, left.repeated), (&words, 0));
        assert!(left.step > 20 && !left.taken.is_empty(), "{left:?}");
        assert!(left.seconds.is_some(), "{left:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_whose_gpu_is_lost_opens_it_again_and_keeps_its_place() {
    if let Err(error) = ringtmp_compute::Executor::open(ExecutorChoice::Gpu).await {
        return eprintln!("SKIP: {error}");
    }
    let gpu = RingDevice {
        loses_gpu_at: vec![20, 40],
        ..ExecutorChoice::Gpu.into()
    };
    let run = run_file(3);
    let alone = undisturbed(&run).await;
    let over = Over::Loopback { seed: 5 };
    let ring = train_ring(run, &[device(), gpu, device()], over).await;
    for (ours, theirs) in ring.weights.iter().zip(&alone.weights) {
        assert_eq!(ours.name, theirs.name);
        for (our, their) in ours.values.iter().zip(&theirs.values) {
            let apart = (our - their).abs();
            assert!(apart <= TOLERANCE, "{}: {apart} apart", ours.name);
        }
    }
    assert_eq!(ring.weights.len(), alone.weights.len());
    let recoveries = recoveries(&ring);
    assert_eq!(recoveries.len(), 2, "{recoveries:?}");
    for recovery in &recoveries {
        assert!(recovery.reason.contains("GPU was lost"), "{recovery:?}");
        assert!(recovery.step > 0 && recovery.moved == 0, "{recovery:?}");
    }
    let room = ring.views[1].room.as_ref().expect("it is in its room");
    let cut_out = room
        .members
        .iter()
        .filter_map(|member| member.cut_out.as_ref());
    assert_eq!(cut_out.count(), 0);
    let said = ring.views[1].notices.iter();
    let back = said.filter(|notice| notice.text.contains("The GPU is back"));
    assert!(back.count() > 0, "{:?}", ring.views[1].notices);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_whose_gpu_does_not_come_back_keeps_its_place_and_trains_on_its_cpu() {
    if let Err(error) = ringtmp_compute::Executor::open(ExecutorChoice::Gpu).await {
        return eprintln!("SKIP: {error}");
    }
    let gpu = RingDevice {
        loses_gpu_at: vec![20],
        gpu_does_not_come_back: true,
        ..ExecutorChoice::Gpu.into()
    };
    let over = Over::Loopback { seed: 6 };
    let ring = train_ring(run_file(3), &[device(), gpu, device()], over).await;
    let recoveries = recoveries(&ring);
    let [lost] = &recoveries[..] else {
        panic!("put together anew once, not {recoveries:?}");
    };
    assert!(lost.reason.contains("GPU was lost"), "{lost:?}");
    assert!(lost.step > 0 && lost.moved == 0, "{lost:?}");
    let said = &ring.views[1].notices;
    let told = |notice: &ringtmp_peer::Notice| notice.text.contains("trains on its CPU now");
    assert!(said.iter().any(told), "{said:?}");
    // And so does the room.
    let view = &ring.views[1];
    let room = view.room.as_ref().expect("it is in its room");
    let own = room
        .members
        .iter()
        .find(|member| Some(member.peer) == view.me);
    let executor = own.map(|member| member.device.executor);
    assert_eq!(executor, Some(ExecutorKind::Cpu));
}

/// How long a ring of programs may take to train; a machine under load takes a while.
#[cfg(unix)]
const RUN_MAX: std::time::Duration = std::time::Duration::from_secs(120);

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_hands_a_programs_layers_on_before_it_ends() -> anyhow::Result<()> {
    use anyhow::Context;
    let server = signaling_server::Server::bind(signaling_server::Config {
        address: (std::net::Ipv4Addr::LOCALHOST, 0).into(),
        ..signaling_server::Config::default()
    })?;
    let address = format!("http://{}", server.address());
    drop(tokio::spawn(server.run(std::future::pending())));
    let run = RunFile {
        steps: 3000,
        evaluate_every: 0,
        evaluation_samples: 0,
        ..run_file(3)
    };
    let mut watcher = NativePeer::open(&address, run)?;
    let room = watcher.room(RUN_MAX).await?.to_string();
    let program = ringtmp()?;
    let joins = || {
        let mut command = std::process::Command::new(&program);
        command.args(["--quiet", "join", "--executor", "cpu", "--no-keep"]);
        command.arg(format!("{address}/r/{room}"));
        command.stdin(std::process::Stdio::null());
        Running::start(command.stdout(std::process::Stdio::null()))
    };
    let [first, _second, _third] = [joins()?, joins()?, joins()?];
    let stable = |view: &ringtmp_peer::View| {
        let room = view.room.as_ref();
        room.is_some_and(|room| room.state == RoomState::Training && room.stable.is_some())
    };
    watcher.until(RUN_MAX, stable).await.context("a copy")?;
    first.signal("INT")?;
    let ended = tokio::time::timeout(RUN_MAX, first.ended()).await??;
    assert!(ended.success(), "{ended}");
    let recovered = |view: &ringtmp_peer::View| {
        let recoveries = view.room.iter().flat_map(|room| &room.recoveries);
        recoveries.filter(|one| one.seconds.is_some()).count() == 1
    };
    let view = watcher.until(RUN_MAX, recovered).await?;
    let recoveries = view.room.context("a room")?.recoveries;
    let left = &recoveries[0];
    assert!(
        left.reason.contains("hands its layers on and leaves"),
        "{left:?}"
    );
    assert_eq!(left.repeated, 0, "{left:?}");
    watcher.leave()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_data_channels_a_device_dies_and_another_comes() {
    // Layers enough for each device more to be worth its place.
    let deep = "model = { preset = 'gpt', depth = 4, width = 32, heads = 2, context = 12 }";
    let run = RunFile {
        model: RunFile::parse(deep).expect("a model").model,
        batch: 16,
        micro_batch: 4,
        ..run_file(3)
    };
    let devices = [device(), dying(15), device(), coming(30)].map(|device| RingDevice {
        operations_per_second: Some(1e9),
        ..device
    });
    let recoveries = compare(run, &devices, Over::WebRtc).await;
    let from_copies = recoveries.iter().filter(|recovery| recovery.step > 0);
    assert_eq!(from_copies.count(), recoveries.len());
    let joined = recoveries.last().expect("at least one");
    assert!(joined.reason.contains("joins"), "{joined:?}");
    assert_eq!(joined.repeated, 0, "who joins costs no step: {joined:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_restarted_finds_the_ring_at_work_and_no_step_is_made_again() {
    let run = run_file(3);
    let alone = undisturbed(&run).await;
    let devices = vec![device(); 3];
    let ring = train_ring_whose_server(Some(15), run, &devices, Over::WebRtc).await;
    assert_eq!(ring.result.digests, alone.result.digests);
    assert_eq!(recoveries(&ring), [], "nobody was interrupted");
    assert_eq!(ring.plans.len(), 1, "{:?}", ring.plans);
    // The curves begin where the run began, and not where the server did.
    let first = ring.views[0].points.first().expect("a point");
    assert_eq!(first.step, 0);
    assert_eq!(ring.result.loss_first, alone.result.loss_first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_dies_while_the_server_is_restarted_is_missed_when_it_is_back() {
    let mut devices = vec![device(); 3];
    devices[1] = dying(15);
    let run = run_file(3);
    let alone = undisturbed(&run).await;
    let ring = train_ring_whose_server(Some(15), run, &devices, Over::Loopback { seed: 3 }).await;
    assert_eq!(ring.result.digests, alone.result.digests);
    let recoveries = recoveries(&ring);
    assert_eq!(recoveries.len(), 1);
    assert!(recoveries[0].step >= 9, "from a copy");
}
