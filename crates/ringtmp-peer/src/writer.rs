//! A trained model of text that goes on with what it is given.

use crate::predictor::{likeliest, probabilities};
use crate::run_file::Run;
use crate::solo;
use ringtmp_compute::{ComputeError, Executor, Packed, Parameter, Stage, StageConfig};
use ringtmp_data::Vocabulary;

/// A trained model of text, and the characters it knows.
#[derive(Debug)]
pub struct Writer {
    /// The whole model, for one sample at a time.
    stage: Stage,
    vocabulary: Vocabulary,
    /// Tokens of a sample.
    context: usize,
}

/// How characters are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Manner {
    /// What the logits are divided by: 0 always takes the likeliest character, 1 draws as often as the model expects it.
    pub temperature: f32,
    /// Makes what is drawn.
    pub seed: u64,
}

/// What a model answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// In characters.
    pub text: String,
    /// How probable the model holds just these, 0 to 1.
    pub probability: f32,
}

/// Why nothing can be written.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    /// The run's samples are no text.
    #[error("the model of this run takes numbers, not text")]
    NotText,
    /// Nothing to go on with.
    #[error("there is nothing to go on with: give a prompt of at least one character")]
    NoPrompt,
    /// The text behind the model does not contain it.
    #[error("the model does not know the character {0:?}; leave it out of the prompt")]
    Character(char),
    /// A temperature that is none.
    #[error("a temperature of {0}: it must be a finite number, 0 or more")]
    Temperature(f32),
    /// The device cannot compute it.
    #[error(transparent)]
    Compute(#[from] ComputeError),
}

impl Writer {
    /// A model with these weights, whose tokens stand for the characters of the data that it was trained on; none of data
    /// that are no text.
    ///
    /// # Errors
    ///
    /// That the run is not one of text, or what keeps this device from holding its model.
    pub async fn new(
        run: &Run,
        vocabulary: Option<&Vocabulary>,
        weights: &[Parameter],
        executor: Executor,
    ) -> Result<Self, WriterError> {
        let vocabulary = vocabulary.ok_or(WriterError::NotText)?.clone();
        let config = StageConfig {
            micro_batch: 1,
            batch: 1,
            ..solo::config(run)
        };
        let mut stage = Stage::new(config, executor).await?;
        stage.set_parameters(weights)?;
        Ok(Self {
            stage,
            vocabulary,
            context: run.input_shape().iter().product(),
        })
    }

    /// At most so many characters that go on with the prompt, up to and without `end`. The model sees as much of the end of
    /// the text as its context holds.
    ///
    /// # Errors
    ///
    /// What is wrong with prompt or manner, or what the device cannot compute.
    pub async fn go_on(
        &mut self,
        prompt: &str,
        characters_max: usize,
        end: Option<char>,
        manner: Manner,
    ) -> Result<String, WriterError> {
        if !(manner.temperature.is_finite() && manner.temperature >= 0.0) {
            return Err(WriterError::Temperature(manner.temperature));
        }
        let mut tokens = self.tokens(prompt)?;
        let mut text = String::new();
        for place in 0..characters_max {
            let logits = self.logits(&tokens).await?;
            let token = choose(&logits, manner.temperature, uniform(manner.seed, place));
            let written = self.vocabulary.decode(&[token]);
            if end.is_some_and(|end| written.starts_with(end)) {
                break;
            }
            text.push_str(&written);
            tokens.push(token);
        }
        Ok(text)
    }

    /// What the model answers: each time the likeliest character, up to and without `end`, at most so many.
    ///
    /// # Errors
    ///
    /// As [`Self::go_on`].
    pub async fn answer(
        &mut self,
        prompt: &str,
        characters_max: usize,
        end: char,
    ) -> Result<Answer, WriterError> {
        let mut tokens = self.tokens(prompt)?;
        let mut answer = Answer {
            text: String::new(),
            probability: 1.0,
        };
        for _ in 0..characters_max {
            let expected = probabilities(&self.logits(&tokens).await?);
            let token = likeliest(&expected);
            answer.probability *= expected[token];
            let written = self.vocabulary.decode(&[token as u32]);
            if written.starts_with(end) {
                break;
            }
            answer.text.push_str(&written);
            tokens.push(token as u32);
        }
        Ok(answer)
    }

    /// What the model expects after the prompt: every character it knows and how probable it is, the likeliest first.
    ///
    /// # Errors
    ///
    /// As [`Self::go_on`].
    pub async fn next(&mut self, prompt: &str) -> Result<Vec<(String, f32)>, WriterError> {
        let tokens = self.tokens(prompt)?;
        let expected = probabilities(&self.logits(&tokens).await?);
        let named = |(token, probability)| (self.vocabulary.decode(&[token]), probability);
        let mut named: Vec<_> = (0..).zip(expected).map(named).collect();
        named.sort_by(|a, b| b.1.total_cmp(&a.1));
        Ok(named)
    }

    fn tokens(&self, prompt: &str) -> Result<Vec<u32>, WriterError> {
        let tokens = self.vocabulary.encode(prompt);
        let tokens = tokens.map_err(WriterError::Character)?;
        if tokens.is_empty() {
            return Err(WriterError::NoPrompt);
        }
        Ok(tokens)
    }

    /// What the model expects after these tokens, one logit for each character.
    async fn logits(&mut self, tokens: &[u32]) -> Result<Vec<f32>, ComputeError> {
        let seen = &tokens[tokens.len().saturating_sub(self.context)..];
        // No token looks at those after it, so that it does not matter what fills the rest.
        let mut sample = seen.to_vec();
        sample.resize(self.context, 0);
        let input = Packed::from_u32(&[1, self.context], &sample).map_err(ComputeError::Tensor)?;
        let logits = self.stage.forward(0, &input).await?;
        let logits = logits.f32s().map_err(ComputeError::Tensor)?;
        let width = logits.len() / self.context;
        let last = (seen.len() - 1) * width;
        // A model may tell more tokens apart than there are characters.
        let known = width.min(self.vocabulary.len());
        Ok(logits[last..last + known].to_vec())
    }
}

/// The token for a draw in 0..1, by the softmax of the logits over the temperature; at 0 the likeliest, of equal ones the first.
pub(crate) fn choose(logits: &[f32], temperature: f32, draw: f64) -> u32 {
    let best = likeliest(logits);
    if temperature == 0.0 {
        return best as u32;
    }
    let scale = f64::from(temperature);
    let weight = |logit: &f32| (f64::from(logit - logits[best]) / scale).exp();
    let mut left = draw * logits.iter().map(weight).sum::<f64>();
    for (token, logit) in logits.iter().enumerate() {
        left -= weight(logit);
        if left < 0.0 {
            return token as u32;
        }
    }
    best as u32
}

/// A number in 0..1 for each place of each seed (SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014).
pub(crate) fn uniform(seed: u64, place: usize) -> f64 {
    let place = place as u64 + 1;
    let z = seed.wrapping_add(place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ z >> 31) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_drawn_as_often_as_the_model_expects_them() {
        // Softmax: a quarter, three quarters, nothing.
        let logits = [0.0, 3.0f32.ln(), f32::NEG_INFINITY];
        let mut counts = [0; 3];
        for place in 0..10_000 {
            counts[choose(&logits, 1.0, uniform(7, place)) as usize] += 1;
        }
        assert!((2300..2700).contains(&counts[0]), "{counts:?}");
        assert_eq!(counts[2], 0);
        assert_eq!(choose(&logits, 0.0, 0.0), 1);
        // Nearly cold: the likeliest, but for the smallest of draws.
        assert_eq!(choose(&logits, 0.01, 0.5), 1);
        assert_eq!(choose(&[1.0, 1.0], 0.0, 0.9), 0);
    }
}
