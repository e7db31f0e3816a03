//! Who opened a room may govern it, and nobody else while they are there.

mod common;

use common::{Server, join, run};
use ringtmp_core::ids::{Epoch, MemberToken, PeerId, RoomCode};
use ringtmp_core::lobby::{ConnectionId, Limits, LobbyOutput};
use ringtmp_core::signal::*;

const HOST: u64 = 1;
const GUEST: u64 = 2;
const OTHER: u64 = 3;

/// A room that connection 1 has opened and entered, with two guests.
struct Hosted {
    server: Server,
    room: RoomCode,
    token: MemberToken,
    host: PeerId,
    guest: PeerId,
}

fn sent(output: &[LobbyOutput], to: u64) -> Vec<&ServerMessage> {
    let message = |output| match output {
        &LobbyOutput::Send {
            connection: ConnectionId(connection),
            ref message,
        } if connection == to => Some(message),
        _ => None,
    };
    output.iter().filter_map(message).collect()
}

fn told(output: &[LobbyOutput], to: u64) -> Option<MemberToken> {
    sent(output, to).iter().find_map(|message| match message {
        ServerMessage::Host { token } => Some(*token),
        _ => None,
    })
}

fn last_view(output: &[LobbyOutput], to: u64) -> RoomView {
    let views = sent(output, to).into_iter().rev();
    let mut views = views.filter_map(|message| match message {
        ServerMessage::Room { room } => Some((**room).clone()),
        _ => None,
    });
    views.next().expect("the room has changed")
}

fn hosted(start_at_peers: u16) -> Hosted {
    let mut server = Server::new(Limits::default());
    let room = server.create(HOST, run(start_at_peers)).expect("a room");
    let output = server.say(HOST, &join(room, Role::Participant));
    let token = told(&output, HOST).expect("who opened it is told");
    let host = last_view(&output, HOST).host.expect("there is one");
    let (guest, view) = server
        .enter(GUEST, room, Role::Participant)
        .expect("let in");
    assert_eq!(view.host, Some(host), "everybody sees who it is");
    assert_ne!(host, guest);
    Hosted {
        server,
        room,
        token,
        host,
        guest,
    }
}

const GOVERNING: [ClientMessage; 4] = [
    ClientMessage::Start,
    ClientMessage::Pause,
    ClientMessage::Resume,
    ClientMessage::Stop,
];

#[test]
fn a_guest_is_refused_by_name_what_only_the_host_may() {
    let mut hosted = hosted(2);
    let Hosted { host, guest, .. } = hosted;
    let kick = ClientMessage::Kick { peer: host };
    let name = "hers".to_owned();
    let rename = ClientMessage::Rename { peer: host, name };
    let token = MemberToken(hosted.token.0 ^ 1);
    let claim = ClientMessage::Claim { token };
    for message in GOVERNING.into_iter().chain([kick, rename, claim]) {
        let output = hosted.server.say(GUEST, &message);
        let refusal = Server::refusal(&output);
        let host = "a  phone".to_owned();
        assert_eq!(refusal, Some(&Refusal::OnlyHost { host }), "{message:?}");
        assert_eq!(output.len(), 1, "{message:?} changes nothing");
    }
    let output = hosted.server.say(HOST, &ClientMessage::Stop);
    assert_eq!(Server::refusal(&output), None);
    let view = last_view(&output, GUEST);
    assert!(matches!(view.state, RoomState::Stopped { .. }));
    assert_eq!(view.members.len(), 2);
    assert!(view.members.iter().any(|member| member.peer == guest));
}

#[test]
fn a_device_that_is_sent_away_is_told_by_whom_and_is_no_member_any_more() {
    let mut hosted = hosted(0);
    let kick = ClientMessage::Kick { peer: hosted.guest };
    let output = hosted.server.say(HOST, &kick);
    let by = "a  phone".to_owned();
    assert_eq!(sent(&output, GUEST), [&ServerMessage::Kicked { by }]);
    let view = last_view(&output, HOST);
    assert_eq!(view.members.len(), 1);
    assert_eq!(hosted.server.say(GUEST, &ClientMessage::Start), []);
    let itself = ClientMessage::Kick { peer: hosted.host };
    assert_eq!(hosted.server.say(HOST, &itself), []);
}

#[test]
fn without_the_host_everybody_may_end_the_run_but_send_nobody_away_and_the_token_brings_it_back() {
    let mut hosted = hosted(0);
    hosted
        .server
        .enter(OTHER, hosted.room, Role::Spectator)
        .expect("let in");
    hosted.server.say(HOST, &ClientMessage::Leave);
    let kick = ClientMessage::Kick { peer: hosted.guest };
    let output = hosted.server.say(OTHER, &kick);
    assert_eq!(Server::refusal(&output), Some(&Refusal::NoHost));
    let output = hosted.server.say(OTHER, &ClientMessage::Start);
    assert_eq!(Server::refusal(&output), None);
    // As after a reload: over another socket, as another member.
    let (again, view) = hosted
        .server
        .enter(9, hosted.room, Role::Participant)
        .expect("let in");
    assert_eq!(view.host, None);
    let claim = ClientMessage::Claim {
        token: hosted.token,
    };
    let output = hosted.server.say(9, &claim);
    assert_eq!(told(&output, 9), Some(hosted.token));
    assert_eq!(last_view(&output, OTHER).host, Some(again));
    let output = hosted.server.say(OTHER, &ClientMessage::Stop);
    assert!(Server::refusal(&output).is_some());
    let output = hosted.server.say(9, &kick);
    assert_eq!(sent(&output, GUEST).len(), 1);
}

#[test]
fn devices_rename_themselves_and_the_host_renames_all() {
    let mut hosted = hosted(0);
    let peer = hosted.guest;
    let name = format!(" Ada\u{7}'s {}", "x".repeat(200));
    let output = hosted
        .server
        .say(GUEST, &ClientMessage::Rename { peer, name });
    let seen = |output: &[LobbyOutput]| last_view(output, HOST).members[1].device.name.clone();
    let clipped = seen(&output);
    assert!(clipped.starts_with("Ada's x"), "{clipped}");
    assert_eq!(clipped.chars().count(), Device::TEXT_CHARS_MAX);
    let name = "bench 3".to_owned();
    let output = hosted
        .server
        .say(HOST, &ClientMessage::Rename { peer, name });
    assert_eq!(seen(&output), "bench 3");
    let blank = " \u{1} ".to_owned();
    let output = hosted
        .server
        .say(HOST, &ClientMessage::Rename { peer, name: blank });
    assert_eq!(output, [], "a blank name is none");
}

#[test]
fn a_run_that_is_stopped_keeps_the_result_so_far() {
    let mut hosted = hosted(2);
    let epoch = Epoch {
        number: 1,
        incarnation: 0,
    };
    let ready = ClientMessage::Ready {
        epoch,
        links: Vec::new(),
    };
    hosted.server.say(HOST, &ready);
    let output = hosted.server.say(GUEST, &ready);
    let view = last_view(&output, HOST);
    assert_eq!(view.state, RoomState::Training);
    let tail = *view.ring().expect("a plan").order.last().expect("a tail");
    let tail = if tail == hosted.host { HOST } else { GUEST };
    let point = |step, loss, accuracy| Point {
        step,
        loss,
        accuracy,
    };
    let points = vec![
        point(0, Some(2.0), None),
        point(1, None, Some(0.25)),
        point(3, Some(1.5), None),
    ];
    hosted
        .server
        .say(tail, &ClientMessage::Progress { epoch, points });
    let output = hosted.server.say(HOST, &ClientMessage::Stop);
    let result = last_view(&output, GUEST).result.expect("what there is");
    assert_eq!((result.steps, result.loss_first), (4, Some(2.0)));
    assert_eq!(
        (result.loss_last, result.test_accuracy),
        (Some(1.5), Some(0.25))
    );
    assert_eq!(result.digests, [], "nobody has said that it is done");
}
