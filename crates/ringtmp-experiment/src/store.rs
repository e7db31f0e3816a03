//! Finished cells on disk: a JSON line for each, appended as they finish.

use crate::cell::Cell;
use crate::outcome::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A finished cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// Its name.
    pub digest: String,
    /// What was done.
    pub cell: Cell,
    /// What came of it.
    pub outcome: Outcome,
}

/// The cells of a folder.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    file: File,
    finished: BTreeMap<String, Finished>,
    /// Lines that were no cells: a line that was being written when the program was interrupted, or one of another version.
    unread: usize,
}

/// Why cells cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep finished cells in {path}: {error}")]
pub struct StoreError {
    /// The file.
    pub path: String,
    /// What the system said.
    pub error: std::io::Error,
}

impl Store {
    /// Opens the file, or begins it.
    ///
    /// # Errors
    ///
    /// If it can be neither.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |error| StoreError {
            path: path.display().to_string(),
            error,
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(error)),
        };
        let mut finished = BTreeMap::new();
        let mut unread = 0;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match serde_json::from_str::<Finished>(line) {
                Ok(cell) => {
                    finished.insert(cell.digest.clone(), cell);
                }
                Err(_) => unread += 1,
            }
        }
        let file = OpenOptions::new().create(true).append(true).open(path);
        let mut file = file.map_err(failed)?;
        // What follows a torn line must not become part of it.
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n").map_err(failed)?;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            finished,
            unread,
        })
    }

    /// A cell that is done.
    pub fn get(&self, digest: &str) -> Option<&Finished> {
        self.finished.get(digest)
    }

    /// Lines that were no cells.
    pub fn unread(&self) -> usize {
        self.unread
    }

    /// Keeps a cell.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn keep(&mut self, cell: Finished) -> Result<(), StoreError> {
        let failed = |error| StoreError {
            path: self.path.display().to_string(),
            error,
        };
        let mut line = serde_json::to_string(&cell).map_err(|error| failed(error.into()))?;
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(failed)?;
        self.file.flush().map_err(failed)?;
        self.finished.insert(cell.digest.clone(), cell);
        Ok(())
    }
}
