//! All meters at once, over the time before, during and after what is measured.

use crate::{Description, Integral, Meter, Window};
use serde::Serialize;
use std::time::Duration;

/// By so much the two clocks may drift apart between two samples; synchronised clocks are slewed by half a millisecond a second.
const DRIFT_MAX: Duration = Duration::from_millis(500);

/// Jumps of the clock that are told; a machine that has more has other troubles.
const JUMPS_MAX: usize = 16;

/// What both clocks of a device show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// By the clock that never jumps.
    pub since_start: Duration,
    /// By the clock on the wall, which others can read and set.
    pub since_1970: Duration,
}

/// The clock on the wall jumped: it was set, or the device slept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Jump {
    /// Seconds after the recording began.
    pub after_seconds: f64,
    /// By how much, forward.
    pub by_seconds: f64,
}

/// A stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Its first moment.
    pub from: Moment,
    /// Its last.
    pub to: Moment,
}

impl Phase {
    /// How long it took.
    pub fn length(&self) -> Duration {
        self.to.since_start.saturating_sub(self.from.since_start)
    }
}

/// What one meter counted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recorded {
    /// Which one.
    #[serde(flatten)]
    pub description: Description,
    /// While the device idled, before.
    pub before: Option<Window>,
    /// While that ran which is measured.
    pub run: Window,
    /// While the device idled, after.
    pub after: Option<Window>,
}

/// What all meters counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// The idle time before; none where nobody waited for it.
    pub before: Option<Phase>,
    /// The time that is measured.
    pub run: Phase,
    /// The idle time after; none where nobody waited for it.
    pub after: Option<Phase>,
    /// Meter by meter.
    pub meters: Vec<Recorded>,
    /// Jumps of the clock on the wall.
    pub jumps: Vec<Jump>,
}

/// Asks meters as often as it is told to, once a second say, and integrates.
///
/// ```text
/// new ── sample ... ── run ── sample ... ── ended ── sample ... ── finish
///     idle before          the run              idle after
/// ```
pub struct Recorder {
    meters: Vec<Box<dyn Meter + Send>>,
    open: Vec<Integral>,
    phases: Vec<(Phase, Vec<Window>)>,
    from: Moment,
    last: Moment,
    jumps: Vec<Jump>,
}

impl Recorder {
    /// Begins with the idle time before, or with the run, whichever is first.
    pub fn new(meters: Vec<Box<dyn Meter + Send>>, now: Moment) -> Self {
        let mut recorder = Self {
            open: vec![Integral::new(now.since_start); meters.len()],
            meters,
            phases: Vec::new(),
            from: now,
            last: now,
            jumps: Vec::new(),
        };
        recorder.sample(now);
        recorder
    }

    /// Which meters are asked.
    pub fn descriptions(&self) -> impl Iterator<Item = &Description> {
        self.meters.iter().map(|meter| meter.description())
    }

    /// Asks every meter.
    pub fn sample(&mut self, now: Moment) {
        self.watch(now);
        for (meter, open) in self.meters.iter_mut().zip(&mut self.open) {
            open.take(now.since_start, &meter.read());
        }
    }

    /// Ends one phase and begins the next, with one and the same reading.
    pub fn next_phase(&mut self, now: Moment) {
        self.watch(now);
        let mut windows = Vec::with_capacity(self.meters.len());
        for (meter, open) in self.meters.iter_mut().zip(&mut self.open) {
            let reading = meter.read();
            let mut next = Integral::new(now.since_start);
            next.take(now.since_start, &reading);
            let mut ended = std::mem::replace(open, next);
            ended.take(now.since_start, &reading);
            windows.push(ended.close(now.since_start));
        }
        let phase = Phase {
            from: self.from,
            to: now,
        };
        self.phases.push((phase, windows));
        self.from = now;
    }

    /// Ends the last phase, and makes a recording of each, with neither idle time before nor after.
    pub fn finish_each(mut self, now: Moment) -> Vec<Recording> {
        self.next_phase(now);
        let each = self.phases.into_iter().map(|(run, windows)| Recording {
            before: None,
            run,
            after: None,
            meters: self
                .meters
                .iter()
                .zip(windows)
                .map(|(meter, run)| Recorded {
                    description: meter.description().clone(),
                    before: None,
                    run,
                    after: None,
                })
                .collect(),
            jumps: self.jumps.clone(),
        });
        each.collect()
    }

    /// Ends the last phase: the only one is the run; of two the second; of three the one in the middle. None if there is no phase, or if there are more.
    pub fn finish(mut self, now: Moment) -> Option<Recording> {
        self.next_phase(now);
        let mut phases = self.phases.into_iter();
        let (before, run, after) = match phases.len() {
            1 => (None, phases.next()?, None),
            2 => (phases.next(), phases.next()?, None),
            3 => (phases.next(), phases.next()?, phases.next()),
            _ => return None,
        };
        let split = |phase: Option<(Phase, Vec<Window>)>| match phase {
            Some((phase, windows)) => (Some(phase), windows.into_iter().map(Some).collect()),
            None => (None, vec![None; self.meters.len()]),
        };
        let (before, windows_before): (_, Vec<_>) = split(before);
        let (after, windows_after): (_, Vec<_>) = split(after);
        let meters = self.meters.iter().zip(windows_before);
        let meters = meters.zip(run.1.into_iter().zip(windows_after)).map(
            |((meter, before), (run, after))| Recorded {
                description: meter.description().clone(),
                before,
                run,
                after,
            },
        );
        Some(Recording {
            before,
            run: run.0,
            after,
            meters: meters.collect(),
            jumps: self.jumps,
        })
    }

    /// Compares the clock on the wall with the one that never jumps.
    fn watch(&mut self, now: Moment) {
        let ahead =
            |moment: Moment| moment.since_1970.as_secs_f64() - moment.since_start.as_secs_f64();
        let by_seconds = ahead(now) - ahead(self.last);
        if by_seconds.abs() > DRIFT_MAX.as_secs_f64() && self.jumps.len() < JUMPS_MAX {
            let first = self
                .phases
                .first()
                .map_or(self.from, |(phase, _)| phase.from);
            let after = now.since_start.saturating_sub(first.since_start);
            self.jumps.push(Jump {
                after_seconds: after.as_secs_f64(),
                by_seconds,
            });
        }
        self.last = now;
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("meters", &self.descriptions().collect::<Vec<_>>())
            .field("phases", &self.phases.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{Measured, MeterError, Reading, Role};
    use std::collections::VecDeque;

    /// A meter that shows what was recorded, and then is gone.
    pub(crate) struct Script {
        description: Description,
        readings: VecDeque<Result<Reading, MeterError>>,
    }

    impl Script {
        pub(crate) fn boxed(
            id: &str,
            role: Role,
            readings: impl IntoIterator<Item = Result<Reading, MeterError>>,
        ) -> Box<dyn Meter + Send> {
            Box::new(Self {
                description: Description {
                    id: id.to_owned(),
                    counts: format!("what {id} counts"),
                    role,
                },
                readings: readings.into_iter().collect(),
            })
        }
    }

    impl Meter for Script {
        fn description(&self) -> &Description {
            &self.description
        }

        fn read(&mut self) -> Result<Reading, MeterError> {
            let gone = || Err(MeterError::Gone(self.description.id.clone()));
            self.readings.pop_front().unwrap_or_else(gone)
        }
    }

    pub(crate) fn at(second: u64) -> Moment {
        Moment {
            since_start: Duration::from_secs(second),
            since_1970: Duration::from_secs(1_000_000 + second),
        }
    }

    /// Ten seconds of idling, ten of work, ten of idling.
    pub(crate) fn recorded(meters: Vec<Box<dyn Meter + Send>>) -> Recording {
        let mut recorder = Recorder::new(meters, at(0));
        for second in 1..30 {
            match second {
                10 | 20 => recorder.next_phase(at(second)),
                _ => recorder.sample(at(second)),
            }
        }
        recorder.finish(at(30)).expect("three phases")
    }

    pub(crate) fn power(watts: f64) -> Result<Reading, MeterError> {
        Ok(Reading::Power(watts))
    }

    /// 5 W, then 25 W from the 10th second to the 20th, then 5 W, as a counter.
    pub(crate) fn work() -> Vec<Result<Reading, MeterError>> {
        let joules = |second: u64| 5 * second + 20 * second.clamp(10, 20) - 200;
        let reading = |second| Reading::Counter {
            microjoules: joules(second) * 1_000_000,
            wraps_at: None,
        };
        (0..=30).map(|second| Ok(reading(second))).collect()
    }

    #[test]
    fn three_phases_share_the_readings_at_their_borders() {
        let recording = recorded(vec![Script::boxed("counter", Role::Part, work())]);
        let meter = &recording.meters[0];
        let joules = |window: &Window| window.joules;
        assert_eq!(meter.before.as_ref().map(joules), Some(Measured::new(50.0)));
        assert_eq!(meter.run.joules, Measured::new(250.0));
        assert_eq!(meter.after.as_ref().map(joules), Some(Measured::new(50.0)));
        assert!(meter.run.is_whole());
        assert_eq!(recording.run.length(), Duration::from_secs(10));
        assert_eq!(recording.jumps, []);
    }

    #[test]
    fn one_phase_is_the_run() {
        let meters = vec![Script::boxed("plug", Role::Machine, vec![power(10.0); 3])];
        let mut recorder = Recorder::new(meters, at(0));
        recorder.sample(at(1));
        let recording = recorder.finish(at(2)).expect("one phase");
        assert_eq!(recording.before, None);
        assert_eq!(recording.meters[0].run.joules, Measured::new(20.0));
        // Of two, the first is the idle time.
        let meters = vec![Script::boxed("plug", Role::Machine, vec![power(10.0); 3])];
        let mut recorder = Recorder::new(meters, at(0));
        recorder.next_phase(at(1));
        let recording = recorder.finish(at(3)).expect("two phases");
        assert_eq!(recording.before.map(|phase| phase.to), Some(at(1)));
        assert_eq!(recording.meters[0].run.joules, Measured::new(20.0));
        assert_eq!(recording.after, None);
        let mut many = Recorder::new(Vec::new(), at(0));
        (1..=3).for_each(|second| many.next_phase(at(second)));
        assert_eq!(many.finish(at(4)), None);
    }

    #[test]
    fn a_meter_that_stops_keeps_what_it_counted_and_says_when() {
        let stops = work().into_iter().take(15);
        let recording = recorded(vec![Script::boxed("counter", Role::Part, stops)]);
        let run = &recording.meters[0].run;
        assert_eq!(run.joules, Measured::new(100.0));
        assert_eq!(run.covered, Duration::from_secs(4));
        assert!(!run.is_whole());
        assert_eq!(run.troubles[0].after_seconds, 5.0);
        assert!(run.troubles[0].what.contains("gone"));
    }

    #[test]
    fn jumps_of_the_clock_are_told_and_do_not_change_what_was_counted() {
        let meters = vec![Script::boxed("plug", Role::Machine, vec![power(10.0); 4])];
        let mut recorder = Recorder::new(meters, at(0));
        let jumped = |second: u64| Moment {
            since_1970: at(second).since_1970 + Duration::from_secs(3600),
            ..at(second)
        };
        recorder.sample(at(1));
        recorder.sample(jumped(2));
        let recording = recorder.finish(jumped(3)).expect("one phase");
        assert_eq!(recording.meters[0].run.joules, Measured::new(30.0));
        let jump = Jump {
            after_seconds: 2.0,
            by_seconds: 3600.0,
        };
        assert_eq!(recording.jumps, [jump]);
    }
}
