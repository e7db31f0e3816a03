//! The server's side: limits, refusals, rooms that come and go.

mod common;

use common::{Server, device, join, run};
use ringtmp_core::ids::{PeerId, RoomCode, StageIndex};
use ringtmp_core::lobby::{ConnectionId, Limits, LobbyInput, LobbyOutput};
use ringtmp_core::room::WARM_UP_MAX;
use ringtmp_core::schedule::DataSource;
use ringtmp_core::signal::*;
use std::time::Duration;

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
        proof: None,
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
    let signal = Signal::offer(Default::default(), "v=0".to_owned());
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
    let output = server.say(4, &ClientMessage::Leave);
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
fn one_visitor_opens_so_many_rooms_until_they_end() {
    let limits = Limits {
        rooms_per_visitor_max: 2,
        ..Limits::default()
    };
    let mut server = Server::new(limits);
    let create = |server: &mut Server, connection, visitor| {
        server.connect_as(connection, visitor);
        let protocol = PROTOCOL_VERSION;
        let output = server.say(
            connection,
            &ClientMessage::Create {
                protocol,
                run: run(0),
            },
        );
        Server::refusal(&output).cloned()
    };
    assert_eq!(create(&mut server, 1, 7), None);
    assert_eq!(create(&mut server, 2, 7), None);
    let refused = Some(Refusal::TooManyRooms { rooms_max: 2 });
    assert_eq!(create(&mut server, 3, 7), refused);
    assert_eq!(create(&mut server, 4, 8), None, "another's");
    server.now = server.now + limits.room_idle;
    server.input(LobbyInput::Tick);
    assert_eq!(create(&mut server, 5, 7), None, "empty ones have ended");
}

#[test]
fn a_connection_in_no_room_is_closed_after_a_while_whether_it_never_was_or_left() {
    let limits = Limits::default();
    let wait = limits.roomless_max.expect("a limit");
    let mut server = Server::new(limits);
    let room = server.create(1, run(0)).expect("a room");
    server.enter(2, room, Role::Participant).expect("let in");
    server.enter(3, room, Role::Participant).expect("let in");
    server.connect(4);
    let closed = |server: &mut Server| -> Vec<u64> {
        let output = server.input(LobbyInput::Tick);
        let closed = output.iter().filter_map(|output| match output {
            LobbyOutput::Close { connection } => Some(connection.0),
            LobbyOutput::Send { .. } => None,
        });
        closed.collect()
    };
    server.now = server.now + wait / 2;
    server.say(3, &ClientMessage::Leave);
    assert_eq!(closed(&mut server), [0; 0]);
    server.now = server.now + wait / 2;
    assert_eq!(server.lobby.poll_timeout(), Some(server.now));
    assert_eq!(closed(&mut server), [1, 4]);
    server.now = server.now + wait / 2;
    assert_eq!(closed(&mut server), [3]);
    server.now = server.now + wait;
    assert_eq!(closed(&mut server), [0; 0], "once, and members never");
}

#[test]
fn who_was_sent_away_is_in_no_room_and_the_room_without_it_ends() {
    let limits = Limits::default();
    let mut server = Server::new(limits);
    let room = server.create(1, run(0)).expect("a room");
    let output = server.say(1, &join(room, Role::Participant));
    let hosts = output.iter().any(|output| {
        let LobbyOutput::Send { message, .. } = output else {
            return false;
        };
        matches!(message, ServerMessage::Host { .. })
    });
    assert!(hosts, "who opened it is the host");
    let (peer, _) = server.enter(2, room, Role::Participant).expect("let in");
    server.say(1, &ClientMessage::Kick { peer });
    assert_eq!(server.lobby.statistics().members, 1);
    assert_eq!(
        server.say(2, &ClientMessage::Start),
        [],
        "what it had under way is not held against it"
    );
    server.say(1, &ClientMessage::Leave);
    server.now = server.now + limits.room_idle;
    server.input(LobbyInput::Tick);
    let left = server.lobby.statistics();
    assert_eq!((left.rooms, left.members), (0, 0));
}

#[test]
fn long_messages_and_comings_cost_more_than_short_ones() {
    let said_until_closed = |text: &str| {
        let mut server = Server::new(Limits::default());
        server.connect(1);
        let closed = (1..1000).find(|_| {
            let output = server.text(1, text);
            Server::refusal(&output) == Some(&Refusal::TooFast)
        });
        closed.expect("it is closed at last")
    };
    assert_eq!(said_until_closed("x"), 201);
    let longest = "x".repeat(SIGNAL_BYTES_MAX);
    assert_eq!(said_until_closed(&longest), 12, "3 MB at once, and not 52");
    let mut server = Server::new(Limits::default());
    let room = server.create(1, run(0)).expect("a room");
    server.connect(2);
    let closed = (1..1000).find(|_| {
        server.say(2, &ClientMessage::Leave);
        let output = server.say(2, &join(room, Role::Spectator));
        Server::refusal(&output) == Some(&Refusal::TooFast)
    });
    assert_eq!(closed, Some(17), "each coming is told to all");
}

#[test]
fn who_floods_a_room_silences_itself_and_not_the_others() {
    let limits = Limits {
        room_messages_burst: 100,
        room_messages_per_second: 10,
        roomless_max: None,
        ..Limits::default()
    };
    let mut server = Server::new(limits);
    let room = server.create(1, run(0)).expect("a room");
    let peers: Vec<PeerId> = (2..6)
        .map(|i| server.enter(i, room, Role::Participant).expect("let in").0)
        .collect();
    let rename = |name: &str| ClientMessage::Rename {
        peer: peers[0],
        name: name.to_owned(),
    };
    // Each is shown to four members.
    let said = (1..1000).find(|i| {
        let output = server.say(2, &rename(&format!("name {i}")));
        match Server::refusal(&output) {
            None => false,
            Some(Refusal::RoomTooFast) => true,
            Some(other) => panic!("{other}"),
        }
    });
    // It is refused once it has said more than half of what one may, since the room has had enough before.
    assert_eq!(said, Some(90));
    let signal = |to| ClientMessage::Signal {
        to,
        signal: Signal::Offer {
            proof: None,
            epoch: Default::default(),
            sdp: "v=0".to_owned(),
        },
    };
    assert_eq!(
        server.say(3, &signal(peers[2])).len(),
        1,
        "others are heard"
    );
    let late = server.enter(6, room, Role::Spectator).map(|_| ());
    assert_eq!(late, Err(Refusal::RoomTooFast), "and nobody more comes in");
    server.now = server.now + Duration::from_secs(60);
    let calm = server.say(2, &rename("calm"));
    assert_eq!(Server::refusal(&calm), None, "after a while it may again");
    server.enter(7, room, Role::Spectator).expect("let in");
}

#[test]
fn a_lecture_of_sixty_four_starts_within_its_rooms_budget() {
    let mut run = run(0);
    run.outline.planning = ringtmp_core::profile::Planning::Counted;
    let limits = Limits::default();
    let mut server = Server::new(limits);
    let room = server.create(1, run).expect("a room");
    let peers: Vec<PeerId> = (2..66)
        .map(|i| server.enter(i, room, Role::Participant).expect("let in").0)
        .collect();
    // All name themselves and connect to two others at once, each with 40 messages.
    for (i, peer) in (2..66).zip(&peers) {
        let name = "a phone".to_owned();
        let renamed = server.say(i, &ClientMessage::Rename { peer: *peer, name });
        assert_eq!(Server::refusal(&renamed), None);
        for _ in 0..40 {
            let signal = Signal::Offer {
                proof: None,
                epoch: Default::default(),
                sdp: "v=0".to_owned(),
            };
            let to = peers[0];
            let relayed = server.say(i, &ClientMessage::Signal { to, signal });
            assert_eq!(relayed.len(), 1, "{i}");
        }
    }
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
            proof: None,
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
