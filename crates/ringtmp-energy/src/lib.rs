//! Joules: what a meter counted, and what is estimated where no meter can be read.
//!
//! A [`Meter`] is asked once a second for a [`Reading`]: a counter of energy, or a power. A [`Recorder`] asks all of them, before,
//! during and after what is measured, and puts an [`Integral`] over each: differences of counters, which wrap, and the
//! trapezoid rule over powers. What was not covered, because a meter stopped, was unplugged or could not be trusted, is told and
//! never filled in. The idle power before and after gives the *net* energy, above idle, beside the *gross*.
//!
//! Meters overlap: a CPU's package contains its cores, and a wall plug contains everything. Each has a [`Role`], and the total
//! counts every joule once.
//!
//! | source | what it counts | where |
//! | --- | --- | --- |
//! | [`rapl`] | CPU packages and memory | Linux, Intel and AMD |
//! | [`nvidia`] | graphics cards | where NVIDIA's driver is loaded |
//! | [`battery`] | the whole device, while it runs on battery | Linux, macOS, Windows, FreeBSD |
//! | [`external`] | whatever a plug or a bench meter wrote into a CSV file | everywhere |
//!
//! Where nothing can be read, [`estimate`] reckons with idle watts times wall time, CPU seconds ([`process`]), operations, bytes and frames. Such
//! joules are [`Estimated`] and come with an interval. They are another type than [`Measured`] joules, so that the two cannot
//! be added:
//!
//! ```compile_fail,E0277
//! use ringtmp_energy::{Estimated, Interval, Measured};
//! let interval = Interval::new(1.0, 2.0, 3.0).expect("in order");
//! let sum = Measured::new(5.0) + Estimated::new(interval);
//! ```
//!
//! They can be collected side by side, and stay apart in every sum and in every file:
//!
//! ```
//! use ringtmp_energy::{Estimated, Interval, Measured, Tally};
//! let interval = Interval::new(1.0, 2.0, 3.0).expect("in order");
//! let mut tally = Tally::default();
//! tally.add(Measured::new(5.0));
//! tally.add(Estimated::new(interval));
//! assert_eq!(tally.to_string(), "5.00 J measured and 2.00 J (1.00 to 3.00) estimated");
//! ```
//!
//! This crate knows nothing of rings. It reads clocks only in [`Clock`]; everything else is told the time.

pub mod battery;
pub mod calibrate;
pub mod estimate;
pub mod external;
mod integral;
mod joules;
mod meter;
pub mod nvidia;
mod platform;
pub mod process;
pub mod rapl;
mod recorder;
mod report;
mod total;

pub use integral::{
    COUNTER_STILL_MAX, COVERED_SHARE_MIN, Integral, METER_WATTS_MAX, SAMPLE_GAP_MAX, Trouble,
    Window,
};
pub use joules::{Estimated, Interval, IntervalError, Measured, Tally};
pub use meter::{Description, Found, Meter, MeterError, Reading, Role, Unreadable};
pub use platform::{Clock, meters};
pub use recorder::{Jump, Moment, Phase, Recorded, Recorder, Recording};
pub use report::{CpuTime, EstimatedPart, Headline, REPORT_SCHEMA_VERSION, Report};
pub use total::{MeasuredTotal, Unmeasured};
