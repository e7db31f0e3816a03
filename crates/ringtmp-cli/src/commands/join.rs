//! `ringtmp join`.

use super::fetch::Export;
use crate::arguments::Join;
use crate::follow::outcome;
use crate::interrupt::{Interrupt, Interrupts};
use crate::memory::Memory;
use crate::peer::{Carrier, Part, Peer};
use crate::speed::Speed;
use crate::terminal::Screen;
use crate::trace_file::TraceFile;
use anyhow::{Result, bail};
use ringtmp_core::signal::Role;
use ringtmp_peer::{Entry, Own};
use std::time::Duration;
use tokio::time::Instant;

/// How long a device that leaves waits for the others to have its layers: a step, a copy of every stage, and a plan.
const HAND_ON_MAX: Duration = Duration::from_secs(60);

/// Takes part until it is interrupted (then its layers are handed on first, unless it is interrupted once more), or, if asked to, until the run ends.
pub(crate) async fn run(join: Join, quiet: bool) -> Result<()> {
    let speed = match join.pace {
        None => None,
        Some(Speed::Operations(speed)) => Some(speed),
        // What others are like is not known here.
        Some(Speed::Slowness(_)) => bail!("say --pace in operations per second, such as 20M"),
    };
    let trace = join.trace.as_deref().map(TraceFile::create).transpose()?;
    let (export, models) = join.export.map(Export::new).unzip();
    let peer = Peer::start(Part {
        server: join.url.server.to_string(),
        entry: Entry::Join(join.url.link),
        role: Role::Participant,
        name: join.name,
        executor: join.executor,
        carrier: Carrier::WebRtc(join.access_link),
        weights: None,
        own: Own {
            samples: join.data.map(|data| data.0).unwrap_or_default(),
            traced: trace.as_ref().map(TraceFile::traced),
            operations_per_second: speed,
            memory_bytes: match join.memory {
                Some(Memory(bytes)) => Some(bytes),
                None => Memory::of_this_machine(1),
            },
            medium_bytes_per_second: join.medium.map(|medium| medium.0),
            keep: join.keep.keep(),
            models,
            ..Own::default()
        },
    })?;
    let outcome = take_part(peer, join.exit_when_finished, export, quiet).await;
    if let Some(trace) = trace {
        trace.finish().await?;
    }
    outcome
}

/// Shows how a peer takes part, until it is interrupted or, if asked to, until the run ends (and the model is written, if that is wanted); then it leaves.
pub(super) async fn take_part(
    mut peer: Peer,
    exit_when_finished: bool,
    mut export: Option<Export>,
    quiet: bool,
) -> Result<()> {
    let mut screen = Screen::new(quiet);
    screen.asks_for(&peer);
    let mut interrupts = Interrupts::listen()?;
    let mut leaves_at: Option<Instant> = None;
    let outcome = loop {
        let patience = async {
            match leaves_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // One that was let go ends by itself.
            changed = peer.changed() => match changed {
                Err(_) if leaves_at.is_some() => break Ok(()),
                changed => changed?,
            },
            kind = interrupts.next() => {
                if kind == Interrupt::Gone || leaves_at.is_some() {
                    break Ok(());
                }
                leaves_at = Some(Instant::now() + HAND_ON_MAX);
                peer.hand_on();
                eprintln!("Handing this device's layers on. Press Ctrl-C again to leave at once.");
            }
            () = patience => break Ok(()),
        }
        let Some(view) = peer.view() else { continue };
        screen.show(&view);
        if let Some(wanted) = &mut export {
            match wanted.see(&view, &mut peer) {
                Ok(false) => {}
                Ok(true) => export = None,
                Err(error) => break Err(error),
            }
        }
        if exit_when_finished
            && let Some(outcome) = outcome(&view)
            && (export.is_none() || outcome.is_err())
        {
            break outcome;
        }
    };
    screen.leave();
    peer.leave().await;
    outcome
}
