//! The log of a run as CSV: step (from 0), loss, seconds since the run was begun or resumed.

use crate::files;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

const HEADER: &str = "step,loss,seconds";

/// A log that is written as the run goes on, a line a step.
pub(super) struct Log {
    path: PathBuf,
    file: File,
    begun: Instant,
}

impl Log {
    /// A log of the steps from `first` on. Of a log that is there already, the steps before that are kept.
    pub(super) fn open(path: &Path, first: u32) -> Result<Self> {
        let kept = if first == 0 {
            String::new()
        } else {
            earlier(path, first)?
        };
        let open = || -> std::io::Result<File> {
            let mut file = files::create(path)?;
            file.write_all(format!("{HEADER}\n{kept}").as_bytes())?;
            Ok(file)
        };
        Ok(Self {
            file: open().with_context(|| cannot_write(path))?,
            path: path.to_owned(),
            begun: Instant::now(),
        })
    }

    /// A float is written with as many digits as it takes to read the same float.
    pub(super) fn write(&mut self, step: u32, loss: f32) -> Result<()> {
        let seconds = self.begun.elapsed().as_secs_f64();
        let line = format!("{step},{loss},{seconds:.6}\n");
        let written = self.file.write_all(line.as_bytes());
        written.with_context(|| cannot_write(&self.path))
    }
}

/// The lines of steps before this one; none where there is no log.
fn earlier(path: &Path, first: u32) -> Result<String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    let is_earlier = |line: &&str| {
        let step = line.split(',').next().and_then(|step| step.parse().ok());
        step.is_some_and(|step: u32| step < first)
    };
    let lines = text.lines().filter(is_earlier);
    Ok(lines.flat_map(|line| [line, "\n"]).collect())
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_log_keeps_the_steps_before_and_repeats_none() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log.csv");
        let write = |first, steps: std::ops::Range<u32>| {
            let mut log = Log::open(&path, first).expect("it opens");
            for step in steps {
                log.write(step, step as f32 / 4.0).expect("written");
            }
        };
        let steps = || {
            let text = fs::read_to_string(&path).expect("a log");
            let (header, rows) = text.split_once('\n').expect("a header");
            assert_eq!(header, HEADER);
            let start = |line: &str| line.rsplit_once(',').map(|(start, _)| start.to_owned());
            rows.lines().filter_map(start).collect::<Vec<_>>()
        };
        write(0, 0..3);
        assert_eq!(steps(), ["0,0", "1,0.25", "2,0.5"]);
        write(2, 2..4);
        assert_eq!(steps(), ["0,0", "1,0.25", "2,0.5", "3,0.75"]);
        write(0, 0..1);
        assert_eq!(steps(), ["0,0"]);
    }
}
