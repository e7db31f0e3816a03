//! What a device with a whole model has to hold at least. Rings are refused by the room; nobody refuses these yet, so the least that works is
//! reckoned here, in their favour: buffers of the transport are left out.

use crate::cell::ModelCosts;
use ringtmp_core::parameter_server::{
    Job, MemberIndex, RANGE_ELEMENTS_MAX, ShardIndex, WorkerIndex,
};

/// Of a number.
const NUMBER_BYTES: u64 = 4;

/// Numbers for each that is learnt, at a worker: the weight and its gradient.
const WORKER_NUMBERS: u64 = 2;

/// The same at a shard, beside what the optimizer remembers: the weight and the sum of gradients.
const SHARD_NUMBERS: u64 = 2;

/// The first member that lacks memory, if one does, in words.
pub(crate) fn lacking(
    job: &Job,
    costs: &ModelCosts,
    micro_batch: u32,
    optimizer_numbers: u8,
    given: impl Fn(MemberIndex) -> u64,
) -> Option<String> {
    let members = (0..job.layout.members).map(MemberIndex);
    let mut lacks = members.filter_map(|member| {
        let worker = job.layout.worker_at(member);
        let shard = job.layout.shard_at(member);
        let needed = worker_bytes(worker, costs, micro_batch)
            .saturating_add(shard_bytes(job, shard, optimizer_numbers));
        let given = given(member);
        let what = match (worker, shard) {
            (Some(_), None) => "the whole model",
            (Some(_), Some(_)) => "the whole model and its shard",
            (None, _) => "its shard",
        };
        (needed > given).then(|| {
            let [lack, needed, given] =
                [needed - given, needed, given].map(|bytes| bytes as f64 / 1e6);
            format!(
                "device {} lacks {lack:.1} MB for {what} ({needed:.1} MB needed, {given:.1} MB given)",
                member.0 + 1
            )
        })
    });
    lacks.next()
}

/// Weights, gradients, and the activations of one micro-batch.
fn worker_bytes(worker: Option<WorkerIndex>, costs: &ModelCosts, micro_batch: u32) -> u64 {
    if worker.is_none() {
        return 0;
    }
    let stash: u64 = costs.layers.iter().map(|layer| layer.stash_bytes).sum();
    let numbers = costs
        .parameters()
        .saturating_mul(NUMBER_BYTES * WORKER_NUMBERS);
    numbers.saturating_add(stash.saturating_mul(micro_batch.into()))
}

/// What it owns, with the optimizer's memory, and one push at a time.
fn shard_bytes(job: &Job, shard: Option<ShardIndex>, optimizer_numbers: u8) -> u64 {
    let Some(shard) = shard else {
        return 0;
    };
    let ranges = job.layout.ranges.iter();
    let owned: u64 = ranges
        .filter(|range| range.shard == shard)
        .map(|range| u64::from(range.elements))
        .sum();
    let numbers = SHARD_NUMBERS + u64::from(optimizer_numbers);
    let push = owned.min(RANGE_ELEMENTS_MAX.into());
    NUMBER_BYTES * (owned.saturating_mul(numbers) + push)
}
