//! `ringtmp join --export`: the whole model, which comes from the other devices once the run is finished.

use crate::files;
use crate::peer::Peer;
use anyhow::{Result, bail};
use futures::channel::mpsc;
use ringtmp_core::signal::RoomState;
use ringtmp_peer::{Fetched, ModelState, View};
use std::path::PathBuf;

/// A file that is to hold the model.
#[derive(Debug)]
pub(crate) struct Export {
    path: PathBuf,
    models: mpsc::Receiver<Fetched>,
    asked: bool,
}

impl Export {
    /// And where the peer puts what it fetches.
    pub(crate) fn new(path: PathBuf) -> (Self, mpsc::Sender<Fetched>) {
        let (sender, models) = mpsc::channel(1);
        let export = Self {
            path,
            models,
            asked: false,
        };
        (export, sender)
    }

    /// Fetches the model once the run is finished, and writes it. Whether that is done.
    ///
    /// # Errors
    ///
    /// Why it cannot be had, or not be written.
    pub(crate) fn see(&mut self, view: &View, peer: &mut Peer) -> Result<bool> {
        let state = view.room.as_ref().map(|room| &room.state);
        if state != Some(&RoomState::Finished) {
            return Ok(false);
        }
        if !std::mem::replace(&mut self.asked, true) {
            peer.fetch_model();
            return Ok(false);
        }
        match &view.model {
            None | Some(ModelState::Waits | ModelState::Comes { .. }) => Ok(false),
            Some(ModelState::Here { steps }) => {
                let Ok(fetched) = self.models.try_recv() else {
                    return Ok(false);
                };
                files::replace(&self.path, &fetched.file)?;
                let path = self.path.display();
                eprintln!("wrote the model after {steps} steps to {path}");
                Ok(true)
            }
            Some(ModelState::Refused {
                needed_bytes,
                given_bytes,
            }) => bail!(
                "fetching the model takes {needed_bytes} bytes of memory, and this device gives {given_bytes}: give more with --memory"
            ),
            Some(ModelState::Lost { reason }) => bail!(
                "the model did not come: {reason}; a ring's other devices have to stay until it has (without --exit-when-finished)"
            ),
        }
    }
}
