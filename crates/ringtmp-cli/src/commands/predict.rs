//! `ringtmp predict`: what a trained model says of samples.

use super::trained::Trained;
use crate::files;
use anyhow::{Context, Result, bail};
use clap::Args;
use ringtmp_peer::{
    CSV_BYTES_MAX, DataPlace, Dataset, Executor, ExecutorChoice, IDX_BYTES_MAX, Measure, Parameter,
    Prediction, Predictor, Questions, Run, Solo, Writer, open_data,
};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Classes, or characters, that are told of each sample.
const NAMED: usize = 3;

/// The longest answer to a sum: three digits are enough, and a model that has not learnt to end writes no more.
const ANSWER_CHARACTERS_MAX: usize = 8;

/// What ends an answer.
const END: char = '\n';

#[derive(Args, Debug)]
pub(crate) struct Predict {
    #[command(flatten)]
    trained: Trained,
    /// Tell the classes of the images in this IDX file, gzipped or not
    #[arg(long, value_name = "FILE", group = "asked")]
    images: Option<PathBuf>,
    /// Tell the classes of the rows of this table: as many numbers as the model takes, and a label if there is one
    #[arg(long, value_name = "FILE.csv", group = "asked")]
    rows: Option<PathBuf>,
    /// Tell what a model of text answers, such as to 17+25=; may be said again
    #[arg(long, value_name = "TEXT", group = "asked")]
    prompt: Vec<String>,
    /// At most so many samples
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    samples: u32,
    /// Write JSON, a line for each sample
    #[arg(long)]
    json: bool,
    /// What computes: auto, gpu or cpu
    #[arg(long, default_value = "auto")]
    executor: ExecutorChoice,
}

/// A line of what is told.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Line {
    Class {
        sample: usize,
        class: usize,
        probabilities: Vec<f32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<u32>,
    },
    Answer {
        prompt: String,
        answer: String,
        probability: f32,
        #[serde(skip_serializing_if = "Option::is_none")]
        expected: Option<String>,
    },
    Next {
        prompt: String,
        next: Vec<(String, f32)>,
    },
    Total {
        samples: usize,
        /// Mean over characters, of held-out text.
        #[serde(skip_serializing_if = "Option::is_none")]
        loss: Option<f32>,
        measure: &'static str,
        right: f64,
    },
}

/// Tells what the model says of the samples that were named, or of the run's held-out ones.
pub(crate) async fn run(predict: Predict) -> Result<()> {
    let (run, weights) = predict.trained.read()?;
    let executor = Executor::open(predict.executor).await?;
    let tell = Tell { json: predict.json };
    if !predict.prompt.is_empty() {
        let data = open_data(&run, &DataPlace::Disk).await?;
        let writer = Writer::new(&run, data.vocabulary(), &weights, executor);
        let mut writer = Box::pin(writer).await?;
        return answer(&run, &mut writer, &predict.prompt, &tell).await;
    }
    if let Some((path, questions)) = predict.questions(&run)? {
        let predictor = Predictor::new(&run, &weights, executor);
        let mut predictor = Box::pin(predictor).await?;
        let told = classes(&mut predictor, questions, predict.samples, &tell).await;
        return told.with_context(|| path.display().to_string());
    }
    held_out(&run, &weights, executor, predict.samples, &tell).await
}

impl Predict {
    /// The samples of the file that was named, if one was.
    fn questions(&self, run: &Run) -> Result<Option<(&Path, Questions)>> {
        if let Some(path) = &self.images {
            let questions = Questions::images(&files::read(path, IDX_BYTES_MAX)?);
            let questions = questions.with_context(|| path.display().to_string())?;
            return Ok(Some((path, questions)));
        }
        let Some(path) = &self.rows else {
            return Ok(None);
        };
        let columns = run.input_shape().iter().product();
        let questions = Questions::csv(&files::read(path, CSV_BYTES_MAX)?, columns);
        let questions = questions.with_context(|| path.display().to_string())?;
        Ok(Some((path, questions)))
    }
}

/// The run's own held-out samples.
async fn held_out(
    run: &Run,
    weights: &[Parameter],
    executor: Executor,
    samples: u32,
    tell: &Tell,
) -> Result<()> {
    let data = open_data(run, &DataPlace::Disk).await?;
    match run.measure() {
        Measure::Accuracy => {
            let batch = data.test(0, samples);
            let questions = Questions {
                numbers: batch.inputs.floats().to_vec(),
                columns: data.sample_shape().iter().product(),
                labels: Some(batch.labels),
            };
            let mut predictor = Box::pin(Predictor::new(run, weights, executor)).await?;
            classes(&mut predictor, questions, samples, tell).await
        }
        Measure::ExactMatch => {
            let writer = Writer::new(run, data.vocabulary(), weights, executor);
            let mut writer = Box::pin(writer).await?;
            exact_match(&mut writer, &data, samples, tell).await
        }
        Measure::Characters => {
            let mut run = run.clone();
            run.file.evaluation_samples = samples.min(data.test_len());
            let mut solo = Solo::new(run, data, executor).await?;
            solo.set_weights(weights)?;
            let Some(score) = solo.evaluate().await? else {
                bail!("the text has nothing held out");
            };
            tell.line(&Line::Total {
                samples: solo.run().file.evaluation_samples as usize,
                loss: Some(score.loss),
                measure: solo.run().measure().words(),
                right: f64::from(score.accuracy),
            })
        }
    }
}

async fn classes(
    predictor: &mut Predictor,
    questions: Questions,
    samples: u32,
    tell: &Tell,
) -> Result<()> {
    let Questions {
        mut numbers,
        columns,
        labels,
    } = questions;
    numbers.truncate(columns.saturating_mul(samples as usize));
    let predictions = predictor.predict(&numbers, columns).await?;
    let (count, mut right) = (predictions.len(), 0);
    for (sample, prediction) in predictions.into_iter().enumerate() {
        let label = labels
            .as_ref()
            .and_then(|labels| labels.get(sample).copied());
        let class = Prediction::class(&prediction);
        right += usize::from(label.is_some_and(|label| label as usize == class));
        tell.line(&Line::Class {
            sample,
            class,
            probabilities: prediction.probabilities,
            label,
        })?;
    }
    match labels {
        Some(_) => tell.total(right, count, Measure::Accuracy),
        None => Ok(()),
    }
}

/// Held-out sums, as the model answers them by itself, a character after the other.
async fn exact_match(writer: &mut Writer, data: &Dataset, samples: u32, tell: &Tell) -> Result<()> {
    let (mut right, mut count) = (0, 0);
    for [prompt, expected] in (0..samples).map_while(|place| data.test_question(place)) {
        let answer = writer.answer(&prompt, ANSWER_CHARACTERS_MAX, END).await?;
        right += usize::from(answer.text == expected);
        count += 1;
        tell.line(&Line::Answer {
            prompt,
            answer: answer.text,
            probability: answer.probability,
            expected: Some(expected),
        })?;
    }
    tell.total(right, count, Measure::ExactMatch)
}

async fn answer(run: &Run, writer: &mut Writer, prompts: &[String], tell: &Tell) -> Result<()> {
    for prompt in prompts {
        let line = if run.measure() == Measure::ExactMatch {
            let answer = writer.answer(prompt, ANSWER_CHARACTERS_MAX, END).await?;
            Line::Answer {
                prompt: prompt.clone(),
                answer: answer.text,
                probability: answer.probability,
                expected: None,
            }
        } else {
            Line::Next {
                prompt: prompt.clone(),
                next: writer.next(prompt).await?,
            }
        };
        tell.line(&line)?;
    }
    Ok(())
}

/// How lines are written.
struct Tell {
    json: bool,
}

impl Tell {
    fn line(&self, line: &Line) -> Result<()> {
        if self.json {
            outln!("{}", serde_json::to_string(line)?);
        } else {
            outln!("{}", words(line));
        }
        Ok(())
    }

    fn total(&self, right: usize, samples: usize, measure: Measure) -> Result<()> {
        self.line(&Line::Total {
            samples,
            loss: None,
            measure: measure.words(),
            right: right as f64 / samples.max(1) as f64,
        })
    }
}

fn words(line: &Line) -> String {
    match line {
        Line::Class {
            sample,
            class,
            probabilities,
            label,
        } => {
            let mut order: Vec<usize> = (0..probabilities.len()).collect();
            order.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
            let share = |class: &usize| format!("{class} {}", percent(probabilities[*class]));
            let most: Vec<String> = order.iter().take(NAMED).map(share).collect();
            let verdict = match label {
                Some(label) if *label as usize == *class => ", right".to_owned(),
                Some(label) => format!(", wrong: it is {label}"),
                None => String::new(),
            };
            format!("sample {sample}: class {}{verdict}", most.join(", "))
        }
        Line::Answer {
            prompt,
            answer,
            probability,
            expected,
        } => {
            let verdict = match expected {
                Some(expected) if expected == answer => ", right".to_owned(),
                Some(expected) => format!(", wrong: it is {expected}"),
                None => String::new(),
            };
            format!("{prompt}{answer}  {}{verdict}", percent(*probability))
        }
        Line::Next { prompt, next } => {
            let share = |(text, share): &(String, f32)| format!("{text:?} {}", percent(*share));
            let most: Vec<String> = next.iter().take(NAMED).map(share).collect();
            format!("{prompt:?}: {}", most.join(", "))
        }
        Line::Total {
            samples,
            loss,
            measure,
            right,
        } => {
            let loss = loss.map_or_else(String::new, |loss| format!("loss {loss:.4}, "));
            format!(
                "{loss}{measure} {} of {samples} samples",
                percent(*right as f32)
            )
        }
    }
}

fn percent(share: f32) -> String {
    format!("{:.1} %", 100.0 * share)
}
