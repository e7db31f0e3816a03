//! `ringtmp bench server`: what a signalling server takes and bears: memory of an idle peer, how long a crowd takes to come in, how
//! long a message takes from peer to peer. Over real sockets on this machine, and beside other signalling servers in the same run.
//!
//! The server is a process of its own, so that its memory and its processor time are its own; all peers live in this process.
//! Messages are sent by the clock and not when the one before has arrived, and a delay counts from when a message was due, so
//! that a server that falls behind cannot hide it.

mod crowd;
mod dialect;
mod host;

use crate::descriptors;
use crate::exit::Failure;
use anyhow::{Context, Result, bail};
use clap::Args;
use crowd::{Crowd, Relayed, Storm};
use dialect::Dialect;
use host::Host;
use serde::Serialize;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// The version of the lines' JSON.
const SCHEMA_VERSION: u32 = 1;

/// How long a server rests between a phase and a look at its memory: buffers of what was just done are given back in this time.
const REST: Duration = Duration::from_secs(5);

/// Files that this program needs beside the sockets of its peers.
const OTHER_FILES: u64 = 64;

/// Members of a room of ours, at most.
const MEMBERS_MAX: u32 = 64;

#[derive(Args, Debug)]
pub(crate) struct ServerLoad {
    /// Peers that come, and then are idle
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..=60_000))]
    peers: u32,
    /// Rooms that they are in, equally many in each
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=30_000))]
    rooms: u32,
    /// Peers that then come all at once, into the same rooms
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(0..=20_000))]
    storm: u32,
    /// Connection messages a second, each from a member of a room to another
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    messages: u32,
    /// For so many seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// What to measure in place of `ringtmp serve`: a command that serves on {port} of this machine without limits per address
    #[arg(long, value_name = "COMMAND")]
    program: Option<String>,
    /// Another server to measure after it, matchbox=COMMAND or peerjs=COMMAND, which serves on {port}; or its address in place of the
    /// command. May be repeated
    #[arg(long, value_name = "NAME=COMMAND")]
    against: Vec<Rival>,
}

/// A server of others.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rival {
    dialect: Dialect,
    command: String,
}

impl FromStr for Rival {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, command) = text
            .split_once('=')
            .ok_or("say matchbox=COMMAND or peerjs=COMMAND")?;
        let dialect = match name {
            "matchbox" => Dialect::Matchbox,
            "peerjs" => Dialect::PeerJs,
            other => return Err(format!("{other:?} is none of matchbox, peerjs")),
        };
        let command = command.to_owned();
        Ok(Self { dialect, command })
    }
}

#[derive(Debug, Serialize)]
struct Line {
    schema_version: u32,
    server: &'static str,
    peers: u32,
    rooms: u32,
    /// Of the server, before anybody came and with all peers idle; none where the system does not tell.
    resident_bytes_before: Option<u64>,
    resident_bytes_idle: Option<u64>,
    bytes_per_peer: Option<f64>,
    /// How long the peers took to come, some at a time, and what that took of the server's processors.
    fill_seconds: f64,
    fill_cpu_seconds: Option<f64>,
    /// What the idle peers cost the server: seconds of a processor in a second.
    idle_cpu: Option<f64>,
    storm: Storm,
    storm_cpu_seconds: Option<f64>,
    relay: Relayed,
    relay_cpu_seconds: Option<f64>,
    /// Of all peers, when all was done.
    peers_lost: u32,
    cores: usize,
}

pub(super) async fn run(load: ServerLoad) -> Result<()> {
    let members = (load.peers + load.storm).div_ceil(load.rooms);
    if load.rooms * 2 > load.peers || members > MEMBERS_MAX {
        let text = format!(
            "{} peers and {} more in {} rooms: a room takes 2 to {MEMBERS_MAX} of them",
            load.peers, load.storm, load.rooms
        );
        bail!(text);
    }
    let files = descriptors::raise();
    let needed = u64::from(load.peers + load.storm) + OTHER_FILES;
    if files.is_some_and(|files| files < needed) {
        let text = format!(
            "this system lets a program have {} files and sockets open, and {needed} are needed: raise it (`ulimit -n`), or take fewer --peers",
            files.unwrap_or_default()
        );
        return Err(Failure::Missing(text).into());
    }
    let ours = match &load.program {
        Some(program) => program.clone(),
        None => own_command()?,
    };
    let ours = Rival {
        dialect: Dialect::Ringtmp,
        command: ours,
    };
    for rival in std::iter::once(&ours).chain(&load.against) {
        let name = rival.dialect.name();
        let line = measure(&load, rival)
            .await
            .with_context(|| format!("{name} cannot be measured"))?;
        outln!("{}", serde_json::to_string(&line)?);
    }
    Ok(())
}

fn own_command() -> Result<String> {
    let program = std::env::current_exe().context("cannot find this program itself")?;
    let program = program
        .to_str()
        .filter(|path| !path.contains(char::is_whitespace))
        .context("this program lies at a path that no command can name: use --program")?;
    Ok(format!(
        "{program} serve --no-lan --port {{port}} --connections 65536 --connections-per-address 0"
    ))
}

/// Reads the server's processor time between two moments.
struct CpuWatch(Option<f64>);

impl CpuWatch {
    fn start(host: &Host) -> Self {
        Self(host.cpu_seconds())
    }

    fn taken(&self, host: &Host) -> Option<f64> {
        Some(host.cpu_seconds()? - self.0?)
    }
}

async fn measure(load: &ServerLoad, rival: &Rival) -> Result<Line> {
    let say = |text: &str| eprintln!("{}: {text}", rival.dialect.name());
    let host = Host::start(&rival.command).await?;
    tokio::time::sleep(REST).await;
    let before = host.resident_bytes();
    let cpu = CpuWatch::start(&host);
    let mut crowd = Crowd::new(rival.dialect, host.address(), load.rooms);
    say(&format!(
        "{} peers come into {} rooms",
        load.peers, load.rooms
    ));
    let begun = Instant::now();
    crowd.fill(load.peers).await?;
    let (fill_seconds, fill_cpu_seconds) = (begun.elapsed().as_secs_f64(), cpu.taken(&host));
    tokio::time::sleep(REST).await;
    let idle = host.resident_bytes();
    let cpu = CpuWatch::start(&host);
    tokio::time::sleep(REST).await;
    let idle_cpu = cpu.taken(&host).map(|cpu| cpu / REST.as_secs_f64());
    say(&format!("{} more come at once", load.storm));
    let cpu = CpuWatch::start(&host);
    let storm = crowd.storm(load.storm).await;
    let storm_cpu_seconds = cpu.taken(&host);
    tokio::time::sleep(REST).await;
    say(&format!("{} messages a second", load.messages));
    let cpu = CpuWatch::start(&host);
    let relay = crowd.relay(load.messages, load.seconds).await?;
    let relay_cpu_seconds = cpu.taken(&host);
    let grown = |idle: u64| before.map(|before| idle.saturating_sub(before));
    let grown = idle.and_then(grown);
    Ok(Line {
        schema_version: SCHEMA_VERSION,
        server: rival.dialect.name(),
        peers: load.peers,
        rooms: load.rooms,
        resident_bytes_before: before,
        resident_bytes_idle: idle,
        bytes_per_peer: grown.map(|bytes| bytes as f64 / f64::from(load.peers)),
        fill_seconds,
        fill_cpu_seconds,
        idle_cpu,
        storm,
        storm_cpu_seconds,
        relay,
        relay_cpu_seconds,
        peers_lost: crowd.lost(),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use signaling_server::{Config, Server};
    use std::net::{Ipv4Addr, SocketAddr};

    #[test]
    fn rivals_are_named_and_have_a_command() {
        let rival: Rival = "peerjs=node peerjs --port {port}".parse().expect("a rival");
        assert_eq!(rival.dialect, Dialect::PeerJs);
        assert_eq!(rival.command, "node peerjs --port {port}");
        assert!("matchbox".parse::<Rival>().is_err());
        assert!("other=command".parse::<Rival>().is_err());
    }

    /// The whole of it with a small crowd, against a server that runs already.
    #[tokio::test]
    async fn a_small_crowd_is_measured() {
        let server = Server::bind(Config {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ..Config::default()
        });
        let server = server.expect("a free port");
        let address = server.address();
        let serving = tokio::spawn(server.run(std::future::pending()));
        let mut crowd = Crowd::new(Dialect::Ringtmp, address, 3);
        crowd.fill(9).await.expect("all come in");
        let storm = crowd.storm(6).await;
        assert_eq!((storm.peers, storm.failed), (6, 0), "{storm:?}");
        let relayed = crowd.relay(100, 1).await.expect("there are pairs");
        assert_eq!((relayed.sent, relayed.lost), (100, 0), "{relayed:?}");
        assert!(relayed.p50_ms > 0.0 && relayed.p50_ms <= relayed.p99_ms);
        assert!(relayed.p99_ms <= relayed.longest_ms);
        assert_eq!(crowd.lost(), 0);
        serving.abort();
    }
}
