//! `ringtmp serve`.

use crate::arguments::{Listen, Serve};
use crate::descriptors;
use crate::interrupt::interrupted;
use crate::{network, page};
use anyhow::Result;
use clap::Args;
use signaling_server::{CONNECTIONS_PER_ADDRESS, Config, Server};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use tokio::sync::oneshot;

/// Files that a server needs beside its sockets.
const OTHER_FILES: u32 = 64;

/// How many may come.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct RoomForAll {
    /// Devices connected at a time, 10 to 20 kB each; the next one is turned away with words. If not given, 16384 or what the system
    /// lets a program have open
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: Option<u32>,
    /// Devices connected at a time from one address; all behind one router have the same. 0 for no limits per address, as behind a proxy
    /// that has its own
    #[arg(long, value_name = "N", default_value_t = CONNECTIONS_PER_ADDRESS)]
    pub(crate) connections_per_address: u32,
}

impl Default for RoomForAll {
    fn default() -> Self {
        Self {
            connections: None,
            connections_per_address: CONNECTIONS_PER_ADDRESS,
        }
    }
}

impl RoomForAll {
    /// Within what the system lets this program have open, of which a quarter at most is for loading pages.
    fn within(self, config: Config, files: Option<u64>) -> Config {
        let files = files.map_or(u32::MAX, |files| u32::try_from(files).unwrap_or(u32::MAX));
        let files = files.saturating_sub(OTHER_FILES).max(4);
        let http_sockets_max = config.http_sockets_max.min(files / 4);
        let wanted = self.connections.unwrap_or(config.connections_max);
        Config {
            connections_max: wanted.min(files - http_sockets_max),
            connections_per_address_max: self.connections_per_address,
            http_sockets_max,
            ..config
        }
    }
}

/// Serves until it is interrupted. Where it shall be quiet, tells its address and what is missing.
pub(crate) async fn run(serve: Serve, quiet: bool) -> Result<()> {
    let mut server = bind(&serve.listen, serve.data, serve.room)?;
    let invitation = network::invite(&mut server, &serve.network, &serve.listen.host_name)?;
    outln!("{}", url(server.address()));
    if let Some(invitation) = invitation.filter(|_| !quiet) {
        eprintln!("{}", invitation.words(""));
        eprintln!("Native devices: {}", invitation.native("CODE"));
    }
    if !server.has_page() {
        let missing = page::missing(serve.listen.www.as_deref());
        eprintln!("No page is served: {missing}. Native devices can join all the same.");
    }
    if !server.address().ip().is_loopback() && !quiet {
        eprintln!(
            "Browsers on other devices get no WebGPU from a page without HTTPS: they train on their CPUs at {}.",
            server.address()
        );
    }
    if !quiet {
        eprintln!("Ctrl-C ends the server; devices that train already go on without it.");
    }
    Ok(server.run(interrupted()).await?)
}

/// The server on a task of its own.
pub(crate) struct Running<F> {
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) ended: tokio::task::JoinHandle<()>,
    /// Done when the server has ended of itself.
    pub(crate) failed: F,
}

impl Running<()> {
    pub(crate) fn start(server: Server) -> (Running<impl Future<Output = anyhow::Error>>, String) {
        let address = url(server.address());
        let (stop, stopped) = oneshot::channel();
        let (fail, failed) = oneshot::channel();
        let ended = tokio::spawn(async move {
            let stopped = async {
                let _dropped: Result<(), _> = stopped.await;
            };
            if let Err(error) = server.run(stopped).await {
                let _unheard = fail.send(error);
            }
        });
        let failed = async move {
            match failed.await {
                Ok(error) => anyhow::Error::from(error),
                Err(_) => anyhow::anyhow!("the server has ended; its message is above"),
            }
        };
        let running = Running {
            stop,
            ended,
            failed,
        };
        (running, address)
    }
}

/// Takes the port.
pub(crate) fn bind(listen: &Listen, data: Option<PathBuf>, room: RoomForAll) -> Result<Server> {
    let config = Config {
        address: SocketAddr::new(listen.bind, listen.port),
        www: page::source(listen.www.as_deref()),
        data,
        names: [network::own_names(), listen.host_name.clone()].concat(),
        ice_servers: listen.ice_server.clone(),
        ..Config::default()
    };
    let config = room.within(config, descriptors::raise());
    let connections = config.connections_max;
    if room.connections.is_some_and(|wanted| connections < wanted) {
        eprintln!(
            "This system lets a program have few files and sockets open (`ulimit -Hn`): there is room for {connections} devices."
        );
    }
    Ok(Server::bind(config)?)
}

/// The address of a server for programs on this device: one that listens on every address is reached at the loopback one.
/// A number and not `localhost`, which may lead to another program that listens on the other family's loopback address.
pub(crate) fn url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_as_many_as_the_system_lets_in() {
        let room = |connections, files| {
            let room = RoomForAll {
                connections,
                ..RoomForAll::default()
            };
            let config = room.within(Config::default(), files);
            (config.connections_max, config.http_sockets_max)
        };
        assert_eq!(room(None, None), (16_384, 2048));
        assert_eq!(room(None, Some(20_000)), (16_384, 2048));
        assert_eq!(room(Some(40_000), Some(20_064)), (17_952, 2048));
        assert_eq!(room(None, Some(1_064)), (750, 250));
        assert_eq!(room(Some(10), Some(0)), (3, 1));
    }

    #[test]
    fn a_server_on_every_address_is_reached_at_the_loopback_one() {
        let of = |text: &str| url(text.parse().expect("an address"));
        assert_eq!(of("0.0.0.0:80"), "http://127.0.0.1:80");
        assert_eq!(of("[::]:8080"), "http://[::1]:8080");
        assert_eq!(of("192.168.1.7:8080"), "http://192.168.1.7:8080");
    }
}
