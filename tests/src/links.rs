//! What links between two tabs carry: ours, and bare data channels.

use crate::{Browser, Tab, Theatre, processes};
use anyhow::{Result, bail, ensure};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// After that something hangs.
const ROUND_MAX: Duration = Duration::from_secs(60);

/// How often connection messages are passed on, which costs some milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What there is for the other tab, and what has come of it.
const LOOK: &str = "const { signals, begun, carried, failed } = globalThis.measuring;
    return { signals: signals.splice(0), begun, carried, failed };";

/// What a round came to.
#[derive(Clone, Copy, Debug)]
pub struct Carried {
    /// What has come in.
    pub bytes_per_second: f64,
    /// Of all processes of the browser.
    pub cpu_seconds_per_byte: f64,
}

/// Sends from one tab to another for so many seconds, after half as many to get going; over links of a `kind`, `ours` or `bare`.
///
/// # Errors
///
/// What keeps the tabs from it.
pub async fn round(
    theatre: &Theatre,
    browser: &Browser,
    kind: &str,
    seconds: f64,
) -> Result<Carried> {
    let address = theatre.url("/measure.html");
    let tabs = [browser.tab(&address).await?, browser.tab(&address).await?];
    // Who answers first, so that an offer finds it there.
    for at in [1, 0] {
        let start = format!(
            "globalThis.measuring.start('{kind}', {}, {seconds})",
            at == 0
        );
        wait_until(&tabs[at], "!!globalThis.measuring").await?;
        tabs[at].execute(&start).await?;
        wait_until(&tabs[at], "!!globalThis.measuring.deliver").await?;
    }
    let deadline = Instant::now() + ROUND_MAX;
    let mut begun = None;
    while Instant::now() < deadline {
        for (from, to) in [(0, 1), (1, 0)] {
            let seen = tabs[from].execute(LOOK).await?;
            pass_on(&seen["signals"], &tabs[to]).await?;
            if let Some(words) = seen["failed"].as_str() {
                bail!("{kind}: {words}");
            }
            if seen["begun"] == true && begun.is_none() {
                begun = processes::cpu_seconds();
            }
            if let Some(carried) = carried(&seen["carried"], begun) {
                for tab in &tabs {
                    tab.goto("about:blank").await?;
                }
                return Ok(carried);
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    bail!("{kind}: nothing was carried in {} s", ROUND_MAX.as_secs())
}

async fn wait_until(tab: &Tab, condition: &str) -> Result<()> {
    let deadline = Instant::now() + ROUND_MAX;
    while tab.execute(&format!("return {condition}")).await? != true {
        ensure!(Instant::now() < deadline, "the page does not get ready");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn pass_on(signals: &Value, to: &Tab) -> Result<()> {
    for signal in signals.as_array().into_iter().flatten() {
        let deliver = format!("globalThis.measuring.deliver({signal})");
        to.execute(&deliver).await?;
    }
    Ok(())
}

/// What the page has counted, with what processors have worked since it began to.
fn carried(told: &Value, begun: Option<f64>) -> Option<Carried> {
    let (bytes, seconds) = (told["bytes"].as_f64()?, told["seconds"].as_f64()?);
    let cpu = processes::cpu_seconds().zip(begun);
    Some(Carried {
        bytes_per_second: bytes / seconds,
        cpu_seconds_per_byte: cpu.map_or(f64::NAN, |(end, start)| (end - start) / bytes),
    })
}
