//! Arenas: many small tensors in one buffer.

use crate::recording::{BufferId, Lifetime, Plan, View};

/// Where an arena ends: half of the 128 MiB that every GPU can bind, so that a parameter more fits.
const ARENA_WORDS_MAX: usize = 16 * 1024 * 1024;

/// Buffers that hold many small tensors, so that an update is one operation.
#[derive(Clone)]
pub(super) struct Arenas {
    label: &'static str,
    lifetime: Lifetime,
    /// The arenas.
    pub(super) buffers: Vec<BufferId>,
}

impl Arenas {
    /// None yet.
    pub(super) fn new(label: &'static str, lifetime: Lifetime) -> Self {
        Self {
            label,
            lifetime,
            buffers: Vec::new(),
        }
    }

    /// Finds a place at the end of the last arena, or begins another.
    pub(super) fn place(&mut self, plan: &mut Plan, words: usize) -> View {
        if let Some(buffer) = self.buffers.last() {
            let arena = &mut plan.buffers[buffer.0].words;
            let offset = arena.next_multiple_of(View::ALIGNMENT_WORDS);
            if offset + words <= ARENA_WORDS_MAX {
                *arena = offset + words;
                return View {
                    buffer: *buffer,
                    offset,
                    elements: words,
                };
            }
        }
        let view = plan.buffer(self.label, words, self.lifetime);
        self.buffers.push(view.buffer);
        view
    }
}
