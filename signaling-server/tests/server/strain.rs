//! The server under floods and slow sockets: what one address may do, who makes room for others, and what is never logged.

use crate::common::{Client, WAIT, Way, config, join, open_room, start};
use futures::{SinkExt, StreamExt};
use ringtmp_core::signal::{Role, ServerMessage};
use signaling_server::Config;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::{Error, Message};
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::subscriber::DefaultGuard;

/// What is answered to a request that comes from this address of this machine.
async fn ask(server: SocketAddr, from: Ipv4Addr, path: &str) -> String {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind(SocketAddr::from((from, 0)))
        .expect("an address of this machine");
    let mut socket = socket.connect(server).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(WAIT, socket.read_to_end(&mut answer)).await;
    read.expect("in time").expect("read");
    String::from_utf8_lossy(&answer).into_owned()
}

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

async fn one_address_too_many(way: Way) {
    let server = start(Config {
        connections_per_address_max: 2,
        ..config()
    });
    let held = (server.connect(way).await, server.connect(way).await);
    let (status, retry, words) = match way {
        Way::Events => {
            let answer = reqwest::get(server.url("/signal/events")).await;
            let answer = answer.expect("answers");
            let retry = answer.headers().contains_key("retry-after");
            let status = answer.status().as_u16();
            (status, retry, answer.text().await.expect("text"))
        }
        Way::WebSocket => {
            let url = format!("ws://{}/signal", server.address);
            let Err(Error::Http(answer)) = tokio_tungstenite::connect_async(url).await else {
                panic!("it is refused in words")
            };
            let retry = answer.headers().contains_key("retry-after");
            let words = answer.body().clone().unwrap_or_default();
            let words = String::from_utf8(words).expect("text");
            (answer.status().as_u16(), retry, words)
        }
    };
    assert!(status == 429 && retry, "{status} {words}");
    assert!(words.contains("--connections-per-address"), "{words}");
    assert_eq!(server.metric("ringtmp_address_refused_total").await, 1);
    // Only Linux has more than one address here without being told.
    if cfg!(target_os = "linux") {
        let elsewhere = Ipv4Addr::new(127, 0, 0, 2);
        let answer = ask(server.address, elsewhere, "/healthz").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    drop(held);
    server.end().await;
}

#[tokio::test]
async fn one_address_gets_so_many_web_sockets_and_is_told() {
    one_address_too_many(Way::WebSocket).await;
}

#[tokio::test]
async fn one_address_gets_so_many_streams_and_is_told() {
    one_address_too_many(Way::Events).await;
}

#[tokio::test]
async fn a_flood_of_requests_is_refused_and_another_address_is_served() {
    // So 20 requests at once, of which a new socket counts as four.
    let server = start(Config {
        connections_per_address_max: 1,
        ..config()
    });
    let mut socket = TcpStream::connect(server.address)
        .await
        .expect("it listens");
    let request = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(40);
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut answers = String::new();
    let refused = async {
        while !answers.contains("HTTP/1.1 429") {
            let mut bytes = [0; 4096];
            let n = socket.read(&mut bytes).await.expect("read");
            assert!(n > 0, "it says so before it closes:\n{answers}");
            answers += &String::from_utf8_lossy(&bytes[..n]);
        }
    };
    tokio::time::timeout(WAIT, refused).await.expect("in time");
    assert!(answers.starts_with("HTTP/1.1 200"), "{answers}");
    if cfg!(target_os = "linux") {
        let elsewhere = Ipv4Addr::new(127, 0, 0, 3);
        let answer = ask(server.address, elsewhere, "/healthz").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    server.end().await;
}

/// Sockets that are opened and then ask for nothing, or only begin to.
#[tokio::test]
async fn sockets_that_hold_on_make_room_for_those_that_ask() {
    let server = start(Config {
        http_sockets_max: 4,
        ..config()
    });
    let mut held = Vec::new();
    for i in 0..12 {
        let mut socket = TcpStream::connect(server.address)
            .await
            .expect("it listens");
        if i % 2 == 0 {
            socket
                .write_all(b"GET / HTTP/1.1\r\nhost:")
                .await
                .expect("sent");
        }
        held.push(socket);
    }
    let answer = ask(server.address, HERE, "/healthz").await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"),
        "{answer}"
    );
    // The oldest ones lost their places.
    let mut oldest = held.remove(0);
    let mut nothing = Vec::new();
    let ended = tokio::time::timeout(WAIT, oldest.read_to_end(&mut nothing)).await;
    // A reset is an end as well.
    let _ = ended.expect("cut");
    assert!(server.metric("ringtmp_idle_cut_total").await >= 8);
    drop(held);
    server.end().await;
}

/// The clock stands until nothing is left to do, then goes to the next moment that somebody waits for.
#[tokio::test(start_paused = true)]
async fn a_request_that_never_ends_is_cut_however_steadily_it_drips() {
    let server = start(config());
    let mut socket = TcpStream::connect(server.address)
        .await
        .expect("it listens");
    let begun = tokio::time::Instant::now();
    let (mut reader, mut writer) = socket.split();
    let drip = async {
        writer
            .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n")
            .await
            .expect("sent");
        for i in 0.. {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let line = format!("x-{i}: y\r\n");
            if writer.write_all(line.as_bytes()).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    tokio::select! {
        // A reset is an end as well.
        _ = reader.read_to_end(&mut answer) => {}
        () = drip => {}
    }
    assert!(begun.elapsed() < Duration::from_secs(60));
    server.end().await;
}

#[tokio::test]
async fn who_only_pings_is_cut() {
    let server = start(config());
    let mut socket = server.web_socket().await;
    let pings = async {
        while socket.send(Message::Ping("x".into())).await.is_ok() {
            // The answers have to be read, or they are what fails.
            let _answer = socket.next().await;
        }
    };
    tokio::time::timeout(WAIT, pings)
        .await
        .expect("cut in time");
    assert_eq!(server.metric("ringtmp_ping_floods_cut_total").await, 1);
    server.end().await;
}

/// Keeps the text of everything that is logged by this thread.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<String>>);

impl Logged {
    fn start() -> (Self, DefaultGuard) {
        let logged = Self::default();
        let guard = tracing::subscriber::set_default(logged.clone());
        (logged, guard)
    }

    fn note(&self, text: std::fmt::Arguments<'_>) {
        *self.0.lock().expect("no panic") += &format!("{text}\n");
    }
}

impl Visit for &Logged {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.note(format_args!("{field}={value:?}"));
    }
}

impl tracing::Subscriber for Logged {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        attributes.record(&mut &*self);
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut &*self);
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        self.note(format_args!("{}", event.metadata().target()));
        event.record(&mut &*self);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// At every level, also those that nobody turns on: the runtime of this test has one thread, so that all is seen.
#[tokio::test]
async fn neither_rooms_nor_tokens_are_logged() {
    let (logged, _guard) = Logged::start();
    tracing::warn!("the test listens");
    let server = start(config());
    let mut secrets = Vec::new();
    for way in [Way::WebSocket, Way::Events] {
        let mut client = server.connect(way).await;
        let room = open_room(&mut client).await;
        client.say(&join(room, Role::Participant)).await;
        let welcome = |message| match message {
            ServerMessage::Welcome { token, .. } => Some(token),
            _ => None,
        };
        let token = client.hear_until(welcome).await;
        let asked = ask(server.address, HERE, &format!("/r/{room}")).await;
        assert!(asked.starts_with("HTTP/1.1"), "{asked}");
        client.say_text("nonsense").await;
        secrets.extend([room.to_string(), String::from(token)]);
        if let Client::Events(events) = &client {
            secrets.push(events.token.clone());
        }
    }
    server.end().await;
    let logged = logged.0.lock().expect("no panic");
    assert!(logged.contains("the test listens"), "{logged}");
    for secret in secrets {
        assert!(!logged.contains(&secret), "{secret} is in\n{logged}");
    }
}
