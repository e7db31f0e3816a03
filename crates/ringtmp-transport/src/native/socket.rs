//! The native socket to the signalling server.

use crate::error::SignallingError;
use crate::signalling::SocketEnds;
use futures::channel::mpsc;
use futures::future::select;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use ringtmp_core::signal::SIGNAL_BYTES_MAX;
use std::pin::pin;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message, protocol::WebSocketConfig};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

/// How long connecting and the goodbye may take.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(10);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Connects; from then on a task moves texts between the socket and its ends.
pub(crate) async fn open(url: &str, ends: SocketEnds) -> Result<(), SignallingError> {
    if url.starts_with("wss:") {
        let detail = "this program speaks no TLS yet; use the server's ws:// address";
        return Err(SignallingError::address(url, detail));
    }
    let limits = WebSocketConfig::default()
        .max_message_size(Some(SIGNAL_BYTES_MAX))
        .max_frame_size(Some(SIGNAL_BYTES_MAX));
    let connecting = connect_async_with_config(url, Some(limits), true);
    match tokio::time::timeout(SOCKET_TIMEOUT, connecting).await {
        Ok(Ok((socket, _))) => super::spawn(run(socket, ends)),
        Ok(Err(error @ (Error::Url(_) | Error::HttpFormat(_)))) => {
            return Err(SignallingError::address(url, error));
        }
        Ok(Err(error)) => return Err(SignallingError::unreachable(error)),
        Err(_) => return Err(SignallingError::unreachable("it does not answer")),
    }
    Ok(())
}

async fn run(socket: Socket, ends: SocketEnds) {
    let (mut sink, stream) = socket.split();
    // Whichever way ends first ends the other. A goodbye is a courtesy; the server copes without.
    select(
        pin!(write(&mut sink, ends.outgoing)),
        pin!(read(stream, ends.incoming)),
    )
    .await;
    let _ = tokio::time::timeout(SOCKET_TIMEOUT, sink.close()).await;
}

async fn write(sink: &mut SplitSink<Socket, Message>, mut outgoing: mpsc::Receiver<String>) {
    while let Some(text) = outgoing.next().await {
        if let Err(error) = sink.send(Message::text(text)).await {
            tracing::debug!(%error, "writing to the signalling server");
            // Reading says why it ended.
            std::future::pending::<()>().await;
        }
    }
}

async fn read(
    mut stream: SplitStream<Socket>,
    mut incoming: mpsc::Sender<Result<String, SignallingError>>,
) {
    loop {
        let text =
            match stream.next().await {
                Some(Ok(Message::Text(text))) => Ok(text.as_str().to_owned()),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Binary(_))) => {
                    Err(SignallingError::malformed("a message that is no text"))
                }
                Some(Ok(Message::Close(Some(close)))) => Err(SignallingError::closed(
                    format_args!("{} {}", u16::from(close.code), close.reason),
                )),
                Some(Ok(Message::Close(None))) | None => {
                    Err(SignallingError::closed("the server ended it"))
                }
                Some(Err(error @ Error::Capacity(_))) => Err(SignallingError::malformed(error)),
                Some(Err(error)) => Err(SignallingError::closed(error)),
            };
        let over = text.is_err();
        if incoming.send(text).await.is_err() || over {
            return;
        }
    }
}
