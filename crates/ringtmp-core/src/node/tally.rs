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
struct Sums {
    loss: f64,
    correct: u64,
    samples: u64,
    micro_batches: u16,
}

/// What becomes points of the curve. A step's last losses may come after the first of the evaluation that follows it.
#[derive(Debug, Default)]
pub(super) struct Tally {
    step: Sums,
    evaluation: Sums,
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
        let sums = match purpose {
            Purpose::Train => &mut self.step,
            Purpose::Evaluate => &mut self.evaluation,
        };
        sums.loss += f64::from(loss.sum);
        sums.correct += u64::from(loss.correct);
        sums.samples += u64::from(loss.samples);
        sums.micro_batches += 1;
        if sums.micro_batches < count {
            return;
        }
        let sums = std::mem::take(sums);
        let samples = sums.samples.max(1) as f64;
        let point = match purpose {
            Purpose::Train => Point {
                step: id.step.0,
                loss: Some((sums.loss / samples) as f32),
                accuracy: None,
            },
            Purpose::Evaluate => Point {
                step: id.step.0,
                loss: None,
                accuracy: Some((sums.correct as f64 / samples) as f32),
            },
        };
        self.make_room();
        self.pending.push(point);
        let earliest = self.sent.map_or(now, |sent| sent + POINTS_INTERVAL);
        self.due.get_or_insert(earliest.max(now));
    }

    /// A run so fast that a frame would overflow loses points of the picture: a late loss rather than an accuracy, never the
    /// first point and never the newest.
    fn make_room(&mut self) {
        if self.pending.len() < PROGRESS_POINTS_MAX {
            return;
        }
        let loss = self.pending.iter().rposition(|point| point.loss.is_some());
        let last = self.pending.len() - 1;
        self.pending
            .remove(loss.filter(|at| *at > 0).unwrap_or(last));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{PeerId, Step};

    #[test]
    fn an_evaluation_between_the_losses_of_a_step_is_kept_apart() {
        let mut tally = Tally::default();
        let mut add = |purpose, sequence, sum| {
            let id = MicroBatchId {
                step: Step(u32::from(purpose == Purpose::Evaluate)),
                source: PeerId(1),
                sequence,
            };
            let loss = Loss {
                sum,
                correct: 1,
                samples: 1,
            };
            tally.add(Time::ZERO, purpose, id, 2, loss);
        };
        add(Purpose::Train, 0, 1.0);
        add(Purpose::Evaluate, 0, 100.0);
        add(Purpose::Train, 1, 3.0);
        add(Purpose::Evaluate, 1, 100.0);
        let points = tally.take(Time::ZERO, true).expect("points are pending");
        let told: Vec<_> = points
            .iter()
            .map(|point| (point.loss, point.accuracy))
            .collect();
        assert_eq!(told, [(Some(2.0), None), (None, Some(1.0))]);
    }

    #[test]
    fn a_run_too_fast_for_its_frames_keeps_its_first_and_last_loss_and_its_accuracies() {
        let mut tally = Tally::default();
        let mut add = |purpose, step, sum, correct| {
            let id = MicroBatchId {
                step: Step(step),
                source: PeerId(1),
                sequence: 0,
            };
            tally.add(
                Time::ZERO,
                purpose,
                id,
                1,
                Loss {
                    sum,
                    correct,
                    samples: 1,
                },
            );
        };
        for step in 0..1000 {
            add(Purpose::Train, step, step as f32, 0);
            if step == 500 {
                add(Purpose::Evaluate, step, 0.0, 1);
            }
        }
        let points = tally.take(Time::ZERO, true).expect("points are pending");
        assert_eq!(points.len(), PROGRESS_POINTS_MAX);
        let (first, last) = (points[0], points[points.len() - 1]);
        assert_eq!((first.loss, last.loss), (Some(0.0), Some(999.0)));
        assert!(points.iter().any(|point| point.accuracy == Some(1.0)));
        assert!(points.windows(2).all(|pair| pair[0].step <= pair[1].step));
    }
}
