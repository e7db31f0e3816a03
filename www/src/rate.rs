//! How fast a counter rises, and how that went.

use std::collections::VecDeque;

/// Seconds that a rate looks back: long enough to hide that progress comes in bunches, short enough to follow a change.
const WINDOW_SECONDS: f64 = 5.0;

/// The most observations kept. A page makes a few a second.
const OBSERVATIONS_MAX: usize = 64;

/// The most points of a course: when there are more, every two become one.
const POINTS_MAX: usize = 120;

/// Estimates the rate of a counter from observations of it.
#[derive(Debug, Default)]
pub struct Meter {
    course: Course,
    first: Option<(f64, u64)>,
    recent: VecDeque<(f64, u64)>,
    last_rise: Option<(f64, u64)>,
}

impl Meter {
    /// Takes down the counter as it stands at `seconds` (of any clock that does not run backwards). A counter that has
    /// fallen has begun anew, and so does the meter.
    pub fn observe(&mut self, seconds: f64, counter: u64) {
        if self.recent.back().is_some_and(|(_, last)| counter < *last) {
            *self = Self::default();
        }
        let rose = self.recent.back().is_none_or(|(_, last)| counter > *last);
        self.first.get_or_insert((seconds, counter));
        if rose {
            self.last_rise = Some((seconds, counter));
        }
        self.recent.push_back((seconds, counter));
        // One observation from before the window is kept, so that the window is always spanned.
        let old = |next: &(f64, u64)| next.0 <= seconds - WINDOW_SECONDS;
        while self.recent.len() > OBSERVATIONS_MAX || self.recent.get(1).is_some_and(old) {
            self.recent.pop_front();
        }
        if let Some(rate) = self.per_second() {
            self.course.note(seconds, rate);
        }
    }

    /// The rates so far, evenly apart in time.
    pub fn course(&self) -> &[f64] {
        &self.course.points
    }

    /// Counts a second over the last seconds; nothing before there are two observations.
    pub fn per_second(&self) -> Option<f64> {
        slope(*self.recent.front()?, *self.recent.back()?)
    }

    /// Counts a second from the first observation to the last rise.
    pub fn average_per_second(&self) -> Option<f64> {
        slope(self.first?, self.last_rise?)
    }
}

/// A rate in the course of a run, however long that takes.
#[derive(Debug)]
struct Course {
    points: Vec<f64>,
    /// Seconds from one point to the next.
    apart: f64,
    /// When the next one is due.
    due: f64,
}

impl Default for Course {
    fn default() -> Self {
        Self {
            points: Vec::new(),
            apart: 1.0,
            due: f64::NEG_INFINITY,
        }
    }
}

impl Course {
    fn note(&mut self, seconds: f64, rate: f64) {
        if seconds < self.due {
            return;
        }
        self.due = seconds + self.apart;
        self.points.push(rate);
        if self.points.len() > POINTS_MAX {
            let halved = self.points.chunks(2);
            let halved = halved.map(|two| two.iter().sum::<f64>() / two.len() as f64);
            self.points = halved.collect();
            self.apart *= 2.0;
        }
    }
}

/// The points of a line through these values, in a picture of this size, which the greatest of them touches at the top; none with fewer than
/// two values, or where nothing ever was.
pub fn line(values: &[f64], width: f64, height: f64) -> Option<String> {
    let most = values.iter().copied().fold(0.0, f64::max);
    if values.len() < 2 || most <= 0.0 {
        return None;
    }
    let apart = width / (values.len() - 1) as f64;
    let at = |(place, value): (usize, &f64)| {
        let (x, y) = (place as f64 * apart, height * (1.0 - value / most));
        format!("{x:.1},{y:.1}")
    };
    let points: Vec<String> = values.iter().enumerate().map(at).collect();
    Some(points.join(" "))
}

/// The rise per second between two observations.
fn slope(from: (f64, u64), to: (f64, u64)) -> Option<f64> {
    let seconds = to.0 - from.0;
    (seconds > 0.0).then(|| (to.1 - from.1) as f64 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(actual: Option<f64>, expected: f64) -> bool {
        actual.is_some_and(|actual| (actual - expected).abs() < 1e-9)
    }

    #[test]
    fn a_steady_counter_has_its_rate_however_often_it_is_observed() {
        for observations_per_second in [1, 4, 30] {
            let mut meter = Meter::default();
            for i in 0..20 * observations_per_second {
                let seconds = f64::from(i) / f64::from(observations_per_second);
                meter.observe(seconds, (seconds * 120.0).round() as u64);
            }
            let rate = meter.per_second().expect("there are observations");
            assert!(
                (rate - 120.0).abs() < 1.0,
                "{rate} at {observations_per_second} a second"
            );
        }
    }

    #[test]
    fn a_counter_that_stands_still_falls_to_zero_within_the_window() {
        let mut meter = Meter::default();
        meter.observe(0.0, 0);
        meter.observe(1.0, 100);
        assert!(close(meter.per_second(), 100.0));
        for i in 2..=8 {
            meter.observe(f64::from(i), 100);
        }
        assert!(close(meter.per_second(), 0.0), "{:?}", meter.per_second());
        assert!(
            close(meter.average_per_second(), 100.0),
            "an average does not count the time after the last rise"
        );
    }

    #[test]
    fn the_course_of_a_long_run_has_few_points_and_all_of_it() {
        let mut meter = Meter::default();
        let mut counter = 0;
        for second in 0..10_000 {
            // Twice as fast in its second half.
            counter += if second < 5_000 { 100 } else { 200 };
            meter.observe(f64::from(second), counter);
        }
        let course = meter.course();
        assert!((POINTS_MAX / 2..=POINTS_MAX).contains(&course.len()));
        let middle = course.len() / 2;
        let [early, late] = [&course[..middle - 1], &course[middle + 2..]];
        assert!(
            early.iter().all(|rate| close(Some(*rate), 100.0)),
            "{course:?}"
        );
        assert!(
            late.iter().all(|rate| close(Some(*rate), 200.0)),
            "{course:?}"
        );
    }

    #[test]
    fn a_line_spans_its_picture() {
        assert_eq!(line(&[5.0], 100.0, 20.0), None);
        assert_eq!(line(&[0.0, 0.0], 100.0, 20.0), None);
        let drawn = line(&[0.0, 5.0, 10.0], 100.0, 20.0);
        assert_eq!(drawn.as_deref(), Some("0.0,20.0 50.0,10.0 100.0,0.0"));
    }

    #[test]
    fn a_counter_that_falls_starts_the_meter_anew() {
        let mut meter = Meter::default();
        meter.observe(0.0, 1000);
        meter.observe(1.0, 2000);
        meter.observe(2.0, 0);
        assert_eq!(meter.per_second(), None);
        meter.observe(3.0, 7);
        assert!(close(meter.per_second(), 7.0));
    }

    #[test]
    fn observations_are_bounded_and_one_instant_gives_no_rate() {
        let mut meter = Meter::default();
        for i in 0..10_000 {
            meter.observe(0.0, i);
        }
        assert_eq!(meter.per_second(), None);
        assert!(meter.recent.len() <= OBSERVATIONS_MAX);
    }
}
