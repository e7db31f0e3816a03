//! Joules where no meter can be read: idle watts times wall time, and what CPU seconds, operations, bytes and frames cost on top.
//!
//! ```text
//! E = idle watts * wall seconds              every device, whether it works or waits
//!   + watts per core * CPU seconds           above idle
//!   + joules per operation * operations of the GPU
//!   + joules per byte * bytes + joules per frame * frames
//! ```
//!
//! Operations of the CPU are in its CPU seconds already. Every coefficient is an interval with a source; simple models of this kind are off
//! by factors, not by percents, so the interval is part of the result. Coefficients are TOML: [`EMBEDDED`], or a file of one's own machine that
//! `ringtmp energy calibrate` wrote.

use crate::{Estimated, Interval, IntervalError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The coefficients that come with the program.
pub const EMBEDDED: &str = include_str!("../coefficients.toml");

/// The profile for a device of which nothing is known.
pub const UNKNOWN_DEVICE: &str = "computer";

/// The most bytes of a file of coefficients: the embedded one has some thousand.
pub const COEFFICIENTS_BYTES_MAX: u64 = 1 << 20;

/// The version of the file that is read.
const SCHEMA_VERSION: u32 = 1;

/// Where an interval comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Somebody measured it.
    Measured,
    /// It follows from what somebody published.
    Derived,
    /// It is a guess, with wide bounds.
    Judgement,
}

/// One number of the model.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "CoefficientText", into = "CoefficientText")]
pub struct Coefficient {
    /// Its value.
    pub value: Interval,
    /// How it was found.
    pub basis: Basis,
    /// By whom.
    pub source: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct CoefficientText {
    low: f64,
    best: f64,
    high: f64,
    basis: Basis,
    source: String,
}

impl TryFrom<CoefficientText> for Coefficient {
    type Error = IntervalError;

    fn try_from(text: CoefficientText) -> Result<Self, IntervalError> {
        Ok(Self {
            value: Interval::new(text.low, text.best, text.high)?,
            basis: text.basis,
            source: text.source,
        })
    }
}

impl From<Coefficient> for CoefficientText {
    fn from(coefficient: Coefficient) -> Self {
        Self {
            low: coefficient.value.low(),
            best: coefficient.value.best(),
            high: coefficient.value.high(),
            basis: coefficient.basis,
            source: coefficient.source,
        }
    }
}

/// The coefficients of one kind of device.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What kind it is.
    pub about: String,
    /// What it draws while it waits, in watts.
    pub idle_watts: Coefficient,
    /// What a busy core adds, in watts.
    pub watts_per_core: Coefficient,
    /// What an operation of its GPU (half of a multiplication with addition) adds, in joules.
    pub joules_per_gpu_operation: Coefficient,
    /// What a byte sent or received adds, in joules, where it is not in the CPU seconds.
    pub joules_per_byte: Coefficient,
    /// What a frame sent or received adds, in joules.
    pub joules_per_frame: Coefficient,
}

/// A file of coefficients.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Coefficients {
    /// The version of the file.
    pub schema_version: u32,
    /// By kind of device.
    pub profiles: BTreeMap<String, Profile>,
}

/// Why there is no estimate. Whoever chose the file or the profile is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EstimateError {
    /// The file is not what it should be.
    #[error("the coefficients cannot be read: {0}")]
    File(String),
    /// A version of the file that this program does not know.
    #[error(
        "the coefficients have schema_version {found}, and this program reads {SCHEMA_VERSION}: write them anew with ringtmp energy calibrate"
    )]
    Version {
        /// What it says.
        found: u32,
    },
    /// A profile that is not in the file.
    #[error("there is no profile {name:?}; there are {known}")]
    Profile {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
}

/// What one device did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// For how long it was there, working or waiting.
    pub wall_seconds: f64,
    /// CPU seconds of all its processes that had part in the work.
    pub cpu_seconds: f64,
    /// Operations of its GPU.
    pub gpu_operations: f64,
    /// Bytes that it sent and received over its network.
    pub bytes: f64,
    /// Frames (packets) that these were.
    pub frames: f64,
}

/// What devices took, by cause. All of it is estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct EstimatedParts {
    /// For being there.
    pub idle: Estimated,
    /// For computing on CPUs.
    pub cpu: Estimated,
    /// For computing on GPUs.
    pub gpu: Estimated,
    /// For bytes and frames.
    pub network: Estimated,
}

impl EstimatedParts {
    /// All of it.
    pub fn gross(&self) -> Estimated {
        self.idle + self.net()
    }

    /// What lies above idle.
    pub fn net(&self) -> Estimated {
        self.cpu + self.gpu + self.network
    }
}

impl std::ops::Add for EstimatedParts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            idle: self.idle + other.idle,
            cpu: self.cpu + other.cpu,
            gpu: self.gpu + other.gpu,
            network: self.network + other.network,
        }
    }
}

impl std::iter::Sum for EstimatedParts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), std::ops::Add::add)
    }
}

impl Coefficients {
    /// Those that come with the program.
    ///
    /// # Errors
    ///
    /// Never, as a test shows; the file is part of the program.
    pub fn embedded() -> Result<Self, EstimateError> {
        Self::parse(EMBEDDED)
    }

    /// Those of a file.
    ///
    /// # Errors
    ///
    /// If it is not TOML of this kind, or an interval is none.
    pub fn parse(text: &str) -> Result<Self, EstimateError> {
        let read: Self =
            toml::from_str(text).map_err(|error| EstimateError::File(error.to_string()))?;
        if read.schema_version != SCHEMA_VERSION {
            let found = read.schema_version;
            return Err(EstimateError::Version { found });
        }
        Ok(read)
    }

    /// As text that [`parse`](Self::parse) reads.
    ///
    /// # Errors
    ///
    /// Never: all of it is strings and finite numbers.
    pub fn to_toml(&self) -> Result<String, EstimateError> {
        toml::to_string(self).map_err(|error| EstimateError::File(error.to_string()))
    }

    /// The coefficients of one kind of device.
    ///
    /// # Errors
    ///
    /// If there is no such kind.
    pub fn profile(&self, name: &str) -> Result<&Profile, EstimateError> {
        let unknown = || EstimateError::Profile {
            name: name.to_owned(),
            known: self.profiles.keys().cloned().collect::<Vec<_>>().join(", "),
        };
        self.profiles.get(name).ok_or_else(unknown)
    }
}

impl Profile {
    /// What a device of this kind took.
    pub fn estimate(&self, usage: &Usage) -> EstimatedParts {
        let of = |coefficient: &Coefficient, amount: f64| {
            Estimated::new(coefficient.value.times(amount))
        };
        EstimatedParts {
            idle: of(&self.idle_watts, usage.wall_seconds),
            cpu: of(&self.watts_per_core, usage.cpu_seconds),
            gpu: of(&self.joules_per_gpu_operation, usage.gpu_operations),
            network: of(&self.joules_per_byte, usage.bytes)
                + of(&self.joules_per_frame, usage.frames),
        }
    }

    /// Its coefficients by name.
    pub fn coefficients(&self) -> [(&'static str, &Coefficient); 5] {
        [
            ("idle_watts", &self.idle_watts),
            ("watts_per_core", &self.watts_per_core),
            ("joules_per_gpu_operation", &self.joules_per_gpu_operation),
            ("joules_per_byte", &self.joules_per_byte),
            ("joules_per_frame", &self.joules_per_frame),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedded() -> Coefficients {
        Coefficients::embedded().expect("it comes with the program")
    }

    #[test]
    fn every_embedded_coefficient_has_a_source_and_an_interval_that_is_one() {
        let coefficients = embedded();
        assert!(coefficients.profile(UNKNOWN_DEVICE).is_ok());
        for (name, profile) in &coefficients.profiles {
            assert!(profile.about.len() > 10, "{name}");
            for (field, coefficient) in profile.coefficients() {
                assert!(
                    coefficient.source.len() > 20,
                    "{name}.{field} has no source"
                );
                let value = coefficient.value;
                let certain = value.low() < value.high();
                assert!(certain, "{name}.{field} claims to be known exactly");
            }
        }
    }

    #[test]
    fn the_unknown_device_may_be_any_of_the_computers() {
        let coefficients = embedded();
        let unknown = coefficients.profile(UNKNOWN_DEVICE).expect("it is there");
        for name in ["laptop", "desktop"] {
            let profile = coefficients.profile(name).expect("it is there");
            let known = profile.coefficients();
            for ((field, all), (_, one)) in unknown.coefficients().into_iter().zip(known) {
                let within =
                    all.value.low() <= one.value.low() && one.value.high() <= all.value.high();
                assert!(within, "{field} of {name}");
            }
        }
    }

    #[test]
    fn waiting_costs_idle_watts_and_work_comes_on_top() {
        let coefficient = |best: f64| Coefficient {
            value: Interval::new(best / 2.0, best, best * 2.0).expect("in order"),
            basis: Basis::Judgement,
            source: "the test".to_owned(),
        };
        let profile = Profile {
            about: "a device of the test".to_owned(),
            idle_watts: coefficient(10.0),
            watts_per_core: coefficient(4.0),
            joules_per_gpu_operation: coefficient(1e-9),
            joules_per_byte: coefficient(1e-6),
            joules_per_frame: coefficient(1e-3),
        };
        let usage = Usage {
            wall_seconds: 100.0,
            cpu_seconds: 50.0,
            gpu_operations: 3e9,
            bytes: 1e6,
            frames: 1e3,
        };
        let parts = profile.estimate(&usage);
        let best = |estimated: Estimated| estimated.joules().best();
        assert_eq!(best(parts.idle), 1_000.0);
        assert_eq!(best(parts.cpu), 200.0);
        assert!((best(parts.gpu) - 3.0).abs() < 1e-12);
        assert_eq!(best(parts.network), 2.0);
        assert!((best(parts.gross()) - 1_205.0).abs() < 1e-9);
        assert!((parts.net().joules().high() - 410.0).abs() < 1e-9);
        let waits = profile.estimate(&Usage {
            wall_seconds: 100.0,
            ..Usage::default()
        });
        assert_eq!(best(waits.gross()), 1_000.0, "waiting is not free");
        let both = parts + waits;
        assert_eq!(best(both.idle), 2_000.0);
    }

    #[test]
    fn a_file_that_cannot_be_is_refused() {
        let refused = |text: &str| Coefficients::parse(text).expect_err(text).to_string();
        assert!(refused("").contains("schema_version"));
        assert!(refused("schema_version = 2\n[profiles]").contains("calibrate"));
        assert!(refused(&EMBEDDED.replacen("low = ", "lowest = ", 1)).contains("lowest"));
        let negative = EMBEDDED.replacen("low = ", "low = -", 1);
        assert!(
            refused(&negative).contains("no interval"),
            "{}",
            refused(&negative)
        );
        let unknown = embedded()
            .profile("toaster")
            .expect_err("unknown")
            .to_string();
        assert!(unknown.contains("toaster") && unknown.contains("laptop"));
    }

    #[test]
    fn coefficients_survive_being_written() {
        let written = embedded().to_toml().expect("plain");
        assert_eq!(Coefficients::parse(&written), Ok(embedded()));
    }
}
