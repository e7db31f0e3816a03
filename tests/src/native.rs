//! A native peer beside the tabs: the library that the program `ringtmp` calls, in a thread of this process.

use anyhow::{Context, Result, anyhow};
use futures::channel::mpsc;
use ringtmp_core::secret::RoomLink;
use ringtmp_core::signal::Role;
use ringtmp_peer::{Command, Entry, ExecutorChoice, RunFile, Setup, View};
use std::thread::JoinHandle;
use std::time::Duration;

/// A native peer in a room.
pub struct NativePeer {
    commands: mpsc::Sender<Command>,
    views: tokio::sync::watch::Receiver<Option<View>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl NativePeer {
    /// Joins a room as a participant that computes on the CPU.
    ///
    /// # Errors
    ///
    /// What keeps a thread from starting.
    pub fn join(server: &str, room: RoomLink) -> Result<Self> {
        Self::join_as(server, room, "a native peer")
    }

    /// Joins a room likewise, under this name.
    ///
    /// # Errors
    ///
    /// What keeps a thread from starting.
    pub fn join_as(server: &str, room: RoomLink, name: &str) -> Result<Self> {
        Self::start(server, Entry::Join(room), Role::Participant, name)
    }

    /// Opens a room for a run, and watches it.
    ///
    /// # Errors
    ///
    /// What keeps a thread from starting.
    pub fn open(server: &str, run: RunFile) -> Result<Self> {
        Self::start(server, Entry::Create(run), Role::Spectator, "a native peer")
    }

    /// Opens a room for a run, and serves its parameters.
    ///
    /// # Errors
    ///
    /// What keeps a thread from starting.
    pub fn open_as_server(server: &str, run: RunFile) -> Result<Self> {
        Self::start(server, Entry::Create(run), Role::Server, "a native server")
    }

    fn start(server: &str, entry: Entry, role: Role, name: &str) -> Result<Self> {
        let name = name.to_owned();
        let (commands, wishes) = mpsc::channel(1);
        let (publish, views) = tokio::sync::watch::channel(None);
        let server = server.trim_end_matches('/').to_owned();
        let peer = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let ring = async {
                let setup = Setup {
                    server,
                    entry,
                    role,
                    name,
                    executor: ExecutorChoice::Cpu,
                    connector: ringtmp_transport::native::connector().into(),
                    weights: None,
                    own: ringtmp_peer::Own::default(),
                };
                ringtmp_peer::run(setup, wishes, |view| {
                    publish.send_replace(Some(view));
                })
                .await?;
                Ok(())
            };
            tokio::task::LocalSet::new().block_on(&runtime, ring)
        };
        let thread = std::thread::Builder::new()
            .name("native-peer".to_owned())
            .spawn(peer)?;
        Ok(Self {
            commands,
            views,
            thread: Some(thread),
        })
    }

    /// The last view; nothing before the server has answered.
    pub fn view(&self) -> Option<View> {
        self.views.borrow().clone()
    }

    /// What leads into its room, once it is in one.
    ///
    /// # Errors
    ///
    /// That it is in none in time, or has ended.
    pub async fn room(&mut self, limit: Duration) -> Result<RoomLink> {
        let entered = |view: &Option<View>| view.as_ref().is_some_and(|view| view.room.is_some());
        let wait = self.views.wait_for(entered);
        let view = tokio::time::timeout(limit, wait).await??.clone();
        view.and_then(|view| view.link()).context("it was there")
    }

    /// Waits for a view in which something is so.
    ///
    /// # Errors
    ///
    /// That there is none in time, or the peer has ended.
    pub async fn until(&mut self, limit: Duration, is: impl Fn(&View) -> bool) -> Result<View> {
        let wait = self.views.wait_for(|view| view.as_ref().is_some_and(&is));
        let view = tokio::time::timeout(limit, wait).await??.clone();
        view.context("it was there")
    }

    /// Says what its user wants.
    ///
    /// # Errors
    ///
    /// That it is busy with another wish, or has ended.
    pub fn tell(&mut self, command: Command) -> Result<()> {
        Ok(self.commands.try_send(command)?)
    }

    /// Leaves the room and waits for the thread to end.
    ///
    /// # Errors
    ///
    /// Why the peer ended, if it did not leave.
    pub fn leave(mut self) -> Result<()> {
        // A full or closed channel: it is leaving, or has ended.
        let _ = self.commands.try_send(Command::Leave);
        let thread = self.thread.take().context("taken only here")?;
        thread
            .join()
            .map_err(|_| anyhow!("the native peer panicked"))?
    }
}

impl Drop for NativePeer {
    fn drop(&mut self) {
        // A thread that is not waited for ends with the server's connection, at the latest with this process.
        let _ = self.commands.try_send(Command::Leave);
    }
}
