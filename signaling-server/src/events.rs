//! The signalling contract over server-sent events and posts, for browsers that refuse a WebSocket: those of iOS do where the
//! certificate signs itself, although they load the page.
//!
//! `GET /signal/events` is a stream of events (HTML standard, section 9.2). The first one, `session`, is a token that nobody can
//! guess; then each message is an event of its own. `POST /signal/send` with the token takes texts, a line each, in order. A
//! `ping` is answered by a post of nothing. `end` is the goodbye. Limits, silence and origins are those of the
//! WebSocket (`connection`).

use crate::connection::{PINGS_PER_SILENCE, READ_BYTES_MAX, Terms, WRITE_MAX, text_event};
use crate::hub::{Event, Socket};
use crate::outgoing::{Outgoing, Outgoings};
use crate::routes::{Place, State};
use crate::sockets::Visitor;
use axum::Extension;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State as Extract;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// The header of a post that says whose it is. Being no usual header, it keeps pages of other origins from posting at all.
const SESSION_HEADER: HeaderName = HeaderName::from_static("x-ringtmp-session");

/// How long a post may take to arrive: 1 MiB at 1 Mbit/s.
const POST_MAX: Duration = Duration::from_secs(10);

/// Posts that wait for their connection, which hands them on at once; a client has one under way.
const POSTS_MAX: usize = 2;

/// Events that wait for the socket to take them.
const EVENTS_WAITING_MAX: usize = 1;

/// Bytes of a token: as many as no number of guesses finds.
const TOKEN_BYTES: usize = 32;

/// Connections by token. As many as there are places.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, mpsc::Sender<Post>>>);

/// What was posted.
#[derive(Debug)]
enum Post {
    /// Lines; none is a sign of life.
    Texts(String),
    /// More than is read.
    TooLong { bytes: u64 },
}

impl Sessions {
    fn insert(&self, token: String, posts: mpsc::Sender<Post>) {
        self.lock().insert(token, posts);
    }

    fn remove(&self, token: &str) {
        self.lock().remove(token);
    }

    fn of(&self, request: &HeaderMap) -> Option<mpsc::Sender<Post>> {
        let token = request.get(SESSION_HEADER)?.to_str().ok()?;
        self.lock().get(token).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, mpsc::Sender<Post>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a connection: answers with its stream of events.
pub(crate) async fn listen(
    Extract(state): Extract<State>,
    Extension(visitor): Extension<Visitor>,
    request: HeaderMap,
) -> Response {
    let place = match state.admit(&visitor, &request) {
        Ok(place) => place,
        Err(refusal) => return refusal,
    };
    let token = match token() {
        Ok(token) => token,
        Err(error) => {
            tracing::error!(%error, "the system gives no random bytes");
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    };
    visitor.becomes_stream();
    state.metrics.event_streams.inc();
    let (events, mut taken) = mpsc::channel(EVENTS_WAITING_MAX);
    let (posts_sender, posts) = mpsc::channel(POSTS_MAX);
    state.sessions.insert(token.clone(), posts_sender);
    let connection = Connection {
        terms: state.terms(&visitor),
        token,
        events,
        hub: state.events.clone(),
        texts_max: state.config.limits.messages_burst as usize + 1,
        sessions: Arc::clone(&state.sessions),
    };
    let silent = state.metrics.silent.clone();
    tokio::spawn(async move {
        if connection.serve(posts, place).await {
            silent.inc();
        }
        visitor.stream_is_over();
    });
    let stream = futures::stream::poll_fn(move |context| {
        taken
            .poll_recv(context)
            .map(|event| event.map(Ok::<Bytes, Infallible>))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        // The end of the stream is that of the socket.
        (header::CONNECTION, "close"),
    ];
    (headers, Body::from_stream(stream)).into_response()
}

/// Takes a post, and answers once it is on its way, so that a client that waits for the answer keeps the order.
pub(crate) async fn send(
    Extract(state): Extract<State>,
    request: HeaderMap,
    body: Body,
) -> Response {
    if let Err(refusal) = state.check_origin(&request) {
        return refusal;
    }
    let gone = || {
        let text = "there is no such connection; it may have been cut: open another one\n";
        (StatusCode::NOT_FOUND, text).into_response()
    };
    let Some(posts) = state.sessions.of(&request) else {
        return gone();
    };
    let post = match tokio::time::timeout(POST_MAX, to_bytes(body, READ_BYTES_MAX)).await {
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
        Ok(Ok(bytes)) => Post::Texts(String::from_utf8_lossy(&bytes).into_owned()),
        // Too long, or broken off.
        Ok(Err(_)) => Post::TooLong {
            bytes: length(&request),
        },
    };
    let refused = matches!(post, Post::TooLong { .. });
    match posts.send(post).await {
        Ok(()) if refused => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(_) => gone(),
    }
}

/// How long a post is that was not read to its end: as long as it says, if it does.
fn length(request: &HeaderMap) -> u64 {
    let length = request.get(header::CONTENT_LENGTH);
    let length = length.and_then(|text| text.to_str().ok()?.parse().ok());
    length.unwrap_or(READ_BYTES_MAX as u64 + 1)
}

fn token() -> Result<String, getrandom::Error> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The server's end of a connection.
struct Connection {
    terms: Terms,
    token: String,
    /// To the socket; closed when that is gone.
    events: mpsc::Sender<Bytes>,
    hub: mpsc::Sender<Event>,
    /// Texts of a post that are looked at: one more than may be sent at once, after which nobody listens any more.
    texts_max: usize,
    sessions: Arc<Sessions>,
}

impl Connection {
    /// Serves it until it ends. Returns whether it was cut for its silence.
    async fn serve(self, posts: mpsc::Receiver<Post>, place: Place) -> bool {
        let (outgoing, queue) = Outgoings::new();
        let (cut, mut cut_seen) = oneshot::channel();
        let connection = self.terms.connection;
        let connected = Event::Connected {
            connection,
            visitor: self.terms.visitor,
            socket: Socket { outgoing, cut },
        };
        let silent = match self.hub.send(connected).await {
            Err(_) => false,
            Ok(()) => tokio::select! {
                silent = self.read(posts) => silent,
                () = self.write(queue) => false,
                () = self.events.closed() => false,
                Ok(()) = &mut cut_seen => false,
            },
        };
        self.sessions.remove(&self.token);
        // The hub may be gone; then nobody needs to know.
        let _hub_gone = self.hub.send(Event::Disconnected { connection }).await;
        drop(place);
        silent
    }

    /// Hands posts on until none comes for too long, or the server is ending. Returns whether it was silence.
    async fn read(&self, mut posts: mpsc::Receiver<Post>) -> bool {
        let connection = self.terms.connection;
        loop {
            let post = match tokio::time::timeout(self.terms.silence_max, posts.recv()).await {
                Err(_) => return true,
                // The table holds the other end for as long as this runs.
                Ok(None) => return false,
                Ok(Some(post)) => post,
            };
            match post {
                Post::Texts(texts) => {
                    for line in texts.lines().take(self.texts_max) {
                        let event = text_event(connection, Utf8Bytes::from(line));
                        if self.hub.send(event).await.is_err() {
                            return false;
                        }
                    }
                }
                Post::TooLong { bytes } => {
                    let told = self.hub.send(Event::Oversized { connection, bytes });
                    if told.await.is_err() {
                        return false;
                    }
                }
            }
        }
    }

    /// Writes the token, then what is queued, and pings, until the goodbye is written (also when the hub is gone) or the
    /// socket fails.
    async fn write(&self, mut queue: Outgoings) {
        let mut pings = tokio::time::interval(self.terms.silence_max / PINGS_PER_SILENCE);
        pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The first tick is immediate, and nobody who has just connected needs a ping.
        pings.tick().await;
        let mut event = format!("event: session\ndata: {}\n\n", self.token);
        let (mut last, mut bytes) = (false, 0);
        loop {
            let sent = tokio::time::timeout(WRITE_MAX, self.events.send(event.into())).await;
            if last || !matches!(sent, Ok(Ok(()))) {
                return;
            }
            queue.written(std::mem::take(&mut bytes));
            (event, last) = tokio::select! {
                outgoing = queue.next() => match outgoing {
                    // JSON has no line breaks, which would end the event.
                    Some(Outgoing::Text(text)) => {
                        bytes = text.len();
                        (format!("data: {text}\n\n"), false)
                    }
                    Some(Outgoing::Close) => ("event: end\ndata: closed\n\n".to_owned(), true),
                    None => ("event: end\ndata: the server ends\n\n".to_owned(), true),
                },
                // An event without data would not be told to the page.
                _ = pings.tick() => ("event: ping\ndata: ?\n\n".to_owned(), false),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringtmp_core::lobby::{ConnectionId, VisitorId};
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn a_connection_that_is_over_leaves_nothing_behind() {
        let sessions = Arc::<Sessions>::default();
        let places = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&places).try_acquire_owned().expect("it is free");
        let (events, taken) = mpsc::channel(EVENTS_WAITING_MAX);
        let (hub, mut heard) = mpsc::channel(8);
        let (sender, posts) = mpsc::channel(POSTS_MAX);
        let token = token().expect("random bytes");
        sessions.insert(token.clone(), sender);
        let connection = Connection {
            terms: Terms {
                connection: ConnectionId(7),
                visitor: VisitorId(1),
                silence_max: Duration::from_secs(20),
            },
            token,
            events,
            hub,
            texts_max: 1,
            sessions: Arc::clone(&sessions),
        };
        // The socket is gone.
        drop(taken);
        let place = Place::of(place, None);
        assert!(!connection.serve(posts, place).await, "no silence");
        assert!(sessions.lock().is_empty());
        assert_eq!(places.available_permits(), 1);
        assert!(matches!(heard.recv().await, Some(Event::Connected { .. })));
        assert!(matches!(
            heard.recv().await,
            Some(Event::Disconnected { .. })
        ));
    }
}
