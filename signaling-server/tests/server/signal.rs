//! The signalling protocol over real sockets: what is relayed, what is refused, and who is cut.

use crate::common::{WAIT, config, create, join, open_room, start};
use futures::{SinkExt, StreamExt};
use ringtmp_core::ids::{Epoch, PeerId, RoomCode};
use ringtmp_core::lobby::Limits;
use ringtmp_core::signal::{
    ClientMessage, PROTOCOL_VERSION, Refusal, Role, SIGNAL_BYTES_MAX, ServerMessage, Signal,
};
use signaling_server::{Config, Server, ServerError};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

async fn enter(client: &mut crate::common::Client, room: RoomCode) -> PeerId {
    client.say(&join(room, Role::Participant)).await;
    client
        .hear_until(|message| match message {
            ServerMessage::Welcome { peer, .. } => Some(peer),
            _ => None,
        })
        .await
}

async fn refusal(client: &mut crate::common::Client) -> Refusal {
    client
        .hear_until(|message| match message {
            ServerMessage::Refused { refusal } => Some(refusal),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn two_members_meet_and_their_connection_messages_are_relayed() {
    let server = start(config());
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    let room = open_room(&mut first).await;
    let first_id = enter(&mut first, room).await;
    let second_id = enter(&mut second, room).await;
    let plan = |message| match message {
        ServerMessage::Prepare { plan } => Some(plan),
        _ => None,
    };
    let plan = first.hear_until(plan).await;
    assert_eq!(plan.order.len(), 2, "the room starts at two peers");
    let signal = Signal::Offer {
        epoch: plan.epoch,
        sdp: "v=0".to_owned(),
    };
    let to = second_id;
    first
        .say(&ClientMessage::Signal {
            to,
            signal: signal.clone(),
        })
        .await;
    let relayed = |message| match message {
        ServerMessage::Signal { from, signal } => Some((from, signal)),
        _ => None,
    };
    assert_eq!(second.hear_until(relayed).await, (first_id, signal));
    assert_eq!(server.metric("ringtmp_relayed_total").await, 1);
    assert_eq!(server.metric("ringtmp_rooms").await, 1);
    assert_eq!(server.metric("ringtmp_members").await, 2);
    assert_eq!(server.metric("ringtmp_rooms_created_total").await, 1);
    drop((first, second));
    server.end().await;
}

#[tokio::test]
async fn a_room_that_does_not_exist_is_refused_and_the_socket_closed() {
    let server = start(config());
    let mut client = server.connect().await;
    let room = RoomCode::from_random([7; 10]);
    client.say(&join(room, Role::Participant)).await;
    assert_eq!(refusal(&mut client).await, Refusal::NoSuchRoom { room });
    assert_eq!(client.hear().await, None, "closed after the refusal");
    drop(client);
    server.end().await;
}

#[tokio::test]
async fn a_full_room_is_refused() {
    let limits = Limits {
        members_max: 2,
        ..Limits::default()
    };
    let server = start(Config { limits, ..config() });
    let mut first = server.connect().await;
    let room = open_room(&mut first).await;
    enter(&mut first, room).await;
    let mut second = server.connect().await;
    enter(&mut second, room).await;
    let mut third = server.connect().await;
    third.say(&join(room, Role::Participant)).await;
    let members_max = 2;
    assert_eq!(refusal(&mut third).await, Refusal::RoomFull { members_max });
    drop((first, second, third));
    server.end().await;
}

#[tokio::test]
async fn a_wrong_version_is_refused() {
    let server = start(config());
    let mut client = server.connect().await;
    let theirs = PROTOCOL_VERSION + 1;
    let ClientMessage::Create { run, .. } = create() else {
        unreachable!("it makes this message")
    };
    client
        .say(&ClientMessage::Create {
            protocol: theirs,
            run,
        })
        .await;
    let ours = PROTOCOL_VERSION;
    assert_eq!(
        refusal(&mut client).await,
        Refusal::Version { ours, theirs }
    );
    drop(client);
    server.end().await;
}

#[tokio::test]
async fn a_message_too_long_is_refused_with_its_length() {
    let server = start(config());
    for bytes in [SIGNAL_BYTES_MAX + 1, 3 * SIGNAL_BYTES_MAX] {
        let mut client = server.connect().await;
        client.say_text(&"x".repeat(bytes)).await;
        let (bytes, bytes_max) = (bytes as u64, SIGNAL_BYTES_MAX as u64);
        assert_eq!(
            refusal(&mut client).await,
            Refusal::TooLong { bytes, bytes_max }
        );
        assert_eq!(client.hear().await, None, "closed after the refusal");
    }
    server.end().await;
}

#[tokio::test]
async fn a_message_of_megabytes_is_never_received() {
    let server = start(config());
    let mut client = server.connect().await;
    // Whether the refusal arrives before the reset is up to the network; that nothing is read is not.
    let _cut = client
        .socket
        .send(Message::text("x".repeat(64 << 20)))
        .await;
    let ended = async { while let Some(Ok(_)) = client.socket.next().await {} };
    tokio::time::timeout(WAIT, ended)
        .await
        .expect("closed by the server");
    assert_eq!(server.metric("ringtmp_refusals_total").await, 1);
    assert_eq!(server.metric("ringtmp_messages_total").await, 0);
    drop(client);
    server.end().await;
}

#[tokio::test]
async fn a_flood_is_refused_and_the_socket_closed() {
    let limits = Limits {
        messages_burst: 5,
        messages_per_second: 1,
        ..Limits::default()
    };
    let server = start(Config { limits, ..config() });
    let mut client = server.connect().await;
    for _ in 0..10 {
        client.say_text("{}").await;
    }
    let too_fast = |message| {
        matches!(
            message,
            ServerMessage::Refused {
                refusal: Refusal::TooFast
            }
        )
        .then_some(())
    };
    client.hear_until(too_fast).await;
    assert_eq!(client.hear().await, None, "closed after the refusal");
    drop(client);
    server.end().await;
}

#[tokio::test]
async fn malformed_messages_are_refused_in_words() {
    let server = start(config());
    let mut client = server.connect().await;
    for nonsense in [
        "",
        "[",
        "null",
        "{\"type\":\"fly\"}",
        "{\"type\":\"join\"}",
        "\u{0}",
    ] {
        client.say_text(nonsense).await;
        assert!(
            matches!(refusal(&mut client).await, Refusal::Malformed { .. }),
            "{nonsense:?}"
        );
    }
    client
        .socket
        .send(Message::binary(vec![0xff, 0xfe]))
        .await
        .expect("sent");
    assert!(matches!(
        refusal(&mut client).await,
        Refusal::Malformed { .. }
    ));
    open_room(&mut client).await;
    drop(client);
    server.end().await;
}

#[tokio::test]
async fn one_connection_too_many_is_turned_away() {
    let server = start(Config {
        connections_max: 1,
        ..config()
    });
    let first = server.connect().await;
    let url = format!("ws://{}/signal", server.address);
    let error = tokio_tungstenite::connect_async(url)
        .await
        .expect_err("turned away");
    assert!(error.to_string().contains("503"), "{error}");
    assert_eq!(server.metric("ringtmp_turned_away_total").await, 1);
    drop(first);
    server.end().await;
}

#[tokio::test]
async fn a_page_of_another_origin_may_not_connect() {
    let server = start(config());
    let url = format!("ws://{}/signal", server.address);
    let with_origin = |origin: String| {
        let mut request = url.as_str().into_client_request().expect("a URL");
        request
            .headers_mut()
            .insert("origin", origin.parse().expect("a header"));
        tokio_tungstenite::connect_async(request)
    };
    let error = with_origin("https://elsewhere.example".to_owned())
        .await
        .expect_err("refused");
    assert!(error.to_string().contains("403"), "{error}");
    with_origin(format!("http://{}", server.address))
        .await
        .expect("our own page");
    server.end().await;
}

#[tokio::test]
async fn a_silent_connection_is_cut_and_one_that_answers_pings_is_kept() {
    let silence_max = Duration::from_millis(400);
    let server = start(Config {
        silence_max,
        ..config()
    });
    // Answers to pings are only sent while the socket is read, so this one stays silent.
    let silent = server.connect().await;
    let mut answers = server.connect().await;
    let mut pings = 0;
    while pings < 12 {
        let next = tokio::time::timeout(WAIT, answers.socket.next())
            .await
            .expect("a ping in time");
        pings += u32::from(matches!(next, Some(Ok(Message::Ping(_)))));
        assert!(
            matches!(next, Some(Ok(_))),
            "kept for three times the silence: {next:?}"
        );
    }
    assert_eq!(server.metric("ringtmp_connections").await, 1);
    assert_eq!(server.metric("ringtmp_silent_cut_total").await, 1);
    drop(silent);
    drop(answers);
    server.end().await;
}

#[tokio::test]
async fn a_member_that_does_not_read_is_cut_and_the_others_go_on() {
    let limits = Limits {
        messages_burst: u32::MAX,
        messages_per_second: u32::MAX,
        ..Limits::default()
    };
    let server = start(Config { limits, ..config() });
    let (mut talker, mut sleeper) = (server.connect().await, server.connect().await);
    let room = open_room(&mut talker).await;
    enter(&mut talker, room).await;
    let to = enter(&mut sleeper, room).await;
    let signal = Signal::Offer {
        epoch: Epoch::default(),
        sdp: "x".repeat(SIGNAL_BYTES_MAX / 2),
    };
    let message = serde_json::to_string(&ClientMessage::Signal { to, signal }).expect("JSON");
    // The kernel's buffers take some MB before the queue fills.
    let gone = async {
        loop {
            for _ in 0..64 {
                talker.say_text(&message).await;
            }
            if server.metric("ringtmp_slow_readers_cut_total").await == 1 {
                break;
            }
        }
    };
    tokio::time::timeout(WAIT, gone).await.expect("cut in time");
    let alone = |message| match message {
        ServerMessage::Room { room } => (room.members.len() == 1).then_some(()),
        _ => None,
    };
    talker.hear_until(alone).await;
    drop((talker, sleeper));
    server.end().await;
}

#[tokio::test]
async fn the_end_of_the_server_is_said_to_every_socket() {
    let server = start(config());
    let mut client = server.connect().await;
    open_room(&mut client).await;
    let hear = async { client.hear().await };
    let (heard, ()) = tokio::join!(hear, server.end());
    assert_eq!(heard, None);
}

#[tokio::test]
async fn a_port_in_use_is_said_with_what_to_do() {
    let server = start(config());
    let again = Server::bind(Config {
        address: server.address,
        ..config()
    });
    let error = again.expect_err("the port is taken");
    assert!(matches!(error, ServerError::PortInUse { address } if address == server.address));
    let words = error.to_string();
    assert!(
        words.contains(&server.address.port().to_string()) && words.contains("another port"),
        "{words}"
    );
    server.end().await;
}
