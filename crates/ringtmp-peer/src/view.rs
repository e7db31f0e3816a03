//! What a page or a terminal shows: one value, made anew a few times a second, small enough to be posted as JSON.

use ringtmp_core::ids::{MemberToken, PeerId, ShortCode};
use ringtmp_core::schedule::DataSource;
use ringtmp_core::secret::{RoomLink, RoomSecret};
use ringtmp_core::signal::{Device, Point, Role, RoomView};
use serde::{Deserialize, Serialize};

/// The most notices a view keeps; older ones are dropped.
pub const NOTICES_MAX: usize = 20;

/// Everything there is to show about this peer and its room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Our id, once the room has let us in.
    pub me: Option<PeerId>,
    /// Train or watch.
    pub role: Role,
    /// This device as it introduced itself.
    pub device: Device,
    /// The signalling server.
    pub server: ServerState,
    /// The run, once known.
    pub run: Option<RunSummary>,
    /// The room, once known.
    pub room: Option<RoomView>,
    /// Who may take part in it.
    #[serde(default)]
    pub access: Access,
    /// Devices that ask this one, which opened the room, to be let in.
    #[serde(default)]
    pub askers: Vec<AskView>,
    /// What this device asks a room's host.
    #[serde(default)]
    pub asking: Option<AskingView>,
    /// The curves so far, oldest first, thinned to at most [`ringtmp_core::signal::CURVE_POINTS_MAX`].
    pub points: Vec<Point>,
    /// Our own links.
    pub links: Vec<LinkView>,
    /// What became of the latest samples that the user made here, oldest first.
    pub fresh: Vec<FreshSample>,
    /// What the network says of the newest drawing that it was asked about here.
    #[serde(default)]
    pub asked: Option<Asked>,
    /// What the network writes after a start that was typed here.
    #[serde(default)]
    pub writing: Option<Writing>,
    /// What became of the model that the user last fetched.
    #[serde(default)]
    pub model: Option<ModelState>,
    /// Things said to the user, oldest first.
    pub notices: Vec<Notice>,
    /// If this device opened the room: what shows that after a reload.
    #[serde(default)]
    pub host_token: Option<MemberToken>,
}

/// A device that asks to be let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskView {
    /// Which, until it is decided.
    pub asker: PeerId,
    /// What it says that it is.
    pub device: Device,
    /// The digits that its screen has to show as well; none while they are worked out.
    pub digits: Option<String>,
}

/// What this device asks the host of a room that it wants to be in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskingView {
    /// Which room.
    pub code: ShortCode,
    /// The digits that the host's screen has to show as well; none while they are worked out.
    pub digits: Option<String>,
}

/// Who may take part in a room. It never leaves this device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "access", rename_all = "snake_case")]
pub enum Access {
    /// Not known yet.
    #[default]
    Unknown,
    /// Everybody who can reach the server and has heard the room's code.
    Open,
    /// Who knows its secret, as this device does.
    Secret {
        /// For the room's link.
        secret: RoomSecret,
    },
    /// Who knows its secret, which this device does not: it may watch.
    Watching,
}

/// A sample that the user made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreshSample {
    /// What it shows.
    pub label: u32,
    /// What became of it.
    pub state: FreshState,
}

/// What became of a sample that the user made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum FreshState {
    /// It waits for this device's next micro-batch, or for the end of the task that it is at.
    Waiting,
    /// It is on its way through the ring.
    Entered {
        /// The step it belongs to, counted from 0.
        step: u32,
    },
    /// The update it took part in is made.
    Used {
        /// Of which step.
        step: u32,
    },
}

/// A drawing that the network is asked about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Asked {
    /// It waits for this device's next micro-batch.
    Waiting,
    /// It is on its way through the ring.
    Entered {
        /// With which step, counted from 0.
        step: u32,
    },
    /// The tail has answered.
    Answered {
        /// With the weights that this step began with.
        step: u32,
        /// How probable the network holds each class; they add up to 1.
        probabilities: Vec<f32>,
    },
}

/// What became of a model that is fetched: from the ring, or where this device has all of it, from its own part in the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ModelState {
    /// There is no version yet that lies with two devices, or another device is served before; or what has the whole model is busy.
    Waits,
    /// Its layers come.
    Comes {
        /// Updates that they have seen.
        steps: u32,
        /// Bytes that are here.
        received: u64,
        /// Of so many.
        of: u64,
    },
    /// It is here, and was handed over.
    Here {
        /// Updates that it has seen.
        steps: u32,
    },
    /// It would take more memory than this device gives.
    Refused {
        /// What it takes.
        needed_bytes: u64,
        /// What this device gives.
        given_bytes: u64,
    },
    /// It did not come.
    Lost {
        /// In words.
        reason: String,
    },
}

/// What the network writes after a start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Writing {
    /// As it was typed.
    pub start: String,
    /// How it stands.
    pub state: WritingState,
    /// What was written to the end, or until it was stopped, oldest first; at most [`WRITTEN_MAX`].
    pub written: Vec<Written>,
}

/// The most texts after one start that are kept: one for each twentieth of a run, and some.
pub const WRITTEN_MAX: usize = 24;

/// The most characters of a start.
pub const START_CHARACTERS_MAX: usize = 100;

/// How it stands with a text that the network is to write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum WritingState {
    /// The characters of the run's text are being looked up.
    Opening,
    /// Character after character comes.
    Writes {
        /// So far.
        text: String,
        /// Characters at most.
        most: u32,
    },
    /// It is written.
    Rests {
        /// It is written anew once this step is made, counted from 0; none if it is not.
        again_after: Option<u32>,
    },
    /// It cannot be written.
    Refused {
        /// Why.
        why: WritingRefusal,
    },
}

/// A text that the network has written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// What follows the start.
    pub text: String,
    /// With the weights that this step began with its first character was written, counted from 0.
    pub first: u32,
    /// And its last.
    pub last: u32,
}

/// Why the network cannot go on with a start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum WritingRefusal {
    /// The start is empty.
    Empty,
    /// It has more than [`START_CHARACTERS_MAX`] characters.
    TooLong,
    /// The text that is trained on does not contain it.
    Stranger {
        /// The first such character.
        character: char,
    },
    /// This run's samples are no text.
    NoText,
    /// The model tells more characters apart than an answer has.
    TooManyCharacters {
        /// So many.
        characters: u32,
    },
    /// The device only watches: no link of the ring reaches it.
    Watches,
    /// The run's text cannot be had here.
    NoData {
        /// In words.
        reason: String,
    },
}

impl View {
    /// What leads into the room, once it is known: for devices that the user wants to have in it.
    pub fn link(&self) -> Option<RoomLink> {
        let room = self.room.as_ref()?.code;
        match self.access {
            Access::Unknown => None,
            Access::Open | Access::Watching => Some(RoomLink::without_secret(room)),
            Access::Secret { secret } => Some(RoomLink {
                room,
                secret: Some(secret),
            }),
        }
    }

    /// Samples of the updates made so far, as far as their losses are known here.
    pub fn samples_trained(&self) -> u64 {
        let losses = self.points.iter().filter(|point| point.loss.is_some());
        let last = losses.map(|point| point.step + 1).max().unwrap_or(0);
        let result = self.room.as_ref().and_then(|room| room.result.as_ref());
        let steps = result.map_or(last, |result| result.steps);
        let batch = self.run.as_ref().map_or(0, |run| run.batch);
        u64::from(steps) * u64::from(batch)
    }
}

/// The signalling server as this peer sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ServerState {
    /// Not there yet.
    Connecting,
    /// There.
    Connected,
    /// Gone. Links between peers do not need it.
    Lost {
        /// In words for the user.
        reason: String,
        /// Whether this peer tries to reach it again.
        comes_back: bool,
    },
}

/// A run in a line or two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// The preset.
    pub name: String,
    /// Where samples come from, as in the run file.
    pub data: String,
    /// Updates to make.
    pub steps: u32,
    /// Samples of a step.
    pub batch: u32,
    /// Samples of a micro-batch.
    pub micro_batch: u32,
    /// The layers in words, such as "linear 784 → 256".
    pub layers: Vec<String>,
    /// Numbers the model learns, by layer.
    pub parameters: Vec<u64>,
    /// It starts by itself when so many devices are there; 0 if it waits for somebody to press start.
    pub start_at_peers: u16,
    /// Whose samples are trained on.
    #[serde(default)]
    pub source: DataSource,
}

/// One of our links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkView {
    /// The neighbour.
    pub peer: PeerId,
    /// How it is.
    pub state: LinkState,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
}

/// How a link is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LinkState {
    /// Being made.
    Connecting,
    /// Carrying frames.
    Open,
    /// Could not be made, or is gone.
    Failed {
        /// In words for the user.
        reason: String,
    },
}

/// Something said to the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// How bad it is.
    pub level: NoticeLevel,
    /// What happened.
    pub text: String,
    /// What to do about it; may be empty.
    pub advice: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeLevel {
    /// Good to know.
    Information,
    /// Works, but not as well as it could.
    Warning,
    /// Does not work.
    Error,
}

/// What the user (or a program) may ask a running peer to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Start the run with the members there are.
    Start,
    /// Begin no new step.
    Pause,
    /// Go on.
    Resume,
    /// End the run; everybody stays in the room.
    Stop,
    /// Send a device away. For the host of the room.
    Kick {
        /// Which.
        peer: PeerId,
    },
    /// Give a device another name: this one, or, for the host, any.
    Rename {
        /// Which.
        peer: PeerId,
        /// The name.
        name: String,
    },
    /// Give this much memory from the next plan on.
    Pledge {
        /// Bytes; none for not saying.
        memory_bytes: Option<u64>,
    },
    /// Train on a drawn digit: it takes the place of one of the samples that this device would draw next, once.
    TrainOn {
        /// The pen's strokes, each from point to point, x to the right and y down, in any unit.
        strokes: Vec<Vec<[u16; 2]>>,
        /// What it shows.
        label: u32,
    },
    /// Ask the network what a drawn digit is: it rides with this device's next micro-batch in the place of a sample, and is not
    /// trained on.
    Ask {
        /// As above.
        strokes: Vec<Vec<[u16; 2]>>,
    },
    /// Let a device in that asks, or not. For the host of the room.
    Admit {
        /// Which.
        asker: PeerId,
        /// Whether it is let in.
        allow: bool,
    },
    /// Let the network write on from a start, character after character, with what it has learnt so far. Takes the place of what it
    /// wrote before.
    Write {
        /// The start, of 1 to [`START_CHARACTERS_MAX`] characters of the text that is trained on.
        start: String,
        /// A hundred times the temperature: 0 always takes the likeliest character, 100 draws as often as the network expects it.
        temperature_percent: u16,
        /// Whether it is written again and again as the network improves.
        again: bool,
    },
    /// Write no more.
    StopWriting,
    /// Fetch the weights of the whole model from the ring: those of the newest version that lies with two devices, once the run is
    /// finished the last ones.
    FetchModel,
    /// Leave the room as soon as others have this device's layers; then the peer's future ends.
    HandOn,
    /// Lose the GPU, as if the system had taken it away: to see what becomes of it.
    LoseGpu {
        /// It does not come back.
        #[serde(default)]
        for_good: bool,
    },
    /// Leave the room; the peer's future ends.
    Leave,
}
