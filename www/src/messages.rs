//! What the page and its worker say to each other, as JSON text.
//!
//! The page starts the worker and waits for [`FromWorker::Awake`]; only then does it send [`Start`], together with the port
//! over which connections travel. (A data channel can only be handed to a worker that runs.) From then on the
//! page sends [`Command`]s and the worker sends [`FromWorker`] messages, the last of which is [`FromWorker::Ended`].

use crate::words::Language;
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::ids::{MemberToken, RoomCode, ShortCode};
use ringtmp_core::profile::Planning;
use ringtmp_core::secret::RoomLink;
use ringtmp_core::signal::Form;
use ringtmp_peer::{Arithmetic, Command, DataSource, View};
use serde::{Deserialize, Serialize};

/// The page's first message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The address of the signalling server: the page's own origin.
    pub server: String,
    /// Which room.
    pub entry: Entry,
    /// Only watch.
    pub watch: bool,
    /// What people call this device.
    pub name: String,
    /// What is to compute.
    pub executor: Executor,
    /// How to talk to the server.
    #[serde(default)]
    pub signalling: Signalling,
    /// Be as slow as a device of so many operations per second.
    pub pace: Option<f64>,
    /// Keep in this browser's storage what is needed to go on with the run after all its tabs were closed.
    pub keep: bool,
    /// Bytes that its stage may take; what tabs usually give where it is not said.
    pub memory_bytes: Option<u64>,
    /// Bytes per second of the Wi-Fi that it shares with others.
    pub medium_bytes_per_second: Option<f64>,
    /// What this device looks like to people, as far as the browser tells.
    pub form: Option<Form>,
    /// The language of what the worker says.
    #[serde(default)]
    pub language: Language,
    /// Whether a room that is opened has no secret.
    #[serde(default)]
    pub open_room: bool,
    /// If this page has opened the room before: what shows that.
    #[serde(default)]
    pub host_token: Option<MemberToken>,
}

/// Which room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A new one.
    Create(RunWish),
    /// One that is there.
    Join(RoomLink),
    /// One whose host is asked first: only its short code is known.
    Ask(ShortCode),
    /// A new one, for a run that this device keeps something of.
    Resume {
        /// Which run.
        id: RoomCode,
        /// Devices to wait for; 0 to wait for somebody to press start.
        peers: u16,
    },
}

/// The folder of the page's own storage in which runs are kept.
pub const KEPT_FOLDER: &str = "runs";

/// What the user says about a run; what is not said is the shell's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunWish {
    /// The model's preset.
    pub preset: Option<String>,
    /// Where samples come from, as in a run file; what the model usually learns where it is not said.
    pub data: Option<String>,
    /// Updates to make; at least 1.
    pub steps: Option<u32>,
    /// Devices to wait for; 0 to wait for somebody to press start.
    pub peers: Option<u16>,
    /// Whose samples are trained on.
    pub source: Option<DataSource>,
    /// How devices write tensors to each other.
    pub codec: Option<CodecChoice>,
    /// How layers are divided.
    #[serde(default)]
    pub planning: Option<Planning>,
    /// How a CPU rounds.
    #[serde(default)]
    pub arithmetic: Option<Arithmetic>,
}

/// What is to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Executor {
    /// Whatever is faster.
    #[default]
    Auto,
    /// WGSL compute shaders.
    Gpu,
    /// The CPU.
    Cpu,
}

/// How the worker talks to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signalling {
    /// Over a WebSocket; where the browser refuses it, over events and posts.
    #[default]
    Any,
    /// Over a WebSocket.
    Websocket,
    /// Over server-sent events and posts.
    Events,
}

impl Signalling {
    /// The server's address that says so.
    pub fn address(self, origin: &str) -> String {
        match self {
            Self::Any => origin.to_owned(),
            Self::Websocket => format!("{origin}#signalling=websocket"),
            Self::Events => format!("{origin}#signalling=events"),
        }
    }
}

/// How data channels reach the worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channels {
    /// They are handed to it; where a browser cannot, bytes are posted.
    #[default]
    Transfer,
    /// They stay on the page and bytes are posted.
    Post,
}

/// The worker's messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromWorker {
    /// The worker runs.
    Awake,
    /// What there is to show.
    View {
        /// The view. Boxed because it is much larger than the other messages.
        view: Box<View>,
    },
    /// The answer to [`TRACE`].
    Trace {
        /// What this device did, as Chrome trace-event JSON.
        json: String,
    },
    /// The peer has ended; nothing follows.
    Ended {
        /// Why, unless the user left.
        failure: Option<Failure>,
    },
}

/// What the page says instead of a command when it wants the trace of this device.
pub const TRACE: &str = "trace";

/// What the page says instead of a command when it wants the layers that this device has trained. The answer is no text but bytes,
/// as safetensors; none where it has trained none to the end.
pub const LAYERS: &str = "layers";

/// Why a peer has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What happened.
    pub text: String,
    /// What to do about it; may be empty.
    pub advice: String,
    /// The host has sent this device away.
    #[serde(default)]
    pub sent_away: bool,
}

impl Failure {
    /// Of a device that nobody has sent away.
    pub fn new(text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            advice: advice.into(),
            sent_away: false,
        }
    }
}

/// The most commands that wait for the peer: a person presses a few buttons a second at most.
pub const COMMANDS_MAX: usize = 16;

/// Reads a command that a program hands to the page.
pub fn read_command(json: &str) -> Result<Command, serde_json::Error> {
    serde_json::from_str(json)
}

/// Whether a browser says by this that a module was stopped where it was refused memory. It stops in the same way where it panics, but says so
/// first.
pub fn is_out_of_memory(said: &str) -> bool {
    said.contains("RuntimeError") && said.to_lowercase().contains("unreachable")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_back_as_they_were_written() {
        let start = Start {
            server: "http://localhost:8080".to_owned(),
            entry: Entry::Create(RunWish {
                steps: Some(20),
                ..RunWish::default()
            }),
            watch: false,
            name: "a device".to_owned(),
            executor: Executor::Cpu,
            signalling: Signalling::Events,
            pace: Some(2e7),
            keep: true,
            memory_bytes: Some(500_000_000),
            medium_bytes_per_second: None,
            form: Some(Form::Phone),
            language: Language::German,
            open_room: true,
            host_token: Some(MemberToken(7)),
        };
        let json = serde_json::to_string(&start).expect("it is plain data");
        assert_eq!(
            serde_json::from_str::<Start>(&json).expect("it was written here"),
            start
        );
        let ended = FromWorker::Ended {
            failure: Some(Failure {
                sent_away: true,
                ..Failure::new("no", "")
            }),
        };
        let json = serde_json::to_string(&ended).expect("it is plain data");
        assert_eq!(
            serde_json::from_str::<FromWorker>(&json).expect("it was written here"),
            ended
        );
    }

    #[test]
    fn memory_that_is_used_up_is_told_from_other_errors_in_every_browser() {
        for said in [
            "Uncaught RuntimeError: unreachable",
            "RuntimeError: unreachable executed",
            "RuntimeError: Unreachable code should not be executed (evaluating 'wasm.f(a)')",
        ] {
            assert!(is_out_of_memory(said), "{said}");
        }
        for said in [
            "Uncaught RuntimeError: memory access out of bounds",
            "NetworkError: the network is unreachable",
            "",
        ] {
            assert!(!is_out_of_memory(said), "{said}");
        }
    }

    #[test]
    fn a_command_is_read_and_nonsense_is_refused() {
        assert_eq!(
            read_command(r#"{"command":"pause"}"#).expect("a command"),
            Command::Pause
        );
        assert!(read_command(r#"{"command":"dance"}"#).is_err());
    }
}
