//! What is kept on the disk: one errand after the other, beside everything else, so that nothing waits for the disk but what the
//! node itself waits for.

use super::Shell;
use crate::platform::Bytes;
use crate::progress::Progress;
use crate::run_file::Run;
use crate::store::{KEPT_EVERY_MIN, Shelf, Store, StoreError};
use crate::view::NoticeLevel;
use futures::future::{Fuse, FutureExt, LocalBoxFuture};
use ringtmp_core::ids::{Epoch, LayerIndex, RoomCode, Version};
use ringtmp_core::kept::{Kept, Past};
use ringtmp_core::node::Input;
use ringtmp_core::replica::CopyId;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

/// Where to keep what is needed to go on with a run that lost all its devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// A folder, which is made if it is not there: natively a path on this machine's disk, in a tab one in its own storage.
    pub place: PathBuf,
    /// The least time between two versions that are kept.
    pub every: Duration,
}

impl Keep {
    /// Keeps runs in this folder.
    pub fn at(place: impl Into<PathBuf>) -> Self {
        Self {
            place: place.into(),
            every: KEPT_EVERY_MIN,
        }
    }
}

/// Something to do with the disk.
#[derive(Debug)]
enum Errand {
    Open {
        place: PathBuf,
        id: RoomCode,
        run: Box<Run>,
    },
    Keep {
        kept: Kept,
        copies: Vec<(LayerIndex, Bytes)>,
    },
    Load {
        epoch: Epoch,
        past: Past,
        copies: Vec<CopyId>,
    },
    Forsake(Vec<(Past, Version)>),
    Clear,
}

/// What came of an errand, and the shelf back.
#[derive(Debug)]
pub(super) struct Errands {
    shelf: Option<Shelf>,
    done: Done,
}

#[derive(Debug)]
enum Done {
    /// What is there, and what of it is damaged.
    Opened(Result<Vec<StoreError>, StoreError>),
    Kept(Kept, Result<(), StoreError>),
    Loaded(Epoch, Result<Vec<(CopyId, Vec<u8>)>, StoreError>),
    Removed(Result<(), StoreError>),
}

/// The disk, as far as this peer uses it.
pub(super) struct Disk {
    every: Duration,
    /// Here while nothing is done with it, and there is one.
    shelf: Option<Shelf>,
    /// At most an opening, a version to be kept and one to be loaded, and what is to be removed after each version that was kept.
    errands: VecDeque<Errand>,
    pub(super) work: Fuse<LocalBoxFuture<'static, Errands>>,
}

impl Disk {
    /// A peer that keeps nothing.
    pub(super) fn none() -> Self {
        Self {
            every: KEPT_EVERY_MIN,
            shelf: None,
            errands: VecDeque::new(),
            work: Fuse::terminated(),
        }
    }

    /// A peer that keeps what it holds of a run.
    pub(super) fn of(keep: Keep, id: RoomCode, run: Run) -> Self {
        let run = Box::new(run);
        let place = keep.place;
        Self {
            every: keep.every,
            errands: VecDeque::from([Errand::Open { place, id, run }]),
            ..Self::none()
        }
    }

    pub(super) fn load(&mut self, epoch: Epoch, past: Past, copies: Vec<CopyId>) {
        // For a plan that there is no more nothing is needed.
        self.errands
            .retain(|errand| !matches!(errand, Errand::Load { .. }));
        self.errands.push_back(Errand::Load {
            epoch,
            past,
            copies,
        });
    }

    pub(super) fn forsake(&mut self, versions: Vec<(Past, Version)>) {
        self.errands.push_back(Errand::Forsake(versions));
    }

    pub(super) fn clear(&mut self) {
        self.errands.push_back(Errand::Clear);
    }

    /// Begins the next errand, if there is one and the last is done.
    pub(super) fn begin(&mut self) {
        use futures::future::FusedFuture;
        if !self.work.is_terminated() {
            return;
        }
        if let Some(errand) = self.errands.pop_front() {
            let shelf = self.shelf.take();
            self.work = run(errand, shelf).boxed_local().fuse();
        }
    }
}

async fn run(errand: Errand, shelf: Option<Shelf>) -> Errands {
    let (shelf, done) = match (errand, shelf) {
        (Errand::Open { place, id, run }, _) => match open(place, id, &run).await {
            Ok((shelf, problems)) => (Some(shelf), Done::Opened(Ok(problems))),
            Err(error) => (None, Done::Opened(Err(error))),
        },
        (Errand::Keep { kept, copies }, Some(mut shelf)) => {
            let (past, version) = (kept.past, kept.version);
            let written = shelf.write(past, version, &kept.ring, copies).await;
            (Some(shelf), Done::Kept(kept, written))
        }
        (
            Errand::Load {
                epoch,
                past,
                copies,
            },
            Some(shelf),
        ) => {
            let loaded = read(&shelf, past, copies).await;
            (Some(shelf), Done::Loaded(epoch, loaded))
        }
        (Errand::Forsake(versions), Some(mut shelf)) => {
            let removed = shelf.forsake(&versions).await;
            (Some(shelf), Done::Removed(removed))
        }
        (Errand::Clear, Some(shelf)) => (None, Done::Removed(shelf.clear().await)),
        // The run is over, and nothing is left of it.
        (Errand::Keep { kept, .. }, None) => (None, Done::Kept(kept, Err(StoreError::InUse))),
        (Errand::Load { epoch, .. }, None) => (None, Done::Loaded(epoch, Err(StoreError::InUse))),
        (Errand::Forsake(_) | Errand::Clear, None) => (None, Done::Removed(Ok(()))),
    };
    Errands { shelf, done }
}

async fn open(
    place: PathBuf,
    id: RoomCode,
    run: &Run,
) -> Result<(Shelf, Vec<StoreError>), StoreError> {
    let store = Store::open(&place).await?;
    Shelf::claim(store, id, run).await
}

async fn read(
    shelf: &Shelf,
    past: Past,
    copies: Vec<CopyId>,
) -> Result<Vec<(CopyId, Vec<u8>)>, StoreError> {
    let mut read = Vec::new();
    for copy in copies {
        let bytes = shelf.read(past, copy.version, copy.layer).await?;
        read.push((copy, bytes));
    }
    Ok(read)
}

impl Shell {
    /// What the disk of a participant is; where it keeps nothing the node is told at once, and otherwise once it is read through.
    pub(super) fn use_disk(&mut self, disk: Disk) {
        self.disk = disk;
        if self.disk.errands.is_empty() && self.workshop.is_some() {
            let (every, kept) = (None, Vec::new());
            let nothing = Input::Storage { every, kept };
            self.node.handle(self.clock.now(), nothing);
        }
    }

    /// Has copies that are here written.
    pub(super) fn keep(&mut self, kept: Kept) {
        let version = kept.version;
        let copy = |layer: &LayerIndex| {
            let layer = *layer;
            Some((layer, self.vault.shared(CopyId { version, layer })?))
        };
        let copies = kept.layers.iter().filter_map(copy).collect();
        self.disk.errands.push_back(Errand::Keep { kept, copies });
    }

    /// What the node is told of an errand that is done.
    pub(super) fn disk_did(&mut self, errands: Errands, progress: &mut Progress) -> Option<Input> {
        let Errands { shelf, done } = errands;
        self.disk.shelf = shelf;
        match done {
            Done::Opened(Ok(problems)) => {
                for problem in problems {
                    let text = format!("What this device kept of the run is damaged: {problem}.");
                    let advice =
                        "It is not used. Where another device kept the same, nothing is lost.";
                    progress.notice(NoticeLevel::Warning, text, advice);
                }
                let kept = self.disk.shelf.as_ref().map(Shelf::kept);
                let (every, kept) = (Some(self.disk.every), kept.unwrap_or_default());
                Some(Input::Storage { every, kept })
            }
            Done::Opened(Err(error)) => {
                let text = format!("Nothing of this run is kept on this device: {error}.");
                let advice =
                    "The run goes on; but if all devices that hold it are lost, it begins anew.";
                progress.notice(NoticeLevel::Information, text, advice);
                let (every, kept) = (None, Vec::new());
                Some(Input::Storage { every, kept })
            }
            Done::Kept(kept, Ok(())) => {
                tracing::debug!(version = kept.version.0, "kept on the disk");
                Some(Input::Kept { kept: Some(kept) })
            }
            Done::Kept(kept, Err(error)) => {
                let step = kept.version.0;
                let text = format!("Step {step} could not be kept on this device: {error}.");
                let advice = match error {
                    StoreError::Full => {
                        "The run goes on. Make room on the disk, or forget runs that are kept here."
                    }
                    _ => "The run goes on.",
                };
                progress.notice(NoticeLevel::Warning, text, advice);
                Some(Input::Kept { kept: None })
            }
            Done::Loaded(epoch, Ok(copies)) => {
                let told = copies.iter();
                let told = told.map(|(copy, bytes)| (*copy, bytes.len() as u64));
                let told = told.collect();
                self.vault.put(copies);
                let copies = told;
                Some(Input::Loaded { epoch, copies })
            }
            Done::Loaded(epoch, Err(error)) => {
                let reason = format!("what it kept cannot be read: {error}");
                Some(Input::Failed { epoch, reason })
            }
            // Whoever uses it removes it.
            Done::Removed(Ok(()) | Err(StoreError::InUse)) => None,
            Done::Removed(Err(error)) => {
                let text =
                    format!("What is no longer needed of a run could not be removed: {error}.");
                progress.notice(NoticeLevel::Information, text, "");
                None
            }
        }
    }
}
