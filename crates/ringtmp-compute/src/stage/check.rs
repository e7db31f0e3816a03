//! What a stage cannot be.

use super::StageConfig;
use crate::error::ComputeError;
use crate::model::elements;
use crate::packing::Packing;
use crate::recording::{SLOTS_MAX, VERSIONS_MAX};
use crate::tensor::TENSOR_BYTES_MAX;

/// Refuses settings out of range. Sizes of one sample are already known to be countable.
pub(super) fn check(config: &StageConfig, shapes: &[Vec<usize>]) -> Result<(), ComputeError> {
    let refuse = |reason: String| Err(ComputeError::Config(reason));
    let StageConfig {
        layers,
        micro_batch,
        batch,
        slots,
        versions,
        ..
    } = config;
    if layers.start >= layers.end || layers.end > config.model.layers.len() {
        return refuse(format!(
            "layers {layers:?} of a model of {}",
            config.model.layers.len()
        ));
    }
    if *micro_batch == 0 || *batch == 0 {
        return refuse(format!(
            "a batch of {batch} in micro-batches of {micro_batch}"
        ));
    }
    if *slots == 0 || *slots > SLOTS_MAX {
        return refuse(format!(
            "{slots} slots, where 1 to {SLOTS_MAX} are possible"
        ));
    }
    if *versions == 0 || *versions > VERSIONS_MAX {
        return refuse(format!(
            "{versions} versions of the weights, where 1 to {VERSIONS_MAX} are possible"
        ));
    }
    for shape in &shapes[layers.start..=layers.end] {
        let bytes = micro_batch.checked_mul(4 * elements(shape));
        if bytes.is_none_or(|bytes| bytes > TENSOR_BYTES_MAX) {
            return refuse(format!(
                "{micro_batch} samples of shape {shape:?} are over the {TENSOR_BYTES_MAX} bytes of a tensor"
            ));
        }
    }
    let packs_data = layers.start == 0 && config.input_packing != Packing::F32;
    let packs_logits =
        layers.end == config.model.layers.len() && config.output_packing != Packing::F32;
    if packs_data || packs_logits {
        return refuse("the data and the logits cross no link and are not packed".to_owned());
    }
    config
        .optimizer
        .check()
        .or_else(|error| refuse(error.to_string()))
}
