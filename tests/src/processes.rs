//! What the processes that this one has started have worked, and those that they have started.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

/// Parent and processor time, from a process's line of `/proc/PID/stat` (proc(5)); its name, in brackets, may hold anything.
fn parent_and_ticks(stat: &str) -> Option<(u32, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
    // utime and stime, and those of children that have ended.
    let all = [11, 12, 13, 14].map(ticks);
    let sum = all.into_iter().sum::<Option<u64>>()?;
    Some((fields.get(1)?.parse().ok()?, sum))
}

/// All processes, with the parent and the processor time of each; none where the system does not tell.
fn all() -> Option<BTreeMap<u32, (u32, u64)>> {
    let mut processes = BTreeMap::new();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let number = entry.file_name().to_string_lossy().parse::<u32>();
        let stat = fs::read_to_string(entry.path().join("stat"));
        if let (Ok(number), Ok(stat)) = (number, stat)
            && let Some(of) = parent_and_ticks(&stat)
        {
            processes.insert(number, of);
        }
    }
    Some(processes)
}

/// Those that a process has started, and those that these have started, with their processor times.
fn descendants(of: u32) -> Option<BTreeMap<u32, u64>> {
    let processes = all()?;
    let descends = |number: &u32| {
        let parents = std::iter::successors(Some(*number), |number| {
            processes.get(number).map(|(parent, _)| *parent)
        });
        // A parent may have ended and its number be taken again: no chain is longer than all processes.
        *number != of && parents.take(processes.len() + 1).any(|parent| parent == of)
    };
    let found = processes.iter().filter(|(number, _)| descends(number));
    Some(
        found
            .map(|(number, (_, ticks))| (*number, *ticks))
            .collect(),
    )
}

/// Seconds that processors have worked for all descendants of this process; none where the system does not tell.
pub fn cpu_seconds() -> Option<f64> {
    // Linux counts in hundredths of a second on every architecture that it has in common with browsers.
    const TICKS_PER_SECOND: f64 = 100.0;
    let ticks: u64 = descendants(std::process::id())?.values().sum();
    Some(ticks as f64 / TICKS_PER_SECOND)
}

/// Sends a signal (`KILL`, `STOP`, `CONT`) to all descendants of a process.
///
/// # Errors
///
/// Where the system tells nothing of processes, or does not signal them.
pub(crate) fn signal_descendants(of: u32, signal: &str) -> Result<()> {
    let processes = descendants(of).context("the system does not tell of processes")?;
    ensure!(!processes.is_empty(), "process {of} has no children");
    let mut command = Command::new("kill");
    command.arg(format!("-{signal}"));
    command.args(processes.keys().map(u32::to_string));
    // One of them may have ended meanwhile, which is no fault.
    command.output().context("cannot signal processes")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_brackets_and_spaces() {
        let stat = "42 (a) b (c) S 7 1 1 0 -1 4194560 100 0 0 0 5 6 1 2 20 0 1 0 100 1000 10";
        assert_eq!(parent_and_ticks(stat), Some((7, 14)));
        assert_eq!(parent_and_ticks("42 (a) S 7"), None);
    }
}
