//! One lane of a link: frames that are cut into chunks, and chunks that become frames.

use crate::error::LinkError;
use crate::link::queue_bytes_max;
use ringtmp_core::wire::{Assembler, CHUNK_BYTES_MAX, Lane, cut};
use std::collections::VecDeque;

/// What a frame that waits to be read costs beside its bytes; with it, many tiny frames cannot evade a limit in bytes.
const ENTRY_BYTES: usize = 64;

/// What waits on one lane, to be sent and to be read.
pub(crate) struct LaneState {
    outgoing: VecDeque<Vec<u8>>,
    pub(crate) outgoing_bytes: usize,
    assembler: Assembler,
    pub(crate) incoming: VecDeque<Vec<u8>>,
    pub(crate) incoming_bytes: usize,
}

impl LaneState {
    pub(crate) fn new(lane: Lane) -> Self {
        Self {
            outgoing: VecDeque::new(),
            outgoing_bytes: 0,
            assembler: Assembler::new(lane),
            incoming: VecDeque::new(),
            incoming_bytes: 0,
        }
    }

    pub(crate) fn queue(&mut self, chunks: impl IntoIterator<Item = Vec<u8>>) {
        for chunk in chunks {
            self.outgoing_bytes += chunk.len();
            self.outgoing.push_back(chunk);
        }
    }

    pub(crate) fn unqueue(&mut self, longest: usize) -> Option<Vec<u8>> {
        let mut chunk = self.outgoing.pop_front()?;
        self.outgoing_bytes -= chunk.len();
        // What is no chunk, which only tests of broken peers send, goes as it is.
        let rest = (chunk.len() <= CHUNK_BYTES_MAX).then(|| cut(&mut chunk, longest));
        if let Some(rest) = rest.flatten() {
            self.outgoing_bytes += rest.len();
            self.outgoing.push_front(rest);
        }
        Some(chunk)
    }

    /// Takes a chunk; true if it completed a frame.
    pub(crate) fn accept(&mut self, lane: Lane, chunk: &[u8]) -> Result<bool, LinkError> {
        let (waiting, limit) = (self.incoming_bytes, queue_bytes_max(lane));
        let Some(frame) = self.assembler.push(chunk)? else {
            return Ok(false);
        };
        let cost = frame.len() + ENTRY_BYTES;
        if waiting > 0 && waiting + cost > limit {
            return Err(LinkError::Overrun {
                lane,
                waiting,
                limit,
            });
        }
        self.incoming_bytes += cost;
        self.incoming.push_back(frame);
        Ok(true)
    }

    pub(crate) fn take_frame(&mut self) -> Option<Vec<u8>> {
        let frame = self.incoming.pop_front()?;
        self.incoming_bytes -= frame.len() + ENTRY_BYTES;
        Some(frame)
    }
}
