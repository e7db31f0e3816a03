//! How long a ring may take.

use crate::scenario::Scenario;
use ringtmp_core::plan::Plan;
use ringtmp_core::replica::copy_bytes_max;
use ringtmp_core::schedule::DataSource;
use ringtmp_core::wire::PIECE_BYTES_MAX;
use std::time::Duration;

/// Bytes that a frame may have beside its tensors.
const HEADER_BYTES: u64 = 128;

/// The longest that a step may take from the commit of the one before: every micro-batch that can come between them (those of
/// the step, of its evaluation, and those that run ahead of it with theirs) alone in the ring, each task at its longest jitter.
pub fn step_bound(scenario: &Scenario, plan: &Plan, order: &[usize]) -> Duration {
    let outline = &scenario.outline;
    // A frame waits behind no more of copies: two pieces for the buddy, and one from every stage for a third disk.
    let pieces = 2 + plan.thirds.len() as u64;
    let copies = if outline.replication.is_on() {
        pieces * (u64::from(PIECE_BYTES_MAX) + HEADER_BYTES)
    } else {
        0
    };
    let mut alone = 0.0;
    let mut updates = 0.0;
    for (i, pair) in plan.cuts.windows(2).enumerate() {
        let (device, next) = (order[i], order.get(i + 1).copied());
        let layers = usize::from(pair[0])..usize::from(pair[1]);
        alone += scenario.micro_batch_seconds(device, &layers) * scenario.jitter_max();
        updates += scenario.devices[device].update_seconds * scenario.jitter_max();
        let is_tail = next.is_none();
        let next = next.unwrap_or(order[0]);
        let link = scenario.links.get(device, next);
        let hop = |bytes: u64| {
            let bytes = bytes + HEADER_BYTES + copies;
            let leaves = link.transfer_seconds(bytes) + scenario.air_seconds(device, next, bytes);
            link.delay_seconds + leaves
        };
        if outline.schedule.clips_gradients {
            // The squares, and the lap of their sum.
            updates += scenario.devices[device].update_seconds * scenario.jitter_max();
            updates += if is_tail { 0.0 } else { 2.0 * hop(0) };
        }
        if !is_tail {
            alone += 2.0 * hop(scenario.tensor_bytes(layers.end, outline.codec.usual()));
        }
        if outline.source == DataSource::Every {
            alone += hop(scenario.samples_bytes());
        }
    }
    let ahead = plan.limits.iter().map(|limits| limits.slots).max();
    let ahead = ahead.unwrap_or(0);
    // Steps that run ahead are evaluated before as well.
    let steps = 1 + ahead.div_ceil(outline.micro_batches.max(1));
    let between = f64::from(outline.micro_batches)
        + f64::from(outline.evaluation_micro_batches) * f64::from(steps)
        + f64::from(ahead);
    // Rounding to virtual time, a microsecond a task at most.
    Duration::from_secs_f64((alone + 1e-4) * between + updates)
}

/// The longest that a ring waits, at rest, until a version of every stage lies with its successor: all pieces one after the other, each
/// acknowledged before the next leaves.
pub(super) fn rest_bound(scenario: &Scenario, plan: &Plan, order: &[usize]) -> Duration {
    let outline = &scenario.outline;
    if !outline.replication.is_on() || order.len() < 2 {
        return Duration::ZERO;
    }
    let stages = plan.cuts.windows(2).enumerate().map(|(i, pair)| {
        let (device, next) = (order[i], order[(i + 1) % order.len()]);
        let layers = &outline.layers[usize::from(pair[0])..usize::from(pair[1])];
        let pieces = layers.iter().map(|layer| {
            let bytes = copy_bytes_max(layer, &outline.schedule);
            bytes.div_ceil(PIECE_BYTES_MAX.into())
        });
        let (link, bytes) = (
            scenario.links.get(device, next),
            u64::from(PIECE_BYTES_MAX) + HEADER_BYTES,
        );
        let piece = link.transfer_seconds(bytes) + scenario.air_seconds(device, next, bytes);
        pieces.sum::<u64>() as f64 * (piece + 2.0 * link.delay_seconds)
    });
    Duration::from_secs_f64(stages.sum())
}
