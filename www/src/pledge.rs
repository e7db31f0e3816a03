//! How much memory a tab gives to its stage.

use crate::format;
use crate::shown::Phase;
use ringtmp_core::signal::Role;
use ringtmp_peer::View;

const MEGABYTE: u64 = 1_000_000;

/// What is offered. Phones end a tab near 1.5 GB, and 32-bit WebAssembly ends at 4 GB.
const OFFERED: [u64; 5] = [
    256 * MEGABYTE,
    512 * MEGABYTE,
    1000 * MEGABYTE,
    2000 * MEGABYTE,
    3000 * MEGABYTE,
];

/// Where the browser does not tell how much memory there is: what a phone can spare.
const USUAL: u64 = 512 * MEGABYTE;

/// What a tab gives unless its user says otherwise: an eighth of the device's memory, which browsers tell in GiB, rounded and at most
/// 8 (Device Memory API); within what is offered to phones.
pub fn usual(device_memory_gib: Option<f64>) -> u64 {
    let eighth = |gib: f64| (gib * 1024.0 * 1024.0 * 1024.0 / 8.0) as u64;
    let sane = device_memory_gib.filter(|gib| gib.is_finite() && *gib > 0.0);
    sane.map_or(USUAL, eighth).clamp(OFFERED[0], OFFERED[2])
}

/// What can be chosen, with what is given now among it: bytes, and words.
pub fn choices(now: Option<u64>) -> Vec<(u64, String)> {
    let mut bytes = OFFERED.to_vec();
    bytes.extend(now.filter(|now| !OFFERED.contains(now)));
    bytes.sort_unstable();
    let words = |bytes: u64| (bytes, format::bytes(bytes));
    bytes.into_iter().map(words).collect()
}

/// What this device gives, while it can still be changed before a plan is made.
pub fn changeable(phase: Phase, view: &View) -> Option<u64> {
    let waits = match phase {
        Phase::Waiting | Phase::Lacking | Phase::Finished | Phase::Stopped => true,
        Phase::Joining
        | Phase::WarmingUp
        | Phase::Training
        | Phase::Paused
        | Phase::Reconfiguring
        | Phase::Refused
        | Phase::Broken
        | Phase::Left => false,
    };
    let room = view.room.as_ref().filter(|_| waits)?;
    let mut members = room.members.iter();
    let me = members.find(|member| Some(member.peer) == view.me)?;
    (me.role == Role::Participant)
        .then_some(me.device.memory_bytes)
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tab_gives_an_eighth_of_what_there_is_within_what_phones_can_spare() {
        assert_eq!(usual(None), USUAL);
        assert_eq!(usual(Some(4.0)), 1 << 29);
        assert_eq!(usual(Some(8.0)), 1_000_000_000);
        assert_eq!(usual(Some(0.25)), 256_000_000);
        for nonsense in [f64::NAN, -1.0, f64::INFINITY] {
            assert_eq!(usual(Some(nonsense)), USUAL);
        }
    }

    #[test]
    fn what_is_given_now_is_among_the_choices() {
        assert_eq!(choices(None).len(), OFFERED.len());
        assert_eq!(choices(Some(OFFERED[1])).len(), OFFERED.len());
        let own = choices(Some(700_000_000));
        assert_eq!(own[2], (700_000_000, "700 MB".to_owned()));
    }
}
