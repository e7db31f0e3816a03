//! The signalling socket against a real server in this process.

use super::*;
use futures::SinkExt;
use ringtmp_core::ids::{PeerId, RoomCode};
use ringtmp_core::signal::Signal;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

type ServerSocket = tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>;

async fn pair() -> (Signalling, ServerSocket) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let accept = async {
        let (stream, _) = listener.accept().await.expect("a client comes");
        tokio_tungstenite::accept_async(stream)
            .await
            .expect("it speaks WebSocket")
    };
    let url = format!("http://{address}");
    let (signalling, server) = futures::future::join(Signalling::connect(&url), accept).await;
    (signalling.expect("the server is there"), server)
}

fn created() -> ServerMessage {
    ServerMessage::Created {
        room: RoomCode::from_random([7; 10]),
    }
}

#[tokio::test]
async fn messages_arrive_both_ways_and_the_end_is_said_again_and_again() {
    let (mut signalling, mut server) = pair().await;
    signalling
        .send(&ClientMessage::Start)
        .expect("the queue is empty");
    let text = server.next().await.expect("open").expect("a message");
    let message: ClientMessage =
        serde_json::from_str(text.to_text().expect("text")).expect("a client message");
    assert_eq!(message, ClientMessage::Start);
    let text = serde_json::to_string(&created()).expect("it can be written");
    server
        .send(Message::text(text))
        .await
        .expect("the client reads");
    assert_eq!(signalling.receive().await, Ok(created()));
    server.close(None).await.expect("the client is there");
    for _ in 0..2 {
        assert!(matches!(
            signalling.receive().await,
            Err(SignallingError::Closed { .. })
        ));
    }
}

#[tokio::test]
async fn what_is_no_message_or_too_long_is_refused_with_the_servers_fault() {
    let too_long = format!("{{\"type\":\"{}\"}}", "x".repeat(2 * SIGNAL_BYTES_MAX));
    let wrong = [
        Message::text("{}"),
        Message::text("nonsense"),
        Message::binary(vec![1, 2, 3]),
        Message::text("{\"type\":\"unheard_of\"}"),
        Message::text(too_long),
    ];
    for message in wrong {
        let (mut signalling, mut server) = pair().await;
        let _ = server.send(message).await;
        for _ in 0..2 {
            let error = signalling.receive().await.expect_err("that was no message");
            assert!(
                matches!(error, SignallingError::Malformed { .. }),
                "{error}"
            );
            assert!(error.to_string().len() < 500, "{error}");
        }
    }
}

#[tokio::test]
async fn a_server_that_stops_reading_makes_the_queue_full_and_not_longer() {
    let (signalling, _server) = pair().await;
    let sdp = "x".repeat(SIGNAL_BYTES_MAX / 2);
    let signal = Signal::offer(Default::default(), sdp);
    let message = ClientMessage::Signal {
        to: PeerId(1),
        signal,
    };
    let mut sent = 0;
    // The system's own buffers take some megabytes first.
    let error = loop {
        match signalling.send(&message) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 10_000, "nothing stopped us");
        if sent % 64 == 0 {
            tokio::task::yield_now().await;
        }
    };
    assert!(matches!(error, SignallingError::Stuck { .. }), "{error}");
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_and_the_connection_stays() {
    let (signalling, _server) = pair().await;
    let signal = Signal::offer(Default::default(), "x".repeat(SIGNAL_BYTES_MAX));
    let refused = signalling.send(&ClientMessage::Signal {
        to: PeerId(1),
        signal,
    });
    assert!(matches!(refused, Err(SignallingError::TooLong { .. })));
    assert_eq!(signalling.send(&ClientMessage::Start), Ok(()));
}

#[tokio::test]
async fn dropping_it_says_goodbye_to_the_server() {
    let (signalling, mut server) = pair().await;
    drop(signalling);
    assert!(matches!(server.next().await, Some(Ok(Message::Close(_)))));
}

#[tokio::test]
async fn an_address_of_no_server_is_told_apart_from_a_mistyped_one() {
    for mistyped in ["", "nonsense", "ws://127.0.0.1/", "http://127.0.0.1/ws"] {
        let error = Signalling::connect(mistyped).await.expect_err("no address");
        assert!(
            matches!(error, SignallingError::Address { .. }),
            "{mistyped:?}: {error}"
        );
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let error = Signalling::connect(&format!("http://{address}"))
        .await
        .expect_err("nobody listens");
    assert!(
        matches!(error, SignallingError::Unreachable { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn channels_in_memory_behave_like_a_socket() {
    let (to_server, mut at_server) = mpsc::channel(0);
    let (mut from_server, incoming) = mpsc::channel(4);
    let mut signalling = Signalling::from_channels(to_server, incoming);
    assert_eq!(signalling.send(&ClientMessage::Start), Ok(()));
    assert!(matches!(
        signalling.send(&ClientMessage::Stop),
        Err(SignallingError::Stuck { .. })
    ));
    assert_eq!(at_server.next().await, Some(ClientMessage::Start));
    from_server.try_send(created()).expect("there is space");
    assert_eq!(signalling.receive().await, Ok(created()));
    drop((from_server, at_server));
    assert!(matches!(
        signalling.receive().await,
        Err(SignallingError::Closed { .. })
    ));
    assert!(matches!(
        signalling.send(&ClientMessage::Stop),
        Err(SignallingError::Closed { .. })
    ));
}
