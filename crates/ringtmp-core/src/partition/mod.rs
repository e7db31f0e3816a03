//! The planner: who takes part, in which order, with which layers and within which limits.
//!
//! ```text
//! best[d][j] = min over k > j and next peers e of max(work_d(j, k), link_d_e(k), best[e][k], R / c)      from the tail
//! memory_d(j, k) = parameters * (gradient + optimizer + versions) + activations * (credit + put-off W) + what queues <= cap
//! ```
//!
//! - For a fixed order this is exact but for the credits, which depend on the bound that is sought: it is solved twice, and every
//!   candidate is then assessed with the limits it really gets (`Problem::assess`).
//! - Peers may be left out, but only where that gains more than [`SKIP_GAIN`]: equal devices all take part.
//! - Up to `SUBSET_PEERS_MAX` peers every order is searched, by one table over the sets of peers behind a stage; beyond
//!   that a few sorted orders and what 2-opt makes of them, within `EVALUATIONS_MAX`.
//! - Peers on one shared medium also share its air time: a hop between two of them uses it twice.
//! - Bytes that a peer lacks are added up before seconds are compared, so that the same table says what is missing when nothing
//!   fits.
//!
//! The recurrence is that of PipeDream (SOSP'19, section 3.1) with unequal machines, links and memory.

mod assess;
mod orders;
mod polish;
mod problem;
mod rows;
mod speeds;
#[cfg(test)]
mod tests;

pub use assess::{Arrangement, Lack, NoFit, layers_in_words};
pub use problem::{Device, Hop, Hops, Problem};
pub use speeds::{Measured, devices};

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
    let mut search = orders::Search::new(problem);
    let mut arrangements = Vec::new();
    let mut refusal = None;
    for shards in search.candidates() {
        match problem.assess(&shards) {
            Ok(arrangement) => arrangements.push(arrangement),
            Err(no_fit) => refusal = Some(no_fit),
        }
    }
    if arrangements.is_empty() {
        return Err(refusal.expect("a search gives at least one candidate"));
    }
    // Where credits are clamped, both neighbours of a link have a say, which is more than the table can see.
    let clamped = fastest_seconds(&arrangements) > search.seconds_unclamped() * (1.0 + SKIP_GAIN);
    if clamped && problem.devices.len() <= orders::SUBSET_PEERS_MAX {
        let polished = arrangements
            .iter()
            .map(|arrangement| polish::polished(problem, arrangement.clone()));
        let polished: Vec<Arrangement> = polished.collect();
        arrangements.extend(polished);
    }
    let seconds = fastest_seconds(&arrangements);
    let close = arrangements
        .into_iter()
        .filter(|arrangement| arrangement.seconds <= seconds * (1.0 + SKIP_GAIN));
    // Of those with equally many peers the fastest; of equally fast ones the first, which is the most even.
    let chosen = close.reduce(|best, other| {
        let more = other.order.len() > best.order.len();
        let faster = other.order.len() == best.order.len()
            && other.seconds < best.seconds * (1.0 - rows::ROUNDING);
        if more || faster { other } else { best }
    });
    Ok(Planned {
        arrangement: chosen.expect("the fastest is close to itself"),
        evaluations: search.evaluations(),
    })
}

fn fastest_seconds(arrangements: &[Arrangement]) -> f64 {
    let seconds = arrangements.iter().map(|arrangement| arrangement.seconds);
    seconds.fold(f64::INFINITY, f64::min)
}
