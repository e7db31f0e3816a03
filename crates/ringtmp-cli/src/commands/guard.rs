//! `ringtmp guard`: the far end of [`crate::process::Guard`].

use crate::process::kill_group;
use std::io::BufRead;

/// The most groups that are remembered: a demo has at most 17.
const GROUPS_MAX: usize = 64;

/// Reads ids of process groups, one a line, until the input is closed, which also happens when the writer is killed; then
/// ends those groups. Groups that are gone by then are no matter.
pub(crate) fn run(input: impl BufRead) -> anyhow::Result<()> {
    let groups: Vec<u32> = input
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| line.trim().parse().ok())
        .take(GROUPS_MAX)
        .collect();
    groups.into_iter().for_each(kill_group);
    Ok(())
}
