//! Who may win, and on what.

use super::{IDLE, RING, made, server};
use crate::cell::{Capacity, Cell, Kind, Way};
use crate::findings;
use crate::groups::{Half, groups};
use crate::outcome::Outcome;
use crate::{Experiment, Finished, Grid};
use ringtmp_core::parameter_server::Placement;

const LOW: [f64; 5] = [0.10, 0.11, 0.09, 0.10, 0.10];
const HIGH: [f64; 5] = [0.30, 0.31, 0.29, 0.30, 0.30];

const SERVER: Way = server(Placement::Single);

fn finding(cells: &[Finished]) -> String {
    let groups = groups(cells);
    findings::finding(&groups.iter().collect::<Vec<_>>(), &IDLE)
}

fn refuse(one: &mut Finished) {
    one.outcome = Outcome::Refused {
        reason: "the run ended after 3 s".to_owned(),
    };
}

#[test]
fn a_way_of_which_a_run_did_not_get_there_does_not_win() {
    let cells = [made(RING, LOW), made(SERVER, HIGH)].concat();
    assert!(finding(&cells).contains("the ring wins at 4"));
    // Of the odd seeds, by which it is told.
    let mut torn = cells.clone();
    refuse(&mut torn[2]);
    let groups = groups(&torn);
    assert_eq!(groups[0].missing_in(Half::Tells), (1, 3));
    assert_eq!(groups[0].missing_in(Half::Chooses), (0, 2));
    let told = finding(&torn);
    assert!(!told.contains("the ring wins"), "{told}");
    let lacks = "at 4 1 of 3 runs of ring sync did not get there, so it cannot win";
    assert!(told.contains(lacks), "{told}");
    assert!(!told.contains("intervals overlap"), "{told}");
    // Who lost clearly loses also to what its surviving runs would make of it.
    let mut torn = cells;
    refuse(&mut torn[5]);
    let told = finding(&torn);
    assert!(told.contains("the ring wins at 4"), "{told}");
    assert!(told.contains("1 of 3 runs of PS single"), "{told}");
}

#[test]
fn a_setting_that_got_through_is_chosen_before_one_that_did_not() {
    let ring = made(RING, [0.2, 0.2, 0.21, 0.2, 0.2]);
    let mut better = made(SERVER, LOW);
    refuse(&mut better[1]);
    let whole = made(server(Placement::Colocated), HIGH);
    let told = finding(&[ring, better, whole].concat());
    assert!(told.contains("PS colocated, tau 0 29.7%"), "{told}");
    assert!(told.contains("the ring wins at 4"), "{told}");
}

#[test]
fn a_family_of_which_nothing_got_there_is_named() {
    let mut never = made(Way::AllReduce, LOW);
    never.iter_mut().for_each(refuse);
    let told = finding(&[made(RING, LOW), made(SERVER, HIGH), never].concat());
    assert!(told.contains("the ring wins at 4"), "{told}");
    assert!(told.contains("all-reduce has no figure at 4"), "{told}");
    // Of a family that was not run nothing is said.
    let told = finding(&[made(RING, LOW), made(Way::AllReduce, HIGH)].concat());
    assert!(!told.contains("parameter server"), "{told}");
}

#[test]
fn one_seed_says_nothing_of_who_is_better_and_few_are_named() {
    let seeds = |count: usize| {
        let some = |way, idle| made(way, idle).into_iter().take(count);
        finding(
            &some(RING, LOW)
                .chain(some(SERVER, HIGH))
                .collect::<Vec<_>>(),
        )
    };
    for count in [1, 2] {
        let told = seeds(count);
        assert!(!told.contains("the ring wins"), "{count}: {told}");
        let few = "at 4 seeds are too few to say who wins";
        assert!(told.contains(few), "{count}: {told}");
        assert!(told.contains("of one seed only"), "{count}: {told}");
    }
    let told = seeds(5);
    assert!(told.contains("the ring wins at 4"), "{told}");
    assert!(told.contains("of 3 seeds only"), "{told}");
    // Ten seeds are the usual number.
    let ten = |way, idle: [f64; 5]| {
        let twice = made(way, idle).into_iter().chain(made(way, idle));
        (1..).zip(twice).map(|(seed, one)| Finished {
            cell: Cell { seed, ..one.cell },
            ..one
        })
    };
    let told = finding(&ten(RING, LOW).chain(ten(SERVER, HIGH)).collect::<Vec<_>>());
    assert!(told.contains("the ring wins at 4"), "{told}");
    assert!(!told.contains("only"), "{told}");
}

#[test]
fn nothing_is_said_of_a_parameter_server_that_was_not_run() {
    let told = |cells: Vec<Cell>| {
        let finished = cells.into_iter().map(|cell| Finished {
            digest: String::new(),
            outcome: Outcome::Grew {
                model: cell.model.clone(),
                parameters: if cell.way.is_ring() { 90 } else { 30 },
                refused: cell.model.clone(),
                reason: "the tab has crashed".to_owned(),
            },
            cell,
        });
        let groups = groups(&finished.collect::<Vec<_>>());
        findings::capacity(&groups.iter().collect::<Vec<_>>())
    };
    let tabs = told(Grid::quick(3).cells(Experiment::Tabs));
    assert!(tabs.contains("the ring trains 3 times as much"), "{tabs}");
    assert!(!tabs.contains("parameter server"), "{tabs}");
    let mut simulated = Grid::quick(3).cells(Experiment::Capacity);
    simulated.retain(|cell| cell.kind == Kind::Capacity(Capacity::Depth));
    let simulated = told(simulated);
    assert!(
        simulated.contains("the parameter server wins nowhere"),
        "{simulated}"
    );
}
