//! What a room does with the reports of its members.

mod common;

use ringtmp_core::ids::{Epoch, MemberToken, PeerId, RoomCode};
use ringtmp_core::room::Room;
use ringtmp_core::signal::*;
use ringtmp_core::time::Time;
use ringtmp_core::trace::{Report, Shares};
use std::time::Duration;

const WATCHER: PeerId = PeerId(1);
const HEAD: PeerId = PeerId(2);
const TAIL: PeerId = PeerId(3);
const NOW: Time = Time::from_micros(1_000_000);

/// A room that trains, and what it has said so far left out.
fn room() -> Room {
    let mut room = Room::new(
        RoomCode::from_random([1; 10]),
        common::run(2),
        0,
        Time::ZERO,
    );
    for (peer, role) in [
        (WATCHER, Role::Spectator),
        (HEAD, Role::Participant),
        (TAIL, Role::Participant),
    ] {
        let device = Device {
            kind: DeviceKind::Native,
            name: "a device".to_owned(),
            executor: ExecutorKind::Cpu,
            adapter: String::new(),
            memory_bytes: None,
            form: None,
        };
        room.join(Time::ZERO, peer, MemberToken(0), role, device, true);
    }
    said(&mut room);
    room
}

fn said(room: &mut Room) -> Vec<(PeerId, ServerMessage)> {
    std::iter::from_fn(|| room.poll_output()).collect()
}

fn report(shares: Shares) -> ClientMessage {
    ClientMessage::Report {
        epoch: Epoch {
            number: 1,
            incarnation: 0,
        },
        links: Vec::new(),
        report: Box::new(Report {
            shares,
            run: shares,
            run_seconds: 1.0,
            ..Report::default()
        }),
    }
}

#[test]
fn a_room_says_what_time_it_is() {
    let mut room = room();
    let asked = Time::from_micros(7);
    room.message(NOW, HEAD, ClientMessage::Clock { asked });
    let answer = ServerMessage::Clock { asked, now: NOW };
    assert_eq!(said(&mut room), [(HEAD, answer)]);
}

#[test]
fn all_members_see_the_reports_of_stages_that_can_be_believed_and_they_go_with_the_plan() {
    let mut room = room();
    let half = Shares {
        busy: 0.5,
        forward: 0.5,
        input: 0.5,
        ..Shares::default()
    };
    let lie = Shares { busy: 7.0, ..half };
    room.message(NOW, HEAD, report(half));
    room.message(NOW, TAIL, report(lie));
    room.message(NOW, WATCHER, report(half));
    assert_eq!(said(&mut room), [], "shown together, a little later");
    let due = room.poll_timeout().expect("something is due");
    assert!(due.since(NOW) < Duration::from_secs(1));
    room.tick(due);
    let reports = |message: &ServerMessage| match message {
        ServerMessage::Room { room } => {
            let members = room.members.iter();
            let shares = members.map(|member| Some(member.report.as_ref()?.shares));
            shares.collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    let shown: Vec<_> = said(&mut room)
        .iter()
        .map(|(_, said)| reports(said))
        .collect();
    assert_eq!(shown, vec![vec![None, Some(half), None]; 3]);

    room.message(NOW, HEAD, ClientMessage::Stop);
    room.message(NOW, HEAD, ClientMessage::Start);
    assert!(
        room.view()
            .members
            .iter()
            .all(|member| member.report.is_none())
    );
}
