//! The signalling server: the meeting point of a ring, and the place its page comes from.
//!
//! One process, one address, and one more ([`Server::serve_network`]) with HTTPS for the other devices of a network:
//!
//! | route | what it gives |
//! | --- | --- |
//! | `GET /`, `GET /r/{room}` | the page, `index.html` of [`Config::www`], a folder or part of the program |
//! | `GET /{file}` | its style, script and wasm, compressed once at start |
//! | `GET /signal` | a WebSocket that speaks [`ringtmp_core::signal`] |
//! | `GET /signal/events`, `POST /signal/send` | the same over server-sent events and posts, for browsers that refuse the WebSocket |
//! | `GET /data/{file}` | MNIST-style IDX files of [`Config::data`], or as `/data/file` the text or table that it is |
//! | `GET /lan` | the HTTPS addresses of [`Server::serve_network`], for pages on this very device only |
//! | `GET /healthz` | `ok` |
//! | `GET /metrics` | Prometheus text |
//!
//! The rooms themselves are [`ringtmp_core::lobby`], which is pure; [`Server::run`] gives it a clock, random bytes and
//! sockets. Messages between peers are JSON texts that describe connections; tensors never come here.
//!
//! Every queue and wait below has a name and a bound: see the constants of each module.

mod addresses;
mod assets;
pub mod certificate;
mod connection;
mod data;
mod events;
mod host;
mod hub;
mod landing;
mod metrics;
mod negotiate;
mod outgoing;
mod places;
mod routes;
mod sockets;

use crate::addresses::Addresses;
use crate::assets::{Assets, Page};
use crate::certificate::Certificate;
use crate::data::DataFiles;
use crate::host::Hosts;
use crate::hub::Hub;
use crate::landing::Landing;
use crate::places::Places;
use crate::sockets::{Bounds, Doors, SecureDoor};
use ringtmp_core::lobby::{Limits, Lobby};
use ringtmp_core::signal::IceServer;
use socket2::{Domain, Socket, Type};
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::ServerConfig;
use tokio_rustls::rustls::sign::SingleCertAndKey;

pub use assets::{PageFile, PageSource};

/// The command that fills a folder for [`Config::www`], for messages.
pub const BUILD_COMMAND: &str = "cargo xtask build-wasm";

/// The command that builds a program with the page in it, for messages.
pub const DIST_COMMAND: &str = "cargo xtask dist";

/// How long [`Server::run`] waits for open sockets after its shutdown future is done. Goodbyes take milliseconds; whoever
/// needs longer does not answer.
const SHUTDOWN_WAIT_MAX: Duration = Duration::from_secs(2);

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes a free one, see [`Server::address`].
    pub address: SocketAddr,
    /// The built page. If it is not there the server starts all the same and says at `/` how to build it.
    pub www: PageSource,
    /// A folder of IDX files to serve at `/data`, or a text or table to serve at `/data/file`.
    pub data: Option<PathBuf>,
    /// Limits of rooms and messages.
    pub limits: Limits,
    /// Signalling connections at a time; the next one is turned away with words. Each may hold a queue of
    /// [`OUTGOING_MESSAGES_MAX`] messages and [`OUTGOING_BYTES_MAX`] bytes.
    pub connections_max: u32,
    /// Signalling connections at a time of one address, or of one network of IPv6; how many of them it may open, and how much it may
    /// ask, in a while follow from it (`addresses`). 0 for no limits, of rooms neither, as behind a proxy, where all come from one
    /// address.
    pub connections_per_address_max: u32,
    /// HTTP sockets at a time, signalling connections not counted; further ones take the places of those that ask for nothing.
    pub http_sockets_max: u32,
    /// A signalling connection that has sent nothing for so long, not even the answer to a ping, is taken for dead. Pings go out four
    /// times in this time.
    pub silence_max: Duration,
    /// Let pages of other origins open signalling connections here. Off, a page elsewhere on the web cannot open rooms on the server
    /// of somebody who visits it.
    pub any_origin: bool,
    /// Names under which this server may be asked, besides `localhost` and addresses; requests for other names are refused.
    pub names: Vec<String>,
    /// Servers by which devices may make links that do not reach each other; none for links within a network alone.
    pub ice_servers: Vec<IceServer>,
}

/// Signalling connections that one address may have, unless told otherwise: 200 phones behind one address, each with one, and with
/// another while it comes in.
pub const CONNECTIONS_PER_ADDRESS: u32 = 512;

/// HTTP sockets at a time, unless told otherwise. A browser opens at most six for a page, so this is more than 300 pages loading at
/// once.
pub const HTTP_SOCKETS: u32 = 2048;

/// Sockets that may wait to be taken in. A thousand that come at once are taken in within a fraction of a second; what finds no place
/// here comes again only after a second.
const BACKLOG: i32 = 4096;

pub use outgoing::{OUTGOING_BYTES_MAX, OUTGOING_MESSAGES_MAX};

impl Config {
    /// Where addresses have no limits, one may open all rooms too.
    fn lobby_limits(&self) -> Limits {
        let mut limits = self.limits;
        if self.connections_per_address_max == 0 {
            limits.rooms_per_visitor_max = limits.rooms_max;
        }
        limits
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            www: PageSource::from("dist/www"),
            data: None,
            limits: Limits::default(),
            connections_max: 16_384,
            connections_per_address_max: CONNECTIONS_PER_ADDRESS,
            http_sockets_max: HTTP_SOCKETS,
            silence_max: Duration::from_secs(20),
            any_origin: false,
            names: Vec::new(),
            ice_servers: Vec::new(),
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
    /// The page is there but cannot be used.
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
    /// TLS cannot be set up with this certificate.
    #[error(
        "cannot speak HTTPS: {0}; serve without --cert and --key, or without other devices (--no-lan)"
    )]
    Tls(String),
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
    network: Option<Network>,
    page: Page,
    data: Option<DataFiles>,
    config: Config,
}

impl Server {
    /// Takes the port and loads the page. Blocks for as long as the page takes to compress: next to nothing when the build
    /// left `.br` and `.gz` files beside it.
    pub fn bind(config: Config) -> Result<Self, ServerError> {
        let (listener, address) = listen(config.address)?;
        let page = Assets::load(&config.www)?;
        let data = config.data.as_deref().map(DataFiles::open).transpose()?;
        Ok(Self {
            listener,
            address,
            network: None,
            page,
            data,
            config,
        })
    }

    /// Serves other devices too: takes a second port, on which it will speak HTTPS with this certificate. `hosts` are this
    /// device's addresses (or names) in its networks as links write them, best first. Returns the links to the page there, which pages
    /// on this device are told too.
    ///
    /// # Errors
    ///
    /// Why it cannot have the port. The server is as it was.
    pub fn serve_network(
        &mut self,
        address: SocketAddr,
        certificate: Certificate,
        hosts: &[String],
    ) -> Result<Vec<String>, ServerError> {
        let (listener, address) = listen(address)?;
        let link = |host: &String| format!("https://{host}:{}", address.port());
        let links: Vec<String> = hosts.iter().map(link).collect();
        // Whoever has vouched for a name may ask by it.
        self.config.names.extend(certificate.names());
        self.network = Some(Network {
            listener,
            address,
            links: links.clone(),
            certificate,
        });
        Ok(links)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it serves data, to whoever reaches it.
    pub fn serves_data(&self) -> bool {
        self.data.is_some()
    }

    /// Whether there is a page; if not, browsers are told how to build it.
    pub fn has_page(&self) -> bool {
        matches!(self.page, Page::Built(_))
    }

    /// Serves until `shutdown` is done, then says goodbye to every socket, waiting at most two seconds. Dropping the
    /// future ends the server at once.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), ServerError> {
        let Self {
            listener,
            address,
            network,
            page,
            data,
            config,
        } = self;
        let page = Arc::new(page);
        let hosts = Arc::new(Hosts::new(&config.names));
        let lan = Arc::new(Lan::of(network.as_ref()));
        let doors = Doors {
            plain: asynchronous(listener, address)?,
            secure: network
                .map(|network| network.door(Arc::clone(&page), Arc::clone(&hosts)))
                .transpose()?,
        };
        let mut lobby = Lobby::new(config.lobby_limits(), incarnation());
        lobby.tell_of(config.ice_servers.clone());
        let (statistics, statistics_seen) = watch::channel(lobby.statistics());
        let (events, events_queue) = mpsc::channel(hub::EVENTS_MAX);
        let metrics = Arc::new(metrics::Metrics::new(statistics_seen));
        let hub = Hub::new(lobby, statistics, metrics.slow_readers.clone());
        let addresses = Arc::new(Addresses::new(config.connections_per_address_max));
        let bounds = Bounds {
            addresses: Arc::clone(&addresses),
            places: Arc::new(Places::new(config.http_sockets_max as usize)),
            metrics: Arc::clone(&metrics),
        };
        let places = Arc::new(Semaphore::new(config.connections_max as usize));
        let router = routes::router(routes::State {
            page,
            lan,
            hosts,
            data: data.map(Arc::new),
            metrics,
            events,
            places: Arc::clone(&places),
            addresses,
            sessions: Arc::default(),
            connections: Arc::default(),
            config: Arc::new(config.clone()),
        });
        let (goodbye, sockets_goodbye) = watch::channel(());
        let mut sockets = JoinSet::new();
        let outcome = tokio::select! {
            () = shutdown => Ok(()),
            error = hub.run(events_queue) => Err(error),
            never = sockets::accept(&doors, router, bounds, &mut sockets, sockets_goodbye) => match never {},
        };
        drop((doors, goodbye));
        let all_gone = async {
            while sockets.join_next().await.is_some() {}
            // Every signalling connection holds one of the places until it has said goodbye.
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

/// The second port.
#[derive(Debug)]
struct Network {
    listener: std::net::TcpListener,
    address: SocketAddr,
    links: Vec<String>,
    certificate: Certificate,
}

/// What pages on this device are told of it.
#[derive(Debug, Default)]
pub(crate) struct Lan {
    pub(crate) links: Vec<String>,
    /// The certificate's fingerprint.
    pub(crate) certificate_sha256: Option<String>,
    /// Whether browsers warn of the certificate.
    pub(crate) is_warned_of: bool,
}

impl Lan {
    fn of(network: Option<&Network>) -> Self {
        network.map_or_else(Self::default, |network| Self {
            links: network.links.clone(),
            certificate_sha256: Some(network.certificate.sha256()),
            is_warned_of: network.certificate.is_self_signed(),
        })
    }
}

impl Network {
    fn door(self, page: Arc<Page>, hosts: Arc<Hosts>) -> Result<SecureDoor, ServerError> {
        let warned_of = self.certificate.is_self_signed();
        let warned_of = warned_of.then(|| self.certificate.sha256().into());
        Ok(SecureDoor {
            listener: asynchronous(self.listener, self.address)?,
            acceptor: acceptor(self.certificate)?,
            landing: Landing {
                page,
                hosts,
                warned_of,
            },
        })
    }
}

fn acceptor(certificate: Certificate) -> Result<TlsAcceptor, ServerError> {
    // Named here, since the program may hold other providers too.
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ServerError::Tls(error.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certificate.into_key())));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn listen(address: SocketAddr) -> Result<(std::net::TcpListener, SocketAddr), ServerError> {
    let refused = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => ServerError::PortInUse { address },
        _ => ServerError::Bind { address, source },
    };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).map_err(refused)?;
    // A server that was restarted gets its port back at once. Elsewhere this would let two programs have one port.
    if cfg!(unix) {
        socket.set_reuse_address(true).map_err(refused)?;
    }
    socket.bind(&address.into()).map_err(refused)?;
    socket.listen(BACKLOG).map_err(refused)?;
    socket.set_nonblocking(true).map_err(refused)?;
    let listener = std::net::TcpListener::from(socket);
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

fn asynchronous(
    listener: std::net::TcpListener,
    address: SocketAddr,
) -> Result<TcpListener, ServerError> {
    TcpListener::from_std(listener).map_err(|source| ServerError::Bind { address, source })
}

/// Seconds since 1970: greater than that of the server that was here before, so that no epoch is issued twice.
fn incarnation() -> u32 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // A clock that stands before 1970 gives 0, and rooms then go by what their members say.
    since.map_or(0, |since| {
        u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
    })
}
