//! Samples as they are handed out.

/// Samples and what they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Row-major, (samples, numbers or tokens of a sample).
    pub inputs: Inputs,
    /// (samples, labels of a sample): one class for a row of numbers, the token that follows for each token of a text.
    /// [`UNLABELLED`] where nothing is to be learnt.
    pub labels: Vec<u32>,
    samples: usize,
}

/// The label of a place that has no loss.
pub const UNLABELLED: u32 = u32::MAX;

/// What a model gets to see.
#[derive(Clone, Debug, PartialEq)]
pub enum Inputs {
    /// Numbers: ink of a picture, from 0 for paper to 1, or the columns of a table as they are.
    Floats(Vec<f32>),
    /// Characters, as places in a [`crate::Vocabulary`].
    Tokens(Vec<u32>),
}

impl Inputs {
    /// The numbers; none where there are tokens.
    pub fn floats(&self) -> &[f32] {
        match self {
            Self::Floats(numbers) => numbers,
            Self::Tokens(_) => &[],
        }
    }

    /// The tokens; none where there are numbers.
    pub fn tokens(&self) -> &[u32] {
        match self {
            Self::Floats(_) => &[],
            Self::Tokens(tokens) => tokens,
        }
    }
}

impl Batch {
    /// How many samples.
    pub fn len(&self) -> usize {
        self.samples
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// No rows of numbers yet, with room for some.
    pub(crate) fn of_floats(samples: usize, width: usize) -> Self {
        Self {
            inputs: Inputs::Floats(Vec::with_capacity(samples.saturating_mul(width))),
            labels: Vec::with_capacity(samples),
            samples: 0,
        }
    }

    /// No texts yet, with room for some.
    pub(crate) fn of_tokens(samples: usize, context: usize) -> Self {
        let tokens = samples.saturating_mul(context);
        Self {
            inputs: Inputs::Tokens(Vec::with_capacity(tokens)),
            labels: Vec::with_capacity(tokens),
            samples: 0,
        }
    }

    /// Adds a row of numbers and its class.
    pub(crate) fn push_floats(&mut self, row: impl IntoIterator<Item = f32>, label: u32) {
        if let Inputs::Floats(numbers) = &mut self.inputs {
            numbers.extend(row);
        }
        self.labels.push(label);
        self.samples += 1;
    }

    /// Adds a text and what follows each of its characters.
    pub(crate) fn push_tokens(
        &mut self,
        tokens: impl IntoIterator<Item = u32>,
        labels: impl IntoIterator<Item = u32>,
    ) {
        if let Inputs::Tokens(all) = &mut self.inputs {
            all.extend(tokens);
        }
        self.labels.extend(labels);
        self.samples += 1;
    }

    /// Adds samples of zeros without labels, each with `width` inputs, until there are `samples`.
    pub(crate) fn pad(&mut self, samples: usize, width: usize) {
        let missing = samples.saturating_sub(self.samples);
        let per_sample = match &mut self.inputs {
            Inputs::Floats(numbers) => {
                numbers.resize(numbers.len() + missing * width, 0.0);
                1
            }
            Inputs::Tokens(tokens) => {
                tokens.resize(tokens.len() + missing * width, 0);
                width
            }
        };
        let labels = self.labels.len() + missing * per_sample;
        self.labels.resize(labels, UNLABELLED);
        self.samples += missing;
    }
}
