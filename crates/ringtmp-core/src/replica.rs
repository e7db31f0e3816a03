//! Copies of layers: which ones a peer holds, and how they go from stage to stage.
//!
//! A copy is a layer as it was after some number of updates: its weights, older versions of them where the schedule needs
//! those, and what the optimizer remembers. Core knows how many bytes it has and where it lies, the shell has the bytes.
//!
//! Copies go forward round the ring in pieces, behind the tensors, two pieces at a time: so that an activation never waits
//! behind more than 128 KiB; where a version is on its way to third disks as well, behind another 64 KiB for each that passes. Each
//! piece is acknowledged, backward round the ring.

use crate::ids::{LayerIndex, StageIndex, Version};
use crate::plan::LayerCost;
use crate::schedule::{ScheduleSpec, numbers_copied};
use crate::wire::{PIECE_BYTES_MAX, Piece};
use std::collections::{BTreeMap, VecDeque};

/// Pieces on their way at a time: one travels while the other is acknowledged.
const PIECES_MAX: u64 = 2;

/// Of copies that nobody waits for.
const PIECES_MAX_UNHURRIED: u64 = 1;

/// Bytes of a number.
const NUMBER_BYTES: u64 = 4;

/// Versions of a layer that lie with its owner, and as many with its buddy: the stable one, and the one that is being copied. What is on its way
/// to a third disk, or to who collects the model, lies there besides.
pub const VERSIONS_HELD: u16 = 2;

/// A layer as it was after so many updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CopyId {
    /// Updates it has seen.
    pub version: Version,
    /// Which layer.
    pub layer: LayerIndex,
}

/// The most bytes of a layer's copy.
pub fn copy_bytes_max(layer: &LayerCost, spec: &ScheduleSpec) -> u64 {
    weights_bytes(layer).saturating_mul(numbers_copied(spec))
}

/// Bytes of a layer's weights alone.
pub fn weights_bytes(layer: &LayerCost) -> u64 {
    layer.parameters.saturating_mul(NUMBER_BYTES)
}

/// The whole copies that a peer holds, with their bytes.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    held: BTreeMap<CopyId, u64>,
}

impl Ledger {
    pub(crate) fn add(&mut self, copy: CopyId, bytes: u64) {
        self.held.insert(copy, bytes);
    }

    pub(crate) fn bytes(&self, copy: CopyId) -> Option<u64> {
        self.held.get(&copy).copied()
    }

    /// Keeps these copies, and names those that are to be forgotten.
    pub(crate) fn keep(&mut self, which: impl Fn(&CopyId) -> bool) -> Vec<CopyId> {
        let gone = self.held.keys().filter(|copy| !which(copy));
        let gone: Vec<CopyId> = gone.copied().collect();
        self.held.retain(|copy, _| which(copy));
        gone
    }

    /// The layers that are held of a version.
    pub(crate) fn layers(&self, version: Version) -> Vec<LayerIndex> {
        let copies = self.held.keys().filter(|copy| copy.version == version);
        copies.map(|copy| copy.layer).collect()
    }

    /// What is held, version by version.
    pub(crate) fn versions(&self) -> Vec<(Version, Vec<LayerIndex>)> {
        let mut versions: BTreeMap<Version, Vec<LayerIndex>> = BTreeMap::new();
        for copy in self.held.keys() {
            versions.entry(copy.version).or_default().push(copy.layer);
        }
        versions.into_iter().collect()
    }
}

#[derive(Clone, Copy, Debug)]
struct Transfer {
    copy: CopyId,
    total: u64,
    to: StageIndex,
}

/// The copies that a stage sends, one after the other.
#[derive(Debug)]
pub(crate) struct Sending {
    pieces_max: u64,
    queue: VecDeque<Transfer>,
    /// Bytes of the first that were sent, and that are there.
    sent: u64,
    there: u64,
}

impl Default for Sending {
    fn default() -> Self {
        Self::with(PIECES_MAX)
    }
}

impl Sending {
    /// One that is in no hurry.
    pub(crate) fn unhurried() -> Self {
        Self::with(PIECES_MAX_UNHURRIED)
    }

    fn with(pieces_max: u64) -> Self {
        Self {
            pieces_max,
            queue: VecDeque::new(),
            sent: 0,
            there: 0,
        }
    }

    pub(crate) fn push(&mut self, copy: CopyId, total: u64, to: StageIndex) {
        self.queue.push_back(Transfer { copy, total, to });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes that are not there yet.
    pub(crate) fn bytes_left(&self) -> u64 {
        let all: u64 = self.queue.iter().map(|transfer| transfer.total).sum();
        all - self.there
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether it is being sent, or to be sent.
    pub(crate) fn has(&self, copy: &CopyId) -> bool {
        self.queue.iter().any(|transfer| transfer.copy == *copy)
    }

    /// Whether it is being sent.
    pub(crate) fn is_at(&self, copy: CopyId) -> bool {
        let first = self.queue.front();
        first.is_some_and(|first| first.copy == copy)
    }

    /// The next piece, unless enough are on their way.
    pub(crate) fn next(&mut self, from: StageIndex) -> Option<Piece> {
        let Transfer { copy, total, to } = *self.queue.front()?;
        let ahead = self.sent - self.there;
        if self.sent == total || ahead >= self.pieces_max * u64::from(PIECE_BYTES_MAX) {
            return None;
        }
        let offset = self.sent;
        let bytes = (total - offset).min(u64::from(PIECE_BYTES_MAX)) as u32;
        self.sent += u64::from(bytes);
        Some(Piece {
            from,
            to,
            version: copy.version,
            layer: copy.layer,
            total,
            offset,
            bytes,
        })
    }

    /// So much of a copy is there: whether that can be. What was acknowledged in one go (the receiver had it already) may be
    /// acknowledged again.
    pub(crate) fn acknowledged(&mut self, copy: CopyId, received: u64) -> bool {
        let Some(first) = self.queue.front() else {
            return true;
        };
        if first.copy != copy {
            return true;
        }
        if received < self.there || received > first.total {
            return false;
        }
        self.there = received;
        self.sent = self.sent.max(received);
        if received == first.total {
            self.queue.pop_front();
            (self.sent, self.there) = (0, 0);
        }
        true
    }
}

/// What comes in of copies, and who may send it.
#[derive(Debug, Default)]
pub(crate) struct Receiving {
    partial: BTreeMap<CopyId, u64>,
}

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// It goes on the others; so many bytes are here now.
    Stored(u64),
    /// Likewise, and it was the last.
    Whole(u64),
    /// Not the next one, or past the end.
    OutOfOrder,
}

impl Receiving {
    /// Takes a piece of a copy.
    pub(crate) fn take(&mut self, piece: &Piece) -> Received {
        let copy = piece.copy();
        let here = self.partial.get(&copy).copied().unwrap_or_default();
        let after = here + u64::from(piece.bytes);
        if piece.offset != here || piece.bytes == 0 || after > piece.total {
            return Received::OutOfOrder;
        }
        if after == piece.total {
            self.partial.remove(&copy);
            return Received::Whole(after);
        }
        self.partial.insert(copy, after);
        Received::Stored(after)
    }
}

/// Copies that others send: of each sender one at a time, so that none of them can make a device hold more.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    of: BTreeMap<StageIndex, Under>,
}

/// A copy that is coming.
#[derive(Clone, Copy, Debug)]
struct Under {
    copy: CopyId,
    here: u64,
    total: u64,
}

impl Flow {
    /// Takes a piece. Each copy begins when the one before it is whole.
    pub(crate) fn take(&mut self, piece: &Piece) -> Received {
        let new = Under {
            copy: piece.copy(),
            here: 0,
            total: piece.total,
        };
        let under = self.of.entry(piece.from).or_insert(new);
        if under.here == under.total && under.copy != new.copy {
            *under = new;
        }
        let after = under.here.saturating_add(u64::from(piece.bytes));
        let is_next = (under.copy, under.total, under.here) == (new.copy, new.total, piece.offset);
        if !is_next || piece.bytes == 0 || after > under.total {
            return Received::OutOfOrder;
        }
        under.here = after;
        if after == under.total {
            Received::Whole(after)
        } else {
            Received::Stored(after)
        }
    }

    /// Likewise, where a copy that is whole may come once more.
    pub(crate) fn take_again(&mut self, piece: &Piece) -> Received {
        let is_whole = |under: &Under| under.here == under.total;
        if self.of.get(&piece.from).is_some_and(is_whole) {
            self.of.remove(&piece.from);
        }
        self.take(piece)
    }

    /// Those that began.
    pub(crate) fn copies(&self) -> impl Iterator<Item = CopyId> {
        self.of.values().map(|under| under.copy)
    }
}

impl Piece {
    /// Of which copy it is.
    pub const fn copy(&self) -> CopyId {
        CopyId {
            version: self.version,
            layer: self.layer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COPY: CopyId = CopyId {
        version: Version(3),
        layer: LayerIndex(1),
    };

    #[test]
    fn a_copy_arrives_whole_whatever_its_length_and_no_more_than_two_pieces_are_on_their_way() {
        let piece_bytes = u64::from(PIECE_BYTES_MAX);
        for total in [1, piece_bytes, piece_bytes + 1, 5 * piece_bytes + 7] {
            let (mut sending, mut receiving) = (Sending::default(), Receiving::default());
            sending.push(COPY, total, StageIndex(2));
            let mut on_their_way = VecDeque::new();
            let mut whole = false;
            while !sending.is_empty() {
                on_their_way.extend(std::iter::from_fn(|| sending.next(StageIndex(0))));
                assert!(on_their_way.len() <= 2, "{total}");
                let piece = on_their_way.pop_front().expect("something is on its way");
                let received = match receiving.take(&piece) {
                    Received::Stored(received) => received,
                    Received::Whole(received) => {
                        whole = true;
                        received
                    }
                    Received::OutOfOrder => panic!("{piece:?}"),
                };
                assert!(sending.acknowledged(COPY, received));
            }
            assert!(whole && on_their_way.is_empty(), "{total}");
        }
    }

    #[test]
    fn a_receiver_that_has_the_copy_says_so_at_once_and_a_lying_one_is_found_out() {
        let total = 10 * u64::from(PIECE_BYTES_MAX);
        let mut sending = Sending::default();
        sending.push(COPY, total, StageIndex(1));
        let other = CopyId {
            layer: LayerIndex(2),
            ..COPY
        };
        sending.push(other, 5, StageIndex(1));
        assert!(sending.next(StageIndex(0)).is_some());
        assert!(!sending.acknowledged(COPY, total + 1));
        assert!(sending.acknowledged(COPY, total));
        assert!(sending.acknowledged(COPY, total), "late, of what is done");
        let next = sending.next(StageIndex(0)).expect("the next copy");
        assert_eq!((next.layer, next.bytes), (LayerIndex(2), 5));
    }

    #[test]
    fn pieces_out_of_order_repeated_or_past_the_end_are_found_out() {
        let piece = |offset, bytes| Piece {
            from: StageIndex(0),
            to: StageIndex(1),
            version: Version(3),
            layer: LayerIndex(1),
            total: 100,
            offset,
            bytes,
        };
        let mut receiving = Receiving::default();
        assert_eq!(receiving.take(&piece(50, 50)), Received::OutOfOrder);
        assert_eq!(receiving.take(&piece(0, 0)), Received::OutOfOrder);
        assert_eq!(receiving.take(&piece(0, 60)), Received::Stored(60));
        assert_eq!(receiving.take(&piece(0, 60)), Received::OutOfOrder);
        assert_eq!(receiving.take(&piece(60, 41)), Received::OutOfOrder);
        assert_eq!(receiving.take(&piece(60, 40)), Received::Whole(100));
    }

    #[test]
    fn of_each_sender_one_copy_comes_at_a_time() {
        let piece = |from, layer, offset, bytes| Piece {
            from: StageIndex(from),
            to: StageIndex(9),
            version: Version(3),
            layer: LayerIndex(layer),
            total: 100,
            offset,
            bytes,
        };
        let mut flow = Flow::default();
        assert_eq!(flow.take(&piece(0, 1, 0, 60)), Received::Stored(60));
        assert_eq!(flow.take(&piece(1, 4, 0, 10)), Received::Stored(10));
        let early = flow.take(&piece(0, 2, 0, 60));
        assert_eq!(early, Received::OutOfOrder, "the first is not whole");
        assert_eq!(flow.take(&piece(0, 1, 0, 60)), Received::OutOfOrder);
        assert_eq!(flow.take(&piece(0, 1, 60, 41)), Received::OutOfOrder);
        assert_eq!(flow.take(&piece(0, 1, 60, 40)), Received::Whole(100));
        let again = flow.take(&piece(0, 1, 0, 60));
        assert_eq!(again, Received::OutOfOrder, "it is here");
        assert_eq!(flow.take(&piece(0, 2, 0, 100)), Received::Whole(100));
        assert_eq!(flow.take_again(&piece(0, 2, 0, 100)), Received::Whole(100));
        let early = flow.take_again(&piece(1, 5, 0, 10));
        assert_eq!(early, Received::OutOfOrder, "the first is not whole");
        let copies: Vec<LayerIndex> = flow.copies().map(|copy| copy.layer).collect();
        assert_eq!(copies, [LayerIndex(2), LayerIndex(4)]);
    }

    #[test]
    fn a_ledger_forgets_what_it_is_told_to_and_says_what_it_holds() {
        let copy = |version, layer| CopyId {
            version: Version(version),
            layer: LayerIndex(layer),
        };
        let mut ledger = Ledger::default();
        for (version, layer) in [(1, 0), (1, 1), (2, 1)] {
            ledger.add(copy(version, layer), 8);
        }
        let layers = |layers: &[u16]| layers.iter().copied().map(LayerIndex).collect();
        let expected = vec![(Version(1), layers(&[0, 1])), (Version(2), layers(&[1]))];
        assert_eq!(ledger.versions(), expected);
        let gone = ledger.keep(|copy| copy.version == Version(2));
        assert_eq!(gone, [copy(1, 0), copy(1, 1)]);
        assert_eq!(ledger.bytes(copy(2, 1)), Some(8));
        assert_eq!(ledger.bytes(copy(1, 1)), None);
    }
}
