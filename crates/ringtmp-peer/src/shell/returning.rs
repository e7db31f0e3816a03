//! Back to a server that is gone, or that this peer alone has lost: the ring trains on meanwhile.

use super::Setup;
use super::Shell;
use crate::platform::sleep;
use crate::progress::Progress;
use crate::view::{NoticeLevel, ServerState};
use futures::FutureExt;
use futures::future::{Fuse, LocalBoxFuture};
use ringtmp_core::ids::PeerId;
use ringtmp_core::secret::{DoorProof, DoorQuestion, RoomLink};
use ringtmp_core::signal::{ClientMessage, Device, PROTOCOL_VERSION, Refusal, Role, ServerMessage};
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
pub(super) const SERVER_SILENCE_MAX: Duration = Duration::from_secs(6);

/// Where the server is, and who this peer says that it is.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) server: String,
    pub(super) role: Role,
    pub(super) device: Device,
    pub(super) has_data: bool,
    pub(super) link: RoomLink,
    /// Whether somebody is there who says whom to let in.
    pub(super) decides: bool,
}

impl Door {
    /// That through which a device has come in.
    pub(super) fn of(setup: &Setup, device: Device, has_data: bool, link: RoomLink) -> Self {
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

/// The way back.
pub(super) struct WayBack {
    /// Being made, while there is no socket.
    pub(super) connecting: Fuse<LocalBoxFuture<'static, Result<Signalling, SignallingError>>>,
    /// Since the server was last there.
    tries: u32,
    /// There is a socket, but no welcome so far.
    knocked: bool,
    /// When the server was last heard.
    pub(super) heard: Time,
}

impl WayBack {
    pub(super) fn new(now: Time) -> Self {
        Self {
            connecting: Fuse::terminated(),
            tries: 0,
            knocked: false,
            heard: now,
        }
    }

    fn wait(&self, me: Option<PeerId>) -> Duration {
        let wait = WAIT_FIRST * 2_u32.saturating_pow(self.tries.min(8));
        // So that not all come at once: ids are random.
        let share = me.map_or(0, |me| me.0.rotate_left(8 * self.tries) & 0xff) as u32;
        wait.min(WAIT_MAX) + WAIT_FIRST * share / 256
    }
}

impl Shell {
    /// The socket is gone: tries to get another.
    pub(super) fn server_lost(&mut self, reason: &str, progress: &mut Progress) {
        self.signalling = None;
        let first = self.way_back.tries == 0;
        if first {
            let advice = if self.node.plan().is_some() {
                "The devices train on without it, and come back to it."
            } else {
                "This device comes back as soon as it is there."
            };
            let text = format!("The server is gone: {reason}.");
            progress.notice(NoticeLevel::Warning, text, advice);
        }
        self.try_again(reason, progress);
    }

    fn try_again(&mut self, reason: &str, progress: &mut Progress) {
        self.way_back.knocked = false;
        let watches = self.door.role == Role::Spectator;
        let gives_up = watches && self.way_back.tries >= WATCHER_TRIES_MAX;
        progress.server(ServerState::Lost {
            reason: reason.to_owned(),
            comes_back: !gives_up,
        });
        if gives_up {
            return;
        }
        let wait = self.way_back.wait(self.node.me());
        let server = self.door.server.clone();
        self.way_back.tries += 1;
        let connect = async move {
            sleep(wait).await;
            futures::select_biased! {
                signalling = pin!(Signalling::connect(&server).fuse()) => signalling,
                () = pin!(sleep(TRY_MAX).fuse()) => Err(SignallingError::Unreachable {
                    detail: format!("it did not answer within {} s", TRY_MAX.as_secs()),
                }),
            }
        };
        self.way_back.connecting = connect.boxed_local().fuse();
    }

    /// There is a socket again, or not yet.
    pub(super) fn knock(
        &mut self,
        signalling: Result<Signalling, SignallingError>,
        progress: &mut Progress,
    ) {
        let signalling = match signalling {
            Ok(signalling) => signalling,
            Err(error) => return self.try_again(&error.to_string(), progress),
        };
        // Who knows the secret is asked first: a server that was restarted takes nobody's word.
        let says = match self.door.link.secret {
            Some(_) => ClientMessage::Knock,
            None => match self.who_returns(None, progress) {
                Some(says) => says,
                None => return,
            },
        };
        match signalling.send(&says) {
            Ok(()) => {
                self.signalling = Some(signalling);
                self.way_back.knocked = true;
                self.way_back.heard = self.clock.now();
            }
            Err(error) => self.try_again(&error.to_string(), progress),
        }
    }

    fn who_returns(&self, proof: Option<DoorProof>, progress: &Progress) -> Option<ClientMessage> {
        let Door {
            role,
            device,
            has_data,
            ..
        } = &self.door;
        let (device, has_data) = (device.clone(), *has_data);
        let mut back = self.node.returning(device, has_data, progress.points())?;
        back.proof = proof;
        Some(match role {
            // (A ring lets no servers in.)
            Role::Participant | Role::Server => ClientMessage::Return(Box::new(back)),
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

    /// What the server says first over a new socket. Whether there is anything in it for the node.
    pub(super) fn answered(&mut self, message: &ServerMessage, progress: &mut Progress) -> bool {
        if !self.way_back.knocked {
            return true;
        }
        if let ServerMessage::Question { question } = message {
            let proof = self.door.answer(*question);
            if let Some(says) = self.who_returns(proof, progress) {
                self.tell_room(&says, progress);
            }
            return false;
        }
        self.way_back.knocked = false;
        let ServerMessage::Refused { refusal } = message else {
            self.way_back.tries = 0;
            progress.server(ServerState::Connected);
            progress.notice(
                NoticeLevel::Information,
                "The server is back.".to_owned(),
                "",
            );
            return true;
        };
        self.signalling = None;
        match refusal {
            Refusal::Version { .. }
            | Refusal::NotThatMember
            | Refusal::SecretMissing { .. }
            | Refusal::SecretWrong { .. } => {
                let reason = refusal.to_string();
                progress.notice(NoticeLevel::Error, reason.clone(), "");
                progress.server(ServerState::Lost {
                    reason,
                    comes_back: false,
                });
            }
            Refusal::NoSuchRoom { .. }
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

    /// Whether the socket is dead without having been closed, as when the network changed. Only where nothing else was waiting.
    pub(super) fn is_deaf(&self, now: Time) -> bool {
        let asks = self.signalling.is_some() && self.node.plan().is_some();
        asks && now.since(self.way_back.heard) > SERVER_SILENCE_MAX
    }
}
