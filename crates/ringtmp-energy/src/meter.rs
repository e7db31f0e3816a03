//! What a meter is.

use serde::Serialize;
use std::fmt;

/// The most characters of a counter's content that an error repeats.
const QUOTED_CHARACTERS_MAX: usize = 40;

/// What a meter shows at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading {
    /// A counter of energy since some moment that does not matter.
    Counter {
        /// Where it stands, in microjoules.
        microjoules: u64,
        /// The highest it gets before it begins at 0 again; none where it does not.
        wraps_at: Option<u64>,
    },
    /// What is drawn right now, in watts.
    Power(f64),
}

/// What a meter's joules are in a total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// All that the device draws. Where there is one that can be read, parts are not added.
    Machine,
    /// A part of the device that no other part contains: parts add up.
    Part,
    /// Contained in another meter, or in part: told, never added.
    Aside,
}

/// Which meter it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Description {
    /// Unique on this machine, as `powercap intel-rapl:0`.
    pub id: String,
    /// What it counts, in words.
    pub counts: String,
    /// What its joules are in a total.
    pub role: Role,
}

/// Why a meter shows nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeterError {
    /// This user may not read it.
    #[error("{what} may not be read by this user: {advice}")]
    Permission {
        /// The file or device.
        what: String,
        /// What to do.
        advice: String,
    },
    /// This machine has no such meter.
    #[error("{0}")]
    Absent(String),
    /// It was there, and is not any more.
    #[error("{0} is gone: it was unplugged, or its driver was unloaded")]
    Gone(String),
    /// It is there, but what it shows now is not what is drawn.
    #[error("{0}")]
    NotNow(String),
    /// It shows what cannot be.
    #[error("{what} shows {found:?}, which is no {wanted}")]
    Malformed {
        /// The file or device.
        what: String,
        /// The first characters of it.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// The system refused in another way.
    #[error("{what} cannot be read: {error}")]
    Failed {
        /// The file or device.
        what: String,
        /// What the system says.
        error: String,
    },
}

impl MeterError {
    /// Of content that cannot be.
    pub(crate) fn malformed(what: impl fmt::Display, found: &str, wanted: &'static str) -> Self {
        Self::Malformed {
            what: what.to_string(),
            found: found.trim().chars().take(QUOTED_CHARACTERS_MAX).collect(),
            wanted,
        }
    }

    /// Of a refusal of the system.
    pub(crate) fn failed(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self::Failed {
            what: what.to_string(),
            error: error.to_string(),
        }
    }
}

/// Something that can be asked about energy once a second.
pub trait Meter {
    /// Which one it is.
    fn description(&self) -> &Description;

    /// What it shows now. Quick: milliseconds at most.
    ///
    /// # Errors
    ///
    /// If it shows nothing. It may again the next time.
    fn read(&mut self) -> Result<Reading, MeterError>;
}

/// A meter that cannot be read, or a kind of meters that this machine has not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// Which.
    pub meter: String,
    /// Why, and what to do about it.
    pub why: String,
}

impl Unreadable {
    /// Of a meter and its error.
    pub fn new(meter: impl Into<String>, why: &MeterError) -> Self {
        Self {
            meter: meter.into(),
            why: why.to_string(),
        }
    }
}

/// The meters of a machine.
#[derive(Default)]
pub struct Found {
    /// Those that showed something.
    pub meters: Vec<Box<dyn Meter + Send>>,
    /// Those that did not.
    pub unreadable: Vec<Unreadable>,
}

impl Found {
    /// Keeps the meter if it shows something now, or will: one that is merely not apt now is kept.
    pub fn add(&mut self, mut meter: impl Meter + Send + 'static) {
        match meter.read() {
            Ok(_) | Err(MeterError::NotNow(_)) => self.meters.push(Box::new(meter)),
            Err(error) => {
                let refused = Unreadable::new(meter.description().id.clone(), &error);
                self.unreadable.push(refused);
            }
        }
    }

    /// All of another's too.
    pub fn extend(&mut self, other: Self) {
        self.meters.extend(other.meters);
        self.unreadable.extend(other.unreadable);
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meters = self.meters.iter().map(|meter| meter.description());
        f.debug_struct("Found")
            .field("meters", &meters.collect::<Vec<_>>())
            .field("unreadable", &self.unreadable)
            .finish()
    }
}
