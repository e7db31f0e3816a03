//! A server that relays between devices which cannot reach each other: coturn, as Debian has it.

use anyhow::{Context, Result, bail};
use ringtmp_core::signal::IceServer;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Stdio;
use std::time::Duration;
use tokio::net::UdpSocket;

/// How long coturn may take to start.
const STARTS_MAX: Duration = Duration::from_secs(20);

/// How often it is asked whether it has.
const ASKS_EVERY: Duration = Duration::from_millis(50);

/// coturn, which lets one user relay. It ends when this is dropped.
#[derive(Debug)]
pub struct TurnServer {
    _process: tokio::process::Child,
    address: SocketAddrV4,
}

impl TurnServer {
    /// Starts it on an address of this machine, and waits until it listens. None, with words, where it is not installed.
    ///
    /// # Errors
    ///
    /// That it does not answer, or has ended.
    pub async fn start(address: Ipv4Addr) -> Result<Option<Self>> {
        // Whichever is free will do; coturn takes none by itself.
        let port = UdpSocket::bind((address, 0)).await?.local_addr()?.port();
        let address = SocketAddrV4::new(address, port);
        let process = started(address).await?;
        Ok(process.map(|process| Self {
            _process: process,
            address,
        }))
    }

    /// For devices that are to use it.
    ///
    /// # Errors
    ///
    /// None: what it is made of can be read.
    pub fn ice_server(&self) -> Result<IceServer> {
        Ok(format!("turn:ring:relayed@{}", self.address).parse()?)
    }
}

async fn started(at: SocketAddrV4) -> Result<Option<tokio::process::Child>> {
    let (address, port) = (at.ip(), at.port());
    let mut command = tokio::process::Command::new("turnserver");
    command
        .args([
            "-n",
            "--log-file=stdout",
            "--no-cli",
            "--no-tls",
            "--no-dtls",
            "--fingerprint",
        ])
        .args(["--lt-cred-mech", "--realm=ringtmp", "--user=ring:relayed"])
        .arg(format!("--listening-ip={address}"))
        .arg(format!("--listening-port={port}"))
        .arg(format!("--relay-ip={address}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut server = match command.spawn() {
        Ok(server) => server,
        Err(error) => {
            eprintln!("SKIP: coturn cannot be started: {error}");
            return Ok(None);
        }
    };
    let answers = answers(at);
    tokio::select! {
        answered = tokio::time::timeout(STARTS_MAX, answers) => answered.context("coturn does not answer")??,
        ended = server.wait() => bail!("coturn has ended: {}", ended?),
    }
    Ok(Some(server))
}

/// Done when a server answers a request that every STUN server answers (RFC 8489, *Binding*).
async fn answers(address: SocketAddrV4) -> Result<()> {
    let socket = UdpSocket::bind((*address.ip(), 0)).await?;
    socket.connect(address).await?;
    let mut request = [0; 20];
    request[1] = 1;
    request[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
    loop {
        // While nobody listens, the system says so.
        let sent = socket.send(&request).await.is_ok();
        let mut answer = [0; 512];
        let answer = tokio::time::timeout(ASKS_EVERY, socket.recv(&mut answer));
        match answer.await {
            Ok(Ok(_)) if sent => return Ok(()),
            Ok(_) => tokio::time::sleep(ASKS_EVERY).await,
            Err(_) => {}
        }
    }
}
