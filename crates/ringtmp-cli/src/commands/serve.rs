//! `ringtmp serve`.

use crate::arguments::{Listen, Serve};
use crate::interrupt::interrupted;
use crate::{network, page};
use anyhow::Result;
use signaling_server::{Config, Server};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use tokio::sync::oneshot;

/// Serves until it is interrupted. Where it shall be quiet, tells its address and what is missing.
pub(crate) async fn run(serve: Serve, quiet: bool) -> Result<()> {
    let mut server = bind(&serve.listen, serve.data)?;
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
pub(crate) fn bind(listen: &Listen, data: Option<PathBuf>) -> Result<Server> {
    Ok(Server::bind(Config {
        address: SocketAddr::new(listen.bind, listen.port),
        www: page::source(listen.www.as_deref()),
        data,
        names: [network::own_names(), listen.host_name.clone()].concat(),
        ice_servers: listen.ice_server.clone(),
        ..Config::default()
    })?)
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
    fn a_server_on_every_address_is_reached_at_the_loopback_one() {
        let of = |text: &str| url(text.parse().expect("an address"));
        assert_eq!(of("0.0.0.0:80"), "http://127.0.0.1:80");
        assert_eq!(of("[::]:8080"), "http://[::1]:8080");
        assert_eq!(of("192.168.1.7:8080"), "http://192.168.1.7:8080");
    }
}
