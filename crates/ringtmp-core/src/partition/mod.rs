//! The planner: who takes part, in which order, with which layers and within which limits.
//!
//! ```text
//! best[d][j] = min over k > j and next peers e of max(work_d(j, k), link_d_e(k), best[e][k], R / c)      from the tail
//! memory_d(j, k) = parameters * (gradient + optimizer + versions) + activations * (credit + put-off W) + what queues <= cap
//! ```
//!
//! - Within given seconds per micro-batch the table is exact for a fixed order, but that it keeps one way from each layer on, which need
//!   not be the one that clamped credits or shared air would ask for. So seconds are halved towards the least within which it finds
//!   one (`search`), and every candidate is assessed with the limits it really gets (`Problem::assess`).
//! - Peers may be left out, but only where that gains more than [`SKIP_GAIN`]: equal devices all take part.
//! - Up to `SUBSET_PEERS_MAX` peers every order is searched, by one table over the sets of peers behind a stage; beyond
//!   that a few sorted orders and what 2-opt makes of them, which is a heuristic. Of few peers, branch and bound (`branches`) then looks
//!   for what is faster still, where credits are clamped by several memories at once. All end at `EVALUATIONS_MAX`.
//! - Where the codec is open, hops are written in 8 bits where the ring would be slower otherwise, and in 16 elsewhere.
//! - Peers on one shared medium also share its air time: a hop between two of them uses it twice.
//! - Where layers are copied to the next peer, there is room for the copies too (`kept`).
//! - Bytes that a peer lacks are added up before seconds are compared, so that the same table says what is missing when nothing
//!   fits.
//!
//! The recurrence is that of PipeDream (SOSP'19, section 3.1) with unequal machines, links and memory.

mod assess;
mod branches;
mod common;
mod kept;
mod problem;
mod search;
mod speeds;
mod states;
mod sums;
mod table;
#[cfg(test)]
mod tests;

pub use assess::{Arrangement, Lack, NoFit, layers_in_words};
pub use common::arrange_together;
pub use kept::arrange_kept;
pub use problem::{Device, Hop, Hops, Problem};
pub use speeds::{Measured, devices};

use crate::codec::{CodecChoice, TensorCodec};
use search::{Search, fastest_seconds};
use states::{ROUNDING, Shards};

/// A peer is left out, or a lesser arrangement with more peers passed over, only for a gain of more than this share: less is
/// within what measurements and the model of time are good for.
pub const SKIP_GAIN: f64 = 0.03;

/// What came of planning.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// The arrangement chosen.
    pub arrangement: Arrangement,
    /// How many shards were weighed: the planner's own cost, whatever the machine.
    pub evaluations: u64,
}

/// Arranges layers on peers so that the ring is as fast as it can be.
///
/// # Errors
///
/// Who lacks how much memory, in the arrangement that lacks least.
///
/// # Panics
///
/// Without a peer or a layer.
pub fn arrange(problem: &Problem) -> Result<Planned, NoFit> {
    assert!(
        !problem.devices.is_empty() && !problem.layers.is_empty(),
        "somebody to plan for and something to plan"
    );
    let mut evaluations = 0;
    let mut search = |codec| {
        let mut search = Search::new(problem, codec);
        let found = search.run();
        evaluations += search.evaluations();
        found
    };
    let mut found = match problem.codec {
        CodecChoice::Auto if problem.bytes_matter() => search(TensorCodec::Int8)?,
        choice => search(choice.usual())?,
    };
    if found.iter().any(|found| found.rounded_hops() > 0) && problem.codec == CodecChoice::Auto {
        found = only_close(found);
        found = found
            .iter()
            .flat_map(|found| exacter(problem, found))
            .collect();
        // Perhaps others do as well without.
        let rounded = chosen(found.clone()).is_some_and(|chosen| chosen.rounded_hops() > 0);
        if rounded || problem.devices.len() <= search::SUBSET_PEERS_MAX {
            found.extend(search(TensorCodec::F16)?);
        }
    }
    Ok(Planned {
        arrangement: chosen(found).expect("a search gives at least one arrangement"),
        evaluations,
    })
}

/// Arranges layers on these peers in this order, as many on each: for a ring that needs all of them, whatever they take.
///
/// # Errors
///
/// Who lacks how much memory for it.
///
/// # Panics
///
/// With more peers than layers, or none.
pub fn arrange_evenly(problem: &Problem, order: &[usize]) -> Result<Arrangement, NoFit> {
    let (layers, peers) = (problem.layers.len(), order.len());
    assert!((1..=layers).contains(&peers), "a layer for each peer");
    let shards = (0..peers).map(|i| (order[i], i * layers / peers..(i + 1) * layers / peers));
    kept::settle_kept(problem, &shards.collect())
}

/// An order and its cuts under this problem's links, with the limits that its stages get; where the codec is open, each hop in 8 bits
/// that would hold up the others in 16.
///
/// # Errors
///
/// Who lacks how much memory for it.
fn settle(problem: &Problem, shards: &Shards) -> Result<Arrangement, NoFit> {
    let hops = shards.len().saturating_sub(1);
    let assessed = |codec| problem.assess(shards, vec![codec; hops]);
    match problem.codec {
        CodecChoice::Auto if problem.bytes_matter() => {
            let rounded = assessed(TensorCodec::Int8)?;
            Ok(chosen(exacter(problem, &rounded)).unwrap_or(rounded))
        }
        choice => assessed(choice.usual()),
    }
}

/// Those nearly as fast as the fastest, each once.
fn only_close(found: Vec<Arrangement>) -> Vec<Arrangement> {
    let seconds_max = fastest_seconds(&found) * (1.0 + SKIP_GAIN);
    let mut close: Vec<Arrangement> = Vec::new();
    for arrangement in found {
        if arrangement.seconds <= seconds_max && !close.contains(&arrangement) {
            close.push(arrangement);
        }
    }
    close
}

/// Of those nearly as fast as the fastest one with the most peers, of these one with the fewest hops in 8 bits, of these the fastest;
/// of equally fast ones the first, which is the most even.
fn chosen(found: Vec<Arrangement>) -> Option<Arrangement> {
    only_close(found).into_iter().reduce(|best, other| {
        let key = |of: &Arrangement| (std::cmp::Reverse(of.order.len()), of.rounded_hops());
        let faster = || other.seconds < best.seconds * (1.0 - ROUNDING);
        if key(&other) < key(&best) || key(&other) == key(&best) && faster() {
            other
        } else {
            best
        }
    })
}

/// The same arrangement with 16 bits on every hop, and with 8 bits only where it would be slower otherwise.
fn exacter(problem: &Problem, arrangement: &Arrangement) -> Vec<Arrangement> {
    let shards = arrangement.shards();
    let assessed = |codecs: &[TensorCodec]| problem.assess(&shards, codecs.to_vec()).ok();
    let as_fast = |other: &Arrangement| other.seconds <= arrangement.seconds * (1.0 + ROUNDING);
    let usual = vec![CodecChoice::Auto.usual(); arrangement.codecs.len()];
    let Some(exact) = assessed(&usual) else {
        return vec![arrangement.clone()];
    };
    if as_fast(&exact) {
        return vec![exact];
    }
    let transfer = |hop: usize| {
        let link = problem
            .hops
            .get(arrangement.order[hop], arrangement.order[hop + 1]);
        let boundary = usize::from(arrangement.cuts[hop + 1]);
        link.transfer_seconds(problem.sent_bytes(boundary, usual[hop]))
    };
    let mut hops: Vec<usize> = (0..usual.len()).collect();
    hops.sort_by(|one, other| transfer(*one).total_cmp(&transfer(*other)));
    // The quickest ones first, all at once where air time and credits do not mind.
    let mut codecs = arrangement.codecs.clone();
    let mut best = arrangement.clone();
    let held_up = |hop: &usize| transfer(*hop) > arrangement.seconds;
    for hop in hops.iter().filter(|hop| !held_up(hop)) {
        codecs[*hop] = usual[*hop];
    }
    match assessed(&codecs).filter(as_fast) {
        Some(mixed) => best = mixed,
        None => {
            codecs = arrangement.codecs.clone();
            for hop in hops.into_iter().filter(|hop| !held_up(hop)) {
                codecs[hop] = usual[hop];
                match assessed(&codecs).filter(as_fast) {
                    Some(mixed) => best = mixed,
                    None => codecs[hop] = arrangement.codecs[hop],
                }
            }
        }
    }
    vec![exact, best]
}
