//! Copies of shards: what a member keeps of its own ranges and of those whose buddy it is.
//!
//! ```text
//!   shard's home ──Copy, slot by slot──▶ buddy ──Kept──▶ collector, once all shards' are there ──Stable──▶ all
//! ```
//!
//! At every version that is due a home copies its ranges right after the update that makes it, keeps the copy and sends it to the
//! shard's **buddy**. After a loss the first version is due at once: that from whose copies the run goes on, or the first that
//! all shards come to, so that nothing lies with one device alone for longer than it has to.
//!
//! A version that is there twice of every shard is **stable**: all older ones are forgotten then. No worker begins a step that could
//! make a second version before the first is stable, so that nobody ever keeps more than two.

use super::desk::Desk;
use super::interface::{Carried, KeptCopy};
use super::layout::{Exchange, Layout, MemberIndex, RangeIndex, ShardIndex};
use super::message::{Copy, Message, Numbers};
use super::{Job, TeamStart};
use crate::ids::{PayloadId, Step};
use crate::signal::Replication;
use crate::wire::Codec;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// With [`Replication::Auto`] copies are at most this part of what training itself sends from where the parameters are, or take at most this
/// part of the time, at [`RATE`].
const SHARE_MAX: f64 = 0.05;

/// Bytes per second at which a copy leaves, where nothing is known of links: a phone's on a busy Wi-Fi.
const RATE: f64 = 4e6;

/// Bytes of a number as it is.
pub(super) const NUMBER_BYTES: u64 = 4;

/// Which versions are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopySpec {
    /// Those after every so many steps, at least 1.
    pub every: u32,
    /// Numbers for each parameter: its weight, and what the optimizer remembers.
    pub slots: u8,
}

impl CopySpec {
    /// What a run's author wants, among devices that share it so; none where nobody could keep copies.
    pub fn new(
        replication: Replication,
        layout: &Layout,
        codec: Codec,
        optimizer_numbers: u8,
    ) -> Option<Self> {
        let shards = (0..layout.shards.len() as u16).map(ShardIndex);
        let alone = shards
            .map(|shard| layout.buddy(shard))
            .any(|it| it.is_none());
        let slots = optimizer_numbers.saturating_add(1);
        let every = match replication {
            Replication::Off => return None,
            Replication::Every(every) => u32::from(every.max(1)),
            Replication::Auto => {
                let receivers = layout.workers.len() as f64;
                // For each parameter that lies there; in all-reduce as many as lie with the others go round as well.
                let trains = match layout.exchange {
                    Exchange::Server => receivers,
                    Exchange::AllReduce => 2.0 * (receivers - 1.0).max(1.0),
                };
                let element = codec.bytes(1).unwrap_or(1) as f64;
                let copies = (NUMBER_BYTES * u64::from(slots)) as f64;
                let by_bytes = (copies / (SHARE_MAX * trains * element)).ceil().max(1.0) as u32;
                let by_time = layout.step_millis.map(|millis| {
                    let seconds = copies * most_at_one(layout) as f64 / RATE;
                    let allowed = SHARE_MAX * f64::from(millis.max(1)) / 1e3;
                    (seconds / allowed).ceil().max(1.0) as u32
                });
                by_bytes.min(by_time.unwrap_or(u32::MAX))
            }
        };
        (!alone).then_some(Self { every, slots })
    }
}

/// Parameters of the device that has most of them.
fn most_at_one(layout: &Layout) -> u64 {
    let mut at = BTreeMap::new();
    for spec in &layout.ranges {
        let home = layout.shards[usize::from(spec.shard.0)];
        *at.entry(home).or_insert(0) += u64::from(spec.elements);
    }
    at.into_values().max().unwrap_or(0)
}

/// Which versions of a plan are copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    every: u32,
    /// Of a run that goes on: one more, before all others.
    first: Option<Step>,
    /// Steps of the run: what the last of them leaves needs no copy.
    steps: u32,
}

impl Due {
    pub(super) fn new(job: &Job, start: TeamStart) -> Option<Self> {
        let first = match start {
            TeamStart::Beginning => None,
            TeamStart::Held { reached } => Some(Step(reached.0.saturating_add(1))),
            TeamStart::Copies { version } => Some(version),
        };
        Some(Self {
            every: job.copies?.every,
            first,
            steps: job.steps,
        })
    }

    pub(super) fn is_due(self, version: Step) -> bool {
        let due = version.0.is_multiple_of(self.every) || Some(version) == self.first;
        due && version.0 < self.steps && self.first.is_none_or(|first| version >= first)
    }

    /// The first version after this one.
    fn after(self, version: Step) -> Step {
        let next = (version.0 / self.every).saturating_add(1);
        let next = Step(next.saturating_mul(self.every));
        match self.first {
            Some(first) if first > version => first,
            _ => next,
        }
    }

    /// As if the version before the first had been the last that was stable.
    fn begins_after(self) -> Step {
        self.first
            .map_or(Step(0), |first| Step(first.0.saturating_sub(1)))
    }
}

/// What nobody sends who does as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CopyFault {
    #[error("it sent a copy of range {} that this device is not to keep", .0.0)]
    Unasked(RangeIndex),
    #[error("it sent a copy of range {} in parts that do not go together", .0.0)]
    Parts(RangeIndex),
    #[error("it says that a copy is kept which it cannot know")]
    Kept,
    #[error("it says that a version is there twice which cannot be")]
    Stable,
}

/// The copies at one member.
#[derive(Debug)]
pub(super) struct Copies {
    due: Option<Due>,
    /// The newest version that lies twice under this plan, or where its versions begin.
    stable: Step,
    held: BTreeMap<(Step, RangeIndex), KeptCopy>,
    /// At the collector: of which shards a version is there twice.
    kept: BTreeMap<Step, BTreeSet<ShardIndex>>,
}

impl Copies {
    pub(super) fn new(due: Option<Due>, carried: Carried) -> Self {
        Self {
            due,
            stable: due.map_or(Step(0), Due::begins_after),
            held: carried.copies,
            kept: BTreeMap::new(),
        }
    }

    /// A worker begins no step from this one on: it could make a second version beside the one that is being copied.
    pub(super) fn begins_below(&self) -> Option<Step> {
        let second = self.second()?;
        Some(Step(second.0.saturating_sub(1)))
    }

    /// The newest version that there can be: no worker is further before the one before it is stable.
    fn second(&self) -> Option<Step> {
        let due = self.due?;
        Some(due.after(due.after(self.stable)))
    }

    /// Sends what the run goes on from to those that are buddies now.
    pub(super) fn begin(&mut self, desk: &mut Desk) {
        let Some(first) = self.due.and_then(|due| due.first) else {
            return;
        };
        let job = desk.job.clone();
        for range in job.layout.ranges_at(desk.me) {
            if let Some(copy) = self.held.get(&(first, range)) {
                send(range, first, copy, desk);
            }
        }
    }

    /// A copy of an own range was made: it is kept, and sent to the buddy.
    pub(super) fn own(
        &mut self,
        range: RangeIndex,
        version: Step,
        updates: u32,
        slots: Vec<PayloadId>,
        desk: &mut Desk,
    ) {
        let copy = KeptCopy { updates, slots };
        send(range, version, &copy, desk);
        let replaced = self.held.insert((version, range), copy);
        forget(replaced, desk);
    }

    /// A part of a copy came from a shard's home.
    pub(super) fn take(
        &mut self,
        from: MemberIndex,
        copy: &Copy,
        payload: PayloadId,
        desk: &mut Desk,
    ) -> Result<(), CopyFault> {
        let job = desk.job.clone();
        let refused = self.check(from, copy, &job, desk.me).err();
        if let Some(fault) = refused {
            desk.discard(payload);
            return Err(fault);
        }
        let (version, range) = (copy.version, copy.range);
        if version < self.stable
            || version == self.stable && self.held.contains_key(&(version, range))
        {
            // It was kept under the plan before, and all others' were.
            desk.discard(payload);
            return Ok(());
        }
        let begun = KeptCopy {
            updates: copy.updates,
            slots: Vec::new(),
        };
        let held = self.held.entry((version, range)).or_insert(begun);
        if held.slots.len() > usize::from(copy.slot) {
            // It was kept under the plan before.
            desk.discard(payload);
        } else {
            held.slots.push(payload);
        }
        let is_last = job.copies.is_some_and(|spec| copy.slot + 1 == spec.slots);
        if !is_last {
            return Ok(());
        }
        let shard = job.layout.ranges[range.0 as usize].shard;
        if self.is_whole(&job, shard, version) {
            let layout = &job.layout;
            let to = match layout.exchange {
                Exchange::Server => layout.collector(),
                Exchange::AllReduce if layout.collector() == desk.me => desk.me,
                Exchange::AllReduce => layout.successor(desk.me),
            };
            desk.say(to, Message::Kept(shard, version));
        }
        Ok(())
    }

    fn check(
        &self,
        from: MemberIndex,
        copy: &Copy,
        job: &Job,
        me: MemberIndex,
    ) -> Result<(), CopyFault> {
        let (range, version) = (copy.range, copy.version);
        let unasked = CopyFault::Unasked(range);
        let (Some(numbers), Some(spec)) = (numbers(job, range), job.copies) else {
            return Err(unasked);
        };
        let shard = job.layout.ranges[range.0 as usize].shard;
        let is_ours = job.layout.home(range) == from && job.layout.buddy(shard) == Some(me);
        let is_first = self.due.and_then(|due| due.first) == Some(version);
        let due = self.can_be(version) && (version > self.stable || is_first);
        if !is_ours || !due || copy.numbers != numbers {
            return Err(unasked);
        }
        let held = self.held.get(&(version, range));
        let there = held.map_or(0, |held| held.slots.len());
        // Of the first version all may be there from the plan before.
        let again = is_first && there == usize::from(spec.slots);
        let same = held.is_none_or(|held| held.updates == copy.updates);
        let in_turn = there == usize::from(copy.slot) || again;
        let sound = same && in_turn && copy.slot < spec.slots;
        sound.then_some(()).ok_or(CopyFault::Parts(range))
    }

    /// Whether there can be such a version by now: none is further than the second that is not stable.
    fn can_be(&self, version: Step) -> bool {
        let due = self.due.is_some_and(|due| due.is_due(version));
        due && self.second().is_some_and(|second| version <= second)
    }

    /// Somebody keeps all copies of a shard: whether it is to be passed on round the ring, and what is stable now.
    pub(super) fn kept(
        &mut self,
        from: MemberIndex,
        shard: ShardIndex,
        version: Step,
        desk: &mut Desk,
    ) -> Result<Option<Step>, CopyFault> {
        let job = desk.job.clone();
        let layout = &job.layout;
        let buddy = layout.buddy(shard);
        let says = match layout.exchange {
            Exchange::Server => buddy == Some(from) && layout.collector() == desk.me,
            Exchange::AllReduce => {
                buddy.is_some() && (from == layout.predecessor(desk.me) || from == desk.me)
            }
        };
        if !says || !self.can_be(version) {
            return Err(CopyFault::Kept);
        }
        if layout.collector() != desk.me {
            desk.say(layout.successor(desk.me), Message::Kept(shard, version));
            return Ok(None);
        }
        if version <= self.stable {
            return Ok(None);
        }
        let kept = self.kept.entry(version).or_default();
        kept.insert(shard);
        // Versions are due one after the other, and no worker is further than the second: there are no more.
        let shards = (0..layout.shards.len() as u16).map(ShardIndex);
        let mut with_ranges = shards.filter(|shard| !layout.ranges_of_shard(*shard).is_empty());
        let all = with_ranges.all(|shard| kept.contains(&shard));
        Ok(all.then_some(version))
    }

    /// A version is there twice of every shard: older ones are forgotten, and others are told. Whether it is news.
    pub(super) fn stable(
        &mut self,
        from: MemberIndex,
        version: Step,
        desk: &mut Desk,
    ) -> Result<bool, CopyFault> {
        let job = desk.job.clone();
        let layout = &job.layout;
        let first = layout.workers[0];
        let says = match layout.exchange {
            Exchange::Server => [layout.collector(), first, desk.me].contains(&from),
            Exchange::AllReduce => from == layout.predecessor(desk.me) || from == desk.me,
        };
        if !says || !self.can_be(version) {
            return Err(CopyFault::Stable);
        }
        if version <= self.stable {
            return Ok(false);
        }
        self.stable = version;
        self.kept.retain(|kept, _| *kept > version);
        let newer = self.held.split_off(&(version, RangeIndex(0)));
        for old in std::mem::replace(&mut self.held, newer).into_values() {
            forget(Some(old), desk);
        }
        for to in heirs(layout, desk.me) {
            desk.say(to, Message::Stable(version));
        }
        desk.begins_below = self.begins_below();
        Ok(true)
    }

    fn is_whole(&self, job: &Job, shard: ShardIndex, version: Step) -> bool {
        let is_whole = |held: &KeptCopy| match job.copies {
            Some(copies) => held.slots.len() == usize::from(copies.slots),
            // Of the plan before, which left nothing that is not.
            None => true,
        };
        let whole = |range: u32| {
            let held = self.held.get(&(version, RangeIndex(range)));
            held.is_some_and(is_whole)
        };
        job.layout.ranges_of_shard(shard).all(whole)
    }

    /// What is kept whole, for whoever follows.
    pub(super) fn carry(&self, job: &Job) -> BTreeMap<(Step, RangeIndex), KeptCopy> {
        let versions: BTreeSet<Step> = self.held.keys().map(|(version, _)| *version).collect();
        let shards = (0..job.layout.shards.len() as u16).map(ShardIndex);
        let whole: BTreeSet<(Step, ShardIndex)> = shards
            .flat_map(|shard| versions.iter().map(move |version| (*version, shard)))
            .filter(|(version, shard)| self.is_whole(job, *shard, *version))
            .collect();
        let shard = |range: RangeIndex| job.layout.ranges[range.0 as usize].shard;
        let held = self.held.iter();
        let whole = held.filter(|((version, range), _)| whole.contains(&(*version, shard(*range))));
        whole.map(|(key, copy)| (*key, copy.clone())).collect()
    }

    /// How many numbers are kept.
    pub(super) fn payloads(&self) -> usize {
        self.held.values().map(|copy| copy.slots.len()).sum()
    }
}

/// Whom a member tells of a version that is stable: the collector all that it is linked to, and the first worker the servers that it is
/// not. Round a ring everybody tells the next, up to the collector.
fn heirs(layout: &Layout, me: MemberIndex) -> Vec<MemberIndex> {
    let collector = layout.collector();
    match layout.exchange {
        Exchange::AllReduce => {
            let next = layout.successor(me);
            (next != collector).then_some(next).into_iter().collect()
        }
        Exchange::Server if me == collector => layout.links(me).into_iter().collect(),
        Exchange::Server if me == layout.workers[0] => {
            let known = layout.links(collector);
            let mut servers = layout.links(me);
            servers.retain(|server| *server != collector && !known.contains(server));
            servers.into_iter().collect()
        }
        Exchange::Server => Vec::new(),
    }
}

/// To the buddy of the shard that a range is part of.
fn send(range: RangeIndex, version: Step, copy: &KeptCopy, desk: &mut Desk) {
    let job = desk.job.clone();
    let shard = job.layout.ranges[range.0 as usize].shard;
    let (Some(buddy), Some(numbers)) = (job.layout.buddy(shard), numbers(&job, range)) else {
        return;
    };
    let updates = copy.updates;
    for (slot, payload) in (0..).zip(&copy.slots) {
        let message = Message::Copy(Copy {
            range,
            version,
            updates,
            slot,
            numbers,
        });
        desk.send_copy(buddy, message, *payload);
    }
}

fn numbers(job: &Job, range: RangeIndex) -> Option<Numbers> {
    let spec = job.layout.ranges.get(range.0 as usize)?;
    Some(Numbers {
        codec: Codec::F32,
        elements: spec.elements,
    })
}

fn forget(copy: Option<KeptCopy>, desk: &mut Desk) {
    let slots = copy.into_iter().flat_map(|copy| copy.slots);
    slots.for_each(|payload| desk.discard(payload));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameter_server::{Placement, Wanted};

    /// Copies of a million parameters at three devices, with two numbers for each.
    fn every(step_millis: Option<u32>) -> u32 {
        let wanted = Wanted {
            exchange: Exchange::Server,
            placement: Placement::Colocated,
            shards: 1,
            members: 3,
            parameters: &[600_000, 400_000],
            micro_batches: 6,
            speeds: &[],
        };
        let layout = Layout {
            step_millis,
            ..Layout::new(&wanted).expect("a layout")
        };
        let spec = CopySpec::new(Replication::Auto, &layout, Codec::F16, 1);
        spec.expect("there are buddies").every
    }

    #[test]
    fn copies_are_a_twentieth_of_the_bytes_or_of_the_time_whichever_lets_them_be_more_often() {
        // 8 bytes, beside 3 x 2 of a step.
        assert_eq!(every(None), 27);
        // A third of 8 MB takes 0.67 s, which is a twentieth of 13.3 s.
        assert_eq!(every(Some(1000)), 14);
        assert_eq!(every(Some(13_334)), 1);
        // Short steps are mostly sending, of which copies may be a part.
        assert_eq!(every(Some(0)), 27);
        assert_eq!(every(Some(10)), 27);
    }
}
