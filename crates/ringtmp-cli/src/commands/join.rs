//! `ringtmp join`.

use crate::arguments::Join;
use crate::follow::outcome;
use crate::interrupt::interrupted;
use crate::memory::Memory;
use crate::peer::{Carrier, Part, Peer};
use crate::speed::Speed;
use crate::terminal::Screen;
use crate::trace_file::TraceFile;
use anyhow::{Result, bail};
use ringtmp_core::signal::Role;
use ringtmp_peer::{Entry, Own};

/// Takes part until it is interrupted, or, if asked to, until the run ends.
pub(crate) async fn run(join: Join, quiet: bool) -> Result<()> {
    let speed = match join.pace {
        None => None,
        Some(Speed::Operations(speed)) => Some(speed),
        // What others are like is not known here.
        Some(Speed::Slowness(_)) => bail!("say --pace in operations per second, such as 20M"),
    };
    let trace = join.trace.as_deref().map(TraceFile::create).transpose()?;
    let peer = Peer::start(Part {
        server: join.url.server.to_string(),
        entry: Entry::Join(join.url.room),
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
            ..Own::default()
        },
    })?;
    let outcome = take_part(peer, join.exit_when_finished, quiet).await;
    if let Some(trace) = trace {
        trace.finish().await?;
    }
    outcome
}

/// Shows how a peer takes part, until it is interrupted or, if asked to, until the run ends; then it leaves.
pub(super) async fn take_part(mut peer: Peer, exit_when_finished: bool, quiet: bool) -> Result<()> {
    let mut screen = Screen::new(quiet);
    let mut interrupt = std::pin::pin!(interrupted());
    let outcome = loop {
        tokio::select! {
            changed = peer.changed() => changed?,
            () = &mut interrupt => break Ok(()),
        }
        let Some(view) = peer.view() else { continue };
        screen.show(&view);
        if exit_when_finished && let Some(outcome) = outcome(&view) {
            break outcome;
        }
    };
    screen.leave();
    peer.leave().await;
    outcome
}
