//! Numbers that a member holds under ids.

use super::craft::Made;
use ringtmp_compute::{Format, Packed};
use ringtmp_core::ids::PayloadId;
use ringtmp_core::parameter_server::{Numbers, Outcome};
use ringtmp_core::wire::{Codec, WireError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Numbers by id. Bounded by the member: what is under way, and for each range the newest weights.
#[derive(Debug, Default)]
pub(super) struct Desk {
    held: BTreeMap<PayloadId, Arc<Packed>>,
    next: u64,
}

impl Desk {
    fn keep(&mut self, packed: Packed) -> PayloadId {
        self.keep_shared(Arc::new(packed))
    }

    /// Keeps what was kept before.
    pub(super) fn keep_shared(&mut self, packed: Arc<Packed>) -> PayloadId {
        let id = PayloadId(self.next);
        self.next += 1;
        self.held.insert(id, packed);
        id
    }

    /// Keeps what came over a link.
    pub(super) fn keep_bytes(
        &mut self,
        numbers: Numbers,
        bytes: Vec<u8>,
    ) -> Result<PayloadId, WireError> {
        let format = match numbers.codec {
            Codec::F32 => Format::F32,
            Codec::U32 => Format::U32,
            Codec::F16 => Format::F16,
            Codec::I8 { row } => Format::I8 { row: row as usize },
        };
        let packed = Packed::new(vec![numbers.elements as usize], format, bytes)
            .map_err(|_| WireError::Malformed("its numbers do not fit their length"))?;
        if !packed.is_finite() {
            return Err(WireError::NonFinite);
        }
        Ok(self.keep(packed))
    }

    /// Keeps what a task made.
    pub(super) fn keep_made(&mut self, made: Made) -> Outcome {
        match made {
            Made::Done => Outcome::Done,
            Made::Sums(sums) => Outcome::Sums(sums),
            Made::Gradients(gradients) => {
                let keep = |packed| self.keep(packed);
                Outcome::Gradients(gradients.into_iter().map(keep).collect())
            }
            Made::Numbers(packed) => Outcome::Numbers(self.keep(packed)),
            Made::Copied(slots) => {
                let keep = |packed| self.keep(packed);
                Outcome::Copied(slots.into_iter().map(keep).collect())
            }
        }
    }

    /// Numbers that are held.
    pub(super) fn get(&self, id: PayloadId) -> Arc<Packed> {
        let held = self.held.get(&id).cloned();
        held.expect("the member uses numbers before it discards them")
    }

    /// Forgets numbers.
    pub(super) fn discard(&mut self, id: PayloadId) {
        self.held.remove(&id);
    }
}
