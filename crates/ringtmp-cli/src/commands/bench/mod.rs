//! `ringtmp bench`: how fast this device trains alone, and what a ring costs. Figures go to standard output, one JSON line each.

mod clock;
mod links;
mod plan;
mod ring;
mod server;

use crate::help;
use anyhow::Result;
use clap::{Args, Subcommand};
use ringtmp_peer::bench::{BenchSettings, measure_product, measure_steps, usual_batch};
use ringtmp_peer::{Executor, ExecutorChoice};
use std::time::Duration;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    steps: Steps,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What a ring costs beside one process: samples per second of processor time, transport included; the run should take ten
    /// seconds or more
    #[command(after_help = help::BENCH_RING_EXAMPLES)]
    Ring(ring::RingCost),
    /// What a link between two native peers carries, beside a bare data channel
    #[command(after_help = help::BENCH_LINKS_EXAMPLES)]
    Links(links::LinkRate),
    /// How long a room plans for a large ring of unequal devices
    #[command(after_help = help::BENCH_PLAN_EXAMPLES)]
    Plan(plan::Planning),
    /// What the signalling server takes for idle peers, and how long crowds and messages take; beside other such servers
    #[command(after_help = help::BENCH_SERVER_EXAMPLES)]
    Server(server::ServerLoad),
}

#[derive(Args, Debug)]
struct Steps {
    /// The models to train; none with --preset ""
    #[arg(long, value_delimiter = ',', default_value = "mlp,cnn,gpt-nano")]
    preset: Vec<String>,
    /// Samples of a step; the usual ones of each model if not given
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: Option<u32>,
    /// Sizes of square matrix products; none with --products ""
    #[arg(long, value_delimiter = ',', default_value = "256,512,1024")]
    products: Vec<String>,
    /// What computes: auto, gpu or cpu
    #[arg(long, default_value = "auto")]
    executor: ExecutorChoice,
    /// Rounds, of which the median is told
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds of a round
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
}

/// Measures what was asked for.
pub(crate) async fn run(bench: Bench) -> Result<()> {
    match bench.what {
        Some(What::Ring(cost)) => Box::pin(ring::run(cost)).await,
        Some(What::Links(rate)) => Box::pin(links::run(rate)).await,
        Some(What::Plan(planning)) => plan::run(&planning),
        Some(What::Server(load)) => Box::pin(server::run(load)).await,
        None => steps(&bench.steps).await,
    }
}

async fn steps(steps: &Steps) -> Result<()> {
    let executor = Executor::open(steps.executor).await?;
    let settings = BenchSettings {
        rounds: steps.rounds,
        round: Duration::try_from_secs_f64(steps.seconds)?,
    };
    for preset in steps.preset.iter().filter(|name| !name.is_empty()) {
        let batch = steps
            .batch
            .map_or(usual_batch(preset), |batch| batch as usize);
        let measuring = measure_steps(preset, batch, &executor, settings, &clock::cpu_seconds);
        outln!("{}", serde_json::to_string(&Box::pin(measuring).await?)?);
    }
    for size in steps.products.iter().filter(|size| !size.is_empty()) {
        let size = size.parse()?;
        let measuring = measure_product(size, &executor, settings, &clock::cpu_seconds);
        outln!("{}", serde_json::to_string(&Box::pin(measuring).await?)?);
    }
    Ok(())
}
