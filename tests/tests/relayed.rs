//! Devices that cannot reach each other, and a server that relays between them: coturn, as Debian has it.

use anyhow::{Context, Result, bail, ensure};
use ringtmp_core::profile::Planning;
use ringtmp_core::signal::{IceServer, RoomState, RoomView};
use ringtmp_peer::RunFile;
use ringtmp_tests::NativePeer;
use ringtmp_tests::hosts::Host;
use ringtmp_tests::program::{Running, ringtmp};
use signaling_server::{Config, Server};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

/// How long a ring may take to have trained: seconds, where nothing else runs.
const RUN_MAX: Duration = Duration::from_secs(120);

/// How long coturn may take to start.
const STARTS_MAX: Duration = Duration::from_secs(20);

/// How often it is asked whether it has.
const ASKS_EVERY: Duration = Duration::from_millis(50);

/// coturn, which lets one user relay; once it listens. None, with words, where it is not installed.
async fn relay_server(address: Ipv4Addr, port: u16) -> Result<Option<tokio::process::Child>> {
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
    let answers = answers((address, port));
    tokio::select! {
        answered = tokio::time::timeout(STARTS_MAX, answers) => answered.context("coturn does not answer")??,
        ended = server.wait() => bail!("coturn has ended: {}", ended?),
    }
    Ok(Some(server))
}

/// Done when a server answers a request that every STUN server answers (RFC 8489, *Binding*).
async fn answers(address: (Ipv4Addr, u16)) -> Result<()> {
    let socket = UdpSocket::bind((address.0, 0)).await?;
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

fn joins(host: &Host, server: SocketAddr, room: &str) -> Result<Running> {
    let mut command = host.command(ringtmp()?);
    command
        .args(["--quiet", "join", "--executor", "cpu", "--no-keep"])
        .arg(format!("http://{}:{}/r/{room}", host.here, server.port()))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    Running::start(&mut command)
}

/// Whether a device of the ring says that what it sends goes by way of a server: of the one connection that two devices have either
/// end may know.
fn is_relayed(room: &RoomView) -> bool {
    let mut links = room.members.iter().flat_map(|member| &member.links);
    links.any(|link| link.relayed)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_that_cannot_reach_each_other_train_by_way_of_a_relay_and_say_so() -> Result<()> {
    let (Some(one), Some(other)) = (Host::new(1)?, Host::new(2)?) else {
        return Ok(());
    };
    other.reaches(one.here)?;
    // Whichever is free will do; coturn takes none by itself.
    let port = UdpSocket::bind((one.here, 0)).await?.local_addr()?.port();
    let Some(_relay) = relay_server(one.here, port).await? else {
        return Ok(());
    };
    let url = format!("turn:ring:relayed@{}:{port}", one.here);
    let server = Server::bind(Config {
        address: (Ipv4Addr::UNSPECIFIED, 0).into(),
        ice_servers: vec![url.parse::<IceServer>()?],
        ..Config::default()
    })?;
    let address = server.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(server.run(async { drop(stopped.await) }));

    let run = RunFile {
        steps: 300,
        evaluate_every: 0,
        evaluation_samples: 0,
        planning: Planning::Counted,
        start_at_peers: 2,
        ..RunFile::of_preset("mlp")
    };
    let local = format!(
        "http://{}",
        SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))
    );
    let mut watcher = NativePeer::open(&local, run)?;
    let room = watcher.room(RUN_MAX).await?.to_string();
    let _devices = [joins(&one, address, &room)?, joins(&other, address, &room)?];
    let seen = watcher.until(RUN_MAX, |view| {
        let room = view.room.as_ref();
        room.is_some_and(|room| is_relayed(room) || matches!(room.state, RoomState::Stopped { .. }))
    });
    let view = seen.await.context("links that are relayed")?;
    let room = view.room.context("a room")?;
    ensure!(is_relayed(&room), "{:?}", room.state);
    let finished = watcher.until(RUN_MAX, |view| {
        view.room
            .as_ref()
            .is_some_and(|room| room.state == RoomState::Finished)
    });
    finished.await.context("the end")?;
    watcher.leave()?;
    drop(stop);
    served.await??;
    Ok(())
}
