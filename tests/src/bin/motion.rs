//! What the living ring costs: how fast a ring of tabs trains while a page that is seen draws what moves, and while it rests as for
//! somebody who prefers reduced motion, in turn; and how often the page that moves is drawn. `cargo xtask bench-motion` builds what is
//! needed and calls it. One JSON line goes to standard output. It says something of the page only where nothing else computes.

use anyhow::{Context, Result, ensure};
use ringtmp_core::signal::RoomState;
use ringtmp_tests::{Browser, BrowserKind, Look, Tab, Theatre};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Pairs of stretches, of which the median is told.
const PAIRS: usize = 9;

/// How long a stretch is measured, after [`SETTLE`] in which what the switch itself costs is over.
const STRETCH: Duration = Duration::from_secs(8);
const SETTLE: Duration = Duration::from_secs(1);

/// How often it is looked whether the page has heard of samples.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Operations per second of a tab: a phone's, so that there is a processor left for the page as there is on devices with a GPU.
const PACE: &str = "4e8";

/// Takes down how long frames were apart, in milliseconds.
const COUNT: &str = "
    globalThis.apart = [];
    let last = performance.now();
    const note = now => {
        apart.push(now - last);
        last = now;
        globalThis.counting = requestAnimationFrame(note);
    };
    globalThis.counting = requestAnimationFrame(note);";

/// Ends that, and tells it.
const COUNTED: &str = "cancelAnimationFrame(counting); return apart.slice(1)";

const JOIN_MAX: Duration = Duration::from_secs(60);

const LAPTOP: Look = Look {
    width: 1280,
    height: 900,
    scale: 1.0,
    dark: false,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let theatre = Theatre::open(&[BrowserKind::Chromium])
        .await?
        .context("tabs need the built page, Chromium and its driver")?;
    let (_browsers, tabs) = ring(&theatre).await?;
    let (mut pairs, mut apart) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let mut rates = [0.0; 2];
        // Whatever drifts drifts against both alike.
        let order = if pair % 2 == 0 { [0, 1] } else { [1, 0] };
        for still in order {
            for tab in &tabs {
                tab.still(still == 1).await?;
            }
            sleep(SETTLE).await;
            tabs[0].execute(COUNT).await?;
            rates[still] = rate(&tabs[0]).await?;
            let counted = tabs[0].execute(COUNTED).await?;
            if still == 0 {
                apart.extend(serde_json::from_value::<Vec<f64>>(counted)?);
            }
        }
        eprintln!(
            "moving {:.1}, still {:.1} samples a second",
            rates[0], rates[1]
        );
        pairs.push(rates);
    }
    let mut costs: Vec<f64> = pairs
        .iter()
        .map(|[moving, still]| 1.0 - moving / still)
        .collect();
    costs.sort_by(f64::total_cmp);
    apart.sort_by(f64::total_cmp);
    ensure!(!apart.is_empty(), "the page was not drawn");
    let at = |share: f64| apart[(share * (apart.len() - 1) as f64) as usize];
    let line = json!({
        "schema_version": 1,
        "pairs": pairs,
        "cost_median": costs[PAIRS / 2],
        "cost_least": costs[0],
        "cost_most": costs[PAIRS - 1],
        "frame_milliseconds_median": at(0.5),
        "frame_milliseconds_p95": at(0.95),
        "frame_milliseconds_p99": at(0.99),
    });
    println!("{line}");
    Ok(())
}

/// Two tabs that train, each of a browser of its own, so that none is hidden by another and all draw.
async fn ring(theatre: &Theatre) -> Result<(Vec<Browser>, Vec<Tab>)> {
    let mut browsers = Vec::new();
    let mut tabs: Vec<Tab> = Vec::new();
    let mut room = None;
    for _ in 0..2 {
        let browser = theatre.browser(BrowserKind::Chromium).await?;
        let address = match &room {
            None => theatre.url(&format!(
                "/?create&peers=2&steps=1000000&executor=cpu&codec=f32&planning=counted&pace={PACE}"
            )),
            Some(room) => theatre.joining(&format!("/r/{room}?executor=cpu&pace={PACE}")),
        };
        let tab = browser.tab(&address).await?;
        tab.look(LAPTOP).await?;
        if room.is_none() {
            room = Some(tab.room(JOIN_MAX).await?);
        }
        browsers.push(browser);
        tabs.push(tab);
    }
    let trains = |view: &ringtmp_peer::View| {
        let state = view.room.as_ref().map(|room| &room.state);
        state == Some(&RoomState::Training) && !view.points.is_empty()
    };
    tabs[0].wait_for(JOIN_MAX, "training", trains).await?;
    Ok((browsers, tabs))
}

/// Samples trained on a second, over a stretch. A page hears of several steps at once: so from one such moment to another.
async fn rate(tab: &Tab) -> Result<f64> {
    let (begun, before) = heard(tab).await?;
    sleep(STRETCH).await;
    let (ended, after) = heard(tab).await?;
    Ok((after - before) as f64 / ended.duration_since(begun).as_secs_f64())
}

/// When the page next hears of samples, and how many they are.
async fn heard(tab: &Tab) -> Result<(Instant, u64)> {
    let before = samples(tab).await?;
    let begun = Instant::now();
    loop {
        let now = samples(tab).await?;
        if now > before {
            return Ok((Instant::now(), now));
        }
        ensure!(
            begun.elapsed() < STRETCH,
            "nothing was trained on in a stretch"
        );
        sleep(LOOK_EVERY).await;
    }
}

async fn samples(tab: &Tab) -> Result<u64> {
    let view = tab.view().await?.context("the page shows something")?;
    Ok(view.samples_trained())
}
