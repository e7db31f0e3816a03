//! Parts of the parameters that move, so that nobody has many while others have none: to whoever came back after a loss, or came new.
//!
//! A part moves only along copies that there are anyhow: to whoever keeps one of it. Where that device has a part already, that one moves
//! on in turn, to whoever keeps a copy of it, until the last comes to a device that has room. Where one between has no part to move on, that takes
//! two turns: it gets one first, and then keeps company with the next.
//!
//! Where servers stand apart and one was lost, its part lies with a worker. A device that then comes as a server stands in: it does nothing
//! but keep copies of that part, until it has it.

use super::Room;
use crate::ids::PeerId;
use crate::parameter_server::{MemberIndex, TeamPlan};
use crate::signal::RoomState;
use crate::time::Time;
use std::collections::{BTreeMap, VecDeque};

/// Steps that have to be left: putting a team together anew costs about two.
pub(super) const STEPS_LEFT_MIN: u32 = 10;

/// By how much two devices' loads have to differ: with a difference of one, moving only swaps them.
const DIFFERENCE_MIN: usize = 2;

impl Room {
    /// If a version lies twice under this plan, and somebody has two parts more than a worker, or a worker one for which a server stands in,
    /// all are halted to divide them anew from there. Not again for the same devices where that moved nothing.
    pub(super) fn spread_parts(&mut self, now: Time) {
        let Some(version) = self.stable_of_this_plan() else {
            return;
        };
        let left = self.run.outline.steps.saturating_sub(version.0);
        let trains = self.state == RoomState::Training && self.done.is_empty();
        let calm = self.members.iter().all(|it| it.suspected_by.is_empty());
        if !(trains && calm && self.recovers() && left >= STEPS_LEFT_MIN) {
            return;
        }
        let Some(plan) = self.team() else { return };
        let Some((from, to)) = uneven(plan) else {
            return;
        };
        if self.recovering.spread_among.as_ref() == Some(&plan.order) {
            return;
        }
        let order = plan.order.clone();
        let (has, gets) = (self.name(from), self.name(to));
        let reason = match plan.stands_in(to) {
            true => format!("{gets} takes over what {has} has served"),
            false => format!(
                "the parts of the parameters are divided anew: {has} has several, and {gets} fewer"
            ),
        };
        self.recovering.spread_among = Some(order);
        self.recovering.spreads = true;
        self.halt_unharmed(now, reason);
    }
}

/// From whom a part is to move, and who has none or fewer: who stands in for the former, or a worker that has two parts less.
fn uneven(plan: &TeamPlan) -> Option<(PeerId, PeerId)> {
    let peer = |member: MemberIndex| plan.order.get(usize::from(member.0)).copied();
    let works = |home: &&MemberIndex| plan.workers.contains(*home);
    if let Some(stand_in) = plan.stand_ins().next() {
        return Some((peer(*plan.shards.iter().find(works)?)?, stand_in));
    }
    let parts = |member| plan.shards.iter().filter(|home| **home == member).count();
    let most = plan
        .shards
        .iter()
        .copied()
        .max_by_key(|home| parts(*home))?;
    let least = plan.workers.iter().copied().min_by_key(|it| parts(*it))?;
    let differ = parts(most) >= parts(least) + DIFFERENCE_MIN;
    differ.then_some(())?;
    Some((peer(most)?, peer(least)?))
}

/// Moves parts along their copies until no device has two more to do than another that can be reached. `homes` and `keepers` are by part.
pub(super) fn spread(homes: &mut [PeerId], keepers: &[Vec<PeerId>], before: &TeamPlan) {
    while let Some(moves) = path(homes, keepers, before) {
        for (part, to) in moves {
            homes[part] = to;
        }
    }
}

/// The less, the more evenly parts lie: the sum of the squares of what each device of the plan before has to do.
pub(super) fn crowding(homes: &[PeerId], before: &TeamPlan) -> usize {
    let loads = loads(homes, &[], before);
    loads.into_values().map(|load| load * load).sum()
}

/// What each device has to do: a part counts one, and so does being more than a stand-in, who has nothing else.
fn loads(homes: &[PeerId], keepers: &[Vec<PeerId>], before: &TeamPlan) -> BTreeMap<PeerId, usize> {
    let all = keepers.iter().flatten().chain(homes).chain(&before.order);
    let without = |peer: &PeerId| (*peer, usize::from(!before.stands_in(*peer)));
    let mut loads: BTreeMap<PeerId, usize> = all.map(without).collect();
    for home in homes {
        *loads.entry(*home).or_default() += 1;
    }
    loads
}

/// Moves after which a device has one part less, and another that had fewer by two or more one more: the shortest, from the fullest device.
fn path(
    homes: &[PeerId],
    keepers: &[Vec<PeerId>],
    before: &TeamPlan,
) -> Option<Vec<(usize, PeerId)>> {
    let loads = loads(homes, keepers, before);
    let mut fullest: Vec<PeerId> = loads.keys().copied().collect();
    fullest.sort_by_key(|peer| std::cmp::Reverse(loads[peer]));
    fullest.into_iter().find_map(|from| {
        // By device: the part that comes to it, and from whom.
        let mut reached: BTreeMap<PeerId, (usize, PeerId)> = BTreeMap::new();
        let mut open = VecDeque::from([from]);
        while let Some(device) = open.pop_front() {
            let own = (0..homes.len()).filter(|part| homes[*part] == device);
            for (part, to) in own.flat_map(|part| keepers[part].iter().map(move |to| (part, *to))) {
                if to == from || reached.contains_key(&to) {
                    continue;
                }
                reached.insert(to, (part, device));
                if loads[&to] + DIFFERENCE_MIN <= loads[&from] {
                    return Some(back(&reached, from, to));
                }
                open.push_back(to);
            }
        }
        None
    })
}

/// The moves on the way to a device.
fn back(
    reached: &BTreeMap<PeerId, (usize, PeerId)>,
    from: PeerId,
    mut to: PeerId,
) -> Vec<(usize, PeerId)> {
    let mut moves = Vec::new();
    while to != from {
        let (part, device) = reached[&to];
        moves.push((part, to));
        to = device;
    }
    moves
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEERS: [PeerId; 4] = [PeerId(1), PeerId(2), PeerId(3), PeerId(4)];

    /// All of them compute.
    fn plan() -> TeamPlan {
        TeamPlan {
            order: PEERS.to_vec(),
            workers: (0..4).map(MemberIndex).collect(),
            ..TeamPlan::default()
        }
    }

    /// By part: the device of this place, and whoever keeps a copy of it.
    fn divided(parts: &[(usize, usize)]) -> (Vec<PeerId>, Vec<Vec<PeerId>>) {
        let keepers = |(home, buddy): &(usize, usize)| vec![PEERS[*home], PEERS[*buddy]];
        (
            parts.iter().map(|(home, _)| PEERS[*home]).collect(),
            parts.iter().map(keepers).collect(),
        )
    }

    #[test]
    fn a_part_comes_to_whoever_has_none_by_way_of_those_between() {
        // The second has two, and its buddy one, whose buddy has none.
        let (mut homes, keepers) = divided(&[(1, 2), (1, 2), (2, 3)]);
        assert_eq!(crowding(&homes, &plan()), 9 + 4 + 1 + 1);
        spread(&mut homes, &keepers, &plan());
        assert_eq!(crowding(&homes, &plan()), 4 + 4 + 4 + 1, "{homes:?}");
        assert_eq!(homes[2], PEERS[3], "the only way");
        for (home, keepers) in homes.iter().zip(&keepers) {
            assert!(keepers.contains(home), "nobody has what it has no copy of");
        }
    }

    #[test]
    fn a_part_comes_from_a_worker_to_who_stands_in_and_from_a_server_to_no_worker() {
        // The first two compute, the third serves, and the last stands in for what is with the first.
        let plan = TeamPlan {
            workers: vec![MemberIndex(0), MemberIndex(1)],
            shards: vec![MemberIndex(0), MemberIndex(2)],
            ..plan()
        };
        let (mut homes, keepers) = divided(&[(0, 3), (2, 1)]);
        let before = crowding(&homes, &plan);
        spread(&mut homes, &keepers, &plan);
        assert_eq!(homes, [PEERS[3], PEERS[2]]);
        assert!(crowding(&homes, &plan) < before);
    }

    #[test]
    fn what_cannot_be_reached_or_would_only_be_swapped_stays() {
        // The buddy has as many as would be left.
        let (mut homes, keepers) = divided(&[(0, 1), (0, 1), (1, 0)]);
        let before = homes.clone();
        spread(&mut homes, &keepers, &plan());
        assert_eq!(homes, before);
        // Nobody else keeps anything.
        let (mut alone, keepers) = divided(&[(0, 0), (0, 0), (0, 0)]);
        let before = alone.clone();
        spread(&mut alone, &keepers, &plan());
        assert_eq!(alone, before);
    }

    #[test]
    fn however_parts_lie_it_ends_and_no_device_has_two_more_than_its_buddy() {
        for seed in 0_u64..500 {
            let draw = |part: u64, of: u64| {
                (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (4 * part + of)) as usize % 4
            };
            let parts: Vec<(usize, usize)> = (0..7).map(|p| (draw(p, 0), draw(p, 2))).collect();
            let (mut homes, keepers) = divided(&parts);
            let before = crowding(&homes, &plan());
            spread(&mut homes, &keepers, &plan());
            assert!(crowding(&homes, &plan()) <= before, "seed {seed}");
            let count = |peer: PeerId| homes.iter().filter(|home| **home == peer).count();
            for (home, keepers) in homes.iter().zip(&keepers) {
                assert!(keepers.contains(home), "seed {seed}");
                let least = keepers.iter().map(|peer| count(*peer)).min();
                assert!(
                    least.is_none_or(|least| count(*home) < least + 2),
                    "seed {seed}"
                );
            }
        }
    }
}
