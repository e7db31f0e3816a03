//! The signalling server: the meeting point of a ring, and the place its page comes from.
//!
//! One process, one address:
//!
//! | route | what it gives |
//! | --- | --- |
//! | `GET /`, `GET /r/{room}` | the page, `index.html` of [`Config::www`] |
//! | `GET /{file}` | its style, script and wasm, compressed once at start |
//! | `GET /signal` | a WebSocket that speaks [`ringtmp_core::signal`] |
//! | `GET /data/{file}` | MNIST-style IDX files of [`Config::data`], or as `/data/file` the text or table that it is |
//! | `GET /healthz` | `ok` |
//! | `GET /metrics` | Prometheus text |
//!
//! The rooms themselves are [`ringtmp_core::lobby`], which is pure; [`Server::run`] gives it a clock, random bytes and
//! sockets. Messages between peers are JSON texts that describe connections; tensors never come here.
//!
//! Every queue and wait below has a name and a bound: see the constants of each module.

mod assets;
mod connection;
mod data;
mod hub;
mod metrics;
mod negotiate;
mod routes;

use crate::assets::{Assets, Page};
use crate::data::DataFiles;
use crate::hub::Hub;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ringtmp_core::lobby::{Limits, Lobby};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

/// The command that fills [`Config::www`], for messages.
pub const BUILD_COMMAND: &str = "cargo xtask build-wasm";

/// HTTP sockets at a time, WebSockets not counted. A browser opens at most six for a page, so this is about eighty pages
/// loading at once; further ones wait in the system's backlog.
const HTTP_SOCKETS_MAX: usize = 512;

/// How long a socket may take to send the head of a request, also between two requests: it bounds what an idle or
/// deliberately slow client can hold.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(15);

/// How long an HTTP socket may live: enough for the largest data file (47 MB) at 1 Mbit/s.
const HTTP_SOCKET_LIFE_MAX: Duration = Duration::from_secs(400);

/// How long [`Server::run`] waits for open sockets after its shutdown future is done. Goodbyes take milliseconds; whoever
/// needs longer does not answer.
const SHUTDOWN_WAIT_MAX: Duration = Duration::from_secs(2);

/// How long to wait when the system has no more file descriptors: there is no event for one becoming free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes a free one, see [`Server::address`].
    pub address: SocketAddr,
    /// The folder of the built page. If it is not there the server starts all the same and says at `/` how to build it.
    pub www: PathBuf,
    /// A folder of IDX files to serve at `/data`, or a text or table to serve at `/data/file`.
    pub data: Option<PathBuf>,
    /// Limits of rooms and messages.
    pub limits: Limits,
    /// WebSockets at a time; the next one is turned away with words. Each may hold a queue of
    /// [`OUTGOING_MESSAGES_MAX`] messages.
    pub connections_max: u32,
    /// A WebSocket that has sent nothing for so long, not even the answer to a ping, is taken for dead. Pings go out four
    /// times in this time.
    pub silence_max: Duration,
    /// Let pages of other origins open WebSockets here. Off, a page elsewhere on the web cannot open rooms on the server
    /// of somebody who visits it.
    pub any_origin: bool,
}

pub use connection::OUTGOING_MESSAGES_MAX;

impl Default for Config {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            www: PathBuf::from("dist/www"),
            data: None,
            limits: Limits::default(),
            connections_max: 1024,
            silence_max: Duration::from_secs(20),
            any_origin: false,
        }
    }
}

/// Why a server does not start, or stopped. All are for whoever starts it: no remote input ends a server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another program has the port.
    #[error("port {} on {} is in use by another program: end that one, or choose another port (0 takes a free one)", .address.port(), .address.ip())]
    PortInUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The system does not let us listen there.
    #[error("cannot listen on {address}: {source}; choose another address or port")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The folder of the page is there but cannot be used.
    #[error("cannot load the page from {}: {detail}; build it again with `{BUILD_COMMAND}`", .path.display())]
    Page {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The data cannot be used.
    #[error("cannot serve data from {}: {detail}", .path.display())]
    Data {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The system gives no random bytes, so rooms could be guessed.
    #[error(
        "the system gives no random bytes ({0}); rooms would be guessable, so the server stops"
    )]
    Entropy(getrandom::Error),
}

/// A server that listens but does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: std::net::TcpListener,
    address: SocketAddr,
    page: Page,
    data: Option<DataFiles>,
    config: Config,
}

impl Server {
    /// Takes the port and loads the page. Blocks for as long as the page takes to compress: next to nothing when the build
    /// left `.br` and `.gz` files beside it.
    pub fn bind(config: Config) -> Result<Self, ServerError> {
        let address = config.address;
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => ServerError::PortInUse { address },
            _ => ServerError::Bind { address, source },
        };
        let listener = std::net::TcpListener::bind(address).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let page = Assets::load(&config.www)?;
        let data = config.data.as_deref().map(DataFiles::open).transpose()?;
        Ok(Self {
            listener,
            address,
            page,
            data,
            config,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the page was found; if not, browsers are told how to build it.
    pub fn has_page(&self) -> bool {
        matches!(self.page, Page::Built(_))
    }

    /// Serves until `shutdown` is done, then says goodbye to every socket, waiting at most two seconds. Dropping the
    /// future ends the server at once.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), ServerError> {
        let Self {
            listener,
            address,
            page,
            data,
            config,
        } = self;
        let listener = TcpListener::from_std(listener)
            .map_err(|source| ServerError::Bind { address, source })?;
        let lobby = Lobby::new(config.limits);
        let (statistics, statistics_seen) = watch::channel(lobby.statistics());
        let (events, events_queue) = mpsc::channel(hub::EVENTS_MAX);
        let metrics = metrics::Metrics::new(statistics_seen);
        let hub = Hub::new(lobby, statistics, metrics.slow_readers.clone());
        let places = Arc::new(Semaphore::new(config.connections_max as usize));
        let router = routes::router(routes::State {
            page: Arc::new(page),
            data: data.map(Arc::new),
            metrics: Arc::new(metrics),
            events,
            places: Arc::clone(&places),
            config: Arc::new(config.clone()),
        });
        let (goodbye, sockets_goodbye) = watch::channel(());
        let mut sockets = JoinSet::new();
        let outcome = tokio::select! {
            () = shutdown => Ok(()),
            error = hub.run(events_queue) => Err(error),
            never = accept(&listener, router, &mut sockets, sockets_goodbye) => match never {},
        };
        drop((listener, goodbye));
        let all_gone = async {
            while sockets.join_next().await.is_some() {}
            // Every WebSocket holds one of the places until it has said goodbye.
            drop(places.acquire_many(config.connections_max).await);
        };
        if tokio::time::timeout(SHUTDOWN_WAIT_MAX, all_gone)
            .await
            .is_err()
        {
            tracing::info!("some sockets did not answer the goodbye and were cut");
        }
        outcome
    }
}

/// Takes in sockets for ever, each served by a task of its own.
async fn accept(
    listener: &TcpListener,
    router: axum::Router,
    sockets: &mut JoinSet<()>,
    goodbye: watch::Receiver<()>,
) -> Infallible {
    let places = Arc::new(Semaphore::new(HTTP_SOCKETS_MAX));
    loop {
        while sockets.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            unreachable!("nobody closes this semaphore");
        };
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "cannot take in a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let served = serve_socket(socket, router.clone(), goodbye.clone());
        sockets.spawn(async move {
            served.await;
            drop(place);
        });
    }
}

/// Serves HTTP on one socket until it closes, is upgraded, grows too old, or the server says goodbye.
async fn serve_socket(socket: TcpStream, router: axum::Router, mut goodbye: watch::Receiver<()>) {
    // Signalling messages are small and wait for answers: Nagle's algorithm would only delay them.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let mut connection = pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WAIT_MAX)
            .serve_connection(TokioIo::new(socket), TowerToHyperService::new(router))
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
    match tokio::time::timeout(HTTP_SOCKET_LIFE_MAX, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an HTTP socket ended badly"),
        Err(_) => tracing::debug!("an HTTP socket was cut for its age"),
    }
}
