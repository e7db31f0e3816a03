//! What members keep of the run on their disks: what the room goes on from where nothing is left in memory.
//!
//! ```text
//!             not whole in memory, nor on the disks that are here               who has it is back
//!   halted ─────────────────────────────────────────────────────▶ lacking ─────────────────────────▶ preparing
//!                                                                    │ start: anew, from the first step
//!                                                                    └──────────────────────────────▶ warming up
//! ```
//!
//! Which versions may be gone on from is a matter of the past that they belong to ([`Past`]). A room knows its own; one that
//! resumes a run takes what its members have of it, as it comes: a version is whole only of layers that were kept under one plan.

use super::recovery::Holders;
use super::{Member, REASON_CHARS_MAX, Room};
use crate::ids::{Epoch, LayerIndex, PeerId, RoomCode, Version};
use crate::kept::{self, Kept, Past};
use crate::partition::layers_in_words;
use crate::plan::{Move, Plan};
use crate::signal::{Role, RoomState};
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};

/// The most plans of which it is remembered how far they are part of the past: what was kept under older ones is given up.
const LINE_MAX: usize = 64;

/// The most devices that are gone of which it is remembered what they keep: as many as a room has members.
const GONE_MAX: usize = 64;

/// What a member said of its disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    /// None until it has said so.
    pub(super) keeps: Option<bool>,
    pub(super) kept: Vec<Kept>,
}

/// What a room knows of the disks of its run.
#[derive(Debug, Default)]
pub(super) struct Disks {
    /// The plans whose versions, up to this one, are part of the past; none of a run that resumes and has not begun here.
    line: Vec<(Past, Version)>,
    /// The run goes on from what was kept in another room, and has not begun here.
    resuming: bool,
    /// Devices that are gone, and what they keep.
    gone: Vec<(String, Vec<Kept>)>,
    /// The server was restarted, and has forgotten who is gone.
    forgetful: bool,
    /// The newest version of which every layer lies on the disk of a member.
    pub(super) whole: Option<Version>,
}

/// What a plan goes on from.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) version: Version,
    pub(super) kept: Option<Past>,
    pub(super) moves: Vec<Move>,
}

/// A plan and what it goes on from; only a plan where nothing is whole.
pub(super) type Planned = Result<(Plan, Found), Box<Plan>>;

/// A version, or a part of it, and who holds its layers.
struct Candidate {
    version: Version,
    kept: Option<Past>,
    holders: BTreeMap<LayerIndex, Vec<PeerId>>,
}

impl Disks {
    pub(super) fn of_run(resumes: Option<RoomCode>) -> Self {
        Self {
            resuming: resumes.is_some(),
            ..Self::default()
        }
    }

    /// A room that was lost with its server goes on with this plan.
    pub(super) fn rebuilt(&mut self, plan: &Plan, room: RoomCode) {
        let before = plan.pasts.iter().map(|epoch| Past {
            room,
            epoch: *epoch,
        });
        let before = before.chain(plan.kept);
        self.line = before.map(|past| (past, plan.start)).collect();
        let epoch = plan.epoch;
        self.line.push((Past { room, epoch }, Version(u32::MAX)));
        self.line.retain(|(_, upto)| upto.0 > 0);
        (self.resuming, self.forgetful) = (false, true);
    }

    /// Whether what members keep decides where the run begins.
    pub(super) fn resumes(&self) -> bool {
        self.resuming
    }

    /// The run begins from the first step: whatever is kept is given up.
    pub(super) fn begin_anew(&mut self) {
        *self = Self::default();
    }

    /// All are ready: what is kept from now on is part of the room's own past.
    pub(super) fn begun(&mut self) {
        self.resuming = false;
    }

    /// A plan goes on from here.
    pub(super) fn goes_on(&mut self, found: &Found, plan: Past) {
        if self.resuming {
            self.line.clear();
            self.line
                .extend(found.kept.map(|past| (past, found.version)));
        }
        for (_, upto) in &mut self.line {
            *upto = found.version.min(*upto);
        }
        self.line.retain(|(_, upto)| upto.0 > 0);
        self.line.push((plan, Version(u32::MAX)));
        let too_many = self.line.len().saturating_sub(LINE_MAX);
        self.line.drain(..too_many);
        let (resuming, line) = (self.resuming, &self.line);
        for (_, kept) in &mut self.gone {
            kept.retain(|kept| is_in(resuming, line, kept));
        }
        self.gone.retain(|(_, kept)| !kept.is_empty());
    }

    fn can_be_gone_on_from(&self, kept: &Kept) -> bool {
        is_in(self.resuming, &self.line, kept)
    }

    /// Who keeps the same as one that was gone is that one.
    fn is_back(&mut self, offered: &[Kept]) {
        let same = |kept: &Kept| offered.contains(kept);
        self.gone.retain(|(_, kept)| !kept.iter().any(same));
    }

    /// A member is gone, and its disk with it.
    pub(super) fn is_gone(&mut self, name: String, disk: Disk) {
        let kept = disk.kept.into_iter();
        let kept: Vec<Kept> = kept.filter(|kept| self.can_be_gone_on_from(kept)).collect();
        if !kept.is_empty() {
            self.gone
                .retain(|(other, held)| (other, held) != (&name, &kept));
            self.gone.push((name, kept));
            let too_many = self.gone.len().saturating_sub(GONE_MAX);
            self.gone.drain(..too_many);
        }
    }
}

fn is_in(resuming: bool, line: &[(Past, Version)], kept: &Kept) -> bool {
    let mut line = line.iter();
    resuming || line.any(|(past, upto)| *past == kept.past && kept.version <= *upto)
}

impl Room {
    /// A member says what it keeps.
    pub(super) fn offered(&mut self, now: Time, from: PeerId, keeps: bool, kept: Vec<Kept>) {
        let outline = &self.run.outline;
        let kept = kept::sane(kept, outline.layers.len(), outline.steps);
        let Some(member) = self.members.iter_mut().find(|member| member.peer == from) else {
            return;
        };
        self.disks.is_back(&kept);
        member.disk = Disk {
            keeps: Some(keeps),
            kept,
        };
        self.start_if_measured(now);
        self.resume_if_lacking(now);
        self.look_at_disks();
        self.show();
    }

    /// What a room waits for may be there.
    pub(super) fn resume_if_lacking(&mut self, now: Time) {
        if matches!(self.state, RoomState::Lacking { .. }) {
            if self.disks.resumes() {
                self.prepare_when_measured(now);
            } else {
                self.resume_if_all_answered(now);
            }
        }
    }

    /// What is whole on the disks that are here may have changed.
    pub(super) fn look_at_disks(&mut self) {
        self.disks.whole = self.kept_whole();
    }

    /// The newest version that can be gone on from with this plan, or with one in which those have stages who hold it.
    pub(super) fn with_disks(&self, plan: Plan, memory: &Holders) -> Planned {
        let found = self.newest(&plan, memory);
        let version = found.as_ref().map(|found| found.version);
        let candidates = self.candidates(memory).into_iter();
        let mut newer = candidates.take_while(|candidate| Some(candidate.version) > version);
        let whole = newer.find(|candidate| self.is_whole(candidate));
        let with_holders = whole.and_then(|candidate| {
            let plan = self.planned_with(&plan.order, &candidate.holders)?;
            let found = self.newest(&plan, memory)?;
            (Some(found.version) > version).then_some((plan, found))
        });
        match (with_holders, found) {
            (Some(better), _) => Ok(better),
            (None, Some(found)) => Ok((plan, found)),
            (None, None) => Err(Box::new(plan)),
        }
    }

    /// A plan goes on from what was found.
    pub(super) fn goes_on(&mut self, mut plan: Plan, found: Found) -> Plan {
        let past = self.past(plan.epoch);
        self.disks.goes_on(&found, past);
        (plan.start, plan.kept, plan.moves) = (found.version, found.kept, found.moves);
        self.look_at_disks();
        plan
    }

    fn is_whole(&self, candidate: &Candidate) -> bool {
        let mut learning = self.learning();
        learning.all(|layer| candidate.holders.contains_key(&layer))
    }

    /// Whether a start waits for this member to say what it keeps.
    pub(super) fn is_to_offer(&self, member: &Member) -> bool {
        self.disks.resumes() && member.disk.keeps.is_none()
    }

    /// This room's plan of an epoch, among those of all rooms.
    pub(super) fn past(&self, epoch: Epoch) -> Past {
        Past {
            room: self.code,
            epoch,
        }
    }

    /// The newest version of which every layer is held by a stage of this plan, in memory or on its disk.
    pub(super) fn newest(&self, plan: &Plan, memory: &Holders) -> Option<Found> {
        let whole = |candidate: Candidate| {
            Some(Found {
                version: candidate.version,
                kept: candidate.kept,
                moves: self.moves(plan, &candidate.holders)?,
            })
        };
        self.candidates(memory).into_iter().find_map(whole)
    }

    /// All versions that there are parts of, the newest first; of equal ones those in memory.
    fn candidates(&self, memory: &Holders) -> Vec<Candidate> {
        let mut kept: BTreeMap<(Past, Version), BTreeMap<LayerIndex, Vec<PeerId>>> =
            BTreeMap::new();
        for member in self.participants() {
            let disk = member.disk.kept.iter();
            for version in disk.filter(|kept| self.disks.can_be_gone_on_from(kept)) {
                let holders = kept.entry((version.past, version.version)).or_default();
                for layer in &version.layers {
                    holders.entry(*layer).or_default().push(member.peer);
                }
            }
        }
        let in_memory = memory.iter().filter(|(version, _)| version.0 > 0);
        let in_memory = in_memory.map(|(version, holders)| Candidate {
            version: *version,
            kept: None,
            holders: holders.clone(),
        });
        let on_disks = kept.into_iter().map(|((past, version), mut holders)| {
            // Of one past, a version is the same wherever it lies.
            for (layer, peers) in memory.get(&version).into_iter().flatten() {
                holders.entry(*layer).or_default().extend(peers);
            }
            Candidate {
                version,
                kept: Some(past),
                holders,
            }
        });
        let mut all: Vec<Candidate> = in_memory.chain(on_disks).collect();
        all.sort_by_key(|candidate| {
            (
                std::cmp::Reverse(candidate.version),
                candidate.kept.is_some(),
                std::cmp::Reverse(candidate.kept),
            )
        });
        all
    }

    /// Where no version is whole: who is waited for, in words; none where nobody could bring what is missing.
    pub(super) fn lacks(&self, memory: &Holders) -> Option<String> {
        let candidates = self.candidates(memory);
        let on_disks = candidates.iter().find(|candidate| candidate.kept.is_some());
        if let Some(best) = on_disks.filter(|_| self.disks.forgetful) {
            return Some(self.missing(best, |layer| self.kept_by(best, layer)));
        }
        if self.disks.resumes() {
            let Some(best) = candidates.first() else {
                return Some(
                    "none of the devices that are here keeps anything of this run".to_owned(),
                );
            };
            return Some(self.missing(best, |layer| self.kept_by(best, layer)));
        }
        // Whatever those who are gone keep, with what is here: the newest version that would be whole.
        let absent = self.absent();
        let keys = absent.iter().flat_map(|(_, kept)| kept.iter());
        let keys: BTreeSet<(Version, Past)> = keys.map(|kept| (kept.version, kept.past)).collect();
        let waits = keys.into_iter().rev().find_map(|(version, past)| {
            let here = candidates.iter();
            let mut here = here.filter(|here| here.version == version);
            let here = here
                .clone()
                .find(|here| here.kept == Some(past))
                .or_else(|| here.next());
            let nothing = Candidate {
                version,
                kept: Some(past),
                holders: BTreeMap::new(),
            };
            let here = here.unwrap_or(&nothing);
            let with = |layer: LayerIndex| -> Vec<&str> {
                let names = absent.iter().filter(|(_, kept)| {
                    kept.iter().any(|kept| {
                        (kept.version, kept.past) == (version, past) && kept.layers.contains(&layer)
                    })
                });
                names.map(|(name, _)| name.as_str()).collect()
            };
            let mut missing = self
                .learning()
                .filter(|layer| !here.holders.contains_key(layer));
            missing
                .all(|layer| !with(layer).is_empty())
                .then(|| self.missing(here, with))
        });
        waits.or_else(|| self.lies_asleep(memory))
    }

    /// Who keeps something and cannot be asked for it now.
    fn absent(&self) -> Vec<(String, Vec<Kept>)> {
        let here: BTreeSet<PeerId> = self.participants().map(|member| member.peer).collect();
        let members = self.members.iter();
        let away = members
            .filter(|member| member.role == Role::Participant && !here.contains(&member.peer));
        let away = away.map(|member| {
            let kept = member.disk.kept.iter();
            let kept = kept.filter(|kept| self.disks.can_be_gone_on_from(kept));
            (member.device.name.clone(), kept.cloned().collect())
        });
        self.disks.gone.iter().cloned().chain(away).collect()
    }

    /// The devices that made a kept version and held a layer, as they were called.
    fn kept_by(&self, candidate: &Candidate, layer: LayerIndex) -> Vec<&str> {
        let disks = self.participants().flat_map(|member| &member.disk.kept);
        let mut same = disks
            .filter(|kept| (kept.version, Some(kept.past)) == (candidate.version, candidate.kept));
        same.next()
            .map(|kept| kept.homes(layer))
            .unwrap_or_default()
    }

    fn missing<'a>(
        &self,
        candidate: &Candidate,
        with: impl Fn(LayerIndex) -> Vec<&'a str>,
    ) -> String {
        let learning = self.learning();
        let missing: Vec<LayerIndex> = learning
            .filter(|layer| !candidate.holders.contains_key(layer))
            .collect();
        let names: BTreeSet<&str> = missing.iter().flat_map(|layer| with(*layer)).collect();
        let names: Vec<&str> = names.into_iter().collect();
        missing_in_words(&missing, candidate.version, &names)
    }

    /// The layers that learn something.
    pub(super) fn learning(&self) -> impl Iterator<Item = LayerIndex> {
        let layers = (0u16..).zip(&self.run.outline.layers);
        let learns = layers.filter(|(_, layer)| layer.parameters > 0);
        learns.map(|(layer, _)| LayerIndex(layer))
    }

    /// Waits for those who have what is missing.
    pub(super) fn lack(&mut self, reason: String) {
        let reason = reason.chars().take(REASON_CHARS_MAX).collect();
        self.profiles_due = None;
        self.warm_up_ends = None;
        self.state = RoomState::Lacking { reason };
        self.show();
    }

    /// The newest version of which every layer is kept by a member that is here.
    fn kept_whole(&self) -> Option<Version> {
        let candidates = self.candidates(&Holders::new()).into_iter();
        let mut whole = candidates.filter(|candidate| self.is_whole(candidate));
        whole.next().map(|candidate| candidate.version)
    }
}

pub(super) fn missing_in_words(missing: &[LayerIndex], version: Version, names: &[&str]) -> String {
    let step = version.0;
    if missing.is_empty() {
        return format!(
            "step {step} lies with more devices than there are layers, or with some that have no memory for it"
        );
    }
    let runs = missing.chunk_by(|one, next| one.0 + 1 == next.0);
    let range = |run: &[LayerIndex]| usize::from(run[0].0)..usize::from(run[0].0) + run.len();
    let layers: Vec<String> = runs.map(|run| layers_in_words(&range(run))).collect();
    let layers = layers.join(" and ");
    let are = if missing.len() == 1 { "is" } else { "are" };
    let who = match names {
        [] => "a device that kept them".to_owned(),
        [one] => (*one).to_owned(),
        [others @ .., last] => format!("{} or {last}", others.join(", ")),
    };
    format!("{layers} of step {step} {are} missing: waiting for {who} to come back")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::Home;

    fn past(number: u32) -> Past {
        Past {
            room: RoomCode::from_random([1; 10]),
            epoch: Epoch {
                number,
                incarnation: 0,
            },
        }
    }

    fn kept(number: u32, version: u32) -> Kept {
        Kept {
            past: past(number),
            version: Version(version),
            layers: vec![LayerIndex(0)],
            ring: Vec::new(),
        }
    }

    fn found(version: u32, kept: Option<Past>) -> Found {
        Found {
            version: Version(version),
            kept,
            moves: Vec::new(),
        }
    }

    #[test]
    fn what_was_kept_of_steps_that_were_made_again_is_given_up() {
        let mut disks = Disks::of_run(None);
        disks.goes_on(&found(0, None), past(1));
        disks.is_gone(
            "a phone".to_owned(),
            Disk {
                keeps: Some(true),
                kept: vec![kept(1, 4), kept(1, 8)],
            },
        );
        disks.goes_on(&found(6, None), past(3));
        let can =
            |disks: &Disks, number, version| disks.can_be_gone_on_from(&kept(number, version));
        assert!(can(&disks, 1, 6) && can(&disks, 3, 9));
        assert!(!can(&disks, 1, 7), "it was made again");
        assert!(!can(&disks, 2, 1), "no such plan");
        assert_eq!(disks.gone, [("a phone".to_owned(), vec![kept(1, 4)])]);
        // Further back, and then anew.
        disks.goes_on(&found(2, None), past(5));
        assert!(can(&disks, 1, 2) && !can(&disks, 1, 3) && !can(&disks, 3, 3));
        disks.begin_anew();
        disks.goes_on(&found(0, None), past(7));
        assert!(!can(&disks, 5, 1) && can(&disks, 7, 1));
    }

    #[test]
    fn a_run_that_resumes_takes_what_comes_until_it_has_begun() {
        let mut disks = Disks::of_run(Some(RoomCode::from_random([2; 10])));
        assert!(disks.can_be_gone_on_from(&kept(9, 100)));
        disks.goes_on(&found(80, Some(past(9))), past(1));
        // Planned again before anybody was ready.
        assert!(disks.can_be_gone_on_from(&kept(9, 100)));
        disks.goes_on(&found(80, Some(past(9))), past(2));
        disks.begun();
        assert!(disks.can_be_gone_on_from(&kept(9, 80)));
        assert!(!disks.can_be_gone_on_from(&kept(9, 81)));
        assert!(disks.can_be_gone_on_from(&kept(2, 81)));
    }

    #[test]
    fn what_is_missing_is_told_by_layers_and_devices() {
        let layers = |layers: &[u16]| -> Vec<LayerIndex> {
            layers.iter().copied().map(LayerIndex).collect()
        };
        assert_eq!(
            missing_in_words(&layers(&[0, 1, 4]), Version(8), &["a", "b"]),
            "layers 1 to 2 and layer 5 of step 8 are missing: waiting for a or b to come back"
        );
        assert_eq!(
            missing_in_words(&layers(&[2]), Version(8), &["a"]),
            "layer 3 of step 8 is missing: waiting for a to come back"
        );
    }

    #[test]
    fn who_kept_a_layer_is_its_stage_the_next_round_the_ring_and_a_third() {
        let home = |name: &str, layers_end| Home {
            name: name.to_owned(),
            layers_end,
            third: None,
        };
        let mut kept = Kept {
            ring: vec![home("a", 1), home("b", 3), home("c", 4)],
            ..kept(1, 1)
        };
        assert_eq!(kept.homes(LayerIndex(0)), ["a", "b"]);
        assert_eq!(kept.homes(LayerIndex(2)), ["b", "c"]);
        assert_eq!(kept.homes(LayerIndex(3)), ["c", "a"]);
        assert!(kept.homes(LayerIndex(4)).is_empty());
        kept.ring[1].third = Some(0);
        assert_eq!(kept.homes(LayerIndex(2)), ["b", "c", "a"]);
    }
}
