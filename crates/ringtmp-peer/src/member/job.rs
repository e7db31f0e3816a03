//! What all members of a run agree on.

use crate::run_file::Run;
use ringtmp_core::parameter_server::{
    Codecs, CopySpec, Job, Layout, LayoutError, MemberIndex, RunDigest, Wanted,
};
use ringtmp_core::signal::PROTOCOL_VERSION;
use sha2::{Digest, Sha256};

/// Says who does what in a run, by so many members of these speeds (none where all are equal).
///
/// # Errors
///
/// Why the members cannot share the run.
///
/// # Panics
///
/// If the run's paradigm is the ring.
pub fn member_job(run: &Run, members: u16, speeds: &[f64]) -> Result<Job, LayoutError> {
    let file = &run.file;
    let exchange = file.exchange().expect("the paradigm is not the ring");
    let table = &file.parameter_server;
    let parameters: Vec<u64> = run.layers.iter().map(|layer| layer.parameters).collect();
    let wanted = Wanted {
        exchange,
        placement: table.placement(),
        shards: table.shards(),
        members,
        parameters: &parameters,
        micro_batches: run.micro_batches(),
        speeds,
    };
    Ok(job_of(run, Layout::new(&wanted)?))
}

/// What all members agree on who share a run so.
pub(super) fn job_of(run: &Run, layout: Layout) -> Job {
    let (file, table) = (&run.file, &run.file.parameter_server);
    let outline = run.descriptor().outline;
    let codecs = Codecs::of(file.codec);
    let remembered = outline.schedule.optimizer_numbers;
    let copies = CopySpec::new(outline.replication, &layout, codecs.weights, remembered);
    Job {
        run: digest(run, &layout, copies),
        copies,
        layout,
        staleness: table.staleness(),
        steps: file.steps,
        // As many as an outline can have.
        layers: u16::try_from(run.layers.len()).unwrap_or(u16::MAX),
        codecs,
        evaluate_every: file.evaluate_every,
        evaluation_micro_batches: outline.evaluation_micro_batches,
    }
}

/// Of everything that members must have in common.
fn digest(run: &Run, layout: &Layout, copies: Option<CopySpec>) -> RunDigest {
    let mut hash = Sha256::new();
    hash.update(PROTOCOL_VERSION.to_le_bytes());
    hash.update(run.file.to_toml().as_bytes());
    hash.update(layout.members.to_le_bytes());
    for share in &layout.shares {
        hash.update(share.to_le_bytes());
    }
    for MemberIndex(place) in layout.workers.iter().chain(&layout.shards) {
        hash.update(place.to_le_bytes());
    }
    let every = copies.map_or(0, |spec| spec.every);
    hash.update(every.to_le_bytes());
    RunDigest(hash.finalize().into())
}
