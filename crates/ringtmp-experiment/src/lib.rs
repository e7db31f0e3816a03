//! Experiments: when is a ring of small devices better than a parameter server?
//!
//! ```text
//! Experiment ──▶ cells: model x way x devices x peers x seed         (grid)
//!                  │ a digest of inputs and program names each
//!                  ▼
//!                work: the simulator, or a reckoning of memory       (work)
//!                  │ Outcome: figures, or a refusal in its own words
//!                  ▼
//!                DIR/cells.jsonl, a line for each, as they finish    (store)
//!                  │ grouped over seeds, with intervals              (groups)
//!                  ▼
//!                findings, plots, tables: DIR/index.html, CSV, JSON  (findings, chart, report)
//! ```
//!
//! A **way** is how devices train together: a ring with its schedule, a parameter server with its placement and staleness, or
//! all-reduce. All ways of a comparison train the same model with the same batches on the same devices and links. Devices come
//! from a table with sources ([`PROFILES`]); what layers cost is an argument, since this crate knows no layers.

mod cell;
mod chart;
mod curves;
mod findings;
mod grid;
mod groups;
mod learn;
mod memory;
mod outcome;
mod profile;
mod report;
mod store;
mod work;

#[cfg(test)]
mod tests;

pub use cell::{Capacity, Cell, Host, Kind, Model, ModelCosts, Spread, Trouble, Way};
pub use grid::{Experiment, Grid, HERE};
pub use groups::{Estimate, Group, Half};
pub use learn::{Held, Learner, Lesson, right_answers};
pub use outcome::{
    Cause, Compared, Figures, Joules, Lasted, Outcome, Point, Reached, Spent, Struck, Waits,
};
pub use profile::{DeviceProfile, PROFILES, ProfileError, Profiles};
pub use report::{Provenance, write_report};
pub use store::{Finished, Store, StoreError};
pub use work::{Failure, Models, Worker, grow};
