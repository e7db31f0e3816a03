//! Batteries: all that a device draws, while it runs on them.
//!
//! On mains a battery shows what charges it, not what the device draws; then there is no reading. Drivers renew their figures
//! every second to every half minute, so that short runs are measured badly.

use crate::{Description, Meter, MeterError, Reading, Role};

/// What a battery does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BatteryState {
    /// It gives so many watts.
    Discharging(f64),
    /// It takes.
    Charging,
    /// Neither: it is full, at its limit, or the second of two.
    Resting,
}

/// Whoever knows the batteries of a device.
pub trait Batteries {
    /// All of them, now.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    fn states(&mut self) -> Result<Vec<BatteryState>, MeterError>;
}

impl<F: FnMut() -> Result<Vec<BatteryState>, MeterError>> Batteries for F {
    fn states(&mut self) -> Result<Vec<BatteryState>, MeterError> {
        self()
    }
}

/// All batteries of a device as one meter.
#[derive(Debug)]
pub struct BatteryMeter<B> {
    description: Description,
    batteries: B,
}

impl<B: Batteries> BatteryMeter<B> {
    /// One meter for all that these say.
    pub fn new(batteries: B) -> Self {
        Self {
            description: Description {
                id: "battery".to_owned(),
                counts: "the whole device, while it runs on battery".to_owned(),
                role: Role::Machine,
            },
            batteries,
        }
    }
}

impl<B: Batteries> Meter for BatteryMeter<B> {
    fn description(&self) -> &Description {
        &self.description
    }

    fn read(&mut self) -> Result<Reading, MeterError> {
        let states = self.batteries.states()?;
        if states.is_empty() {
            let none = "this device has no battery, or none that the system shows";
            return Err(MeterError::Absent(none.to_owned()));
        }
        let mut watts = None;
        for state in states {
            match state {
                BatteryState::Discharging(more) => watts = Some(watts.unwrap_or(0.0) + more),
                BatteryState::Resting => {}
                BatteryState::Charging => return Err(on_mains()),
            }
        }
        match watts {
            // Drivers show 0 for some seconds after the plug was pulled.
            Some(watts) if watts > 0.0 => Ok(Reading::Power(watts)),
            Some(_) => Err(MeterError::NotNow(
                "the battery does not yet tell what it gives".to_owned(),
            )),
            None => Err(on_mains()),
        }
    }
}

fn on_mains() -> MeterError {
    let why = "the device is on mains, where its battery does not see what it draws: unplug it to measure";
    MeterError::NotNow(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Integral, Measured};
    use BatteryState::{Charging, Discharging, Resting};
    use std::collections::VecDeque;
    use std::time::Duration;

    fn once(states: &[BatteryState]) -> Result<Reading, MeterError> {
        let states = states.to_vec();
        BatteryMeter::new(move || Ok(states.clone())).read()
    }

    #[test]
    fn batteries_that_give_add_up_and_mains_is_no_reading() {
        assert_eq!(once(&[Discharging(5.0), Resting]), Ok(Reading::Power(5.0)));
        let both = once(&[Discharging(5.0), Discharging(3.0)]);
        assert_eq!(both, Ok(Reading::Power(8.0)));
        for mains in [&[Charging][..], &[Resting], &[Discharging(5.0), Charging]] {
            assert_eq!(once(mains), Err(on_mains()));
        }
        assert!(matches!(
            once(&[Discharging(0.0)]),
            Err(MeterError::NotNow(_))
        ));
        assert!(matches!(once(&[]), Err(MeterError::Absent(_))));
    }

    #[test]
    fn what_was_drawn_while_plugged_in_is_not_counted() {
        let mut seen: VecDeque<_> = [
            Discharging(10.0),
            Discharging(10.0),
            Charging,
            Resting,
            Discharging(10.0),
            Discharging(10.0),
        ]
        .into();
        let mut meter = BatteryMeter::new(move || Ok(seen.pop_front().into_iter().collect()));
        let mut integral = Integral::new(Duration::ZERO);
        for second in 0..6 {
            integral.take(Duration::from_secs(second), &meter.read());
        }
        let window = integral.close(Duration::from_secs(5));
        assert_eq!(window.joules, Measured::new(20.0));
        assert!(!window.is_whole());
        assert!(window.troubles[0].what.contains("on mains"));
    }
}
