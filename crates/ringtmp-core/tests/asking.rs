//! A device that has only a room's short code asks the host, through a server that may stand between.

mod common;

use common::{Server, device, join, run};
use ringtmp_core::ids::{PeerId, RoomCode, ShortCode};
use ringtmp_core::lobby::{ConnectionId, Limits, LobbyInput, LobbyOutput};
use ringtmp_core::secret::pairing::{Asker, Host, Opening, PairingError};
use ringtmp_core::secret::{Hex, RoomLink, RoomSecret};
use ringtmp_core::signal::*;

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
    let mut says = join(room, Role::Participant);
    if let (Some(secret), ClientMessage::Join { proof, .. }) = (secret, &mut says) {
        let asked = server.say(HOST, &ClientMessage::Knock);
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
    let entered = server.say(HOST, &says);
    assert_eq!(Server::refusal(&entered), None);
    (server, room)
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
