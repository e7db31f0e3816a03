//! `ringtmp bench ring`: the same run in one process and in rings of peers, in turn.
//!
//! All native peers live in this process, each on a thread of its own, and talk over WebRTC on this machine, so that one clock counts
//! everything that a ring costs: computing, packing, encryption, the network's system calls, the server. Tabs live in a headless browser, all of which
//! counts.

mod tabs;

use super::clock::cpu_seconds;
use crate::commands::serve::Running;
use crate::exit::Failure;
use crate::peer::{Carrier, Part, Peer};
use crate::run_choice::{self, RunChoice};
use crate::speed::Speed;
use anyhow::{Context, Result, bail};
use clap::Args;
use ringtmp_core::profile::Planning;
use ringtmp_core::schedule::Mode;
use ringtmp_core::signal::{Replication, RoomState};
use ringtmp_peer::{
    DataPlace, Executor, ExecutorChoice, Own, Paradigm, Run, RunFile, Solo, View, open_data,
};
use ringtmp_transport::native::AccessLink;
use serde::Serialize;
use signaling_server::{Config, Server};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// The version of the lines' JSON.
const SCHEMA_VERSION: u32 = 2;

/// How long a run may take; after that something hangs.
const RUN_MAX: Duration = Duration::from_secs(1800);

#[derive(Args, Debug)]
pub(crate) struct RingCost {
    // The run to make; it should take ten seconds or more.
    #[command(flatten)]
    run: RunChoice,
    /// Sizes of rings
    #[arg(long, value_delimiter = ',', default_value = "2,4", value_parser = clap::value_parser!(u16).range(2..=64))]
    peers: Vec<u16>,
    /// Numbers of browser tabs, in place of native peers; 1 is always there
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["peers", "access_link"], value_parser = clap::value_parser!(u16).range(1..=64))]
    tabs: Vec<u16>,
    /// Runs of each, of which the best is told: other load makes none better
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How often stages are copied, several ways in turn: updates, auto or off; what the run says if this is left out
    #[arg(long, value_delimiter = ',', value_name = "UPDATES", value_parser = run_choice::replication)]
    copies: Vec<Replication>,
    /// Emulate how fast each native peer is: operations per second, or how many times slower than others
    #[arg(long, value_name = "SPEED", conflicts_with = "tabs")]
    pace: Option<Speed>,
    /// Emulate the link between each peer and all others: a delay one way, a rate, or both
    #[arg(long, value_name = "25ms,10mbit")]
    access_link: Option<AccessLink>,
}

impl RingCost {
    /// The file of the run, in the lines.
    fn name(&self) -> Option<String> {
        let path = self.run.run.as_ref()?;
        Some(path.display().to_string())
    }
}

/// What a run took, from its first step to its last.
#[derive(Clone, Copy, Debug)]
struct Taken {
    seconds: f64,
    cpu_seconds: f64,
    bytes: u64,
    /// The least that a step could take, by the plan, if devices and links were measured for it.
    step_seconds_min: Option<f64>,
}

/// Where peers run.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Place {
    Native,
    Tabs,
}

#[derive(Debug, Serialize)]
struct Line {
    schema_version: u32,
    /// Its file, if it has one.
    run: Option<String>,
    model: String,
    codec: String,
    schedule: Mode,
    /// Behind which access link each peer is.
    access_link: Option<String>,
    /// Whether peers are slowed down.
    paced: bool,
    place: Place,
    /// 1 for one process without a ring; of tabs, for a room of one.
    peers: u16,
    /// How often stages are copied to their successors.
    replicate: Replication,
    samples: u64,
    samples_per_second: f64,
    samples_per_cpu_second: f64,
    /// What the plan's bound allows, by what devices and links were measured to do; null with `planning = "counted"`.
    bound_samples_per_second: Option<f64>,
    /// Beside one process.
    ratio: f64,
    /// Null for tabs.
    bytes_per_sample: Option<f64>,
}

pub(super) async fn run(cost: RingCost) -> Result<()> {
    let mut file = cost.run.file()?;
    if file.paradigm != Paradigm::Ring {
        bail!("what a ring costs is asked of rings: leave out the paradigm");
    }
    if cost.run.leaves_planning_open() {
        // All peers are this machine, and equal layers can be compared.
        file.planning = Planning::Counted;
    }
    let run = file.check()?;
    if cpu_seconds().is_none() {
        bail!("this system does not tell how long processors have worked for a process");
    }
    let copies = match cost.copies.is_empty() {
        true => vec![run.file.replicate],
        false => cost.copies.clone(),
    };
    if !cost.tabs.is_empty() {
        return tabs::run(&cost, &run, &copies);
    }
    let rings = cost.peers.iter();
    let rings = rings.flat_map(|peers| copies.iter().map(|every| (*peers, *every)));
    // In turn, so that whatever else the machine does meanwhile falls on all of them.
    let all = std::iter::once((1, Replication::Off)).chain(rings);
    let mut best: Vec<(u16, Replication, Option<Taken>)> =
        all.map(|(peers, every)| (peers, every, None)).collect();
    for _ in 0..cost.rounds {
        for (peers, every, best) in &mut best {
            let taken = match *peers {
                1 => alone(&run).await?,
                peers => ring(&run, peers, *every, &cost).await?,
            };
            if best.is_none_or(|best| taken.cpu_seconds < best.cpu_seconds) {
                *best = Some(taken);
            }
        }
    }
    let samples = u64::from(run.file.steps) * u64::from(run.file.batch);
    let alone = best[0].2.map_or(f64::NAN, |taken| taken.cpu_seconds);
    for (peers, replicate, taken) in best {
        let Some(taken) = taken else { continue };
        let line = Line {
            schema_version: SCHEMA_VERSION,
            run: cost.name(),
            model: run.file.model.name().to_owned(),
            access_link: cost.access_link.map(|link| link.to_string()),
            paced: cost.pace.is_some(),
            codec: run.descriptor().outline.codec.to_string(),
            schedule: run.file.schedule,
            place: Place::Native,
            peers,
            replicate,
            samples,
            samples_per_second: samples as f64 / taken.seconds,
            samples_per_cpu_second: samples as f64 / taken.cpu_seconds,
            bound_samples_per_second: taken
                .step_seconds_min
                .map(|seconds| f64::from(run.file.batch) / seconds),
            ratio: alone / taken.cpu_seconds,
            bytes_per_sample: Some(taken.bytes as f64 / samples as f64),
        };
        outln!("{}", serde_json::to_string(&line)?);
    }
    Ok(())
}

/// A clock of the wall and of processors.
struct Watch {
    start: Instant,
    cpu_start: f64,
}

impl Watch {
    fn start() -> Self {
        Self {
            start: Instant::now(),
            cpu_start: cpu_seconds().unwrap_or(f64::NAN),
        }
    }

    fn taken(&self, bytes: u64, step_seconds_min: Option<f64>) -> Taken {
        Taken {
            seconds: self.start.elapsed().as_secs_f64(),
            cpu_seconds: cpu_seconds().unwrap_or(f64::NAN) - self.cpu_start,
            bytes,
            step_seconds_min,
        }
    }
}

async fn alone(run: &Run) -> Result<Taken> {
    let data = open_data(run, &DataPlace::Disk).await?;
    let executor = Executor::open(ExecutorChoice::Cpu).await?;
    let mut solo = Box::pin(Solo::new(run.clone(), data, executor)).await?;
    let watch = Watch::start();
    for _ in 0..run.file.steps {
        Box::pin(solo.step()).await?;
    }
    Ok(watch.taken(0, None))
}

async fn ring(run: &Run, peers: u16, replicate: Replication, cost: &RingCost) -> Result<Taken> {
    let server = Server::bind(Config {
        address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
        ..Config::default()
    })?;
    let (server, address) = Running::start(server);
    let file = RunFile {
        start_at_peers: peers,
        replicate,
        // One process evaluates nothing either: what is compared is training.
        evaluation_samples: 0,
        ..run.file.clone()
    };
    let mut watcher = Peer::start(Part::creator(&address, file))?;
    let link = watcher.view_until(View::link).await?;
    let outline = run.descriptor().outline;
    let speed = |speed: Speed| speed.operations_per_second(&outline, usize::from(peers));
    let part = |number| {
        let part = Part::local(&address, link, number);
        let own = Own {
            operations_per_second: cost.pace.map(speed),
            ..part.own
        };
        Part {
            carrier: Carrier::WebRtc(cost.access_link),
            own,
            ..part
        }
    };
    let start = |number| Peer::start(part(number));
    let members = (1..=peers).map(start).collect::<Result<Vec<_>>>()?;
    let taken = tokio::time::timeout(RUN_MAX, watch(&mut watcher)).await;
    futures::future::join_all(members.into_iter().map(Peer::leave)).await;
    watcher.leave().await;
    drop(server.stop);
    let _ended = server.ended.await;
    taken.with_context(|| format!("the ring of {peers} was not done in time"))?
}

/// From the first step to the last, as a spectator sees them.
async fn watch(watcher: &mut Peer) -> Result<Taken> {
    let state = |state: &RoomState| match state {
        RoomState::Stopped { reason } => Some(Err(Failure::Unfinished(reason.clone()).into())),
        RoomState::Training | RoomState::Finished => Some(Ok(())),
        RoomState::Waiting
        | RoomState::WarmingUp
        | RoomState::Paused
        | RoomState::Reconfiguring { .. }
        | RoomState::Lacking { .. } => None,
    };
    let begun = watcher.view_until(|view| state(&view.room.as_ref()?.state));
    begun.await.and_then(|begun: Result<()>| begun)?;
    let watch = Watch::start();
    let ended = watcher.view_until(|view| {
        let room = view.room.as_ref()?;
        let links = room.members.iter().flat_map(|member| &member.links);
        let bound = room.ring().and_then(|plan| plan.step_seconds);
        let over = |outcome| (outcome, links.map(|link| link.bytes).sum(), bound);
        match &room.state {
            RoomState::Training => None,
            other => state(other).map(over),
        }
    });
    let (ended, bytes, bound): (Result<()>, u64, Option<f64>) = ended.await?;
    ended.map(|()| watch.taken(bytes, bound))
}
