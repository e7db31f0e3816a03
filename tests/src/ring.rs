//! A ring of native peers in this process: the real server, shell and links.

use anyhow::{Context, ensure};
use futures::StreamExt;
use futures::channel::mpsc;
use ringtmp_compute::{Packing, StageConfig};
use ringtmp_core::ids::Epoch;
use ringtmp_core::secret::RoomLink;
use ringtmp_core::signal::{Role, RoomPlan, RoomState, RunResult};
use ringtmp_peer::{
    Command, ConnectorSource, Entry, ExecutorChoice, Fetched, ModelState, Own, OwnSamples,
    Parameter, PeerError, Run, RunFile, Setup, View,
};
use ringtmp_transport::loopback::LoopbackNetwork;
use signaling_server::{Config, Server, ServerError};
use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::LocalSet;

/// A ring of native peers takes about a second; a machine under load some more.
const RUN_MAX: Duration = Duration::from_secs(120);

/// What carries tensors.
#[derive(Clone, Copy, Debug)]
pub enum Over {
    /// Memory.
    Loopback {
        /// Of the order of delivery.
        seed: u64,
    },
    /// Data channels.
    WebRtc,
}

impl Over {
    pub(crate) fn connectors(self, count: usize) -> Vec<ConnectorSource> {
        match self {
            Self::Loopback { seed } => {
                let network = LoopbackNetwork::new(seed);
                (0..count).map(|_| network.clone().into()).collect()
            }
            Self::WebRtc => (0..count)
                .map(|_| ringtmp_transport::native::connector().into())
                .collect(),
        }
    }
}

/// One device of a ring.
#[derive(Clone, Debug)]
pub struct RingDevice {
    /// What computes.
    pub executor: ExecutorChoice,
    /// Works, or serves parameters alone.
    pub role: Role,
    /// What it has of its own.
    pub samples: OwnSamples,
    /// A digit that its user draws once training goes on: a stroke with this label.
    pub drawn: Option<u32>,
    /// Its user draws [`STROKES`] once training goes on, and asks what it is.
    pub asks: bool,
    /// Its user types this start once training goes on, and reads on until something is written.
    pub writes: Option<&'static str>,
    /// Its user fetches the whole model as soon as a version is stable, and, unless that was refused, once more when the run is
    /// finished; until then everybody stays.
    pub fetches: bool,
    /// Bytes that it gives, if it says.
    pub memory_bytes: Option<u64>,
    /// As slow as this at most, where what happens must not outrun what devices say of it ten times a second.
    pub operations_per_second: Option<f64>,
    /// It comes only once the loss of this step is known.
    pub comes_at: Option<u32>,
    /// It leaves on purpose once it knows the loss of this step, and the others have its layers.
    pub hands_on_at: Option<u32>,
    /// It loses its GPU whenever it knows the loss of one of these steps.
    pub loses_gpu_at: Vec<u32>,
    /// The first of these times for good.
    pub gpu_does_not_come_back: bool,
    /// It dies, without a word, once it knows the loss of this step.
    pub dies_at: Option<u32>,
}

impl From<ExecutorChoice> for RingDevice {
    fn from(executor: ExecutorChoice) -> Self {
        Self {
            executor,
            role: Role::Participant,
            samples: OwnSamples::Share,
            drawn: None,
            asks: false,
            writes: None,
            fetches: false,
            memory_bytes: None,
            operations_per_second: None,
            comes_at: None,
            hands_on_at: None,
            loses_gpu_at: Vec::new(),
            gpu_does_not_come_back: false,
            dies_at: None,
        }
    }
}

impl RingDevice {
    /// What its user wants once training goes on.
    fn wishes(&self) -> Vec<Command> {
        let strokes = vec![STROKES.to_vec()];
        let train_on = self.drawn.map(|label| {
            let strokes = strokes.clone();
            Command::TrainOn { strokes, label }
        });
        let ask = self.asks.then_some(Command::Ask { strokes });
        let write = self.writes.map(|start| Command::Write {
            start: start.to_owned(),
            temperature_percent: 0,
            again: false,
        });
        train_on.into_iter().chain(ask).chain(write).collect()
    }
}

/// The newest step whose loss is known.
fn reached(view: &View) -> Option<u32> {
    let losses = view.points.iter().filter(|point| point.loss.is_some());
    losses.map(|point| point.step).max()
}

/// Waits until a peer's view is as it should be.
pub(crate) async fn shown(
    views: &mut watch::Receiver<Option<View>>,
    wait_max: Duration,
    what: &str,
    is: impl Fn(&View) -> bool,
) -> anyhow::Result<View> {
    let found = views.wait_for(|view| {
        view.as_ref().is_some_and(|view| {
            let state = view.room.as_ref().map(|room| &room.state);
            is(view) || matches!(state, Some(RoomState::Stopped { .. }))
        })
    });
    let found = tokio::time::timeout(wait_max, found).await;
    let found = found.with_context(|| format!("{what}: not within {wait_max:?}"))??;
    let view = found.clone().context("a view")?;
    ensure!(is(&view), "{what}: {:?}", view.room.map(|room| room.state));
    Ok(view)
}

/// What a ring gives.
#[derive(Debug)]
pub struct Trained {
    /// The room's result.
    pub result: RunResult,
    /// The versions of the plans that the room had, in the order in which a watcher saw them.
    pub plans: Vec<Epoch>,
    /// Every device's last view.
    pub views: Vec<View>,
    /// All layers', in order.
    pub weights: Vec<Parameter>,
    /// What was fetched, in the order in which it came.
    pub models: Vec<Fetched>,
}

/// Trains a ring of these devices, which starts when all are there.
///
/// # Panics
///
/// If the run does not finish in time.
pub async fn train_ring(run: RunFile, devices: &[RingDevice], over: Over) -> Trained {
    train_ring_whose_server(None, run, devices, over).await
}

/// Likewise, where the server is stopped once the loss of a step is known, and another takes its address.
///
/// # Panics
///
/// If the run does not finish in time.
pub async fn train_ring_whose_server(
    restarts_at: Option<u32>,
    run: RunFile,
    devices: &[RingDevice],
    over: Over,
) -> Trained {
    let all = LocalSet::new();
    let ring = all.run_until(ring(restarts_at, run, devices, over));
    tokio::time::timeout(RUN_MAX, Box::pin(ring))
        .await
        .expect("the run ends in time")
}

fn bind(address: SocketAddr) -> Result<Server, ServerError> {
    Server::bind(Config {
        address,
        ..Config::default()
    })
}

/// Serves until it is stopped, with a restart between.
async fn serve(
    server: Server,
    restarts_at: Option<u32>,
    mut steps: watch::Receiver<Option<u32>>,
    stopped: oneshot::Receiver<()>,
) -> Result<(), ServerError> {
    let address = server.address();
    let Some(step) = restarts_at else {
        return server.run(async { drop(stopped.await) }).await;
    };
    let is_time = move |reached: &Option<u32>| reached.is_some_and(|at| at >= step);
    let first = server.run(async move { drop(steps.wait_for(is_time).await) });
    first.await?;
    let second = bind(address)?;
    second.run(async { drop(stopped.await) }).await
}

async fn ring(
    restarts_at: Option<u32>,
    run: RunFile,
    devices: &[RingDevice],
    over: Over,
) -> Trained {
    let server = bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    let address = format!("http://{}", server.address());
    let (stop, stopped) = oneshot::channel::<()>();
    let (steps_sender, steps) = watch::channel(None);
    let server = tokio::spawn(serve(server, restarts_at, steps.clone(), stopped));
    let (weights_sender, weights) = mpsc::channel(devices.len());
    let (models_sender, models) = mpsc::channel(devices.len());
    // Those that fetch the last version.
    let fetching = devices
        .iter()
        .filter(|device| device.fetches && device.memory_bytes.is_none());
    let (has_fetched, left) = watch::channel(fetching.count());
    let (room_sender, room) = oneshot::channel();
    let watching = watch(&address, run, room_sender, steps_sender);
    let training = async {
        let code = room.await.expect("a room");
        let connectors = over.connectors(devices.len()).into_iter();
        let setups = connectors.zip(devices).enumerate();
        let peers = setups.map(|(number, (connector, device))| {
            let setup = Setup {
                server: address.clone(),
                entry: Entry::Join(code),
                role: device.role,
                name: format!("device {number}"),
                executor: device.executor,
                connector,
                weights: Some(weights_sender.clone()),
                own: Own {
                    samples: device.samples.clone(),
                    memory_bytes: device.memory_bytes,
                    operations_per_second: device.operations_per_second,
                    models: Some(models_sender.clone()),
                    ..Own::default()
                },
            };
            let (mut steps, has_fetched, left) = (steps.clone(), &has_fetched, left.clone());
            async move {
                if let Some(step) = device.comes_at {
                    let is_time = |reached: &Option<u32>| reached.is_some_and(|at| at >= step);
                    // Where the run has ended meanwhile, it comes all the same.
                    drop(steps.wait_for(is_time).await);
                }
                Box::pin(peer(setup, device, has_fetched, left)).await
            }
        });
        futures::future::try_join_all(peers).await
    };
    let ((result, plans), views) = futures::join!(watching, training);
    drop(stop);
    let served = server.await.expect("the server runs");
    served.expect("the server ends well");
    drop((weights_sender, models_sender));
    let mut weights = weights.collect::<Vec<_>>().await.concat();
    weights.sort_by_key(|parameter| parameter.layer);
    Trained {
        result,
        plans,
        views: views.expect("the peers end well"),
        weights,
        models: models.collect().await,
    }
}

/// Somebody who opens a room for a run and only watches it.
pub(crate) fn watcher(server: String, run: RunFile) -> Setup {
    Setup {
        server,
        entry: Entry::Create(run),
        role: Role::Spectator,
        name: "watcher".to_owned(),
        executor: ExecutorChoice::Cpu,
        connector: LoopbackNetwork::new(0).into(),
        weights: None,
        own: Own::default(),
    }
}

/// Opens a room, tells what leads there, and waits for its result; tells the room's plans as well.
async fn watch(
    server: &str,
    run: RunFile,
    code: oneshot::Sender<RoomLink>,
    steps: watch::Sender<Option<u32>>,
) -> (RunResult, Vec<Epoch>) {
    let setup = watcher(server.to_owned(), run);
    let mut code = Some(code);
    let (mut leave, commands) = mpsc::channel(1);
    let (result_sender, result) = oneshot::channel();
    let mut result_sender = Some(result_sender);
    let mut plans = Vec::new();
    let watched = ringtmp_peer::run(setup, commands, |view: View| {
        steps.send_replace(reached(&view));
        if let Some(link) = view.link()
            && let Some(sender) = code.take()
        {
            sender.send(link).expect("the test waits for the room");
        }
        let Some(room) = view.room else { return };
        let plan = room.plan.as_ref().map(RoomPlan::epoch);
        plans.extend(plan.filter(|plan| plans.last() != Some(plan)));
        let ended = match room.state {
            RoomState::Finished => room.result.ok_or_else(|| "no result".to_owned()),
            RoomState::Stopped { reason } => Err(reason),
            RoomState::Waiting
            | RoomState::WarmingUp
            | RoomState::Training
            | RoomState::Paused
            | RoomState::Reconfiguring { .. }
            | RoomState::Lacking { .. } => return,
        };
        if let Some(sender) = result_sender.take() {
            sender.send(ended).expect("the test waits for the result");
            leave.try_send(Command::Leave).ok();
        }
    })
    .await;
    watched.expect("the watcher ends well");
    let result = result.await.expect("a result");
    (result.expect("the run finishes"), plans)
}

/// What users of tests draw: one stroke.
pub const STROKES: [[u16; 2]; 2] = [[400, 100], [600, 900]];

/// One peer until its room has a result (which it gives), or stops, or it dies.
async fn peer(
    setup: Setup,
    device: &RingDevice,
    has_fetched: &watch::Sender<usize>,
    mut left: watch::Receiver<usize>,
) -> Result<View, PeerError> {
    let (mut command, commands) = mpsc::channel(2);
    let mut wishes = device.wishes();
    let mut hands_on_at = device.hands_on_at;
    let mut loses_gpu_at = device.loses_gpu_at.iter().peekable();
    let for_good = device.gpu_does_not_come_back;
    let last = RefCell::new(None);
    let dies = Notify::new();
    let (ended, mut goodbye) = (Notify::new(), command.clone());
    let mut fetches = Fetches::of(device);
    let lives = ringtmp_peer::run(setup, commands, |view: View| {
        let state = view.room.as_ref().map(|room| &room.state);
        if matches!(state, Some(RoomState::Finished | RoomState::Stopped { .. })) {
            ended.notify_one();
        }
        match fetches.next(&view) {
            Some(true) => drop(command.try_send(Command::FetchModel)),
            Some(false) => has_fetched.send_modify(|left| *left -= 1),
            None => {}
        }
        if state == Some(&RoomState::Training) {
            for wish in wishes.drain(..) {
                command.try_send(wish).ok();
            }
        }
        if hands_on_at.is_some_and(|step| reached(&view) >= Some(step)) {
            hands_on_at = None;
            command.try_send(Command::HandOn).ok();
        }
        if loses_gpu_at
            .next_if(|step| reached(&view) >= Some(**step))
            .is_some()
        {
            command.try_send(Command::LoseGpu { for_good }).ok();
        }
        if device
            .dies_at
            .is_some_and(|step| reached(&view) >= Some(step))
        {
            dies.notify_one();
        }
        // What is published on leaving still shows the room as it was.
        last.replace(Some(view));
    });
    let leaves = async {
        ended.notified().await;
        // Who is waited for is in this process.
        drop(left.wait_for(|left| *left == 0).await);
        goodbye.try_send(Command::Leave).ok();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = lives => ended?,
        () = dies.notified() => {}
        () = leaves => {}
    }
    let last = last.take();
    Ok(last.expect("a view is published before a peer ends"))
}

/// What a user who fetches models does next.
enum Fetches {
    Never,
    OnceStable,
    Waits,
    OnceFinished,
    WaitsForLast,
}

impl Fetches {
    fn of(device: &RingDevice) -> Self {
        if device.fetches {
            Self::OnceStable
        } else {
            Self::Never
        }
    }

    /// Whether to fetch now (true), or everything is here (false).
    fn next(&mut self, view: &View) -> Option<bool> {
        let room = view.room.as_ref()?;
        let finished = room.state == RoomState::Finished;
        let here = match view.model {
            Some(ModelState::Here { steps }) => Some(steps),
            _ => None,
        };
        let last = room.result.as_ref().map(|result| result.steps);
        match self {
            Self::OnceStable if room.stable.is_some() => {
                *self = Self::Waits;
                Some(true)
            }
            Self::Waits if here.is_some() => {
                *self = Self::OnceFinished;
                None
            }
            Self::OnceFinished if finished => {
                *self = Self::WaitsForLast;
                Some(true)
            }
            Self::WaitsForLast if here.is_some() && here == last => {
                *self = Self::Never;
                Some(false)
            }
            _ => None,
        }
    }
}

/// The whole model in one stage.
pub fn whole_model(run: &Run) -> StageConfig {
    let file = &run.file;
    StageConfig {
        model: run.model.clone(),
        layers: 0..run.model.layers.len(),
        micro_batch: file.micro_batch as usize,
        batch: file.batch as usize,
        slots: 1,
        versions: 1,
        seed: file.seed,
        optimizer: run.optimizer,
        input_packing: Packing::F32,
        output_packing: Packing::F32,
        arithmetic: file.arithmetic,
    }
}
