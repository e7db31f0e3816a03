//! The meters and clocks of a device with an operating system.

use crate::battery::{BatteryMeter, BatteryState};
use crate::nvidia::{CARDS_MAX, Card, CardMeter};
use crate::rapl::{self, POWERCAP};
use crate::{Found, MeterError, Moment, Unreadable};
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use starship_battery::units::power::watt;
use starship_battery::{Manager, State};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The most batteries that are looked at.
const BATTERIES_MAX: usize = 16;

/// The clocks of this device.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// What both clocks show.
    pub fn now(&self) -> Moment {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Moment {
            since_start: self.0.elapsed(),
            since_1970: wall.unwrap_or(Duration::ZERO),
        }
    }
}

/// All meters of this device, and why the others cannot be read.
pub fn meters() -> Found {
    let mut found = Found::default();
    if cfg!(target_os = "linux") {
        found.extend(rapl::zones(Path::new(POWERCAP)));
    } else {
        let why = "counters of CPUs are read on Linux only; macOS shows them to root's powermetrics and to private interfaces, Windows to a driver";
        found.unreadable.push(Unreadable {
            meter: "CPU".to_owned(),
            why: why.to_owned(),
        });
    }
    found.extend(cards());
    found.add(BatteryMeter::new(batteries));
    found
}

fn batteries() -> Result<Vec<BatteryState>, MeterError> {
    let all = Manager::new().and_then(|manager| manager.batteries());
    let all = match all {
        Ok(all) => all,
        // A machine that never had one has no folder for them either.
        Err(_) if cfg!(target_os = "linux") && !Path::new("/sys/class/power_supply").exists() => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(MeterError::failed("the batteries", error)),
    };
    all.take(BATTERIES_MAX)
        .map(|battery| {
            let battery = battery.map_err(|error| MeterError::failed("a battery", error))?;
            Ok(match battery.state() {
                State::Discharging => {
                    BatteryState::Discharging(f64::from(battery.energy_rate().get::<watt>()))
                }
                State::Charging => BatteryState::Charging,
                State::Unknown | State::Empty | State::Full | State::Paused => {
                    BatteryState::Resting
                }
            })
        })
        .collect()
}

fn cards() -> Found {
    let mut found = Found::default();
    let nvml = match Nvml::init() {
        Ok(nvml) => Arc::new(nvml),
        Err(error) => {
            let why = format!("no card of NVIDIA with its driver ({error})");
            let absent = Unreadable::new("nvidia", &MeterError::Absent(why));
            found.unreadable.push(absent);
            return found;
        }
    };
    match nvml.device_count() {
        Ok(count) => {
            for index in 0..count.min(CARDS_MAX) {
                let device = nvml.device_by_index(index);
                let name = device.and_then(|device| device.name());
                let name = name.unwrap_or_else(|_| "of NVIDIA".to_owned());
                let nvml = Arc::clone(&nvml);
                found.add(CardMeter::new(index, &name, Listed { nvml, index }));
            }
        }
        Err(error) => {
            let why = MeterError::failed("the list of cards", error);
            found.unreadable.push(Unreadable::new("nvidia", &why));
        }
    }
    found
}

/// A card by its place in the driver's list.
struct Listed {
    nvml: Arc<Nvml>,
    index: u32,
}

impl Listed {
    fn ask<T>(
        &self,
        what: impl FnOnce(&nvml_wrapper::Device<'_>) -> Result<T, NvmlError>,
    ) -> Result<T, MeterError> {
        let asked = self
            .nvml
            .device_by_index(self.index)
            .and_then(|device| what(&device));
        let card = format!("NVIDIA's card {}", self.index);
        asked.map_err(|error| match error {
            NvmlError::NoPermission => MeterError::Permission {
                what: card,
                advice: "give this user, or this container, the device files /dev/nvidia*"
                    .to_owned(),
            },
            NvmlError::GpuLost | NvmlError::NotFound | NvmlError::DriverNotLoaded => {
                MeterError::Gone(card)
            }
            error => MeterError::failed(card, error),
        })
    }
}

impl Card for Listed {
    fn millijoules(&mut self) -> Result<u64, MeterError> {
        self.ask(|device| device.total_energy_consumption())
    }

    fn milliwatts(&mut self) -> Result<u32, MeterError> {
        self.ask(|device| device.power_usage())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_meter_is_read_or_says_why_not() {
        let found = meters();
        for meter in &found.meters {
            eprintln!("{:?}", meter.description());
        }
        for refused in &found.unreadable {
            eprintln!("{}: {}", refused.meter, refused.why);
            assert!(refused.why.len() > 10);
        }
        for kind in ["powercap", "nvidia", "battery"] {
            let read = found
                .meters
                .iter()
                .any(|meter| meter.description().id.starts_with(kind));
            let refused = found
                .unreadable
                .iter()
                .any(|refused| refused.meter.starts_with(kind));
            assert!(read || refused || !cfg!(target_os = "linux"), "{kind}");
        }
    }
}
