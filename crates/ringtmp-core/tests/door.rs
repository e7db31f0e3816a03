//! Who knows a room's secret may take part, and others may watch: as an honest server sees to.

mod common;

use common::{Server, device, join, run};
use ringtmp_core::ids::{PeerId, RoomCode};
use ringtmp_core::lobby::{ConnectionId, Limits, LobbyOutput};
use ringtmp_core::secret::{DoorProof, DoorQuestion, Hex, RoomSecret, Verifier};
use ringtmp_core::signal::*;

const HOST: u64 = 1;
const GUEST: u64 = 2;

fn secret(byte: u8) -> RoomSecret {
    RoomSecret::from_random([byte; 16])
}

/// A room with the first secret, which waits for somebody to start it.
fn locked() -> (Server, RoomCode) {
    let mut server = Server::new(Limits::default());
    let room = server.create(HOST, run_with(&secret(1))).expect("a room");
    (server, room)
}

fn run_with(secret: &RoomSecret) -> RunDescriptor {
    RunDescriptor {
        verifier: Some(secret.verifier()),
        ..run(0)
    }
}

fn knock(server: &mut Server, connection: u64) -> DoorQuestion {
    match &server.say(connection, &ClientMessage::Knock)[..] {
        [
            LobbyOutput::Send {
                connection: ConnectionId(to),
                message: ServerMessage::Question { question },
            },
        ] if *to == connection => *question,
        other => panic!("it is asked something, not {other:?}"),
    }
}

fn join_with(room: RoomCode, role: Role, shown: Option<DoorProof>) -> ClientMessage {
    let mut join = join(room, role);
    if let ClientMessage::Join { proof, .. } = &mut join {
        *proof = shown;
    }
    join
}

/// Knocks with a secret, and joins with what answers the question.
fn enter(
    server: &mut Server,
    connection: u64,
    room: RoomCode,
    role: Role,
    secret: &RoomSecret,
) -> Vec<LobbyOutput> {
    let question = knock(server, connection);
    let proof = Some(secret.answer(question, room, role));
    server.say(connection, &join_with(room, role, proof))
}

fn id(output: &[LobbyOutput]) -> Option<PeerId> {
    output.iter().find_map(|output| match output {
        LobbyOutput::Send {
            message: ServerMessage::Welcome { peer, .. },
            ..
        } => Some(*peer),
        _ => None,
    })
}

fn is_closed(output: &[LobbyOutput], connection: u64) -> bool {
    let closed = LobbyOutput::Close {
        connection: ConnectionId(connection),
    };
    output.contains(&closed)
}

#[test]
fn who_shows_the_secret_takes_part_and_who_does_not_may_watch() {
    let (mut server, room) = locked();
    let host = enter(&mut server, HOST, room, Role::Participant, &secret(1));
    assert!(id(&host).is_some(), "{host:?}");

    server.connect(GUEST);
    let bare = server.say(GUEST, &join(room, Role::Participant));
    let missing = Refusal::SecretMissing { room };
    assert_eq!(Server::refusal(&bare), Some(&missing));
    assert!(is_closed(&bare, GUEST));

    let (_, view) = server
        .enter(3, room, Role::Spectator)
        .expect("it may watch");
    assert_eq!(view.members.len(), 2);
}

#[test]
fn what_is_not_the_answer_to_this_question_lets_nobody_in() {
    let (mut server, room) = locked();
    let role = Role::Participant;
    let wrong = Refusal::SecretWrong { room };
    let mut connection = 10;
    let mut refused = |server: &mut Server, of: fn(DoorQuestion, RoomCode) -> DoorProof| {
        connection += 1;
        server.connect(connection);
        let question = knock(server, connection);
        let says = join_with(room, role, Some(of(question, room)));
        let output = server.say(connection, &says);
        assert_eq!(Server::refusal(&output), Some(&wrong));
        assert!(is_closed(&output, connection));
    };
    refused(&mut server, |question, room| {
        secret(2).answer(question, room, Role::Participant)
    });
    refused(&mut server, |question, room| {
        secret(1).answer(question, room, Role::Spectator)
    });
    refused(&mut server, |_, room| {
        secret(1).answer(Hex([0; 16]), room, Role::Participant)
    });
    refused(&mut server, |question, _| {
        let other = RoomCode::from_random([9; 10]);
        secret(1).answer(question, other, Role::Participant)
    });
}

#[test]
fn a_question_is_answered_once_and_by_whom_it_was_put_to() {
    let (mut server, room) = locked();
    let role = Role::Participant;
    let question = knock(&mut server, HOST);
    let proof = Some(secret(1).answer(question, room, role));
    // Somebody else shows what the host has answered.
    server.connect(GUEST);
    let stolen = server.say(GUEST, &join_with(room, role, proof));
    let missing = Refusal::SecretMissing { room };
    assert_eq!(Server::refusal(&stolen), Some(&missing));
    // Also where it was asked something itself.
    server.connect(3);
    knock(&mut server, 3);
    let stolen = server.say(3, &join_with(room, role, proof));
    let wrong = Refusal::SecretWrong { room };
    assert_eq!(Server::refusal(&stolen), Some(&wrong));
    // A newer question makes the older one void.
    knock(&mut server, HOST);
    let late = server.say(HOST, &join_with(room, role, proof));
    assert_eq!(Server::refusal(&late), Some(&wrong));
}

#[test]
fn a_room_that_is_open_lets_everybody_in() {
    let mut server = Server::new(Limits::default());
    let room = server.create(HOST, run(0)).expect("a room");
    assert!(server.enter(GUEST, room, Role::Participant).is_ok());
}

#[test]
fn a_room_whose_key_is_none_is_not_opened() {
    let mut neutral = String::from("01");
    neutral.push_str(&"00".repeat(31));
    let verifier: Verifier = serde_json::from_str(&format!("{neutral:?}")).expect("32 bytes");
    let run = RunDescriptor {
        verifier: Some(verifier),
        ..run(0)
    };
    let said = Server::new(Limits::default()).create(HOST, run);
    assert!(matches!(said, Err(Refusal::BadRun { .. })), "{said:?}");
}

#[test]
fn who_watches_without_the_secret_neither_governs_nor_reaches_a_member() {
    let (mut server, room) = locked();
    let member = enter(&mut server, HOST, room, Role::Participant, &secret(1));
    let member = id(&member).expect("let in");
    let (watcher, _) = server
        .enter(GUEST, room, Role::Spectator)
        .expect("it may watch");
    // The host goes, so that everybody else may govern.
    server.say(HOST, &ClientMessage::Leave);
    server.connect(3);
    let member_now = enter(&mut server, 3, room, Role::Participant, &secret(1));
    let member_now = id(&member_now).expect("let in");
    assert_ne!(member, member_now);
    for governing in [
        ClientMessage::Start,
        ClientMessage::Stop,
        ClientMessage::Kick { peer: member_now },
        ClientMessage::Rename {
            peer: member_now,
            name: "x".to_owned(),
        },
    ] {
        let output = server.say(GUEST, &governing);
        let [LobbyOutput::Send { .. }] = &output[..] else {
            panic!("nobody else hears of it: {output:?}");
        };
        assert_eq!(Server::refusal(&output), Some(&Refusal::OnlyWatches));
    }
    for (from, to) in [(GUEST, member_now), (3, watcher)] {
        let signal = Signal::offer(Default::default(), "v=0".to_owned());
        let says = ClientMessage::Signal { to, signal };
        assert_eq!(server.say(from, &says), [], "nothing is passed on");
    }
    let offer = ClientMessage::Offer {
        keeps: true,
        kept: Vec::new(),
    };
    assert_eq!(server.say(GUEST, &offer), []);
    // Its own name is its own.
    let own = ClientMessage::Rename {
        peer: watcher,
        name: "hall".to_owned(),
    };
    assert!(!server.say(GUEST, &own).is_empty());
}

#[test]
fn who_watches_and_knows_the_secret_may_govern() {
    let (mut server, room) = locked();
    let watcher = enter(&mut server, HOST, room, Role::Spectator, &secret(1));
    assert!(id(&watcher).is_some());
    server.connect(GUEST);
    enter(&mut server, GUEST, room, Role::Participant, &secret(1));
    let output = server.say(HOST, &ClientMessage::Start);
    assert_eq!(Server::refusal(&output), None, "{output:?}");
    assert!(Server::states(&output).contains(&RoomState::WarmingUp));
}

fn returning(room: RoomCode, run: RunDescriptor, proof: Option<DoorProof>) -> ClientMessage {
    let standing = Standing {
        state: RoomState::Waiting,
        plan: None,
        phase: Phase::Idle,
        stable: None,
        points: Vec::new(),
    };
    ClientMessage::Return(Box::new(Returning {
        protocol: PROTOCOL_VERSION,
        room,
        peer: PeerId(77),
        token: serde_json::from_str("\"0000000000000001\"").expect("a token"),
        proof,
        role: Role::Participant,
        device: device(),
        has_data: true,
        run,
        standing,
    }))
}

#[test]
fn a_server_that_was_restarted_asks_those_who_return() {
    let room = RoomCode::from_random([5; 10]);
    let mut server = Server::restarted(2);
    let role = Role::Participant;
    server.connect(HOST);
    let bare = server.say(HOST, &returning(room, run_with(&secret(1)), None));
    let missing = Refusal::SecretMissing { room };
    assert_eq!(Server::refusal(&bare), Some(&missing));

    server.connect(GUEST);
    let question = knock(&mut server, GUEST);
    let proof = Some(secret(1).answer(question, room, role));
    let output = server.say(GUEST, &returning(room, run_with(&secret(1)), proof));
    assert!(id(&output).is_some(), "{output:?}");
    // The room is there again, and has its secret still.
    server.connect(3);
    let bare = server.say(3, &join(room, role));
    assert_eq!(Server::refusal(&bare), Some(&missing));
}
