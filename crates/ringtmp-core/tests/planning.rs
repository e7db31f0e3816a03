//! What a room plans with: what its members measure, pledge and report.

mod common;

use common::{Server, join, run};
use ringtmp_core::ids::{PeerId, RoomCode};
use ringtmp_core::lobby::{Limits, LobbyInput, LobbyOutput};
use ringtmp_core::plan::Plan;
use ringtmp_core::profile::{LinkProfile, Planning, Profile};
use ringtmp_core::room::PROFILE_WAIT_MAX;
use ringtmp_core::signal::*;
use ringtmp_core::trace::{Report, Shares, TaskSeconds};

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
        } => Some(&**room),
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
    // But what a step takes at least is told with it: some bytes over the new first link take long.
    let bound = |plan: &Plan| plan.step_seconds.expect("it was measured");
    let now = view(&told[2]).and_then(RoomView::ring).expect("a ring");
    assert!(bound(now) > 0.2, "{}", bound(now));
    assert!(bound(&second) < 0.1, "{}", bound(&second));
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
    // What it measures anew counts by itself.
    server.say(1, &ClientMessage::Stop);
    server.say(2, &profile(1e-3));
    let output = server.say(1, &ClientMessage::Start);
    let next = planned(&output).expect("all have measured before");
    assert_eq!(next.cuts, [0, 2, 4]);
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
