//! The server's side: limits, refusals, rooms that come and go.

use ringtmp_core::codec::CodecChoice;
use ringtmp_core::ids::{PeerId, RoomCode, StageIndex};
use ringtmp_core::lobby::{ConnectionId, Limits, Lobby, LobbyInput, LobbyOutput};
use ringtmp_core::plan::{LayerCost, Plan};
use ringtmp_core::profile::{LinkProfile, Planning, Profile};
use ringtmp_core::room::{PROFILE_WAIT_MAX, WARM_UP_MAX};
use ringtmp_core::schedule::{DataSource, Mode, ScheduleSpec};
use ringtmp_core::signal::*;
use ringtmp_core::time::Time;
use ringtmp_core::trace::{Report, Shares, TaskSeconds};
use std::time::Duration;

struct Server {
    lobby: Lobby,
    now: Time,
    entropy: u64,
}

fn run(start_at_peers: u16) -> RunDescriptor {
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
    };
    RunDescriptor {
        toml: String::new(),
        outline,
    }
}

fn device() -> Device {
    let kind = DeviceKind::Tab;
    Device {
        kind,
        name: "a \u{7} phone".to_owned(),
        executor: ExecutorKind::Gpu,
        adapter: "x".repeat(500),
        memory_bytes: None,
    }
}

fn join(room: RoomCode, role: Role) -> ClientMessage {
    ClientMessage::Join {
        protocol: PROTOCOL_VERSION,
        room,
        role,
        device: device(),
        has_data: true,
    }
}

impl Server {
    fn new(limits: Limits) -> Self {
        Self {
            lobby: Lobby::new(limits),
            now: Time::ZERO,
            entropy: 1,
        }
    }

    fn input(&mut self, input: LobbyInput<'_>) -> Vec<LobbyOutput> {
        self.entropy = self.entropy.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let entropy: [u8; 16] = std::array::from_fn(|i| (self.entropy >> (8 * (i % 8))) as u8);
        self.lobby.handle(self.now, entropy, input);
        std::iter::from_fn(|| self.lobby.poll_output()).collect()
    }

    fn text(&mut self, connection: u64, text: &str) -> Vec<LobbyOutput> {
        self.input(LobbyInput::Text {
            connection: ConnectionId(connection),
            text,
        })
    }

    fn say(&mut self, connection: u64, message: &ClientMessage) -> Vec<LobbyOutput> {
        let text = serde_json::to_string(message).expect("messages are JSON");
        self.text(connection, &text)
    }

    fn connect(&mut self, connection: u64) {
        assert_eq!(
            self.input(LobbyInput::Connected {
                connection: ConnectionId(connection)
            }),
            []
        );
    }

    fn create(&mut self, connection: u64, run: RunDescriptor) -> Result<RoomCode, Refusal> {
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

    fn enter(
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
                    return Ok((*peer, room.clone()));
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

    fn refusal(output: &[LobbyOutput]) -> Option<&Refusal> {
        output.iter().find_map(|output| match output {
            LobbyOutput::Send {
                message: ServerMessage::Refused { refusal },
                ..
            } => Some(refusal),
            _ => None,
        })
    }

    fn states(output: &[LobbyOutput]) -> Vec<RoomState> {
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

#[test]
fn rooms_have_codes_that_differ_and_members_see_each_other() {
    let mut server = Server::new(Limits::default());
    let first = server.create(1, run(0)).expect("a room");
    let second = server.create(2, run(0)).expect("a room");
    assert_ne!(first, second);
    let (one, _) = server.enter(3, first, Role::Participant).expect("let in");
    let (two, view) = server.enter(4, first, Role::Spectator).expect("let in");
    assert_ne!(one, two);
    let seen: Vec<PeerId> = view.members.iter().map(|member| member.peer).collect();
    assert_eq!(seen, [one, two]);
    assert_eq!(
        view.members[0].device.name, "a  phone",
        "control characters are not passed on"
    );
    assert_eq!(view.members[0].device.adapter.len(), Device::TEXT_CHARS_MAX);
    assert_eq!(view.members[1].status, MemberStatus::Watching);
}

#[test]
fn every_limit_is_a_refusal_that_names_it() {
    let limits = Limits {
        rooms_max: 1,
        members_max: 2,
        ..Limits::default()
    };
    let mut server = Server::new(limits);
    let room = server.create(1, run(0)).expect("a room");
    assert_eq!(
        server.create(2, run(0)),
        Err(Refusal::ServerFull { rooms_max: 1 })
    );
    server.enter(3, room, Role::Participant).expect("let in");
    server.enter(4, room, Role::Participant).expect("let in");
    assert_eq!(
        server.enter(5, room, Role::Spectator).map(|_| ()),
        Err(Refusal::RoomFull { members_max: 2 })
    );
    let nowhere = RoomCode::from_random([1; 10]);
    assert_eq!(
        server.enter(6, nowhere, Role::Participant).map(|_| ()),
        Err(Refusal::NoSuchRoom { room: nowhere })
    );
    server.connect(7);
    let long = server.input(LobbyInput::Oversized {
        connection: ConnectionId(7),
        bytes: 1 << 20,
    });
    assert!(matches!(
        Server::refusal(&long),
        Some(Refusal::TooLong { .. })
    ));
    server.connect(8);
    let old = ClientMessage::Join {
        protocol: 0,
        room,
        role: Role::Participant,
        device: device(),
        has_data: true,
    };
    let output = server.say(8, &old);
    assert_eq!(
        Server::refusal(&output),
        Some(&Refusal::Version {
            ours: PROTOCOL_VERSION,
            theirs: 0
        })
    );
}

#[test]
fn impossible_runs_are_refused_before_there_is_a_room() {
    let spoil: [fn(&mut RunDescriptor); 6] = [
        |run| run.outline.layers.clear(),
        |run| run.outline.layers = vec![run.outline.layers[0]; LAYERS_MAX + 1],
        |run| run.outline.steps = 0,
        |run| run.outline.micro_batches = 0,
        |run| run.outline.start_at_peers = 65,
        |run| run.toml = "x".repeat(RUN_FILE_BYTES_MAX + 1),
    ];
    let mut server = Server::new(Limits::default());
    for (i, spoil) in spoil.iter().enumerate() {
        let mut run = run(0);
        spoil(&mut run);
        assert!(
            matches!(server.create(i as u64, run), Err(Refusal::BadRun { .. })),
            "{i}"
        );
    }
    assert_eq!(server.lobby.statistics().rooms, 0);
}

#[test]
fn who_talks_too_fast_is_closed_and_who_talks_nonsense_is_told() {
    let mut server = Server::new(Limits {
        messages_burst: 5,
        messages_per_second: 1,
        ..Limits::default()
    });
    server.connect(1);
    for nonsense in ["", "{", "[]", r#"{"type":"fly"}"#, r#"{"type":"start"}"#] {
        assert!(
            matches!(
                Server::refusal(&server.text(1, nonsense)),
                Some(Refusal::Malformed { .. })
            ),
            "{nonsense}"
        );
    }
    let output = server.text(1, "{");
    assert_eq!(Server::refusal(&output), Some(&Refusal::TooFast));
    assert!(output.contains(&LobbyOutput::Close {
        connection: ConnectionId(1)
    }));
    assert_eq!(
        server.text(1, "{"),
        [],
        "a connection that is being closed is not listened to"
    );
    server.connect(2);
    for _ in 0..20 {
        assert!(matches!(
            Server::refusal(&server.text(2, "{")),
            Some(Refusal::Malformed { .. })
        ));
        server.now = server.now + Duration::from_secs(1);
    }
}

#[test]
fn signals_reach_the_member_they_are_for_and_nobody_else() {
    let mut server = Server::new(Limits::default());
    let room = server.create(1, run(0)).expect("a room");
    let other_room = server.create(2, run(0)).expect("a room");
    let (one, _) = server.enter(3, room, Role::Participant).expect("let in");
    let (two, _) = server.enter(4, room, Role::Participant).expect("let in");
    let (stranger, _) = server
        .enter(5, other_room, Role::Participant)
        .expect("let in");
    let signal = Signal::Offer {
        epoch: Default::default(),
        sdp: "v=0".to_owned(),
    };
    let output = server.say(
        3,
        &ClientMessage::Signal {
            to: two,
            signal: signal.clone(),
        },
    );
    let expected = ServerMessage::Signal {
        from: one,
        signal: signal.clone(),
    };
    assert_eq!(
        output,
        [LobbyOutput::Send {
            connection: ConnectionId(4),
            message: expected
        }]
    );
    assert_eq!(
        server.say(
            3,
            &ClientMessage::Signal {
                to: stranger,
                signal
            }
        ),
        [],
        "rooms are apart"
    );
}

#[test]
fn a_room_starts_by_itself_when_enough_are_there_and_stops_when_one_goes() {
    let mut server = Server::new(Limits::default());
    let room = server.create(1, run(2)).expect("a room");
    server.enter(2, room, Role::Spectator).expect("let in");
    server.enter(3, room, Role::Participant).expect("let in");
    server.connect(4);
    let output = server.say(4, &join(room, Role::Participant));
    assert!(Server::states(&output).contains(&RoomState::WarmingUp));
    let prepared: Vec<u64> = output
        .iter()
        .filter_map(|output| match output {
            LobbyOutput::Send {
                connection,
                message: ServerMessage::Prepare { plan },
            } => {
                assert_eq!(plan.check(4), Ok(()));
                Some(connection.0)
            }
            _ => None,
        })
        .collect();
    assert_eq!(prepared, [3, 4], "the spectator has no part in the plan");
    let output = server.input(LobbyInput::Disconnected {
        connection: ConnectionId(4),
    });
    assert!(matches!(
        &Server::states(&output)[..],
        [RoomState::Stopped { .. }, ..]
    ));
}

#[test]
fn a_device_that_never_gets_ready_is_named_and_the_room_stops() {
    let mut server = Server::new(Limits::default());
    let room = server.create(1, run(1)).expect("a room");
    server.enter(2, room, Role::Participant).expect("let in");
    let due = server.lobby.poll_timeout().expect("the warm-up is bounded");
    server.now = server.now + WARM_UP_MAX;
    assert!(due <= server.now);
    let output = server.input(LobbyInput::Tick);
    let states = Server::states(&output);
    let [RoomState::Stopped { reason }] = &states[..] else {
        panic!("{states:?}")
    };
    assert!(reason.contains("phone"), "{reason}");
}

#[test]
fn a_room_without_members_ends_after_a_while_and_one_with_members_does_not() {
    let limits = Limits::default();
    let mut server = Server::new(limits);
    let empty = server.create(1, run(0)).expect("a room");
    let full = server.create(2, run(0)).expect("a room");
    server.enter(3, full, Role::Spectator).expect("let in");
    server.now = server.now + limits.room_idle;
    server.input(LobbyInput::Tick);
    assert!(server.enter(4, empty, Role::Spectator).is_err());
    server.enter(5, full, Role::Spectator).expect("still there");
    server.input(LobbyInput::Disconnected {
        connection: ConnectionId(3),
    });
    server.say(5, &ClientMessage::Leave);
    server.now = server.now + limits.room_idle;
    server.input(LobbyInput::Tick);
    let left = server.lobby.statistics();
    assert_eq!((left.rooms, left.members), (0, 0));
}

#[test]
fn only_the_tail_tells_the_progress_and_only_under_the_epoch_at_work() {
    let mut server = Server::new(Limits::default());
    let room = server.create(1, run(2)).expect("a room");
    server.enter(2, room, Role::Spectator).expect("let in");
    server.enter(3, room, Role::Participant).expect("let in");
    server.enter(4, room, Role::Participant).expect("let in");
    let epoch = ringtmp_core::ids::Epoch {
        number: 1,
        incarnation: 0,
    };
    let points = vec![Point {
        step: 0,
        loss: Some(1.0),
        accuracy: None,
    }];
    let progress = |epoch| ClientMessage::Progress {
        epoch,
        points: points.clone(),
    };
    assert_eq!(server.say(3, &progress(epoch)), [], "the head's word");
    let late = ringtmp_core::ids::Epoch { number: 0, ..epoch };
    assert_eq!(server.say(4, &progress(late)), [], "another epoch's");
    let output = server.say(4, &progress(epoch));
    let message = ServerMessage::Progress {
        points: points.clone(),
    };
    assert_eq!(
        output,
        [LobbyOutput::Send {
            connection: ConnectionId(2),
            message
        }]
    );
}

#[test]
fn the_plan_names_those_who_have_samples_and_without_any_nothing_starts() {
    let every = || {
        let mut run = run(3);
        run.outline.source = DataSource::Every;
        run
    };
    let enter = |server: &mut Server, connection, room, has_data| {
        server.connect(connection);
        let join = ClientMessage::Join {
            protocol: PROTOCOL_VERSION,
            room,
            role: Role::Participant,
            device: device(),
            has_data,
        };
        server.say(connection, &join)
    };
    for (source, has_data, expected) in [
        (DataSource::One, [false, true, true], vec![StageIndex(0)]),
        (
            DataSource::Every,
            [false, true, true],
            vec![StageIndex(1), StageIndex(2)],
        ),
    ] {
        let mut server = Server::new(Limits::default());
        let mut run = every();
        run.outline.source = source;
        let room = server.create(1, run).expect("a room");
        let mut last = Vec::new();
        for (connection, has_data) in (2..).zip(has_data) {
            last = enter(&mut server, connection, room, has_data);
        }
        let plan = last.iter().find_map(|output| match output {
            LobbyOutput::Send {
                message: ServerMessage::Prepare { plan },
                ..
            } => Some(plan),
            _ => None,
        });
        assert_eq!(plan.expect("it starts").sources, expected);
    }
    let mut server = Server::new(Limits::default());
    let room = server.create(1, every()).expect("a room");
    let mut last = Vec::new();
    for connection in 2..5 {
        last = enter(&mut server, connection, room, false);
    }
    let states = Server::states(&last);
    assert!(
        states.iter().all(
            |state| matches!(state, RoomState::Stopped { reason } if reason.contains("samples"))
        ),
        "{states:?}"
    );
    assert!(!states.is_empty());
}

/// A room for two whose plan waits for measurements, with both in it, and the epoch's plan if there is one yet.
fn measured_room(server: &mut Server) -> (RoomCode, [PeerId; 2]) {
    let mut run = run(2);
    run.outline.planning = Planning::Measured;
    let room = server.create(0, run).expect("a room");
    let peers = [1, 2].map(|connection| {
        let entered = server.enter(connection, room, Role::Participant);
        entered.expect("there is place").0
    });
    (room, peers)
}

fn profile(seconds: f64) -> ClientMessage {
    ClientMessage::Profile {
        profile: Profile {
            layer_seconds: vec![[seconds; 3]; 4],
            noise: 0.0,
            links: Vec::new(),
            medium_bytes_per_second: None,
        },
    }
}

fn planned(output: &[LobbyOutput]) -> Option<&Plan> {
    output.iter().find_map(|output| match output {
        LobbyOutput::Send {
            message: ServerMessage::Prepare { plan },
            ..
        } => Some(plan),
        _ => None,
    })
}

fn view(output: &[LobbyOutput]) -> Option<&RoomView> {
    output.iter().rev().find_map(|output| match output {
        LobbyOutput::Send {
            message: ServerMessage::Room { room },
            ..
        } => Some(room),
        _ => None,
    })
}

#[test]
fn a_plan_waits_for_what_its_members_measure_and_follows_it() {
    let mut server = Server::new(Limits::default());
    let (_, peers) = measured_room(&mut server);
    let output = server.say(1, &profile(1e-3));
    assert_eq!(planned(&output), None);
    let status = |member: &MemberView| member.status;
    let room = view(&output).expect("the room is shown");
    assert_eq!(
        room.members.iter().map(status).collect::<Vec<_>>(),
        [MemberStatus::Waiting, MemberStatus::Measuring]
    );
    let output = server.say(2, &profile(3e-3));
    let plan = planned(&output).expect("all have measured");
    assert_eq!(
        plan.layers_of(peers[0])
            .map(|layers| layers.end.0 - layers.start.0),
        Some(3)
    );
    let step = plan.step_seconds.expect("it was measured");
    assert!((step - 2.0 * 9e-3).abs() < 1e-9, "{step}");
}

#[test]
fn who_measures_for_too_long_is_planned_for_all_the_same() {
    let mut server = Server::new(Limits::default());
    measured_room(&mut server);
    assert_eq!(planned(&server.say(1, &profile(1e-3))), None);
    server.now = server.now + PROFILE_WAIT_MAX;
    let output = server.input(LobbyInput::Tick);
    assert_eq!(
        planned(&output).map(|plan| plan.cuts.clone()),
        Some(vec![0, 2, 4])
    );
    // Nor does the next start wait for it.
    server.say(1, &ClientMessage::Stop);
    assert!(planned(&server.say(1, &ClientMessage::Start)).is_some());
}

#[test]
fn who_is_gone_is_waited_for_no_longer() {
    let mut server = Server::new(Limits::default());
    measured_room(&mut server);
    server.say(1, &profile(1e-3));
    let output = server.say(2, &ClientMessage::Leave);
    assert_eq!(planned(&output).map(Plan::stages), Some(1));
}

#[test]
fn a_profile_that_cannot_be_true_is_refused_for_all_to_see_and_the_run_starts_without_it() {
    let mut server = Server::new(Limits::default());
    measured_room(&mut server);
    server.say(1, &profile(1e-3));
    let output = server.say(2, &profile(-1.0));
    assert_eq!(
        planned(&output).map(|plan| plan.cuts.clone()),
        Some(vec![0, 2, 4])
    );
    let liar = &view(&output).expect("the room is shown").members[1];
    let ProfileView::Refused { reason } = &liar.profile else {
        panic!("{liar:?}");
    };
    assert!(reason.contains("-1 s"), "{reason}");
}

fn committed(output: &[LobbyOutput]) -> bool {
    let is_commit = |output: &LobbyOutput| {
        let LobbyOutput::Send { message, .. } = output else {
            return false;
        };
        matches!(message, ServerMessage::Commit { .. })
    };
    output.iter().any(is_commit)
}

/// What comes of a room for two equally fast members whose link turns out to carry so much, or to be something that cannot be.
fn linked_room(server: &mut Server, bytes_per_second: f64) -> (Vec<LobbyOutput>, Plan) {
    let (_, peers) = measured_room(server);
    server.say(1, &profile(1e-3));
    let output = server.say(2, &profile(1e-3));
    let plan = planned(&output).expect("all have measured").clone();
    assert_eq!(plan.stages(), 2);
    let ready = |to| ClientMessage::Ready {
        epoch: plan.epoch,
        links: vec![LinkProfile {
            to,
            delay_seconds: 1e-3,
            bytes_per_second: Some(bytes_per_second),
        }],
    };
    assert!(!committed(&server.say(1, &ready(peers[1]))));
    (server.say(2, &ready(peers[0])), plan)
}

#[test]
fn a_link_that_would_hold_up_the_ring_is_planned_for_again_once() {
    let mut server = Server::new(Limits::default());
    let mut run = run(3);
    run.outline.planning = Planning::Measured;
    let room = server.create(0, run).expect("a room");
    let enter = |server: &mut Server, connection| {
        let entered = server.enter(connection, room, Role::Participant);
        (connection, entered.expect("there is place").0)
    };
    let peers = [1, 2, 3].map(|connection| enter(&mut server, connection));
    let told = [1, 2, 3].map(|connection| server.say(connection, &profile(1e-3)));
    let first = planned(&told[2]).expect("all have measured").clone();
    // Between the first two of the ring hardly anything gets through.
    let ready = |plan: &Plan, peer: PeerId| {
        let stage = plan.stage_of(peer).expect("all take part");
        ClientMessage::Ready {
            epoch: plan.epoch,
            links: vec![LinkProfile {
                to: plan.successor(stage),
                delay_seconds: 1e-3,
                bytes_per_second: Some(if stage.0 == 0 { 10.0 } else { 1e6 }),
            }],
        }
    };
    let told = peers.map(|(connection, peer)| server.say(connection, &ready(&first, peer)));
    assert!(!told.iter().any(|output| committed(output)));
    let second = planned(&told[2]).expect("another plan").clone();
    assert!(second.epoch > first.epoch);
    assert_eq!(second.stages(), 3, "it is no reason to leave anybody out");
    let bad = [first.order[0], first.order[1]];
    let hops = second.order.windows(2);
    assert_eq!(
        hops.filter(|pair| bad.iter().all(|peer| pair.contains(peer)))
            .count(),
        0
    );
    // Whatever is measured now, it has been planned again once.
    let told = peers.map(|(connection, peer)| server.say(connection, &ready(&second, peer)));
    assert!(committed(&told[2]), "{told:?}");
    assert_eq!(planned(&told[2]), None);
}

#[test]
fn a_link_that_carries_what_there_is_changes_nothing_and_neither_does_one_that_cannot_be() {
    for bytes_per_second in [1e9, -1.0, 0.0] {
        let mut server = Server::new(Limits::default());
        let (output, _) = linked_room(&mut server, bytes_per_second);
        assert!(committed(&output), "{bytes_per_second}");
        assert_eq!(planned(&output), None);
    }
}

#[test]
fn what_tasks_take_corrects_the_next_plan() {
    let mut server = Server::new(Limits::default());
    let (output, plan) = linked_room(&mut server, 1e9);
    assert!(committed(&output));
    // It takes three times as long as it measured: 2 layers of 3 ms.
    let shares = Shares {
        busy: 1.0,
        forward: 1.0,
        ..Shares::default()
    };
    let report = Report {
        shares,
        run: shares,
        task_seconds: TaskSeconds {
            forward: Some(6e-3),
            backward_input: Some(6e-3),
            backward_weights: Some(6e-3),
            update: None,
        },
        ..Report::default()
    };
    let report = ClientMessage::Report {
        epoch: plan.epoch,
        links: Vec::new(),
        report: Box::new(report),
    };
    server.say(2, &report);
    server.say(1, &ClientMessage::Stop);
    let output = server.say(1, &ClientMessage::Start);
    let next = planned(&output).expect("all have measured before");
    assert_eq!(next.cuts, [0, 3, 4]);
}

#[test]
fn a_pledge_counts_from_the_next_plan_on() {
    let mut server = Server::new(Limits::default());
    let room = server.create(0, run(0)).expect("a room");
    server
        .enter(1, room, Role::Participant)
        .expect("there is place");
    let pledge = ClientMessage::Pledge {
        memory_bytes: Some(10),
    };
    let output = server.say(1, &pledge);
    let member = &view(&output).expect("the room is shown").members[0];
    assert_eq!(member.device.memory_bytes, Some(10));
    let output = server.say(1, &ClientMessage::Start);
    assert_eq!(planned(&output), None, "no layer fits into 10 bytes");
    server.say(1, &ClientMessage::Pledge { memory_bytes: None });
    assert!(planned(&server.say(1, &ClientMessage::Start)).is_some());
}

#[test]
fn a_model_that_fits_no_device_stops_the_room_with_who_lacks_how_much() {
    let mut server = Server::new(Limits::default());
    let mut run = run(1);
    for layer in &mut run.outline.layers {
        layer.parameters = 1_000_000;
    }
    let room = server.create(0, run).expect("a room");
    server.connect(1);
    let mut join = join(room, Role::Participant);
    if let ClientMessage::Join { device, .. } = &mut join {
        device.memory_bytes = Some(40_000_000);
    }
    let output = server.say(1, &join);
    assert_eq!(planned(&output), None);
    let state = Server::states(&output).pop();
    let Some(RoomState::Stopped { reason }) = state else {
        panic!("{state:?}");
    };
    assert!(
        reason.contains("a  phone lacks 8.0 MB for layers 1 to 4"),
        "{reason}"
    );
    // Others may join and bring what is missing.
    assert_eq!(planned(&server.say(1, &ClientMessage::Start)), None);
    server
        .enter(2, room, Role::Participant)
        .expect("there is place");
    assert!(planned(&server.say(1, &ClientMessage::Start)).is_some());
}
