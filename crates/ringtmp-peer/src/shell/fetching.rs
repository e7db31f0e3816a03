//! The whole model on this device, as a file: the node says what is to be collected, here it lies until all of it is there.

use super::Shell;
use crate::payloads::Load;
use crate::progress::Progress;
use crate::run_file::Run;
use crate::view::ModelState;
use crate::weights::{WEIGHTS_BYTES_MAX, WeightsError, file_of_layers};
use futures::channel::mpsc;
use ringtmp_core::ids::{Epoch, LayerIndex, PayloadId, PeerId, Version};
use ringtmp_core::node::{Event, Input};
use ringtmp_core::replica::CopyId;
use ringtmp_core::time::Time;
use ringtmp_core::wire::{Body, Piece};
use std::collections::BTreeMap;
use std::time::Duration;

/// A model of which nothing comes for so long will not come: somebody who has layers of it is gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The file is written beside the layers that it is made of.
const TIMES_IN_MEMORY: u64 = 2;

/// Why a device that gives so many bytes cannot hold a model of so many as often as it takes, if it cannot.
pub(crate) fn refusal(
    model_bytes: u64,
    times: u64,
    given_bytes: Option<u64>,
) -> Option<ModelState> {
    let needed_bytes = times.saturating_mul(model_bytes);
    let given_bytes = given_bytes
        .unwrap_or(u64::MAX)
        .min(times * WEIGHTS_BYTES_MAX);
    (needed_bytes > given_bytes).then_some(ModelState::Refused {
        needed_bytes,
        given_bytes,
    })
}

/// A model that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Updates that all of its layers have seen.
    pub steps: u32,
    /// As safetensors.
    pub file: Vec<u8>,
}

/// What is fetched for the user of this device.
pub(super) struct Fetching {
    run: Run,
    /// Bytes of each layer's weights.
    bytes: BTreeMap<LayerIndex, u64>,
    state: Option<ModelState>,
    layers: BTreeMap<LayerIndex, Vec<u8>>,
    /// When something of it came last; none while no version is there to be fetched.
    heard: Option<Time>,
    to: Option<mpsc::Sender<Fetched>>,
}

impl Fetching {
    /// Files go to `to`; without it none is fetched.
    pub(super) fn new(run: &Run, to: Option<mpsc::Sender<Fetched>>) -> Self {
        let layers = run.layers.iter().zip(0u16..);
        let bytes = layers.map(|(layer, index)| (LayerIndex(index), 4 * layer.parameters));
        Self {
            run: run.clone(),
            bytes: bytes.filter(|(_, bytes)| *bytes > 0).collect(),
            state: None,
            layers: BTreeMap::new(),
            heard: None,
            to,
        }
    }

    fn all_bytes(&self) -> u64 {
        self.bytes.values().sum()
    }

    fn is_under_way(&self) -> bool {
        match self.state {
            Some(ModelState::Waits | ModelState::Comes { .. }) => true,
            Some(
                ModelState::Here { .. } | ModelState::Refused { .. } | ModelState::Lost { .. },
            )
            | None => false,
        }
    }

    fn begin(&mut self, state: ModelState) {
        self.layers.clear();
        self.heard = None;
        self.state = Some(state);
    }

    /// Puts bytes behind those that are here of a layer.
    fn put(&mut self, now: Time, layer: LayerIndex, bytes: &[u8]) {
        if let Some(ModelState::Comes { received, .. }) = &mut self.state {
            *received += bytes.len() as u64;
            self.layers
                .entry(layer)
                .or_default()
                .extend_from_slice(bytes);
            self.heard = Some(now);
        }
    }

    /// The whole model as a file.
    fn file(&mut self) -> Result<Vec<u8>, WeightsError> {
        file_of_layers(&self.run.model, &std::mem::take(&mut self.layers))
    }

    /// Layers of which something is missing, in words; counted from 1.
    fn missing(&self) -> String {
        let here = |layer: &LayerIndex| self.layers.get(layer).map_or(0, Vec::len) as u64;
        let missing = self
            .bytes
            .iter()
            .filter(|(layer, bytes)| here(layer) < **bytes);
        let numbers: Vec<String> = missing
            .map(|(layer, _)| (layer.0 + 1).to_string())
            .collect();
        numbers.join(", ")
    }
}

impl Shell {
    /// The user wants the whole model.
    pub(super) fn fetch_model(&mut self, progress: &mut Progress) {
        let fetching = &mut self.fetching;
        if fetching.is_under_way() || fetching.to.is_none() || self.executor.is_none() {
            return;
        }
        let given_bytes = self.line.door.device.memory_bytes;
        match refusal(fetching.all_bytes(), TIMES_IN_MEMORY, given_bytes) {
            Some(refused) => fetching.begin(refused),
            None => {
                fetching.begin(ModelState::Waits);
                self.node.handle(self.clock.now(), Input::Fetch);
            }
        }
        progress.model(self.fetching.state.clone());
    }

    /// What concerns a model that is fetched.
    pub(super) fn note_model(&mut self, event: &Event, progress: &mut Progress) {
        match event {
            Event::ModelBegins(version) => {
                self.fetching.begin(ModelState::Comes {
                    steps: version.0,
                    received: 0,
                    of: self.fetching.all_bytes(),
                });
                self.fetching.heard = Some(self.clock.now());
            }
            Event::ModelIsHere(version) => self.model_is_here(*version),
            // What was under way under the last plan comes no more.
            Event::Training if self.fetching.is_under_way() => {
                self.fetching.begin(ModelState::Waits);
                self.node.handle(self.clock.now(), Input::Fetch);
            }
            Event::Aborted { .. } if self.fetching.is_under_way() => {
                let reason = "the run has stopped".to_owned();
                self.fetching.begin(ModelState::Lost { reason });
            }
            _ => return,
        }
        progress.model(self.fetching.state.clone());
    }

    fn model_is_here(&mut self, version: Version) {
        let fetching = &mut self.fetching;
        let steps = version.0;
        fetching.heard = None;
        let state = match fetching.file() {
            Ok(file) => {
                let fetched = Fetched { steps, file };
                // Whoever does not take it has no use for it.
                if let Some(to) = &mut fetching.to {
                    to.try_send(fetched).ok();
                }
                ModelState::Here { steps }
            }
            Err(error) => ModelState::Lost {
                reason: error.to_string(),
            },
        };
        fetching.state = Some(state);
    }

    /// The weights of own layers, to those that come.
    pub(super) fn collect_own(
        &mut self,
        version: Version,
        layers: &[LayerIndex],
        progress: &mut Progress,
    ) {
        let (now, versions) = (self.clock.now(), self.versions_copied());
        for layer in layers {
            let (layer, version) = (*layer, version);
            let length = self.fetching.bytes.get(&layer).copied().unwrap_or(0);
            let bytes = self
                .vault
                .weights(CopyId { version, layer }, length, versions);
            self.fetching.put(now, layer, bytes.unwrap_or_default());
        }
        progress.model(self.fetching.state.clone());
    }

    /// Weights that have come.
    pub(super) fn collect(&mut self, piece: &Piece, payload: PayloadId, progress: &mut Progress) {
        if let Load::Bytes(bytes) = self.payloads.take(payload) {
            self.fetching.put(self.clock.now(), piece.layer, &bytes);
            progress.model(self.fetching.state.clone());
        }
    }

    /// To who collects them.
    pub(super) fn send_weights(&mut self, to: PeerId, epoch: Epoch, piece: Piece) {
        let weights = self
            .vault
            .weights(piece.copy(), piece.total, self.versions_copied());
        let start = usize::try_from(piece.offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(piece.bytes as usize);
        let bytes = weights.and_then(|weights| weights.get(start..end));
        let bytes = bytes.expect("the node sends weights of copies that are here");
        let load = Load::Bytes(bytes.to_vec());
        self.send(to, epoch, Body::Weights(piece), &load);
    }

    fn versions_copied(&self) -> u64 {
        u64::from(self.fetching.run.file.schedule.versions_copied())
    }

    /// Once a second: whether somebody has taken layers away that were to come.
    pub(super) fn miss_model(&mut self, progress: &mut Progress) {
        let now = self.clock.now();
        // After the last step nobody has to stay.
        if self.vault.has_last() {
            self.fetching.heard.get_or_insert(now);
        }
        let silent = |heard: Time| now.since(heard) >= SILENCE_MAX;
        if self.fetching.is_under_way() && self.fetching.heard.is_some_and(silent) {
            let missing = self.fetching.missing();
            let reason = format!("nothing comes of layers {missing}, who has them may be gone");
            self.fetching.begin(ModelState::Lost { reason });
            self.node.handle(now, Input::FetchNoMore);
            progress.model(self.fetching.state.clone());
        }
    }
}
