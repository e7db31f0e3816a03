//! Native peers that lose owner and buddy, or everybody, and go on with what lies on their disks: they end with the weights of a
//! device that was left in peace, bit for bit.

use anyhow::{Context, Result, ensure};
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::profile::Planning;
use ringtmp_core::schedule::Mode;
use ringtmp_core::signal::{Replication, RoomState, RunResult};
use ringtmp_peer::{Entry, ExecutorChoice, OptimizerTable, RuleName, RunFile, View};
use ringtmp_tests::keep::{Devices, Peer, reached, with_peers};
use ringtmp_tests::ring::{Over, train_ring};
use std::fs;
use std::path::{Path, PathBuf};

const DEVICES: usize = 4;

/// Long enough for some versions to be kept before and after the loss.
const STEPS: u32 = 240;

fn run_file() -> RunFile {
    RunFile {
        steps: STEPS,
        evaluate_every: 0,
        evaluation_samples: 0,
        start_at_peers: DEVICES as u16,
        codec: CodecChoice::F32,
        replicate: Replication::Every(3),
        planning: Planning::Counted,
        ..RunFile::default()
    }
}

async fn undisturbed(run: &RunFile, peers: u16) -> RunResult {
    let alone = RunFile {
        start_at_peers: peers,
        ..run.clone()
    };
    let devices = vec![ExecutorChoice::Cpu.into(); usize::from(peers)];
    let trained = train_ring(alone, &devices, Over::Loopback { seed: 0 }).await;
    trained.result
}

/// A ring of four at work, of which every layer lies on disks.
async fn at_work(devices: &Devices, run: RunFile) -> Result<(Peer, Vec<Option<Peer>>)> {
    let mut watcher = devices.watch(run);
    let room = watcher.room().await?;
    let start = |device| Some(devices.start(device, Entry::Join(room)));
    let peers = (0..DEVICES).map(start).collect();
    let kept = |view: &View| {
        let kept = view.room.as_ref().and_then(|room| room.kept);
        reached(view) >= 20 && kept.is_some()
    };
    watcher.until("versions on disks", kept).await?;
    Ok((watcher, peers))
}

/// The device of a stage: its name ends with its number.
fn device_of(view: &View, stage: usize) -> Option<usize> {
    let room = view.room.as_ref()?;
    let peer = room.ring()?.order.get(stage)?;
    let member = room.members.iter().find(|member| member.peer == *peer)?;
    member.device.name.strip_prefix("device ")?.parse().ok()
}

fn lacking(view: &View) -> Option<&str> {
    match &view.room.as_ref()?.state {
        RoomState::Lacking { reason } => Some(reason),
        _ => None,
    }
}

/// As many neighbours of a ring of four as there are from `first`, and where its stages are.
fn neighbours(view: &View, first: usize, count: usize) -> Result<Vec<usize>> {
    let stages = (first..first + count).map(|stage| stage % DEVICES);
    let devices = stages.map(|stage| device_of(view, stage).context("a stage has a device"));
    devices.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_neighbours_that_die_at_once_are_done_without_since_a_third_disk_has_their_layers()
-> Result<()> {
    let run = run_file();
    let whole = undisturbed(&run, 1).await;
    // Stages whose layers learn something.
    for first in [0, DEVICES - 1] {
        with_peers(async {
            let devices = Devices::new(DEVICES)?;
            let (mut watcher, mut peers) = at_work(&devices, run.clone()).await?;
            let view = watcher
                .until("the ring", |view| view.room.is_some())
                .await?;
            for device in neighbours(&view, first, 2)? {
                let peer = peers[device].take().context("it lives")?;
                peer.dies().await;
            }
            let (result, view) = watcher.result().await?;
            ensure!(result.digests == whole.digests, "other weights");
            let recoveries = view.room.context("a room")?.recoveries;
            println!("{recoveries:?}");
            ensure!(
                recoveries.last().is_some_and(|one| one.step > 0),
                "{recoveries:?}"
            );
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_neighbours_that_die_at_once_are_waited_for_and_one_of_them_brings_all_back()
-> Result<()> {
    let run = run_file();
    let whole = undisturbed(&run, 1).await;
    with_peers(async {
        let devices = Devices::new(DEVICES)?;
        let (mut watcher, mut peers) = at_work(&devices, run.clone()).await?;
        let view = watcher
            .until("the ring", |view| view.room.is_some())
            .await?;
        let lost = neighbours(&view, DEVICES - 1, 3)?;
        for device in &lost {
            let peer = peers[*device].take().context("it lives")?;
            peer.dies().await;
        }
        let view = watcher
            .until("waiting", |view| lacking(view).is_some())
            .await?;
        let reason = lacking(&view).context("it waits")?;
        // Whichever of them was the last to keep what is missing.
        let is_named = |device: &&usize| reason.contains(&format!("device {device}"));
        let named = lost.iter().find(is_named);
        let named = *named.with_context(|| format!("it names nobody: {reason}"))?;
        let room = watcher.room().await?;
        peers[named] = Some(devices.start(named, Entry::Join(room)));
        let (result, view) = watcher.result().await?;
        ensure!(result.digests == whole.digests, "other weights");
        let recoveries = view.room.context("a room")?.recoveries;
        println!("{recoveries:?}");
        let from_disks = recoveries.iter().find(|one| one.reason.contains("missing"));
        ensure!(from_disks.is_some_and(|one| one.step > 0), "{recoveries:?}");
        Ok(())
    })
    .await
}

/// All devices die; three of four go on in another room, and end with these weights.
async fn all_die_and_three_resume(run: RunFile, whole: &RunResult) -> Result<()> {
    let devices = Devices::new(DEVICES)?;
    let (watcher, peers) = at_work(&devices, run).await?;
    for peer in peers.into_iter().flatten() {
        peer.dies().await;
    }
    watcher.dies().await;
    let id = devices.kept_run(2).await?.context("a run is kept")?;
    let mut first = devices.start(2, Entry::Resume { id, peers: 3 });
    let room = first.room().await?;
    let _others = [0, 1].map(|device| devices.start(device, Entry::Join(room)));
    let (result, view) = first.result().await?;
    let plan = view
        .room
        .and_then(|room| room.ring().cloned())
        .context("a plan")?;
    println!("from step {} with {} stages", plan.start.0, plan.stages());
    ensure!(
        plan.start.0 > 0 && plan.kept.is_some(),
        "from the beginning"
    );
    ensure!(result.digests == whole.digests, "other weights");
    // Nothing is left of a run that is over.
    first
        .until("an empty disk", |view| view.room.is_some())
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_whose_devices_all_died_goes_on_with_three_of_four_and_their_weights_are_the_same()
-> Result<()> {
    let run = run_file();
    let whole = undisturbed(&run, 1).await;
    with_peers(all_die_and_three_resume(run, &whole)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_two_versions_with_adam_and_a_norm_to_clip_resumes_exactly_too() -> Result<()> {
    let run = RunFile {
        schedule: Mode::TwoVersions,
        optimizer: OptimizerTable {
            rule: Some(RuleName::Adam),
            clip_norm: Some(1.0),
            ..OptimizerTable::default()
        },
        ..run_file()
    };
    let whole = undisturbed(&run, 3).await;
    with_peers(all_die_and_three_resume(run, &whole)).await
}

/// The files under a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.path() {
            path if path.is_dir() => files(&path),
            path => vec![path],
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_that_were_altered_are_told_of_and_done_without_where_another_has_them() -> Result<()>
{
    let run = run_file();
    let whole = undisturbed(&run, 1).await;
    with_peers(async {
        let devices = Devices::new(DEVICES)?;
        let (watcher, peers) = at_work(&devices, run).await?;
        for peer in peers.into_iter().flatten() {
            peer.dies().await;
        }
        watcher.dies().await;
        let id = devices.kept_run(0).await?.context("a run is kept")?;
        let is_layer = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.parse::<u16>().is_ok())
        };
        let layers = files(devices.disk(1)).into_iter().filter(is_layer);
        let mut spoilt = 0;
        for path in layers {
            let mut bytes = fs::read(&path)?;
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&path, bytes)?;
            spoilt += 1;
        }
        ensure!(spoilt > 0, "nothing to spoil");
        let mut first = devices.start(0, Entry::Resume { id, peers: 4 });
        let room = first.room().await?;
        let mut spoilt = devices.start(1, Entry::Join(room));
        let _others = [2, 3].map(|device| devices.start(device, Entry::Join(room)));
        let told = |view: &View| {
            let mut notices = view.notices.iter();
            notices.any(|notice| notice.text.contains("cut short or altered"))
        };
        spoilt.until("a word about it", told).await?;
        let (result, view) = first.result().await?;
        let plan = view
            .room
            .and_then(|room| room.ring().cloned())
            .context("a plan")?;
        ensure!(plan.start.0 > 0, "from the beginning");
        ensure!(result.digests == whole.digests, "other weights");
        Ok(())
    })
    .await
}
