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
mod machine;
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

/// What is logged without `-v`. What WebRTC's crates warn of is mostly part of connecting, and nothing that a user could do anything
/// about: it is in the log of who asks for more.
const LOGGED: &str = "warn,rtc=error,webrtc=error";

/// What is logged with `-vv`. The crate that finds a way for WebRTC tells passwords of connections even there.
const LOGGED_MORE: &str = "debug,rtc_ice=info";

/// What is logged with `-vvv`: all that our own crates say. The finest that others say has whole messages in it, with tokens and
/// passwords of relays, and logs are shown to others. `RUST_LOG` asks for it by name.
const LOGGED_MOST: &str = "debug,rtc_ice=info,ringtmp=trace,signaling_server=trace";

/// Sends the log to standard error.
fn log(arguments: &Arguments) {
    let wished = std::env::var("RUST_LOG").unwrap_or_default();
    let filter = filter(arguments.quiet, arguments.verbose, &wished);
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal() && !no_color)
        .with_writer(std::io::stderr)
        .init();
}

/// What is logged. What `RUST_LOG` wishes goes before `-v` and `-q`.
fn filter(quiet: bool, verbose: u8, wished: &str) -> EnvFilter {
    let asked = match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) => LOGGED,
        (false, 1) => "info",
        (false, 2) => LOGGED_MORE,
        (false, _) => LOGGED_MOST,
    };
    let directives = match wished {
        "" => asked,
        wished => wished,
    };
    EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .parse_lossy(directives)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::{Level, enabled};

    /// Which of these are logged: our own warnings, our finest words, WebRTC's warnings, passwords of connections, and a WebSocket's
    /// messages and what is said of it otherwise.
    fn logged(quiet: bool, verbose: u8, wished: &str) -> [bool; 6] {
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter(quiet, verbose, wished))
            .with_writer(std::io::sink)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            [
                enabled!(target: "signaling_server::data", Level::WARN),
                enabled!(target: "ringtmp_peer::shell", Level::TRACE),
                enabled!(target: "rtc::peer_connection", Level::WARN),
                enabled!(target: "rtc_ice::agent", Level::DEBUG),
                enabled!(target: "tungstenite::protocol", Level::TRACE),
                enabled!(target: "tungstenite::handshake", Level::DEBUG),
            ]
        })
    }

    #[test]
    fn no_number_of_v_logs_what_is_in_messages() {
        let (no, yes) = (false, true);
        assert_eq!(logged(true, 0, ""), [no; 6]);
        assert_eq!(logged(false, 0, ""), [yes, no, no, no, no, no]);
        assert_eq!(logged(false, 1, ""), [yes, no, yes, no, no, no]);
        assert_eq!(logged(false, 2, ""), [yes, no, yes, no, no, yes]);
        for verbose in [3, 4, u8::MAX] {
            assert_eq!(logged(false, verbose, ""), [yes, yes, yes, no, no, yes]);
        }
    }

    #[test]
    fn who_names_it_to_rust_log_gets_it() {
        let (no, yes) = (false, true);
        let wished = logged(true, 0, "tungstenite=trace");
        assert_eq!(wished, [no, no, no, no, yes, yes]);
        assert_eq!(logged(false, 0, "trace"), [yes; 6]);
    }
}
