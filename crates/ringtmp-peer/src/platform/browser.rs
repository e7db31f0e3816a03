//! What is particular to tabs.

use super::{Breath, Bytes, DiskError, Entry, STRETCH_BYTES};
use futures::channel::oneshot;
use js_sys::{Array, AsyncIterator, Function, IteratorNext, Promise, Reflect, Uint8Array, global};
use std::path::{Component, Path};
use std::time::Duration;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    DomException, File, FileSystemDirectoryHandle, FileSystemFileHandle,
    FileSystemGetDirectoryOptions, FileSystemGetFileOptions, FileSystemRemoveOptions,
    FileSystemSyncAccessHandle, MessageChannel, StorageEstimate, StorageManager,
};

pub(super) async fn fetch(
    _server: &str,
    _url: &str,
    _bytes_max: u64,
) -> Option<Result<Option<Vec<u8>>, String>> {
    None
}

pub(super) async fn sleep(delay: Duration) {
    // Rounded up: who is woken too early only has to wait again.
    let ms = u32::try_from(delay.as_micros().div_ceil(1000)).unwrap_or(u32::MAX);
    gloo_timers::future::TimeoutFuture::new(ms).await;
}

/// Promises run before any event; only a new event lets other events in. A message to ourselves comes at once, whereas
/// a timer is held back by 4 ms, or by a second in a hidden page.
pub(super) async fn yield_turn() {
    let Ok(channel) = MessageChannel::new() else {
        return sleep(Duration::ZERO).await;
    };
    let (sender, receiver) = oneshot::channel();
    let arrived = Closure::once_into_js(move || sender.send(()).is_ok());
    channel.port1().set_onmessage(Some(arrived.unchecked_ref()));
    if channel.port2().post_message(&JsValue::NULL).is_ok() {
        // The sender lives until the message has come.
        receiver.await.ok();
    }
    channel.port1().close();
}

/// A folder in the page's own part of the browser's storage (its origin's private file system).
#[derive(Clone, Debug)]
pub(crate) struct Folder(FileSystemDirectoryHandle);

/// A claim on a folder, as long as it lives: an open file, which no other tab can open. A tab that dies gives it up.
#[derive(Debug)]
pub(crate) struct Claim(FileSystemSyncAccessHandle);

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// An open file, closed whatever happens.
struct Open(FileSystemSyncAccessHandle);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl From<JsValue> for DiskError {
    fn from(error: JsValue) -> Self {
        let Some(error) = error.dyn_ref::<DomException>() else {
            let text = error.dyn_ref::<js_sys::Error>();
            let text = text.map(|error| String::from(error.message()));
            return Self::Other(text.unwrap_or_else(|| format!("{error:?}")));
        };
        match error.name().as_str() {
            "QuotaExceededError" => Self::Full,
            "NoModificationAllowedError" | "InvalidStateError" => Self::InUse,
            "SecurityError" | "NotAllowedError" => Self::None(error.message()),
            _ => Self::Other(error.message()),
        }
    }
}

/// What a promise gives.
async fn given<T: JsCast>(promise: Promise) -> Result<T, DiskError> {
    let value = JsFuture::from(promise).await?;
    value.dyn_into().map_err(|value: JsValue| {
        DiskError::Other(format!("the browser gave {value:?} for something else"))
    })
}

/// The browser's storage; none for pages without a secure context.
fn storage() -> Option<StorageManager> {
    let navigator = Reflect::get(&global(), &"navigator".into()).ok()?;
    let storage = Reflect::get(&navigator, &"storage".into()).ok()?;
    storage.dyn_into().ok()
}

impl Folder {
    /// Opens a folder, which is made if it is not there.
    pub(crate) async fn open(path: &Path) -> Result<Self, DiskError> {
        let none = || {
            let why = "this browser gives the page none: it needs HTTPS or localhost, and no private window";
            DiskError::None(why.to_owned())
        };
        let storage = storage().ok_or_else(none)?;
        let has = Reflect::has(&storage, &"getDirectory".into());
        if !has.unwrap_or(false) {
            return Err(none());
        }
        let mut folder = Self(given(storage.get_directory()).await?);
        for part in path.components() {
            if let Component::Normal(name) = part {
                folder = folder.inner(&name.to_string_lossy()).await?;
            }
        }
        Ok(folder)
    }

    pub(crate) async fn inner(&self, name: &str) -> Result<Self, DiskError> {
        let options = FileSystemGetDirectoryOptions::new();
        options.set_create(true);
        let inner = self.0.get_directory_handle_with_options(name, &options);
        Ok(Self(given(inner).await?))
    }

    pub(crate) async fn entries(&self) -> Result<Vec<Entry>, DiskError> {
        let iterator: AsyncIterator = self.0.entries();
        let mut entries = Vec::new();
        loop {
            let next: IteratorNext = JsFuture::from(iterator.next()?).await?.unchecked_into();
            if next.done() {
                return Ok(entries);
            }
            let pair: Array = next.value().unchecked_into();
            entries.push(Entry {
                name: pair.get(0).as_string().unwrap_or_default(),
                is_folder: pair.get(1).is_instance_of::<FileSystemDirectoryHandle>(),
            });
        }
    }

    async fn file(
        &self,
        name: &str,
        make: bool,
    ) -> Result<Option<FileSystemFileHandle>, DiskError> {
        let options = FileSystemGetFileOptions::new();
        options.set_create(make);
        let file = JsFuture::from(self.0.get_file_handle_with_options(name, &options)).await;
        match file {
            Ok(file) => Ok(Some(file.unchecked_into())),
            Err(error) => {
                let known = error.dyn_ref::<DomException>();
                match known.is_some_and(|error| error.name() == "NotFoundError") {
                    true => Ok(None),
                    false => Err(error.into()),
                }
            }
        }
    }

    async fn made(&self, name: &str) -> Result<FileSystemFileHandle, DiskError> {
        let file = self.file(name, true).await?;
        file.ok_or_else(|| DiskError::Other(format!("the browser made no file {name}")))
    }

    /// Puts a file in the place of whatever is there: it has its name only once all of it is on the disk. Only in workers.
    pub(crate) async fn write(&self, name: &str, parts: Vec<Bytes>) -> Result<(), DiskError> {
        let part = format!("{name}.part");
        let file = self.made(&part).await?;
        let written = write_all(&file, &parts).await;
        let moved = match written {
            Ok(()) => self.rename(&file, name, &parts).await,
            Err(error) => Err(error),
        };
        if moved.is_err() {
            // It takes space that others may use.
            self.remove(&part).await.ok();
        }
        moved
    }

    /// Gives a file that is whole its name. Where a browser cannot, it is written again; whoever reads it sees by its digest
    /// whether it is whole.
    async fn rename(
        &self,
        file: &FileSystemFileHandle,
        name: &str,
        parts: &[Bytes],
    ) -> Result<(), DiskError> {
        let rename = Reflect::get(file, &"move".into())?;
        if let Some(rename) = rename.dyn_ref::<Function>() {
            let moved: Promise = rename.call1(file, &name.into())?.unchecked_into();
            JsFuture::from(moved).await?;
            return Ok(());
        }
        write_all(&self.made(name).await?, parts).await?;
        self.remove(&format!("{name}.part")).await
    }

    /// The bytes of a file; none if it is not there, or longer than it may be.
    pub(crate) async fn read(
        &self,
        name: &str,
        bytes_max: u64,
    ) -> Result<Option<Vec<u8>>, DiskError> {
        let Some(file) = self.file(name, false).await? else {
            return Ok(None);
        };
        let file: File = given(file.get_file()).await?;
        if file.size() > bytes_max as f64 {
            return Ok(None);
        }
        let buffer = JsFuture::from(file.array_buffer()).await?;
        Ok(Some(Uint8Array::new(&buffer).to_vec()))
    }

    /// Bytes of a file.
    pub(crate) async fn length(&self, name: &str) -> Result<u64, DiskError> {
        let Some(file) = self.file(name, false).await? else {
            return Ok(0);
        };
        let file: File = given(file.get_file()).await?;
        Ok(file.size() as u64)
    }

    /// Removes a file, or a folder with all that is in it. What is not there is removed already.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), DiskError> {
        let options = FileSystemRemoveOptions::new();
        options.set_recursive(true);
        let removed = JsFuture::from(self.0.remove_entry_with_options(name, &options)).await;
        match removed {
            Ok(_) => Ok(()),
            Err(error) => {
                let known = error.dyn_ref::<DomException>();
                match known.is_some_and(|error| error.name() == "NotFoundError") {
                    true => Ok(()),
                    false => Err(error.into()),
                }
            }
        }
    }

    /// Claims this folder by a file in it; none if another has. Only in workers.
    pub(crate) async fn claim(&self, name: &str) -> Result<Option<Claim>, DiskError> {
        let file = self.made(name).await?;
        let opened: Result<FileSystemSyncAccessHandle, DiskError> =
            given(file.create_sync_access_handle()).await;
        match opened {
            Ok(handle) => Ok(Some(Claim(handle))),
            Err(DiskError::InUse) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Bytes that may still be written, where the browser says so.
    pub(crate) async fn space(&self) -> Option<u64> {
        let estimate: StorageEstimate = JsFuture::from(storage()?.estimate().ok()?)
            .await
            .ok()?
            .unchecked_into();
        let left = estimate.get_quota()? - estimate.get_usage().unwrap_or_default();
        Some(left.max(0.0) as u64)
    }
}

async fn write_all(file: &FileSystemFileHandle, parts: &[Bytes]) -> Result<(), DiskError> {
    let open = Open(given(file.create_sync_access_handle()).await?);
    open.0.truncate_with_u32(0)?;
    let mut breath = Breath::new();
    for stretch in parts.iter().flat_map(|part| part.chunks(STRETCH_BYTES)) {
        // Where the last one ended.
        let written = open.0.write_with_u8_array(stretch)?;
        if written != stretch.len() as f64 {
            return Err(DiskError::Full);
        }
        breath.take().await;
    }
    open.0.flush()?;
    Ok(())
}
