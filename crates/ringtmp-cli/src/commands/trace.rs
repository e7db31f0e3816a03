//! `ringtmp trace`.

use super::sim::{percent, plain, write};
use crate::result::write_json;
use anyhow::{Context, Result};
use clap::Args;
use comfy_table::Table;
use ringtmp_core::trace::json::{self, from_json, to_json};
use ringtmp_core::trace::{Shares, extent, shares};
use ringtmp_sim::timeline;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub(crate) struct Trace {
    /// Traces of simulated or real peers, as Chrome trace-event JSON; those of the peers of one ring are put together
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Write the shares to this file ("-" for standard output)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write one trace of all peers to this file
    #[arg(long, value_name = "FILE")]
    merged: Option<PathBuf>,
    /// Draw it to this file, as SVG
    #[arg(long, value_name = "FILE")]
    timeline: Option<PathBuf>,
}

/// Tells how the peers of a trace spent their time.
pub(crate) fn run(trace: &Trace) -> Result<()> {
    let merged = merge(&trace.files)?;
    let (start, end) = extent(&merged.spans);
    if let Some(path) = &trace.merged {
        write(path, &to_json(&merged))?;
    }
    if let Some(path) = &trace.timeline {
        write(path, &timeline::svg(&merged.spans, start, end))?;
    }
    let shares = shares(&merged.spans, start, end);
    if let Some(path) = &trace.json {
        return write_json(&shares, path);
    }
    outln!("{}", table(&shares, &merged));
    Ok(())
}

/// Puts traces together. Every peer records its own tasks and what it is sent, so that nothing is told twice.
fn merge(files: &[PathBuf]) -> Result<json::Trace> {
    let mut merged = json::Trace::default();
    for path in files {
        let trace = read(path)?;
        if trace.is_cut {
            eprintln!("{} lacks its end: its writer was killed", path.display());
        }
        for (peer, by) in trace.recorders {
            if files.len() > 1 && by.clock_error_us.is_none() {
                let name = &by.name;
                eprintln!("{name} never heard its room's clock: its times are not those of others");
            }
            merged.recorders.insert(peer, by);
        }
        merged.spans.extend(trace.spans);
    }
    merged.spans.sort_by_key(|span| (span.start, span.end));
    Ok(merged)
}

fn read(path: &Path) -> Result<json::Trace> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    from_json(&text).with_context(|| path.display().to_string())
}

fn table(shares: &BTreeMap<u32, Shares>, trace: &json::Trace) -> Table {
    let mut table = plain(&[
        "peer", "idle", "input", "link", "credit", "weights", "F", "B", "W", "update", "clock",
    ]);
    for (peer, shares) in shares {
        let by = trace.recorders.get(peer);
        let name = by.map_or_else(|| peer.to_string(), |by| format!("{peer} {}", by.name));
        let clock = by.and_then(|by| by.clock_error_us);
        let clock = clock.map(|us| format!("±{:.1} ms", us as f64 / 1000.0));
        let figures = [
            shares.idle(),
            shares.input,
            shares.link,
            shares.credit,
            shares.weights,
            shares.forward,
            shares.backward_input,
            shares.backward_weights,
            shares.update,
        ];
        let cells = std::iter::once(name).chain(figures.map(percent));
        table.add_row(cells.chain([clock.unwrap_or_default()]));
    }
    table
}
