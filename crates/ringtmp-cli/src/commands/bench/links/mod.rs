//! `ringtmp bench links`: what a link between two native peers carries, beside a data channel of the same WebRTC crate with nothing
//! around it.
//!
//! Both ends live in this process, so that one clock counts what sending and receiving cost together.

mod bare;
mod ours;

use super::clock::cpu_seconds;
use anyhow::{Result, ensure};
use clap::Args;
use ringtmp_transport::native::AccessLink;
use serde::Serialize;
use std::time::{Duration, Instant};

/// The version of the lines' JSON.
const SCHEMA_VERSION: u32 = 1;

/// Bytes of a tensor: 32 samples of 8,192 numbers in 32 bits.
const TENSOR_BYTES: usize = 1024 * 1024;

/// How long a path is looked for and bytes are waited for; after that something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Args, Debug)]
pub(crate) struct LinkRate {
    /// Rounds of each, in turn, of which the median is told
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of a round, after half as many to get going
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Emulate the link between each peer and the other: a delay one way, a rate, or both. Only ours has it
    #[arg(long, value_name = "25ms,10mbit")]
    access_link: Option<AccessLink>,
}

#[derive(Debug, Serialize)]
struct Line {
    schema_version: u32,
    /// `ours` or `bare`.
    link: &'static str,
    /// Millions of bytes in a second.
    megabytes_per_second: f64,
    /// Seconds of processors for 10^9 bytes, both ends.
    cpu_seconds_per_gigabyte: f64,
    /// Rate beside the bare channel's.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
}

/// What a round came to.
#[derive(Clone, Copy, Debug)]
struct Carried {
    bytes_per_second: f64,
    cpu_seconds_per_byte: f64,
}

pub(super) async fn run(rate: LinkRate) -> Result<()> {
    let round = Duration::try_from_secs_f64(rate.seconds)?;
    ensure!(!round.is_zero(), "a round takes some time");
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..rate.rounds {
        ours.push(Box::pin(ours::carry(rate.access_link, round)).await?);
        if rate.access_link.is_none() {
            bare.push(Box::pin(bare::carry(round)).await?);
        }
    }
    let bare_rate = (!bare.is_empty()).then(|| median(&bare, |carried| carried.bytes_per_second));
    for (link, carried) in [("bare", bare), ("ours", ours)] {
        if carried.is_empty() {
            continue;
        }
        let bytes_per_second = median(&carried, |carried| carried.bytes_per_second);
        let line = Line {
            schema_version: SCHEMA_VERSION,
            link,
            megabytes_per_second: bytes_per_second / 1e6,
            cpu_seconds_per_gigabyte: 1e9 * median(&carried, |of| of.cpu_seconds_per_byte),
            ratio: bare_rate.map(|bare| bytes_per_second / bare),
        };
        outln!("{}", serde_json::to_string(&line)?);
    }
    Ok(())
}

fn median(carried: &[Carried], of: impl Fn(&Carried) -> f64) -> f64 {
    let mut values: Vec<f64> = carried.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Counts what comes in once it flows.
struct Meter {
    begins: Instant,
    round: Duration,
    started: Option<(Instant, Option<f64>)>,
    bytes: u64,
}

impl Meter {
    fn new(round: Duration) -> Self {
        Self {
            begins: Instant::now() + round / 2,
            round,
            started: None,
            bytes: 0,
        }
    }

    /// So many bytes have come; gives the figures once the round is over.
    fn received(&mut self, bytes: usize) -> Option<Carried> {
        let now = Instant::now();
        let Some((start, cpu_start)) = self.started else {
            if now >= self.begins {
                self.started = Some((now, cpu_seconds()));
            }
            return None;
        };
        self.bytes += bytes as u64;
        let elapsed = now.duration_since(start);
        (elapsed >= self.round).then(|| Carried {
            bytes_per_second: self.bytes as f64 / elapsed.as_secs_f64(),
            cpu_seconds_per_byte: cpu_seconds()
                .zip(cpu_start)
                .map_or(f64::NAN, |(end, start)| (end - start) / self.bytes as f64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn both_kinds_of_link_carry_bytes() {
        let round = Duration::from_millis(100);
        let ours = ours::carry(None, round).await.expect("a link");
        let bare = bare::carry(round).await.expect("a channel");
        for carried in [ours, bare] {
            assert!(carried.bytes_per_second > 0.0, "{carried:?}");
        }
    }
}
