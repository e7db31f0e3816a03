//! What a lobby looks at before it lets anything in.

use super::Limits;
use crate::signal::{
    Asking, ClientMessage, PROTOCOL_VERSION, RUN_FILE_BYTES_MAX, Refusal, RunDescriptor,
};

/// Bytes of a text that cost as much as a message: candidates are shorter, descriptions of a session have 1 to 5 kB, and the
/// costs of the longest run cost 8 messages. Without it, messages of the greatest length would be 13 MB a second.
const BYTES_PER_MESSAGE: usize = 16 * 1024;

/// What coming in, or asking for it, costs beyond a message: all members of a room hear of it, who may be 64.
const ENTRY_MESSAGES: f64 = 10.0;

/// How many messages a text counts as.
pub(super) fn cost(text: &str) -> f64 {
    1.0 + (text.len() / BYTES_PER_MESSAGE) as f64
}

/// How many messages more it counts as, now that it is read.
pub(super) fn cost_more(message: &ClientMessage) -> f64 {
    match message {
        ClientMessage::Create { .. }
        | ClientMessage::Join { .. }
        | ClientMessage::Asking(Asking::Ask { .. })
        | ClientMessage::Return { .. } => ENTRY_MESSAGES,
        _ => 0.0,
    }
}

pub(super) fn protocol(theirs: u16) -> Result<(), Refusal> {
    if theirs == PROTOCOL_VERSION {
        Ok(())
    } else {
        Err(Refusal::Version {
            ours: PROTOCOL_VERSION,
            theirs,
        })
    }
}

pub(super) fn run(run: &RunDescriptor, limits: &Limits) -> Result<(), Refusal> {
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
