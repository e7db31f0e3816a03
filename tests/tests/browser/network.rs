//! Other devices of the network: HTTPS, how they are invited, and browsers that hold things back.

use super::{JOIN_MAX, RUN_MAX, digests_of_one_tab, ring, train};
use anyhow::{Context, Result, ensure};
use ringtmp_core::signal::ExecutorKind;
use ringtmp_tests::{BrowserKind, Tab, Theatre, repository};
use signaling_server::{Config, Server};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use tokio::net::{TcpListener, TcpStream};

/// The link that a page shows for other devices.
async fn link(tab: &Tab) -> Result<String> {
    let value = tab
        .execute("return document.querySelector('.share input').value")
        .await?;
    Ok(value.as_str().context("a link")?.to_owned())
}

#[tokio::test]
async fn tabs_that_talk_by_events_and_posts_get_the_weights_of_one_tab() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let settings = "executor=cpu&signalling=events";
    let (tabs, _) = ring(&theatre, &[&browser; 2], settings, 0).await?;
    let result = train(&tabs).await?;
    let metrics = reqwest::get(theatre.url("/metrics")).await?.text().await?;
    ensure!(
        metrics.contains("ringtmp_event_streams_total 2\n"),
        "both have a stream of events:\n{metrics}"
    );
    drop(tabs);
    ensure!(
        digests_of_one_tab(&theatre, &browser).await? == result.digests,
        "bit for bit, as one tab over a WebSocket"
    );
    Ok(())
}

/// Passes on all but WebSockets, as browsers of iOS do where a certificate signs itself.
async fn refuse_web_sockets(listener: TcpListener, server: String) {
    while let Ok((mut client, _)) = listener.accept().await {
        let server = server.clone();
        tokio::spawn(async move {
            // A WebSocket has a connection of its own, which begins with it.
            let mut head = [0; 64];
            let length = client.peek(&mut head).await?;
            if head[..length].starts_with(b"GET /signal HTTP") {
                return Ok(());
            }
            let mut server = TcpStream::connect(server).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await?;
            Ok::<_, std::io::Error>(())
        });
    }
}

#[tokio::test]
async fn a_tab_that_is_refused_the_web_socket_talks_by_events() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let server = theatre.url("").replacen("http://", "", 1);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let between = listener.local_addr()?;
    let proxy = tokio::spawn(refuse_web_sockets(listener, server));
    let address = format!("http://{between}/?create&peers=1&steps=5&executor=cpu");
    let tab = browser.tab(&address).await?;
    tab.finished(RUN_MAX).await?;
    proxy.abort();
    let metrics = reqwest::get(theatre.url("/metrics")).await?.text().await?;
    ensure!(
        metrics.contains("ringtmp_event_streams_total 1\n"),
        "it has a stream of events:\n{metrics}"
    );
    Ok(())
}

#[tokio::test]
async fn the_code_on_the_page_leads_another_device_in_over_https() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let (mut tabs, room) = ring(&theatre, &[&browser], "executor=cpu", 1).await?;
    let host = tabs.first().context("one tab")?;
    host.wait_for_text(JOIN_MAX, "scan the code").await?;
    let shown = link(host).await?;
    ensure!(
        shown == theatre.secure_url(&format!("/r/{room}")),
        "the link is {shown}"
    );
    let code = host
        .execute(
            "const svg = document.querySelector('.share svg'); \
             return [svg.getAttribute('aria-label'), svg.querySelector('path').getAttribute('d').length > 500]",
        )
        .await?;
    let expected = serde_json::json!([format!("QR code of {shown}"), true]);
    ensure!(code == expected, "the code is {code}");

    // A hall that types the address is told too what comes first.
    let hall = browser
        .tab(&theatre.url(&format!("/r/{room}?view=projector")))
        .await?;
    hall.wait_for_text(JOIN_MAX, "Your browser warns once")
        .await?;
    drop(hall);
    // Typed without https, it explains what comes first.
    let guest = browser
        .tab(&shown.replacen("https://", "http://", 1))
        .await?;
    guest.wait_for_text(JOIN_MAX, "will warn you once").await?;
    guest
        .execute("document.querySelector('a.primary').click()")
        .await?;
    guest.wait_for_text(JOIN_MAX, "Before you join").await?;
    guest.press("Join").await?;
    let view = guest
        .wait_for(JOIN_MAX, "a room", |view| view.room.is_some())
        .await?;
    ensure!(
        view.room.map(|room| room.code) == Some(room.room),
        "the same room"
    );
    let secure = guest
        .execute("return [isSecureContext, location.protocol]")
        .await?;
    ensure!(secure == serde_json::json!([true, "https:"]), "{secure}");
    tabs.push(guest);
    train(&tabs).await?;
    Ok(())
}

#[tokio::test]
async fn a_page_elsewhere_that_leads_here_opens_no_room() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let tab = browser.tab("data:text/html,elsewhere").await?;
    let opens = theatre.url("/?create&peers=1&steps=1000000&executor=cpu");
    tab.execute(&format!("location.href = {opens:?}")).await?;
    tab.wait_for_text(JOIN_MAX, "Create room").await?;
    let bare = tab
        .execute("return location.pathname + location.search")
        .await?;
    ensure!(bare == "/", "{bare}");
    let metrics = reqwest::get(theatre.url("/metrics")).await?.text().await?;
    ensure!(metrics.contains("ringtmp_rooms 0\n"), "{metrics}");
    Ok(())
}

/// The address of this machine in its network. Nothing is sent for it.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(("203.0.113.1", 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[tokio::test]
async fn a_page_without_https_says_what_is_missing_and_trains_on_the_cpu() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let Some(address) = own_address() else {
        eprintln!("SKIP: this machine is in no network");
        return Ok(());
    };
    let server = Server::bind(Config {
        address: (address, 0).into(),
        www: repository().join("dist/www").into(),
        ..Config::default()
    })?;
    let page = format!("http://{}", server.address());
    let server = tokio::spawn(server.run(std::future::pending()));
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let tab = browser.tab(&page).await?;
    tab.wait_for_text(JOIN_MAX, "came without HTTPS").await?;
    tab.goto(&format!("{page}/?create&peers=1&steps=5")).await?;
    tab.finished(RUN_MAX).await?;
    let text = tab.text().await?;
    ensure!(
        text.contains("came without HTTPS") && text.contains("https://"),
        "the page says what is missing and what to do:\n{text}"
    );
    let view = tab.view().await?.context("it shows something")?;
    ensure!(view.device.executor == ExecutorKind::Cpu, "on the CPU");
    server.abort();
    Ok(())
}
