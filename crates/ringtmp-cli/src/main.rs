//! The program `ringtmp`: the signalling server, native peers, a view of a room in the terminal, the demo that puts them all
//! together with real browser tabs, and training on this device alone.
//!
//! What moves is drawn on standard error; what another program may want to read goes to standard output or to a file.
//! What the program says of its options, exit codes and examples is all there is to say of them: `ringtmp man` and
//! `ringtmp completions` are made of it.

#![warn(clippy::print_stdout)]

#[macro_use]
mod output;

mod announce;
mod arguments;
mod browser;
mod commands;
mod descriptors;
mod exit;
mod files;
mod follow;
mod help;
mod interrupt;
mod kept;
mod memory;
mod network;
mod page;
mod patience;
mod peer;
mod process;
mod result;
mod room_url;
mod run_choice;
mod speed;
mod terminal;
mod trace_file;

use arguments::{Arguments, Command};
use clap::Parser;
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log(&arguments);
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let quiet = arguments.quiet;
    runtime.block_on(async move {
        match arguments.command {
            Command::Serve(serve) => commands::serve::run(serve, quiet).await,
            Command::Join(join) => commands::join::run(join, quiet).await,
            Command::Resume(resume) => commands::resume::run(resume, quiet).await,
            Command::Ps(serve) => commands::ps::run(serve, quiet).await,
            Command::Watch(watch) => commands::watch::run(watch, quiet).await,
            Command::Demo(demo) => Box::pin(commands::demo::run(demo, quiet)).await,
            Command::Train(train) => Box::pin(commands::train::run(train, quiet)).await,
            Command::Export(export) => commands::train::export(&export),
            Command::Generate(generate) => commands::generate::run(generate).await,
            Command::Predict(predict) => Box::pin(commands::predict::run(predict)).await,
            Command::Bench(bench) => Box::pin(commands::bench::run(bench)).await,
            Command::Sim(sim) => commands::sim::run(&sim),
            Command::Experiment(experiment) => commands::experiment::run(&experiment, quiet),
            Command::Curves(curves) => commands::curves::run(&curves),
            Command::Trace(trace) => commands::trace::run(&trace),
            Command::Idle(idle) => Box::pin(commands::idle::run(idle, quiet)).await,
            Command::Doctor(doctor) => commands::doctor::run(doctor).await,
            Command::Energy(energy) => Box::pin(commands::energy::run(energy, quiet)).await,
            Command::Completions(completions) => {
                commands::completions::run(&completions);
                Ok(())
            }
            Command::Man(man) => commands::man::run(&man),
            Command::Guard => commands::guard::run(std::io::stdin().lock()),
        }
    })
}

/// What WebRTC's crates warn of is mostly part of connecting, and nothing that a user could do anything about: it is in the log of who
/// asks for more.
const OF_WEBRTC: &str = "rtc=error,webrtc=error";

/// Sends the log to standard error. `RUST_LOG` wins over `-v` and `-q`.
fn log(arguments: &Arguments) {
    let level = match (arguments.quiet, arguments.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, 2) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let filter = EnvFilter::builder().with_default_directive(level.into());
    let wished = std::env::var("RUST_LOG").unwrap_or_default();
    let filter = match wished.as_str() {
        "" if level == LevelFilter::WARN => filter.parse_lossy(OF_WEBRTC),
        wished => filter.parse_lossy(wished),
    };
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal() && !no_color)
        .with_writer(std::io::stderr)
        .init();
}
