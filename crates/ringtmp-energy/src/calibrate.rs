//! Coefficients of one's own machine, from what its meters show under several loads.
//!
//! The power of a machine is taken to be linear in its busy cores: `watts = idle + watts per core * cores`. The line is that of least
//! squares; the intervals are its standard errors times 2 (about 95%), widened so that every level of load that was measured lies within the line's bounds.
//! A real machine is not linear: the first core wakes what the others share, and the last shares its clock with them.

use crate::estimate::{Basis, Coefficient, Coefficients, Profile};
use crate::{Interval, MeasuredTotal, Recording, Unmeasured};
use serde::Serialize;

/// The name of the profile that calibration writes.
pub const CALIBRATED: &str = "calibrated";

/// The least points of a fit: two levels of load with five seconds each.
pub const POINTS_MIN: usize = 10;

/// Loads have to differ by so many cores at least, else the slope is noise.
const SPREAD_MIN: f64 = 0.5;

/// Two loads are of one level if they round to the same tenth of a core.
const LEVEL: f64 = 10.0;

/// The share of the variance that the line has to explain: less, and what moved the power was something else than the load.
const EXPLAINED_MIN: f64 = 0.8;

/// How many standard errors an interval reaches to each side.
const STANDARD_ERRORS: f64 = 2.0;

/// What was seen in one second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Cores that were busy on the whole machine, on average.
    pub cores: f64,
    /// What the meters showed.
    pub watts: f64,
}

/// The line through the points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// Where it starts.
    pub idle_watts: Interval,
    /// How steep it is.
    pub watts_per_core: Interval,
    /// The share of the variance of the power that the line explains.
    pub explained: f64,
    /// How many points there were.
    pub points: usize,
}

/// Why there is no line.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FitError {
    /// Too little was seen.
    #[error("{points} seconds were measured, and at least {POINTS_MIN} are needed: measure longer")]
    TooFew {
        /// How many points.
        points: usize,
    },
    /// The load was the same all the time.
    #[error(
        "the machine had between {low:.1} and {high:.1} busy cores: end what else runs here, so that it can idle"
    )]
    NoSpread {
        /// The least.
        low: f64,
        /// The most.
        high: f64,
    },
    /// More load does not take more power.
    #[error(
        "a busy core adds {watts:.2} W, which cannot be: is this meter put before another device, or too slow to follow?"
    )]
    NotRising {
        /// The slope.
        watts: f64,
    },
    /// The power went up and down for other reasons.
    #[error(
        "busy cores explain {:.0}% of how the power varied, and at least {:.0}% are needed: end what else runs here, or take a meter that follows within a second",
        explained * 100.0,
        EXPLAINED_MIN * 100.0
    )]
    Unexplained {
        /// The share.
        explained: f64,
    },
}

/// Why recordings are no points.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PointsError {
    /// Nothing was recorded.
    #[error("nothing was recorded")]
    Nothing,
    /// A second without a total.
    #[error(transparent)]
    Unmeasured(#[from] Unmeasured),
    /// Some seconds were measured by other meters than the rest.
    #[error("the meters changed from {before} to {after}: leave plugs and cables alone meanwhile")]
    Changed {
        /// The first ones.
        before: String,
        /// The later ones.
        after: String,
    },
}

/// One point of each recording of a second or so, with the cores that were busy in it; and the total of the first, which tells the meters.
///
/// # Errors
///
/// If one of them has no total, or they are of different meters.
pub fn points(recordings: &[(Recording, f64)]) -> Result<(Vec<Point>, MeasuredTotal), PointsError> {
    let mut points = Vec::with_capacity(recordings.len());
    let mut first: Option<MeasuredTotal> = None;
    for (recording, cores) in recordings {
        let total = recording.measured_total()?;
        points.push(Point {
            cores: *cores,
            watts: total.gross.joules() / recording.run.length().as_secs_f64(),
        });
        let first = first.get_or_insert_with(|| total.clone());
        if first.meters != total.meters {
            return Err(PointsError::Changed {
                before: first.meters.join(", "),
                after: total.meters.join(", "),
            });
        }
    }
    Ok((points, first.ok_or(PointsError::Nothing)?))
}

/// Whether a machine of so many cores that should idle does, by the cores that were busy each second.
///
/// # Errors
///
/// If it was so busy that all cores together are hardly more.
pub fn idles(seconds: &[f64], cores: f64) -> Result<(), FitError> {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    // One quiet second is luck.
    let low = sorted.get(sorted.len() / 2).copied().unwrap_or(cores);
    if cores - low < SPREAD_MIN {
        return Err(FitError::NoSpread { low, high: cores });
    }
    Ok(())
}

/// The line of least squares.
///
/// # Errors
///
/// If there are too few points, too alike, or the line falls.
pub fn fit(points: &[Point]) -> Result<Fit, FitError> {
    let known = |point: &&Point| point.cores.is_finite() && point.watts.is_finite();
    let points: Vec<Point> = points.iter().filter(known).copied().collect();
    let count = points.len();
    if count < POINTS_MIN {
        return Err(FitError::TooFew { points: count });
    }
    let cores = || points.iter().map(|point| point.cores);
    let (low, high) = (
        cores().fold(f64::INFINITY, f64::min),
        cores().fold(f64::NEG_INFINITY, f64::max),
    );
    if high - low < SPREAD_MIN {
        return Err(FitError::NoSpread { low, high });
    }
    let n = count as f64;
    let mean_cores = cores().sum::<f64>() / n;
    let mean_watts = points.iter().map(|point| point.watts).sum::<f64>() / n;
    let sum = |term: &dyn Fn(&Point) -> f64| points.iter().map(term).sum::<f64>();
    let spread = sum(&|point| (point.cores - mean_cores).powi(2));
    let slope = sum(&|point| (point.cores - mean_cores) * (point.watts - mean_watts)) / spread;
    let start = mean_watts - slope * mean_cores;
    if slope <= 0.0 {
        return Err(FitError::NotRising { watts: slope });
    }
    let residual = sum(&|point| (point.watts - start - slope * point.cores).powi(2));
    let variance = residual / (n - 2.0);
    let total = sum(&|point| (point.watts - mean_watts).powi(2));
    let explained = if total > 0.0 {
        1.0 - residual / total
    } else {
        1.0
    };
    if explained < EXPLAINED_MIN {
        return Err(FitError::Unexplained { explained });
    }
    let slope_error = (variance / spread).sqrt();
    let start_error = (variance * (1.0 / n + mean_cores.powi(2) / spread)).sqrt();
    // Bent as a machine is, standard errors alone would claim too much.
    let bend = bend(&points, start, slope);
    let idle_half = (STANDARD_ERRORS * start_error).max(bend);
    let slope_half = (STANDARD_ERRORS * slope_error).max(bend / (high - low));
    Ok(Fit {
        idle_watts: around(start.max(0.0), idle_half),
        watts_per_core: around(slope, slope_half),
        explained,
        points: count,
    })
}

/// The largest distance from the line of the mean power at one level of load.
fn bend(points: &[Point], start: f64, slope: f64) -> f64 {
    let level = |point: &Point| (point.cores * LEVEL).round() as i64;
    let mut sorted = points.to_vec();
    sorted.sort_by_key(level);
    sorted
        .chunk_by(|one, other| level(one) == level(other))
        .map(|chunk| {
            let off = chunk
                .iter()
                .map(|point| point.watts - start - slope * point.cores);
            (off.sum::<f64>() / chunk.len() as f64).abs()
        })
        .fold(0.0, f64::max)
}

fn around(best: f64, half: f64) -> Interval {
    Interval::new((best - half).max(0.0), best, best + half).unwrap_or_default()
}

/// What a calibration was made with, for the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Circumstances {
    /// The machine, in words.
    pub machine: String,
    /// The meters.
    pub meters: Vec<String>,
    /// Whether these see all that the device draws.
    pub whole_device: bool,
}

impl Circumstances {
    /// Those of a total.
    pub fn new(machine: &str, total: &MeasuredTotal) -> Self {
        Self {
            machine: machine.to_owned(),
            meters: total.meters.clone(),
            whole_device: total.whole_device,
        }
    }
}

/// A file with one profile, [`CALIBRATED`]: idle watts and watts per core from the fit, the rest from a profile that is like this machine.
pub fn coefficients(fit: &Fit, circumstances: &Circumstances, like: &Profile) -> Coefficients {
    let Circumstances {
        machine,
        meters,
        whole_device,
    } = circumstances;
    let scope = if *whole_device {
        "all that the device draws"
    } else {
        "ONLY THE PARTS that these meters see, without display, disks, network and losses of the power supply"
    };
    let source = format!(
        "calibrated on {machine} by {}: {scope}; {} seconds, {:.1}% of the variance explained",
        meters.join(" and "),
        fit.points,
        fit.explained * 100.0
    );
    let measured = |value| Coefficient {
        value,
        basis: Basis::Measured,
        source: source.clone(),
    };
    let profile = Profile {
        about: format!("{machine}, calibrated"),
        idle_watts: measured(fit.idle_watts),
        watts_per_core: measured(fit.watts_per_core),
        ..like.clone()
    };
    Coefficients {
        schema_version: 1,
        profiles: [(CALIBRATED.to_owned(), profile)].into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::tests::{Script, at, power, work};
    use crate::{MeterError, Role};

    /// Ten seconds at each level, of a machine whose power is this function of its load.
    fn levels(cores: &[f64], watts: impl Fn(f64, usize) -> f64) -> Vec<Point> {
        let all = cores
            .iter()
            .flat_map(|&cores| (0..10).map(move |second| (cores, second)));
        all.map(|(cores, second)| Point {
            cores,
            watts: watts(cores, second),
        })
        .collect()
    }

    #[test]
    fn a_line_is_found_again() {
        let points = levels(&[0.0, 1.0, 2.0, 4.0], |cores, _| 8.0 + 5.0 * cores);
        let fit = fit(&points).expect("a line");
        assert!((fit.idle_watts.best() - 8.0).abs() < 1e-9);
        assert!((fit.watts_per_core.best() - 5.0).abs() < 1e-9);
        assert!(fit.watts_per_core.high() - fit.watts_per_core.low() < 1e-6);
        assert!(fit.explained > 0.999_999);
        assert_eq!(fit.points, 40);
    }

    #[test]
    fn noise_and_bends_widen_the_interval_until_it_holds_the_truth() {
        let noisy = levels(&[0.0, 1.0, 2.0, 4.0], |cores, second| {
            8.0 + 5.0 * cores + if second % 2 == 0 { 1.0 } else { -1.0 }
        });
        let noisy = fit(&noisy).expect("a line");
        let idle = noisy.idle_watts;
        assert!(idle.low() < 8.0 && 8.0 < idle.high() && idle.high() - idle.low() > 0.3);
        // The first core costs 10 W, each further one 3 W.
        let bent = levels(&[0.0, 1.0, 2.0, 4.0], |cores, _| {
            if cores == 0.0 {
                8.0
            } else {
                15.0 + 3.0 * cores
            }
        });
        let bent = fit(&bent).expect("a line");
        assert!(
            bent.idle_watts.low() <= 8.0,
            "{:?} holds what it idles at",
            bent.idle_watts
        );
        assert!(bent.explained < 0.99);
    }

    #[test]
    fn what_shows_no_line_is_refused_with_the_reason() {
        let short = levels(&[0.0], |_, _| 8.0);
        assert_eq!(fit(&short[..9]), Err(FitError::TooFew { points: 9 }));
        let nothing = [Point {
            cores: f64::NAN,
            watts: 1.0,
        }; 20];
        assert_eq!(fit(&nothing), Err(FitError::TooFew { points: 0 }));
        let busy = levels(&[1.9, 2.0], |cores, _| cores);
        assert!(matches!(fit(&busy), Err(FitError::NoSpread { .. })));
        assert!(matches!(
            idles(&[2.0, 1.9], 2.0),
            Err(FitError::NoSpread { .. })
        ));
        assert_eq!(idles(&[2.0, 0.3, 0.1], 2.0), Ok(()));
        let lucky = idles(&[2.0, 0.3, 1.8, 1.9], 2.0);
        assert!(matches!(lucky, Err(FitError::NoSpread { .. })));
        assert!(idles(&[], 2.0).is_err());
        let restless = levels(&[0.0, 2.0], |cores, second| {
            8.0 + cores + if second % 2 == 0 { 5.0 } else { -5.0 }
        });
        assert!(matches!(fit(&restless), Err(FitError::Unexplained { .. })));
        let other = levels(&[0.0, 2.0], |_, _| 8.0);
        assert_eq!(fit(&other), Err(FitError::NotRising { watts: 0.0 }));
    }

    /// A recording of each second under these meters.
    fn each_second(meters: Vec<Box<dyn crate::Meter + Send>>, seconds: u64) -> Vec<Recording> {
        let mut recorder = crate::Recorder::new(meters, at(0));
        (1..seconds).for_each(|second| recorder.next_phase(at(second)));
        recorder.finish_each(at(seconds))
    }

    #[test]
    fn seconds_become_points_as_long_as_the_meters_stay_the_same() {
        let meters = vec![Script::boxed("package", Role::Part, work())];
        let recordings: Vec<_> = each_second(meters, 30)
            .into_iter()
            .enumerate()
            .map(|(second, recording)| {
                (
                    recording,
                    if (10..20).contains(&second) { 4.0 } else { 0.0 },
                )
            })
            .collect();
        let (seen, total) = points(&recordings).expect("a whole meter");
        assert_eq!(seen.len(), 30);
        assert_eq!(total.meters, ["package"]);
        let line = fit(&seen).expect("a line");
        assert!((line.watts_per_core.best() - 5.0).abs() < 1e-9);
        assert!((line.idle_watts.best() - 5.0).abs() < 1e-9);

        // The battery is plugged in half-way, and the package is left.
        let battery = (0..=20).map(|second| match second {
            0..10 => power(30.0),
            _ => Err(MeterError::NotNow("on mains".to_owned())),
        });
        let meters = vec![
            Script::boxed("battery", Role::Machine, battery),
            Script::boxed("package", Role::Part, work()),
        ];
        let changed: Vec<_> = each_second(meters, 20)
            .into_iter()
            .map(|recording| (recording, 1.0))
            .collect();
        let refused = points(&changed).expect_err("they changed");
        assert!(matches!(refused, PointsError::Changed { .. }), "{refused}");
        assert_eq!(points(&[]), Err(PointsError::Nothing));
        let none: Vec<_> = each_second(Vec::new(), 2)
            .into_iter()
            .map(|recording| (recording, 1.0))
            .collect();
        assert_eq!(points(&none), Err(Unmeasured::NoMeter.into()));
    }

    #[test]
    fn the_file_says_what_the_meters_did_not_see() {
        let like = Coefficients::embedded().expect("it comes with the program");
        let like = like.profile("laptop").expect("it is there");
        let line = fit(&levels(&[0.0, 2.0], |cores, _| 8.0 + cores)).expect("a line");
        let mut circumstances = Circumstances {
            machine: "a test".to_owned(),
            meters: vec!["powercap intel-rapl:0".to_owned()],
            whole_device: false,
        };
        let file = coefficients(&line, &circumstances, like);
        let text = file.to_toml().expect("plain");
        assert!(text.contains("ONLY THE PARTS") && text.contains("intel-rapl:0"));
        let read = Coefficients::parse(&text).expect("it can be read");
        let profile = read.profile(CALIBRATED).expect("it is there");
        assert_eq!(profile.idle_watts.value, line.idle_watts);
        assert_eq!(profile.joules_per_byte, like.joules_per_byte);
        circumstances.whole_device = true;
        let text = coefficients(&line, &circumstances, like).to_toml();
        assert!(!text.expect("plain").contains("ONLY"));
    }
}
