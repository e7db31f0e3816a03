//! What a device with a whole model has to hold, by the very formula by which rings are refused (`StageCost::memory_bytes`: weights,
//! gradients, the optimizer's memory, activations kept for the backward, inputs that wait), with the least that works, as for rings. A worker is a
//! stage of all layers that works its share of the batch off one micro-batch after the other; a shard one of what it owns, without
//! activations, where one range of each worker may wait. Buffers of the transport are in neither.

use crate::cell::ModelCosts;
use ringtmp_core::parameter_server::{Job, MemberIndex, RANGE_ELEMENTS_MAX, WorkerIndex};
use ringtmp_core::schedule::{Limits, ScheduleSpec, StageCost};

/// Of a number, while it waits to be counted.
const NUMBER_BYTES: u64 = 4;

/// One micro-batch at a time.
const ONE: Limits = Limits {
    credit: 1,
    weights_pending: 1,
    slots: 1,
};

/// The first member that lacks memory, if one does, in words.
pub(crate) fn lacking(
    job: &Job,
    costs: &ModelCosts,
    sample_bytes: u64,
    spec: &ScheduleSpec,
    given: impl Fn(MemberIndex) -> u64,
) -> Option<String> {
    let members = (0..job.layout.members).map(MemberIndex);
    let mut lacks = members.filter_map(|member| {
        let worker = job.layout.worker_at(member);
        let serves = job.layout.serves(member);
        let needed = worker_bytes(worker, costs, sample_bytes, spec)
            .saturating_add(shard_bytes(job, member, spec))
            .saturating_add(job.copies_bytes(member));
        let given = given(member);
        let what = match (worker, serves) {
            (Some(_), false) => "the whole model",
            (Some(_), true) => "the whole model and its shard",
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

/// As a stage of the whole model that leaves updates to others.
fn worker_bytes(
    worker: Option<WorkerIndex>,
    costs: &ModelCosts,
    sample_bytes: u64,
    spec: &ScheduleSpec,
) -> u64 {
    if worker.is_none() {
        return 0;
    }
    let samples = u64::from(spec.micro_batch_samples);
    let stash: u64 = costs.layers.iter().map(|layer| layer.stash_bytes).sum();
    let stage = StageCost {
        parameters: costs.parameters(),
        stash_bytes: stash.saturating_mul(samples),
        input_bytes: sample_bytes.saturating_mul(samples),
        ..StageCost::default()
    };
    let spec = ScheduleSpec {
        optimizer_numbers: 0,
        ..*spec
    };
    stage.memory_bytes(ONE, None, &spec, 1)
}

/// As a stage of what it owns, with one range of each worker that waits.
fn shard_bytes(job: &Job, member: MemberIndex, spec: &ScheduleSpec) -> u64 {
    let owned = job.layout.ranges_at(member);
    let owned = owned.map(|range| u64::from(job.layout.ranges[range.0 as usize].elements));
    let owned: u64 = owned.sum();
    if owned == 0 {
        return 0;
    }
    let workers = job.layout.workers.len() as u64;
    let stage = StageCost {
        parameters: owned,
        input_bytes: NUMBER_BYTES * owned.min(RANGE_ELEMENTS_MAX.into()) * workers,
        ..StageCost::default()
    };
    stage.memory_bytes(ONE, Some(1), spec, 1)
}
