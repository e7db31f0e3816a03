//! CPU seconds of a command and of all that it starts.
//!
//! A process counts its own time and that of the children it has waited for, with theirs in turn. So the time of a tree is, at any moment,
//! that of the processes that live and what they waited for. Missing are those that ended without being waited for; they are
//! known by having been seen, and count with what was last seen of them: [`Tree`] keeps the accounts.
//!
//! ```text
//! time(P) = own(P) + max(waited(P), waited(P) when first seen + what is known of children that are gone)
//! ```
//!
//! On Linux the measuring process makes itself the parent of orphans (`PR_SET_CHILD_SUBREAPER`), so that also those remain in the tree, and are waited for.
//! Missed are children that live for less than a sample and whose parent ignores their end, and processes that a service runs on behalf
//! of the command (a container engine, a build daemon). The kernel counts in hundredths of a second.

use std::collections::{BTreeMap, BTreeSet};

/// What is told of the limits.
pub const MISSED: &str = "not counted: children that lived for less than a second and were never waited for, and what services did on the command's behalf";

/// One process, as the system shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id, which is given again when it is gone.
    pub id: u32,
    /// The one that started it, or that took it over.
    pub parent: u32,
    /// When it started, in the system's ticks: with the id it is unique.
    pub started: u64,
    /// Ticks of its own.
    pub own: u64,
    /// Ticks of children that it has waited for, and of what these have waited for.
    pub waited: u64,
    /// It has ended and nobody has waited for it yet.
    pub ended: bool,
}

type Key = (u32, u64);

#[derive(Clone, Copy, Debug)]
struct Member {
    seen: Process,
    /// Whose child it was when last seen; none if that is outside the tree.
    parent: Option<Key>,
    waited_at_first: u64,
    /// Ticks of children that are gone.
    gone: u64,
}

impl Member {
    fn ticks(&self) -> u64 {
        let known = self.waited_at_first.saturating_add(self.gone);
        self.seen.own.saturating_add(self.seen.waited.max(known))
    }
}

/// The accounts of a process and its descendants. The process itself does not count.
#[derive(Clone, Debug)]
pub struct Tree {
    root: u32,
    members: BTreeMap<Key, Member>,
    /// Ticks of members that are gone and whose parent is outside.
    gone_outside: u64,
    /// Ticks that there were at first.
    before: Option<u64>,
    /// Ticks of the root itself at first.
    own_before: u64,
}

impl Tree {
    /// The tree under this process.
    pub const fn new(root: u32) -> Self {
        Self {
            root,
            members: BTreeMap::new(),
            gone_outside: 0,
            before: None,
            own_before: 0,
        }
    }

    /// What the system shows now: all processes. The first time is the beginning.
    pub fn see(&mut self, processes: &[Process]) {
        let shown: BTreeMap<u32, &Process> = processes
            .iter()
            .map(|process| (process.id, process))
            .collect();
        let inside = self.inside(&shown);
        for (id, parent) in &inside {
            let process = *shown[id];
            let key = (process.id, process.started);
            let parent = parent.and_then(|parent| {
                let parent = shown.get(&parent)?;
                inside
                    .contains_key(&parent.id)
                    .then_some((parent.id, parent.started))
            });
            let member = self.members.entry(key).or_insert(Member {
                seen: process,
                parent,
                // What a process waited for before it was seen is of the tree too, unless it is the root.
                waited_at_first: if process.id == self.root {
                    process.waited
                } else {
                    0
                },
                gone: 0,
            });
            member.seen = process;
            member.parent = parent;
        }
        self.bury(&shown);
        if self.before.is_none() {
            self.before = Some(self.total());
            self.own_before = self.own_ticks();
        }
    }

    /// Ticks of all descendants since the beginning.
    pub fn ticks(&self) -> u64 {
        self.total().saturating_sub(self.before.unwrap_or(0))
    }

    /// Ticks of the root itself since the beginning.
    pub fn own_ticks(&self) -> u64 {
        let own = self
            .members
            .values()
            .find(|member| member.seen.id == self.root);
        own.map_or(0, |root| root.seen.own)
            .saturating_sub(self.own_before)
    }

    /// Members that have ended and wait for the root to wait for them.
    pub fn ended(&self) -> impl Iterator<Item = u32> {
        let members = self.members.values().map(|member| member.seen);
        members
            .filter(|process| process.ended && process.parent == self.root)
            .map(|process| process.id)
    }

    /// How many descendants there are.
    pub fn alive(&self) -> usize {
        let members = self.members.keys();
        members.filter(|(id, _)| *id != self.root).count()
    }

    fn total(&self) -> u64 {
        let member = |member: &Member| {
            let ticks = member.ticks();
            // The root's own time is that of the measuring.
            let own = if member.seen.id == self.root {
                member.seen.own
            } else {
                0
            };
            ticks.saturating_sub(own)
        };
        let members = self.members.values().map(member);
        members.fold(self.gone_outside, u64::saturating_add)
    }

    /// Of the processes shown: the root, its descendants, and whoever was a member before, each with its parent.
    fn inside(&self, shown: &BTreeMap<u32, &Process>) -> BTreeMap<u32, Option<u32>> {
        let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for process in shown.values() {
            children.entry(process.parent).or_default().push(process.id);
        }
        let known = shown.values().filter(|process| {
            process.id == self.root || self.members.contains_key(&(process.id, process.started))
        });
        let mut waiting: Vec<u32> = known.map(|process| process.id).collect();
        let mut inside = BTreeMap::new();
        while let Some(id) = waiting.pop() {
            let parent = (id != self.root).then(|| shown[&id].parent);
            if inside.insert(id, parent).is_none() {
                waiting.extend(children.get(&id).into_iter().flatten());
            }
        }
        inside
    }

    /// Puts the time of those who are gone to their parents' account, children first.
    fn bury(&mut self, shown: &BTreeMap<u32, &Process>) {
        let lives = |(id, started): &Key| {
            shown
                .get(id)
                .is_some_and(|process| process.started == *started)
        };
        let gone: BTreeSet<Key> = self
            .members
            .keys()
            .filter(|key| !lives(key))
            .copied()
            .collect();
        let mut by_depth: Vec<(usize, Key)> =
            gone.iter().map(|key| (self.depth(*key), *key)).collect();
        by_depth.sort_unstable_by(|one, other| other.cmp(one));
        for (_, key) in by_depth {
            let Some(member) = self.members.remove(&key) else {
                continue;
            };
            let ticks = member.ticks();
            let parent = member
                .parent
                .and_then(|parent| self.members.get_mut(&parent));
            let account = match parent {
                Some(parent) => &mut parent.gone,
                None => &mut self.gone_outside,
            };
            *account = account.saturating_add(ticks);
        }
    }

    fn depth(&self, mut key: Key) -> usize {
        let mut depth = 0;
        // A tree has no circles; what a system shows while it changes might.
        while let Some(parent) = self.members.get(&key).and_then(|member| member.parent)
            && depth < self.members.len()
        {
            key = parent;
            depth += 1;
        }
        depth
    }
}

#[cfg(target_os = "linux")]
pub use crate::platform::linux::ProcessTree;

#[cfg(not(target_os = "linux"))]
pub use elsewhere::ProcessTree;

/// Where the system's processes are not read.
#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use crate::MeterError;

    /// CPU seconds of this process's descendants.
    #[derive(Debug)]
    pub struct ProcessTree;

    impl ProcessTree {
        /// There are none.
        ///
        /// # Errors
        ///
        /// Always.
        pub fn here() -> Result<Self, MeterError> {
            let why = "CPU seconds of a command are counted on Linux only";
            Err(MeterError::Absent(why.to_owned()))
        }

        /// Looks again.
        ///
        /// # Errors
        ///
        /// Never.
        pub fn sample(&mut self, _keep: &[u32]) -> Result<(), MeterError> {
            Ok(())
        }

        /// CPU seconds of the descendants.
        pub fn seconds(&self) -> f64 {
            0.0
        }

        /// CPU seconds of this process itself.
        pub fn own_seconds(&self) -> f64 {
            0.0
        }

        /// How many descendants there are.
        pub fn alive(&self) -> usize {
            0
        }

        /// CPU seconds of the whole machine.
        pub fn machine_seconds(&self) -> f64 {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: u32 = 10;

    fn process(id: u32, parent: u32, own: u64, waited: u64) -> Process {
        Process {
            id,
            parent,
            started: u64::from(id),
            own,
            waited,
            ended: false,
        }
    }

    fn tree(seen: &[&[Process]]) -> Tree {
        let mut tree = Tree::new(ROOT);
        seen.iter().for_each(|processes| tree.see(processes));
        tree
    }

    #[test]
    fn children_count_while_they_live_and_once_they_were_waited_for() {
        let root = |waited| process(ROOT, 1, 1_000, waited);
        let begin: &[Process] = &[root(50), process(99, 1, 777, 777)];
        let runs: &[Process] = &[root(50), process(11, ROOT, 30, 4), process(12, 11, 6, 0)];
        assert_eq!(tree(&[begin]).ticks(), 0);
        let worked: &[Process] = &[process(ROOT, 1, 1_007, 50)];
        assert_eq!(tree(&[begin, worked]).own_ticks(), 7);
        assert_eq!(tree(&[begin, runs]).ticks(), 40);
        let grandchild_ended: &[Process] = &[root(50), process(11, ROOT, 31, 12)];
        assert_eq!(tree(&[begin, runs, grandchild_ended]).ticks(), 43);
        let all_ended: &[Process] = &[root(50 + 45)];
        assert_eq!(
            tree(&[begin, runs, grandchild_ended, all_ended]).ticks(),
            45
        );
        // Also if nobody looked in between.
        assert_eq!(tree(&[begin, all_ended]).ticks(), 45);
        assert_eq!(tree(&[begin, runs, all_ended]).ticks(), 45);
    }

    #[test]
    fn a_child_that_nobody_waited_for_counts_with_what_was_seen() {
        let begin: &[Process] = &[process(ROOT, 1, 0, 0), process(11, ROOT, 10, 0)];
        let both: &[Process] = &[
            process(ROOT, 1, 0, 0),
            process(11, ROOT, 10, 0),
            process(12, 11, 20, 0),
        ];
        assert_eq!(tree(&[begin, both, begin]).ticks(), 20);
        // A moment between a child's end and its parent's waiting corrects itself.
        let waited: &[Process] = &[process(ROOT, 1, 0, 0), process(11, ROOT, 10, 21)];
        assert_eq!(tree(&[begin, both, begin, waited]).ticks(), 21);
        let parent_ended: &[Process] = &[process(ROOT, 1, 0, 31)];
        assert_eq!(
            tree(&[begin, both, begin, waited, parent_ended]).ticks(),
            21
        );
        // With the parent gone too, and waited for without it.
        let without: &[Process] = &[process(ROOT, 1, 0, 10)];
        assert_eq!(tree(&[begin, both, begin, without]).ticks(), 20);
    }

    #[test]
    fn orphans_stay_in_the_tree() {
        let begin: &[Process] = &[process(ROOT, 1, 0, 0)];
        let both: &[Process] = &[
            process(ROOT, 1, 0, 0),
            process(11, ROOT, 10, 0),
            process(12, 11, 20, 0),
        ];
        let adopted: &[Process] = &[process(ROOT, 1, 0, 10), process(12, ROOT, 25, 0)];
        assert_eq!(tree(&[begin, both, adopted]).ticks(), 35);
        let reaped: &[Process] = &[process(ROOT, 1, 0, 36)];
        assert_eq!(tree(&[begin, both, adopted, reaped]).ticks(), 36);
        // Taken over by another process, it is still the one that was seen.
        let taken: &[Process] = &[process(ROOT, 1, 0, 10), process(12, 1, 25, 0)];
        assert_eq!(tree(&[begin, both, taken]).ticks(), 35);
        let ended: &[Process] = &[process(ROOT, 1, 0, 10)];
        assert_eq!(tree(&[begin, both, taken, ended]).ticks(), 35);
        let mut ended = process(12, ROOT, 25, 0);
        ended.ended = true;
        let zombie = [process(ROOT, 1, 0, 10), ended];
        let waiting = tree(&[begin, both, &zombie]);
        assert_eq!(waiting.ended().collect::<Vec<_>>(), [12]);
    }

    #[test]
    fn an_id_that_is_given_again_is_another_process() {
        let begin: &[Process] = &[process(ROOT, 1, 0, 0)];
        let first: &[Process] = &[process(ROOT, 1, 0, 0), process(11, ROOT, 10, 0)];
        let mut other = process(11, 1, 500, 0);
        other.started = 5_000;
        let again = [process(ROOT, 1, 0, 10), other];
        assert_eq!(tree(&[begin, first, &again]).ticks(), 10);
    }

    #[test]
    fn nonsense_neither_panics_nor_hangs() {
        let begin: &[Process] = &[process(ROOT, 1, 0, u64::MAX)];
        let circle: &[Process] = &[
            process(ROOT, 12, u64::MAX, u64::MAX),
            process(11, 12, u64::MAX, u64::MAX),
            process(12, 11, u64::MAX, 0),
            process(12, ROOT, u64::MAX, 0),
            process(11, ROOT, 1, 1),
        ];
        // Two that are each other's parents, and then gone, once both were members.
        let pair = |first, second| {
            [
                process(ROOT, 1, 0, 0),
                process(11, first, 1, 0),
                process(12, second, 1, 0),
            ]
        };
        let gone = [process(ROOT, 1, 0, 0)];
        let (begun, circled) = (pair(ROOT, ROOT), pair(12, 11));
        assert_eq!(tree(&[&gone, &begun, &circled, &gone]).ticks(), 2);
        let nothing: &[Process] = &[];
        let _ = tree(&[begin, circle, nothing, circle, begin]).ticks();
        assert_eq!(tree(&[nothing, nothing]).ticks(), 0);
    }
}
