//! `[model]`: a preset with its sizes, or layers one after the other.

use super::RunFileError;
use ringtmp_compute::layers::LayerSpec;
use ringtmp_compute::model::{PRESETS, VOCABULARY};
use ringtmp_compute::{GptSizes, ModelError, ModelSpec};
use ringtmp_data::{ADDITION_CHARACTERS, DataSpec};
use serde::{Deserialize, Serialize};

/// The preset of a run file that names neither a preset nor layers.
const PRESET: &str = "mlp";

/// A transformer of any sizes.
const GPT: &str = "gpt";

/// The model: a preset, `gpt` with sizes, or layers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelTable {
    /// A preset: `mlp`, `cnn`, `gpt-nano`, `gpt-small`; or `gpt`, whose sizes are those of `gpt-nano` unless they are given.
    /// Where neither a preset nor layers are named it is `mlp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Blocks of a `gpt`: each an attention and an MLP, two layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,
    /// Numbers of a token's vector in a `gpt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// Heads of an attention in a `gpt`; they divide the width.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heads: Option<usize>,
    /// Tokens of a sample of a `gpt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<usize>,
    /// Tokens that a preset for text tells apart; where it is not given, 13 for `addition` and 65 for a text. A text may have fewer
    /// different characters, but not more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<usize>,
    /// The shape of one sample, outermost dimension first, of a model of layers: `[784]` or `[1, 28, 28]` for digits, the
    /// context for text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Vec<usize>>,
    /// The layers, in order, instead of a preset.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerSpec>,
}

impl ModelTable {
    /// A preset with its own sizes.
    pub fn preset(name: impl Into<String>) -> Self {
        Self {
            preset: Some(name.into()),
            ..Self::default()
        }
    }

    /// For people: the preset, or that there is none.
    pub fn name(&self) -> &str {
        match &self.preset {
            Some(name) => name,
            None if self.layers.is_empty() => PRESET,
            None => "layers",
        }
    }

    /// Whether its samples are text.
    pub(crate) fn takes_text(&self) -> bool {
        match self.layers.first() {
            Some(first) => first.layer().tokens().is_some(),
            None => self.gpt(0).is_some(),
        }
    }

    /// What the layers are.
    pub(super) fn spec(&self, data: &DataSpec) -> Result<ModelSpec, RunFileError> {
        if self.layers.is_empty() {
            self.refuse_input()?;
            return self.preset_spec(self.vocabulary.unwrap_or(characters(data)));
        }
        if let Some(preset) = &self.preset {
            let rule = "a model is either a preset or layers: leave one of them out";
            return Err(RunFileError::out_of_range("model.preset", preset, rule));
        }
        if let Some((field, size)) = self.sizes().next() {
            let rule = "only presets for text have it; layers say their own sizes";
            return Err(RunFileError::out_of_range(field, size, rule));
        }
        let Some(input) = &self.input else {
            let rule = "a model of layers needs the shape of a sample, such as [784]";
            return Err(RunFileError::out_of_range("model.input", "nothing", rule));
        };
        Ok(ModelSpec::new(input.clone(), self.layers.clone()))
    }

    fn preset_spec(&self, vocabulary: usize) -> Result<ModelSpec, RunFileError> {
        if let Some(sizes) = self.gpt(vocabulary) {
            for (field, size) in self.sizes() {
                if size == 0 {
                    return Err(RunFileError::out_of_range(field, size, "at least 1"));
                }
            }
            return Ok(ModelSpec::gpt(&sizes));
        }
        let model = ModelSpec::preset(self.name()).map_err(|error| match error {
            ModelError::Preset(name) => unknown(&name),
            error => error.into(),
        })?;
        match self.sizes().next() {
            None => Ok(model),
            Some((field, size)) => {
                let rule = "only presets for text have sizes: gpt, gpt-nano and gpt-small";
                Err(RunFileError::out_of_range(field, size, rule))
            }
        }
    }

    /// The sizes of a preset for text; none for another.
    fn gpt(&self, vocabulary: usize) -> Option<GptSizes> {
        let usual = match self.name() {
            GPT | "gpt-nano" => GptSizes::nano(vocabulary),
            "gpt-small" => GptSizes::small(vocabulary),
            _ => return None,
        };
        Some(GptSizes {
            vocabulary,
            blocks: self.depth.unwrap_or(usual.blocks),
            width: self.width.unwrap_or(usual.width),
            heads: self.heads.unwrap_or(usual.heads),
            context: self.context.unwrap_or(usual.context),
        })
    }

    fn sizes(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let given = [
            ("model.depth", self.depth),
            ("model.width", self.width),
            ("model.heads", self.heads),
            ("model.context", self.context),
            ("model.vocabulary", self.vocabulary),
        ];
        given
            .into_iter()
            .filter_map(|(field, size)| Some((field, size?)))
    }

    fn refuse_input(&self) -> Result<(), RunFileError> {
        match &self.input {
            None => Ok(()),
            Some(shape) => {
                let rule = "only a model of layers has it; presets know their own";
                let shape = format!("{shape:?}");
                Err(RunFileError::out_of_range("model.input", shape, rule))
            }
        }
    }
}

/// How many different characters the data have, as far as one can tell without them.
fn characters(data: &DataSpec) -> usize {
    match data {
        DataSpec::Addition => ADDITION_CHARACTERS,
        DataSpec::Digits | DataSpec::Idx { .. } | DataSpec::Text { .. } | DataSpec::Csv { .. } => {
            VOCABULARY
        }
    }
}

fn unknown(name: &str) -> RunFileError {
    let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
    let rule = format!("there are {} and {GPT}", names.join(", "));
    RunFileError::out_of_range("model.preset", name, rule)
}
