//! The native socket to the signalling server.

use crate::address::{ServerAddress, SignallingWay};
use crate::error::SignallingError;
use crate::signalling::SocketEnds;
use futures::channel::mpsc;
use futures::future::select;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use ringtmp_core::signal::SIGNAL_BYTES_MAX;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::{Error, Message, protocol::WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config, connect_async_with_config};

/// How long connecting and the goodbye may take.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects; from then on a task moves texts between the socket and its ends.
pub(crate) async fn open(server: &ServerAddress, ends: SocketEnds) -> Result<(), SignallingError> {
    if server.way == SignallingWay::Events {
        let detail = "programs talk over a WebSocket: leave signalling=events to browsers";
        return Err(SignallingError::address(&server.to_string(), detail));
    }
    let url = server.web_socket();
    let limits = WebSocketConfig::default()
        .max_message_size(Some(SIGNAL_BYTES_MAX))
        .max_frame_size(Some(SIGNAL_BYTES_MAX));
    if server.is_secure() {
        // TLS takes much space while it begins, of which the caller shall not be made.
        let stream = Box::pin(super::https::connect(server)).await?;
        let connecting = client_async_with_config(&url, stream, Some(limits));
        let socket = Box::pin(in_time(&url, connecting)).await?;
        super::spawn(run(socket, ends));
    } else {
        let connecting = connect_async_with_config(&url, Some(limits), true);
        super::spawn(run(in_time(&url, connecting).await?, ends));
    }
    Ok(())
}

/// What a handshake gives, if it does in time.
async fn in_time<S>(
    url: &str,
    connecting: impl Future<Output = Result<(WebSocketStream<S>, Response), Error>>,
) -> Result<WebSocketStream<S>, SignallingError> {
    match tokio::time::timeout(SOCKET_TIMEOUT, connecting).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error @ (Error::Url(_) | Error::HttpFormat(_)))) => {
            Err(SignallingError::address(url, error))
        }
        Ok(Err(error)) => Err(SignallingError::unreachable(error)),
        Err(_) => Err(SignallingError::unreachable("it does not answer")),
    }
}

async fn run<S: AsyncRead + AsyncWrite + Unpin>(socket: WebSocketStream<S>, ends: SocketEnds) {
    let (mut sink, stream) = socket.split();
    // Whichever way ends first ends the other. A goodbye is a courtesy; the server copes without.
    select(
        pin!(write(&mut sink, ends.outgoing)),
        pin!(read(stream, ends.incoming)),
    )
    .await;
    let _ = tokio::time::timeout(SOCKET_TIMEOUT, sink.close()).await;
}

async fn write<S: AsyncRead + AsyncWrite + Unpin>(
    sink: &mut SplitSink<WebSocketStream<S>, Message>,
    mut outgoing: mpsc::Receiver<String>,
) {
    while let Some(text) = outgoing.next().await {
        if let Err(error) = sink.send(Message::text(text)).await {
            tracing::debug!(%error, "writing to the signalling server");
            // Reading says why it ended.
            std::future::pending::<()>().await;
        }
    }
}

async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: SplitStream<WebSocketStream<S>>,
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
