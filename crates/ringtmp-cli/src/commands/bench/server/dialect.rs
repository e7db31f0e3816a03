//! How peers talk to a signalling server: ours, and those of others as far as coming in and passing a message on goes.

use anyhow::{Context, Result};
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::ids::{Epoch, RoomCode};
use ringtmp_core::parameter_server::Topology;
use ringtmp_core::plan::LayerCost;
use ringtmp_core::profile::Planning;
use ringtmp_core::schedule::{DataSource, Mode, ScheduleSpec};
use ringtmp_core::signal::{
    ClientMessage, Device, DeviceKind, ExecutorKind, PROTOCOL_VERSION, Replication, Role,
    RunDescriptor, RunOutline, ServerMessage, Signal,
};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// Layers of the rooms' runs: those of a small transformer.
const LAYERS: usize = 11;

/// A session description, which is most of what is relayed, has so many bytes.
const MESSAGE_BYTES: usize = 2_000;

/// What a relayed message begins with; its number follows.
const MARK: &str = "ringtmp-bench-";

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Ours: `ringtmp_core::signal`.
    Ringtmp,
    /// `matchbox_server` 0.15: rooms by address, ids given by the server.
    Matchbox,
    /// `peerjs-server` 1.0: no rooms, ids chosen by peers.
    PeerJs,
}

/// What a server has said, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The room is there.
    Opened {
        room: String,
    },
    /// The peer is in, under this id.
    In {
        id: String,
    },
    /// It is refused, and why.
    Refused(String),
    Other,
}

impl Dialect {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ringtmp => "ringtmp",
            Self::Matchbox => "matchbox",
            Self::PeerJs => "peerjs",
        }
    }

    /// Where a peer connects that will be in this room.
    pub(super) fn url(self, server: SocketAddr, room: usize, peer: u32) -> String {
        match self {
            Self::Ringtmp => format!("ws://{server}/signal"),
            Self::Matchbox => format!("ws://{server}/room-{room}"),
            Self::PeerJs => {
                format!("ws://{server}/peerjs?key=peerjs&id=peer-{peer}&token=token-{peer}")
            }
        }
    }

    /// Whether rooms have to be opened, by whoever comes first.
    pub(super) const fn opens_rooms(self) -> bool {
        matches!(self, Self::Ringtmp)
    }

    /// What opens a room.
    pub(super) fn open(self) -> Result<String> {
        let create = ClientMessage::Create {
            protocol: PROTOCOL_VERSION,
            run: run(),
        };
        Ok(serde_json::to_string(&create)?)
    }

    /// What a peer says to come in, if connecting is not enough.
    pub(super) fn join(self, room: &str) -> Result<Option<String>> {
        if self != Self::Ringtmp {
            return Ok(None);
        }
        let join = ClientMessage::Join {
            protocol: PROTOCOL_VERSION,
            room: room.parse::<RoomCode>()?,
            role: Role::Participant,
            device: Device {
                kind: DeviceKind::Tab,
                name: "Chrome on Android".to_owned(),
                executor: ExecutorKind::Gpu,
                adapter: "a phone's GPU".to_owned(),
                memory_bytes: Some(1 << 30),
                form: None,
            },
            has_data: true,
            proof: None,
        };
        Ok(Some(serde_json::to_string(&join)?))
    }

    /// What a text of the server means to a peer of this number.
    pub(super) fn hear(self, text: &str, peer: u32) -> Heard {
        match self {
            Self::Ringtmp => match serde_json::from_str(text) {
                Ok(ServerMessage::Created { room }) => Heard::Opened {
                    room: room.to_string(),
                },
                Ok(ServerMessage::Welcome { peer, .. }) => Heard::In {
                    id: peer.to_string(),
                },
                Ok(ServerMessage::Refused { refusal }) => Heard::Refused(refusal.to_string()),
                Ok(_) => Heard::Other,
                Err(error) => Heard::Refused(error.to_string()),
            },
            Self::Matchbox => {
                let id = serde_json::from_str::<Value>(text).ok();
                let id = id.and_then(|said| Some(said.get("IdAssigned")?.as_str()?.to_owned()));
                id.map_or(Heard::Other, |id| Heard::In { id })
            }
            Self::PeerJs => {
                let said = serde_json::from_str::<Value>(text).unwrap_or_default();
                match said["type"].as_str() {
                    Some("OPEN") => Heard::In {
                        id: format!("peer-{peer}"),
                    },
                    Some("ERROR" | "ID-TAKEN" | "INVALID-KEY") => Heard::Refused(text.to_owned()),
                    _ => Heard::Other,
                }
            }
        }
    }

    /// A connection message of this number for another peer.
    pub(super) fn relay(self, to: &str, number: usize) -> Result<String> {
        let mut sdp = format!("{MARK}{number}-");
        sdp.extend(std::iter::repeat_n('x', MESSAGE_BYTES - sdp.len()));
        let message = match self {
            Self::Ringtmp => {
                let to = to.parse().context("the server gives such ids")?;
                let epoch = Epoch::default();
                let signal = Signal::offer(epoch, sdp);
                return Ok(serde_json::to_string(&ClientMessage::Signal {
                    to,
                    signal,
                })?);
            }
            Self::Matchbox => json!({ "Signal": { "receiver": to, "data": { "Offer": sdp } } }),
            Self::PeerJs => json!({ "type": "OFFER", "dst": to, "payload": { "sdp": sdp } }),
        };
        Ok(message.to_string())
    }

    /// The number of a message that was relayed. It is found by its mark, without reading the rest: what this costs is not the server's.
    pub(super) fn number_of(text: &str) -> Option<usize> {
        let (_, rest) = text.split_once(MARK)?;
        let (number, _) = rest.split_once('-')?;
        number.parse().ok()
    }

    /// What a peer has to say now and then, so that it is not taken for dead. (Ours and matchbox ask.)
    pub(super) const fn heartbeat(self) -> Option<&'static str> {
        match self {
            Self::Ringtmp | Self::Matchbox => None,
            Self::PeerJs => Some(r#"{"type":"HEARTBEAT"}"#),
        }
    }
}

fn run() -> RunDescriptor {
    let layer = LayerCost {
        flops: [1e6; 3],
        parameters: 10_000,
        output_bytes: 10_000,
        stash_bytes: 10_000,
    };
    RunDescriptor {
        toml: "model.preset = \"gpt-nano\"\ndata = \"addition\"\n".to_owned(),
        outline: RunOutline {
            name: "gpt-nano".to_owned(),
            layers: vec![layer; LAYERS],
            steps: 1000,
            micro_batches: 8,
            evaluate_every: 0,
            evaluation_micro_batches: 0,
            // They wait for somebody to start it, and nobody does.
            start_at_peers: 0,
            schedule: ScheduleSpec::new(Mode::Sync, 1),
            source: DataSource::One,
            sample_bytes: 4,
            codec: CodecChoice::default(),
            planning: Planning::Counted,
            replication: Replication::Off,
            topology: Topology::Ring,
        },
        verifier: None,
        resumes: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relayed_messages_are_known_by_their_number_in_every_dialect() {
        for (dialect, to) in [
            (Dialect::Ringtmp, "0123456789abcdef"),
            (Dialect::Matchbox, "c0ffee"),
            (Dialect::PeerJs, "peer-7"),
        ] {
            let text = dialect.relay(to, 42).expect("JSON");
            assert_eq!(Dialect::number_of(&text), Some(42), "{text}");
            assert!(text.len() > MESSAGE_BYTES && text.contains(to));
        }
        assert_eq!(Dialect::number_of("{}"), None);
    }

    #[test]
    fn who_is_in_is_understood_in_every_dialect() {
        let is_in = |id: &str| Heard::In { id: id.to_owned() };
        let assigned = r#"{"IdAssigned":"c0ffee"}"#;
        assert_eq!(Dialect::Matchbox.hear(assigned, 7), is_in("c0ffee"));
        let other = r#"{"NewPeer":"c0ffee"}"#;
        assert_eq!(Dialect::Matchbox.hear(other, 7), Heard::Other);
        assert_eq!(
            Dialect::PeerJs.hear(r#"{"type":"OPEN"}"#, 7),
            is_in("peer-7")
        );
        let full =
            r#"{"type":"ERROR","payload":{"msg":"Server has reached its concurrent user limit"}}"#;
        assert!(matches!(Dialect::PeerJs.hear(full, 7), Heard::Refused(_)));
        assert!(matches!(Dialect::Ringtmp.hear("{}", 7), Heard::Refused(_)));
    }
}
