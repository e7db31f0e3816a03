//! Models: what a run file says, and what follows from it without computing anything.

use crate::layers::LayerSpec;
use crate::layers::conv2d::Conv2d;
use crate::layers::embedding::Embedding;
use crate::layers::flatten::Flatten;
use crate::layers::layer_norm::LayerNorm;
use crate::layers::linear::Linear;
use crate::layers::max_pool2d::MaxPool2d;
use crate::layers::transformer::{TransformerAttention, TransformerMlp};
use crate::loss::LossSpec;
use crate::recording::Lifetime;
use crate::tensor::RANK_MAX;
use serde::{Deserialize, Serialize};

/// The most layers of a model.
pub const LAYERS_MAX: usize = 1024;

/// The most numbers in one sample between two layers, and in one parameter: 2^28 floats are 1 GiB, more than a phone
/// gives to a page.
pub const ELEMENTS_MAX: usize = 1 << 28;

/// The vocabulary of a preset for text where the data does not say another: the characters of the usual file of
/// Shakespeare's plays.
pub const VOCABULARY: usize = 65;

/// The most dimensions of a sample: a micro-batch has one more.
const SAMPLE_RANK_MAX: usize = RANK_MAX - 1;

/// A model: layers one after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// The shape of one sample, outermost dimension first.
    pub input: Vec<usize>,
    /// The layers, in order.
    pub layers: Vec<LayerSpec>,
    /// What is made small.
    #[serde(default)]
    pub loss: LossSpec,
}

/// What a planner and a reader want to know of a layer. Costs are per sample.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerOutline {
    /// In words, such as "linear 784 → 256".
    pub description: String,
    /// Floating-point operations of F, of B, and of W.
    pub flops: [f64; 3],
    /// Numbers it learns.
    pub parameters: u64,
    /// Bytes of its output in f32.
    pub output_bytes: u64,
    /// Bytes it keeps from F until W. Layers side by side in a stage share some of them, so sums are an upper bound.
    pub stash_bytes: u64,
}

/// Why a description is no model. The run file's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// No layers, or too many.
    #[error("a model has 1 to {LAYERS_MAX} layers, not {0}")]
    Layers(usize),
    /// A layer does not take what comes before it.
    #[error("layer {layer} ({description}) takes samples of shape {expected}, but gets {actual:?}")]
    Shape {
        /// Its place in the model.
        layer: usize,
        /// The layer in words.
        description: String,
        /// What it takes, in words.
        expected: String,
        /// What it gets.
        actual: Vec<usize>,
    },
    /// A layer that takes tokens is not the first.
    #[error("layer {layer} ({description}) takes tokens, so it must be the first layer")]
    Tokens {
        /// Its place in the model.
        layer: usize,
        /// The layer in words.
        description: String,
    },
    /// A dimension of zero, or more numbers than [`ELEMENTS_MAX`].
    #[error(
        "{what} has the shape {shape:?}: every size must be at least 1 and their product at most {ELEMENTS_MAX}"
    )]
    Size {
        /// The sample or the parameter.
        what: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// No preset of this name.
    #[error("there is no preset {0:?}; there are: {names}", names = preset_names())]
    Preset(String),
}

/// The sizes of a transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GptSizes {
    /// Tokens there are.
    pub vocabulary: usize,
    /// Blocks of attention and MLP.
    pub blocks: usize,
    /// Numbers of a token's vector.
    pub width: usize,
    /// Heads of an attention, which divide the width.
    pub heads: usize,
    /// Tokens of a sample.
    pub context: usize,
}

impl GptSizes {
    /// The sizes of `gpt-nano`, for text of so many different characters.
    pub const fn nano(vocabulary: usize) -> Self {
        Self {
            vocabulary,
            blocks: 4,
            width: 128,
            heads: 4,
            context: 64,
        }
    }

    /// The sizes of `gpt-small`.
    pub const fn small(vocabulary: usize) -> Self {
        Self {
            vocabulary,
            blocks: 12,
            width: 768,
            heads: 12,
            context: 256,
        }
    }
}

/// A model that a run file can name.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// Makes it, for data of so many different tokens if it is one for text.
    pub model: fn(usize) -> ModelSpec,
}

/// The presets.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "mlp",
        model: |_| mlp(),
    },
    Preset {
        name: "cnn",
        model: |_| cnn(),
    },
    Preset {
        name: "gpt-nano",
        model: |vocabulary| ModelSpec::gpt(&GptSizes::nano(vocabulary)),
    },
    Preset {
        name: "gpt-small",
        model: |vocabulary| ModelSpec::gpt(&GptSizes::small(vocabulary)),
    },
];

impl ModelSpec {
    /// Layers over samples of a shape, that end in the logits of classes.
    pub fn new(input: Vec<usize>, layers: Vec<LayerSpec>) -> Self {
        Self {
            input,
            layers,
            loss: LossSpec::CrossEntropy,
        }
    }

    /// A preset by its name; one for text has a vocabulary of [`VOCABULARY`] tokens.
    pub fn preset(name: &str) -> Result<Self, ModelError> {
        Self::preset_for(name, VOCABULARY)
    }

    /// A preset by its name, for data of so many different tokens if it is one for text.
    pub fn preset_for(name: &str, vocabulary: usize) -> Result<Self, ModelError> {
        let found = PRESETS.iter().find(|preset| preset.name == name);
        let unknown = || ModelError::Preset(name.chars().take(32).collect());
        Ok((found.ok_or_else(unknown)?.model)(vocabulary))
    }

    /// The shapes of a sample before the first layer and after each layer: one more than there are layers.
    pub fn shapes(&self) -> Result<Vec<Vec<usize>>, ModelError> {
        if self.layers.is_empty() || self.layers.len() > LAYERS_MAX {
            return Err(ModelError::Layers(self.layers.len()));
        }
        check_size(|| "a sample".to_owned(), &self.input, SAMPLE_RANK_MAX)?;
        let mut shapes = vec![self.input.clone()];
        for (index, spec) in self.layers.iter().enumerate() {
            let layer = spec.layer();
            for parameter in layer.parameters() {
                check_size(
                    || format!("{}.{}", index, parameter.name),
                    &parameter.shape,
                    RANK_MAX,
                )?;
            }
            if layer.tokens().is_some() && index > 0 {
                return Err(ModelError::Tokens {
                    layer: index,
                    description: layer.describe(),
                });
            }
            let input = &shapes[index];
            let output = layer
                .output_shape(input)
                .map_err(|expected| ModelError::Shape {
                    layer: index,
                    description: layer.describe(),
                    expected,
                    actual: input.clone(),
                })?;
            check_size(
                || format!("the output of layer {index}"),
                &output,
                SAMPLE_RANK_MAX,
            )?;
            shapes.push(output);
        }
        Ok(shapes)
    }

    /// For each layer, the number of its module in PyTorch's `nn.Sequential`: a layer of its own is a module, and both halves
    /// of a transformer block are one.
    pub fn modules(&self) -> Vec<usize> {
        let mut module = 0;
        let number = |(index, spec): (usize, &LayerSpec)| {
            let before = index.checked_sub(1).map(|before| &self.layers[before]);
            if before.is_some_and(|before| !spec.layer().joins(before)) {
                module += 1;
            }
            module
        };
        self.layers.iter().enumerate().map(number).collect()
    }

    /// A character-level or larger transformer, as `gpt` of the twins makes it: tokens and positions, blocks, a normalisation
    /// and a linear layer without bias that is not tied to the tokens.
    pub fn gpt(sizes: &GptSizes) -> Self {
        let GptSizes {
            vocabulary,
            blocks,
            width,
            heads,
            context,
        } = *sizes;
        let embedding = Embedding {
            vocabulary,
            context,
            width,
        };
        let mut layers: Vec<LayerSpec> = vec![embedding.into()];
        // One block more than a model may have layers is enough to be refused.
        for _ in 0..blocks.min(LAYERS_MAX) {
            layers.push(TransformerAttention { width, heads }.into());
            layers.push(TransformerMlp { width }.into());
        }
        layers.push(LayerNorm { width }.into());
        let head = Linear {
            inputs: width,
            outputs: vocabulary,
            bias: false,
        };
        layers.push(head.into());
        Self::new(vec![context], layers)
    }

    /// One outline per layer.
    pub fn outline(&self) -> Result<Vec<LayerOutline>, ModelError> {
        let shapes = self.shapes()?;
        let outline = |(spec, shapes): (&LayerSpec, &[Vec<usize>])| {
            let (layer, input, output) = (spec.layer(), elements(&shapes[0]), elements(&shapes[1]));
            let kept = layer.keeps();
            let stash = [
                (kept.input, input),
                (kept.output, output),
                (kept.output_gradient, output),
            ];
            let own = layer.workspace(1, &shapes[0]).into_iter();
            let own = own.filter(|own| own.lifetime == Lifetime::Slot);
            let kept_words = stash
                .iter()
                .filter(|(kept, _)| *kept)
                .map(|(_, words)| *words)
                .chain(own.map(|own| own.words));
            LayerOutline {
                description: layer.describe(),
                flops: layer.flops(&shapes[0]),
                parameters: layer
                    .parameters()
                    .iter()
                    .map(|p| elements(&p.shape) as u64)
                    .sum(),
                output_bytes: 4 * output as u64,
                stash_bytes: 4 * kept_words.sum::<usize>() as u64,
            }
        };
        Ok(self
            .layers
            .iter()
            .zip(shapes.windows(2))
            .map(outline)
            .collect())
    }
}

/// The product of a shape that [`check_size`] has passed.
pub(crate) fn elements(shape: &[usize]) -> usize {
    shape.iter().product()
}

fn check_size(
    what: impl FnOnce() -> String,
    shape: &[usize],
    rank_max: usize,
) -> Result<(), ModelError> {
    let product = shape
        .iter()
        .try_fold(1usize, |product, size| product.checked_mul(*size));
    match product {
        Some(1..=ELEMENTS_MAX) if shape.len() <= rank_max => Ok(()),
        _ => {
            let shape = shape.iter().copied().take(2 * RANK_MAX).collect();
            Err(ModelError::Size {
                what: what(),
                shape,
            })
        }
    }
}

fn preset_names() -> String {
    PRESETS
        .iter()
        .map(|preset| preset.name)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Three linear layers over images of 28 x 28, as `nn.Sequential` numbers them.
fn mlp() -> ModelSpec {
    ModelSpec::new(
        vec![784],
        vec![
            LayerSpec::linear(784, 256),
            LayerSpec::relu(),
            LayerSpec::linear(256, 128),
            LayerSpec::relu(),
            LayerSpec::linear(128, 10),
        ],
    )
}

/// Two convolutions and a linear layer over images of 28 x 28, as `nn.Sequential` numbers them.
fn cnn() -> ModelSpec {
    let convolution = |inputs, outputs| Conv2d {
        inputs,
        outputs,
        kernel: 3,
        stride: 1,
        padding: 1,
    };
    let pooling = MaxPool2d {
        kernel: 2,
        stride: None,
    };
    ModelSpec::new(
        vec![1, 28, 28],
        vec![
            convolution(1, 16).into(),
            LayerSpec::relu(),
            pooling.clone().into(),
            convolution(16, 32).into(),
            LayerSpec::relu(),
            pooling.into(),
            Flatten {}.into(),
            LayerSpec::linear(32 * 7 * 7, 10),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mlp_has_the_shapes_and_costs_that_one_counts_by_hand() {
        let outline = ModelSpec::preset("mlp")
            .and_then(|model| model.outline())
            .expect("a model");
        let words: Vec<_> = outline
            .iter()
            .map(|layer| layer.description.as_str())
            .collect();
        assert_eq!(
            words,
            [
                "linear 784 → 256",
                "relu",
                "linear 256 → 128",
                "relu",
                "linear 128 → 10"
            ]
        );
        assert_eq!(
            outline.iter().map(|layer| layer.parameters).sum::<u64>(),
            235_146
        );
        assert_eq!(outline[0].flops, [401_408.0, 401_408.0, 401_408.0]);
        assert_eq!(outline[0].output_bytes, 1024);
        assert_eq!(outline[0].stash_bytes, 4 * (784 + 256));
        assert_eq!(outline[1].stash_bytes, 4 * 256);
    }

    #[test]
    fn presets_have_as_many_parameters_as_pytorchs_twins() {
        let count = |name| -> u64 {
            let model = ModelSpec::preset(name).expect("a preset");
            let outline = model.outline().expect("a model");
            outline.iter().map(|layer| layer.parameters).sum()
        };
        assert_eq!(count("cnn"), 160 + 4640 + 15_690);
        // A block of width D has 12 D² + 13 D.
        let block = |width: u64| 12 * width * width + 13 * width;
        let nano = 65 * 128 + 64 * 128 + 4 * block(128) + 2 * 128 + 65 * 128;
        assert_eq!(count("gpt-nano"), nano);
        let small = 65 * 768 + 256 * 768 + 12 * block(768) + 2 * 768 + 65 * 768;
        assert_eq!(count("gpt-small"), small);
    }

    #[test]
    fn both_halves_of_a_block_are_one_module_and_every_other_layer_is_its_own() {
        let nano = ModelSpec::preset("gpt-nano").expect("a preset");
        assert_eq!(nano.modules(), [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 6]);
        let cnn = ModelSpec::preset("cnn").expect("a preset");
        assert_eq!(cnn.modules(), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn costs_of_a_block_count_what_its_links_cost_and_keep() {
        let nano = ModelSpec::preset("gpt-nano").expect("a preset");
        let outline = nano.outline().expect("a model");
        let (tokens, width) = (64.0, 128.0);
        let products = 2.0 * tokens * width * 4.0 * width;
        let [forward, backward, weights] = outline[1].flops;
        assert!(forward > products && forward < 1.5 * products, "{forward}");
        assert!(
            backward > products && backward < 2.0 * products,
            "{backward}"
        );
        assert!(weights >= products && weights < 1.1 * products, "{weights}");
        // In numbers of (T, D): input, its normalisation, q k v, the attention, gradients after the normalisation, q k v, the
        // projection; then the moments and the log-sums.
        let kept = (1 + 1 + 3 + 1 + 1 + 3 + 1) * 64 * 128 + 2 * 64 + 4 * 64;
        assert_eq!(outline[1].stash_bytes, 4 * kept);
    }

    #[test]
    fn tokens_after_the_first_layer_are_refused() {
        let embedding = || Embedding {
            vocabulary: 3,
            context: 4,
            width: 4,
        };
        let layers = vec![embedding().into(), Flatten {}.into(), embedding().into()];
        let error = ModelSpec::new(vec![4], layers).shapes();
        assert!(matches!(error, Err(ModelError::Tokens { layer: 2, .. })));
    }

    #[test]
    fn a_layer_that_does_not_fit_is_named_with_both_shapes() {
        let layers = vec![LayerSpec::linear(8, 4), LayerSpec::linear(5, 2)];
        let model = ModelSpec::new(vec![8], layers);
        let text = model.shapes().expect_err("5 is not 4").to_string();
        assert_eq!(
            text,
            "layer 1 (linear 5 → 2) takes samples of shape [.., 5], but gets [4]"
        );
    }

    #[test]
    fn sizes_from_a_hostile_run_file_are_refused_without_overflow() {
        let model =
            |input: Vec<usize>, layers: Vec<LayerSpec>| ModelSpec::new(input, layers).outline();
        assert!(model(vec![usize::MAX, usize::MAX], vec![LayerSpec::relu()]).is_err());
        assert!(model(vec![0], vec![LayerSpec::relu()]).is_err());
        assert!(model(vec![1], vec![]).is_err());
        assert!(model(vec![1 << 20], vec![LayerSpec::linear(1 << 20, 1 << 20)]).is_err());
        assert!(model(vec![1; 1000], vec![LayerSpec::relu()]).is_err());
        assert!(model(vec![4], vec![LayerSpec::relu(); LAYERS_MAX + 1]).is_err());
        assert!(model(vec![4], vec![LayerSpec::relu(); LAYERS_MAX]).is_ok());
        let huge = [0, 1, 2, usize::MAX / 2, usize::MAX];
        for (a, b) in huge.iter().flat_map(|a| huge.iter().map(move |b| (*a, *b))) {
            let convolution = Conv2d {
                inputs: a,
                outputs: b,
                kernel: a,
                stride: b,
                padding: a,
            };
            let pooling = MaxPool2d {
                kernel: a,
                stride: Some(b),
            };
            let sizes = GptSizes {
                vocabulary: a,
                blocks: 1,
                width: b,
                heads: a,
                context: b,
            };
            for image in [[1, 2, 2], [a, b, a]] {
                model(image.to_vec(), vec![convolution.clone().into()]).ok();
                model(image.to_vec(), vec![pooling.clone().into()]).ok();
            }
            ModelSpec::gpt(&sizes).outline().ok();
            let mlp = TransformerMlp { width: a };
            model(vec![b, a], vec![mlp.into()]).ok();
        }
    }

    #[test]
    fn an_unknown_preset_is_answered_with_the_known_ones() {
        let text = ModelSpec::preset("cmm")
            .expect_err("no such preset")
            .to_string();
        assert!(text.contains("mlp"), "{text}");
    }
}
