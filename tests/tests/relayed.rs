//! Devices that cannot reach each other, and a server that relays between them: coturn, as Debian has it.

use anyhow::{Context, Result, ensure};
use ringtmp_core::profile::Planning;
use ringtmp_core::signal::{RoomState, RoomView};
use ringtmp_peer::RunFile;
use ringtmp_tests::NativePeer;
use ringtmp_tests::hosts::Host;
use ringtmp_tests::program::{Running, ringtmp};
use ringtmp_tests::turn::TurnServer;
use signaling_server::{Config, Server};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a ring may take to have trained: seconds, where nothing else runs.
const RUN_MAX: Duration = Duration::from_secs(120);

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
    let Some(relay) = TurnServer::start(one.here).await? else {
        return Ok(());
    };
    let server = Server::bind(Config {
        address: (Ipv4Addr::UNSPECIFIED, 0).into(),
        ice_servers: vec![relay.ice_server()?],
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
