//! What is looked at before there is a room, or a member.

use super::interface::Limits;
use crate::signal::{PROTOCOL_VERSION, RUN_FILE_BYTES_MAX, Refusal, RunDescriptor};

pub(super) fn check_protocol(theirs: u16) -> Result<(), Refusal> {
    if theirs == PROTOCOL_VERSION {
        Ok(())
    } else {
        Err(Refusal::Version {
            ours: PROTOCOL_VERSION,
            theirs,
        })
    }
}

pub(super) fn check_run(run: &RunDescriptor, limits: &Limits) -> Result<(), Refusal> {
    let outline = &run.outline;
    let complaint = if run.toml.len() > RUN_FILE_BYTES_MAX {
        format!(
            "its file of {} bytes is over the limit of {RUN_FILE_BYTES_MAX}",
            run.toml.len()
        )
    } else if outline.start_at_peers > limits.members_max {
        format!(
            "it waits for {} devices; a room takes {}",
            outline.start_at_peers, limits.members_max
        )
    } else if let Some(Err(error)) = run.verifier.map(|verifier| verifier.check()) {
        error.to_string()
    } else if let Some(complaint) = outline.complaint() {
        complaint
    } else {
        return Ok(());
    };
    Err(Refusal::BadRun { detail: complaint })
}
