use super::*;

fn timeline(until: u64, covers_us: u32, marks: Vec<Mark>) -> Timeline {
    Timeline {
        until: Time::from_micros(until),
        covers_us,
        clock_error_us: 0,
        marks,
    }
}

fn drawing(timelines: Vec<Timeline>) -> TimelineDrawing {
    let row = |(i, timeline)| Row {
        number: i + 1,
        mine: i == 0,
        timeline,
    };
    TimelineDrawing {
        rows: timelines.into_iter().enumerate().map(row).collect(),
    }
}

/// So many tasks of 10 ms, one after the other, up to the end.
fn tasks(count: u32) -> Vec<Mark> {
    let mark = |i| Mark(Activity::Forward, 10_000 * (count - i), 10_000, 0);
    (0..count).map(mark).collect()
}

#[test]
fn all_rows_show_the_stretch_that_all_devices_tell_of() {
    let head = timeline(5_000_000, 300_000, tasks(30));
    let tail = timeline(5_000_000, 200_000, tasks(20));
    let stretch = drawing(vec![head, tail])
        .stretch(800.0)
        .expect("there is one");
    assert_eq!(stretch.until, Time::from_micros(5_000_000));
    assert_eq!(stretch.from, Time::from_micros(4_800_000));
}

#[test]
fn a_device_that_fell_silent_does_not_hold_the_others_back() {
    let head = timeline(9_000_000, 300_000, tasks(30));
    let silent = timeline(5_000_000, 300_000, tasks(30));
    let nothing = Timeline::default();
    let stretch = drawing(vec![head, silent, nothing]).stretch(800.0);
    assert_eq!(
        stretch.expect("there is one").until,
        Time::from_micros(9_000_000)
    );
    assert_eq!(drawing(vec![Timeline::default()]).stretch(800.0), None);
}

#[test]
fn a_narrow_picture_shows_less_time_instead_of_narrower_tasks() {
    let drawing = drawing(vec![timeline(5_000_000, 1_000_000, tasks(100))]);
    let shown = |inner: f64| {
        let stretch = drawing.stretch(inner).expect("there is one");
        stretch.until.since(stretch.from).as_secs_f64()
    };
    assert!(
        shown(300.0) < 0.4 && shown(900.0) > 0.9,
        "{} {}",
        shown(300.0),
        shown(900.0)
    );
}

#[test]
fn tasks_lie_in_their_row_transfers_below_it_and_nothing_outside_the_picture() {
    let marks = vec![
        Mark(Activity::Forward, 1_000_000, 400_000, 2),
        Mark(Activity::Activation, 900_000, 500_000, 3),
        Mark(Activity::Gradient, 300_000, 100_000, 1),
        Mark(Activity::BackwardWeights, 200_000, 200_000, 1),
        Mark(Activity::Release, 100_000, 50_000, 1),
    ];
    let drawing = drawing(vec![timeline(5_000_000, 1_000_000, marks)]);
    let svg = drawing.draw(400).expect("there is room");
    for class in ["forward", "activation", "gradient", "weights"] {
        assert_eq!(
            svg.matches(&format!("<rect class=\"{class}\"")).count(),
            1,
            "{svg}"
        );
    }
    assert!(svg.contains("F<tspan class=\"which\"> 3</tspan>"), "{svg}");
    let ends = svg.split("<rect ").skip(1).map(|rect| {
        let number = |name: &str| {
            let from = rect.find(name).expect("an attribute") + name.len();
            let text = &rect[from..];
            text[..text.find('"').expect("a quote")]
                .parse::<f64>()
                .expect("a number")
        };
        number(" x=\"") + number(" width=\"")
    });
    assert!(ends.into_iter().all(|end| end <= 400.0), "{svg}");
    assert_eq!(drawing.draw(80), None);
}

#[test]
fn ticks_are_round_and_few() {
    assert!((tick_seconds(0.42, 4.0) - 0.2).abs() < 1e-9);
    assert!((tick_seconds(4.0, 8.0) - 0.5).abs() < 1e-9);
    assert!((tick_seconds(0.004, 4.0) - 0.001).abs() < 1e-9);
}

#[test]
fn what_a_device_mostly_waited_for_is_said_and_little_is_not() {
    let run = Shares {
        busy: 0.75,
        input: 0.05,
        credit: 0.2,
        ..Shares::default()
    };
    let report = Report {
        run,
        ..Report::default()
    };
    let (idle, cause) = idle_words(&report);
    assert!(
        idle.contains("25.0%") && cause == words::WAITS_CREDIT.now(),
        "{idle} {cause}"
    );
    let busy = Report {
        run: Shares {
            busy: 0.999,
            input: 0.001,
            ..Shares::default()
        },
        ..Report::default()
    };
    assert_eq!(idle_words(&busy).1, "");
}
