//! What a link between two tabs carries, beside a bare data channel between them, in turn. `cargo xtask bench-links` builds what is
//! needed and calls it. One JSON line each goes to standard output.

use anyhow::{Context, Result};
use ringtmp_tests::links::{Carried, round};
use ringtmp_tests::{BrowserKind, Theatre};
use serde_json::json;

/// Rounds of each kind, of which the median is told.
const ROUNDS: usize = 5;

/// Seconds of a round, after half as many to get going.
const SECONDS: f64 = 4.0;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let theatre = Theatre::open(&[BrowserKind::Chromium])
        .await?
        .context("tabs need the built page, Chromium and its driver")?;
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let mut all = [("bare", Vec::new()), ("ours", Vec::new())];
    for _ in 0..ROUNDS {
        for (kind, rounds) in &mut all {
            rounds.push(round(&theatre, &browser, kind, SECONDS).await?);
        }
    }
    let median = |rounds: &[Carried], of: fn(&Carried) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let rate = |rounds: &[Carried]| median(rounds, |carried| carried.bytes_per_second);
    let bare = rate(&all[0].1);
    for (kind, rounds) in &all {
        let line = json!({
            "schema_version": 1,
            "link": kind,
            "between": "tabs",
            "megabytes_per_second": rate(rounds) / 1e6,
            "cpu_seconds_per_gigabyte": 1e9 * median(rounds, |carried| carried.cpu_seconds_per_byte),
            "ratio": rate(rounds) / bare,
        });
        println!("{line}");
    }
    Ok(())
}
