//! Native peers that die without a word and come back with what they kept on disk.

use crate::ring::shown;
use anyhow::{Context, Result};
use futures::channel::mpsc;
use ringtmp_core::ids::RoomCode;
use ringtmp_core::secret::RoomLink;
use ringtmp_core::signal::{Role, RoomState, RunResult};
use ringtmp_peer::{
    Command, Entry, ExecutorChoice, Keep, Own, PeerError, RunFile, Setup, StoreError, View,
};
use ringtmp_transport::loopback::LoopbackNetwork;
use signaling_server::{Config, Server, ServerError};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

/// Until peers have done what they are waited for; a machine under load takes some seconds.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A server, and a disk for each device.
#[derive(Debug)]
pub struct Devices {
    address: String,
    network: LoopbackNetwork,
    disks: Vec<TempDir>,
    server: JoinHandle<Result<(), ServerError>>,
}

impl Drop for Devices {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A peer at work.
#[derive(Debug)]
pub struct Peer {
    views: watch::Receiver<Option<View>>,
    task: JoinHandle<Result<(), PeerError>>,
    _commands: mpsc::Sender<Command>,
}

impl Devices {
    /// So many, none of which is at work.
    ///
    /// # Errors
    ///
    /// Where there is no port, or no temporary folder.
    pub fn new(count: usize) -> Result<Self> {
        let server = Server::bind(Config {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            ..Config::default()
        })?;
        let disks = (0..count).map(|_| tempfile::tempdir());
        Ok(Self {
            address: format!("http://{}", server.address()),
            network: LoopbackNetwork::new(5),
            disks: disks.collect::<Result<_, _>>()?,
            server: tokio::spawn(server.run(std::future::pending())),
        })
    }

    /// Where a device keeps what it keeps.
    pub fn disk(&self, device: usize) -> &Path {
        self.disks[device].path()
    }

    fn setup(&self, entry: Entry, role: Role, name: String, keep: Option<Keep>) -> Setup {
        Setup {
            server: self.address.clone(),
            entry,
            role,
            name,
            executor: ExecutorChoice::Cpu,
            connector: self.network.clone().into(),
            weights: None,
            own: Own {
                keep,
                ..Own::default()
            },
        }
    }

    /// Opens a room for a run, and watches it.
    pub fn watch(&self, run: RunFile) -> Peer {
        let watcher = "watcher".to_owned();
        Peer::start(self.setup(Entry::Create(run), Role::Spectator, watcher, None))
    }

    /// A device comes into a room, or opens another for what it keeps. Every version that is stable is kept, as quickly as the disk
    /// can.
    pub fn start(&self, device: usize, entry: Entry) -> Peer {
        let keep = Keep {
            every: Duration::ZERO,
            ..Keep::at(self.disk(device))
        };
        let name = format!("device {device}");
        Peer::start(self.setup(entry, Role::Participant, name, Some(keep)))
    }

    /// The run that a device keeps something of.
    ///
    /// # Errors
    ///
    /// Unless it is one.
    pub async fn kept_run(&self, device: usize) -> Result<Option<RoomCode>, StoreError> {
        let runs = ringtmp_peer::Store::open(self.disk(device)).await?;
        let runs = runs.runs().await?;
        Ok(match &runs[..] {
            [only] => Some(only.id),
            _ => None,
        })
    }
}

impl Peer {
    fn start(setup: Setup) -> Self {
        let (seen, views) = watch::channel(None);
        let (commands, commands_queue) = mpsc::channel(1);
        let task = spawn_local(ringtmp_peer::run(setup, commands_queue, move |view| {
            seen.send_replace(Some(view));
        }));
        Self {
            views,
            task,
            _commands: commands,
        }
    }

    /// Waits until a view is as it should be.
    ///
    /// # Errors
    ///
    /// If it is not in time, or the room stops before.
    pub async fn until(&mut self, what: &str, is: impl Fn(&View) -> bool) -> Result<View> {
        shown(&mut self.views, WAIT_MAX, what, is).await
    }

    /// Waits for the room that it is in.
    ///
    /// # Errors
    ///
    /// As [`Peer::until`].
    pub async fn room(&mut self) -> Result<RoomLink> {
        let view = self.until("a room", |view| view.room.is_some()).await?;
        view.link().context("a room")
    }

    /// Waits for the end of the run.
    ///
    /// # Errors
    ///
    /// As [`Peer::until`].
    pub async fn result(&mut self) -> Result<(RunResult, View)> {
        let finished = |view: &View| {
            let state = view.room.as_ref().map(|room| &room.state);
            state == Some(&RoomState::Finished)
        };
        let view = self.until("the end", finished).await?;
        let result = view.room.as_ref().and_then(|room| room.result.clone());
        Ok((result.context("a finished room has a result")?, view))
    }

    /// It dies, without a word.
    pub async fn dies(self) {
        self.task.abort();
        // What it held is gone once it is.
        self.task.await.ok();
    }
}

/// The newest step whose loss is known.
pub fn reached(view: &View) -> u32 {
    let losses = view.points.iter().filter(|point| point.loss.is_some());
    losses.map(|point| point.step).max().unwrap_or_default()
}

/// Does something in which peers of this thread take part.
pub async fn with_peers<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    LocalSet::new().run_until(work).await
}
