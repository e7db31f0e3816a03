//! What one peer keeps of the run that it takes part in.

use super::file::{self, Header, OVERHEAD_BYTES_MAX};
use super::{ABOUT, About, FORM, HOLDERS_MAX, LOCK, Other, Store, StoreError, holders};
use crate::platform::{Bytes, Claim, DiskError, Folder, seconds_since_1970};
use crate::run_file::Run;
use ringtmp_core::ids::{Epoch, LayerIndex, RoomCode, Version};
use ringtmp_core::kept::{Home, KEPT_MAX, Kept, Past};
use ringtmp_core::replica::copy_bytes_max;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Of the browser's storage, so much is left to others.
const SPARE_SHARE: u64 = 10;

/// A peer's place for a run. Whatever was left there by peers that are gone is its own from now on.
#[derive(Debug)]
pub(crate) struct Shelf {
    store: Store,
    id: RoomCode,
    run: Folder,
    /// The first is where it writes.
    places: Vec<Place>,
    versions: Vec<Shelved>,
    about: About,
    /// Of what shapes the weights.
    model: String,
    /// Bytes of each layer's copy.
    layer_bytes: Vec<u64>,
    others: Vec<Other>,
}

#[derive(Debug)]
struct Place {
    name: String,
    folder: Folder,
    claim: Claim,
}

/// A version of which files are here.
#[derive(Debug)]
struct Shelved {
    place: usize,
    name: String,
    serial: u64,
    kept: Kept,
    bytes: u64,
}

impl Shelf {
    /// Claims a place for a run, and reads through what is there: what of it can be gone on from, and what is wrong with the rest,
    /// which is removed.
    pub(crate) async fn claim(
        store: Store,
        id: RoomCode,
        run: &Run,
    ) -> Result<(Self, Vec<StoreError>), StoreError> {
        let folder = store.root.inner(&id.to_string()).await?;
        let places = claim_places(&folder).await?;
        let outline = run.descriptor().outline;
        let bytes = |layer| copy_bytes_max(layer, &outline.schedule);
        let others = store.others(id).await?;
        let mut shelf = Self {
            store,
            id,
            run: folder,
            places,
            versions: Vec::new(),
            about: About {
                form: FORM,
                name: run.file.model.name().to_owned(),
                data: run.data.to_string(),
                step: 0,
                steps: run.file.steps,
                when: 0,
                toml: run.file.to_toml(),
            },
            model: run.file.fingerprint(),
            layer_bytes: outline.layers.iter().map(bytes).collect(),
            others,
        };
        let mut problems = Vec::new();
        for place in 0..shelf.places.len() {
            shelf.read_through(place, &mut problems).await?;
        }
        shelf.versions.sort_by_key(|shelved| shelved.serial);
        let too_many = shelf.versions.len().saturating_sub(KEPT_MAX);
        for _ in 0..too_many {
            let oldest = shelf.versions.remove(0);
            shelf.remove(&oldest).await?;
        }
        while shelf.others.len() + 1 > shelf.store.bounds.runs_max {
            if !shelf.forget_oldest().await? {
                break;
            }
        }
        Ok((shelf, problems))
    }

    /// What can be gone on from. The same version in two places is one.
    pub(crate) fn kept(&self) -> Vec<Kept> {
        let mut all: BTreeMap<(Past, Version), Kept> = BTreeMap::new();
        for shelved in &self.versions {
            let kept = &shelved.kept;
            let known = all
                .entry((kept.past, kept.version))
                .or_insert_with(|| Kept {
                    layers: Vec::new(),
                    ..kept.clone()
                });
            known.layers.extend(&kept.layers);
            known.layers.sort_unstable();
            known.layers.dedup();
        }
        all.into_values().collect()
    }

    /// Writes a version, or further layers of one.
    pub(crate) async fn write(
        &mut self,
        past: Past,
        version: Version,
        ring: &[Home],
        copies: Vec<(LayerIndex, Bytes)>,
    ) -> Result<(), StoreError> {
        let bytes = copies
            .iter()
            .map(|(_, copy)| copy.len() as u64 + OVERHEAD_BYTES_MAX)
            .sum();
        self.make_room(bytes).await?;
        let layers: Vec<LayerIndex> = copies.iter().map(|(layer, _)| *layer).collect();
        let known = self.versions.iter().position(|shelved| {
            let kept = &shelved.kept;
            shelved.place == 0 && (kept.past, kept.version) == (past, version)
        });
        let serials = self.versions.iter().map(|shelved| shelved.serial);
        let serial = match known {
            Some(at) => self.versions[at].serial,
            None => serials.max().unwrap_or_default() + 1,
        };
        let name = name_of(serial, past, version);
        let written = self.write_layers(&name, past, version, ring, copies).await;
        if let Err(error) = written {
            // A part of a version takes space, and others may have the rest.
            self.unwrite(&name, known, &layers).await;
            return Err(error);
        }
        match known.and_then(|at| self.versions.get_mut(at)) {
            Some(shelved) => {
                shelved.kept.layers.extend(layers);
                shelved.bytes += bytes;
            }
            None => self.versions.push(Shelved {
                place: 0,
                name,
                serial,
                kept: Kept {
                    past,
                    version,
                    layers,
                    ring: ring.to_vec(),
                },
                bytes,
            }),
        }
        self.about.step = version.0;
        self.about.when = seconds_since_1970();
        let about = serde_json::to_vec(&self.about).expect("it is plain data");
        Ok(self.places[0]
            .folder
            .write(ABOUT, vec![Arc::new(about)])
            .await?)
    }

    /// Removes what was written before the disk was full: of a version of which other layers are here only these.
    async fn unwrite(&self, name: &str, known: Option<usize>, layers: &[LayerIndex]) {
        let folder = &self.places[0].folder;
        let Some(known) = known else {
            folder.remove(name).await.ok();
            return;
        };
        let Ok(inner) = folder.inner(name).await else {
            return;
        };
        let held = &self.versions[known].kept.layers;
        for layer in layers.iter().filter(|layer| !held.contains(layer)) {
            inner.remove(&layer.0.to_string()).await.ok();
        }
    }

    async fn write_layers(
        &self,
        name: &str,
        past: Past,
        version: Version,
        ring: &[Home],
        copies: Vec<(LayerIndex, Bytes)>,
    ) -> Result<(), StoreError> {
        let folder = self.places[0].folder.inner(name).await?;
        for (layer, copy) in copies {
            let header = Header {
                run: self.id,
                model: self.model.clone(),
                past,
                version,
                layer,
                ring: ring.to_vec(),
            };
            let parts = file::encode(&header, copy).await;
            folder.write(&layer.0.to_string(), parts).await?;
        }
        Ok(())
    }

    /// The copy of a layer.
    pub(crate) async fn read(
        &self,
        past: Past,
        version: Version,
        layer: LayerIndex,
    ) -> Result<Vec<u8>, StoreError> {
        let damaged = StoreError::Damaged {
            layer: usize::from(layer.0) + 1,
            version: version.0,
        };
        let has = |shelved: &&Shelved| {
            let kept = &shelved.kept;
            (kept.past, kept.version) == (past, version) && kept.layers.contains(&layer)
        };
        let shelved = self.versions.iter().find(has).ok_or(damaged)?;
        let place = &self.places[shelved.place].folder;
        let (_, copy) = self
            .read_layer(&place.inner(&shelved.name).await?, past, version, layer)
            .await?;
        Ok(copy)
    }

    async fn read_layer(
        &self,
        folder: &Folder,
        past: Past,
        version: Version,
        layer: LayerIndex,
    ) -> Result<(Header, Vec<u8>), StoreError> {
        let [layer_number, version_number] = [usize::from(layer.0) + 1, version.0 as usize];
        let bytes_max = self.layer_bytes.get(usize::from(layer.0)).copied();
        let bytes_max = bytes_max.unwrap_or_default();
        let read = folder
            .read(&layer.0.to_string(), bytes_max + OVERHEAD_BYTES_MAX)
            .await?;
        let read = read.ok_or(StoreError::Damaged {
            layer: layer_number,
            version: version_number as u32,
        })?;
        let (header, copy) = file::decode(read, layer, version).await?;
        let is_ours = header.run == self.id && header.model == self.model;
        let is_this = (header.past, header.version, header.layer) == (past, version, layer);
        let can_be = !copy.is_empty() && copy.len() as u64 <= bytes_max;
        if is_ours && is_this && can_be {
            Ok((header, copy))
        } else {
            Err(StoreError::OtherModel {
                layer: layer_number,
                version: version_number as u32,
            })
        }
    }

    /// Removes versions.
    pub(crate) async fn forsake(&mut self, which: &[(Past, Version)]) -> Result<(), StoreError> {
        let versions = std::mem::take(&mut self.versions);
        let (gone, left): (Vec<_>, Vec<_>) = versions.into_iter().partition(|shelved| {
            let kept = &shelved.kept;
            which.contains(&(kept.past, kept.version))
        });
        self.versions = left;
        for shelved in gone {
            self.remove(&shelved).await?;
        }
        Ok(())
    }

    async fn remove(&self, shelved: &Shelved) -> Result<(), StoreError> {
        let place = &self.places[shelved.place].folder;
        Ok(place.remove(&shelved.name).await?)
    }

    /// Removes all that is here, and what peers left that are gone: the run is over. What others of this device still use is left to
    /// them, so that nothing remains once the last has cleared its own.
    pub(crate) async fn clear(self) -> Result<(), StoreError> {
        let used = |removed: Result<(), DiskError>| match removed {
            // Who uses it will do the same with it.
            Err(DiskError::InUse) => Ok(()),
            removed => removed,
        };
        let mut names = Vec::new();
        for place in self.places {
            // An open file cannot be removed everywhere.
            drop(place.claim);
            names.push(place.name);
        }
        for name in holders(&self.run).await? {
            let is_left = async || {
                let claim = self.run.inner(&name).await?.claim(LOCK).await?;
                Ok::<_, StoreError>(claim.is_some())
            };
            if names.contains(&name) || is_left().await? {
                used(self.run.remove(&name).await)?;
            }
        }
        if holders(&self.run).await?.is_empty() {
            used(self.store.root.remove(&self.id.to_string()).await)?;
        }
        Ok(())
    }

    async fn read_through(
        &mut self,
        place: usize,
        problems: &mut Vec<StoreError>,
    ) -> Result<(), StoreError> {
        let folder = self.places[place].folder.clone();
        for entry in folder.entries().await? {
            let Some((serial, past, version)) = parse_name(&entry.name) else {
                continue;
            };
            let inner = folder.inner(&entry.name).await?;
            let mut kept = Kept {
                past,
                version,
                layers: Vec::new(),
                ring: Vec::new(),
            };
            for file in inner.entries().await? {
                let Ok(layer) = file.name.parse().map(LayerIndex) else {
                    // What was being written when the device died.
                    inner.remove(&file.name).await?;
                    continue;
                };
                match self.read_layer(&inner, past, version, layer).await {
                    Ok((header, _)) => {
                        kept.layers.push(layer);
                        kept.ring = header.ring;
                    }
                    Err(error) => {
                        problems.push(error);
                        inner.remove(&file.name).await?;
                    }
                }
            }
            if kept.layers.is_empty() {
                folder.remove(&entry.name).await?;
                continue;
            }
            let bytes =
                |layer: &LayerIndex| self.layer_bytes[usize::from(layer.0)] + OVERHEAD_BYTES_MAX;
            let bytes = kept.layers.iter().map(bytes).sum();
            self.versions.push(Shelved {
                place,
                name: entry.name,
                serial,
                kept,
                bytes,
            });
        }
        Ok(())
    }

    /// Removes older runs until there is space.
    async fn make_room(&mut self, bytes: u64) -> Result<(), StoreError> {
        loop {
            let others: u64 = self.others.iter().map(|other| other.bytes).sum();
            let own: u64 = self.versions.iter().map(|shelved| shelved.bytes).sum();
            let within = others + own + bytes <= self.store.bounds.bytes_max;
            let space = self.store.root.space().await;
            let fits = space.is_none_or(|space| bytes <= space - space / SPARE_SHARE);
            if within && fits {
                return Ok(());
            }
            if !self.forget_oldest().await? {
                return Err(StoreError::Full);
            }
        }
    }

    /// Removes the oldest run that nobody is at work on; says whether there was one.
    async fn forget_oldest(&mut self) -> Result<bool, StoreError> {
        let mut index = 0;
        while let Some(other) = self.others.get(index).copied() {
            if self.store.forget_if_unused(other.id).await? {
                self.others.remove(index);
                return Ok(true);
            }
            index += 1;
        }
        Ok(false)
    }
}

/// Claims all places that nobody else has, and a new one where there is none.
async fn claim_places(run: &Folder) -> Result<Vec<Place>, StoreError> {
    let known = holders(run).await?;
    let mut places = Vec::new();
    for name in &known {
        let folder = run.inner(name).await?;
        if let Some(claim) = folder.claim(LOCK).await? {
            let name = name.clone();
            places.push(Place {
                name,
                folder,
                claim,
            });
        }
    }
    let mut number = 1;
    while places.is_empty() && number <= HOLDERS_MAX {
        let name = number.to_string();
        number += 1;
        if known.contains(&name) {
            continue;
        }
        let folder = run.inner(&name).await?;
        // Another may have come first.
        if let Some(claim) = folder.claim(LOCK).await? {
            places.push(Place {
                name,
                folder,
                claim,
            });
        }
    }
    if places.is_empty() {
        return Err(StoreError::InUse);
    }
    Ok(places)
}

fn name_of(serial: u64, past: Past, version: Version) -> String {
    let Epoch {
        number,
        incarnation,
    } = past.epoch;
    format!(
        "{serial}-{}-{number}-{incarnation}-{}",
        version.0, past.room
    )
}

fn parse_name(name: &str) -> Option<(u64, Past, Version)> {
    let mut parts = name.split('-');
    let serial = parts.next()?.parse().ok()?;
    let version = Version(parts.next()?.parse().ok()?);
    let epoch = Epoch {
        number: parts.next()?.parse().ok()?,
        incarnation: parts.next()?.parse().ok()?,
    };
    let room = parts.next()?.parse().ok()?;
    let is_all = parts.next().is_none();
    is_all.then_some((serial, Past { room, epoch }, version))
}
