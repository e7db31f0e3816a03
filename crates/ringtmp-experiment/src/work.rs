//! Works cells off.

mod learning;
mod one;
mod trouble;

use crate::cell::{Capacity, Cell, Kind, Model, ModelCosts, Way};
use crate::grid::HERE;
use crate::learn::Learner;
use crate::outcome::{Figures, Outcome};
use crate::profile::{DeviceProfile, ProfileError, Profiles, links};
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::parameter_server::{Exchange, Placement, Staleness, UPDATE_OPERATIONS};
use ringtmp_core::profile::Planning;
use ringtmp_core::schedule::{DataSource, Mode, ScheduleSpec};
use ringtmp_core::signal::{Replication, RunOutline};
use ringtmp_energy::estimate::{Coefficients, EstimateError};
use ringtmp_sim::Scenario;
use ringtmp_sim::team::TeamChoice;
use std::collections::BTreeMap;

/// Servers where they are dedicated.
const SHARDS: u16 = 2;

/// Each task takes `1 + j (E - 1)` times its time, E exponential of mean 1: devices that do other things as well.
const JITTER: f64 = 0.3;

/// Steps with which capacity tries a model.
const CAPACITY_STEPS: u32 = 1;

/// The largest width or depth that is tried: a run has no more layers.
const GROWN_MAX: u32 = 1 << 13;

/// Widths are multiples of it, so that heads of this width divide them.
const WIDTH_STEP: u32 = 64;

/// What a model costs, or why there is no such model.
pub type Models<'a> = &'a dyn Fn(&Model) -> Result<ModelCosts, String>;

/// Why a cell could not be worked off.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The table of devices lacks one, or is none.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The coefficients lack a device.
    #[error(transparent)]
    Energy(#[from] EstimateError),
    /// The grid names a model that is none.
    #[error("the model {0} of the grid cannot be: {1}")]
    Model(String, String),
    /// A fault of the protocol or of the simulator, which is worth a report.
    #[error("the simulated run went wrong, which is this program's fault: {0}")]
    Broken(String),
}

/// Works cells off, with the tables they need.
pub struct Worker<'a> {
    models: Models<'a>,
    profiles: Profiles,
    coefficients: Coefficients,
    costs: BTreeMap<Model, ModelCosts>,
    learner: Option<&'a dyn Learner>,
}

/// A run, or why there is none.
enum Tried {
    Ran(Box<Figures>),
    Refused(String),
}

impl<'a> Worker<'a> {
    /// With tables, and what models cost.
    pub fn new(models: Models<'a>, profiles: Profiles, coefficients: Coefficients) -> Self {
        Self {
            models,
            profiles,
            coefficients,
            costs: BTreeMap::new(),
            learner: None,
        }
    }

    /// With real gradients, for those experiments that ask for them.
    pub fn with_learner(mut self, learner: &'a dyn Learner) -> Self {
        self.learner = Some(learner);
        self
    }

    /// What a model costs.
    fn costs(&mut self, model: &Model) -> Result<ModelCosts, String> {
        if let Some(costs) = self.costs.get(model) {
            return Ok(costs.clone());
        }
        let costs = (self.models)(model)?;
        self.costs.insert(model.clone(), costs.clone());
        Ok(costs)
    }

    /// The name of a cell.
    ///
    /// # Errors
    ///
    /// If its model or its devices are none.
    pub fn digest(&mut self, cell: &Cell, program: &str) -> Result<String, Failure> {
        let costs = self.known(&cell.model)?;
        let devices = match cell.kind {
            // Real devices; of these only the links may be emulated.
            _ if cell.profile == HERE => Vec::new(),
            _ => self.profiles.devices(&cell.profile, cell.peers.min(3))?,
        };
        let mut energy = Vec::new();
        for device in &devices {
            energy.push(self.coefficients.profile(&device.energy_profile)?);
        }
        let surroundings = serde_json::to_string(&(costs, devices, energy));
        let surroundings = surroundings.map_err(|error| Failure::Broken(error.to_string()))?;
        Ok(cell.digest(&surroundings, program))
    }

    fn known(&mut self, model: &Model) -> Result<ModelCosts, Failure> {
        let costs = self.costs(model);
        costs.map_err(|reason| Failure::Model(model.to_string(), reason))
    }

    /// Works a cell off.
    ///
    /// # Errors
    ///
    /// What is wrong with the tables or with this program; a refusal is an outcome.
    pub fn work(&mut self, cell: &Cell) -> Result<Outcome, Failure> {
        match cell.kind {
            Kind::Run { steps } => {
                let costs = self.known(&cell.model)?;
                Ok(match self.run(cell, &costs, steps)? {
                    Tried::Ran(figures) => Outcome::Ran(figures),
                    Tried::Refused(reason) => Outcome::Refused { reason },
                })
            }
            Kind::Capacity(grows) => {
                grow(&cell.model, grows, 0.0, |model| self.try_model(cell, model))
            }
            Kind::Resilience { steps, trouble } => {
                let costs = self.known(&cell.model)?;
                Ok(match self.troubled(cell, &costs, steps, trouble)? {
                    Tried::Ran(figures) => Outcome::Ran(figures),
                    Tried::Refused(reason) => Outcome::Refused { reason },
                })
            }
            Kind::Progress { steps, spread } => self.learns(cell, steps, spread),
            // Whoever has real peers does these.
            Kind::Real { .. }
            | Kind::Struck { .. }
            | Kind::Lasting { .. }
            | Kind::Taught { .. }
            | Kind::Hosted { .. } => Ok(Outcome::Refused {
                reason: "there are no real peers in a simulation".to_owned(),
            }),
        }
    }

    fn run(&self, cell: &Cell, costs: &ModelCosts, steps: u32) -> Result<Tried, Failure> {
        let devices = self.profiles.devices(&cell.profile, cell.peers)?;
        let scenario = scenario(cell, costs, &devices, steps);
        self.simulate(cell, &scenario, costs, &devices)
    }

    fn simulate(
        &self,
        cell: &Cell,
        scenario: &Scenario,
        costs: &ModelCosts,
        devices: &[&DeviceProfile],
    ) -> Result<Tried, Failure> {
        match (choice(cell.way), cell.way) {
            (None, Way::FewRing(_)) => self.few(scenario, devices),
            (None, _) => self.ring(scenario, devices, &[]),
            (Some(choice), _) => self.team(scenario, choice, cell, costs, devices),
        }
    }

    /// The parameters of a model that can be trained, or why it cannot.
    fn try_model(&mut self, cell: &Cell, model: &Model) -> Result<Result<u64, String>, Failure> {
        let costs = match (self.models)(model) {
            Ok(costs) => costs,
            Err(reason) => return Ok(Err(reason)),
        };
        Ok(match self.run(cell, &costs, CAPACITY_STEPS)? {
            Tried::Ran(_) => Ok(costs.parameters()),
            Tried::Refused(reason) => Err(reason),
        })
    }
}

/// Doubles what grows of a model until it is refused, then halves what lies between, until that is no more than this share of what was not
/// refused. `try_model` gives the parameters of a model that can be trained, or says why it cannot.
///
/// # Errors
///
/// Those of `try_model`.
pub fn grow<E>(
    model: &Model,
    grows: Capacity,
    within: f64,
    mut try_model: impl FnMut(&Model) -> Result<Result<u64, String>, E>,
) -> Result<Outcome, E> {
    let sized = |size: u32| match grows {
        Capacity::Depth => Model {
            depth: Some(size),
            ..model.clone()
        },
        Capacity::Width => Model {
            width: Some(size * WIDTH_STEP),
            ..model.clone()
        },
    };
    let mut fits: Option<(u32, u64)> = None;
    let mut refused: Option<(u32, String)> = None;
    let mut size = 1;
    loop {
        match try_model(&sized(size))? {
            Ok(parameters) => fits = Some((size, parameters)),
            Err(reason) => refused = Some((size, reason)),
        }
        let fit = fits.map_or(0, |(size, _)| size);
        let near = (within * f64::from(fit)) as u32;
        size = match &refused {
            Some((no, _)) if no - fit <= near.max(1) => break,
            Some((no, _)) => u32::midpoint(fit, *no),
            None if fit >= GROWN_MAX => break,
            None => fit * 2,
        };
    }
    let (smallest, reason) =
        refused.unwrap_or_else(|| (GROWN_MAX, "nothing larger was tried".to_owned()));
    Ok(match fits {
        None => Outcome::Refused { reason },
        Some((size, parameters)) => Outcome::Grew {
            model: sized(size),
            parameters,
            refused: sized(smallest),
            reason,
        },
    })
}

fn choice(way: Way) -> Option<TeamChoice> {
    let (exchange, placement, staleness) = match way {
        Way::Ring(_) | Way::FewRing(_) => return None,
        Way::ParameterServer { placement, tau } => (Exchange::Server, placement, tau),
        Way::AllReduce => (
            Exchange::AllReduce,
            Placement::default(),
            Staleness::default(),
        ),
    };
    Some(TeamChoice {
        exchange,
        placement,
        shards: SHARDS,
        staleness,
    })
}

fn scenario(cell: &Cell, costs: &ModelCosts, devices: &[&DeviceProfile], steps: u32) -> Scenario {
    let mode = match cell.way {
        Way::Ring(mode) | Way::FewRing(mode) => mode,
        Way::ParameterServer { .. } | Way::AllReduce => Mode::Sync,
    };
    // An update is of an even part of the model, as in the simulator of teams.
    let part = costs.parameters() as f64 / f64::from(cell.peers.max(1));
    Scenario {
        outline: RunOutline {
            name: cell.model.to_string(),
            layers: costs.layers.clone(),
            steps,
            micro_batches: cell.micro_batches,
            evaluate_every: 0,
            evaluation_micro_batches: 0,
            start_at_peers: cell.peers,
            schedule: ScheduleSpec::new(mode, cell.micro_batch),
            source: DataSource::One,
            sample_bytes: costs.sample_bytes,
            codec: CodecChoice::F16,
            planning: Planning::Measured,
            replication: Replication::Off,
            topology: ringtmp_core::parameter_server::Topology::Ring,
        },
        devices: devices
            .iter()
            .map(|device| device.spec(UPDATE_OPERATIONS * part))
            .collect(),
        links: links(devices),
        losses: Vec::new(),
        faults: Vec::new(),
        medium_bytes_per_second: None,
        shares_access: true,
        jitter: JITTER,
        seed: cell.seed,
        limits: None,
        keeps_every: None,
    }
}
