//! Somebody who follows a link: told what will run, asked before anything computes, and let in with one tap.

use super::stage::{pictures, trains};
use super::{JOIN_MAX, RUN_MAX, ring, view};
use anyhow::{Context, Result, ensure};
use ringtmp_core::signal::Role;
use ringtmp_tests::{BrowserKind, Look, Tab, Theatre};
use std::fs;
use std::path::PathBuf;

/// What most phones have.
const PHONE: Look = Look {
    width: 390,
    height: 844,
    scale: 2.0,
    dark: false,
};

const PICTURE: &str = "return document.querySelector('.ring svg').getBoundingClientRect().bottom";

/// Keeps a picture of what a phone shows first in the folder `RINGTMP_LOOK`.
async fn picture(tab: &Tab, name: &str) -> Result<()> {
    let Some(folder) = std::env::var_os("RINGTMP_LOOK").map(PathBuf::from) else {
        return Ok(());
    };
    fs::create_dir_all(&folder)?;
    fs::write(
        folder.join(format!("{name}-first-screen.png")),
        tab.screenshot().await?,
    )?;
    Ok(())
}

#[tokio::test]
async fn a_visitor_is_told_what_will_run_and_computes_nothing_before_joining() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let host = theatre.browser(BrowserKind::Chromium).await?;
    let settings = "executor=cpu&steps=100000&pace=4e8&name=laptop";
    let (tabs, room) = ring(&theatre, &[&host], settings, 1).await?;
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let visitor = browser.tab("about:blank").await?;
    visitor.look(PHONE).await?;
    let address = theatre.url(&format!("/r/{room}?executor=cpu&name=phone"));
    visitor.goto(&address).await?;
    for told in [
        "Before you join",
        "mlp on digits",
        "All samples come from the first device",
        "With laptop. The room was opened by laptop.",
    ] {
        visitor.wait_for_text(JOIN_MAX, told).await?;
    }
    visitor
        .execute("document.querySelector('.preflight details').open = true")
        .await?;
    visitor
        .wait_for_text(JOIN_MAX, "with itself stood after")
        .await?;
    picture(&visitor, "before-joining").await?;
    pictures(&visitor, "before-joining").await?;
    visitor.look(PHONE).await?;
    let diagnostics = "return document.querySelector('.diagnostics').value";
    let diagnostics = visitor.execute(diagnostics).await?.to_string();
    for part in ["RingTMP", "Mozilla", "GPU: ", "Links: ready"] {
        ensure!(
            diagnostics.contains(part),
            "{part:?} is not in {diagnostics}"
        );
    }
    ensure!(
        !diagnostics.contains(&room.room.to_string()),
        "what is copied leads to the room: {diagnostics}"
    );
    ensure!(
        view(&visitor).await?.role == Role::Spectator,
        "it takes part unasked"
    );
    let members = view(&tabs[0]).await?.room.context("a room")?.members;
    let participants = members
        .iter()
        .filter(|member| member.role == Role::Participant);
    ensure!(participants.count() == 1, "the run has begun: {members:?}");

    visitor.press("Only watch").await?;
    let text = visitor.text().await?;
    ensure!(!text.contains("Before you join"), "{text}");
    // Which pledge is chosen before is what is given.
    let choose = "const memory = document.querySelector('#pledge-before');
        memory.value = '256000000';
        memory.dispatchEvent(new Event('change'))";
    visitor.execute(choose).await?;
    visitor.press("Join").await?;
    let joined = visitor.wait_for(RUN_MAX, "training", trains).await?;
    ensure!(joined.role == Role::Participant, "{:?}", joined.role);
    ensure!(
        joined.device.memory_bytes == Some(256_000_000),
        "{:?}",
        joined.device
    );
    // State, numbers and ring are what a phone shows first.
    visitor.wait_for_text(JOIN_MAX, "Samples/s").await?;
    let bottom = visitor.execute(PICTURE).await?.as_f64();
    let bottom = bottom.context("a place")?;
    picture(&visitor, "phone-training").await?;
    ensure!(
        bottom <= f64::from(PHONE.height),
        "the ring ends {bottom} below the top"
    );

    // Who was let in comes back without being asked.
    visitor.goto(&address).await?;
    let back = |view: &ringtmp_peer::View| view.role == Role::Participant && view.room.is_some();
    visitor.wait_for(JOIN_MAX, "the room again", back).await?;
    Ok(())
}
