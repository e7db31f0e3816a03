//! Following a room to the end of its run.

use crate::exit::Failure;
use crate::patience::Patience;
use crate::peer::Peer;
use crate::terminal::Screen;
use anyhow::Result;
use ringtmp_core::signal::{Role, RoomState};
use ringtmp_peer::{ServerState, View};

/// That the server is gone, through which alone a watcher hears how the run goes on.
fn deaf(view: &View) -> Option<Failure> {
    match &view.server {
        ServerState::Lost {
            reason,
            comes_back: false,
        } => Some(Failure::Unfinished(format!(
            "the server is gone ({reason}); the devices train on, but nobody here hears of it"
        ))),
        ServerState::Connecting | ServerState::Connected | ServerState::Lost { .. } => None,
    }
}

/// How the run has ended, if it has.
pub(crate) fn outcome(view: &View) -> Option<Result<()>> {
    match &view.room.as_ref()?.state {
        RoomState::Finished => Some(Ok(())),
        RoomState::Stopped { reason } => Some(Err(Failure::Unfinished(reason.clone()).into())),
        RoomState::Waiting
        | RoomState::WarmingUp
        | RoomState::Training
        | RoomState::Paused
        | RoomState::Reconfiguring { .. }
        | RoomState::Lacking { .. } => None,
    }
}

/// Draws until the run has finished, and gives the last view. `meanwhile` is done over and over; it must lose nothing when it
/// is dropped in between, and its error ends all. Where patience is given, no wait is longer than it allows.
pub(crate) async fn until_finished(
    peer: &mut Peer,
    screen: &mut Screen,
    mut patience: Option<Patience>,
    mut meanwhile: impl AsyncFnMut() -> Result<()>,
) -> Result<View> {
    loop {
        if let Some(view) = peer.view() {
            screen.show(&view);
            if let Some(patience) = &mut patience {
                patience.see(&view);
            }
            if let Some(outcome) = outcome(&view) {
                return outcome.map(|()| view);
            }
            if let Some(deaf) = deaf(&view).filter(|_| view.role == Role::Spectator) {
                return Err(deaf.into());
            }
        }
        let lost = async {
            match &patience {
                Some(patience) => patience.lost().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = peer.changed() => changed?,
            done = meanwhile() => done?,
            words = lost => return Err(Failure::Unfinished(words).into()),
        }
    }
}
