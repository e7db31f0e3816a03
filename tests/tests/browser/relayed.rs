//! Tabs on two hosts that cannot reach each other, and a server that relays between them.

use super::stage::{pictures, trains};
use super::{JOIN_MAX, RUN_MAX};
use anyhow::{Result, ensure};
use ringtmp_peer::View;
use ringtmp_tests::hosts::Host;
use ringtmp_tests::turn::TurnServer;
use ringtmp_tests::{Browser, BrowserKind, Theatre, fragment_last, repository};
use signaling_server::{Config, Server};
use std::net::Ipv4Addr;

/// Updates of the run, and operations per second of its devices: so slow on any machine that links are seen before the end.
const STEPS: u32 = 200;
const PACE: &str = "2e9";

/// Whether either end of the link says that it is relayed: of one connection either may know.
fn is_relayed(view: &View) -> bool {
    let members = view.room.iter().flat_map(|room| &room.members);
    members
        .flat_map(|member| &member.links)
        .any(|link| link.relayed)
}

#[tokio::test]
async fn tabs_that_cannot_reach_each_other_train_by_way_of_a_relay_and_their_pages_say_so()
-> Result<()> {
    let Some(_theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let (Some(one), Some(other)) = (Host::new(4)?, Host::new(5)?) else {
        return Ok(());
    };
    one.has_a_way_out()?;
    other.has_a_way_out()?;
    one.cannot_reach(&other)?;
    other.cannot_reach(&one)?;
    let Some(relay) = TurnServer::start(one.here).await? else {
        return Ok(());
    };
    let server = Server::bind(Config {
        address: (Ipv4Addr::UNSPECIFIED, 0).into(),
        www: repository().join("dist/www").into(),
        ice_servers: vec![relay.ice_server()?],
        ..Config::default()
    })?;
    let port = server.address().port();
    let server = tokio::spawn(server.run(std::future::pending()));

    let (near, far) = (
        Browser::start_at(&one).await?,
        Browser::start_at(&other).await?,
    );
    let settings =
        format!("peers=2&steps={STEPS}&codec=f32&planning=counted&executor=cpu&pace={PACE}");
    let page = |host: &Host| format!("http://{}:{port}", host.here);
    let first = near
        .tab(&format!("{}/?create&{settings}", page(&one)))
        .await?;
    let room = first.room(JOIN_MAX).await?;
    let address = format!("{}/r/{room}?join&executor=cpu&pace={PACE}", page(&other));
    let second = far.tab(&fragment_last(&address)).await?;
    for tab in [&first, &second] {
        tab.wait_for(RUN_MAX, "training", trains).await?;
        tab.wait_for(RUN_MAX, "a link that is relayed", is_relayed)
            .await?;
        tab.wait_for_text(RUN_MAX, "relayed").await?;
    }
    pictures(&second, "relayed").await?;
    for tab in [&first, &second] {
        let result = tab.finished(RUN_MAX).await?;
        ensure!(result.steps == STEPS, "{result:?}");
    }
    server.abort();
    Ok(())
}
