//! Takes sockets in and serves HTTP on them, plain or over TLS, each within bounds of time and number.

use crate::addresses::{self, Addresses};
use crate::landing::{self, Landing};
use crate::metrics::Metrics;
use crate::places::{Busy, Place, Places};
use axum::Router;
use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ringtmp_core::lobby::VisitorId;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// How long a socket may take to send the head of a request, also between two requests: it bounds what an idle or
/// deliberately slow client can hold.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(15);

/// How long the handshake of TLS may take: a few round trips and some milliseconds of computing, on a phone as well.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How long an HTTP socket may live: enough for the largest data file (47 MB) at 1 Mbit/s.
const HTTP_SOCKET_LIFE_MAX: Duration = Duration::from_secs(400);

/// How long the end of a stream may take to be written: the other side may have stopped reading long ago.
const STREAM_END_MAX: Duration = Duration::from_secs(2);

/// How long to wait when the system has no more file descriptors: there is no event for one becoming free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The first byte of a TLS connection (a record of type *handshake*, RFC 8446, section 5.1). No method of HTTP begins with it.
const TLS_FIRST_BYTE: u8 = 22;

/// The listening sockets.
pub(crate) struct Doors {
    pub(crate) plain: TcpListener,
    pub(crate) secure: Option<SecureDoor>,
}

/// The one that speaks TLS, and explains itself to those who do not.
pub(crate) struct SecureDoor {
    pub(crate) listener: TcpListener,
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) landing: Landing,
}

/// What keeps sockets few, and counts them.
pub(crate) struct Bounds {
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) places: Arc<Places>,
    pub(crate) metrics: Arc<Metrics>,
}

/// What is answered from. Cheap to clone.
#[derive(Clone)]
struct Services {
    router: Router,
    secure: Option<(TlsAcceptor, Router)>,
    addresses: Arc<Addresses>,
    places: Arc<Places>,
    metrics: Arc<Metrics>,
}

/// Whoever sends a request, as far as the socket shows it.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    pub(crate) address: SocketAddr,
    socket: Arc<SocketLife>,
}

/// What a socket counts as.
#[derive(Debug)]
struct SocketLife {
    /// Among the sockets that load pages.
    place: Mutex<Option<Place>>,
    is_stream: AtomicBool,
    /// Once its stream is over, when it shall not live for long any more.
    stream_over: Notify,
}

impl Visitor {
    fn new(address: SocketAddr, place: Place) -> Self {
        let socket = SocketLife {
            place: Mutex::new(Some(place)),
            is_stream: AtomicBool::new(false),
            stream_over: Notify::new(),
        };
        Self {
            address,
            socket: Arc::new(socket),
        }
    }

    /// Whom it counts as.
    pub(crate) fn id(&self) -> VisitorId {
        addresses::visitor(self.address.ip())
    }

    /// From now on a request is being answered, until what is returned is dropped.
    fn is_busy(&self) -> Option<Busy> {
        let place = self.socket.place.lock();
        let place = place.unwrap_or_else(PoisonError::into_inner);
        place.as_ref().map(Place::is_busy)
    }

    /// From now on the socket is a signalling connection, with bounds of its own: it makes room for pages, and may grow old.
    pub(crate) fn becomes_stream(&self) {
        self.socket.is_stream.store(true, Ordering::Relaxed);
        let mut place = self
            .socket
            .place
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        drop(place.take());
    }

    /// The stream has said all that it will say: the socket is cut if the other side does not take it.
    pub(crate) fn stream_is_over(&self) {
        self.socket.stream_over.notify_one();
    }

    /// Done when the socket has lived for too long.
    async fn too_old(&self) {
        let aged = async {
            tokio::time::sleep(HTTP_SOCKET_LIFE_MAX).await;
            if self.socket.is_stream.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        let said = async {
            self.socket.stream_over.notified().await;
            tokio::time::sleep(STREAM_END_MAX).await;
        };
        tokio::select! {
            () = aged => {}
            () = said => {}
        }
    }
}

impl Doors {
    /// The next socket, and whether it is of the door that speaks TLS.
    async fn next(&self) -> (io::Result<(TcpStream, SocketAddr)>, bool) {
        let secure = async {
            match &self.secure {
                Some(door) => door.listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = self.plain.accept() => (accepted, false),
            accepted = secure => (accepted, true),
        }
    }
}

/// Takes in sockets for ever, each served by a task of its own.
pub(crate) async fn accept(
    doors: &Doors,
    router: Router,
    bounds: Bounds,
    sockets: &mut JoinSet<()>,
    goodbye: watch::Receiver<()>,
) -> Infallible {
    let Bounds {
        addresses,
        places,
        metrics,
    } = bounds;
    let secure = doors.secure.as_ref().map(|door| {
        let counted = (Arc::clone(&addresses), Arc::clone(&metrics));
        let landing = landing::router(door.landing.clone(), counted);
        (door.acceptor.clone(), landing)
    });
    let services = Services {
        router,
        secure,
        addresses,
        places,
        metrics,
    };
    loop {
        while sockets.try_join_next().is_some() {}
        let (accepted, is_secure) = doors.next().await;
        let (socket, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot take in a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let id = addresses::visitor(address.ip());
        if !services.addresses.may_come(id) {
            // There is nobody yet to say it to.
            services.metrics.address_refused.inc();
            continue;
        }
        let (place, was_taken) = services.places.take(id);
        if was_taken {
            services.metrics.idle_cut.inc();
        }
        let cut = place.cut();
        let visitor = Visitor::new(address, place);
        let (services, goodbye) = (services.clone(), goodbye.clone());
        sockets.spawn(async move {
            tokio::select! {
                () = serve(socket, is_secure, services, visitor, goodbye) => {}
                () = cut.notified() => tracing::debug!("an idle HTTP socket made room"),
            }
        });
    }
}

async fn serve(
    socket: TcpStream,
    is_secure: bool,
    services: Services,
    visitor: Visitor,
    goodbye: watch::Receiver<()>,
) {
    // Signalling messages are small and wait for answers: Nagle's algorithm would only delay them.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    match services.secure {
        Some((acceptor, landing)) if is_secure => {
            if !speaks_tls(&socket).await {
                return serve_http(socket, landing, visitor, goodbye).await;
            }
            match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(socket)).await {
                Ok(Ok(socket)) => serve_http(socket, services.router, visitor, goodbye).await,
                // A browser that is not sure of the certificate breaks off; it comes again.
                Ok(Err(error)) => tracing::debug!(%error, "no TLS with a visitor"),
                Err(_) => tracing::debug!("a visitor took too long to begin with TLS"),
            }
        }
        Some(_) | None => serve_http(socket, services.router, visitor, goodbye).await,
    }
}

/// Looks at the first byte, if there is one in time, and leaves it where it is.
async fn speaks_tls(socket: &TcpStream) -> bool {
    let mut first = [0];
    let looked = tokio::time::timeout(HEAD_WAIT_MAX, socket.peek(&mut first)).await;
    matches!(looked, Ok(Ok(1))) && first == [TLS_FIRST_BYTE]
}

/// Serves HTTP on one socket until it closes, is upgraded, grows too old, or the server says goodbye.
async fn serve_http(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    visitor: Visitor,
    mut goodbye: watch::Receiver<()>,
) {
    let routes = TowerToHyperService::new(router);
    let sender = visitor.clone();
    let service = hyper::service::service_fn(move |mut request: hyper::Request<_>| {
        request.extensions_mut().insert(sender.clone());
        let busy = sender.is_busy();
        let answered = routes.call(request);
        async move {
            let answer = answered.await?;
            Ok::<_, Infallible>(answer.map(|body| Answering { body, _busy: busy }))
        }
    });
    let mut connection = pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WAIT_MAX)
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades()
    );
    let served = async {
        tokio::select! {
            result = connection.as_mut() => return result,
            // An error means that the sender is gone, which is the goodbye.
            _ = goodbye.changed() => {}
        }
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    tokio::select! {
        result = served => {
            if let Err(error) = result {
                tracing::debug!(%error, "an HTTP socket ended badly");
            }
        }
        () = visitor.too_old() => tracing::debug!("an HTTP socket was cut for its age"),
    }
}

/// A body whose request counts as being answered until it has been written, or is given up.
struct Answering {
    body: Body,
    _busy: Option<Busy>,
}

impl hyper::body::Body for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
