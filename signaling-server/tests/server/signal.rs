//! The signalling protocol over real sockets: what is relayed, what is refused, and who is cut.

use crate::common::{Client, Running, WAIT, Way, config, create, join, open_room, start};
use futures::{SinkExt, StreamExt};
use ringtmp_core::ids::{Epoch, PeerId, RoomCode};
use ringtmp_core::lobby::Limits;
use ringtmp_core::signal::{
    ClientMessage, PROTOCOL_VERSION, Refusal, Role, SIGNAL_BYTES_MAX, ServerMessage, Signal,
};
use signaling_server::{Config, Server, ServerError};
use std::time::Duration;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Every test of the contract, over both ways.
macro_rules! contract {
    ($($name:ident,)*) => {
        mod web_socket {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::common::Way::WebSocket).await;
            })*
        }
        mod events {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::common::Way::Events).await;
            })*
        }
    };
}

contract! {
    two_members_meet_and_their_connection_messages_are_relayed,
    a_room_that_does_not_exist_is_refused_and_the_socket_closed,
    a_full_room_is_refused,
    a_wrong_version_is_refused,
    a_message_too_long_is_refused_with_its_length,
    a_message_of_megabytes_is_never_received,
    a_flood_is_refused_and_the_socket_closed,
    malformed_messages_are_refused_in_words,
    one_connection_too_many_is_turned_away,
    a_page_of_another_origin_may_not_connect,
    a_silent_connection_is_cut_and_one_that_answers_pings_is_kept,
    a_member_that_does_not_read_is_cut_and_the_others_go_on,
    the_end_of_the_server_is_said_to_every_socket,
    a_connection_that_joins_no_room_is_closed_in_words,
    one_address_opens_so_many_rooms_and_no_more,
    a_message_longer_than_any_buffer_arrives_whole,
}

async fn enter(client: &mut Client, room: RoomCode) -> PeerId {
    client.say(&join(room, Role::Participant)).await;
    client
        .hear_until(|message| match message {
            ServerMessage::Welcome { peer, .. } => Some(peer),
            _ => None,
        })
        .await
}

async fn refusal(client: &mut Client) -> Refusal {
    client
        .hear_until(|message| match message {
            ServerMessage::Refused { refusal } => Some(refusal),
            _ => None,
        })
        .await
}

async fn two_members_meet_and_their_connection_messages_are_relayed(way: Way) {
    let server = start(config());
    let (mut first, mut second) = (server.connect(way).await, server.connect(way).await);
    let room = open_room(&mut first).await;
    let first_id = enter(&mut first, room).await;
    let second_id = enter(&mut second, room).await;
    let plan = |message| match message {
        ServerMessage::Prepare { plan } => Some(plan),
        _ => None,
    };
    let plan = first.hear_until(plan).await;
    assert_eq!(plan.order.len(), 2, "the room starts at two peers");
    let signal = Signal::offer(plan.epoch, "v=0".to_owned());
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

async fn a_room_that_does_not_exist_is_refused_and_the_socket_closed(way: Way) {
    let server = start(config());
    let mut client = server.connect(way).await;
    let room = RoomCode::from_random([7; 10]);
    client.say(&join(room, Role::Participant)).await;
    assert_eq!(refusal(&mut client).await, Refusal::NoSuchRoom { room });
    assert_eq!(client.hear().await, None, "closed after the refusal");
    drop(client);
    server.end().await;
}

async fn a_full_room_is_refused(way: Way) {
    let limits = Limits {
        members_max: 2,
        ..Limits::default()
    };
    let server = start(Config { limits, ..config() });
    let mut first = server.connect(way).await;
    let room = open_room(&mut first).await;
    enter(&mut first, room).await;
    let mut second = server.connect(way).await;
    enter(&mut second, room).await;
    let mut third = server.connect(way).await;
    third.say(&join(room, Role::Participant)).await;
    let members_max = 2;
    assert_eq!(refusal(&mut third).await, Refusal::RoomFull { members_max });
    drop((first, second, third));
    server.end().await;
}

async fn a_wrong_version_is_refused(way: Way) {
    let server = start(config());
    let mut client = server.connect(way).await;
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

async fn a_message_too_long_is_refused_with_its_length(way: Way) {
    let server = start(config());
    for bytes in [SIGNAL_BYTES_MAX + 1, 3 * SIGNAL_BYTES_MAX] {
        let mut client = server.connect(way).await;
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

async fn a_message_of_megabytes_is_never_received(way: Way) {
    let server = start(config());
    let mut client = server.connect(way).await;
    // Whether the refusal arrives before the reset is up to the network; that nothing is read is not.
    let text = "x".repeat(64 << 20);
    let ended = async {
        match &mut client {
            Client::WebSocket(socket) => {
                let _cut = socket.send(Message::text(text)).await;
                while let Some(Ok(_)) = socket.next().await {}
            }
            Client::Events(events) => {
                let http = reqwest::Client::new();
                let post = http.post(server.url("/signal/send")).body(text);
                let _cut = post.header("x-ringtmp-session", &events.token).send().await;
                while events.next().await.is_some() {}
            }
        }
    };
    tokio::time::timeout(WAIT, ended)
        .await
        .expect("closed by the server");
    assert_eq!(server.metric("ringtmp_refusals_total").await, 1);
    assert_eq!(server.metric("ringtmp_messages_total").await, 0);
    drop(client);
    server.end().await;
}

async fn a_flood_is_refused_and_the_socket_closed(way: Way) {
    let limits = Limits {
        messages_burst: 5,
        messages_per_second: 1,
        ..Limits::default()
    };
    let server = start(Config { limits, ..config() });
    let mut client = server.connect(way).await;
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

async fn malformed_messages_are_refused_in_words(way: Way) {
    let server = start(config());
    let mut client = server.connect(way).await;
    for nonsense in [
        "x",
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
    match &mut client {
        Client::WebSocket(socket) => {
            let bytes = Message::binary(vec![0xff, 0xfe]);
            socket.send(bytes).await.expect("sent");
        }
        Client::Events(events) => {
            let http = reqwest::Client::new();
            let post = http.post(server.url("/signal/send")).body(vec![0xff, 0xfe]);
            let post = post.header("x-ringtmp-session", &events.token);
            post.send().await.expect("answers");
        }
    }
    assert!(matches!(
        refusal(&mut client).await,
        Refusal::Malformed { .. }
    ));
    open_room(&mut client).await;
    drop(client);
    server.end().await;
}

async fn one_connection_too_many_is_turned_away(way: Way) {
    let server = start(Config {
        connections_max: 1,
        ..config()
    });
    let first = server.connect(way).await;
    assert_eq!(refused(&server, way, &[]).await, Some(503));
    assert_eq!(server.metric("ringtmp_turned_away_total").await, 1);
    drop(first);
    server.end().await;
}

/// With which status a connection with these headers is refused; none if it is not.
async fn refused(server: &Running, way: Way, headers: &[(&'static str, &str)]) -> Option<u16> {
    match way {
        Way::WebSocket => {
            let request = format!("ws://{}/signal", server.address).into_client_request();
            let mut request = request.expect("a URL");
            for (name, value) in headers {
                let value = value.parse().expect("a header");
                request.headers_mut().insert(*name, value);
            }
            match tokio_tungstenite::connect_async(request).await {
                Ok(_) => None,
                Err(Error::Http(answer)) => Some(answer.status().as_u16()),
                Err(error) => panic!("{error}"),
            }
        }
        Way::Events => {
            let mut request = reqwest::Client::new().get(server.url("/signal/events"));
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let status = request.send().await.expect("answers").status();
            (!status.is_success()).then_some(status.as_u16())
        }
    }
}

async fn a_page_of_another_origin_may_not_connect(way: Way) {
    let server = start(config());
    let elsewhere = [("origin", "https://elsewhere.example")];
    assert_eq!(refused(&server, way, &elsewhere).await, Some(403));
    let elsewhere = [("sec-fetch-site", "cross-site")];
    assert_eq!(refused(&server, way, &elsewhere).await, Some(403));
    let ours = format!("http://{}", server.address);
    let ours = [("origin", &*ours), ("sec-fetch-site", "same-origin")];
    assert_eq!(refused(&server, way, &ours).await, None);
    server.end().await;
}

async fn a_silent_connection_is_cut_and_one_that_answers_pings_is_kept(way: Way) {
    let silence_max = Duration::from_millis(400);
    let server = start(Config {
        silence_max,
        ..config()
    });
    // Answers to pings are only sent while the socket is read, so this one stays silent.
    let silent = server.connect(way).await;
    let mut answers = server.connect(way).await;
    for pings in 0..12 {
        let pinged = async {
            match &mut answers {
                Client::WebSocket(socket) => loop {
                    match socket.next().await {
                        Some(Ok(Message::Ping(_))) => break true,
                        Some(Ok(_)) => {}
                        None | Some(Err(_)) => break false,
                    }
                },
                Client::Events(events) => {
                    let event = events.next().await;
                    let is_ping = event.is_some_and(|(kind, _)| kind == "ping");
                    is_ping && events.post(String::new()).await.is_success()
                }
            }
        };
        let pinged = tokio::time::timeout(WAIT, pinged).await;
        let pinged = pinged.expect("a ping in time");
        assert!(
            pinged,
            "kept for three times the silence, not {pings} pings"
        );
    }
    assert_eq!(server.metric("ringtmp_connections").await, 1);
    assert_eq!(server.metric("ringtmp_silent_cut_total").await, 1);
    drop(silent);
    drop(answers);
    server.end().await;
}

async fn a_member_that_does_not_read_is_cut_and_the_others_go_on(way: Way) {
    let limits = Limits {
        messages_burst: u32::MAX,
        messages_per_second: u32::MAX,
        ..Limits::default()
    };
    let server = start(Config { limits, ..config() });
    let (mut talker, mut sleeper) = (server.connect(way).await, server.connect(way).await);
    let room = open_room(&mut talker).await;
    enter(&mut talker, room).await;
    let to = enter(&mut sleeper, room).await;
    let signal = Signal::offer(Epoch::default(), "x".repeat(SIGNAL_BYTES_MAX / 2));
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
    let over = tokio::time::timeout(WAIT, sleeper.is_over());
    over.await.expect("the one that was cut ends");
    drop((talker, sleeper));
    server.end().await;
}

async fn the_end_of_the_server_is_said_to_every_socket(way: Way) {
    let server = start(config());
    let mut client = server.connect(way).await;
    open_room(&mut client).await;
    let hear = async { client.hear().await };
    let (heard, ()) = tokio::join!(hear, server.end());
    assert_eq!(heard, None);
}

async fn a_connection_that_joins_no_room_is_closed_in_words(way: Way) {
    let limits = Limits {
        roomless_max: Some(Duration::from_millis(300)),
        ..Limits::default()
    };
    let server = start(Config { limits, ..config() });
    let (mut member, mut idler) = (server.connect(way).await, server.connect(way).await);
    let room = open_room(&mut member).await;
    enter(&mut member, room).await;
    assert!(matches!(
        refusal(&mut idler).await,
        Refusal::Roomless { .. }
    ));
    assert_eq!(idler.hear().await, None, "closed after the refusal");
    assert_eq!(server.metric("ringtmp_members").await, 1, "who is in stays");
    drop((member, idler));
    server.end().await;
}

async fn one_address_opens_so_many_rooms_and_no_more(way: Way) {
    let limits = Limits {
        rooms_per_visitor_max: 1,
        ..Limits::default()
    };
    let server = start(Config { limits, ..config() });
    let (mut first, mut second) = (server.connect(way).await, server.connect(way).await);
    open_room(&mut first).await;
    second.say(&create()).await;
    let refused = refusal(&mut second).await;
    assert_eq!(refused, Refusal::TooManyRooms { rooms_max: 1 });
    assert_eq!(second.hear().await, None, "closed after the refusal");
    drop((first, second));
    server.end().await;
}

async fn a_message_longer_than_any_buffer_arrives_whole(way: Way) {
    let server = start(config());
    let (mut first, mut second) = (server.connect(way).await, server.connect(way).await);
    let room = open_room(&mut first).await;
    enter(&mut first, room).await;
    let to = enter(&mut second, room).await;
    for bytes in [4096, 4097, 100_003] {
        // Characters of two bytes, so that pieces end within them.
        let signal = Signal::Offer {
            epoch: Epoch::default(),
            sdp: "\u{e9}".repeat(bytes / 2),
            proof: None,
        };
        let said = signal.clone();
        first.say(&ClientMessage::Signal { to, signal }).await;
        let relayed = |message| match message {
            ServerMessage::Signal { signal, .. } => Some(signal),
            _ => None,
        };
        assert!(second.hear_until(relayed).await == said, "{bytes}");
    }
    drop((first, second));
    server.end().await;
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

#[tokio::test]
async fn a_post_needs_the_token_of_an_open_connection_and_our_own_origin() {
    let server = start(config());
    let events = server.events().await;
    assert!(events.token.len() >= 32, "no number of guesses finds it");
    assert_ne!(events.token, server.events().await.token);
    let post = async |token: &str, origin: Option<&str>| {
        let mut post = reqwest::Client::new().post(server.url("/signal/send"));
        post = post.header("x-ringtmp-session", token).body("");
        if let Some(origin) = origin {
            post = post.header("origin", origin);
        }
        post.send().await.expect("answers").status().as_u16()
    };
    assert_eq!(post(&events.token, None).await, 204);
    assert_eq!(
        post(&events.token, Some("https://elsewhere.example")).await,
        403
    );
    assert_eq!(post(&"0".repeat(64), None).await, 404);
    assert_eq!(post("", None).await, 404);
    let token = events.token.clone();
    drop(events);
    let gone = async { while post(&token, None).await != 404 {} };
    tokio::time::timeout(WAIT, gone)
        .await
        .expect("a connection that is gone takes no posts");
    server.end().await;
}

#[tokio::test]
async fn several_messages_in_one_post_are_heard_in_order() {
    let server = start(config());
    let mut client = server.connect(Way::Events).await;
    let room = open_room(&mut client).await;
    let join = serde_json::to_string(&join(room, Role::Participant)).expect("JSON");
    let Client::Events(events) = &client else {
        unreachable!("it was opened so")
    };
    let status = events.post(format!("{join}\nnonsense\nnonsense")).await;
    assert_eq!(status.as_u16(), 204);
    let answers = |message| match message {
        ServerMessage::Welcome { .. } => Some("welcome"),
        ServerMessage::Refused { .. } => Some("refused"),
        _ => None,
    };
    for answer in ["welcome", "refused", "refused"] {
        assert_eq!(client.hear_until(answers).await, answer);
    }
    drop(client);
    server.end().await;
}

/// The clock stands until nothing is left to do, then goes to the next moment that somebody waits for.
#[tokio::test(start_paused = true)]
async fn a_stream_of_events_grows_older_than_a_page_may() {
    let limits = Limits {
        roomless_max: None,
        ..Limits::default()
    };
    let server = start(Config { limits, ..config() });
    let mut client = server.connect(Way::Events).await;
    let begun = tokio::time::Instant::now();
    let Client::Events(events) = &mut client else {
        unreachable!("it was opened so")
    };
    while begun.elapsed() < Duration::from_secs(1000) {
        let (kind, _) = events.next().await.expect("it goes on");
        assert_eq!(kind, "ping");
        assert!(events.post(String::new()).await.is_success());
    }
    drop(client);
    server.end().await;
}
