//! Of real devices: what they did comes from elsewhere, and is told here.

use super::{RING, costs, report_of};
use crate::cell::{Capacity, Cell, Kind, Model};
use crate::findings;
use crate::{
    Compared, Experiment, Finished, Grid, HERE, Host, Lasted, Outcome, PROFILES, Profiles, Reached,
    Spent, Struck, Trouble, Waits, Way, Worker, grow,
};
use ringtmp_energy::estimate::Coefficients;

#[test]
fn agreement_with_real_peers_is_computed_and_a_refusal_told() {
    let pair = |simulated: f64| findings::Pair {
        way: RING.to_string(),
        runs: [5, 0],
        throughput: Some([10.0, simulated]),
        idle: Some([0.2, 0.1]),
        causes: vec![("link", [0.15, 0.1])],
    };
    let close = findings::agreement(&[pair(11.4)]);
    assert!(close.contains("(+14.0%, which agrees"), "{close}");
    let far = findings::agreement(&[pair(8.4)]);
    assert!(far.contains("(-16.0%, which does not agree"), "{far}");
    let idle = "idle 20.0% against 10.0% (-10.0 points, which agrees within 15); of that for link 15.0% and 10.0%";
    assert!(close.contains(idle), "{close}");
    assert!(!close.contains("runs"), "{close}");
    let waits = findings::agreement(&[findings::Pair {
        runs: [5, 1],
        idle: Some([0.2, 0.36]),
        ..pair(10.0)
    }]);
    let apart = "(+16.0 points, which does not agree within 15)";
    assert!(waits.contains(apart), "{waits}");
    assert!(
        waits.contains("of those 4 of 5 runs that got there"),
        "{waits}"
    );
    let refused = findings::Pair {
        throughput: None,
        ..pair(1.0)
    };
    let refused = findings::agreement(&[refused]);
    assert!(refused.contains("all runs were refused"), "{refused}");
}

#[test]
fn tabs_are_compared_with_native_processes_and_joules_say_of_what_kind_they_are() {
    let spent = |cell: &Cell, measured: bool| {
        let Kind::Hosted { host, .. } = cell.kind else {
            panic!("{cell:?}");
        };
        let times = if host == Host::Browser { 3.0 } else { 1.0 };
        // Seeds differ a little.
        let each = times * (1.0 + 0.01 * cell.seed as f64);
        Outcome::Spent(Box::new(Spent {
            core_seconds_per_sample: 0.02 * each,
            seconds_per_sample: 0.01 * each,
            measured_joules_per_sample: measured.then_some(0.5 * each),
            estimated_joules_per_sample: 0.25 * each,
            ..Spent::default()
        }))
    };
    let told = |outcome: &dyn Fn(&Cell) -> Outcome| {
        let cells = Grid::quick(3).cells(Experiment::Hosts);
        assert_eq!(cells.len(), 6, "both hosts under each seed");
        let finished = cells.into_iter().map(|cell| Finished {
            digest: String::new(),
            outcome: outcome(&cell),
            cell,
        });
        let folder = tempfile::tempdir().expect("a folder");
        let [page, csv, _] = report_of(folder.path(), Experiment::Hosts, finished.collect());
        (page, csv)
    };
    let (page, csv) = told(&|cell| spent(cell, false));
    assert!(page.contains("tabs take 3 times as much"), "{page}");
    assert!(page.contains("J (estimated)") && page.contains("no meter"));
    assert!(!page.contains("J (measured)"), "nothing was measured");
    assert_eq!(csv.matches("browser").count(), 3, "{csv}");
    let (page, _) = told(&|cell| spent(cell, true));
    assert!(page.contains("J (measured)") && !page.contains("J (estimated)"));
    let (page, _) = told(&|cell| match cell.kind {
        Kind::Hosted {
            host: Host::Browser,
            ..
        } => Outcome::Refused {
            reason: "there is no browser".to_owned(),
        },
        _ => spent(cell, false),
    });
    assert!(page.contains("nothing to compare") && page.contains("there is no browser"));
}

#[test]
fn what_losses_cost_is_told_against_the_undisturbed_run_of_the_same_seed() {
    // Undisturbed runs differ by their seeds; what is lost does not.
    let struck = |cell: &Cell| {
        let Kind::Struck { trouble, .. } = cell.kind else {
            panic!("{cell:?}");
        };
        let [lost, simulated] = match trouble {
            Trouble::None => [0.0, 0.0],
            Trouble::Away => [10.0, 9.0],
            Trouble::Gone => [20.0, 30.0],
            Trouble::Seldom | Trouble::Often => panic!("not for real"),
        };
        let whole = 100.0 * cell.seed as f64;
        Outcome::Struck(Box::new(Struck {
            seconds: whole + lost,
            seconds_simulated: whole + simulated,
            repeated: 2.0,
            ..Struck::default()
        }))
    };
    let refused = Outcome::Refused {
        reason: "it was late".to_owned(),
    };
    let told = |outcome: &dyn Fn(&Cell) -> Outcome| {
        let cells = Grid::full(3).cells(Experiment::Losses);
        assert_eq!(cells.len(), 27, "three ways, three troubles, three seeds");
        let finished = cells.into_iter().map(|cell| Finished {
            digest: String::new(),
            outcome: outcome(&cell),
            cell,
        });
        let folder = tempfile::tempdir().expect("a folder");
        let [page, csv, _] = report_of(folder.path(), Experiment::Losses, finished.collect());
        (page, csv)
    };
    let (page, csv) = told(&struck);
    let away = "ring sync, one away for 5 s: 10 ± 0 s lost and 2 steps made again, by the simulator 9 ± 0 s and 0 (-10.0%, which agrees within 15%)";
    assert!(page.contains(away), "{page}");
    let gone = "20 ± 0 s lost and 2 steps made again, by the simulator 30 ± 0 s and 0 (+50.0%, which does not agree";
    assert!(page.contains(gone), "{page}");
    assert_eq!(csv.matches(",struck,").count(), 27, "{csv}");
    // Without its undisturbed run a seed says nothing.
    let (page, _) = told(&|cell| match (cell.kind, cell.seed) {
        (
            Kind::Struck {
                trouble: Trouble::None,
                ..
            },
            1,
        ) => refused.clone(),
        (Kind::Struck { .. }, 2) if cell.way == RING => refused.clone(),
        _ => struck(cell),
    });
    assert!(page.contains("10 ± 0 s lost"), "{page}");
    assert!(page.contains("1 of 3 runs did not come to their end"));
    assert!(page.contains("it was late"));
}

#[test]
fn throughput_of_real_peers_is_told_by_their_number() {
    let cells = Grid::full(2).cells(Experiment::Scale);
    assert_eq!(
        cells.len(),
        20,
        "a ring alone, and three ways of 2, 4 and 8"
    );
    let finished = cells.into_iter().map(|cell| Finished {
        digest: String::new(),
        outcome: match (cell.way == RING, cell.peers) {
            (true, 8) => Outcome::Refused {
                reason: "it was late".to_owned(),
            },
            (_, peers) => Outcome::Real(Box::new(Compared {
                throughput: 10.0 * f64::from(peers),
                throughput_simulated: 11.0 * f64::from(peers),
                idle: 0.25,
                idle_simulated: 0.125,
                waits: Waits {
                    link: 0.25,
                    ..Waits::default()
                },
                ..Compared::default()
            })),
        },
        cell,
    });
    let folder = tempfile::tempdir().expect("a folder");
    let [page, ..] = report_of(folder.path(), Experiment::Scale, finished.collect());
    for told in [
        "ring sync, 1 makes 10 samples/s, the simulator says 11 (+10.0%, which agrees within 15%); idle 25.0% against 12.5% (-12.5 points, which agrees within 15); of that for link 25.0% and 0.0%, of 2 seeds only",
        "<caption>idle share by cause</caption>",
        "all-reduce, 8 makes 80 samples/s, the simulator says 88 (+10.0%",
        "ring sync, 8: nothing to compare",
        "it was late",
        "all-reduce, simulated</text>",
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
}

#[test]
fn what_real_peers_learn_is_told_seed_by_seed_beside_the_simulator() {
    let reached = |seconds: f64, accuracy: f64| {
        let at = |steps: u32| Reached {
            steps,
            seconds: seconds * f64::from(steps),
            accuracy: accuracy * f64::from(steps) / 48.0,
        };
        vec![at(24), at(48)]
    };
    let told = |outcome: &dyn Fn(&Cell) -> Outcome| {
        let cells = Grid::full(2).cells(Experiment::Courses);
        assert_eq!(cells.len(), 10, "five ways, two seeds");
        let finished = cells.into_iter().map(|cell| Finished {
            digest: String::new(),
            outcome: outcome(&cell),
            cell,
        });
        let folder = tempfile::tempdir().expect("a folder");
        let [page, csv, _] = report_of(folder.path(), Experiment::Courses, finished.collect());
        (page, csv)
    };
    let (page, csv) = told(&|cell| Outcome::Taught {
        real: reached(1.0, 0.75),
        // The means are the same; a seed's are not.
        simulated: reached(
            1.25,
            match (cell.way == RING, cell.seed) {
                (true, _) => 0.75,
                (false, 1) => 0.5,
                (false, _) => 1.0,
            },
        ),
    });
    let same = "ring sync: 75.0 ± 0.0% read right after 48 steps, simulated 75.0 ± 0.0% (the same after every evaluation of each seed); in 48 ± 0 s, simulated 60 (+25.0%, which does not agree within 15%)";
    assert!(page.contains(same), "{page}");
    let apart = "all-reduce: 75.0 ± 0.0% read right after 48 steps, simulated 75.0 ± 317.6% (never more than 25 points apart under the same seed)";
    assert!(page.contains(apart), "{page}");
    assert_eq!(
        csv.matches(",taught,").count(),
        20,
        "as kind and outcome: {csv}"
    );
    let columns = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    let mut lines = csv.lines().map(columns);
    let (names, first) = (lines.next(), lines.next());
    let (names, first) = (names.expect("columns"), first.expect("a line"));
    let of = |name: &str| first[names.iter().position(|it| it == name).expect("a column")].clone();
    assert_eq!(
        (of("seconds"), of("steps_learnt"), of("accuracy")),
        ("48".to_owned(), "48".to_owned(), "0.75".to_owned())
    );
    let (page, _) = told(&|_| Outcome::Refused {
        reason: "it was late".to_owned(),
    });
    assert!(page.contains("all runs were refused") && page.contains("it was late"));
}

#[test]
fn real_peers_are_also_behind_emulated_links_but_for_a_quick_look() {
    let profiles = |grid: Grid| {
        let cells = grid.cells(Experiment::Real);
        let mut names: Vec<String> = cells.into_iter().map(|cell| cell.profile).collect();
        names.dedup();
        names
    };
    assert_eq!(profiles(Grid::quick(2)), [HERE]);
    assert_eq!(profiles(Grid::full(2)), [HERE, "phone-wifi"]);
    // What they are like is an input of the cell.
    let cells = Grid::full(1).cells(Experiment::Real);
    let emulated = cells.iter().find(|cell| cell.profile != HERE);
    let cell = emulated.expect("emulated links");
    let digest = |text: &str| {
        let profiles = Profiles::parse(text).expect("a table");
        let coefficients = Coefficients::embedded().expect("a table");
        let mut worker = Worker::new(&costs, profiles, coefficients);
        worker.digest(cell, "program").expect("a digest")
    };
    let slower = PROFILES.replace("bytes_per_second = 4e6", "bytes_per_second = 3e6");
    assert_ne!(slower, PROFILES, "the table has a phone's rate");
    assert_ne!(digest(PROFILES), digest(&slower));
}

#[test]
fn a_model_grows_until_it_is_refused_as_near_as_is_asked() {
    let base = Model::gpt(4, 256);
    let grown = |most: u32, within: f64| {
        let mut tries = 0;
        let outcome = grow(&base, Capacity::Width, within, |model| {
            tries += 1;
            let width = model.width.unwrap_or_default();
            let trained = if width <= most {
                Ok(u64::from(width))
            } else {
                Err(format!("{width}"))
            };
            Ok::<_, std::convert::Infallible>(trained)
        });
        let Ok(outcome) = outcome;
        (outcome, tries)
    };
    let (
        Outcome::Grew {
            parameters,
            refused,
            reason,
            ..
        },
        exact,
    ) = grown(2400, 0.0)
    else {
        panic!("it was never refused");
    };
    assert_eq!((parameters, refused.width), (2368, Some(2432)));
    assert_eq!(reason, "2432", "the words of the smallest that was refused");
    let (
        Outcome::Grew {
            parameters,
            refused,
            ..
        },
        near,
    ) = grown(2400, 0.1)
    else {
        panic!("it was never refused");
    };
    let (fits, not) = (
        parameters as f64,
        f64::from(refused.width.unwrap_or_default()),
    );
    assert!(
        fits <= 2400.0 && not > 2400.0 && not - fits <= 0.1 * fits + 64.0,
        "{fits} {not}"
    );
    assert!(near < exact, "{near} tries, {exact}");
    assert!(matches!(grown(0, 0.0).0, Outcome::Refused { .. }));
}

#[test]
fn what_tabs_train_is_told_with_how_many_they_are() {
    let cells = Grid::quick(3).cells(Experiment::Tabs);
    let finished = cells.into_iter().map(|cell| Finished {
        digest: String::new(),
        outcome: Outcome::Grew {
            model: cell.model.clone(),
            parameters: u64::from(cell.peers)
                * if cell.way == RING {
                    100_000_000
                } else {
                    30_000_000
                },
            refused: cell.model.clone(),
            reason: "the tab has crashed".to_owned(),
        },
        cell,
    });
    let folder = tempfile::tempdir().expect("a folder");
    let [page, ..] = report_of(folder.path(), Experiment::Tabs, finished.collect());
    for told in [
        "ring sync, 1",
        "ring sync, 3",
        "tabs on this machine",
        "the tab has crashed",
        "the ring trains 3.33 times as much",
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
}

#[test]
fn what_is_learnt_despite_losses_is_told_beside_the_undisturbed_run_of_the_same_seed() {
    let outcome = |cell: &Cell| {
        let Kind::Lasting { trouble, .. } = cell.kind else {
            panic!("a cell of what lasts: {cell:?}");
        };
        let whole = 0.5 + cell.seed as f64 / 16.0;
        let less = match (trouble, cell.way.is_ring()) {
            (Trouble::Gone, false) => 0.25,
            // Seeds do not agree.
            (Trouble::Often, true) if cell.seed == 1 => 0.125,
            (Trouble::Often, true) => -0.125,
            _ => 0.0,
        };
        if (trouble, cell.way, cell.seed) == (Trouble::Gone, Way::AllReduce, 3) {
            return Outcome::Refused {
                reason: "nobody was left".to_owned(),
            };
        }
        Outcome::Lasted(Lasted {
            accuracy: whole - less,
            loss: 1.0 - whole,
            recoveries: 1.0,
            repeated: 4.0,
        })
    };
    let cells = Grid::full(10).cells(Experiment::Lasting);
    let finished = cells.into_iter().map(|cell| Finished {
        digest: String::new(),
        outcome: outcome(&cell),
        cell,
    });
    let folder = tempfile::tempdir().expect("a folder");
    let [page, csv, _] = report_of(folder.path(), Experiment::Lasting, finished.collect());
    for told in [
        "ring sync: 68.8 ± 12.3% read right undisturbed",
        "one gone for good: the same under every seed",
        "PS colocated, tau 0: 68.8",
        "one gone for good: -25.0 ± 0.0 points, which seeds show; at most 25.0 apart under the same seed",
        "three lost in turn, each after another has come: +7.5 ± 13.9 points, no difference that seeds would show; at most 12.5 apart",
        "one gone for good: -25.0 ± 0.0 points, which seeds show; at most 25.0 apart under the same seed, of 4 seeds only, of those 4 of 5 runs that came to their end",
        "nobody was left",
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
    assert!(csv.contains("lasted"), "{csv}");
}
