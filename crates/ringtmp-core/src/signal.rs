//! What peers and the signalling server say to each other, as JSON text over a socket. No tensor ever travels here.

mod asking;
mod connecting;
mod device;
mod ice;
mod recovery;
mod refusal;
mod returning;
mod run;
mod told;
mod view;

pub use asking::{ASKERS_MAX, Asked, Asking};
pub use connecting::Signal;
pub use device::{Device, DeviceKind, ExecutorKind, Form, Role};
pub use ice::{ICE_SERVERS_MAX, IceServer, IceServerError};
pub use recovery::{
    Holding, RECOVERIES_SHOWN_MAX, Recovery, Replication, TAKEN_SHOWN_MAX, Taken, TeamHolding,
};
pub use refusal::Refusal;
pub use returning::{Phase, Returning, Standing};
pub use run::{RunDescriptor, RunOutline};
pub use told::Unsure;
pub use view::{MemberStatus, MemberView, ProfileView, RoomPlan, RoomState, RoomView, RunResult};

use crate::ids::{Epoch, MemberToken, PeerId, RoomCode, Version};
use crate::kept::Kept;
use crate::parameter_server::TeamPlan;
use crate::plan::Plan;
use crate::profile::{LinkProfile, Profile};
use crate::secret::{DoorProof, DoorQuestion};
use crate::time::Time;
use crate::trace::Report;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The version of the signalling protocol, of the frames between peers and of their meaning. Unequal versions do not talk.
pub const PROTOCOL_VERSION: u16 = 14;

/// The longest signalling message, either way: an SDP is 1 to 5 kB, a run file at most 16 KiB, the costs of 1,024 layers 130 kB.
pub const SIGNAL_BYTES_MAX: usize = 256 * 1024;

/// The longest run file.
pub const RUN_FILE_BYTES_MAX: usize = 16 * 1024;

/// The most layers in a run.
pub const LAYERS_MAX: usize = 1024;

/// The most points of a progress curve that a room keeps; it is thinned to half when full.
pub const CURVE_POINTS_MAX: usize = 600;

/// What a peer says to the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// Open a room for a run. Answered by [`ServerMessage::Created`]; the creator then joins like everybody else.
    Create {
        /// Must equal [`PROTOCOL_VERSION`].
        protocol: u16,
        /// The run.
        run: RunDescriptor,
    },
    /// Ask me something that only who knows the room's secret can answer. Answered by [`ServerMessage::Question`], before joining or
    /// returning.
    Knock,
    /// Enter a room. Answered by [`ServerMessage::Welcome`] or [`ServerMessage::Refused`].
    Join {
        /// Must equal [`PROTOCOL_VERSION`].
        protocol: u16,
        /// The room.
        room: RoomCode,
        /// Train or watch.
        role: Role,
        /// The device that joins.
        device: Device,
        /// Whether it has samples to train on. It matters where every device trains on its own.
        has_data: bool,
        /// The answer to the server's question, of who knows the room's secret. Where the room has one, others may only watch.
        #[serde(default)]
        proof: Option<DoorProof>,
    },
    /// What a device that has only the room's short code, and the host, say to each other.
    Asking(Asking),
    /// Be a member again, over this socket. Answered by [`ServerMessage::Welcome`] or [`ServerMessage::Refused`].
    Return(Box<Returning>),
    /// What this device takes for the run's layers.
    Profile {
        /// As measured.
        profile: Profile,
    },
    /// So much memory may this device's stage take from the next plan on.
    Pledge {
        /// Bytes; none for not saying, which means being frugal.
        memory_bytes: Option<u64>,
    },
    /// Pass a connection message on to another member.
    Signal {
        /// The member it is for.
        to: PeerId,
        /// The message.
        signal: Signal,
    },
    /// It was this device's user who opened the room: the host. Who has just opened it need not say so.
    Claim {
        /// What [`ServerMessage::Host`] told.
        token: MemberToken,
    },
    /// Send a member away. For the host.
    Kick {
        /// Whom.
        peer: PeerId,
    },
    /// Give a member another name: oneself, or, for the host, anybody.
    Rename {
        /// Whom.
        peer: PeerId,
        /// A name for people, cut to [`Device::TEXT_CHARS_MAX`]; not blank.
        name: String,
    },
    /// Start the run with the members there are.
    Start,
    /// Begin no new step until [`ClientMessage::Resume`].
    Pause,
    /// Go on after a pause.
    Resume,
    /// End the run; members stay in the room.
    Stop,
    /// Leave the room, now.
    Leave,
    /// Leave the room as soon as others have this peer's layers, so that nothing is made again. Answered by
    /// [`ServerMessage::Released`].
    HandOn,
    /// The device that computes here has lost what it held, or refused to work, and is made ready again. Copies are kept, and
    /// nobody is to blame.
    Stumbled {
        /// The plan it was working under.
        epoch: Epoch,
        /// In words for the user.
        reason: String,
    },
    /// What computes here has changed.
    Computes {
        /// What computes now.
        executor: ExecutorKind,
        /// The adapter or processor, as far as it is known.
        adapter: String,
    },
    /// The stage and the links of this epoch are there.
    Ready {
        /// The plan that was prepared.
        epoch: Epoch,
        /// The link to the successor, where links are measured.
        #[serde(default)]
        links: Vec<LinkProfile>,
    },
    /// The run cannot go on at this peer.
    Failed {
        /// The plan it was working under.
        epoch: Epoch,
        /// In words for the user.
        reason: String,
        /// Who is at fault, where it is not the peer itself.
        #[serde(default)]
        culprit: Option<PeerId>,
    },
    /// Nothing comes from a neighbour: is it there? Answered by [`ServerMessage::Answers`] if it is.
    Suspect {
        /// The plan it was working under.
        epoch: Epoch,
        /// The neighbour.
        peer: PeerId,
    },
    /// The answer to [`ServerMessage::AreYouThere`].
    Here {
        /// That of the question.
        epoch: Epoch,
    },
    /// A neighbour cannot be reached any more.
    LinkLost {
        /// The plan it was working under.
        epoch: Epoch,
        /// The neighbour.
        peer: PeerId,
        /// In words for the user.
        reason: String,
    },
    /// The answer to [`ServerMessage::Halt`]: what this peer holds of the run.
    Holdings {
        /// That of the halt.
        epoch: Epoch,
        /// What it holds.
        holding: Holding,
    },
    /// What this peer keeps of the run on its disk: said once it knows, and whenever it has changed.
    Offer {
        /// Whether it keeps anything at all.
        keeps: bool,
        /// Versions of layers, whole.
        kept: Vec<Kept>,
    },
    /// Every layer as it was after so many updates lies with two stages (sent by the head).
    Stable {
        /// The plan it was working under.
        epoch: Epoch,
        /// How many updates.
        version: Version,
        /// Updates between this version and the next that is kept.
        every: u16,
        /// Whether the ring rests there, as [`ServerMessage::Rest`] asked for.
        at_rest: bool,
    },
    /// How training moves (sent by the tail).
    Progress {
        /// The plan it was made under.
        epoch: Epoch,
        /// New points, oldest first.
        points: Vec<Point>,
    },
    /// What is your time? Answered by [`ServerMessage::Clock`].
    Clock {
        /// Ours.
        asked: Time,
    },
    /// How this peer does, once a second.
    Report {
        /// The plan it was made under.
        epoch: Epoch,
        /// Bytes sent so far, one entry per neighbour.
        links: Vec<LinkTraffic>,
        /// How it spent its time.
        report: Box<Report>,
    },
    /// This peer has finished its part.
    Done {
        /// The plan it was made under.
        epoch: Epoch,
        /// Digests of its layers' final weights.
        digests: Vec<LayerDigest>,
        /// Bytes sent in all.
        links: Vec<LinkTraffic>,
    },
}

/// What the server says to a peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// The room is open.
    Created {
        /// Its code.
        room: RoomCode,
    },
    /// Servers by which links may be made, for who is let in next over this socket. Not sent where there are none.
    IceServers {
        /// At most [`ICE_SERVERS_MAX`].
        servers: Vec<IceServer>,
    },
    /// Who knows the room's secret can answer this, once: see [`crate::secret`].
    Question {
        /// Drawn for this connection.
        question: DoorQuestion,
    },
    /// What a device that has only the room's short code, and the host, say to each other.
    Asked(Asked),
    /// You are in.
    Welcome {
        /// Your id in this room.
        peer: PeerId,
        /// What shows that you are that member, if you have to return. For nobody else.
        token: MemberToken,
        /// The run.
        run: Box<RunDescriptor>,
        /// The room as it stands.
        room: Box<RoomView>,
        /// The curve so far.
        points: Vec<Point>,
    },
    /// The room has changed.
    Room {
        /// The room as it stands. One for all members, since it is long and each change is told to every one of them.
        #[serde(with = "view::shared")]
        room: Arc<RoomView>,
    },
    /// A connection message from another member.
    Signal {
        /// The member it comes from.
        from: PeerId,
        /// The message.
        signal: Signal,
    },
    /// Build the stage and the links of this plan, then say [`ClientMessage::Ready`].
    Prepare {
        /// The plan.
        plan: Plan,
    },
    /// Build this device's part and the links of this plan, then say [`ClientMessage::Ready`]. A part begins once its links are open.
    PrepareTeam {
        /// The plan.
        plan: TeamPlan,
    },
    /// All are ready: train.
    Commit {
        /// The plan to train under.
        epoch: Epoch,
    },
    /// Do nothing more under any older epoch, and say what you hold: answered by [`ClientMessage::Holdings`].
    Halt {
        /// Newer than every plan.
        epoch: Epoch,
        /// In words for the user.
        reason: String,
    },
    /// The socket of a neighbour is closed: say [`ClientMessage::LinkLost`] soon if it is silent.
    Doubt {
        /// The plan at work.
        epoch: Epoch,
        /// The neighbour.
        peer: PeerId,
    },
    /// A neighbour hears nothing of you: say [`ClientMessage::Here`].
    AreYouThere {
        /// The plan at work.
        epoch: Epoch,
    },
    /// A neighbour of whom nothing comes has answered: it is the link that is disturbed.
    Answers {
        /// The plan at work.
        epoch: Epoch,
        /// The neighbour.
        peer: PeerId,
    },
    /// Come to rest at the end of a step, with everything kept twice (for the head).
    Rest {
        /// The plan at work.
        epoch: Epoch,
    },
    /// The answer to [`ClientMessage::Clock`].
    Clock {
        /// When it was asked, by the clock of who asked.
        asked: Time,
        /// The room's time.
        now: Time,
    },
    /// New points of the curve.
    Progress {
        /// Oldest first.
        points: Vec<Point>,
    },
    /// You are the host. For nobody else.
    Host {
        /// What shows it after a reload.
        token: MemberToken,
    },
    /// The host has sent you away. You are no member now.
    Kicked {
        /// Who the host is, in words for the user.
        by: String,
    },
    /// The answer to [`ClientMessage::HandOn`]: nobody needs you any more. You are no member now.
    Released,
    /// No. The server closes the socket after a refusal to create or to join.
    Refused {
        /// Why.
        refusal: Refusal,
    },
}

/// One point of the curves. (Also travels in `postcard`, which cannot leave a field out.)
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The step it describes: for a loss the step whose roster it is the mean of, for an accuracy the number of updates applied.
    pub step: u32,
    /// Mean loss over the roster.
    #[serde(default)]
    pub loss: Option<f32>,
    /// Share of right answers on held-out samples, 0 to 1.
    #[serde(default)]
    pub accuracy: Option<f32>,
}

/// Bytes on one directed link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkTraffic {
    /// The receiver.
    pub to: PeerId,
    /// Bytes sent to it.
    pub bytes: u64,
    /// Whether they go by way of a server that relays, since the two devices cannot reach each other.
    #[serde(default)]
    pub relayed: bool,
}

/// The digest of a layer's weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerDigest {
    /// The layer, counting the modules of the preset.
    pub layer: u16,
    /// SHA-256 over its parameters (32-bit floats, little endian, in order), in hexadecimal.
    pub sha256: String,
}
