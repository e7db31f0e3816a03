//! A peer of this process, on a thread of its own.

use crate::room_url::RoomUrl;
use anyhow::{Context, anyhow};
use futures::channel::mpsc;
use ringtmp_core::secret::RoomLink;
use ringtmp_core::signal::Role;
use ringtmp_peer::{
    Command, ConnectorSource, Entry, ExecutorChoice, Own, Parameter, PeerError, RunFile, Setup,
    View,
};
use ringtmp_transport::loopback::LoopbackNetwork;
use ringtmp_transport::native::{AccessLink, connector, connector_behind};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;

/// Commands that wait for the peer, which takes one between two tasks. More than a person types ahead.
const COMMANDS_MAX: usize = 8;

/// How long a peer may take to say goodbye: it may be in the middle of a task.
const LEAVE_MAX: Duration = Duration::from_secs(3);

/// What a peer does.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) server: String,
    pub(crate) entry: Entry,
    pub(crate) role: Role,
    pub(crate) name: String,
    pub(crate) executor: ExecutorChoice,
    pub(crate) carrier: Carrier,
    /// Where to put what it has learnt.
    pub(crate) weights: Option<mpsc::Sender<Vec<Parameter>>>,
    pub(crate) own: Own,
}

/// What carries a peer's tensors.
#[derive(Clone, Debug)]
pub(crate) enum Carrier {
    /// Data channels, behind an emulated access link if there is one.
    WebRtc(Option<AccessLink>),
    /// Memory, among the peers of this process.
    Loopback(LoopbackNetwork),
}

impl From<Carrier> for ConnectorSource {
    fn from(carrier: Carrier) -> Self {
        match carrier {
            Carrier::WebRtc(None) => connector().into(),
            Carrier::WebRtc(Some(link)) => connector_behind(link).into(),
            Carrier::Loopback(network) => network.into(),
        }
    }
}

impl Part {
    /// Watches a room.
    pub(crate) fn spectator(url: &RoomUrl) -> Self {
        Self::new(
            &url.server.to_string(),
            Entry::Join(url.link),
            Role::Spectator,
        )
    }

    /// Opens a room and watches it.
    pub(crate) fn creator(server: &str, run: RunFile) -> Self {
        Self::new(server, Entry::Create(run), Role::Spectator)
    }

    /// Takes part in a room of this process' own server.
    pub(crate) fn local(server: &str, room: RoomLink, number: u16) -> Self {
        Self {
            name: format!("peer {number}"),
            own: Own {
                data: true,
                ..Own::default()
            },
            ..Self::new(server, Entry::Join(room), Role::Participant)
        }
    }

    fn new(server: &str, entry: Entry, role: Role) -> Self {
        Self {
            server: server.to_owned(),
            entry,
            role,
            name: "terminal".to_owned(),
            executor: ExecutorChoice::Cpu,
            carrier: Carrier::WebRtc(None),
            weights: None,
            own: Own::default(),
        }
    }
}

/// A running peer. It computes on its own thread, so that drawing, signals and links are never held up by it.
pub(crate) struct Peer {
    /// The newest view; none before the first.
    views: watch::Receiver<Option<View>>,
    commands: mpsc::Sender<Command>,
    /// Whether its user says whom to let in.
    decides: bool,
    ended: oneshot::Receiver<Result<(), PeerError>>,
}

impl Peer {
    /// Starts a peer. Must be called within a multi-threaded runtime.
    pub(crate) fn start(part: Part) -> anyhow::Result<Self> {
        let (show, views) = watch::channel(None);
        let (commands, commands_queue) = mpsc::channel(COMMANDS_MAX);
        let (end, ended) = oneshot::channel();
        let decides = part.own.decides;
        let runtime = Handle::current();
        let run = move || {
            let setup = Setup {
                server: part.server,
                entry: part.entry,
                role: part.role,
                name: part.name,
                executor: part.executor,
                connector: part.carrier.into(),
                weights: part.weights,
                own: part.own,
            };
            let publish = move |view| {
                show.send_replace(Some(view));
            };
            let peer = ringtmp_peer::run(setup, commands_queue, publish);
            let result = runtime.block_on(LocalSet::new().run_until(peer));
            // Nobody listens when the program is ending.
            let _unheard = end.send(result);
        };
        std::thread::Builder::new()
            .name("peer".to_owned())
            .spawn(run)
            .context("the system gives no thread")?;
        Ok(Self {
            views,
            commands,
            decides,
            ended,
        })
    }

    /// The next view that satisfies `pick`; an error when the peer ends before.
    pub(crate) async fn view_until<T>(
        &mut self,
        mut pick: impl FnMut(&View) -> Option<T>,
    ) -> anyhow::Result<T> {
        loop {
            let picked = self.views.borrow_and_update().as_ref().and_then(&mut pick);
            match picked {
                Some(picked) => return Ok(picked),
                None => self.changed().await?,
            }
        }
    }

    /// The newest view.
    pub(crate) fn view(&mut self) -> Option<View> {
        self.views.borrow_and_update().clone()
    }

    /// Done when there is a new view; an error when there will be none.
    pub(crate) async fn changed(&mut self) -> anyhow::Result<()> {
        if self.views.changed().await.is_ok() {
            return Ok(());
        }
        match (&mut self.ended).await {
            Ok(Ok(())) => Err(anyhow!("this peer has left the room")),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(anyhow!(
                "this peer's thread has panicked; its message is above"
            )),
        }
    }

    /// Whether its user says whom to let in.
    pub(crate) const fn decides(&self) -> bool {
        self.decides
    }

    /// Where to put commands.
    pub(crate) fn commands(&self) -> mpsc::Sender<Command> {
        self.commands.clone()
    }

    /// Wants to leave once others have its layers; the peer then ends by itself.
    pub(crate) fn hand_on(&mut self) {
        // Where the queue is full, or the peer has ended, whoever asked can only leave at once.
        drop(self.commands.try_send(Command::HandOn));
    }

    /// Wants the whole model; the view tells what becomes of it.
    pub(crate) fn fetch_model(&mut self) {
        // As above.
        drop(self.commands.try_send(Command::FetchModel));
    }

    /// Leaves the room, waiting for the goodbye a little.
    pub(crate) async fn leave(mut self) {
        if self.commands.try_send(Command::Leave).is_ok() {
            let _in_time = tokio::time::timeout(LEAVE_MAX, self.ended).await;
        }
    }
}
