//! The way to the server, and back to one that is gone, or that this peer alone has lost: ring or team train on meanwhile.

use super::Setup;
use crate::platform::sleep;
use crate::progress::Progress;
use crate::view::{Command, NoticeLevel, ServerState};
use futures::FutureExt;
use futures::future::{Fuse, LocalBoxFuture};
use ringtmp_core::ids::PeerId;
use ringtmp_core::node::Node;
use ringtmp_core::secret::{DoorProof, DoorQuestion, RoomLink};
use ringtmp_core::signal::{
    ClientMessage, Device, PROTOCOL_VERSION, Point, Refusal, Returning, Role, ServerMessage,
};
use ringtmp_core::time::Time;
use ringtmp_transport::{Signalling, SignallingError};
use std::pin::pin;
use std::time::Duration;

/// The first try comes after this time, each further one after twice the last, up to the longest.
const WAIT_FIRST: Duration = Duration::from_millis(250);

/// With what is added at random this is less than rooms count on (`core::room::AWAY_WAIT_MAX`).
const WAIT_MAX: Duration = Duration::from_millis(1500);

/// A server that does not answer is not waited for longer.
const TRY_MAX: Duration = Duration::from_secs(5);

/// Who only watches gives up after so many tries, about a minute: the run does not need it.
const WATCHER_TRIES_MAX: u32 = 40;

/// While it trains a peer asks the server for its time once a second; a socket over which nothing has come for so long is dead.
const SERVER_SILENCE_MAX: Duration = Duration::from_secs(6);

/// Where the server is, and who this peer says that it is.
#[derive(Debug)]
pub(crate) struct Door {
    server: String,
    role: Role,
    pub(crate) device: Device,
    has_data: bool,
    pub(crate) link: RoomLink,
    /// Whether somebody is there who says whom to let in.
    pub(crate) decides: bool,
}

impl Door {
    /// That through which a device has come in.
    pub(crate) fn of(setup: &Setup, device: Device, has_data: bool, link: RoomLink) -> Self {
        Self {
            server: setup.server.clone(),
            role: setup.role,
            device,
            has_data,
            link,
            decides: setup.own.decides,
        }
    }

    /// The answer to what the server asks at the door, under the role in which this peer returns.
    fn answer(&self, question: DoorQuestion) -> Option<DoorProof> {
        let secret = self.link.secret?;
        Some(secret.answer(question, self.link.room, self.role))
    }
}

/// The way to the server, and back to it.
pub(crate) struct Line {
    pub(crate) door: Door,
    me: PeerId,
    /// None while the server is gone.
    signalling: Option<Signalling>,
    /// Being made, while there is no socket.
    connecting: Fuse<LocalBoxFuture<'static, Result<Signalling, SignallingError>>>,
    /// Since the server was last there.
    tries: u32,
    /// There is a socket, but no welcome so far.
    knocked: bool,
    /// When the server was last heard.
    heard: Time,
}

/// What comes over it.
#[derive(Debug)]
pub(crate) enum OverLine {
    Server(Box<Result<ServerMessage, SignallingError>>),
    /// A try to reach the server again has ended.
    Knocked(Box<Result<Signalling, SignallingError>>),
}

/// Who is on it, as a server has to know that does not.
pub(crate) trait Comes {
    /// Whether it has a part in a plan, and goes on without the server.
    fn takes_part(&self) -> bool;

    /// Who it is and how far; its role and what it proves are put in by whoever knows the door. None before the first welcome.
    fn returning(&self, device: Device, has_data: bool, points: Vec<Point>) -> Option<Returning>;
}

impl Line {
    pub(crate) fn new(signalling: Signalling, door: Door, me: PeerId, now: Time) -> Self {
        Self {
            door,
            me,
            signalling: Some(signalling),
            connecting: Fuse::terminated(),
            tries: 0,
            knocked: false,
            heard: now,
        }
    }

    /// Waits for what comes next. Dropping this loses nothing.
    pub(crate) async fn next(&mut self) -> OverLine {
        let Self {
            signalling,
            connecting,
            ..
        } = self;
        let mut connecting = connecting;
        let server = async {
            match signalling {
                Some(signalling) => signalling.receive().await,
                None => std::future::pending().await,
            }
        };
        futures::select_biased! {
            message = pin!(server.fuse()) => OverLine::Server(Box::new(message)),
            signalling = connecting => OverLine::Knocked(Box::new(signalling)),
        }
    }

    /// What its user says of this device: a server that forgot it has to be told again.
    pub(crate) fn remember(&mut self, command: &Command) {
        match command {
            Command::Pledge { memory_bytes } => self.door.device.memory_bytes = *memory_bytes,
            Command::Rename { peer, name } if *peer == self.me => {
                self.door.device.name.clone_from(name);
            }
            _ => {}
        }
    }

    /// Whether a server was knocked at that has said nothing so far.
    pub(crate) fn knocks(&self) -> bool {
        self.knocked
    }

    /// Whether the server is there, as far as is known.
    pub(crate) fn is_there(&self) -> bool {
        self.signalling.is_some() && !self.knocked
    }

    /// Says something, if the server is there and has welcomed whoever is on the line.
    pub(crate) fn say(
        &mut self,
        message: &ClientMessage,
        who: &impl Comes,
        progress: &mut Progress,
    ) {
        if !self.knocked {
            self.send(message, who, progress);
        }
    }

    fn send(&mut self, message: &ClientMessage, who: &impl Comes, progress: &mut Progress) {
        if let Some(signalling) = &self.signalling
            && let Err(error) = signalling.send(message)
        {
            self.lost(&error.to_string(), who, progress);
        }
    }

    /// Says the last word.
    pub(crate) fn take_leave(&self) {
        if let Some(signalling) = &self.signalling
            && let Err(error) = signalling.send(&ClientMessage::Leave)
        {
            tracing::debug!(%error, "the server was gone before we left");
        }
    }

    /// The socket is gone: tries to get another.
    pub(crate) fn lost(&mut self, reason: &str, who: &impl Comes, progress: &mut Progress) {
        self.signalling = None;
        if self.tries == 0 {
            let advice = if who.takes_part() {
                "The devices train on without it, and come back to it."
            } else {
                "This device comes back as soon as it is there."
            };
            let text = format!("The server is gone: {reason}.");
            progress.notice(NoticeLevel::Warning, text, advice);
        }
        self.try_again(reason, progress);
    }

    /// Before the next try. So that not all come at once: ids are random.
    fn pause(&self) -> Duration {
        let wait = WAIT_FIRST * 2_u32.saturating_pow(self.tries.min(8));
        let share = (self.me.0.rotate_left(8 * self.tries) & 0xff) as u32;
        wait.min(WAIT_MAX) + WAIT_FIRST * share / 256
    }

    fn try_again(&mut self, reason: &str, progress: &mut Progress) {
        self.knocked = false;
        let watches = self.door.role == Role::Spectator;
        let gives_up = watches && self.tries >= WATCHER_TRIES_MAX;
        progress.server(ServerState::Lost {
            reason: reason.to_owned(),
            comes_back: !gives_up,
        });
        if gives_up {
            return;
        }
        let wait = self.pause();
        let server = self.door.server.clone();
        self.tries += 1;
        let connect = async move {
            sleep(wait).await;
            futures::select_biased! {
                signalling = pin!(Signalling::connect(&server).fuse()) => signalling,
                () = pin!(sleep(TRY_MAX).fuse()) => Err(SignallingError::Unreachable {
                    detail: format!("it did not answer within {} s", TRY_MAX.as_secs()),
                }),
            }
        };
        self.connecting = connect.boxed_local().fuse();
    }

    /// There is a socket again, or not yet.
    pub(crate) fn knock(
        &mut self,
        now: Time,
        signalling: Result<Signalling, SignallingError>,
        who: &impl Comes,
        progress: &mut Progress,
    ) {
        let signalling = match signalling {
            Ok(signalling) => signalling,
            Err(error) => return self.try_again(&error.to_string(), progress),
        };
        // Who knows the secret is asked first: a server that was restarted takes nobody's word.
        let says = match self.door.link.secret {
            Some(_) => ClientMessage::Knock,
            None => match self.comes_in(None, who, progress) {
                Some(says) => says,
                None => return,
            },
        };
        match signalling.send(&says) {
            Ok(()) => {
                self.signalling = Some(signalling);
                self.knocked = true;
                self.heard = now;
            }
            Err(error) => self.try_again(&error.to_string(), progress),
        }
    }

    fn comes_in(
        &self,
        proof: Option<DoorProof>,
        who: &impl Comes,
        progress: &Progress,
    ) -> Option<ClientMessage> {
        let Door {
            role,
            device,
            has_data,
            ..
        } = &self.door;
        let back = who.returning(device.clone(), *has_data, progress.points())?;
        Some(match role {
            Role::Participant | Role::Server => ClientMessage::Return(Box::new(Returning {
                role: *role,
                proof,
                ..back
            })),
            Role::Spectator => ClientMessage::Join {
                protocol: PROTOCOL_VERSION,
                room: back.room,
                role: Role::Spectator,
                device: back.device,
                has_data: false,
                proof,
            },
        })
    }

    /// The server has said something: whether there is anything in it for who is on the line.
    pub(crate) fn heard(
        &mut self,
        now: Time,
        message: &ServerMessage,
        who: &impl Comes,
        progress: &mut Progress,
    ) -> bool {
        self.heard = now;
        if let ServerMessage::Welcome { peer, .. } = message {
            self.me = *peer;
        }
        !self.knocked || self.answered(message, who, progress)
    }

    /// What the server says first over a new socket.
    fn answered(
        &mut self,
        message: &ServerMessage,
        who: &impl Comes,
        progress: &mut Progress,
    ) -> bool {
        if let ServerMessage::Question { question } = message {
            let proof = self.door.answer(*question);
            if let Some(says) = self.comes_in(proof, who, progress) {
                self.send(&says, who, progress);
            }
            return false;
        }
        self.knocked = false;
        let ServerMessage::Refused { refusal } = message else {
            self.tries = 0;
            progress.server(ServerState::Connected);
            progress.notice(
                NoticeLevel::Information,
                "The server is back.".to_owned(),
                "",
            );
            self.claim(message, who, progress);
            return true;
        };
        self.signalling = None;
        match refusal {
            Refusal::Version { .. } | Refusal::NotThatMember => {
                let reason = refusal.to_string();
                progress.notice(NoticeLevel::Error, reason.clone(), "");
                progress.server(ServerState::Lost {
                    reason,
                    comes_back: false,
                });
            }
            // Who was in has the secret: somebody else has come back to a server that was restarted, with a room of the same code, and may go.
            Refusal::SecretMissing { .. }
            | Refusal::SecretWrong { .. }
            | Refusal::NoSuchRoom { .. }
            | Refusal::NoSuchCode { .. }
            | Refusal::NobodyToAsk
            | Refusal::TooManyAsk
            | Refusal::RoomFull { .. }
            | Refusal::NoServerWanted { .. }
            | Refusal::ServerFull { .. }
            | Refusal::OnlyHost { .. }
            | Refusal::NoHost
            | Refusal::TooManyRooms { .. }
            | Refusal::RoomTooFast
            | Refusal::Roomless { .. }
            | Refusal::OnlyWatches
            | Refusal::TooFast
            | Refusal::TooLong { .. }
            | Refusal::Malformed { .. }
            | Refusal::BadRun { .. } => self.try_again(&refusal.to_string(), progress),
        }
        false
    }

    /// Who watches comes in anew, under another name: if it is the room's host, it says so.
    fn claim(&mut self, message: &ServerMessage, who: &impl Comes, progress: &mut Progress) {
        let is_new = self.door.role == Role::Spectator;
        if is_new
            && matches!(message, ServerMessage::Welcome { .. })
            && let Some(token) = progress.host_token()
        {
            self.send(&ClientMessage::Claim { token }, who, progress);
        }
    }

    /// Whether the socket is dead without having been closed, as when the network changed. Only where nothing else was waiting, and of
    /// whoever asks for the server's time once a second, or has just knocked.
    pub(crate) fn is_deaf(&self, now: Time) -> bool {
        self.signalling.is_some() && now.since(self.heard) > SERVER_SILENCE_MAX
    }
}

impl Comes for Node {
    fn takes_part(&self) -> bool {
        self.plan().is_some()
    }

    fn returning(&self, device: Device, has_data: bool, points: Vec<Point>) -> Option<Returning> {
        Self::returning(self, device, has_data, points)
    }
}
