//! From readings to joules: differences of counters, the trapezoid rule over powers, and what was not covered.

use crate::{Measured, MeterError, Reading};
use serde::{Serialize, Serializer};
use std::time::Duration;

/// Between two readings of a power at most so much may lie: five missed samples. Nobody knows what was drawn in longer gaps.
pub const SAMPLE_GAP_MAX: Duration = Duration::from_secs(5);

/// More than what one meter watches draws: a household's plug gives 3,680 W. A counter that rose by more was set anew.
pub const METER_WATTS_MAX: f64 = 4_000.0;

/// A counter that stands still for longer has stopped: packages count every millisecond, graphics cards every tenth of a second.
pub const COUNTER_STILL_MAX: Duration = Duration::from_secs(10);

/// A window of which less is covered has no total: one sample of fifty may be missing.
pub const COVERED_SHARE_MIN: f64 = 0.98;

/// How late a counter may show what was drawn. Then much can come at once, just after a reading.
const COUNTER_DELAY_MAX: Duration = Duration::from_secs(1);

/// Troubles of one window that are told; one of each kind says enough.
const TROUBLES_MAX: usize = 8;

/// Something that kept a meter from covering its window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trouble {
    /// Seconds after the window began.
    pub after_seconds: f64,
    /// What it was.
    pub what: String,
}

/// What a meter counted from one moment to another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Window {
    /// Its length.
    #[serde(rename = "length_seconds", serialize_with = "seconds")]
    pub length: Duration,
    /// Of it, for how long the meter is known to have counted.
    #[serde(rename = "covered_seconds", serialize_with = "seconds")]
    pub covered: Duration,
    /// What it counted in that time.
    #[serde(flatten)]
    pub joules: Measured,
    /// Whatever went wrong.
    pub troubles: Vec<Trouble>,
}

impl Window {
    /// Whether the meter counted nearly all the time.
    pub fn is_whole(&self) -> bool {
        let share = self.covered.as_secs_f64() / self.length.as_secs_f64();
        share >= COVERED_SHARE_MIN
    }

    /// The mean power while it counted; none if it did not.
    pub fn watts(&self) -> Option<f64> {
        let seconds = self.covered.as_secs_f64();
        (seconds > 0.0).then(|| self.joules.joules() / seconds)
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// A window that is still open. It keeps sums, no readings, so that it can stay open for days.
#[derive(Clone, Debug)]
pub struct Integral {
    from: Duration,
    gap_max: Duration,
    last: Option<(Duration, Reading)>,
    joules: f64,
    covered: Duration,
    /// For how long the counter has stood still.
    still: Duration,
    troubles: Vec<Trouble>,
}

impl Integral {
    /// From this moment on; powers are trusted over gaps of [`SAMPLE_GAP_MAX`].
    pub const fn new(from: Duration) -> Self {
        Self::with_gap(from, SAMPLE_GAP_MAX)
    }

    /// From this moment on, with powers that may lie so far apart.
    pub const fn with_gap(from: Duration, gap_max: Duration) -> Self {
        Self {
            from,
            gap_max,
            last: None,
            joules: 0.0,
            covered: Duration::ZERO,
            still: Duration::ZERO,
            troubles: Vec::new(),
        }
    }

    /// The next reading. Moments are of a clock that does not go back; one that does starts anew.
    pub fn take(&mut self, at: Duration, reading: &Result<Reading, MeterError>) {
        let reading = match reading {
            Ok(Reading::Power(watts)) if !(0.0..f64::INFINITY).contains(watts) => {
                let error = MeterError::malformed("the meter", &watts.to_string(), "power");
                Err(error)
            }
            Ok(reading) => Ok(*reading),
            Err(error) => Err(error.clone()),
        };
        let last = self.last.take();
        match reading {
            Err(error) => self.trouble(at, error.to_string()),
            Ok(reading) => {
                if let Some((before, earlier)) = last {
                    self.between((before, earlier), (at, reading));
                }
                self.last = Some((at, reading));
            }
        }
    }

    /// Ends the window.
    pub fn close(mut self, to: Duration) -> Window {
        let length = to.saturating_sub(self.from);
        if self.still > COUNTER_STILL_MAX {
            let seconds = self.still.as_secs_f64();
            self.trouble(
                to,
                format!("the counter stood still for the last {seconds:.0} s"),
            );
        } else {
            self.covered += self.still;
        }
        if self.last.is_none() && self.troubles.is_empty() {
            self.trouble(to, "the meter was never read".to_owned());
        }
        Window {
            length,
            covered: self.covered.min(length),
            joules: Measured::new(self.joules),
            troubles: self.troubles,
        }
    }

    fn between(&mut self, from: (Duration, Reading), to: (Duration, Reading)) {
        let Some(time) = to.0.checked_sub(from.0) else {
            let back = from.0.saturating_sub(to.0).as_secs_f64();
            return self.trouble(to.0, format!("the clock went back by {back:.1} s"));
        };
        match (from.1, to.1) {
            (Reading::Power(before), Reading::Power(after)) if time <= self.gap_max => {
                self.joules += (before + after) / 2.0 * time.as_secs_f64();
                self.covered += time;
            }
            (Reading::Power(_), Reading::Power(_)) => {
                let seconds = time.as_secs_f64();
                self.trouble(to.0, format!("no reading for {seconds:.1} s"));
            }
            (
                Reading::Counter {
                    microjoules: before,
                    ..
                },
                Reading::Counter {
                    microjoules: after,
                    wraps_at,
                },
            ) => match counted(before, after, wraps_at, time) {
                Ok(microjoules) => self.count(microjoules, time, to.0),
                Err(why) => self.trouble(to.0, why),
            },
            (Reading::Power(_), Reading::Counter { .. })
            | (Reading::Counter { .. }, Reading::Power(_)) => {
                self.trouble(to.0, "the meter changed what it shows".to_owned());
            }
        }
    }

    fn count(&mut self, microjoules: u64, time: Duration, at: Duration) {
        if microjoules == 0 {
            self.still += time;
            return;
        }
        let still = std::mem::take(&mut self.still);
        if still > COUNTER_STILL_MAX {
            let seconds = still.as_secs_f64();
            self.trouble(at, format!("the counter stood still for {seconds:.0} s"));
        } else {
            self.covered += still;
        }
        self.covered += time;
        self.joules += microjoules as f64 / 1e6;
    }

    /// Only the first of each kind: a meter that is gone says so once a second.
    fn trouble(&mut self, at: Duration, what: String) {
        let known = self.troubles.iter().any(|trouble| trouble.what == what);
        if !known && self.troubles.len() < TROUBLES_MAX {
            let after_seconds = at.saturating_sub(self.from).as_secs_f64();
            self.troubles.push(Trouble {
                after_seconds,
                what,
            });
        }
    }
}

/// How far a counter went, in microjoules.
fn counted(before: u64, after: u64, wraps_at: Option<u64>, time: Duration) -> Result<u64, String> {
    let seconds = time.as_secs_f64();
    let most = METER_WATTS_MAX * (time + COUNTER_DELAY_MAX).as_secs_f64() * 1e6;
    if wraps_at.is_some_and(|range| range as f64 <= most) {
        return Err(format!(
            "no reading for {seconds:.0} s, in which the counter may have begun anew more than once"
        ));
    }
    let difference = match wraps_at {
        _ if after >= before => Some(after - before),
        Some(range) => range.checked_sub(before).map(|rest| rest + after),
        None => None,
    };
    difference
        .filter(|&difference| difference as f64 <= most)
        .ok_or_else(|| "the counter was set anew".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RANGE: u64 = 262_143_328_850;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn counter(microjoules: u64) -> Result<Reading, MeterError> {
        Ok(Reading::Counter {
            microjoules,
            wraps_at: Some(RANGE),
        })
    }

    fn power(watts: f64) -> Result<Reading, MeterError> {
        Ok(Reading::Power(watts))
    }

    fn window(readings: &[(f64, Result<Reading, MeterError>)], to: f64) -> Window {
        let mut integral = Integral::new(Duration::ZERO);
        for (at, reading) in readings {
            integral.take(seconds(*at), reading);
        }
        integral.close(seconds(to))
    }

    #[test]
    fn a_counter_that_wraps_goes_on() {
        let wrapped = window(
            &[
                (0.0, counter(RANGE - 3_000_000)),
                (1.0, counter(RANGE - 1_000_000)),
                (2.0, counter(4_000_000)),
            ],
            2.0,
        );
        assert_eq!(wrapped.joules, Measured::new(7.0));
        assert!(wrapped.is_whole() && wrapped.troubles.is_empty());
    }

    #[test]
    fn what_a_counter_counted_over_a_gap_counts_unless_it_may_have_wrapped_twice() {
        let gap = window(&[(0.0, counter(0)), (60.0, counter(600_000_000))], 60.0);
        assert_eq!(gap.joules, Measured::new(600.0));
        assert!(gap.is_whole());
        let long = window(&[(0.0, counter(0)), (600.0, counter(600_000_000))], 600.0);
        assert_eq!((long.joules, long.covered), Default::default());
        assert!(long.troubles[0].what.contains("more than once"));
    }

    #[test]
    fn a_counter_that_was_set_anew_loses_the_time_between() {
        // After a sleep a package counts from 0: taken for a wrap, this would be 200 kJ.
        let slept = window(
            &[
                (0.0, counter(60_000_000_000)),
                (1.0, counter(60_010_000_000)),
                (2.0, counter(5_000_000)),
                (3.0, counter(15_000_000)),
            ],
            3.0,
        );
        assert_eq!(slept.joules, Measured::new(20.0));
        assert_eq!(slept.covered, seconds(2.0));
        assert!(!slept.is_whole());
        assert_eq!(slept.troubles[0].what, "the counter was set anew");
        let unbounded = |microjoules| {
            Ok(Reading::Counter {
                microjoules,
                wraps_at: None,
            })
        };
        let reset = window(&[(0.0, unbounded(9_000)), (1.0, unbounded(1_000))], 1.0);
        assert_eq!(reset.joules, Measured::new(0.0));
        assert_eq!(reset.troubles.len(), 1);
    }

    #[test]
    fn a_counter_that_stands_still_has_stopped() {
        let mut readings: Vec<_> = (0..=20).map(|at| (f64::from(at), counter(5))).collect();
        readings[0].1 = counter(4);
        let stopped = window(&readings, 20.0);
        assert_eq!(stopped.covered, seconds(1.0));
        assert_eq!(
            stopped.troubles[0].what,
            "the counter stood still for the last 19 s"
        );
        // A second or two without a change happens, on a graphics card that is asleep say.
        let short = window(
            &[(0.0, counter(4)), (1.0, counter(4)), (2.0, counter(9))],
            2.0,
        );
        assert!(short.is_whole() && short.troubles.is_empty());
    }

    #[test]
    fn powers_are_integrated_by_trapezoids() {
        let ramp = window(
            &[(0.0, power(10.0)), (1.0, power(20.0)), (3.0, power(0.0))],
            3.0,
        );
        assert_eq!(ramp.joules, Measured::new(15.0 + 20.0));
        assert_eq!(ramp.watts(), Some(35.0 / 3.0));
    }

    #[test]
    fn a_gap_between_powers_is_not_filled_in() {
        let gap = window(
            &[
                (0.0, power(10.0)),
                (1.0, power(10.0)),
                (9.0, power(10.0)),
                (10.0, power(10.0)),
            ],
            10.0,
        );
        assert_eq!(gap.joules, Measured::new(20.0));
        assert_eq!(gap.covered, seconds(2.0));
        assert!(!gap.is_whole());
        assert_eq!(gap.troubles[0].what, "no reading for 8.0 s");
        assert_eq!(gap.troubles[0].after_seconds, 9.0);
    }

    #[test]
    fn a_meter_that_fails_and_comes_back_says_so_once() {
        let gone = || Err(MeterError::Gone("the plug".to_owned()));
        let back = window(
            &[
                (0.0, power(10.0)),
                (1.0, power(10.0)),
                (2.0, gone()),
                (3.0, gone()),
                (4.0, power(10.0)),
                (5.0, power(10.0)),
            ],
            5.0,
        );
        assert_eq!(back.joules, Measured::new(20.0));
        assert_eq!(back.covered, seconds(2.0));
        assert_eq!(back.troubles.len(), 1);
        assert!(back.troubles[0].what.contains("unplugged"));
    }

    #[test]
    fn a_clock_that_jumps_back_does_not_make_energy() {
        let jumped = window(
            &[
                (10.0, power(10.0)),
                (11.0, power(10.0)),
                (5.0, power(10.0)),
                (6.0, power(10.0)),
            ],
            12.0,
        );
        assert_eq!(jumped.joules, Measured::new(20.0));
        assert_eq!(jumped.troubles[0].what, "the clock went back by 6.0 s");
        assert!(!jumped.is_whole());
    }

    #[test]
    fn what_is_no_power_is_no_reading() {
        for wrong in [f64::NAN, f64::INFINITY, -1.0] {
            let refused = window(&[(0.0, power(wrong)), (1.0, power(wrong))], 1.0);
            assert_eq!(refused.joules, Measured::new(0.0), "{wrong}");
            assert_eq!(refused.covered, Duration::ZERO);
            assert_eq!(refused.troubles.len(), 1);
        }
        assert!(!window(&[], 1.0).is_whole());
        assert_eq!(window(&[], 1.0).watts(), None);
    }

    proptest! {
        /// Wherever a counter starts and however often it wraps: what was drawn is what was counted.
        #[test]
        fn a_counter_counts_what_is_drawn(
            start in 0..=RANGE,
            steps in proptest::collection::vec(1_u64..1_000_000_000, 1..300),
        ) {
            let mut integral = Integral::new(Duration::ZERO);
            let mut at = start;
            integral.take(Duration::ZERO, &counter(at));
            for (second, step) in steps.iter().enumerate() {
                at = if at + step > RANGE { at + step - RANGE } else { at + step };
                integral.take(seconds(second as f64 + 1.0), &counter(at));
            }
            let window = integral.close(seconds(steps.len() as f64));
            let drawn = steps.iter().sum::<u64>() as f64 / 1e6;
            prop_assert!((window.joules.joules() - drawn).abs() < 1e-6 * drawn);
            prop_assert!(window.is_whole());
        }
    }
}
