//! A device that has only a room's short code asks the host, through a server that may stand between.

mod common;

use common::{Server, device, join, returns, run};
use ringtmp_core::ids::{MemberToken, PeerId, RoomCode, ShortCode};
use ringtmp_core::lobby::{ConnectionId, Limits, LobbyInput, LobbyOutput};
use ringtmp_core::secret::pairing::{Asker, Host, Opening, PairingError};
use ringtmp_core::secret::{Hex, RoomLink, RoomSecret};
use ringtmp_core::signal::*;
use std::time::Duration;

fn room() -> RoomCode {
    RoomCode::from_random([1; 10])
}

fn secret() -> RoomSecret {
    RoomSecret::from_random([7; 16])
}

fn asker(byte: u8) -> Asker {
    Asker::new([byte; 32], [byte ^ 0xff; 32])
}

#[test]
fn both_see_the_same_digits_and_the_asker_gets_the_link() {
    let mut asker = asker(1);
    let mut host = Host::new(asker.commitment(), [2; 32]);
    let (opening, shown) = asker.meet(host.key()).expect("a key");
    assert_eq!(host.let_in(room(), secret()), None, "nothing was compared");
    assert_eq!(host.reveal(&opening), Ok(shown));
    assert_eq!(shown.to_string().len(), 7);
    let sealed = host.let_in(room(), secret()).expect("the digits are known");
    let link = RoomLink {
        room: room(),
        secret: Some(secret()),
    };
    assert_eq!(asker.open(sealed), Ok(link));
    let mut spoilt = sealed;
    spoilt.0[3] ^= 1;
    assert_eq!(asker.open(spoilt), Err(PairingError::Sealed));
}

#[test]
fn a_server_between_them_has_other_digits_on_either_side_and_cannot_read_the_link() {
    // To the host it is an asker, to the asker a host. One try in a million would succeed: this one does not.
    let (mut real, mut false_asker) = (asker(1), asker(3));
    let mut false_host = Host::new(real.commitment(), [4; 32]);
    let mut host = Host::new(false_asker.commitment(), [2; 32]);
    let (opening, shown_to_asker) = real.meet(false_host.key()).expect("a key");
    false_host.reveal(&opening).expect("it was committed to");
    let (false_opening, _) = false_asker.meet(host.key()).expect("a key");
    let shown_to_host = host.reveal(&false_opening).expect("it was committed to");
    assert_ne!(shown_to_asker, shown_to_host);
    // What the host seals for the one it compared with is not for the asker.
    let sealed = host.let_in(room(), secret()).expect("the digits are known");
    assert_eq!(real.open(sealed), Err(PairingError::Sealed));
}

#[test]
fn a_server_that_sees_both_keys_cannot_choose_another_commitment_or_try_twice() {
    let mut real = asker(1);
    let mut host = Host::new(real.commitment(), [2; 32]);
    let (opening, _) = real.meet(host.key()).expect("a key");
    let mut other = asker(3);
    let (changed, _) = other.meet(host.key()).expect("a key");
    assert_eq!(host.reveal(&changed), Err(PairingError::Changed));
    let nonce = Hex([0; 32]);
    let other_nonce = Opening { nonce, ..opening };
    assert_eq!(host.reveal(&other_nonce), Err(PairingError::Changed));
    host.reveal(&opening).expect("it was committed to");
    assert_eq!(host.reveal(&opening), Err(PairingError::Early));
    assert_eq!(real.meet(Hex([5; 32])), Err(PairingError::Early));
    let low_order = asker(6).meet(Hex([0; 32]));
    assert_eq!(low_order, Err(PairingError::Key));
    assert_eq!(asker(6).open(Hex([0; 48])), Err(PairingError::Early));
}

#[test]
fn short_codes_have_no_letter_that_is_taken_for_another() {
    for byte in 0..=255 {
        let short = ShortCode::of(RoomCode::from_random([byte; 10]));
        let text = short.to_string();
        assert!(text.chars().all(|c| !"ILOU01".contains(c)), "{text}");
        let typed = format!(" {} {} ", text[..3].to_lowercase(), &text[3..]);
        assert_eq!(typed.parse(), Ok(short));
    }
    for text in ["", "ABC23", "ABC2345", "ABC0EF", "ÄBCDEF"] {
        assert!(text.parse::<ShortCode>().is_err(), "{text}");
    }
}

const HOST: u64 = 1;
const GUEST: u64 = 2;

/// A room with a secret, whose host is in it.
fn hosted(secret: Option<RoomSecret>) -> (Server, RoomCode) {
    let mut server = Server::new(Limits::default());
    let run = RunDescriptor {
        verifier: secret.map(|secret| secret.verifier()),
        ..run(0)
    };
    let room = server.create(HOST, run).expect("a room");
    enters(&mut server, HOST, room, secret);
    (server, room)
}

fn enters(
    server: &mut Server,
    connection: u64,
    room: RoomCode,
    secret: Option<RoomSecret>,
) -> Vec<LobbyOutput> {
    let mut says = join(room, Role::Participant);
    if let (Some(secret), ClientMessage::Join { proof, .. }) = (secret, &mut says) {
        let asked = server.say(connection, &ClientMessage::Knock);
        let [
            LobbyOutput::Send {
                message: ServerMessage::Question { question },
                ..
            },
        ] = asked[..]
        else {
            panic!("{asked:?}");
        };
        *proof = Some(secret.answer(question, room, Role::Participant));
    }
    let entered = server.say(connection, &says);
    assert_eq!(Server::refusal(&entered), None);
    entered
}

fn ask(server: &mut Server, connection: u64, code: ShortCode, asker: &Asker) -> Vec<LobbyOutput> {
    server.connect(connection);
    let ask = Asking::Ask {
        protocol: PROTOCOL_VERSION,
        code,
        device: device(),
        commitment: asker.commitment(),
    };
    server.say(connection, &ClientMessage::Asking(ask))
}

/// The one thing that the server says, and to whom.
fn only(output: &[LobbyOutput]) -> (u64, &Asked) {
    match output {
        [
            LobbyOutput::Send {
                connection,
                message: ServerMessage::Asked(asked),
            },
        ] => (connection.0, asked),
        other => panic!("one thing is passed on, not {other:?}"),
    }
}

fn asks(output: &[LobbyOutput]) -> PeerId {
    match only(output) {
        (HOST, Asked::Asks { asker, device, .. }) => {
            assert_eq!(
                device.name, "a  phone",
                "control characters are not passed on"
            );
            *asker
        }
        other => panic!("the host is asked, not {other:?}"),
    }
}

#[test]
fn the_server_passes_on_what_host_and_asker_say_and_the_asker_then_joins() {
    let (mut server, room) = hosted(Some(secret()));
    let mut guest = asker(1);
    let id = asks(&ask(&mut server, GUEST, ShortCode::of(room), &guest));
    let mut host = Host::new(guest.commitment(), [2; 32]);
    let meet = Asking::Meet {
        asker: id,
        key: host.key(),
    };
    let output = server.say(HOST, &ClientMessage::Asking(meet));
    let (GUEST, Asked::Meets { key }) = only(&output) else {
        panic!("{output:?}");
    };
    let (opening, digits) = guest.meet(*key).expect("a key");
    let reveal = ClientMessage::Asking(Asking::Reveal { opening });
    let output = server.say(GUEST, &reveal);
    let (HOST, Asked::Reveals { opening, .. }) = only(&output) else {
        panic!("{output:?}");
    };
    assert_eq!(host.reveal(opening), Ok(digits));
    let decide = Asking::Decide {
        asker: id,
        link: host.let_in(room, secret()),
    };
    let output = server.say(HOST, &ClientMessage::Asking(decide));
    let (GUEST, Asked::Decided { link: Some(link) }) = only(&output) else {
        panic!("{output:?}");
    };
    let link = guest.open(*link).expect("it was sealed for it");
    assert_eq!(link.room, room);
    // Decided is decided: it asks no more.
    assert_eq!(server.say(GUEST, &reveal), []);
    let asked = server.say(GUEST, &ClientMessage::Knock);
    assert!(matches!(
        asked[..],
        [LobbyOutput::Send {
            message: ServerMessage::Question { .. },
            ..
        }]
    ));
}

#[test]
fn nobody_but_the_host_is_asked_or_answers() {
    let (mut server, room) = hosted(Some(secret()));
    let (watcher, _) = server
        .enter(3, room, Role::Spectator)
        .expect("it may watch");
    let id = asks(&ask(&mut server, GUEST, ShortCode::of(room), &asker(1)));
    for says in [
        Asking::Meet {
            asker: id,
            key: Hex([1; 32]),
        },
        Asking::Decide {
            asker: id,
            link: None,
        },
    ] {
        let says = ClientMessage::Asking(says);
        assert_eq!(server.say(3, &says), [], "{watcher} is not the host");
    }
    // Who goes is no longer asked about.
    let output = server.input(LobbyInput::Disconnected {
        connection: ConnectionId(GUEST),
    });
    assert_eq!(only(&output), (HOST, &Asked::Gone { asker: id }));
}

#[test]
fn who_asks_may_wait_for_the_host_as_long_as_there_is_a_room() {
    let (mut server, room) = hosted(Some(secret()));
    asks(&ask(&mut server, GUEST, ShortCode::of(room), &asker(1)));
    let limits = Limits::default();
    server.now = server.now + 2 * limits.roomless_max.expect("a limit");
    assert_eq!(server.input(LobbyInput::Tick), [], "it is not cut");
    server.say(HOST, &ClientMessage::Leave);
    server.now = server.now + limits.room_idle;
    let output = server.input(LobbyInput::Tick);
    let told = output.iter().any(|output| {
        matches!(
            output,
            LobbyOutput::Send {
                connection: ConnectionId(GUEST),
                message: ServerMessage::Asked(Asked::Decided { link: None }),
            }
        )
    });
    assert!(told, "{output:?}");
    // From then on it is a connection like any other that is in no room.
    server.now = server.now + limits.roomless_max.expect("a limit");
    let output = server.input(LobbyInput::Tick);
    let closed = LobbyOutput::Close {
        connection: ConnectionId(GUEST),
    };
    assert!(output.contains(&closed), "{output:?}");
}

/// Somebody asks for longer than a device asks by itself, and holds a place that others want.
#[test]
fn nobody_asks_for_ever() {
    let (mut server, room) = hosted(Some(secret()));
    let id = asks(&ask(&mut server, GUEST, ShortCode::of(room), &asker(1)));
    let reveal = Asking::Reveal {
        opening: opening(&mut asker(1)),
    };
    // Whatever else it says meanwhile.
    server.now = server.now + Duration::from_secs(200);
    server.say(GUEST, &ClientMessage::Asking(reveal));
    server.now = server.now + Duration::from_secs(200);
    let output = server.input(LobbyInput::Tick);
    let told = output.iter().map(|output| match output {
        LobbyOutput::Send {
            connection,
            message: ServerMessage::Asked(asked),
        } => (connection.0, asked.clone()),
        other => panic!("{other:?}"),
    });
    let gone = (HOST, Asked::Gone { asker: id });
    let denied = (GUEST, Asked::Decided { link: None });
    assert_eq!(Vec::from_iter(told), [gone, denied]);
}

fn opening(asker: &mut Asker) -> Opening {
    let host = Host::new(asker.commitment(), [2; 32]);
    asker.meet(host.key()).expect("a key").0
}

#[test]
fn a_host_is_asked_no_more_often_than_it_may_answer_however_many_ask_and_go() {
    let (mut server, room) = hosted(Some(secret()));
    let code = ShortCode::of(room);
    let mut asked = 0;
    let mut come_and_go = |server: &mut Server, connection| {
        let output = ask(server, connection, code, &asker(1));
        let refusal = Server::refusal(&output).cloned();
        if refusal.is_none() {
            asked += 1;
            let output = server.input(LobbyInput::Disconnected {
                connection: ConnectionId(connection),
            });
            assert!(matches!(only(&output), (HOST, Asked::Gone { .. })));
        }
        refusal
    };
    for connection in 10..200 {
        let refusal = come_and_go(&mut server, connection);
        let expected = (connection >= 26).then_some(Refusal::TooManyAsk);
        assert_eq!(refusal, expected, "{connection}");
    }
    server.now = server.now + Duration::from_secs(1);
    assert_eq!(come_and_go(&mut server, 200), None);
    assert_eq!(asked, 17);
}

/// Its page was loaded again: it knows nothing of those who asked before.
#[test]
fn who_asked_a_host_that_comes_anew_is_told_to_ask_again() {
    let mut server = Server::new(Limits::default());
    let run = RunDescriptor {
        verifier: Some(secret().verifier()),
        ..run(0)
    };
    let room = server.create(HOST, run).expect("a room");
    let entered = enters(&mut server, HOST, room, Some(secret()));
    let token = entered.iter().find_map(|output| match output {
        LobbyOutput::Send {
            message: ServerMessage::Host { token },
            ..
        } => Some(*token),
        _ => None,
    });
    let token = token.expect("who opened the room is told");
    asks(&ask(&mut server, GUEST, ShortCode::of(room), &asker(1)));
    server.connect(9);
    enters(&mut server, 9, room, Some(secret()));
    let output = server.say(9, &ClientMessage::Claim { token });
    let denied = output.iter().any(|output| {
        matches!(
            output,
            LobbyOutput::Send {
                connection: ConnectionId(GUEST),
                message: ServerMessage::Asked(Asked::Decided { link: None }),
            }
        )
    });
    assert!(denied, "{output:?}");
    let output = ask(&mut server, 8, ShortCode::of(room), &asker(1));
    assert!(matches!(only(&output), (9, Asked::Asks { .. })));
}

/// Two codes of rooms with the same short code: anybody may look for such ones.
const ALIKE: [u32; 2] = [1864, 4942];

#[test]
fn who_brings_a_room_with_the_short_code_of_another_is_not_found_by_it() {
    let room = |number: u32| {
        let [a, b, c, d] = number.to_be_bytes();
        RoomCode::from_random([0, 0, 0, 0, 0, 0, a, b, c, d])
    };
    let alike = ALIKE.map(room);
    let short = ShortCode::of(alike[0]);
    assert_eq!(ShortCode::of(alike[1]), short);
    for [first, second] in [alike, [alike[1], alike[0]]] {
        let mut server = Server::restarted(7);
        for (connection, room) in [(20, first), (21, second)] {
            let output = returns(&mut server, connection, back(room));
            assert_eq!(Server::refusal(&output), None);
        }
        let output = ask(&mut server, GUEST, short, &asker(1));
        assert_eq!(only(&output), (GUEST, &Asked::Open { room: first }));
    }
}

fn back(room: RoomCode) -> Returning {
    Returning {
        protocol: PROTOCOL_VERSION,
        room,
        peer: PeerId(1),
        token: MemberToken(2),
        proof: None,
        role: Role::Participant,
        device: device(),
        has_data: true,
        run: run(2),
        standing: Standing {
            state: RoomState::Waiting,
            plan: None,
            phase: Phase::Idle,
            stable: None,
            points: Vec::new(),
        },
    }
}

#[test]
fn who_cannot_be_helped_is_told_why() {
    let (mut server, room) = hosted(Some(secret()));
    let code = ShortCode::of(room);
    for at in 0..ASKERS_MAX as u64 {
        asks(&ask(&mut server, 10 + at, code, &asker(at as u8)));
    }
    let output = ask(&mut server, 30, code, &asker(1));
    assert_eq!(Server::refusal(&output), Some(&Refusal::TooManyAsk));
    let nowhere = ShortCode::of(RoomCode::from_random([9; 10]));
    let output = ask(&mut server, 31, nowhere, &asker(1));
    let refusal = Refusal::NoSuchCode { code: nowhere };
    assert_eq!(Server::refusal(&output), Some(&refusal));
    server.say(HOST, &ClientMessage::Leave);
    let output = ask(&mut server, 32, code, &asker(1));
    assert_eq!(Server::refusal(&output), Some(&Refusal::NobodyToAsk));
    let (mut server, room) = hosted(None);
    let output = ask(&mut server, GUEST, ShortCode::of(room), &asker(1));
    assert_eq!(only(&output), (GUEST, &Asked::Open { room }));
}
