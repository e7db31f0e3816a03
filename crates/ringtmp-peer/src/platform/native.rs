//! What is particular to native peers.

use super::{Bytes, DiskError, Entry};
use ringtmp_transport::ServerAddress;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) async fn fetch(
    server: &str,
    url: &str,
    bytes_max: u64,
) -> Option<Result<Option<Vec<u8>>, String>> {
    let server: ServerAddress = server.parse().ok()?;
    let path = url.strip_prefix(server.origin())?;
    match server.is_secure() {
        // Large, and seldom.
        true => Some(Box::pin(ringtmp_transport::native::get(&server, path, bytes_max)).await),
        false => None,
    }
}

pub(super) async fn sleep(delay: Duration) {
    tokio::time::sleep(delay).await;
}

pub(super) async fn yield_turn() {
    tokio::task::yield_now().await;
}

/// A folder on this machine's disk. Whatever takes long is done on threads of the runtime's own.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

/// A claim on a folder, as long as it lives. A process that dies gives it up.
#[derive(Debug)]
pub(crate) struct Claim {
    _file: File,
}

impl From<io::Error> for DiskError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Self::Full
            }
            ErrorKind::ResourceBusy => Self::InUse,
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                Self::None(error.to_string())
            }
            _ => Self::Other(error.to_string()),
        }
    }
}

impl Folder {
    /// Opens a folder, which is made if it is not there.
    pub(crate) async fn open(path: &Path) -> Result<Self, DiskError> {
        let path = path.to_owned();
        off_thread(move || {
            fs::create_dir_all(&path)?;
            Ok(Self(path))
        })
        .await
    }

    pub(crate) async fn inner(&self, name: &str) -> Result<Self, DiskError> {
        Self::open(&self.0.join(name)).await
    }

    pub(crate) async fn entries(&self) -> Result<Vec<Entry>, DiskError> {
        let path = self.0.clone();
        off_thread(move || {
            let mut entries = Vec::new();
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                entries.push(Entry {
                    name: entry.file_name().to_string_lossy().into_owned(),
                    is_folder: entry.file_type()?.is_dir(),
                });
            }
            Ok(entries)
        })
        .await
    }

    /// Puts a file in the place of whatever is there: it has its name only once all of it is on the disk.
    pub(crate) async fn write(&self, name: &str, parts: Vec<Bytes>) -> Result<(), DiskError> {
        let (folder, name) = (self.0.clone(), name.to_owned());
        off_thread(move || {
            let part = folder.join(format!("{name}.part"));
            let mut file = File::create(&part)?;
            for bytes in &parts {
                file.write_all(bytes)?;
            }
            file.sync_all()?;
            fs::rename(&part, folder.join(name))?;
            // The name is on the disk once the folder is; only Unix can say so of a folder.
            #[cfg(unix)]
            File::open(&folder)?.sync_all()?;
            Ok(())
        })
        .await
    }

    /// The bytes of a file; none if it is not there, or longer than it may be.
    pub(crate) async fn read(
        &self,
        name: &str,
        bytes_max: u64,
    ) -> Result<Option<Vec<u8>>, DiskError> {
        let path = self.0.join(name);
        off_thread(move || {
            let file = match File::open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                file => file?,
            };
            let mut bytes = Vec::new();
            file.take(bytes_max.saturating_add(1))
                .read_to_end(&mut bytes)?;
            Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= bytes_max))
        })
        .await
    }

    /// Bytes of a file.
    pub(crate) async fn length(&self, name: &str) -> Result<u64, DiskError> {
        let path = self.0.join(name);
        off_thread(move || Ok(fs::metadata(&path)?.len())).await
    }

    /// Removes a file, or a folder with all that is in it. What is not there is removed already.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), DiskError> {
        let path = self.0.join(name);
        off_thread(move || {
            let removed = match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path),
                Ok(_) => fs::remove_file(&path),
                Err(error) => Err(error),
            };
            match removed {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                removed => Ok(removed?),
            }
        })
        .await
    }

    /// Claims this folder by a file in it; none if another has.
    pub(crate) async fn claim(&self, name: &str) -> Result<Option<Claim>, DiskError> {
        let path = self.0.join(name);
        off_thread(move || {
            let file = File::create(&path)?;
            match file.try_lock() {
                Ok(()) => Ok(Some(Claim { _file: file })),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) => Err(error.into()),
            }
        })
        .await
    }

    /// Bytes that may still be written, where the system says so.
    pub(crate) async fn space(&self) -> Option<u64> {
        // A full disk says so when it is written to.
        None
    }
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DiskError> + Send + 'static,
) -> Result<T, DiskError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(DiskError::Other(error.to_string())))
}
