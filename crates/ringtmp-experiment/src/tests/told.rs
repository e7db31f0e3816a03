//! What the report's files tell, and what they leave empty.

use super::{RING, cell, report, report_of, tiny, worker};
use crate::cell::Cell;
use crate::outcome::{Outcome, Point};
use crate::{Compared, Experiment, Finished, Grid, Reached, Spent, Struck, Waits};
use std::collections::BTreeMap;

/// The columns of one outcome, by name.
fn columns(outcome: Outcome) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let one = Finished {
        digest: "00".to_owned(),
        cell: cell(RING, 3),
        outcome,
    };
    let [_, csv, _] = report(folder.path(), vec![one]);
    let cells = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = csv.lines().map(cells).collect();
    assert_eq!(lines[0].len(), lines[1].len(), "{csv}");
    let named = lines[0].iter().cloned().zip(lines[1].iter().cloned());
    named.collect()
}

#[test]
fn cells_are_empty_where_nothing_was_measured() {
    let empty = |told: &BTreeMap<String, String>, names: &[&str]| {
        for name in names {
            assert_eq!(told[*name], "", "{name}: {told:?}");
        }
    };
    let real = columns(Outcome::Real(Box::new(Compared {
        throughput: 10.0,
        throughput_simulated: 11.0,
        idle: 0.25,
        idle_simulated: 0.5,
        waits: Waits {
            link: 0.25,
            ..Waits::default()
        },
        samples_per_cpu_second: 4.0,
        ..Compared::default()
    })));
    empty(&real, &["seconds", "recoveries", "loss", "accuracy"]);
    empty(&real, &["estimated_joules_per_sample", "idle_devices"]);
    assert_eq!(real["samples_per_second"], "10");
    assert_eq!(real["simulated_samples_per_second"], "11");
    assert_eq!((&*real["idle_link"], &*real["idle_credit"]), ("0.25", "0"));
    assert_eq!(real["samples_per_cpu_second"], "4");
    let struck = columns(Outcome::Struck(Box::new(Struck {
        seconds: 30.0,
        seconds_simulated: 29.0,
        ..Struck::default()
    })));
    empty(&struck, &["samples_per_second", "idle_workers", "loss"]);
    assert_eq!(
        (&*struck["seconds"], &*struck["simulated_seconds"]),
        ("30", "29")
    );
    let spent = |measured_joules_per_sample| {
        columns(Outcome::Spent(Box::new(Spent {
            seconds_per_sample: 0.5,
            measured_joules_per_sample,
            ..Spent::default()
        })))
    };
    empty(
        &spent(None),
        &["seconds", "idle_workers", "measured_joules_per_sample"],
    );
    assert_eq!(spent(Some(0.25))["measured_joules_per_sample"], "0.25");
    let point = |steps: f64, accuracy: f64| Point {
        steps,
        accuracy,
        estimated_joules: 2.0 * steps,
        ..Point::default()
    };
    let points = vec![point(4.0, 0.5), point(8.0, 0.75), point(16.0, 0.9)];
    let learnt = columns(Outcome::Learnt { points });
    empty(&learnt, &["samples_per_second", "recoveries", "drift"]);
    empty(&learnt, &["estimated_joules_per_sample"]);
    assert_eq!(learnt["estimated_joules"], "32");
    assert_eq!(learnt["estimated_joules_to_target"], "16");
    let reached = |accuracy| Reached {
        steps: 30,
        seconds: 50.0,
        accuracy,
    };
    let taught = columns(Outcome::Taught {
        real: vec![reached(0.6)],
        simulated: vec![reached(0.8)],
    });
    empty(&taught, &["loss", "idle_workers", "steps_to_target"]);
    assert_eq!(taught["simulated_accuracy"], "0.8");
}

/// Pieces of a page between two marks, these included.
fn pieces<'a>(page: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    let starts = page.match_indices(from).map(|(start, _)| &page[start..]);
    starts
        .map(|piece| &piece[..piece.find(to).expect("its end") + to.len()])
        .collect()
}

type Makes<'a> = &'a dyn Fn(&Cell) -> Outcome;

fn finished(cells: Vec<Cell>, outcome: impl Fn(&Cell) -> Outcome) -> Vec<Finished> {
    let finished = cells.into_iter().map(|cell| Finished {
        digest: String::new(),
        outcome: outcome(&cell),
        cell,
    });
    finished.collect()
}

#[test]
fn every_joule_in_a_table_a_plot_or_a_field_says_that_it_is_estimated() {
    let grid = Grid {
        seeds: 1,
        profiles: vec!["pi-ethernet".to_owned()],
        ..tiny()
    };
    let learns = |_: &Cell| Outcome::Learnt {
        points: vec![Point {
            steps: 4.0,
            seconds: 2.0,
            accuracy: 0.9,
            estimated_joules: 30.0,
            ..Point::default()
        }],
    };
    let spends = |_: &Cell| {
        Outcome::Spent(Box::new(Spent {
            core_seconds_per_sample: 0.1,
            seconds_per_sample: 0.1,
            estimated_joules_per_sample: 2.0,
            ..Spent::default()
        }))
    };
    let simulated = |cell: &Cell| worker().work(cell).expect("an outcome");
    let all: [(Experiment, Makes<'_>, usize); 3] = [
        (Experiment::Energy, &simulated, 2),
        (Experiment::Progress, &learns, 1),
        (Experiment::Hosts, &spends, 1),
    ];
    for (experiment, outcome, least) in all {
        let folder = tempfile::tempdir().expect("a folder");
        let cells = finished(grid.cells(experiment), outcome);
        let [page, csv, json] = report_of(folder.path(), experiment, cells);
        let (body, _) = page
            .split_once("<h2>Devices</h2>")
            .expect("devices come last");
        let mut seen = 0;
        let plots = pieces(body, "<svg", "</svg>").into_iter();
        let all = plots.chain(pieces(body, "<table", "</tr>"));
        for piece in all.chain(pieces(body, "<p>", "</p>")) {
            let of_joules = [" J ", ">J ", "Joules", "joules"];
            if of_joules.iter().any(|unit| piece.contains(unit)) {
                seen += 1;
                let lower = piece.to_lowercase();
                assert!(lower.contains("estimated"), "{experiment}: {piece}");
            }
        }
        assert!(seen >= least, "{experiment}: {seen} of {body}");
        let names = csv.lines().next().expect("columns").split(',');
        let keys = json.lines().filter_map(|line| line.split_once("\":"));
        let keys = keys.map(|(key, _)| key.trim_start().trim_start_matches('"'));
        for name in names.chain(keys).filter(|name| name.contains("joules_")) {
            let is_said = name.starts_with("estimated") || name.starts_with("measured");
            assert!(is_said, "{experiment}: {name}");
        }
    }
}

#[test]
fn core_seconds_come_before_joules_that_are_estimated() {
    let grid = Grid {
        seeds: 2,
        profiles: vec!["pi-ethernet".to_owned()],
        ..tiny()
    };
    let cells = finished(grid.cells(Experiment::Energy), |cell| {
        worker().work(cell).expect("an outcome")
    });
    let folder = tempfile::tempdir().expect("a folder");
    let [page, ..] = report_of(folder.path(), Experiment::Energy, cells);
    let at = |words: &str| {
        page.find(words)
            .unwrap_or_else(|| panic!("{words}: {page}"))
    };
    assert!(at("Core-seconds per sample: ") < at("Estimated J per sample: "));
    let caption = "<caption>core-seconds per sample, by number of devices</caption>";
    assert!(at(caption) < at("<caption>J per sample (estimated), by number of devices</caption>"));
}

#[test]
fn a_report_says_where_it_was_made_and_on_which_seeds_it_stands() {
    let folder = tempfile::tempdir().expect("a folder");
    let [page, _, json] = report(folder.path(), Vec::new());
    for told in [
        "On a machine, kernel 6.1, Browser 1.2.",
        "0.25 threads wanted to compute there, in that before its end 1.50",
        "over all 2 seeds in plots and tables, and over the odd ones, which are 1,",
        "of real runs over 2",
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
    for key in ["\"kernel\": \"6.1\"", "\"browser\"", "\"load\""] {
        assert!(json.contains(key), "{key}: {json}");
    }
}
