//! A server to talk to, for the tests of the lobby and its rooms.
#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod pair;
pub(crate) mod stage;

use ringtmp_core::codec::CodecChoice;
use ringtmp_core::ids::{PeerId, RoomCode};
use ringtmp_core::lobby::{ConnectionId, Limits, Lobby, LobbyInput, LobbyOutput, VisitorId};
use ringtmp_core::parameter_server::TeamPlan;
use ringtmp_core::plan::LayerCost;
use ringtmp_core::profile::Planning;
use ringtmp_core::schedule::{DataSource, Mode, ScheduleSpec};
use ringtmp_core::signal::*;
use ringtmp_core::time::Time;
use std::time::Duration;

/// A lobby with a clock, and what connections say to it.
pub(crate) struct Server {
    pub(crate) lobby: Lobby,
    pub(crate) now: Time,
    entropy: u64,
}

pub(crate) fn run(start_at_peers: u16) -> RunDescriptor {
    let layer = LayerCost {
        flops: [1.0; 3],
        parameters: 1,
        output_bytes: 4,
        stash_bytes: 4,
    };
    let outline = RunOutline {
        name: "test".to_owned(),
        layers: vec![layer; 4],
        steps: 10,
        micro_batches: 2,
        evaluate_every: 0,
        evaluation_micro_batches: 1,
        start_at_peers,
        schedule: ScheduleSpec::new(Mode::Sync, 1),
        source: DataSource::One,
        sample_bytes: 4,
        codec: CodecChoice::default(),
        planning: Planning::Counted,
        replication: Replication::Off,
        topology: ringtmp_core::parameter_server::Topology::Ring,
    };
    RunDescriptor {
        toml: String::new(),
        outline,
        resumes: None,
        verifier: None,
    }
}

pub(crate) fn device() -> Device {
    let kind = DeviceKind::Tab;
    Device {
        kind,
        name: "a \u{7} phone".to_owned(),
        executor: ExecutorKind::Gpu,
        adapter: "x".repeat(500),
        memory_bytes: None,
        form: None,
    }
}

pub(crate) fn join(room: RoomCode, role: Role) -> ClientMessage {
    ClientMessage::Join {
        protocol: PROTOCOL_VERSION,
        room,
        role,
        device: device(),
        has_data: true,
        proof: None,
    }
}

impl Server {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            lobby: Lobby::new(limits, 0),
            now: Time::ZERO,
            entropy: 1,
        }
    }

    /// One that knows nothing of what a server before it has done.
    pub(crate) fn restarted(incarnation: u32) -> Self {
        Self {
            lobby: Lobby::new(Limits::default(), incarnation),
            now: Time::ZERO,
            entropy: 2,
        }
    }

    pub(crate) fn input(&mut self, input: LobbyInput<'_>) -> Vec<LobbyOutput> {
        self.entropy = self.entropy.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let entropy: [u8; 16] = std::array::from_fn(|i| (self.entropy >> (8 * (i % 8))) as u8);
        self.lobby.handle(self.now, entropy, input);
        std::iter::from_fn(|| self.lobby.poll_output()).collect()
    }

    pub(crate) fn text(&mut self, connection: u64, text: &str) -> Vec<LobbyOutput> {
        self.input(LobbyInput::Text {
            connection: ConnectionId(connection),
            text,
        })
    }

    pub(crate) fn say(&mut self, connection: u64, message: &ClientMessage) -> Vec<LobbyOutput> {
        let text = serde_json::to_string(message).expect("messages are JSON");
        self.text(connection, &text)
    }

    pub(crate) fn connect(&mut self, connection: u64) {
        self.connect_as(connection, connection);
    }

    pub(crate) fn connect_as(&mut self, connection: u64, visitor: u64) {
        assert_eq!(
            self.input(LobbyInput::Connected {
                connection: ConnectionId(connection),
                visitor: VisitorId(visitor),
            }),
            []
        );
    }

    pub(crate) fn create(
        &mut self,
        connection: u64,
        run: RunDescriptor,
    ) -> Result<RoomCode, Refusal> {
        self.connect(connection);
        let message = ClientMessage::Create {
            protocol: PROTOCOL_VERSION,
            run,
        };
        match &self.say(connection, &message)[..] {
            [
                LobbyOutput::Send {
                    message: ServerMessage::Created { room },
                    ..
                },
            ] => Ok(*room),
            [
                LobbyOutput::Send {
                    message: ServerMessage::Refused { refusal },
                    ..
                },
                LobbyOutput::Close { .. },
            ] => Err(refusal.clone()),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn enter(
        &mut self,
        connection: u64,
        room: RoomCode,
        role: Role,
    ) -> Result<(PeerId, RoomView), Refusal> {
        self.connect(connection);
        let output = self.say(connection, &join(room, role));
        for output in &output {
            match output {
                LobbyOutput::Send {
                    message: ServerMessage::Welcome { peer, room, .. },
                    ..
                } => {
                    return Ok((*peer, (**room).clone()));
                }
                LobbyOutput::Send {
                    message: ServerMessage::Refused { refusal },
                    ..
                } => return Err(refusal.clone()),
                _ => {}
            }
        }
        panic!("{output:?}")
    }

    pub(crate) fn refusal(output: &[LobbyOutput]) -> Option<&Refusal> {
        output.iter().find_map(|output| match output {
            LobbyOutput::Send {
                message: ServerMessage::Refused { refusal },
                ..
            } => Some(refusal),
            _ => None,
        })
    }

    pub(crate) fn states(output: &[LobbyOutput]) -> Vec<RoomState> {
        let state = |output: &LobbyOutput| match output {
            LobbyOutput::Send {
                message: ServerMessage::Room { room },
                ..
            } => Some(room.state.clone()),
            _ => None,
        };
        output.iter().filter_map(state).collect()
    }
}

/// Who is asked about whom, that the room no longer hears.
pub(crate) fn doubted(output: &[LobbyOutput]) -> Vec<(u64, PeerId)> {
    let doubts = output.iter().filter_map(|output| match output {
        LobbyOutput::Send {
            connection,
            message: ServerMessage::Doubt { peer, .. },
        } => Some((connection.0, *peer)),
        _ => None,
    });
    doubts.collect()
}

/// A socket is closed.
pub(crate) fn closes(server: &mut Server, connection: u64) -> Vec<LobbyOutput> {
    let connection = ConnectionId(connection);
    server.input(LobbyInput::Disconnected { connection })
}

/// Somebody comes back over a new socket.
pub(crate) fn returns(server: &mut Server, connection: u64, back: Returning) -> Vec<LobbyOutput> {
    server.connect(connection);
    server.say(connection, &ClientMessage::Return(Box::new(back)))
}

/// So much time passes.
pub(crate) fn tick_after(server: &mut Server, wait: Duration) -> Vec<LobbyOutput> {
    server.now = server.now + wait;
    server.input(LobbyInput::Tick)
}

/// A team's plan, if one is handed out.
pub(crate) fn prepared(output: &[LobbyOutput]) -> Option<TeamPlan> {
    output.iter().find_map(|output| match output {
        LobbyOutput::Send {
            message: ServerMessage::PrepareTeam { plan },
            ..
        } => Some(plan.clone()),
        _ => None,
    })
}
