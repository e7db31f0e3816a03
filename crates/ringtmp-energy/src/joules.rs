//! Joules of two kinds that do not mix.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

/// Joules that a meter counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Measured(f64);

impl Measured {
    /// Joules from a meter. Net energy can be negative: the machine may have been busier in its baseline.
    pub const fn new(joules: f64) -> Self {
        Self(joules)
    }

    /// The number.
    pub const fn joules(self) -> f64 {
        self.0
    }

    /// Of this, what falls to each of so many samples.
    pub fn per_sample(self, samples: u64) -> Self {
        Self(self.0 / samples as f64)
    }
}

impl Add for Measured {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Measured {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Sum for Measured {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} J measured", plain(self.0))
    }
}

/// `{"measured_joules": 5.0}`: the word is in the field's name, whatever the field's owner is called.
impl Serialize for Measured {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Measured", 1)?;
        fields.serialize_field("measured_joules", &self.0)?;
        fields.end()
    }
}

/// Why three numbers are no interval.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "{low}, {best}, {high} is no interval: low, best and high have to be numbers from 0 on, in this order"
)]
pub struct IntervalError {
    /// The first.
    pub low: f64,
    /// The second.
    pub best: f64,
    /// The third.
    pub high: f64,
}

/// A number that is known to lie between two others: finite, from 0 on, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interval {
    low: f64,
    best: f64,
    high: f64,
}

impl Interval {
    /// From the least to the most, with the most likely between.
    ///
    /// # Errors
    ///
    /// If these are out of order, below 0 or no numbers.
    pub fn new(low: f64, best: f64, high: f64) -> Result<Self, IntervalError> {
        let fine = 0.0 <= low && low <= best && best <= high && high.is_finite();
        fine.then_some(Self { low, best, high })
            .ok_or(IntervalError { low, best, high })
    }

    /// The least.
    pub const fn low(self) -> f64 {
        self.low
    }

    /// The most likely.
    pub const fn best(self) -> f64 {
        self.best
    }

    /// The most.
    pub const fn high(self) -> f64 {
        self.high
    }

    /// Times an amount that is known; what is no number from 0 on counts as nothing.
    #[must_use]
    pub fn times(self, amount: f64) -> Self {
        let amount = if amount.is_finite() {
            amount.max(0.0)
        } else {
            0.0
        };
        Self {
            low: self.low * amount,
            best: self.best * amount,
            high: self.high * amount,
        }
    }
}

/// Joules that nobody measured, and between which bounds they lie if the coefficients do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimated(Interval);

impl Estimated {
    /// An estimate in joules.
    pub const fn new(joules: Interval) -> Self {
        Self(joules)
    }

    /// The numbers, in joules.
    pub const fn joules(self) -> Interval {
        self.0
    }

    /// Of this, what falls to each of so many samples.
    #[must_use]
    pub fn per_sample(self, samples: u64) -> Self {
        let each = |joules| joules / samples as f64;
        Self(Interval {
            low: each(self.0.low),
            best: each(self.0.best),
            high: each(self.0.high),
        })
    }
}

/// Lows with lows and highs with highs: coefficients of like devices err together, so their errors do not cancel.
impl Add for Estimated {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(Interval {
            low: self.0.low + other.0.low,
            best: self.0.best + other.0.best,
            high: self.0.high + other.0.high,
        })
    }
}

impl AddAssign for Estimated {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Estimated {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Estimated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Interval { low, best, high } = self.0;
        let (low, best, high) = (plain(low), plain(best), plain(high));
        write!(f, "{best} J ({low} to {high}) estimated")
    }
}

/// `{"estimated_joules": 2.0, "estimated_joules_low": 1.0, "estimated_joules_high": 3.0}`.
impl Serialize for Estimated {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Estimated", 3)?;
        fields.serialize_field("estimated_joules", &self.0.best)?;
        fields.serialize_field("estimated_joules_low", &self.0.low)?;
        fields.serialize_field("estimated_joules_high", &self.0.high)?;
        fields.end()
    }
}

/// Joules of both kinds, of several devices say, summed each for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    measured: Option<Measured>,
    estimated: Option<Estimated>,
}

/// What a [`Tally`] takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Joules {
    /// From a meter.
    Measured(Measured),
    /// From coefficients.
    Estimated(Estimated),
}

impl From<Measured> for Joules {
    fn from(joules: Measured) -> Self {
        Self::Measured(joules)
    }
}

impl From<Estimated> for Joules {
    fn from(joules: Estimated) -> Self {
        Self::Estimated(joules)
    }
}

impl Tally {
    /// Adds to the sum of its kind.
    pub fn add(&mut self, joules: impl Into<Joules>) {
        match joules.into() {
            Joules::Measured(more) => {
                self.measured = Some(self.measured.unwrap_or_default() + more);
            }
            Joules::Estimated(more) => {
                self.estimated = Some(self.estimated.unwrap_or_default() + more);
            }
        }
    }

    /// What was measured; none if nothing was.
    pub const fn measured(&self) -> Option<Measured> {
        self.measured
    }

    /// What was estimated; none if nothing was.
    pub const fn estimated(&self) -> Option<Estimated> {
        self.estimated
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.measured, self.estimated) {
            (Some(measured), Some(estimated)) => write!(f, "{measured} and {estimated}"),
            (Some(measured), None) => measured.fmt(f),
            (None, Some(estimated)) => estimated.fmt(f),
            (None, None) => f.write_str("nothing"),
        }
    }
}

/// All fields of both kinds that there are, in one object.
impl Serialize for Tally {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let estimated = self.estimated.map(Estimated::joules);
        let mut fields = serializer.serialize_struct("Tally", 4)?;
        fields.serialize_field("measured_joules", &self.measured.map(Measured::joules))?;
        fields.serialize_field("estimated_joules", &estimated.map(Interval::best))?;
        fields.serialize_field("estimated_joules_low", &estimated.map(Interval::low))?;
        fields.serialize_field("estimated_joules_high", &estimated.map(Interval::high))?;
        fields.end()
    }
}

/// A number with three digits that count.
pub(crate) fn plain(number: f64) -> String {
    let size = number.abs();
    if size >= 1e7 || (size > 0.0 && size < 1e-4) {
        return format!("{number:.2e}");
    }
    let decimals = match size {
        0.0 => 0,
        size if size >= 100.0 => 0,
        size => (2 - size.log10().floor() as i32).max(0),
    };
    format!("{number:.*}", decimals.unsigned_abs() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn estimated(low: f64, best: f64, high: f64) -> Estimated {
        Estimated::new(Interval::new(low, best, high).expect("in order"))
    }

    #[test]
    fn every_field_says_of_which_kind_its_joules_are() {
        let json = |value: &dyn erased::Json| value.json();
        assert_eq!(json(&Measured::new(5.0)), json!({"measured_joules": 5.0}));
        assert_eq!(
            json(&estimated(1.0, 2.0, 3.0)),
            json!({"estimated_joules": 2.0, "estimated_joules_low": 1.0, "estimated_joules_high": 3.0})
        );
        let mut tally = Tally::default();
        tally.add(estimated(1.0, 2.0, 3.0));
        tally.add(estimated(0.5, 0.5, 4.0));
        assert_eq!(
            json(&tally),
            json!({
                "measured_joules": null, "estimated_joules": 2.5,
                "estimated_joules_low": 1.5, "estimated_joules_high": 7.0,
            })
        );
        assert_eq!(tally.to_string(), "2.50 J (1.50 to 7.00) estimated");
        assert_eq!(tally.measured(), None, "nothing measured is not 0 J");
    }

    /// So that one closure can serialise several types.
    mod erased {
        pub(super) trait Json {
            fn json(&self) -> serde_json::Value;
        }
        impl<T: serde::Serialize> Json for T {
            fn json(&self) -> serde_json::Value {
                serde_json::to_value(self).expect("plain fields")
            }
        }
    }

    #[test]
    fn an_interval_is_in_order() {
        assert!(Interval::new(0.0, 0.0, 0.0).is_ok());
        for (low, best, high) in [
            (1.0, 0.5, 2.0),
            (0.0, 3.0, 2.0),
            (-1.0, 0.0, 1.0),
            (0.0, f64::NAN, 1.0),
            (f64::NAN, 1.0, 1.0),
            (0.0, 1.0, f64::INFINITY),
        ] {
            assert!(
                Interval::new(low, best, high).is_err(),
                "{low} {best} {high}"
            );
        }
        let interval = Interval::new(1.0, 2.0, 3.0).expect("in order");
        assert_eq!(interval.times(f64::NAN), Interval::default());
        assert_eq!(interval.times(-1.0), Interval::default());
        assert_eq!(interval.times(2.0).high(), 6.0);
    }

    #[test]
    fn numbers_have_three_digits() {
        let told = [
            1234.0, 123.4, 12.345, 1.2345, 0.012345, 0.0, 1e-9, 2e9, -3.21987,
        ]
        .map(plain)
        .join(" ");
        assert_eq!(told, "1234 123 12.3 1.23 0.0123 0 1.00e-9 2.00e9 -3.22");
    }

    #[test]
    fn samples_share_what_was_spent() {
        assert_eq!(Measured::new(10.0).per_sample(4), Measured::new(2.5));
        assert_eq!(
            estimated(2.0, 4.0, 8.0).per_sample(4),
            estimated(0.5, 1.0, 2.0)
        );
    }
}
