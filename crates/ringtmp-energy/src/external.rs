//! The log of an external meter: a plug or a bench meter that writes a CSV file.
//!
//! The first line names the columns, in any order and case; others are ignored:
//!
//! | column | what |
//! | --- | --- |
//! | `time` | seconds since 1970, or a time with its zone as `2026-11-28T14:05:09.5Z` (RFC 3339) |
//! | `joules` | a counter of energy, in joules |
//! | `watt_hours` | a counter of energy, in watt-hours |
//! | `watts` | power |
//!
//! One of the last three is needed; where there are several, the first of this list is used. A row without that cell is a gap.
//! Rows belong to the run by their time, so both clocks have to agree to a fraction of a second; `offset` corrects one that does not.

use crate::{
    Description, Integral, Measured, Moment, Phase, Reading, Recorded, Recording, Role,
    SAMPLE_GAP_MAX, Trouble, Window,
};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The most bytes of a log: 1,000,000 rows of 64 bytes.
pub const LOG_BYTES_MAX: usize = 64 << 20;

/// The most rows of a log: eleven days at one a second.
pub const LOG_ROWS_MAX: usize = 1_000_000;

/// The least seconds since 1970 that are thousandths, not seconds: the year 5138.
const SECONDS_MAX: f64 = 1e11;

/// Readings may lie as far apart as so many usual ones.
const GAP_INTERVALS: u32 = 5;

/// But at most so far: what a computer draws changes within seconds.
const LOG_GAP_MAX: Duration = Duration::from_secs(60);

/// The most characters of a cell that an error repeats.
const QUOTED_CHARACTERS_MAX: usize = 40;

/// Why a log cannot be used. The file is at fault; lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// More than is read.
    #[error("the log has {bytes} bytes; at most {LOG_BYTES_MAX} are read, so cut it to the run")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// More rows than are read.
    #[error("the log has more than {LOG_ROWS_MAX} rows; cut it to the run")]
    TooLong,
    /// No line of names, or not the needed ones.
    #[error(
        "the log's first line is {found:?}; it has to name a column time and one of joules, watt_hours or watts"
    )]
    Columns {
        /// What it is.
        found: String,
    },
    /// A cell that is not what its column says.
    #[error("line {line} of the log has {found:?} under {column}: {advice}")]
    Cell {
        /// Where.
        line: u64,
        /// The column.
        column: &'static str,
        /// The first characters of it.
        found: String,
        /// What to write instead.
        advice: &'static str,
    },
    /// No table.
    #[error("the log is no CSV: {0}")]
    Csv(String),
}

/// What a log tells: readings at times since 1970, as they were written.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalLog {
    rows: Vec<(Duration, Reading)>,
    gap_max: Duration,
}

#[derive(Clone, Copy)]
enum Column {
    Joules(f64),
    Watts,
}

/// Columns of energy and power, the best first, with the joules of one unit.
const COLUMNS: [(&str, Column); 3] = [
    ("joules", Column::Joules(1.0)),
    ("watt_hours", Column::Joules(3600.0)),
    ("watts", Column::Watts),
];

impl ExternalLog {
    /// Reads a log.
    ///
    /// # Errors
    ///
    /// If it is too long, lacks a column, or has a cell that cannot be.
    pub fn parse(bytes: &[u8]) -> Result<Self, LogError> {
        if bytes.len() > LOG_BYTES_MAX {
            return Err(LogError::TooLarge { bytes: bytes.len() });
        }
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(bytes);
        let csv = |error: csv::Error| LogError::Csv(error.to_string());
        let header = reader.headers().map_err(csv)?;
        let named = |name: &str| {
            header
                .iter()
                .position(|cell| cell.eq_ignore_ascii_case(name))
        };
        let value = COLUMNS
            .into_iter()
            .find_map(|(name, column)| Some((named(name)?, name, column)));
        let Some((time, (place, name, column))) = named("time").zip(value) else {
            let found: Vec<_> = header.iter().collect();
            let found = quoted(&found.join(","));
            return Err(LogError::Columns { found });
        };
        let mut rows = Vec::new();
        for row in reader.records() {
            let row = row.map_err(csv)?;
            let line = row.position().map_or(0, csv::Position::line);
            let cell = |place: usize| row.get(place).unwrap_or_default();
            if rows.len() == LOG_ROWS_MAX {
                return Err(LogError::TooLong);
            }
            if cell(place).is_empty() {
                continue;
            }
            let bad = |column, found: &str, advice| LogError::Cell {
                line,
                column,
                found: quoted(found),
                advice,
            };
            let at = since_1970(cell(time)).map_err(|advice| bad("time", cell(time), advice))?;
            let advice = "it has to be a number from 0 on, with a point";
            let reading =
                reading(cell(place), column).ok_or_else(|| bad(name, cell(place), advice));
            rows.push((at, reading?));
        }
        let gap_max = gap_max(&rows);
        Ok(Self { rows, gap_max })
    }

    /// Sets the log's clock back by so many seconds; forward where negative.
    #[must_use]
    pub fn ahead_by(mut self, seconds: f64) -> Self {
        let by = Duration::try_from_secs_f64(seconds.abs()).unwrap_or(Duration::ZERO);
        for (at, _) in &mut self.rows {
            *at = if seconds >= 0.0 {
                at.saturating_sub(by)
            } else {
                at.saturating_add(by)
            };
        }
        self
    }

    /// The time of the latest row, since 1970; none without rows.
    pub fn last(&self) -> Option<Duration> {
        self.rows.iter().map(|(at, _)| *at).max()
    }

    /// What the log says of these phases, as one more meter of the recording. `name` is the file's.
    pub fn record(&self, name: &str, recording: &mut Recording) {
        let jumped = !recording.jumps.is_empty();
        let of = |phase: Phase| {
            if jumped {
                let what = "the clock of this device jumped, so that the log's rows cannot be told to belong to the run: measure again with a clock that is left alone";
                return uncovered(phase.length(), what.to_owned());
            }
            self.window(phase.from, phase.to)
        };
        recording.meters.push(Recorded {
            description: Description {
                id: format!("external {name}"),
                counts: "whatever the external meter is put before".to_owned(),
                role: Role::Machine,
            },
            before: recording.before.map(of),
            run: of(recording.run),
            after: recording.after.map(of),
        });
    }

    /// What was counted between two moments of the clock on the wall. At both ends it is interpolated.
    pub fn window(&self, from: Moment, to: Moment) -> Window {
        let (from, to) = (from.since_1970, to.since_1970);
        let pairs = || self.rows.windows(2).map(|pair| (pair[0], pair[1]));
        let back =
            pairs().find(|(first, second)| second.0 < first.0 && first.0 >= from && second.0 <= to);
        if let Some((first, second)) = back {
            let seconds = (first.0 - second.0).as_secs_f64();
            let what = format!(
                "the log's clock went back by {seconds:.0} s in this time, so that its rows cannot be told apart"
            );
            return uncovered(to.saturating_sub(from), what);
        }
        let mut integral = Integral::with_gap(from, self.gap_max);
        let mut take = |at: Duration, reading: Reading| integral.take(at, &Ok(reading));
        for (index, &(at, reading)) in self.rows.iter().enumerate() {
            let previous = index.checked_sub(1).map(|index| self.rows[index]);
            let border = |border: Duration| {
                let previous = previous.filter(|previous| previous.0 < border && border < at)?;
                between(previous, (at, reading), border, self.gap_max)
            };
            for edge in [from, to] {
                if let Some(reading) = border(edge) {
                    take(edge, reading);
                }
            }
            if (from..=to).contains(&at) {
                take(at, reading);
            }
        }
        integral.close(to)
    }
}

/// The reading at a time between two others.
fn between(
    first: (Duration, Reading),
    second: (Duration, Reading),
    at: Duration,
    gap_max: Duration,
) -> Option<Reading> {
    let length = second.0.checked_sub(first.0)?;
    if length > gap_max {
        return None;
    }
    let share = (at - first.0).as_secs_f64() / length.as_secs_f64();
    match (first.1, second.1) {
        (Reading::Power(before), Reading::Power(after)) => {
            Some(Reading::Power(before + (after - before) * share))
        }
        (
            Reading::Counter {
                microjoules: before,
                wraps_at,
            },
            Reading::Counter {
                microjoules: after, ..
            },
        ) => {
            let more = after.checked_sub(before)? as f64 * share;
            Some(Reading::Counter {
                microjoules: before + more as u64,
                wraps_at,
            })
        }
        _ => None,
    }
}

fn uncovered(length: Duration, what: String) -> Window {
    Window {
        length,
        covered: Duration::ZERO,
        joules: Measured::default(),
        troubles: vec![Trouble {
            after_seconds: 0.0,
            what,
        }],
    }
}

fn reading(cell: &str, column: Column) -> Option<Reading> {
    let number: f64 = cell.parse().ok()?;
    if !(0.0..f64::INFINITY).contains(&number) {
        return None;
    }
    Some(match column {
        Column::Watts => Reading::Power(number),
        Column::Joules(unit) => Reading::Counter {
            microjoules: (number * unit * 1e6).round() as u64,
            wraps_at: None,
        },
    })
}

fn since_1970(cell: &str) -> Result<Duration, &'static str> {
    if let Ok(seconds) = cell.parse::<f64>() {
        if seconds >= SECONDS_MAX {
            return Err("these are thousandths: divide them by 1000");
        }
        return Duration::try_from_secs_f64(seconds)
            .map_err(|_| "it has to be a number of seconds from 0 on");
    }
    let parsed = OffsetDateTime::parse(cell, &Rfc3339).map_err(
        |_| "it has to be seconds since 1970, or a time with its zone as 2026-11-28T14:05:09Z",
    )?;
    u64::try_from(parsed.unix_timestamp_nanos())
        .map(Duration::from_nanos)
        .map_err(|_| "it has to be a time since 1970")
}

/// A few times the usual distance of rows.
fn gap_max(rows: &[(Duration, Reading)]) -> Duration {
    let mut intervals: Vec<_> = rows
        .windows(2)
        .filter_map(|pair| pair[1].0.checked_sub(pair[0].0))
        .collect();
    intervals.sort_unstable();
    let usual = intervals.get(intervals.len() / 2).copied();
    usual
        .unwrap_or_default()
        .saturating_mul(GAP_INTERVALS)
        .clamp(SAMPLE_GAP_MAX, LOG_GAP_MAX)
}

fn quoted(text: &str) -> String {
    text.chars().take(QUOTED_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Recorder, recorder::tests::at};

    /// Seconds since the moment at which the tests' clock starts.
    fn log(text: &str) -> Result<ExternalLog, LogError> {
        ExternalLog::parse(text.as_bytes())
    }

    /// One row a second at 10 W over this many seconds, some left out.
    fn steady(seconds: std::ops::Range<u64>, without: std::ops::Range<u64>) -> ExternalLog {
        let rows = seconds.filter(|second| !without.contains(second));
        let rows = rows.map(|second| format!("{},10\n", 1_000_000 + second));
        log(&format!("time,watts\n{}", rows.collect::<String>())).expect("a log")
    }

    #[test]
    fn a_window_is_cut_out_of_a_log_and_interpolated_at_its_ends() {
        let ramp = log("Time , volts, WATTS\n1000000,230,0\n1000010,230,100\n1000020,230,0\n");
        let window = ramp.expect("a log").window(at(5), at(15));
        // From 50 W to 100 W and back.
        assert_eq!(window.joules, Measured::new(750.0));
        assert!(window.is_whole() && window.troubles.is_empty());
        let counter = log("time,joules,watts\n1000000,100,1\n1000010,200,1\n1000020,400,1\n");
        let window = counter.expect("a log").window(at(5), at(15));
        assert_eq!(window.joules, Measured::new(50.0 + 100.0));
        let hours = log("time,watt_hours\n1000000,1\n1000001,1.5\n").expect("a log");
        assert_eq!(hours.window(at(0), at(1)).joules, Measured::new(1800.0));
    }

    #[test]
    fn times_may_be_written_with_their_zone() {
        let rows = "time,watts\n1970-01-12T13:46:40Z,10\n1970-01-12T14:46:42+01:00,10\n";
        let window = log(rows).expect("a log").window(at(0), at(2));
        assert_eq!(window.joules, Measured::new(20.0));
        // A clock that is 100 s ahead.
        let ahead = log("time,watts\n1000100,10\n1000102,10\n").expect("a log");
        assert!(!ahead.window(at(0), at(2)).is_whole());
        let corrected = ahead.ahead_by(100.0);
        assert!(corrected.window(at(0), at(2)).is_whole());
        assert_eq!(corrected.last(), Some(at(2).since_1970));
    }

    #[test]
    fn a_gap_in_a_log_is_not_filled_in() {
        let window = steady(0..31, 10..20).window(at(0), at(30));
        // The tenth second is the first without a row.
        assert_eq!(window.joules, Measured::new(90.0 + 100.0));
        assert_eq!(window.covered, Duration::from_secs(19));
        assert!(window.troubles[0].what.contains("no reading for 11"));
        // A gap that a border lies in is one as well.
        let border = steady(0..31, 6..15).window(at(10), at(20));
        assert_eq!(border.joules, Measured::new(50.0));
        // Rows that stop in the middle, and a log of another day.
        let stopped = steady(0..15, 0..0).window(at(0), at(30));
        assert_eq!(stopped.covered, Duration::from_secs(14));
        assert!(!stopped.is_whole());
        let other = steady(0..15, 0..0).window(at(50), at(60));
        assert!(!other.is_whole());
        assert_eq!(other.troubles[0].what, "the meter was never read");
        // A row without a value is one too.
        let empty = log("time,watts\n1000000,10\n1000004,\n1000008,10\n").expect("a log");
        assert_eq!(empty.window(at(0), at(8)).covered, Duration::from_secs(8));
    }

    #[test]
    fn a_log_whose_clock_went_back_is_refused_where_it_did() {
        let rows: String = (0..20)
            .chain(10..30)
            .map(|second| format!("{},10\n", 1_000_000 + second))
            .collect();
        let back = log(&format!("time,watts\n{rows}")).expect("a log");
        let twice = back.window(at(5), at(25));
        assert_eq!(twice.joules, Measured::default());
        assert!(twice.troubles[0].what.contains("went back by 9 s"));
        assert!(back.window(at(0), at(9)).is_whole(), "before it is fine");
        assert!(back.window(at(20), at(29)).is_whole(), "and after");
    }

    #[test]
    fn a_clock_that_jumped_makes_a_log_useless() {
        let phases = |jump: u64| {
            let mut recorder = Recorder::new(Vec::new(), at(0));
            let mut moment = at(10);
            moment.since_1970 += Duration::from_secs(jump);
            recorder.sample(moment);
            recorder.finish(moment).expect("one phase")
        };
        let mut fine = phases(0);
        steady(0..31, 0..0).record("plug.csv", &mut fine);
        let total = fine.measured_total().expect("it is whole");
        assert_eq!(total.gross, Measured::new(100.0));
        assert_eq!(total.meters, ["external plug.csv"]);
        let mut jumped = phases(3600);
        steady(0..31, 0..0).record("plug.csv", &mut jumped);
        let why = jumped.measured_total().expect_err("refused").to_string();
        assert!(why.contains("jumped"), "{why}");
    }

    #[test]
    fn a_log_that_cannot_be_is_refused_by_line() {
        let refused = |text: &str| log(text).expect_err(text).to_string();
        assert!(refused("").contains("first line"));
        assert!(refused("watts,volts\n1,2\n").contains("watts,volts"));
        assert!(refused("time,volts\n1,2\n").contains("time,volts"));
        let line = refused("time,watts\n1,2\n1,many\n");
        assert!(
            line.contains("line 3") && line.contains("\"many\""),
            "{line}"
        );
        for wrong in ["nan", "-1", "inf", "1e999", "1,5"] {
            assert!(log(&format!("time,watts\n1,{wrong}\n")).is_err(), "{wrong}");
        }
        assert!(refused("time,watts\n1764338400000,1\n").contains("thousandths"));
        assert!(refused("time,watts\n2026-11-28 14:05,1\n").contains("zone"));
        assert!(refused("time,watts\n-5,1\n").contains("from 0 on"));
        assert!(refused("time,watts\n1,2,3\n").contains("CSV"));
        let long = format!("time,watts\n1,{}\n", "x".repeat(1_000_000));
        assert!(refused(&long).len() < 300);
        assert!(ExternalLog::parse(&[b'x', 0xff, b'\n', 0xff]).is_err());
    }
}
