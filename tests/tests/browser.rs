//! Rings of real browser tabs. Each test opens the built page in browsers of its own, as people would, and watches what
//! the page shows. Run by `cargo xtask test browser`, which builds the page first.

#[path = "browser/asking.rs"]
mod asking;
#[path = "browser/axe.rs"]
mod axe;
#[path = "browser/care.rs"]
mod care;
#[path = "browser/hosting.rs"]
mod hosting;
#[path = "browser/kept.rs"]
mod kept;
#[path = "browser/late.rs"]
mod late;
#[path = "browser/lost.rs"]
mod lost;
#[path = "browser/model.rs"]
mod model;
#[path = "browser/network.rs"]
mod network;
#[path = "browser/phone.rs"]
mod phone;
#[path = "browser/relayed.rs"]
mod relayed;
#[path = "browser/stage.rs"]
mod stage;
#[path = "browser/team.rs"]
mod team;
#[path = "browser/timeline.rs"]
mod timeline;
#[path = "browser/visit.rs"]
mod visit;
#[path = "browser/writing.rs"]
mod writing;

use anyhow::{Context, Result, ensure};
use ringtmp_core::ids::RoomCode;
use ringtmp_core::secret::RoomLink;
use ringtmp_core::signal::{
    DeviceKind, ExecutorKind, LayerDigest, MemberView, ProfileView, RoomState, RunResult,
};
use ringtmp_peer::{FreshSample, FreshState, LinkState, View};
use ringtmp_tests::{Browser, BrowserKind, NativePeer, Tab, Theatre, links, repository};
use std::time::Duration;

/// Until a page is in a room: the page loads, its worker starts, the server answers. Seconds on two busy cores.
const JOIN_MAX: Duration = Duration::from_secs(60);

/// Until a short run has finished: links, kernels (up to 2.5 s each on a software GPU), and tens of steps.
const RUN_MAX: Duration = Duration::from_secs(180);

/// Updates of a run: enough for the loss to fall by twice the 0.1 that is asked for, few enough to take seconds.
const STEPS: u32 = 30;

/// Opens a room in the first browser's tab and joins it from the others'.
async fn ring(
    theatre: &Theatre,
    browsers: &[&Browser],
    settings: &str,
    others: usize,
) -> Result<(Vec<Tab>, RoomLink)> {
    // All share one machine, whose load would decide who is left out: unless a test is about that, nothing is measured.
    let planning = if settings.contains("planning=") {
        ""
    } else {
        "&planning=counted"
    };
    let peers = browsers.len() + others;
    let (first, rest) = browsers
        .split_first()
        .context("a ring has at least one tab")?;
    let address = theatre.url(&format!(
        "/?create&peers={peers}&steps={STEPS}&codec=f32&{settings}{planning}"
    ));
    let tab = first.tab(&address).await?;
    let room = tab.room(JOIN_MAX).await?;
    let mut tabs = vec![tab];
    for browser in rest {
        tabs.push(
            browser
                .tab(&theatre.joining(&format!("/r/{room}?{settings}")))
                .await?,
        );
    }
    Ok((tabs, room))
}

/// Trains to the end and checks what every page then shows. All pages must show the same result.
async fn train(tabs: &[Tab]) -> Result<RunResult> {
    let mut results = Vec::new();
    for tab in tabs {
        results.push(tab.finished(RUN_MAX).await?);
        ensure!(
            tab.state().await? == "finished",
            "the page's data-state is {:?}",
            tab.state().await?
        );
    }
    let result = results.pop().context("there is a tab")?;
    ensure!(
        results.iter().all(|other| *other == result),
        "pages show different results"
    );
    ensure!(result.steps == STEPS, "{} steps were made", result.steps);
    let (first, last) = (
        result.loss_first.context("no first loss")?,
        result.loss_last.context("no last loss")?,
    );
    ensure!(
        first.is_finite() && last < first - 0.1,
        "the loss went from {first} to {last}"
    );
    Ok(result)
}

async fn view(tab: &Tab) -> Result<View> {
    tab.view().await?.context("the page shows something")
}

/// The digests of a run in one tab, on the CPU.
async fn digests_of_one_tab(theatre: &Theatre, browser: &Browser) -> Result<Vec<LayerDigest>> {
    let (tabs, _) = ring(theatre, &[browser], "executor=cpu", 0).await?;
    Ok(train(&tabs).await?.digests)
}

#[tokio::test]
async fn three_tabs_train_and_end_with_the_weights_that_one_tab_gets() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let (tabs, room) = ring(&theatre, &[&browser; 3], "executor=cpu", 0).await?;
    let result = train(&tabs).await?;

    let mut stages = Vec::new();
    for tab in &tabs {
        let view = view(tab).await?;
        let shown = view.room.context("the page is in a room")?;
        let plan = shown
            .ring()
            .cloned()
            .context("a finished room has a plan")?;
        ensure!(
            shown.code == room.room && plan.stages() == 3,
            "the plan is {plan:?}"
        );
        stages.push(
            plan.stage_of(view.me.context("it has an id")?)
                .context("every tab holds a stage")?,
        );
        ensure!(
            view.links.len() == 2,
            "a stage of three has two neighbours, not {:?}",
            view.links
        );
        // Over the closing link only the curve goes, one way.
        let used = view.links.iter().all(|link| link.sent + link.received > 0);
        ensure!(used, "all links carry bytes: {:?}", view.links);
        let failed = view
            .links
            .iter()
            .any(|link| matches!(link.state, LinkState::Failed { .. }));
        ensure!(!failed, "no link has failed: {:?}", view.links);
    }
    stages.sort();
    stages.dedup();
    ensure!(
        stages.len() == 3,
        "each tab holds another stage, not {stages:?}"
    );

    drop(tabs);
    ensure!(
        !result.digests.is_empty(),
        "a result has a digest for each layer"
    );
    ensure!(
        digests_of_one_tab(&theatre, &browser).await? == result.digests,
        "bit for bit, as one tab"
    );
    Ok(())
}

/// Draws a one on the page.
const DRAW_A_ONE: &str = r#"
    const pad = document.querySelector(".pad");
    const area = pad.getBoundingClientRect();
    const pen = (type, x, y) => pad.dispatchEvent(new PointerEvent(type, {
        pointerId: 1, bubbles: true, clientX: area.left + x * area.width, clientY: area.top + y * area.height,
    }));
    pen("pointerdown", 0.45, 0.2);
    for (let y = 0.2; y < 0.8; y += 0.05) pen("pointermove", 0.55, y);
    pen("pointerup", 0.55, 0.8);
"#;

/// Says that it is a one, and trains on it.
const TRAIN_ON_IT: &str = r#"
    const pad = document.querySelector(".pad");
    const train = document.querySelector(".draw .primary");
    const before = train.disabled;
    document.querySelectorAll(".draw-labels button")[1].click();
    const after = train.disabled;
    train.click();
    return [before, after, pad.childElementCount];
"#;

#[tokio::test]
async fn a_digit_drawn_in_a_tab_is_trained_on_once() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let address = theatre.url("/?create&peers=1&steps=1000000&executor=cpu");
    let tab = browser.tab(&address).await?;
    let training = |view: &View| {
        let state = view.room.as_ref().map(|room| &room.state);
        state == Some(&RoomState::Training)
    };
    tab.wait_for(JOIN_MAX, "training", training).await?;
    tab.execute(DRAW_A_ONE).await?;
    // Asked at once, answered round the ring, told in a sentence and in ten bars.
    tab.wait_for_text(JOIN_MAX, "The network takes it for a ")
        .await?;
    let bars = "return [...document.querySelectorAll('.bars li')].map(bar =>
        [bar.querySelector('progress').value, bar.textContent, bar.dataset.likeliest])";
    let bars: Vec<(f64, String, String)> = serde_json::from_value(tab.execute(bars).await?)?;
    let sum: f64 = bars.iter().map(|(share, ..)| share).sum();
    ensure!(bars.len() == 10 && (sum - 1.0).abs() < 1e-4, "{bars:?}");
    let likeliest = bars.iter().max_by(|one, other| one.0.total_cmp(&other.0));
    ensure!(
        likeliest.is_some_and(|(.., likeliest)| likeliest == "yes"),
        "{bars:?}"
    );
    stage::pictures(&tab, "asked").await?;
    let drawn = tab.execute(TRAIN_ON_IT).await?;
    ensure!(
        drawn == serde_json::json!([true, false, 0]),
        "without a label nothing is trained on, and afterwards the pad is empty: {drawn}"
    );
    let used = |view: &View| {
        matches!(
            &view.fresh[..],
            [FreshSample {
                label: 1,
                state: FreshState::Used { .. },
            }]
        )
    };
    tab.wait_for(JOIN_MAX, "a drawing that was used", used)
        .await?;
    tab.wait_for_text(JOIN_MAX, "1: used in step").await?;
    Ok(())
}

#[tokio::test]
async fn bytes_that_are_posted_to_the_worker_give_the_same_weights() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let (tabs, _) = ring(&theatre, &[&browser; 2], "executor=cpu&channels=post", 0).await?;
    let result = train(&tabs).await?;
    drop(tabs);
    ensure!(
        digests_of_one_tab(&theatre, &browser).await? == result.digests,
        "bit for bit, as one tab"
    );
    Ok(())
}

#[tokio::test]
async fn tabs_train_on_webgpu_as_on_the_cpu_but_for_rounding() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let (tabs, _) = ring(&theatre, &[&browser; 2], "executor=gpu", 0).await?;
    let on_gpu = train(&tabs).await?;
    for tab in &tabs {
        ensure!(
            view(tab).await?.device.executor == ExecutorKind::Gpu,
            "the page says what computes"
        );
    }
    drop(tabs);
    let (tabs, _) = ring(&theatre, &[&browser], "executor=cpu", 0).await?;
    let on_cpu = train(&tabs).await?;
    for (gpu, cpu) in [
        (on_gpu.loss_first, on_cpu.loss_first),
        (on_gpu.loss_last, on_cpu.loss_last),
    ] {
        let (gpu, cpu) = (gpu.context("no loss")?, cpu.context("no loss")?);
        ensure!(
            (gpu - cpu).abs() <= 1e-3 * cpu.abs(),
            "loss {gpu} on the GPU, {cpu} on the CPU"
        );
    }
    Ok(())
}

#[tokio::test]
async fn two_tabs_and_a_native_peer_are_one_ring() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let (tabs, room) = ring(
        &theatre,
        &[&browser; 2],
        "executor=cpu&arithmetic=portable",
        1,
    )
    .await?;
    let native = NativePeer::join(&theatre.url(""), room)?;
    let result = train(&tabs).await?;
    let shown = view(&tabs[0])
        .await?
        .room
        .context("the page is in a room")?;
    let plan = shown
        .ring()
        .cloned()
        .context("a finished room has a plan")?;
    ensure!(plan.stages() == 3, "all three hold layers: {plan:?}");
    let natives = shown
        .members
        .iter()
        .filter(|member| member.device.kind == DeviceKind::Native);
    ensure!(
        natives.count() == 1,
        "the page shows the native peer: {:?}",
        shown.members
    );
    let links = native
        .view()
        .context("the native peer shows something")?
        .links;
    ensure!(
        links.iter().all(|link| link.sent + link.received > 0),
        "it has worked: {links:?}"
    );
    native.leave()?;
    drop(tabs);
    ensure!(
        result.digests == digests_of_one_tab(&theatre, &browser).await?,
        "tabs and a native process do not get the weights that one tab gets"
    );
    Ok(())
}

#[tokio::test]
async fn tabs_measure_the_layers_and_whoever_takes_part_gets_the_weights_of_one_tab() -> Result<()>
{
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let settings = "executor=cpu&planning=measured";
    let (tabs, _) = ring(&theatre, &[&browser; 2], settings, 0).await?;
    let result = train(&tabs).await?;
    let shown = view(&tabs[0]).await?.room.context("it is in a room")?;
    let measured = |member: &MemberView| match member.profile {
        ProfileView::Measured { sample_seconds } => sample_seconds > 0.0,
        ProfileView::Missing | ProfileView::Refused { .. } => false,
    };
    ensure!(
        shown.members.iter().all(measured),
        "all have told what layers take: {:?}",
        shown.members
    );
    drop(tabs);
    ensure!(
        result.digests == digests_of_one_tab(&theatre, &browser).await?,
        "bit for bit, as one tab"
    );
    Ok(())
}

#[tokio::test]
async fn a_tab_packs_8_bit_integers_as_a_native_process_does() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    // What is rounded depends on the cut, which is the same both times since nothing is measured.
    let settings = "executor=cpu&codec=int8&arithmetic=portable";
    let (tabs, _) = ring(&theatre, &[&browser; 2], settings, 0).await?;
    let of_tabs = train(&tabs).await?.digests;
    drop(tabs);
    let (tabs, room) = ring(&theatre, &[&browser], settings, 1).await?;
    let native = NativePeer::join(&theatre.url(""), room)?;
    let mixed = train(&tabs).await?.digests;
    native.leave()?;
    drop(tabs);
    ensure!(of_tabs == mixed, "two tabs, and a tab and a native process");
    ensure!(
        mixed != digests_of_one_tab(&theatre, &browser).await?,
        "8-bit integers change what is learnt"
    );
    Ok(())
}

#[tokio::test]
async fn firefox_and_chromium_are_one_ring() -> Result<()> {
    let kinds = [BrowserKind::Chromium, BrowserKind::Firefox];
    let Some(theatre) = Theatre::open(&kinds).await? else {
        return Ok(());
    };
    let chromium = theatre.browser(BrowserKind::Chromium).await?;
    let firefox = theatre.browser(BrowserKind::Firefox).await?;
    let (tabs, _) = ring(&theatre, &[&chromium, &firefox], "executor=cpu", 0).await?;
    train(&tabs).await?;
    Ok(())
}

#[tokio::test]
async fn the_page_that_measures_links_carries_bytes_over_both_kinds() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    for kind in ["bare", "ours"] {
        let carried = links::round(&theatre, &browser, kind, 0.2).await?;
        ensure!(carried.bytes_per_second > 0.0, "{kind}: {carried:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_link_to_a_room_that_is_gone_says_so_and_what_to_do() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let gone = RoomCode::from_random([7; 10]);
    let tab = browser.tab(&theatre.joining(&format!("/r/{gone}"))).await?;
    let text = tab
        .wait_for_text(JOIN_MAX, &format!("There is no room {gone}"))
        .await?;
    ensure!(
        tab.state().await? == "refused",
        "the page's data-state is {:?}",
        tab.state().await?
    );
    ensure!(
        text.contains("open a room of your own"),
        "the page gives advice:\n{text}"
    );
    Ok(())
}

/// What a demo of three tabs writes for programs; nothing, aloud, where it cannot run.
async fn demo(arguments: &[&str]) -> Result<Option<serde_json::Value>> {
    let Some(_theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(None);
    };
    let program = repository().join(format!(
        "target/debug/ringtmp{}",
        std::env::consts::EXE_SUFFIX
    ));
    if !program.is_file() {
        eprintln!("SKIP: {} is not built", program.display());
        return Ok(None);
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("out.json");
    let mut demo = tokio::process::Command::new(program);
    demo.args(["demo", "--headless", "--no-lan", "--port", "0"])
        .args(["--tabs", "3"])
        .args(["--steps", &STEPS.to_string()])
        .args(arguments)
        .arg("--json")
        .arg(&file)
        .current_dir(repository())
        .kill_on_drop(true);
    let output = tokio::time::timeout(RUN_MAX, demo.output()).await??;
    ensure!(
        output.status.success(),
        "the demo failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(Some(serde_json::from_slice(&std::fs::read(file)?)?))
}

#[tokio::test]
async fn tabs_train_on_a_text_that_the_demo_serves() -> Result<()> {
    let run = ["--run", "examples/tiny-text.toml", "--executor", "cpu"];
    let Some(result) = demo(&run).await? else {
        return Ok(());
    };
    let (first, last) = (result["loss_first"].as_f64(), result["loss_last"].as_f64());
    ensure!(first > last && last > Some(0.0), "{result}");
    let peers = result["peers"].as_array().context("peers")?;
    let tabs = peers.iter().filter(|peer| peer["kind"] == "tab").count();
    ensure!(tabs == 3 && result["steps"] == STEPS, "{result}");
    Ok(())
}

/// What a newcomer runs first, with the file that programs read.
#[tokio::test]
async fn the_demo_opens_tabs_trains_them_and_writes_its_result() -> Result<()> {
    let Some(result) = demo(&[]).await? else {
        return Ok(());
    };
    ensure!(
        result["schema_version"] == 1 && result["preset"] == "mlp",
        "{result}"
    );
    ensure!(
        result["transport"] == "webrtc" && result["steps"] == STEPS,
        "{result}"
    );
    let (first, last) = (result["loss_first"].as_f64(), result["loss_last"].as_f64());
    ensure!(first > last && last > Some(0.0), "{result}");
    ensure!(result["test_accuracy"].as_f64() > Some(0.3), "{result}");
    ensure!(result["seconds"].as_f64() > Some(0.0), "{result}");
    let peers = result["peers"].as_array().context("peers")?;
    let ends: Vec<[u64; 2]> = peers
        .iter()
        .map(|peer| [0, 1].map(|end| peer["layers"][end].as_u64().unwrap_or(u64::MAX)))
        .collect();
    let joined = ends.windows(2).all(|pair| pair[0][1] == pair[1][0]);
    let whole = ends.first().map(|first| first[0]) == Some(0) && ends[2][1] == 5;
    ensure!(peers.len() == 3 && joined && whole, "{result}");
    ensure!(
        peers
            .iter()
            .all(|peer| peer["kind"] == "tab" && peer["executor"] == "cpu"),
        "{result}"
    );
    let links = result["links"].as_array().context("links")?;
    let forward = |i: usize| {
        let ends = (&peers[i]["id"], &peers[(i + 1) % 3]["id"]);
        let link = links
            .iter()
            .find(|link| (&link["from"], &link["to"]) == ends);
        link.and_then(|link| link["bytes"].as_u64()).unwrap_or(0)
    };
    // A step sends 64 rows of 16-bit numbers forward, 256 where the cut is before the second linear layer, 128 after it; the closing
    // link carries the curve.
    let numbers = |i: usize| if ends[i][1] <= 2 { 256 } else { 128 };
    let step = 64 * 2 * u64::from(STEPS);
    ensure!(
        forward(0) > numbers(0) * step && forward(1) > numbers(1) * step && forward(2) > 0,
        "{result}"
    );
    Ok(())
}
