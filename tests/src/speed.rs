//! How fast a tab computes, by the tab's own clock and by what the browser's processes worked meanwhile.

use crate::{Browser, Theatre, processes};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// How often one looks what processors have worked, and whether there is a measurement.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// After that a single measurement hangs.
const LINE_MAX: Duration = Duration::from_secs(300);

/// What the worker has told since one last looked.
const LOOK: &str =
    "const { told, failed } = globalThis.measuring; return { told: told.splice(0), failed };";

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// `gpu` or `cpu`.
    pub executor: String,
    /// Models.
    pub presets: Vec<String>,
    /// Samples of a step; each model's own without.
    pub batch: Option<usize>,
    /// Sizes of square matrix products.
    pub products: Vec<usize>,
    /// Of which the median is told.
    pub rounds: u32,
    /// Of a round.
    pub seconds: f64,
}

/// Seconds since 1970, and what processors had worked by then.
struct Moment {
    at: f64,
    worked: f64,
}

/// Has a tab measure, and hands each line of JSON to `found`.
///
/// # Errors
///
/// What keeps the tab from it.
pub async fn measure(
    theatre: &Theatre,
    browser: &Browser,
    wanted: &Wanted,
    mut found: impl FnMut(&Value),
) -> Result<()> {
    let tab = browser.tab(&theatre.url("/measure.html")).await?;
    let presets = wanted.presets.iter();
    let presets: Vec<Value> = presets.map(|name| json!([name, wanted.batch])).collect();
    let settings = json!({
        "executor": wanted.executor,
        "presets": presets,
        "products": wanted.products,
        "rounds": wanted.rounds,
        "seconds": wanted.seconds,
    });
    let ready = Instant::now() + LINE_MAX;
    while tab.execute("return !!globalThis.measuring").await? != true {
        if Instant::now() > ready {
            bail!("the page does not get ready");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let start = format!(
        "globalThis.measuring.speed({})",
        json!(settings.to_string())
    );
    tab.execute(&start).await?;
    let (mut moments, mut last) = (Vec::new(), Instant::now());
    while last.elapsed() < LINE_MAX {
        moments.extend(now());
        let seen = tab.execute(LOOK).await?;
        // What is told now ended before this.
        moments.extend(now());
        if let Some(words) = seen["failed"].as_str() {
            bail!("{words}");
        }
        for told in seen["told"].as_array().into_iter().flatten() {
            let told: Value = serde_json::from_str(told.as_str().unwrap_or_default())?;
            if told == "finished" {
                return Ok(());
            }
            if let Some(words) = told["failed"].as_str() {
                bail!("{words}");
            }
            found(&counted(&told["line"], &moments)?);
            last = Instant::now();
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    bail!("nothing was measured for {} s", LINE_MAX.as_secs())
}

fn now() -> Option<Moment> {
    let at = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()?;
    let worked = processes::cpu_seconds()?;
    let at = at.as_secs_f64();
    Some(Moment { at, worked })
}

/// The line as `ringtmp bench` would write it: the tab has told a rate per second of the wall where it is one of processor time.
fn counted(line: &Value, moments: &[Moment]) -> Result<Value> {
    let told = line.as_object().context("a line")?;
    let between = told["between"].as_array().context("two moments")?;
    let [start, end] = &between[..] else {
        bail!("two moments, not {}", between.len());
    };
    let (start, end) = (start.as_f64(), end.as_f64());
    let (start, end) = start.zip(end).context("two moments")?;
    let worked = worked_by(moments, end).zip(worked_by(moments, start));
    let worked = worked.map(|(end, start)| end - start);
    let mut line = told["line"].clone();
    for name in ["samples_per_cpu_second", "gflops_per_cpu_second"] {
        if let Some(rate) = line[name].as_f64() {
            line[name] = json!(worked.map(|worked| rate * (end - start) / worked));
        }
    }
    Ok(line)
}

/// What processors had worked at a moment, between those at which one looked.
fn worked_by(moments: &[Moment], at: f64) -> Option<f64> {
    let after = moments.iter().position(|moment| moment.at >= at)?;
    let (before, after) = (&moments[after.checked_sub(1)?], &moments[after]);
    let share = (at - before.at) / (after.at - before.at).max(1e-9);
    Some(before.worked + share * (after.worked - before.worked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_per_second_becomes_one_per_second_of_processor_time() {
        let moment = |at, worked| Moment { at, worked };
        let moments = [moment(10.0, 1.0), moment(12.0, 2.0), moment(14.0, 6.0)];
        let told = json!({
            "line": { "samples_per_cpu_second": 30.0, "samples_per_second": 31.0 },
            "between": [11.0, 13.0],
        });
        let line = counted(&told, &moments).expect("a line");
        // Two seconds of the wall, and 4.0 - 1.5 of processors.
        assert_eq!(line["samples_per_cpu_second"].as_f64(), Some(24.0));
        assert_eq!(line["samples_per_second"].as_f64(), Some(31.0));
        assert_eq!(worked_by(&moments, 15.0), None);
    }
}
