//! Processes, as Linux shows them under `/proc`.

use crate::MeterError;
use crate::process::{Process, Tree};
use procfs::process::all_processes_with_root;
use procfs::{CurrentSI, KernelStats};
use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};
use std::path::{Path, PathBuf};

/// CPU seconds of this process's descendants.
#[derive(Debug)]
pub struct ProcessTree {
    folder: PathBuf,
    tree: Tree,
    machine_first: u64,
    machine_last: u64,
}

impl ProcessTree {
    /// From now on. This process becomes the parent of orphans among its descendants.
    ///
    /// # Errors
    ///
    /// If `/proc` cannot be read.
    pub fn here() -> Result<Self, MeterError> {
        let id = getpid();
        if let Err(error) = set_child_subreaper(Some(id)) {
            return Err(MeterError::failed("adopting orphans", error));
        }
        let machine = machine_ticks()?;
        let mut tree = Self {
            folder: PathBuf::from("/proc"),
            tree: Tree::new(id.as_raw_nonzero().get().unsigned_abs()),
            machine_first: machine,
            machine_last: machine,
        };
        tree.tree.see(&processes(&tree.folder)?);
        Ok(tree)
    }

    /// Looks again, and waits for orphans that have ended; those named by `keep` are somebody else's to wait for.
    ///
    /// # Errors
    ///
    /// If `/proc` cannot be read.
    pub fn sample(&mut self, keep: &[u32]) -> Result<(), MeterError> {
        self.tree.see(&processes(&self.folder)?);
        self.machine_last = machine_ticks()?;
        for id in self.tree.ended().filter(|id| !keep.contains(id)) {
            let id = i32::try_from(id).ok().and_then(Pid::from_raw);
            // Whoever waited for it in between has counted it as well.
            let _waited = id.map(|id| waitpid(Some(id), WaitOptions::NOHANG));
        }
        Ok(())
    }

    /// CPU seconds of the descendants.
    pub fn seconds(&self) -> f64 {
        self.tree.ticks() as f64 / procfs::ticks_per_second() as f64
    }

    /// CPU seconds of this process itself, which are not in those of its descendants.
    pub fn own_seconds(&self) -> f64 {
        self.tree.own_ticks() as f64 / procfs::ticks_per_second() as f64
    }

    /// How many descendants there are.
    pub fn alive(&self) -> usize {
        self.tree.alive()
    }

    /// CPU seconds of the whole machine in the same time.
    pub fn machine_seconds(&self) -> f64 {
        let ticks = self.machine_last.saturating_sub(self.machine_first);
        ticks as f64 / procfs::ticks_per_second() as f64
    }
}

/// All processes under a folder like `/proc`. Those that end meanwhile are left out.
fn processes(folder: &Path) -> Result<Vec<Process>, MeterError> {
    let failed = |error| MeterError::failed(folder.display(), error);
    let all = all_processes_with_root(folder).map_err(failed)?;
    let stats = all.filter_map(|process| process.ok()?.stat().ok());
    let known = stats.filter_map(|stat| {
        Some(Process {
            id: u32::try_from(stat.pid).ok()?,
            parent: u32::try_from(stat.ppid).ok()?,
            started: stat.starttime,
            own: stat.utime.saturating_add(stat.stime),
            waited: u64::try_from(stat.cutime.saturating_add(stat.cstime)).ok()?,
            ended: stat.state == 'Z',
        })
    });
    Ok(known.collect())
}

/// What all CPUs have worked since the machine started.
fn machine_ticks() -> Result<u64, MeterError> {
    let stats = KernelStats::current().map_err(|error| MeterError::failed("/proc/stat", error))?;
    let total = stats.total;
    // The time of guests is in that of users already; that which was stolen was not ours.
    let more = [total.irq, total.softirq].into_iter().flatten();
    Ok(total.user + total.nice + total.system + more.sum::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_recorded_folder_is_read_and_what_is_broken_is_left_out() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |id: &str, text: &str| {
            std::fs::create_dir(folder.path().join(id)).expect("made");
            std::fs::write(folder.path().join(id).join("stat"), text).expect("written");
        };
        let tail = "20 0 1 0 4242 1000 100 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0";
        write(
            "7",
            &format!("7 (a ) name) Z 3 7 7 0 -1 4194560 1 0 0 0 11 22 33 44 {tail}"),
        );
        write("8", "8 (broken");
        write("9", "");
        std::fs::create_dir(folder.path().join("10")).expect("made");
        std::fs::create_dir(folder.path().join("self")).expect("made");
        let seen = processes(folder.path()).expect("a folder");
        let expected = Process {
            id: 7,
            parent: 3,
            started: 4242,
            own: 33,
            waited: 77,
            ended: true,
        };
        assert_eq!(seen, [expected]);
        assert!(processes(&folder.path().join("missing")).is_err());
    }

    /// What this process's children burn is counted, also of an orphan, whose parent is gone before it has done much.
    #[test]
    fn real_children_are_counted_to_the_last_tick() {
        let burn = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done";
        let script = format!("({burn}; true); ({burn}; true) & exit 0");
        let mut tree = ProcessTree::here().expect("this is Linux");
        let me = || {
            let stat = procfs::process::Process::myself().and_then(|process| process.stat());
            let stat = stat.expect("this process");
            u64::try_from(stat.cutime + stat.cstime).expect("ticks")
        };
        let before = me();
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .spawn()
            .expect("there is a shell");
        tree.sample(&[child.id()]).expect("a sample");
        assert!(child.wait().expect("a child").success());
        // The orphan is waited for by the samples.
        loop {
            tree.sample(&[]).expect("a sample");
            if tree.alive() == 0 {
                break;
            }
        }
        let ticks = tree.tree.ticks();
        eprintln!("{ticks} ticks, {} s of the machine", tree.machine_seconds());
        assert_eq!(ticks, me() - before);
        // Two loops; what each takes is this machine's matter, but not nothing.
        assert!(ticks >= 4, "{ticks}");
    }
}
