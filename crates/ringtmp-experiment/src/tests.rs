//! Of the whole crate: cells, resuming, the report and its sentences.

mod evidence;
mod learns;
mod real;
mod told;

use crate::cell::{Capacity, Cell, Kind};
use crate::findings::{self, Better, Measure};
use crate::groups::groups;
use crate::{
    Estimate, Experiment, Figures, Finished, Grid, Model, ModelCosts, Outcome, PROFILES, Point,
    Profiles, Provenance, Store, Trouble, Way, Worker, write_report,
};
use ringtmp_core::parameter_server::{Placement, Staleness};
use ringtmp_core::plan::LayerCost;
use ringtmp_core::schedule::Mode;
use ringtmp_energy::estimate::Coefficients;
use std::path::Path;

/// As many layers as it is deep, as many numbers in each as the square of its width.
fn costs(model: &Model) -> Result<ModelCosts, String> {
    let (depth, width) = (model.depth.unwrap_or(2), model.width.unwrap_or(64));
    if depth > 1024 {
        return Err(format!("{depth} layers are too many"));
    }
    let parameters = u64::from(width) * u64::from(width);
    let layer = LayerCost {
        flops: [2.0 * parameters as f64; 3],
        parameters,
        output_bytes: 4 * u64::from(width),
        stash_bytes: 8 * u64::from(width),
    };
    let mut layers = vec![layer; depth as usize];
    if model.preset == UNEVEN {
        // Much crosses every second hop, and little the others.
        for layer in layers.iter_mut().step_by(2) {
            layer.output_bytes = 1_000_000;
        }
    }
    Ok(ModelCosts {
        layers,
        sample_bytes: 64,
    })
}

const UNEVEN: &str = "uneven";

fn worker() -> Worker<'static> {
    let profiles = Profiles::parse(PROFILES).expect("the table");
    let coefficients = Coefficients::embedded().expect("the coefficients");
    Worker::new(&costs, profiles, coefficients)
}

fn tiny() -> Grid {
    Grid {
        peers: vec![2, 3],
        peers_deep: vec![2],
        models: vec![Model::gpt(4, 64)],
        taus: vec![Staleness::Steps(0), Staleness::Infinite],
        steps: 3,
        ..Grid::quick(2)
    }
}

fn cell(way: Way, peers: u16) -> Cell {
    Cell {
        kind: Kind::Run { steps: 3 },
        model: Model::gpt(4, 64),
        way,
        profile: "pi-ethernet".to_owned(),
        peers,
        micro_batches: 8,
        micro_batch: 4,
        seed: 1,
    }
}

const RING: Way = Way::Ring(Mode::Sync);

const fn server(placement: Placement) -> Way {
    Way::ParameterServer {
        placement,
        tau: Staleness::Steps(0),
    }
}

/// Does at most so many cells that are not done yet; how many were.
fn work(folder: &Path, most: usize) -> (Vec<Finished>, usize) {
    let mut store = Store::open(&folder.join("cells.jsonl")).expect("a folder");
    let (mut worker, mut finished, mut new) = (worker(), Vec::new(), 0);
    for cell in tiny().cells(Experiment::Idle) {
        let digest = worker.digest(&cell, "test").expect("a name");
        if store.get(&digest).is_none() {
            if new == most {
                break;
            }
            new += 1;
            let outcome = worker.work(&cell).expect("an outcome");
            let done = Finished {
                digest: digest.clone(),
                cell,
                outcome,
            };
            store.keep(done).expect("a line");
        }
        finished.extend(store.get(&digest).cloned());
    }
    (finished, new)
}

fn report(folder: &Path, cells: Vec<Finished>) -> [String; 3] {
    report_of(folder, Experiment::Idle, cells)
}

fn report_of(folder: &Path, experiment: Experiment, cells: Vec<Finished>) -> [String; 3] {
    let provenance = Provenance {
        command: "ringtmp experiment idle --simulated".to_owned(),
        program: "test".to_owned(),
        machine: "a machine".to_owned(),
        kernel: Some("6.1".to_owned()),
        browser: Some("Browser 1.2".to_owned()),
        load: Some([0.25, 1.5]),
        grid: tiny(),
        measured_costs: false,
    };
    let profiles = Profiles::parse(PROFILES).expect("the table");
    let experiments = [(experiment, cells)];
    write_report(folder, &experiments, &provenance, &profiles).expect("a report");
    ["index.html", "cells.csv", "report.json"]
        .map(|name| std::fs::read_to_string(folder.join(name)).expect("a file"))
}

#[test]
fn an_interrupted_experiment_goes_on_and_makes_the_report_of_one_that_was_not() {
    let [whole, torn] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let (cells, all) = work(whole.path(), usize::MAX);
    let at_once = report(whole.path(), cells);

    let (_, first) = work(torn.path(), 7);
    assert_eq!(first, 7);
    // The eighth was being written.
    let path = torn.path().join("cells.jsonl");
    let mut text = std::fs::read_to_string(&path).expect("lines");
    text.push_str("{\"digest\":\"00");
    std::fs::write(&path, text).expect("written");
    assert_eq!(Store::open(&path).expect("it opens").unread(), 1);
    let (cells, rest) = work(torn.path(), usize::MAX);
    assert_eq!(first + rest, all, "finished cells are kept");
    assert_eq!(report(torn.path(), cells), at_once);
    assert_eq!(work(torn.path(), usize::MAX).1, 0);
}

#[test]
fn a_cell_is_named_by_all_its_inputs_and_the_program() {
    let mut worker = worker();
    let one = cell(RING, 3);
    let name = worker.digest(&one, "a").expect("a name");
    let seed = Cell {
        seed: 2,
        ..one.clone()
    };
    assert_ne!(worker.digest(&seed, "a").expect("a name"), name);
    assert_ne!(worker.digest(&one, "b").expect("a name"), name);
    let mut profiles = Profiles::parse(PROFILES).expect("the table");
    let pi = profiles.0.get_mut("pi-ethernet").expect("a Pi");
    pi.delay_seconds *= 2.0;
    let coefficients = Coefficients::embedded().expect("the coefficients");
    let mut other = Worker::new(&costs, profiles, coefficients);
    assert_ne!(other.digest(&one, "a").expect("a name"), name);
}

#[test]
fn what_cannot_be_is_refused_in_words_that_the_report_has() {
    let mut worker = worker();
    let crowd = worker.work(&cell(RING, 65)).expect("an outcome");
    let Outcome::Refused { reason } = &crowd else {
        panic!("65 peers in a ring: {crowd:?}");
    };
    assert!(reason.contains("65 devices"), "{reason}");
    let nobody = cell(server(Placement::Dedicated), 2);
    let outcome = worker.work(&nobody).expect("an outcome");
    let Outcome::Refused { reason } = &outcome else {
        panic!("two servers and no worker: {outcome:?}");
    };
    assert!(reason.contains("none left to compute"), "{reason}");
    let reason = reason.clone();
    let folder = tempfile::tempdir().expect("a folder");
    let refused = Finished {
        digest: "00".to_owned(),
        cell: nobody,
        outcome,
    };
    let [page, csv, _] = report(folder.path(), vec![refused]);
    assert!(page.contains(&reason), "{page}");
    assert!(csv.contains("refused") && csv.contains(&reason), "{csv}");
    let columns = csv.lines().next().map(|line| line.split(',').count());
    // The way and the reason are quoted and have a comma each.
    let cells = csv.lines().nth(1).map(|line| line.split(',').count());
    assert_eq!(cells, columns.map(|columns| columns + 2), "{csv}");
}

#[test]
fn a_ring_holds_what_no_device_holds_alone() {
    let mut worker = worker();
    let mut largest = |way| {
        let grown = Cell {
            kind: Kind::Capacity(Capacity::Depth),
            model: Model::gpt(1, 1024),
            profile: "phone-wifi".to_owned(),
            ..cell(way, 4)
        };
        match worker.work(&grown).expect("an outcome") {
            Outcome::Grew {
                model,
                refused,
                reason,
                ..
            } => {
                let [fits, too_deep] = [&model, &refused].map(|model| model.depth.expect("deep"));
                assert_eq!(too_deep, fits + 1, "the least that is refused: {reason}");
                assert!(reason.contains("lacks"), "{reason}");
                fits
            }
            other => panic!("{way}: {other:?}"),
        }
    };
    let (ring, worker) = (largest(RING), largest(server(Placement::Single)));
    // The server holds least: 256 MiB for layers of 4 MiB with the sum of their gradients and a momentum, and for a range of each of
    // three workers that waits.
    assert_eq!(worker, 20);
    assert!(ring > 2 * worker, "{ring} layers in a ring of four");
}

const IDLE: Measure = Measure {
    figure: |figures| figures.idle,
    better: Better::Less,
    unit: "",
    percent: true,
    factor: 1.0,
};

/// A way's idle shares, seed by seed.
fn made(way: Way, idle: [f64; 5]) -> Vec<Finished> {
    let one = |(seed, idle): (u64, f64)| Finished {
        digest: format!("{way} {seed}"),
        cell: Cell {
            seed,
            ..cell(way, 4)
        },
        outcome: Outcome::Ran(Box::new(Figures {
            idle,
            ..Figures::default()
        })),
    };
    (1..).zip(idle).map(one).collect()
}

#[test]
fn a_finding_is_computed_from_the_data() {
    let low = [0.10, 0.11, 0.09, 0.10, 0.10];
    let high = [0.30, 0.31, 0.29, 0.30, 0.30];
    let wide = [0.05, 0.35, 0.01, 0.50, 0.20];
    let told = |ring, ps| {
        let cells = [made(RING, ring), made(server(Placement::Single), ps)].concat();
        let groups = groups(&cells);
        assert_eq!(groups.len(), 2);
        findings::finding(&groups.iter().collect::<Vec<_>>(), &IDLE)
    };
    let ring = told(low, high);
    assert!(
        ring.contains("the ring wins at 4; the parameter server wins at none"),
        "{ring}"
    );
    assert!(ring.contains("ring sync 9.7% ± 1.4%"), "{ring}");
    let ps = told(high, low);
    assert!(ps.contains("the parameter server wins at 4"), "{ps}");
    assert!(!ps.contains("the ring wins"), "{ps}");
    let open = told(low, wide);
    assert!(
        open.contains("at 4 intervals overlap, so nobody wins"),
        "{open}"
    );
}

#[test]
fn the_best_of_a_family_is_chosen_by_other_seeds_than_it_is_told_of() {
    let ring = made(RING, [0.2, 0.2, 0.21, 0.2, 0.2]);
    // The best by all seeds together, but not by the even ones.
    let seeming = made(server(Placement::Single), [0.01, 0.3, 0.01, 0.3, 0.01]);
    let chosen = made(server(Placement::Colocated), [0.4, 0.1, 0.41, 0.1, 0.4]);
    let groups = groups(&[ring, seeming, chosen].concat());
    let told = findings::finding(&groups.iter().collect::<Vec<_>>(), &IDLE);
    assert!(told.contains("PS colocated, tau 0 40.3%"), "{told}");
    assert!(told.contains("the ring wins at 4"), "{told}");
}

#[test]
fn causes_follow_from_how_full_links_and_devices_are() {
    let cause = |busiest_device: f64, busiest_link: f64| {
        let one = |seed| Finished {
            digest: format!("{seed}"),
            cell: Cell {
                seed,
                ..cell(RING, 4)
            },
            outcome: Outcome::Ran(Box::new(Figures {
                busiest_device,
                busiest_link,
                devices_used: 4.0,
                ..Figures::default()
            })),
        };
        let groups = groups(&[one(1), one(2)]);
        findings::causes(&groups.iter().collect::<Vec<_>>(), &IDLE)
    };
    let link = cause(0.01, 0.98);
    assert!(link.contains("that link is what bounds it"), "{link}");
    let device = cause(0.97, 0.5);
    assert!(device.contains("that device is what bounds it"), "{device}");
    let neither = cause(0.1, 0.1);
    assert!(neither.contains("neither is full"), "{neither}");
}

#[test]
fn whoever_loses_a_device_tells_what_that_cost() {
    let mut worker = worker();
    let mut troubled = |way, trouble| {
        let cell = Cell {
            kind: Kind::Resilience { steps: 24, trouble },
            model: Model::gpt(6, 2048),
            ..cell(way, 3)
        };
        worker.work(&cell).expect("an outcome")
    };
    let server = Way::ParameterServer {
        placement: Placement::Colocated,
        tau: Staleness::Steps(0),
    };
    for way in [RING, server, Way::AllReduce] {
        let mut ran = |trouble| match troubled(way, trouble) {
            Outcome::Ran(figures) => figures,
            other => panic!("{way}, {trouble:?}: two of three go on: {other:?}"),
        };
        let whole = ran(Trouble::None);
        for trouble in [Trouble::Gone, Trouble::Away] {
            let lost = ran(trouble);
            let outlived = lost.recoveries >= 1.0 && lost.seconds_lost > 0.0;
            assert!(outlived, "{way}: {lost:?}");
            assert!((lost.seconds - lost.seconds_lost - whole.seconds).abs() < 1e-6);
        }
    }
}

#[test]
fn no_link_carries_bytes_for_more_than_all_of_the_time() {
    let uneven = Cell {
        model: Model {
            preset: UNEVEN.to_owned(),
            ..Model::gpt(4, 64)
        },
        micro_batches: 64,
        ..cell(RING, 4)
    };
    let Outcome::Ran(figures) = worker().work(&uneven).expect("an outcome") else {
        panic!("a ring of four");
    };
    // One hop is full in either direction but while the ring fills and drains.
    let full = figures.busiest_link;
    assert!((0.8..=1.0).contains(&full), "{full}");
}

#[test]
fn a_ring_of_few_leaves_out_who_costs_more_than_it_gains() {
    let mut worker = worker();
    let few = Cell {
        profile: "phone-wifi".to_owned(),
        ..cell(Way::FewRing(Mode::Sync), 3)
    };
    let Outcome::Ran(few) = worker.work(&few).expect("an outcome") else {
        panic!("one phone holds it");
    };
    assert!((few.devices_used - 1.0).abs() < 1e-9, "{few:?}");
    // The two that are left out idle all the time.
    assert!((few.idle_spare - 2.0 / 3.0).abs() < 1e-9, "{few:?}");
    assert!((few.bytes_per_sample).abs() < 1e-9, "{few:?}");
}

#[test]
fn a_way_of_which_one_run_does_not_get_there_is_not_told_by_the_others() {
    let learnt = |seed, accuracy| Finished {
        digest: format!("{seed}"),
        cell: Cell {
            seed,
            ..cell(RING, 4)
        },
        outcome: Outcome::Learnt {
            points: vec![Point {
                seconds: 2.0,
                steps: 5.0,
                accuracy,
                ..Point::default()
            }],
        },
    };
    let seconds = |accuracies: [f64; 2]| {
        let cells = [learnt(1, accuracies[0]), learnt(2, accuracies[1])];
        let groups = groups(&cells);
        let reached = findings::reached(&groups.iter().collect::<Vec<_>>(), 0.7);
        let told = reached[0].refusal().map(str::to_owned);
        (reached[0].figure(|f| f.seconds).map(|s| s.mean), told)
    };
    assert_eq!(seconds([0.7, 0.9]), (Some(2.0), None));
    let refused = "1 of 2 runs got there".to_owned();
    assert_eq!(seconds([0.6, 0.9]), (None, Some(refused)));
}

#[test]
fn an_interval_is_that_of_student() {
    let estimate = Estimate::of(&[1.0, 2.0, 3.0, 4.0, 5.0]).expect("values");
    assert_eq!((estimate.mean, estimate.seeds), (3.0, 5));
    // s = sqrt(2.5), over sqrt(5), times t(4) = 2.776.
    assert!((estimate.half_width - 1.963).abs() < 1e-3, "{estimate:?}");
    assert_eq!(Estimate::of(&[]), None);
}

#[test]
fn every_joule_is_told_as_estimated() {
    let outcome = worker().work(&cell(RING, 3)).expect("an outcome");
    let json = serde_json::to_string(&outcome).expect("plain data");
    let joules = json.matches("joules").count();
    // Each field, and the name of the table that holds them.
    assert_eq!(
        joules,
        json.matches("estimated_joules").count() + 1,
        "{json}"
    );
    let Outcome::Ran(figures) = outcome else {
        panic!("{outcome:?}");
    };
    let joules = figures.joules;
    assert!(joules.estimated_joules_per_sample_low < joules.estimated_joules_per_sample);
    assert!(joules.estimated_joules_per_sample < joules.estimated_joules_per_sample_high);
}
