//! Into a room: connect, create or join, and run.

use super::Shell;
use super::desk::Desk;
use super::disk::{Disk, Keep};
use super::door;
use super::fetching::{Fetched, Fetching};
use super::fresh::Fresh;
use super::porch;
use super::record::{Record, Traced};
use super::returning::{Door, Line};
use crate::datasets::DataPlace;
use crate::error::PeerError;
use crate::member::{Brought, Identity, RoomMember};
use crate::platform::Clock;
use crate::progress::Progress;
use crate::run_file::{Paradigm, Run, RunFile};
use crate::scribe::Scribe;
use crate::store::{Store, StoreError};
use crate::view::{Command, NoticeLevel, ServerState, View};
use crate::workshop::{Circumstances, OwnSamples, Workshop};
use futures::channel::mpsc;
use ringtmp_compute::{Executor, ExecutorChoice, ExecutorKind as Computes, Parameter};
use ringtmp_core::ids::{MemberToken, PeerId, RoomCode, ShortCode};
use ringtmp_core::secret::{LinkKey, RoomLink};
use ringtmp_core::signal::{
    ClientMessage, Device, DeviceKind, ExecutorKind, Form, IceServer, PROTOCOL_VERSION, Point,
    Role, RunDescriptor, ServerMessage,
};
use ringtmp_transport::loopback::LoopbackNetwork;
use ringtmp_transport::{Connector, Signalling};
use std::sync::Arc;

/// How to begin.
#[derive(Debug)]
pub struct Setup {
    /// The signalling server: an http or https URL without a path, such as `http://localhost:8080`; see
    /// [`ServerAddress`](ringtmp_transport::ServerAddress).
    pub server: String,
    /// Which room.
    pub entry: Entry,
    /// Train or watch.
    pub role: Role,
    /// The device's name for people.
    pub name: String,
    /// What is to compute.
    pub executor: ExecutorChoice,
    /// What makes links.
    pub connector: ConnectorSource,
    /// Where to put the weights of this peer's layers once its part of a run is done; nowhere if none.
    pub weights: Option<mpsc::Sender<Vec<Parameter>>>,
    /// What this device brings along.
    pub own: Own,
}

/// What a device brings along instead of getting it from its room.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// Locations of data are paths on this device's disk, not at the server.
    pub data: bool,
    /// What it trains on where each device trains on its own samples.
    pub samples: OwnSamples,
    /// Weights of the whole model to begin from, instead of those that the seed gives.
    pub weights: Option<Arc<[Parameter]>>,
    /// Where to put every point of the curves as it comes; the view thins them.
    pub points: Option<mpsc::Sender<Vec<Point>>>,
    /// Where to put a trace of what this peer does. Whoever does not take it in time misses some.
    pub traced: Option<mpsc::Sender<Traced>>,
    /// Be as slow as a device of so many operations per second.
    pub operations_per_second: Option<f64>,
    /// Bytes that its stage may take; where nobody says, plans are frugal.
    pub memory_bytes: Option<u64>,
    /// Where to keep what is needed to go on with a run whose devices were all lost; nowhere if none.
    pub keep: Option<Keep>,
    /// Bytes per second of the medium (a Wi-Fi) that it shares with all others that name one, if that is known.
    pub medium_bytes_per_second: Option<f64>,
    /// What the device looks like to people, if that is known.
    pub form: Option<Form>,
    /// Whether a room that it opens has no secret, and lets everybody in.
    pub open_room: bool,
    /// Where to put models that its user fetches from the ring; none are fetched without it.
    pub models: Option<mpsc::Sender<Fetched>>,
    /// Whether somebody is there who says whom to let in that asks with the room's short code; nobody is without.
    pub decides: bool,
    /// If its user has opened the room before: what shows that.
    pub host_token: Option<MemberToken>,
}

impl Own {
    fn place(&self, server: &str) -> DataPlace {
        match self.data {
            true => DataPlace::Disk,
            false => DataPlace::Server(server.trim_end_matches('/').to_owned()),
        }
    }
}

/// What makes links: between devices, or in memory.
#[derive(Debug)]
pub enum ConnectorSource {
    /// This platform's own.
    Device(Connector),
    /// In memory, among the peers of one process.
    Loopback(LoopbackNetwork),
}

impl From<Connector> for ConnectorSource {
    fn from(connector: Connector) -> Self {
        Self::Device(connector)
    }
}

impl From<LoopbackNetwork> for ConnectorSource {
    fn from(network: LoopbackNetwork) -> Self {
        Self::Loopback(network)
    }
}

impl ConnectorSource {
    /// Servers by which links may be made; in memory none is needed.
    fn reach_through(&self, servers: Vec<IceServer>) {
        if let Self::Device(connector) = self {
            connector.reach_through(servers);
        }
    }

    /// The connector of a member of a room, which links to other members alone where the room has a secret.
    pub(crate) fn connector(self, me: PeerId, link: Option<&RoomLink>) -> Connector {
        let mut connector = match self {
            Self::Device(connector) => connector,
            Self::Loopback(network) => network.connector(me),
        };
        let secret = link.and_then(|link| Some((link.secret?, link.room)));
        if let Some((secret, room)) = secret {
            connector.guard(LinkKey::new(&secret, room), me);
        }
        connector
    }
}

/// Which room to enter.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A new one, for this run.
    Create(RunFile),
    /// One that is there.
    Join(RoomLink),
    /// One whose host is asked first: only its short code is known.
    Ask(ShortCode),
    /// A new one, for a run that this device keeps something of ([`Own::keep`]).
    Resume {
        /// Which run.
        id: RoomCode,
        /// Start by itself when so many devices are there; 0 to wait for somebody to press start.
        peers: u16,
    },
}

/// Runs a peer until its user leaves or the room can no longer be had. Every change is published as a [`View`], at most ten
/// times a second, the last one before this returns.
///
/// # Errors
///
/// Why it could not begin or had to end; the reason is in the last view's notices as well.
pub async fn run(
    setup: Setup,
    commands: mpsc::Receiver<Command>,
    mut publish: impl FnMut(View),
) -> Result<(), PeerError> {
    let signalling = match Signalling::connect(&setup.server).await {
        Ok(signalling) => signalling,
        Err(error) => {
            let mut progress = Progress::new(setup.role, device(&setup.name, None, &setup.own));
            progress.server(ServerState::Lost {
                reason: error.to_string(),
                comes_back: false,
            });
            progress.notice(NoticeLevel::Error, error.to_string(), "");
            publish(progress.take());
            return Err(error.into());
        }
    };
    // A peer holds much, and who waits for it need not.
    Box::pin(run_over(signalling, setup, commands, publish)).await
}

/// Like [`run`], over a connection to a server that is there already.
///
/// # Errors
///
/// As [`run`].
pub async fn run_over(
    mut signalling: Signalling,
    mut setup: Setup,
    mut commands: mpsc::Receiver<Command>,
    mut publish: impl FnMut(View),
) -> Result<(), PeerError> {
    let mut progress = Progress::new(setup.role, device(&setup.name, None, &setup.own));
    progress.tell_points(setup.own.points.take());
    progress.server(ServerState::Connected);
    publish(progress.take());
    let asked = match setup.entry {
        Entry::Ask(code) => {
            let device = device(&setup.name, None, &setup.own);
            let (commands, progress) = (&mut commands, &mut progress);
            porch::ask(
                &mut signalling,
                code,
                device,
                commands,
                progress,
                &mut publish,
            )
            .await
        }
        Entry::Create(_) | Entry::Join(_) | Entry::Resume { .. } => Ok(None),
    };
    let result = match (asked, &setup.entry) {
        (Err(error), _) => Err(error),
        // Its user has given up.
        (Ok(None), Entry::Ask(_)) => return Ok(()),
        (Ok(link), _) => {
            setup.entry = link.map_or(setup.entry, Entry::Join);
            enter(signalling, setup, &mut progress).await
        }
    };
    let result = match result {
        Ok(Entered::Ring(mut shell)) => shell.run(commands, &mut progress, &mut publish).await,
        Ok(Entered::Team(mut member)) => member.run(commands, &mut progress, &mut publish).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &result {
        progress.notice(NoticeLevel::Error, error.to_string(), "");
    }
    publish(progress.take());
    result
}

/// A peer in its room.
enum Entered {
    /// Devices hold some layers each.
    Ring(Box<Shell>),
    /// Devices hold whole models.
    Team(Box<RoomMember>),
}

fn device(name: &str, executor: Option<&Executor>, own: &Own) -> Device {
    let kind = if cfg!(target_arch = "wasm32") {
        DeviceKind::Tab
    } else {
        DeviceKind::Native
    };
    let computes = executor.map_or(ExecutorKind::Cpu, |executor| match executor.kind() {
        Computes::Gpu => ExecutorKind::Gpu,
        Computes::Cpu => ExecutorKind::Cpu,
    });
    let adapter = executor.map(Executor::adapter).unwrap_or_default();
    Device {
        kind,
        name: name.to_owned(),
        executor: computes,
        adapter,
        memory_bytes: own.memory_bytes,
        form: own.form,
    }
}

/// Opens the executor, creates the room if asked to, and joins it.
async fn enter(
    mut signalling: Signalling,
    setup: Setup,
    progress: &mut Progress,
) -> Result<Entered, PeerError> {
    let executor = match setup.role {
        Role::Participant | Role::Server => Some(open_executor(setup.executor, progress).await?),
        Role::Spectator => None,
    };
    let device = device(&setup.name, executor.as_ref(), &setup.own);
    progress.set_device(device.clone());
    let link = room(&mut signalling, setup.entry.clone(), &setup.own).await?;
    let proof = door::knock(&mut signalling, &link, setup.role).await?;
    let has_data = setup.role == Role::Participant && setup.own.samples != OwnSamples::None;
    signalling.send(&ClientMessage::Join {
        protocol: PROTOCOL_VERSION,
        room: link.room,
        role: setup.role,
        device: device.clone(),
        has_data,
        proof,
    })?;
    let (ice_servers, welcome) = let_in(&mut signalling).await?;
    if let Some(token) = setup.own.host_token {
        signalling.send(&ClientMessage::Claim { token })?;
    }
    let (me, descriptor, id) = welcomed(&welcome)?;
    setup.connector.reach_through(ice_servers);
    progress.access(door::access(&link, descriptor, setup.role)?);
    let run = Run::of(descriptor)?;
    progress.heard(&welcome);
    progress.run(&run);
    let door = Door::of(&setup, device, has_data, link);
    if run.file.paradigm != Paradigm::Ring {
        let member = member_of_team(&welcome, run, (signalling, door), executor, setup)?;
        return Ok(Entered::Team(Box::new(member)));
    }
    let circumstances = circumstances(setup.executor, &setup.own);
    let own = setup.own;
    let place = own.place(&setup.server);
    let connector = setup.connector.connector(me, Some(&link));
    let scribe = Scribe::new(&run, place.clone());
    let fetching = Fetching::new(&run, own.models);
    let of_user = (Fresh::new(&run), Desk::new(&run), scribe, fetching);
    let keep = own.keep.filter(|_| setup.role == Role::Participant);
    let disk = keep.map_or_else(Disk::none, |keep| Disk::of(keep, id, run.clone()));
    let workshop = executor.map(|executor| {
        Workshop::new(
            executor,
            run,
            place,
            own.samples,
            own.weights,
            setup.weights,
            circumstances,
        )
    });
    let record = Record::new(me, setup.name, own.traced);
    let mut shell = Shell::new(
        (signalling, door, me),
        connector,
        workshop,
        record,
        of_user,
        welcome,
    );
    shell.use_disk(disk);
    Ok(Entered::Ring(Box::new(shell)))
}

/// Waits to be let in. The servers by which links may be made are told before.
async fn let_in(signalling: &mut Signalling) -> Result<(Vec<IceServer>, ServerMessage), PeerError> {
    match next_message(signalling).await? {
        ServerMessage::IceServers { servers } => Ok((servers, next_message(signalling).await?)),
        welcome => Ok((Vec::new(), welcome)),
    }
}

/// Who this peer is, which run its room has, and under which code that began.
fn welcomed(welcome: &ServerMessage) -> Result<(PeerId, &RunDescriptor, RoomCode), PeerError> {
    match welcome {
        ServerMessage::Welcome {
            peer, run, room, ..
        } => Ok((*peer, run, run.resumes.unwrap_or(room.code))),
        other => Err(unexpected(other)),
    }
}

/// What is known of this device without measuring it.
fn circumstances(executor: ExecutorChoice, own: &Own) -> Circumstances {
    Circumstances {
        executor,
        operations_per_second: own.operations_per_second,
        medium_bytes_per_second: own.medium_bytes_per_second,
        memory_bytes: own.memory_bytes,
    }
}

/// A device in a room whose devices hold whole models.
fn member_of_team(
    welcome: &ServerMessage,
    run: Run,
    (signalling, door): (Signalling, Door),
    executor: Option<Executor>,
    setup: Setup,
) -> Result<RoomMember, PeerError> {
    let circumstances = circumstances(setup.executor, &setup.own);
    let own = setup.own;
    if setup.role == Role::Participant && own.samples != OwnSamples::Share {
        return Err(PeerError::OwnSamples);
    }
    let brought = Brought {
        executor,
        place: own.place(&setup.server),
        initial: own.weights,
        weights: setup.weights,
        models: own.models,
        traced: own.traced,
        circumstances,
    };
    let whom = Identity::of(welcome).ok_or_else(|| unexpected(welcome))?;
    let connector = setup.connector.connector(whom.me, Some(&door.link));
    let (clock, role) = (Clock::start(), setup.role);
    let line = Line::new(signalling, door, whom.me, clock.now());
    Ok(RoomMember::new(
        whom, role, run, line, clock, connector, brought,
    ))
}

/// The room to enter, which is opened first where it is a new one.
async fn room(signalling: &mut Signalling, entry: Entry, own: &Own) -> Result<RoomLink, PeerError> {
    match entry {
        Entry::Join(link) => Ok(link),
        // Its host was asked before.
        Entry::Ask(_) => Err(PeerError::Unexpected("nothing")),
        Entry::Create(file) => {
            let run = file.check()?;
            create(signalling, &run, None, own).await
        }
        Entry::Resume { id, peers } => {
            let run = kept_run(own.keep.as_ref(), id, peers).await?;
            create(signalling, &run, Some(id), own).await
        }
    }
}

async fn open_executor(
    choice: ExecutorChoice,
    progress: &mut Progress,
) -> Result<Executor, PeerError> {
    let executor = Executor::open(choice).await?;
    if choice == ExecutorChoice::Auto && executor.kind() == Computes::Cpu {
        let text = "This device trains on its CPU: no hardware GPU can be used here.".to_owned();
        progress.notice(
            NoticeLevel::Information,
            text,
            "Slower, but right. WebGPU needs a recent browser and HTTPS or localhost.",
        );
    }
    Ok(executor)
}

/// A run that is kept here.
async fn kept_run(keep: Option<&Keep>, id: RoomCode, peers: u16) -> Result<Run, PeerError> {
    let nowhere = || StoreError::Unavailable("this device is told to keep nothing".to_owned());
    let place = keep.map(|keep| keep.place.clone()).ok_or_else(nowhere)?;
    let file = Store::open(&place).await?.run_file(id).await?;
    let file = RunFile {
        start_at_peers: peers,
        ..file
    };
    Ok(file.check()?)
}

async fn create(
    signalling: &mut Signalling,
    run: &Run,
    resumes: Option<RoomCode>,
    own: &Own,
) -> Result<RoomLink, PeerError> {
    let secret = match own.open_room {
        true => None,
        false => Some(door::draw_secret()?),
    };
    signalling.send(&ClientMessage::Create {
        protocol: PROTOCOL_VERSION,
        run: RunDescriptor {
            resumes,
            verifier: secret.map(|secret| secret.verifier()),
            ..run.descriptor()
        },
    })?;
    match next_message(signalling).await? {
        ServerMessage::Created { room } => Ok(RoomLink { room, secret }),
        other => Err(unexpected(&other)),
    }
}

/// The answer to a message; a refusal is an error.
pub(super) async fn next_message(signalling: &mut Signalling) -> Result<ServerMessage, PeerError> {
    match signalling.receive().await? {
        ServerMessage::Refused { refusal } => Err(refusal.into()),
        message => Ok(message),
    }
}

pub(super) fn unexpected(message: &ServerMessage) -> PeerError {
    let name = match message {
        ServerMessage::Created { .. } => "created",
        ServerMessage::IceServers { .. } => "ice servers",
        ServerMessage::Question { .. } => "question",
        ServerMessage::Asked(_) => "asked",
        ServerMessage::Welcome { .. } => "welcome",
        ServerMessage::Room { .. } => "room",
        ServerMessage::Signal { .. } => "signal",
        ServerMessage::Prepare { .. } => "prepare",
        ServerMessage::PrepareTeam { .. } => "prepare team",
        ServerMessage::Commit { .. } => "commit",
        ServerMessage::Halt { .. } => "halt",
        ServerMessage::Rest { .. } => "rest",
        ServerMessage::Doubt { .. } => "doubt",
        ServerMessage::AreYouThere { .. } => "are you there",
        ServerMessage::Answers { .. } => "answers",
        ServerMessage::Clock { .. } => "clock",
        ServerMessage::Progress { .. } => "progress",
        ServerMessage::Host { .. } => "host",
        ServerMessage::Kicked { .. } => "kicked",
        ServerMessage::Released => "released",
        ServerMessage::Refused { .. } => "refused",
    };
    PeerError::Unexpected(name)
}
