//! The figures of an outcome by the names of their columns: those that were measured, or simulated, and no others.

use super::course::ACCURACY;
use crate::outcome::{Compared, Figures, Lasted, Outcome, Point, Reached, Spent, Struck};
use std::collections::BTreeMap;

/// By the names of their columns.
type Numbers = BTreeMap<&'static str, f64>;

/// All columns of figures, in their order. Names are added, never changed.
pub(super) const COLUMNS: [&str; 49] = [
    "samples_per_second",
    "seconds",
    "idle_workers",
    "idle_input",
    "idle_link",
    "idle_credit",
    "idle_weights",
    "idle_spare",
    "idle_devices",
    "core_seconds_per_sample",
    "bytes_per_sample",
    "devices_used",
    "busiest_device",
    "busiest_link",
    "drift",
    "recoveries",
    "steps_repeated",
    "seconds_lost",
    "steps_learnt",
    "loss",
    "accuracy",
    "estimated_joules_per_sample",
    "estimated_joules_per_sample_low",
    "estimated_joules_per_sample_high",
    "estimated_joules_per_sample_idle",
    "estimated_joules_per_sample_network",
    "measured_joules_per_sample",
    "estimated_joules",
    "estimated_joules_low",
    "estimated_joules_high",
    "steps_to_target",
    "seconds_to_target",
    "estimated_joules_to_target",
    "estimated_joules_to_target_low",
    "estimated_joules_to_target_high",
    "samples_per_cpu_second",
    "tasks_slower",
    "seconds_per_sample",
    "simulated_samples_per_second",
    "simulated_seconds",
    "simulated_idle_workers",
    "simulated_idle_input",
    "simulated_idle_link",
    "simulated_idle_credit",
    "simulated_idle_weights",
    "simulated_idle_spare",
    "simulated_recoveries",
    "simulated_steps_repeated",
    "simulated_accuracy",
];

/// What is known of an outcome.
pub(super) fn numbers(outcome: &Outcome) -> Numbers {
    match outcome {
        Outcome::Ran(figures) => ran(figures),
        Outcome::Real(compared) => real(compared),
        Outcome::Struck(one) => struck(one),
        Outcome::Lasted(one) => lasted(one),
        Outcome::Spent(each) => spent(each),
        Outcome::Taught { real, simulated } => taught(real, simulated),
        Outcome::Learnt { points } => learnt(points),
        Outcome::Grew { .. } | Outcome::Refused { .. } => Numbers::new(),
    }
}

fn ran(figures: &Figures) -> Numbers {
    let joules = &figures.joules;
    Numbers::from([
        ("samples_per_second", figures.throughput),
        ("seconds", figures.seconds),
        ("idle_workers", figures.idle),
        ("idle_input", figures.idle_input),
        ("idle_link", figures.idle_link),
        ("idle_credit", figures.idle_credit),
        ("idle_weights", figures.idle_weights),
        ("idle_spare", figures.idle_spare),
        ("idle_devices", figures.idle_devices),
        ("core_seconds_per_sample", figures.core_seconds_per_sample),
        ("bytes_per_sample", figures.bytes_per_sample),
        ("devices_used", figures.devices_used),
        ("busiest_device", figures.busiest_device),
        ("busiest_link", figures.busiest_link),
        ("drift", figures.drift),
        ("recoveries", figures.recoveries),
        ("steps_repeated", figures.repeated),
        ("seconds_lost", figures.seconds_lost),
        (
            "estimated_joules_per_sample",
            joules.estimated_joules_per_sample,
        ),
        (
            "estimated_joules_per_sample_low",
            joules.estimated_joules_per_sample_low,
        ),
        (
            "estimated_joules_per_sample_high",
            joules.estimated_joules_per_sample_high,
        ),
        (
            "estimated_joules_per_sample_idle",
            joules.estimated_joules_per_sample_idle,
        ),
        (
            "estimated_joules_per_sample_network",
            joules.estimated_joules_per_sample_network,
        ),
    ])
}

fn real(compared: &Compared) -> Numbers {
    let (waits, simulated) = (&compared.waits, &compared.waits_simulated);
    Numbers::from([
        ("samples_per_second", compared.throughput),
        ("idle_workers", compared.idle),
        ("idle_input", waits.input),
        ("idle_link", waits.link),
        ("idle_credit", waits.credit),
        ("idle_weights", waits.weights),
        ("idle_spare", waits.spare),
        ("samples_per_cpu_second", compared.samples_per_cpu_second),
        ("tasks_slower", compared.slower),
        (
            "simulated_samples_per_second",
            compared.throughput_simulated,
        ),
        ("simulated_idle_workers", compared.idle_simulated),
        ("simulated_idle_input", simulated.input),
        ("simulated_idle_link", simulated.link),
        ("simulated_idle_credit", simulated.credit),
        ("simulated_idle_weights", simulated.weights),
        ("simulated_idle_spare", simulated.spare),
    ])
}

fn struck(struck: &Struck) -> Numbers {
    Numbers::from([
        ("seconds", struck.seconds),
        ("recoveries", struck.recoveries),
        ("steps_repeated", struck.repeated),
        ("simulated_seconds", struck.seconds_simulated),
        ("simulated_recoveries", struck.recoveries_simulated),
        ("simulated_steps_repeated", struck.repeated_simulated),
    ])
}

fn lasted(lasted: &Lasted) -> Numbers {
    Numbers::from([
        ("loss", lasted.loss),
        ("accuracy", lasted.accuracy),
        ("recoveries", lasted.recoveries),
        ("steps_repeated", lasted.repeated),
    ])
}

fn spent(spent: &Spent) -> Numbers {
    let mut all = Numbers::from([
        ("samples_per_second", spent.seconds_per_sample.recip()),
        ("seconds_per_sample", spent.seconds_per_sample),
        ("core_seconds_per_sample", spent.core_seconds_per_sample),
        (
            "estimated_joules_per_sample",
            spent.estimated_joules_per_sample,
        ),
        (
            "estimated_joules_per_sample_low",
            spent.estimated_joules_per_sample_low,
        ),
        (
            "estimated_joules_per_sample_high",
            spent.estimated_joules_per_sample_high,
        ),
    ]);
    let measured = spent.measured_joules_per_sample;
    all.extend(measured.map(|joules| ("measured_joules_per_sample", joules)));
    all
}

/// Where both ended, and when the real ones first were as good as is asked for.
fn taught(real: &[Reached], simulated: &[Reached]) -> Numbers {
    let mut all = Numbers::new();
    if let Some(last) = real.last() {
        all.extend([
            ("seconds", last.seconds),
            ("steps_learnt", f64::from(last.steps)),
            ("accuracy", last.accuracy),
        ]);
    }
    if let Some(last) = simulated.last() {
        all.extend([
            ("simulated_seconds", last.seconds),
            ("simulated_accuracy", last.accuracy),
        ]);
    }
    if let Some(first) = real.iter().find(|reached| reached.accuracy >= ACCURACY) {
        all.extend([
            ("steps_to_target", f64::from(first.steps)),
            ("seconds_to_target", first.seconds),
        ]);
    }
    all
}

/// Where it ended, and what it took until it was as good as is asked for.
fn learnt(points: &[Point]) -> Numbers {
    let mut all = Numbers::new();
    if let Some(last) = points.last() {
        all.extend([
            ("seconds", last.seconds),
            ("steps_learnt", last.steps),
            ("loss", last.loss),
            ("accuracy", last.accuracy),
            ("estimated_joules", last.estimated_joules),
            ("estimated_joules_low", last.estimated_joules_low),
            ("estimated_joules_high", last.estimated_joules_high),
        ]);
    }
    if let Some(first) = points.iter().find(|point| point.accuracy >= ACCURACY) {
        all.extend([
            ("steps_to_target", first.steps),
            ("seconds_to_target", first.seconds),
            ("estimated_joules_to_target", first.estimated_joules),
            ("estimated_joules_to_target_low", first.estimated_joules_low),
            (
                "estimated_joules_to_target_high",
                first.estimated_joules_high,
            ),
        ]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_a_column_and_every_column_a_figure() {
        let reached = [Reached {
            accuracy: 1.0,
            ..Reached::default()
        }];
        let point = Point {
            accuracy: 1.0,
            ..Point::default()
        };
        let measured = Spent {
            measured_joules_per_sample: Some(1.0),
            ..Spent::default()
        };
        let outcomes = [
            Outcome::Ran(Box::default()),
            Outcome::Real(Box::default()),
            Outcome::Struck(Box::default()),
            Outcome::Lasted(Lasted::default()),
            Outcome::Spent(Box::new(measured)),
            Outcome::Taught {
                real: reached.to_vec(),
                simulated: reached.to_vec(),
            },
            Outcome::Learnt {
                points: vec![point],
            },
        ];
        let all: Numbers = outcomes.iter().flat_map(numbers).collect();
        let known: Vec<&str> = all.into_keys().collect();
        let mut columns = COLUMNS.to_vec();
        columns.sort_unstable();
        assert_eq!(known, columns);
    }
}
