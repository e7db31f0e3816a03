//! Traces of real peers, written as the run goes on.

use anyhow::{Context, Result};
use futures::StreamExt;
use futures::channel::mpsc;
use ringtmp_core::trace::json::{HEAD, SEPARATOR, TAIL, event, recorder_event};
use ringtmp_peer::Traced;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use tokio::task::JoinHandle;

/// Batches that wait for the disk: a peer hands one on a second, or every few thousand spans.
const BATCHES_MAX: usize = 64;

/// A trace that is being written. Peers are given [`TraceFile::traced`].
pub(crate) struct TraceFile {
    path: PathBuf,
    traced: mpsc::Sender<Traced>,
    writing: JoinHandle<Result<u64>>,
}

impl TraceFile {
    /// Begins a file. Must be called within a runtime.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let (traced, batches) = mpsc::channel(BATCHES_MAX);
        Ok(Self {
            path: path.to_owned(),
            traced,
            writing: tokio::spawn(write(BufWriter::new(file), batches)),
        })
    }

    /// Where a peer puts its spans; dropped when it ends.
    pub(crate) fn traced(&self) -> mpsc::Sender<Traced> {
        self.traced.clone()
    }

    /// Ends the file once all peers have ended.
    pub(crate) async fn finish(self) -> Result<()> {
        drop(self.traced);
        let lost = self.writing.await.context("the trace's writer panicked")?;
        let path = self.path.display();
        let lost = lost.with_context(|| format!("cannot write {path}"))?;
        if lost > 0 {
            eprintln!("{path} lacks {lost} spans: the disk was slower than the ring");
        }
        Ok(())
    }
}

/// Writes what comes, to its end; gives how many spans are missing.
async fn write(mut file: impl Write, mut batches: mpsc::Receiver<Traced>) -> Result<u64> {
    file.write_all(HEAD.as_bytes())?;
    let mut separator = "";
    let mut lost = BTreeMap::new();
    while let Some(batch) = batches.next().await {
        let is_new = lost.insert(batch.number, batch.lost).is_none();
        let who = is_new.then(|| recorder_event(batch.number, &batch.by));
        for line in who.into_iter().chain(batch.spans.iter().map(event)) {
            file.write_all(separator.as_bytes())?;
            file.write_all(line.as_bytes())?;
            separator = SEPARATOR;
        }
        // What is there already survives a crash.
        file.flush()?;
    }
    file.write_all(TAIL.as_bytes())?;
    file.flush()?;
    Ok(lost.values().sum())
}
