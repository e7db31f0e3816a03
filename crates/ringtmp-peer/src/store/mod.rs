//! What a device keeps of runs, on its disk: natively in a folder, in a tab in the page's own part of the browser's storage.
//!
//! ```text
//!   RUN/                 the run, by the code of the room in which it began
//!     1/                 what one peer keeps of it; another tab or process of the same device has a folder of its own
//!       lock             claimed while that peer lives
//!       about            the run file, and how far it has come
//!       8-840-3-0-ROOM/  the eighth that was kept: the version after 840 updates, of plan 3.0 of that room
//!         0, 1, ...      its layers: see `file`
//! ```
//!
//! A file has its name only once all of it is written, and a digest that shows what was cut or altered since. A peer
//! that comes back claims whatever nobody else of its device has claimed, so that fewer tabs than before lose nothing.

mod file;
mod shelf;

pub(crate) use shelf::Shelf;

use crate::platform::{Claim, DiskError, Folder};
use crate::run_file::RunFile;
use ringtmp_core::ids::RoomCode;
use serde::{Deserialize, Serialize};
use std::path::Path;

pub use ringtmp_core::kept::KEPT_EVERY_MIN;

/// The most runs that are kept; the oldest goes first. More than people go on with.
pub const RUNS_KEPT_MAX: usize = 16;

/// The most bytes that are kept of all runs: a browser gives a page more than this on most devices, and a disk has it to spare.
pub const KEPT_BYTES_MAX: u64 = 8 << 30;

/// The most peers of a device that keep parts of one run: as many as a room has members.
const HOLDERS_MAX: usize = 64;

/// The longest description of a run: its run file, and some numbers.
const ABOUT_BYTES_MAX: u64 = 64 * 1024;

/// The form of what is kept; what is of another is not read.
const FORM: u32 = 1;

const LOCK: &str = "lock";
const ABOUT: &str = "about";

/// Why something cannot be kept, or what was kept cannot be used. Training goes on without.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The device, or the browser, has no place for it.
    #[error("there is no storage: {0}")]
    Unavailable(String),
    /// There is no space left, even without older runs.
    #[error("the storage is full")]
    Full,
    /// Another tab or process has it.
    #[error("another tab or process of this device is using it")]
    InUse,
    /// Not what was written.
    #[error("layer {layer} after {version} updates was cut short or altered after it was written")]
    Damaged {
        /// Counted from 1.
        layer: usize,
        /// Updates it had seen.
        version: u32,
    },
    /// Whole, but of another run or model.
    #[error("layer {layer} after {version} updates is of another run, or of another model")]
    OtherModel {
        /// Counted from 1.
        layer: usize,
        /// Updates it had seen.
        version: u32,
    },
    /// The disk, or the browser, says no.
    #[error("{0}")]
    Disk(String),
}

impl From<DiskError> for StoreError {
    fn from(error: DiskError) -> Self {
        match error {
            DiskError::None(why) => Self::Unavailable(why),
            DiskError::Full => Self::Full,
            DiskError::InUse => Self::InUse,
            DiskError::Other(words) => Self::Disk(words),
        }
    }
}

/// A run that this device keeps something of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRun {
    /// The code of the room in which it began.
    pub id: RoomCode,
    /// The preset.
    pub name: String,
    /// Where samples come from.
    pub data: String,
    /// Updates made in the newest version that is kept.
    pub step: u32,
    /// Updates to make.
    pub steps: u32,
    /// When that was kept, in seconds since 1970.
    pub when: u64,
}

impl KeptRun {
    /// How long ago that was, in words; `now` is in seconds since 1970.
    pub fn age(&self, now: u64) -> String {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        const DAY: u64 = 24 * HOUR;
        let some = |number: u64, one: &str| match number {
            1 => format!("1 {one} ago"),
            number => format!("{number} {one}s ago"),
        };
        // A clock may have been set back.
        match now.saturating_sub(self.when) {
            0..MINUTE => "just now".to_owned(),
            seconds @ MINUTE..HOUR => some(seconds / MINUTE, "minute"),
            seconds @ HOUR..DAY => some(seconds / HOUR, "hour"),
            seconds if seconds < 2 * DAY => "yesterday".to_owned(),
            seconds => some(seconds / DAY, "day"),
        }
    }
}

/// What is said of a run beside its layers.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct About {
    form: u32,
    name: String,
    data: String,
    step: u32,
    steps: u32,
    when: u64,
    toml: String,
}

/// What bounds a store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) runs_max: usize,
    pub(crate) bytes_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            runs_max: RUNS_KEPT_MAX,
            bytes_max: KEPT_BYTES_MAX,
        }
    }
}

/// All that a device keeps.
#[derive(Clone, Debug)]
pub struct Store {
    root: Folder,
    bounds: Bounds,
}

impl Store {
    /// Opens a folder for it, which is made if it is not there: natively a path on the disk, in a tab one in its own storage.
    ///
    /// # Errors
    ///
    /// Where there is no storage.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::bounded(path, Bounds::default()).await
    }

    pub(crate) async fn bounded(path: &Path, bounds: Bounds) -> Result<Self, StoreError> {
        let root = Folder::open(path).await?;
        Ok(Self { root, bounds })
    }

    /// The runs that something is kept of, the newest first.
    ///
    /// # Errors
    ///
    /// What the disk says. What cannot be read is left out.
    pub async fn runs(&self) -> Result<Vec<KeptRun>, StoreError> {
        let mut runs = Vec::new();
        for id in self.ids().await? {
            if let Some(about) = self.about(id).await? {
                runs.push(KeptRun {
                    id,
                    name: about.name,
                    data: about.data,
                    step: about.step,
                    steps: about.steps,
                    when: about.when,
                });
            }
        }
        runs.sort_by_key(|run| std::cmp::Reverse(run.when));
        Ok(runs)
    }

    /// The run file of a run.
    ///
    /// # Errors
    ///
    /// What the disk says; [`StoreError::Disk`] where nothing of the run is kept that can be read.
    pub async fn run_file(&self, id: RoomCode) -> Result<RunFile, StoreError> {
        let about = self.about(id).await?;
        let about =
            about.ok_or_else(|| StoreError::Disk(format!("nothing is kept of run {id}")))?;
        let file = RunFile::parse(&about.toml);
        file.map_err(|error| StoreError::Disk(error.to_string()))
    }

    /// Removes all that is kept of a run.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`] where a peer of this device takes part in it now.
    pub async fn forget(&self, id: RoomCode) -> Result<(), StoreError> {
        Ok(self.root.remove(&id.to_string()).await?)
    }

    async fn ids(&self) -> Result<Vec<RoomCode>, StoreError> {
        let entries = self.root.entries().await?.into_iter();
        let folders = entries.filter(|entry| entry.is_folder);
        Ok(folders
            .filter_map(|entry| entry.name.parse().ok())
            .collect())
    }

    /// The newest description among those of a run's holders.
    async fn about(&self, id: RoomCode) -> Result<Option<About>, StoreError> {
        let run = self.root.inner(&id.to_string()).await?;
        let mut newest: Option<About> = None;
        for holder in holders(&run).await? {
            let about = read_about(&run.inner(&holder).await?).await?;
            let is_newer = |about: &About| {
                let known = newest.as_ref();
                known.is_none_or(|known| (known.when, known.step) < (about.when, about.step))
            };
            if let Some(about) = about.filter(is_newer) {
                newest = Some(about);
            }
        }
        Ok(newest)
    }

    /// What other runs take, the oldest first.
    async fn others(&self, than: RoomCode) -> Result<Vec<Other>, StoreError> {
        let mut others = Vec::new();
        for id in self.ids().await?.into_iter().filter(|id| *id != than) {
            let when = self.about(id).await?.map_or(0, |about| about.when);
            let run = self.root.inner(&id.to_string()).await?;
            let bytes = bytes_in(&run).await?;
            others.push(Other { id, when, bytes });
        }
        others.sort_by_key(|other| other.when);
        Ok(others)
    }

    /// Removes a run unless one of its holders lives; says whether it did.
    async fn forget_if_unused(&self, id: RoomCode) -> Result<bool, StoreError> {
        let run = self.root.inner(&id.to_string()).await?;
        let mut claims: Vec<Claim> = Vec::new();
        for holder in holders(&run).await? {
            match run.inner(&holder).await?.claim(LOCK).await? {
                Some(claim) => claims.push(claim),
                None => return Ok(false),
            }
        }
        // An open file cannot be removed everywhere.
        drop(claims);
        self.forget(id).await?;
        Ok(true)
    }
}

/// A run that is not the one at work.
#[derive(Clone, Copy, Debug)]
struct Other {
    id: RoomCode,
    when: u64,
    bytes: u64,
}

/// The names of the folders of those who keep parts of a run.
async fn holders(run: &Folder) -> Result<Vec<String>, StoreError> {
    let entries = run.entries().await?.into_iter();
    let folders = entries.filter(|entry| entry.is_folder && entry.name.parse::<u16>().is_ok());
    let mut names: Vec<String> = folders.map(|entry| entry.name).collect();
    names.sort_by_key(|name| name.parse::<u16>().unwrap_or(u16::MAX));
    names.truncate(HOLDERS_MAX);
    Ok(names)
}

async fn read_about(holder: &Folder) -> Result<Option<About>, StoreError> {
    let bytes = holder.read(ABOUT, ABOUT_BYTES_MAX).await?;
    let about = bytes.and_then(|bytes| serde_json::from_slice::<About>(&bytes).ok());
    Ok(about.filter(|about| about.form == FORM))
}

/// Bytes of the files in the folders of a run's holders.
async fn bytes_in(run: &Folder) -> Result<u64, StoreError> {
    let mut bytes = 0;
    for holder in holders(run).await? {
        let holder = run.inner(&holder).await?;
        for entry in holder.entries().await? {
            if !entry.is_folder {
                continue;
            }
            let version = holder.inner(&entry.name).await?;
            for file in version.entries().await? {
                bytes += version.length(&file.name).await?;
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
