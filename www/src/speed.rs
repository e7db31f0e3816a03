//! How fast a tab computes: `ringtmp_peer::bench` in a worker, for `cargo xtask bench-browser`.

use crate::measure::tell;
use js_sys::Date;
use ringtmp_peer::bench::{BenchSettings, measure_product, measure_steps, usual_batch};
use ringtmp_peer::{Executor, ExecutorChoice};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::cell::RefCell;
use std::time::Duration;
use wasm_bindgen::prelude::*;

/// What to measure.
#[derive(Debug, Deserialize)]
struct Speed {
    /// `auto`, `gpu` or `cpu`.
    executor: String,
    /// Models to train, each with its batch; the usual one without.
    presets: Vec<(String, Option<usize>)>,
    /// Sizes of square matrix products.
    products: Vec<usize>,
    rounds: u32,
    /// Of a round.
    seconds: f64,
}

/// What the worker tells the page.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Told {
    /// A measurement. A tab does not see what processors work for it: where the line has a rate per CPU second it is one per second
    /// of the wall, between two moments (seconds since 1970).
    Line { line: Value, between: [f64; 2] },
    /// Why there is no more.
    Failed(String),
    /// That is all.
    Finished,
}

/// Measures what `settings`, in JSON, ask for.
#[wasm_bindgen]
pub async fn measure_speed(settings: String) {
    let told = match measure(&settings).await {
        Ok(()) => Told::Finished,
        Err(words) => Told::Failed(words),
    };
    tell(&told);
}

async fn measure(settings: &str) -> Result<(), String> {
    let speed: Speed = serde_json::from_str(settings).map_err(words)?;
    let choice: ExecutorChoice = speed.executor.parse().map_err(words)?;
    let executor = Executor::open(choice).await.map_err(words)?;
    let settings = BenchSettings {
        rounds: speed.rounds,
        round: Duration::try_from_secs_f64(speed.seconds).map_err(words)?,
    };
    let moments = RefCell::new(Vec::new());
    let clock = || {
        let now = Date::now() / 1000.0;
        moments.borrow_mut().push(now);
        Some(now)
    };
    for (preset, batch) in &speed.presets {
        let batch = batch.unwrap_or(usual_batch(preset));
        let rate = measure_steps(preset, batch, &executor, settings, &clock).await;
        tell_line(&rate.map_err(words)?, &moments)?;
    }
    for size in speed.products {
        let rate = measure_product(size, &executor, settings, &clock).await;
        tell_line(&rate.map_err(words)?, &moments)?;
    }
    Ok(())
}

fn tell_line(line: &impl Serialize, moments: &RefCell<Vec<f64>>) -> Result<(), String> {
    let line = serde_json::to_value(line).map_err(words)?;
    let moments = moments.take();
    let (Some(first), Some(last)) = (moments.first(), moments.last()) else {
        return Err("nothing was measured".to_owned());
    };
    let between = [*first, *last];
    tell(&Told::Line { line, between });
    Ok(())
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
