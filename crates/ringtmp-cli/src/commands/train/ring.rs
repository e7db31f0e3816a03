//! A run in a ring of peers of this process: the same server, shell and transports as between devices.

use super::log::Log;
use super::{Ended, HeldOut, write_norms};
use crate::arguments::{Train, Transport};
use crate::commands::serve::Running;
use crate::exit::Failure;
use crate::follow::until_finished;
use crate::interrupt::interrupted;
use crate::memory::Memory;
use crate::peer::{Carrier, Part, Peer};
use crate::result::RunReport;
use crate::speed::Speed;
use crate::terminal::Screen;
use crate::trace_file::TraceFile;
use anyhow::{Context, Result, anyhow, bail};
use futures::StreamExt;
use futures::channel::mpsc;
use ringtmp_core::secret::RoomLink;
use ringtmp_core::signal::Point;
use ringtmp_peer::{
    DataPlace, Executor, Own, Parameter, Run, RunFile, Solo, Traced, View, open_data,
};
use ringtmp_transport::loopback::LoopbackNetwork;
use signaling_server::{Config, Server};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Messages with points that wait for the log, each of many steps: a peer sends five a second.
const POINTS_MAX: usize = 1024;

/// How long our own server, in this very process, may take to open a room. It takes milliseconds.
const ROOM_MAX: Duration = Duration::from_secs(20);

/// Trains a ring until its run has finished or stopped.
pub(super) async fn train(
    train: &Train,
    run: Run,
    initial: Option<Vec<Parameter>>,
    quiet: bool,
) -> Result<Ended> {
    // What is wrong with data or weights is said before anything starts.
    let data = open_data(&run, &DataPlace::Disk).await?;
    if let Some(path) = &train.gradient_norms {
        let executor = Executor::open(train.executor).await?;
        let mut solo = Solo::new(run.clone(), data, executor).await?;
        if let Some(weights) = &initial {
            solo.set_weights(weights)?;
        }
        write_norms(path, &solo.gradient_norms().await?)?;
    }
    let log = match &train.log {
        Some(path) => Some(Log::open(path, 0)?),
        None => None,
    };
    let server = Server::bind(Config {
        address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
        ..Config::default()
    })?;
    let (server, address) = Running::start(server);
    let trace = train.trace.as_deref().map(TraceFile::create).transpose()?;
    let traced = trace.as_ref().map(TraceFile::traced);
    let mut ring = Ring::new(train, &run, initial, address, traced)?;
    let mut screen = Screen::new(quiet);
    let outcome = {
        let play = ring.play(&mut screen, log);
        tokio::select! {
            outcome = play => outcome,
            error = server.failed => Err(error),
            () = interrupted() => Err(Failure::Interrupted.into()),
        }
    };
    screen.leave();
    let weights = ring.leave().await;
    drop(server.stop);
    let _ended = server.ended.await;
    if let Some(trace) = trace {
        trace.finish().await?;
    }
    ended(&run, &outcome?, weights, train.transport)
}

/// The ring's peers, and what they tell.
struct Ring<'a> {
    train: &'a Train,
    address: String,
    watcher: Peer,
    peers: Vec<Peer>,
    network: LoopbackNetwork,
    initial: Option<Arc<[Parameter]>>,
    points: mpsc::Receiver<Vec<Point>>,
    hand_over: mpsc::Sender<Vec<Parameter>>,
    weights: mpsc::Receiver<Vec<Parameter>>,
    traced: Option<mpsc::Sender<Traced>>,
    /// Operations per second of the devices that the peers emulate; empty if they do not.
    speeds: Vec<f64>,
}

impl<'a> Ring<'a> {
    /// Opens a room.
    fn new(
        train: &'a Train,
        run: &Run,
        initial: Option<Vec<Parameter>>,
        address: String,
        traced: Option<mpsc::Sender<Traced>>,
    ) -> Result<Self> {
        let (outline, peers) = (run.descriptor().outline, usize::from(train.peers));
        let speed = |speed: &Speed| speed.operations_per_second(&outline, peers);
        let (tell_points, points) = mpsc::channel(POINTS_MAX);
        // Every peer hands its weights over once.
        let (hand_over, weights) = mpsc::channel(usize::from(train.peers));
        let file = RunFile {
            start_at_peers: train.peers,
            ..run.file.clone()
        };
        let watcher = Part {
            own: Own {
                points: Some(tell_points),
                ..Own::default()
            },
            ..Part::creator(&address, file)
        };
        Ok(Self {
            train,
            address,
            watcher: Peer::start(watcher)?,
            peers: Vec::new(),
            network: LoopbackNetwork::new(run.file.seed),
            initial: initial.map(Into::into),
            points,
            hand_over,
            weights,
            traced,
            speeds: train.pace.iter().map(speed).collect(),
        })
    }

    fn part(&self, room: RoomLink, number: u16) -> Part {
        Part {
            executor: self.train.executor,
            carrier: match self.train.transport {
                Transport::Loopback => Carrier::Loopback(self.network.clone()),
                Transport::Webrtc => Carrier::WebRtc(self.train.access_link),
            },
            weights: Some(self.hand_over.clone()),
            own: Own {
                data: true,
                weights: self.initial.clone(),
                traced: self.traced.clone(),
                operations_per_second: self.speeds.get(usize::from(number) - 1).copied(),
                memory_bytes: match self.train.memory {
                    Some(Memory(bytes)) => Some(bytes),
                    None => Memory::of_this_machine(self.train.peers),
                },
                ..Own::default()
            },
            ..Part::local(&self.address, room, number)
        }
    }

    /// Lets the peers in, and watches until the run is over.
    async fn play(&mut self, screen: &mut Screen, mut log: Option<Log>) -> Result<View> {
        let link = self.watcher.view_until(View::link);
        let link = tokio::time::timeout(ROOM_MAX, link)
            .await
            .with_context(|| format!("the server at {} opens no room", self.address))??;
        for number in 1..=self.train.peers {
            self.peers.push(Peer::start(self.part(link, number))?);
        }
        let mut logged = 0;
        let points = &mut self.points;
        let write_down = async || match points.next().await {
            Some(points) => write(&mut log, &points, &mut logged),
            // The watcher is gone, which it will say itself.
            None => std::future::pending().await,
        };
        // Steps of a large model may take any time.
        let view = until_finished(&mut self.watcher, screen, None, write_down).await?;
        while let Ok(points) = self.points.try_recv() {
            write(&mut log, &points, &mut logged)?;
        }
        complete(view, log.is_some(), logged)
    }

    /// Ends every peer, and gives what they have learnt.
    async fn leave(mut self) -> Vec<Parameter> {
        futures::future::join_all(self.peers.into_iter().map(Peer::leave)).await;
        self.watcher.leave().await;
        let mut weights = Vec::new();
        while let Ok(part) = self.weights.try_recv() {
            weights.extend(part);
        }
        // Within a layer they are in order already.
        weights.sort_by_key(|parameter| parameter.layer);
        weights
    }
}

/// Writes the losses among the points; `logged` counts them.
fn write(log: &mut Option<Log>, points: &[Point], logged: &mut u32) -> Result<()> {
    let Some(log) = log else { return Ok(()) };
    for point in points {
        if let Some(loss) = point.loss {
            log.write(point.step, loss)?;
            *logged += 1;
        }
    }
    Ok(())
}

/// A log with holes is none.
fn complete(view: View, wanted: bool, logged: u32) -> Result<View> {
    let steps = view.run.as_ref().map_or(0, |run| run.steps);
    if wanted && logged < steps {
        bail!(
            "the log lacks {} of {steps} steps: the ring was faster than its news; train in one process for a whole log",
            steps - logged
        );
    }
    Ok(view)
}

fn ended(run: &Run, view: &View, weights: Vec<Parameter>, transport: Transport) -> Result<Ended> {
    let room = view.room.as_ref();
    let result = room
        .and_then(|room| room.result.as_ref())
        .ok_or_else(|| anyhow!("the room has finished without a result"))?;
    let learnt: u64 = run.layers.iter().map(|layer| layer.parameters).sum();
    let handed: usize = weights.iter().map(|weight| weight.values.len()).sum();
    if handed as u64 != learnt {
        bail!("the peers have handed over {handed} of {learnt} weights");
    }
    Ok(Ended {
        steps: result.steps,
        measure: run.measure(),
        weights,
        loss: result.loss_last,
        held_out: result.test_accuracy.map(|accuracy| HeldOut {
            loss: None,
            accuracy,
        }),
        report: RunReport::of(view, transport),
        reported: false,
    })
}
