//! How a run outlives the loss of a member: the ring is put together anew.
//!
//! ```text
//!            a member lost, cut out, or worth taking in               all have answered, or too late
//! training ────────────────────────────────────▶ halted: Halt e+1 ───────────────────────────────────▶ preparing
//!    ▲                                              ▲   each says what copies of layers it holds          │
//!    │                                              └──────────── a member lost meanwhile: Halt e+2 ──────┤
//!    └───────────────── Commit: from the newest version of which every layer is left ─────────────────────┘
//! ```
//!
//! Nobody does anything under an older epoch once it was halted, so that two rings never train at once. A newcomer is taken in
//! at the end of a step: the head is asked to let the ring come to rest, with everything copied, and nothing is made twice.

mod past;
mod stable;

pub(super) use past::newest_under;

use super::disks::Found;
use super::{Member, Room, WARM_UP_MAX};
use crate::ids::{Epoch, LayerIndex, PeerId, StageIndex, Version};
use crate::plan::{Move, Plan};
use crate::signal::{Holding, Recovery, Role, RoomPlan, RoomState, ServerMessage};
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long members may take to say what they hold: they answer between two tasks. Who is later is left out of the plan.
pub const HALT_WAIT_MAX: Duration = Duration::from_secs(2);

/// Likewise where each holds the whole model: what is under way is made first, and may be a pass through all of it, or building it. Whoever
/// is lost is not waited for so long, as others have told of it.
const TEAM_HALT_WAIT_MAX: Duration = Duration::from_secs(12);

/// How often that wait begins anew because somebody came back who was given up.
const PROLONGED_MAX: u32 = 8;

/// How long a member is waited for of whom a neighbour has already heard nothing for too long.
const ACCUSED_WAIT_MAX: Duration = Duration::from_millis(500);

/// The ring is put together anew so often without getting any further; then something is wrong that no plan helps against.
pub const ATTEMPTS_MAX: u32 = 16;

/// A link that was lost so often, without any progress between, is not made again: one of its ends is cut out.
pub(super) const LINK_LOSSES_MAX: u32 = 2;

/// Layers that move may take this long for each of their bytes, beside what stages and links take: 100 kB/s.
const SECONDS_PER_BYTE: f64 = 1e-5;

/// Bytes of a number, with the optimizer's and older versions of it: enough for the wait above.
const MOVED_BYTES_PER_PARAMETER: u64 = 16;

/// The most plans in a row that are handed out and never begin.
pub(super) const PASTS_MAX: usize = ATTEMPTS_MAX as usize;

/// Members that were asked what they hold.
#[derive(Debug)]
struct Halt {
    began: Time,
    /// None once nobody is waited for any more who could answer.
    due: Option<Time>,
    accused: Option<PeerId>,
    /// The ends of a link that is lost again and again: without one of them, should both be there.
    unlinked: Option<[PeerId; 2]>,
    answers: BTreeMap<PeerId, Holding>,
    /// How often the wait was prolonged for somebody who came back.
    prolonged: u32,
}

/// What a room knows of the losses of its run.
#[derive(Debug, Default)]
pub(super) struct Recovering {
    halt: Option<Halt>,
    /// Since when the ring is being put together anew.
    pub(super) began: Option<Time>,
    pub(super) recoveries: Vec<Recovery>,
    pub(super) stable: Option<Version>,
    /// Under which plan that was told last.
    stable_under: Option<Epoch>,
    pub(super) every: Option<u16>,
    pub(super) was_paused: bool,
    /// How often it was put together anew, and how often members failed, since a version was last stable.
    pub(super) attempts: u32,
    pub(super) failures: u32,
    pub(super) link_losses: BTreeMap<[PeerId; 2], u32>,
    /// How often devices had to be made ready again, since a version was last stable.
    pub(super) stumbles: BTreeMap<PeerId, u32>,
    /// Parts of a team's parameters are divided anew, from a version that lies twice.
    pub(super) spreads: bool,
    /// The devices among which that was tried last.
    pub(super) spread_among: Option<Vec<PeerId>>,
    /// The next plan gives layers to those who want to leave as well.
    pub(super) leavers_stay: bool,
    /// The plan that was at work before the ring was put together anew.
    pub(super) worked: Option<Plan>,
    /// Members that nobody has heard since then, and their names.
    pub(super) asleep: BTreeMap<PeerId, String>,
    /// Whom a member has blamed.
    pub(super) blamed: BTreeMap<PeerId, BTreeSet<PeerId>>,
    /// The head was asked to let the ring come to rest, because of this.
    pub(super) rest: Option<String>,
    pub(super) better_reports: u32,
    /// The last plan that was at work, and those after it that never began: all copies that were made under them are of one past.
    pasts: Vec<Epoch>,
    /// The oldest version from which one of those that never began was to go on: what is newer was given up with it.
    newest: Option<Version>,
}

impl Recovering {
    pub(super) fn is_going_on(&self) -> bool {
        self.began.is_some()
    }

    /// Who comes while members are asked what they hold has nothing to say.
    pub(super) fn came(&mut self, peer: PeerId) {
        if let Some(halt) = &mut self.halt {
            halt.answers.insert(peer, Holding::default());
        }
    }

    /// Who was given up, and is back, may have much to say.
    pub(super) fn came_back(&mut self, now: Time, peer: PeerId, wait: Duration) {
        self.asleep.remove(&peer);
        if let Some(halt) = &mut self.halt {
            halt.answers.remove(&peer);
            // Those that come again and again, under ever new names, do not keep the others waiting.
            if halt.due.is_none() || halt.prolonged < PROLONGED_MAX {
                halt.prolonged += 1;
                halt.due = halt.due.max(Some(now + wait));
            }
        }
    }

    pub(super) fn told(&self) -> Vec<Recovery> {
        self.recoveries.clone()
    }

    pub(super) fn due(&self) -> Option<Time> {
        self.halt.as_ref().and_then(|halt| halt.due)
    }

    /// Since when members are asked something; `otherwise` if they are not.
    pub(super) fn asked_since(&self, otherwise: Time) -> Time {
        let began = self.halt.as_ref().map(|halt| halt.began);
        began.map_or(otherwise, |began| began.max(otherwise))
    }

    /// What members were told who are asked what they hold, if they are.
    pub(super) fn halting(&self, epoch: Epoch, state: &RoomState) -> Option<ServerMessage> {
        let reason = match state {
            RoomState::Reconfiguring { reason } => reason.clone(),
            _ => String::new(),
        };
        self.halt
            .as_ref()
            .map(|_| ServerMessage::Halt { epoch, reason })
    }

    pub(super) fn stop(&mut self) {
        (self.halt, self.began, self.rest) = (None, None, None);
    }
}

impl Room {
    /// Whether the run cannot go on without this member. One that has done its part may go, where nothing can be done again.
    pub(super) fn is_needed(&self, peer: PeerId) -> bool {
        self.recovers() || !self.done.contains_key(&peer)
    }

    /// The ring has lost a stage, for this reason.
    pub(super) fn lost(&mut self, now: Time, reason: String) {
        let mut members = self.members.iter();
        let somebody_is_left = members.any(Member::is_asked);
        if !self.recovers() {
            return self.stop(reason);
        }
        if !somebody_is_left {
            return self.all_lost(now, reason);
        }
        self.halt(now, reason, None);
    }

    /// Nobody is left. Whoever comes back, with what it keeps, is what there is to go on from.
    pub(super) fn all_lost(&mut self, now: Time, reason: String) {
        let Some(lacks) = self.lacks(&Holders::new()) else {
            return self.stop(reason);
        };
        self.halt(now, reason, None);
        if let Some(halt) = &mut self.recovering.halt {
            halt.due = None;
            self.lack(lacks);
        }
    }

    /// How long members may take to say what they hold.
    pub(super) fn halt_wait(&self) -> Duration {
        match self.is_ring() {
            true => HALT_WAIT_MAX,
            false => TEAM_HALT_WAIT_MAX,
        }
    }

    pub(super) fn halt(&mut self, now: Time, reason: String, accused: Option<PeerId>) {
        let wait = self.halt_wait();
        let at_work = self.plan.as_ref().and_then(RoomPlan::ring);
        let recovering = &mut self.recovering;
        recovering.attempts += 1;
        if recovering.attempts > ATTEMPTS_MAX {
            let times = recovering.attempts;
            let what = match self.is_ring() {
                true => "the ring was",
                false => "the devices were",
            };
            return self.stop(format!(
                "{what} put together {times} times and got no further: {reason}"
            ));
        }
        recovering.note_work(at_work);
        recovering.began.get_or_insert(now);
        recovering.was_paused |= self.state == RoomState::Paused;
        recovering.rest = None;
        recovering.halt = Some(Halt {
            began: now,
            due: Some(now + wait),
            accused,
            unlinked: None,
            answers: BTreeMap::new(),
            prolonged: 0,
        });
        self.epoch = self.next_epoch();
        self.warm_up_ends = None;
        self.ready.clear();
        self.state = RoomState::Reconfiguring {
            reason: reason.clone(),
        };
        self.show();
        let epoch = self.epoch;
        // Who is cut out, or silent, has to stop as well, though nobody waits for it.
        let members = self.members.iter();
        let all = members.filter(|member| member.role != Role::Spectator);
        let halt = |member: &Member| {
            let reason = reason.clone();
            (member.peer, ServerMessage::Halt { epoch, reason })
        };
        self.output.extend(all.map(halt));
    }

    /// As [`Room::halt`], where nothing went wrong: it is none of the attempts that may be in vain.
    pub(super) fn halt_unharmed(&mut self, now: Time, reason: String) {
        let attempts = std::mem::take(&mut self.recovering.attempts);
        self.halt(now, reason, None);
        self.recovering.attempts = attempts;
    }

    /// A member says what it holds.
    pub(super) fn holds(&mut self, now: Time, from: PeerId, epoch: Epoch, holding: Holding) {
        let asked = self.participants().any(|member| member.peer == from);
        let current = epoch == self.epoch && asked;
        if let Some(halt) = self.recovering.halt.as_mut().filter(|_| current) {
            halt.answers.insert(from, holding);
            self.resume_if_all_answered(now);
        }
    }

    pub(super) fn resume_if_all_answered(&mut self, now: Time) {
        let Some(halt) = &self.recovering.halt else {
            return;
        };
        let answered = |member: &&Member| halt.answers.contains_key(&member.peer);
        let asked = self.members.iter().filter(|member| member.is_asked());
        // Who has no socket is not heard: it is waited for, whatever it has said before, until it is given up.
        let missing = asked.filter(|member| member.away.is_some() || !answered(member));
        let missing: Vec<PeerId> = missing.map(|member| member.peer).collect();
        if missing.is_empty() {
            self.resume(now);
        } else if missing.iter().all(|peer| Some(*peer) == halt.accused)
            && let Some(halt) = &mut self.recovering.halt
        {
            let early = (halt.began + ACCUSED_WAIT_MAX).max(now);
            halt.due = halt.due.map(|due| due.min(early));
        }
    }

    /// Whoever has not answered by now is left out, until it speaks again.
    pub(super) fn wait_for_answers_no_longer(&mut self, now: Time) {
        let Some(halt) = &mut self.recovering.halt else {
            return;
        };
        halt.due = None;
        for member in &mut self.members {
            let answers = halt.answers.contains_key(&member.peer) || member.away.is_some();
            member.silent |= !answers;
        }
        if !self.members.iter().any(Member::is_asked) {
            let Some(reason) = self.lacks(&Holders::new()) else {
                return self.stop("none of the devices answers".to_owned());
            };
            return self.lack(reason);
        }
        self.resume_if_all_answered(now);
    }

    /// The link between these was lost too often: as [`Room::halt`], and without one of them if both answer.
    pub(super) fn halt_unlinked(
        &mut self,
        now: Time,
        reason: String,
        accused: PeerId,
        ends: [PeerId; 2],
    ) {
        self.halt(now, reason, Some(accused));
        if let Some(halt) = &mut self.recovering.halt {
            halt.unlinked = Some(ends);
        }
    }

    /// Goes on with those who have answered, from the newest version of which they hold every layer.
    fn resume(&mut self, now: Time) {
        let Some(mut halt) = self.recovering.halt.take() else {
            return;
        };
        if let Some(ends) = halt.unlinked.take() {
            self.separate(ends);
        }
        if !self.is_ring() {
            if let Err(reason) = self.resume_team(now, &halt.answers) {
                self.recovering.halt = Some(Halt { due: None, ..halt });
                self.lack(reason);
            }
            return;
        }
        let reached = halt.answers.values().map(|holding| holding.updates.0).max();
        // Who has obeyed a plan of another past holds copies of that.
        let mut answers = halt.answers.clone();
        let pasts = self.recovering.pasts.clone();
        answers.retain(|_, holding| pasts.contains(&holding.under));
        let mut holders = holders(&answers);
        let newest = self.recovering.newest;
        holders.retain(|version, _| newest.is_none_or(|newest| *version <= newest));
        if self.participants().next().is_none() {
            let Some(reason) = self.lacks(&Holders::new()) else {
                return self.stop("no device is left".to_owned());
            };
            self.recovering.halt = Some(Halt { due: None, ..halt });
            return self.lack(reason);
        }
        // Those who are left may be too few for the model, or without samples: they keep what they hold, and others may come.
        let planned = self.planned_from(&holders);
        let (plan, found) = match (planned, self.lacks(&holders)) {
            (Ok(Ok(found)), _) => found,
            (Ok(Err(plan)), None) => (*plan, Found::default()),
            (Ok(Err(_)), Some(reason)) | (Err(reason), _) => {
                self.recovering.halt = Some(Halt { due: None, ..halt });
                return self.lack(reason);
            }
        };
        let mut plan = self.goes_on(plan, found);
        plan.pasts = pasts;
        // What was called stable may be lost with its owner and its buddy, and is then not to be called so any longer.
        let left = |stable: &Version| *stable <= plan.start;
        self.recovering.stable = self.recovering.stable.filter(left);
        let wait = self.wait_for(&plan);
        self.note_recovery(&plan, reached.unwrap_or_default());
        if let RoomState::Lacking { reason } = &self.state {
            let reason = reason.clone();
            self.state = RoomState::Reconfiguring { reason };
        }
        self.hand_out(now, plan, wait);
    }

    /// How long stages, links and the layers that move may take.
    pub(super) fn wait_for(&self, plan: &Plan) -> Duration {
        let bytes = plan.moves.iter().map(|a_move| self.moved_bytes(a_move));
        let bytes: u64 = bytes.sum();
        WARM_UP_MAX + Duration::from_secs_f64(bytes as f64 * SECONDS_PER_BYTE)
    }

    fn note_recovery(&mut self, plan: &Plan, reached: u32) {
        let reason = match &self.state {
            RoomState::Reconfiguring { reason } | RoomState::Lacking { reason } => reason.clone(),
            _ => String::new(),
        };
        let taken = self.taken(plan);
        self.recovering.note(Recovery {
            reason,
            step: plan.start.0,
            repeated: reached.saturating_sub(plan.start.0),
            moved: u16::try_from(plan.moves.len()).unwrap_or(u16::MAX),
            taken,
            seconds: None,
        });
    }

    fn moved_bytes(&self, a_move: &Move) -> u64 {
        let layer = self.run.outline.layers.get(usize::from(a_move.layer.0));
        layer.map_or(0, |layer| {
            layer.parameters.saturating_mul(MOVED_BYTES_PER_PARAMETER)
        })
    }

    /// How the layers of a version come to where the plan wants them: each from the nearest stage before it, round the ring,
    /// that has it. None if one of them is nowhere in the ring.
    pub(super) fn moves(
        &self,
        plan: &Plan,
        holders: &BTreeMap<LayerIndex, Vec<PeerId>>,
    ) -> Option<Vec<Move>> {
        let stages = plan.stages();
        let mut moves = Vec::new();
        for (index, costs) in (0..).zip(&self.run.outline.layers) {
            let layer = LayerIndex(index);
            if costs.parameters == 0 {
                continue;
            }
            let to = (0..stages).find(|stage| {
                let layers = plan.layers(StageIndex(*stage as u16));
                layers.contains(&layer)
            })?;
            let holders = holders.get(&layer)?;
            let has_it =
                |back: &usize| holders.contains(&plan.order[(to + stages - back) % stages]);
            let back = (0..stages).find(has_it)?;
            if back > 0 {
                moves.push(Move {
                    layer,
                    from: StageIndex(((to + stages - back) % stages) as u16),
                    to: StageIndex(to as u16),
                });
            }
        }
        Some(moves)
    }

    /// A member that did not answer is back.
    pub(super) fn has_spoken(&mut self, now: Time, from: PeerId) {
        let mut members = self.members.iter_mut();
        let silent = members.find(|member| member.peer == from && member.silent);
        if let Some(member) = silent {
            member.silent = false;
            if self.recovering.halt.is_none() {
                self.grow_if_worth_it();
                self.grow_team(now);
            }
        }
    }
}

/// Who holds which layers, version by version.
pub(super) type Holders = BTreeMap<Version, BTreeMap<LayerIndex, Vec<PeerId>>>;

fn holders(answers: &BTreeMap<PeerId, Holding>) -> Holders {
    let mut holders = Holders::new();
    for (peer, holding) in answers {
        for (version, layers) in &holding.copies {
            for layer in layers {
                let version = holders.entry(*version).or_default();
                version.entry(*layer).or_default().push(*peer);
            }
        }
    }
    holders
}
