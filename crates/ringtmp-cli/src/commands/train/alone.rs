//! A run in this process alone.

use super::bar::Bar;
use super::log::Log;
use super::{Ended, HeldOut, checkpoint_path, read_checkpoint, write_norms};
use crate::arguments::Train;
use crate::exit::Failure;
use crate::files;
use crate::interrupt::interrupted;
use anyhow::{Result, bail};
use futures::FutureExt;
use ringtmp_peer::{DataPlace, Executor, Measure, Parameter, Run, Score, Solo, open_data};
use std::path::Path;
use std::pin::pin;

/// Trains until the last step, an interruption or an error; where checkpoints are kept, the last good weights are in one.
pub(super) async fn train(
    train: &Train,
    run: Run,
    initial: Option<Vec<Parameter>>,
    quiet: bool,
) -> Result<Ended> {
    let mut solo = begin(train, run, initial.as_deref()).await?;
    if let Some(path) = &train.gradient_norms {
        write_norms(path, &solo.gradient_norms().await?)?;
    }
    let mut log = match &train.log {
        Some(path) => Some(Log::open(path, solo.steps_done())?),
        None => None,
    };
    let mut bar = Bar::new(solo.run().file.steps, solo.steps_done(), quiet);
    let outcome = steps(train, &mut solo, &mut log, &mut bar).await;
    bar.end();
    if let Some(folder) = &train.checkpoint {
        let kept = keep(&solo, folder).await;
        // Why training has ended matters more than that the device has nothing left to keep.
        if outcome.is_ok() {
            kept?;
        } else if let Err(error) = kept {
            tracing::warn!(%error, "the last weights are not kept; the checkpoint before them is");
        }
    }
    let (loss, held_out) = outcome?;
    Ok(Ended {
        steps: solo.steps_done(),
        measure: solo.run().measure(),
        weights: solo.checkpoint().await?.weights,
        loss,
        held_out: held_out.map(HeldOut::from),
        report: None,
        reported: false,
    })
}

async fn begin(train: &Train, run: Run, initial: Option<&[Parameter]>) -> Result<Solo> {
    let data = open_data(&run, &DataPlace::Disk).await?;
    let executor = Executor::open(train.executor).await?;
    let mut solo = Solo::new(run, data, executor).await?;
    if let Some(sources) = train.sources {
        solo.divide(sources)?;
    }
    if let Some(weights) = initial {
        solo.set_weights(weights)?;
    }
    match &train.checkpoint {
        Some(folder) if train.resume => solo.resume(&read_checkpoint(folder)?)?,
        _ => {}
    }
    Ok(solo)
}

/// The loss of the last step, and the last score on held-out samples.
async fn steps(
    train: &Train,
    solo: &mut Solo,
    log: &mut Option<Log>,
    bar: &mut Bar,
) -> Result<(Option<f32>, Option<Score>)> {
    let mut interrupt = pin!(interrupted());
    let (steps, every) = (solo.run().file.steps, solo.run().file.evaluate_every);
    let measure = solo.run().measure();
    let (mut loss, mut held_out) = (None, None);
    while solo.steps_done() < steps {
        if interrupt.as_mut().now_or_never().is_some() {
            return Err(Failure::Interrupted.into());
        }
        let step = solo.steps_done();
        let score = solo.step().await?;
        loss = Some(score.loss);
        if let Some(log) = log {
            log.write(step, score.loss)?;
        }
        let done = solo.steps_done();
        if done < steps && every > 0 && done.is_multiple_of(every) {
            held_out = solo.evaluate().await?;
        }
        if let Some(folder) = &train.checkpoint
            && done < steps
            && done.is_multiple_of(train.checkpoint_every)
        {
            keep(solo, folder).await?;
        }
        bar.show(done, &words(measure, score, held_out));
    }
    held_out = solo.evaluate().await?;
    Ok((loss, held_out))
}

/// Keeps the weights, if they are of use.
async fn keep(solo: &Solo, folder: &Path) -> Result<()> {
    let checkpoint = solo.checkpoint().await?;
    if !checkpoint.is_finite() {
        bail!(
            "the weights after step {} are no finite numbers: training has diverged, try a smaller learning rate",
            checkpoint.step
        );
    }
    files::replace(&checkpoint_path(folder), &checkpoint.encode())
}

fn words(measure: Measure, score: Score, held_out: Option<Score>) -> String {
    let mut words = format!("loss {:.4}", score.loss);
    if let Some(held_out) = held_out {
        words += &format!(
            "  held out: loss {:.4}, {} {:.1} %",
            held_out.loss,
            measure.words(),
            100.0 * held_out.accuracy
        );
    }
    words
}
