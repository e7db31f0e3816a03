//! Loss and accuracy, gathered at the tail.

use super::Loss;
use crate::ids::MicroBatchId;
use crate::signal::Point;
use crate::time::Time;
use crate::wire::{PROGRESS_POINTS_MAX, Purpose};
use std::time::Duration;

/// Points are sent at most this often, so that a fast run does not spend its time on talk.
pub(super) const POINTS_INTERVAL: Duration = Duration::from_millis(200);

/// Sums over the micro-batches of one step or one evaluation.
#[derive(Debug, Default)]
pub(super) struct Tally {
    loss: f64,
    correct: u64,
    samples: u64,
    micro_batches: u16,
    pending: Vec<Point>,
    due: Option<Time>,
    sent: Option<Time>,
}

impl Tally {
    /// Adds a micro-batch of `count` that make up the step or evaluation.
    pub(super) fn add(
        &mut self,
        now: Time,
        purpose: Purpose,
        id: MicroBatchId,
        count: u16,
        loss: Loss,
    ) {
        self.loss += f64::from(loss.sum);
        self.correct += u64::from(loss.correct);
        self.samples += u64::from(loss.samples);
        self.micro_batches += 1;
        if self.micro_batches < count {
            return;
        }
        let samples = self.samples.max(1) as f64;
        let point = match purpose {
            Purpose::Train => Point {
                step: id.step.0,
                loss: Some((self.loss / samples) as f32),
                accuracy: None,
            },
            Purpose::Evaluate => Point {
                step: id.step.0,
                loss: None,
                accuracy: Some((self.correct as f64 / samples) as f32),
            },
        };
        // A run so fast that a frame overflows loses points of the picture, nothing else.
        if self.pending.len() < PROGRESS_POINTS_MAX {
            self.pending.push(point);
        }
        (self.loss, self.correct, self.samples, self.micro_batches) = (0.0, 0, 0, 0);
        let earliest = self.sent.map_or(now, |sent| sent + POINTS_INTERVAL);
        self.due.get_or_insert(earliest.max(now));
    }

    /// When points are due.
    pub(super) fn due(&self) -> Option<Time> {
        self.due
    }

    /// The points that are due by now, or all at the end.
    pub(super) fn take(&mut self, now: Time, end: bool) -> Option<Vec<Point>> {
        let due = self.due.is_some_and(|due| now >= due);
        if !(due || end) || self.pending.is_empty() {
            return None;
        }
        self.due = None;
        self.sent = Some(now);
        Some(std::mem::take(&mut self.pending))
    }
}
