//! `ringtmp watch`.

use crate::arguments::Watch;
use crate::interrupt::interrupted;
use crate::peer::{Part, Peer};
use crate::terminal::Screen;
use anyhow::Result;

/// Shows a room until it is interrupted.
pub(crate) async fn run(watch: Watch, quiet: bool) -> Result<()> {
    let mut peer = Peer::start(Part::spectator(&watch.url))?;
    let mut screen = Screen::new(quiet);
    let mut interrupt = std::pin::pin!(interrupted());
    loop {
        tokio::select! {
            changed = peer.changed() => changed?,
            () = &mut interrupt => break,
        }
        if let Some(view) = peer.view() {
            screen.show(&view);
        }
    }
    screen.leave();
    peer.leave().await;
    Ok(())
}
