//! The ring as a living picture: what moves on it, and what stands still.

use super::{JOIN_MAX, RUN_MAX, ring, view};
use anyhow::{Context, Result, ensure};
use ringtmp_core::profile::Planning;
use ringtmp_core::secret::RoomLink;
use ringtmp_core::signal::RoomState;
use ringtmp_peer::{DataTable, RunFile, View};
use ringtmp_tests::{Browser, BrowserKind, Look, NativePeer, Tab, Theatre};
use std::fs;
use std::path::PathBuf;

const SIZES: [(&str, u32, u32, f64); 5] = [
    ("phone", 360, 1500, 2.0),
    ("tablet", 820, 1400, 1.0),
    ("laptop", 1280, 1400, 1.0),
    ("wide", 1920, 1200, 1.0),
    ("beamer", 1280, 720, 1.0),
];

const LAPTOP: Look = Look {
    width: 1280,
    height: 900,
    scale: 1.0,
    dark: false,
};

/// Keeps pictures of the page in the folder `RINGTMP_LOOK`, for whoever wants to look at them.
pub(super) async fn pictures(tab: &Tab, name: &str) -> Result<()> {
    let Some(folder) = std::env::var_os("RINGTMP_LOOK").map(PathBuf::from) else {
        return Ok(());
    };
    fs::create_dir_all(&folder)?;
    for (size, width, height, scale) in SIZES {
        for dark in [false, true] {
            let look = Look {
                width,
                height,
                scale,
                dark,
            };
            tab.look(look).await?;
            let colours = if dark { "dark" } else { "light" };
            let path = folder.join(format!("{name}-{size}-{colours}.png"));
            fs::write(path, tab.screenshot().await?)?;
        }
    }
    tab.look(LAPTOP).await
}

pub(super) fn trains(view: &View) -> bool {
    let state = view.room.as_ref().map(|room| &room.state);
    state == Some(&RoomState::Training)
}

/// What has been seen on the ring over so many frames: activations, gradients, and devices that compute; and the most places at
/// which one dot was.
const WATCH: &str = r#"
    const seen = { activation: 0, gradient: 0, doing: 0, places: new Set() };
    globalThis.seen = seen;
    const watch = () => {
        for (const kind of ["activation", "gradient"])
            seen[kind] += document.querySelectorAll(`.ring .dot.${kind}[transform]`).length;
        seen.doing += document.querySelectorAll('.disc[data-doing]:not([data-doing=""])').length;
        for (const dot of document.querySelectorAll(".ring .dot:not(.none)[transform]"))
            seen.places.add(dot.getAttribute("transform"));
        requestAnimationFrame(watch);
    };
    watch();
"#;

/// Where the head stands two frames from now.
const HEAD: &str =
    "return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() =>
    done(document.querySelector('.disc[data-place=\"1\"]').getAttribute('transform')))))";

const SEEN: &str = "return [seen.activation, seen.gradient, seen.doing, seen.places.size]";

async fn seen(tab: &Tab) -> Result<[u64; 4]> {
    Ok(serde_json::from_value(tab.execute(SEEN).await?)?)
}

/// Waits for so many reports of the first device of the ring.
async fn reports(tab: &Tab, count: usize) -> Result<()> {
    let until = |view: &View| {
        let room = view.room.as_ref()?;
        let head = *room.ring()?.order.first()?;
        let member = room.members.iter().find(|member| member.peer == head)?;
        Some(member.report.as_ref()?.timeline.until)
    };
    let mut last = None;
    for _ in 0..count {
        let view = tab
            .wait_for(JOIN_MAX, "a report", |view| until(view) > last)
            .await?;
        last = until(&view);
    }
    Ok(())
}

#[tokio::test]
async fn tensors_move_on_the_ring_and_nothing_does_where_that_is_not_wanted() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let settings = "executor=cpu&steps=100000&pace=4e8";
    let (tabs, room) = ring(&theatre, &[&browser; 2], settings, 1).await?;
    let native = NativePeer::join(&theatre.url(""), room)?;
    let others = theatre.browser(BrowserKind::Chromium).await?;
    let watcher = others
        .tab(&theatre.url(&format!("/r/{room}?watch&name=screen")))
        .await?;
    watcher.look(LAPTOP).await?;
    watcher.wait_for(RUN_MAX, "training", trains).await?;
    watcher.execute(WATCH).await?;
    reports(&watcher, 5).await?;
    let moved = seen(&watcher).await?;
    ensure!(
        moved.iter().all(|count| *count > 0) && moved[3] > 10,
        "activations, gradients, devices that compute, places: {moved:?}"
    );
    let told = "return document.querySelector('.ring').textContent";
    let told = watcher.execute(told).await?.to_string();
    for text in ["times slower than it was", "closing link", "% busy"] {
        ensure!(told.contains(text), "{text:?} is not in\n{told}");
    }
    let bystanders = "return document.querySelectorAll('.bystander.watcher').length";
    ensure!(watcher.execute(bystanders).await? == 1, "it watches itself");
    pictures(&watcher, "ring-3").await?;
    // A drawing of another size is drawn at once, and nobody walks from one to the other.
    for (width, place) in [
        (360, "translate(170.0 58.0)"),
        (1280, "translate(380.0 128.0)"),
    ] {
        watcher.look(Look { width, ..LAPTOP }).await?;
        let head = watcher.execute(HEAD).await?;
        ensure!(head == place, "{head} at {width}");
    }

    // Whoever prefers to see nothing move sees nothing move.
    watcher.still(true).await?;
    reports(&watcher, 2).await?;
    let start = seen(&watcher).await?;
    reports(&watcher, 3).await?;
    let end = seen(&watcher).await?;
    ensure!(start == end, "{start:?} became {end:?}");
    watcher.still(false).await?;

    // A device that is gone fades, and is no longer there.
    native.leave()?;
    let two = |view: &View| {
        let plan = view.room.as_ref().and_then(|room| room.ring());
        trains(view) && plan.is_some_and(|plan| plan.stages() == 2)
    };
    watcher.wait_for(RUN_MAX, "a ring of two", two).await?;
    let discs = "return new Promise(done => {
        const look = () => document.querySelectorAll('.disc').length === 2 ? done(2) : requestAnimationFrame(look);
        look();
    })";
    ensure!(watcher.execute(discs).await? == 2);
    drop(tabs);
    Ok(())
}

fn deep_run(peers: u16) -> Result<RunFile> {
    let mut toml = "steps = 100000\nbatch = 32\nmicro_batch = 8\n[model]\ninput = [1, 28, 28]\n\
        [[model.layers]]\nkind = \"flatten\"\n\
        [[model.layers]]\nkind = \"linear\"\ninputs = 784\noutputs = 64\n"
        .to_owned();
    for _ in 0..12 {
        toml += "[[model.layers]]\nkind = \"gelu\"\n";
        toml += "[[model.layers]]\nkind = \"linear\"\ninputs = 64\noutputs = 64\n";
    }
    toml += "[[model.layers]]\nkind = \"linear\"\ninputs = 64\noutputs = 10\n";
    let mut run = RunFile::parse(&toml)?;
    run.data = DataTable::set("digits");
    run.start_at_peers = peers;
    run.planning = Planning::Counted;
    Ok(run)
}

/// Not a test of anything but the eye: rings of 2, 8 and 20 devices, where `RINGTMP_LOOK` names a folder.
#[tokio::test]
async fn rings_of_many_devices_for_the_eye() -> Result<()> {
    if std::env::var_os("RINGTMP_LOOK").is_none() {
        return Ok(());
    }
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    for peers in [2, 8, 20] {
        let (opened, room) = deep_ring(&theatre, peers).await?;
        let watcher = look_at(&theatre, &browser, room, peers).await?;
        drop((opened, watcher));
    }
    Ok(())
}

async fn deep_ring(theatre: &Theatre, peers: u16) -> Result<(Vec<NativePeer>, RoomLink)> {
    let mut first = NativePeer::open(&theatre.url(""), deep_run(peers)?)?;
    let room = first.room(JOIN_MAX).await?;
    let mut all = vec![first];
    for i in 0..peers {
        all.push(NativePeer::join_as(
            &theatre.url(""),
            room,
            &format!("bench {}", i + 1),
        )?);
    }
    Ok((all, room))
}

async fn look_at(theatre: &Theatre, browser: &Browser, room: RoomLink, peers: u16) -> Result<Tab> {
    let watcher = browser
        .tab(&theatre.url(&format!("/r/{room}?watch&name=screen")))
        .await?;
    watcher.wait_for(RUN_MAX, "training", trains).await?;
    reports(&watcher, 6).await?;
    pictures(&watcher, &format!("ring-{peers}")).await?;
    view(&watcher).await?.room.context("a room")?;
    Ok(watcher)
}
