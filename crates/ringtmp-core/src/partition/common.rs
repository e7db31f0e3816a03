//! What all links cost alike is the price of being a ring, which is what a room is opened for: it must not speak against anybody's
//! part in it. What one link costs more than the others does.

use super::assess::{Arrangement, NoFit};
use super::problem::Problem;
use super::{arrange, settle};

/// By how much links may differ and still count as alike: measured within a second beside whatever else devices do, equal ones
/// have been seen to differ by as much.
const ALIKE: f64 = 4.0;

/// The search for cuts goes from eased links to the true ones in steps of at least this factor, so that a few suffice.
const EASE_STEP_MIN: f64 = 4.0;

/// And in at most so many, however slow a link claims to be: each is a search of its own.
const EASE_STEPS_MAX: i32 = 3;

/// Arranges layers on all peers but those that would hold up the others: who takes part is decided as if links could keep up
/// with what devices can compute; cuts and order are those with the truest links under which still all of these take part; and
/// limits are those of the true ones.
///
/// # Errors
///
/// Who lacks how much memory, in the arrangement that lacks least.
///
/// # Panics
///
/// Without a peer or a layer.
pub fn arrange_together(problem: &Problem) -> Result<Arrangement, NoFit> {
    let mut ease = problem.ease();
    let step = ease
        .powf(1.0 / f64::from(EASE_STEPS_MAX))
        .max(EASE_STEP_MIN);
    let together = arrange(&problem.eased(ease))?.arrangement;
    let mut best = settle(problem, &together.shards());
    for _ in 0..EASE_STEPS_MAX {
        if ease <= 1.0 {
            break;
        }
        ease = (ease / step).max(1.0);
        let truer = arrange(&problem.eased(ease))?.arrangement;
        if truer.order.len() < together.order.len() {
            break;
        }
        best = match (best, settle(problem, &truer.shards())) {
            (Ok(best), Ok(truer)) if best.seconds <= truer.seconds => Ok(best),
            (best, Err(_)) => best,
            (_, Ok(truer)) => Ok(truer),
        };
    }
    // With longer ways more is kept on its way, for which there may be no memory: then the true links decide everything.
    best.or_else(|_| Ok(arrange(problem)?.arrangement))
}

impl Problem {
    /// By what factor links have to be faster so that any but a bad one could keep up with all devices together; at least 1.
    fn ease(&self) -> f64 {
        let factor = ALIKE * self.link_seconds() / self.compute_seconds();
        if factor.is_finite() {
            factor.max(1.0)
        } else {
            1.0
        }
    }

    /// The same devices with links that are all so many times faster, and nearer by the delay of the nearest. A shared medium stays as it
    /// is: there each device more does cost the others air time.
    fn eased(&self, factor: f64) -> Self {
        let mut eased = self.clone();
        if factor > 1.0 {
            eased.hops = self.hops.eased(factor);
        }
        eased
    }

    /// What a micro-batch would take if all devices shared its work perfectly.
    fn compute_seconds(&self) -> f64 {
        let whole = |device: usize| -> f64 {
            let cost = self.stage(device, 0..self.layers.len(), None);
            cost.seconds.iter().sum()
        };
        let speeds = (0..self.devices.len()).map(|device| 1.0 / whole(device));
        1.0 / speeds.sum::<f64>()
    }

    /// What a usual link takes for the most there is to send, or its delay if that is longer.
    fn link_seconds(&self) -> f64 {
        let usual = self.hops.usual();
        let codec = self.codec.usual();
        let bytes = (1..self.layers.len()).map(|boundary| self.sent_bytes(boundary, codec));
        let bytes = bytes.max().unwrap_or(0);
        usual.transfer_seconds(bytes).max(usual.delay_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::problem;
    use super::super::{Hop, Hops, arrange};
    use super::*;

    fn linked(speeds: &[f64], hop: Hop) -> Problem {
        let mut problem = problem(&[1.0; 6], speeds);
        for layer in &mut problem.layers {
            layer.output_bytes = 1000;
        }
        problem.hops = Hops::all(hop);
        problem
    }

    fn peers(problem: &Problem) -> usize {
        arrange_together(problem).expect("it fits").order.len()
    }

    const SLOW: Hop = Hop {
        delay_seconds: 50.0,
        bytes_per_second: Some(10.0),
    };

    #[test]
    fn links_that_are_slow_for_all_leave_nobody_out() {
        let equal = linked(&[1.0; 3], SLOW);
        assert_eq!(arrange(&equal).expect("it fits").arrangement.order.len(), 1);
        assert_eq!(peers(&equal), 3);
    }

    #[test]
    fn a_device_that_holds_up_the_others_is_left_out_all_the_same() {
        assert_eq!(peers(&linked(&[1.0, 1.0, 0.01], SLOW)), 2);
        let mut badly_linked = linked(
            &[1.0; 3],
            Hop {
                delay_seconds: 0.0,
                bytes_per_second: Some(1e5),
            },
        );
        badly_linked.hops.set(0, 2, SLOW);
        badly_linked.hops.set(1, 2, SLOW);
        assert_eq!(peers(&badly_linked), 2);
    }

    #[test]
    fn links_that_keep_up_change_nothing() {
        let quick = linked(
            &[1.0, 2.0, 3.0],
            Hop {
                delay_seconds: 0.0,
                bytes_per_second: Some(1e6),
            },
        );
        let plainly = arrange(&quick).expect("it fits").arrangement;
        assert_eq!(arrange_together(&quick), Ok(plainly));
    }

    #[test]
    fn among_slow_links_cuts_are_where_little_crosses() {
        let mut narrow = linked(&[1.0; 2], SLOW);
        for (layer, bytes) in narrow
            .layers
            .iter_mut()
            .zip([9000, 9000, 9000, 9000, 10, 9000])
        {
            layer.output_bytes = bytes;
        }
        let arranged = arrange_together(&narrow).expect("it fits");
        assert_eq!(arranged.cuts, [0, 5, 6]);
    }
}
