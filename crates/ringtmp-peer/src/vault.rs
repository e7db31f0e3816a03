//! The copies of layers that lie on this device, as bytes: weights one after the other (where the schedule needs older ones, the
//! oldest first), then what the optimizer remembers, all in 32-bit floats, little endian.

use crate::platform::Bytes;
use ringtmp_compute::{Parameter, Snapshot};
use ringtmp_core::ids::{LayerIndex, Version};
use ringtmp_core::replica::CopyId;
use ringtmp_core::wire::Piece;
use std::collections::BTreeMap;

/// Copies by layer and version. Bounded by the node: it holds at most two versions of its own stage, of its predecessor's, and
/// of what moves; until it is on a third disk another version of its predecessor's, and of each that it is the third of one layer; and
/// while somebody collects the model another of its own.
#[derive(Debug, Default)]
pub(crate) struct Vault {
    copies: BTreeMap<CopyId, Bytes>,
    /// The weights of the run's last version, once this device has made its steps, by layer.
    last: BTreeMap<LayerIndex, Vec<u8>>,
}

/// Why copies cannot be gone on from. Whoever sent them is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CopyError {
    /// Not as many numbers as the layer has.
    #[error("the copy of layer {layer} has {bytes} bytes, which is not what the layer learns")]
    Length {
        /// Counted from 1.
        layer: usize,
        /// Bytes.
        bytes: usize,
    },
    /// Numbers that nothing can be computed with.
    #[error("the copy of layer {layer} has numbers that are infinite or no numbers")]
    NonFinite {
        /// Counted from 1.
        layer: usize,
    },
}

impl Vault {
    /// Keeps whole copies.
    pub(crate) fn keep(&mut self, version: Version, copies: BTreeMap<usize, Vec<u8>>) {
        for (layer, bytes) in copies {
            let layer = LayerIndex(u16::try_from(layer).unwrap_or(u16::MAX));
            self.copies
                .insert(CopyId { version, layer }, Bytes::new(bytes));
        }
    }

    /// Keeps copies that come from the disk.
    pub(crate) fn put(&mut self, copies: Vec<(CopyId, Vec<u8>)>) {
        let copies = copies.into_iter();
        self.copies
            .extend(copies.map(|(copy, bytes)| (copy, Bytes::new(bytes))));
    }

    /// A whole copy, to be shared.
    pub(crate) fn shared(&self, copy: CopyId) -> Option<Bytes> {
        self.copies.get(&copy).cloned()
    }

    /// The bytes of a piece; none if the copy is not here, or shorter.
    pub(crate) fn piece(&self, piece: &Piece) -> Option<&[u8]> {
        let start = usize::try_from(piece.offset).ok()?;
        let end = start.checked_add(piece.bytes as usize)?;
        self.copies.get(&piece.copy())?.get(start..end)
    }

    /// Puts a piece to those before it.
    pub(crate) fn store(&mut self, piece: &Piece, bytes: &[u8]) {
        let copy = self.copies.entry(piece.copy()).or_default();
        let copy = Bytes::make_mut(copy);
        // What is left of a transfer that was broken off is written over.
        copy.truncate(usize::try_from(piece.offset).unwrap_or(usize::MAX));
        copy.extend_from_slice(bytes);
    }

    /// Keeps the last version of this device's layers.
    pub(crate) fn keep_last(&mut self, weights: BTreeMap<usize, Vec<u8>>) {
        let index = |layer| LayerIndex(u16::try_from(layer).unwrap_or(u16::MAX));
        let weights = weights.into_iter();
        self.last = weights
            .map(|(layer, bytes)| (index(layer), bytes))
            .collect();
    }

    /// Whether this device has made all steps.
    pub(crate) fn has_last(&self) -> bool {
        !self.last.is_empty()
    }

    /// A plan begins, and there is no last version any more.
    pub(crate) fn forget_last(&mut self) {
        self.last.clear();
    }

    /// The newest weights in a copy, which are so many bytes, out of copies with so many versions of them; or those of the last version.
    /// None if the copy is not here, or shorter.
    pub(crate) fn weights(&self, copy: CopyId, bytes: u64, versions: u64) -> Option<&[u8]> {
        let bytes = usize::try_from(bytes).ok()?;
        let Some(held) = self.copies.get(&copy) else {
            let last = self.last.get(&copy.layer)?;
            return Some(last)
                .filter(|last| last.len() == bytes)
                .map(Vec::as_slice);
        };
        let older = usize::try_from(versions.saturating_sub(1)).ok()?;
        let start = older.checked_mul(bytes)?;
        held.get(start..start.checked_add(bytes)?)
    }

    pub(crate) fn forget(&mut self, copies: &[CopyId]) {
        for copy in copies {
            self.copies.remove(copy);
        }
    }

    /// The copies of a version of these layers.
    pub(crate) fn of(
        &self,
        version: Version,
        layers: std::ops::Range<usize>,
    ) -> BTreeMap<usize, Vec<u8>> {
        let held = self.copies.iter();
        let held = held.filter(|(copy, _)| copy.version == version);
        held.map(|(copy, bytes)| (usize::from(copy.layer.0), bytes.to_vec()))
            .filter(|(layer, _)| layers.contains(layer))
            .collect()
    }
}

/// Writes a snapshot as copies of its layers, with the newest so many versions of weights.
pub(crate) fn write(snapshot: &Snapshot, versions: usize) -> BTreeMap<usize, Vec<u8>> {
    let mut copies: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    let older = snapshot.versions.len().saturating_sub(versions);
    let weights = snapshot.versions[older..].iter();
    for parameter in weights.chain(&snapshot.optimizer).flatten() {
        let copy = copies.entry(parameter.layer).or_default();
        copy.extend(
            parameter
                .values
                .iter()
                .flat_map(|value| value.to_le_bytes()),
        );
    }
    copies
}

/// Writes weights alone, by layer.
pub(crate) fn write_weights(parameters: &[Parameter]) -> BTreeMap<usize, Vec<u8>> {
    let mut layers: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    for parameter in parameters {
        let values = parameter.values.iter();
        let bytes = values.flat_map(|value| value.to_le_bytes());
        layers.entry(parameter.layer).or_default().extend(bytes);
    }
    layers
}

/// Reads a snapshot from copies of the layers whose parameters stand in `shapes`.
pub(crate) fn read(
    copies: &BTreeMap<usize, Vec<u8>>,
    shapes: &[Parameter],
    updates: u64,
    optimizer_tensors: usize,
) -> Result<Snapshot, CopyError> {
    let mut tensors: Option<Vec<Vec<Parameter>>> = None;
    for layer in shapes.chunk_by(|one, next| one.layer == next.layer) {
        let index = layer[0].layer;
        let bytes = copies.get(&index).map(Vec::as_slice).unwrap_or_default();
        let read = read_layer(bytes, layer, index)?;
        let known = tensors.get_or_insert_with(|| vec![Vec::new(); read.len()]);
        if known.len() != read.len() {
            return Err(length(index, bytes));
        }
        for (known, read) in known.iter_mut().zip(read) {
            known.extend(read);
        }
    }
    let mut versions = tensors.unwrap_or_default();
    let optimizer = versions.split_off(versions.len().saturating_sub(optimizer_tensors));
    Ok(Snapshot {
        updates,
        versions,
        optimizer,
    })
}

fn length(layer: usize, bytes: &[u8]) -> CopyError {
    CopyError::Length {
        layer: layer + 1,
        bytes: bytes.len(),
    }
}

/// All tensors of a copy: as many times the layer's parameters as there are.
fn read_layer(
    bytes: &[u8],
    parameters: &[Parameter],
    layer: usize,
) -> Result<Vec<Vec<Parameter>>, CopyError> {
    let numbers: usize = parameters
        .iter()
        .map(|parameter| parameter.values.len())
        .sum();
    let once = 4 * numbers;
    if once == 0 || bytes.is_empty() || !bytes.len().is_multiple_of(once) {
        return Err(length(layer, bytes));
    }
    let (words, _) = bytes.as_chunks::<4>();
    let mut values = words.iter().map(|word| f32::from_le_bytes(*word));
    let mut read = || -> Vec<Parameter> {
        let filled = parameters.iter().map(|parameter| Parameter {
            values: values.by_ref().take(parameter.values.len()).collect(),
            ..parameter.clone()
        });
        filled.collect()
    };
    let tensors: Vec<Vec<Parameter>> = (0..bytes.len() / once).map(|_| read()).collect();
    let mut all = tensors.iter().flatten().flat_map(|tensor| &tensor.values);
    if all.all(|value| value.is_finite()) {
        Ok(tensors)
    } else {
        Err(CopyError::NonFinite { layer: layer + 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringtmp_core::ids::StageIndex;

    fn parameter(layer: usize, name: &str, values: &[f32]) -> Parameter {
        Parameter {
            layer,
            name: name.to_owned(),
            shape: vec![values.len()],
            values: values.to_vec(),
        }
    }

    fn snapshot() -> Snapshot {
        let tensors = |x: f32| {
            vec![
                parameter(1, "1.weight", &[x, x + 0.25]),
                parameter(1, "1.bias", &[x + 0.5]),
                parameter(3, "3.weight", &[-x]),
            ]
        };
        Snapshot {
            updates: 9,
            versions: vec![tensors(1.0), tensors(2.0)],
            optimizer: vec![tensors(3.0)],
        }
    }

    #[test]
    fn a_snapshot_reads_back_from_the_copies_of_its_layers() {
        let snapshot = snapshot();
        let shapes = &snapshot.versions[0];
        let copies = write(&snapshot, 2);
        assert_eq!(copies[&1].len(), 3 * 3 * 4);
        assert_eq!(read(&copies, shapes, 9, 1), Ok(snapshot.clone()));
        let newest = read(&write(&snapshot, 1), shapes, 9, 1).expect("it reads back");
        assert_eq!(newest.versions, snapshot.versions[1..]);
        assert_eq!(newest.optimizer, snapshot.optimizer);
    }

    #[test]
    fn the_newest_weights_are_found_in_a_copy_and_those_of_the_last_version_beside_copies() {
        let snapshot = snapshot();
        let newest = write_weights(&snapshot.versions[1]);
        let mut vault = Vault::default();
        vault.keep(Version(9), write(&snapshot, 2));
        vault.keep_last(newest.clone());
        let copy = |version, layer| CopyId {
            version: Version(version),
            layer: LayerIndex(layer),
        };
        for version in [9, 10] {
            let weights = vault.weights(copy(version, 1), 12, 2);
            assert_eq!(weights, Some(&newest[&1][..]), "{version}");
        }
        assert_eq!(vault.weights(copy(9, 1), 12, 4), None, "past the end");
        assert_eq!(vault.weights(copy(10, 1), 8, 1), None, "not as long");
        assert_eq!(vault.weights(copy(9, 2), 12, 1), None);
        vault.forget_last();
        assert_eq!(vault.weights(copy(10, 1), 12, 2), None);
    }

    #[test]
    fn copies_cut_short_missing_unequal_or_not_finite_are_refused() {
        let snapshot = snapshot();
        let shapes = &snapshot.versions[0];
        let refused = |spoil: fn(&mut BTreeMap<usize, Vec<u8>>)| {
            let mut copies = write(&snapshot, 2);
            spoil(&mut copies);
            read(&copies, shapes, 9, 1).expect_err("spoilt")
        };
        let bytes = |layer, bytes| CopyError::Length { layer, bytes };
        let cut = refused(|copies| copies.get_mut(&1).expect("a copy").truncate(35));
        assert_eq!(cut, bytes(2, 35));
        let missing = refused(|copies| drop(copies.remove(&3)));
        assert_eq!(missing, bytes(4, 0));
        let unequal = refused(|copies| copies.get_mut(&3).expect("a copy").truncate(8));
        assert_eq!(unequal, bytes(4, 8));
        let spoil: fn(&mut BTreeMap<usize, Vec<u8>>) = |copies| {
            let copy = copies.get_mut(&3).expect("a copy");
            copy[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        };
        assert_eq!(refused(spoil), CopyError::NonFinite { layer: 4 });
    }

    #[test]
    fn pieces_make_a_copy_and_a_new_transfer_writes_over_what_was_left_of_another() {
        let mut vault = Vault::default();
        let piece = |offset, bytes| Piece {
            from: StageIndex(0),
            to: StageIndex(1),
            version: Version(2),
            layer: LayerIndex(5),
            total: 4,
            offset,
            bytes,
        };
        vault.store(&piece(0, 3), &[9, 9, 9]);
        vault.store(&piece(0, 2), &[1, 2]);
        vault.store(&piece(2, 2), &[3, 4]);
        assert_eq!(vault.of(Version(2), 0..6)[&5], [1, 2, 3, 4]);
        assert_eq!(vault.piece(&piece(1, 2)), Some(&[2, 3][..]));
        assert_eq!(vault.piece(&piece(3, 2)), None);
        assert!(vault.of(Version(2), 0..5).is_empty() && vault.of(Version(1), 0..6).is_empty());
        let copy = piece(0, 0).copy();
        vault.forget(&[copy]);
        assert_eq!(vault.piece(&piece(0, 1)), None);
    }
}
