//! What a low battery means for a ring, and what a ring takes of a battery.

/// From here down a device is offered to be spared: phones begin to save energy, and to stop pages, at about a fifth.
pub const LOW: f64 = 0.2;

/// A battery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Battery {
    /// 0 to 1.
    pub level: f64,
    /// Whether it is being charged.
    pub charging: bool,
}

impl Battery {
    /// Whether it may end this device's part in the run.
    pub fn is_low(self) -> bool {
        self.level <= LOW && !self.charging
    }
}

/// What the battery gave while this device took part: the meter that a tab has. Browsers tell a level in whole percent and no capacity,
/// so it is a share, of the whole device and whatever else it did; and it is counted from one change to another, as nobody knows how
/// full the first percent was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drain {
    /// The last level of the stretch under way.
    level: Option<f64>,
    /// When it fell to that.
    fell: Option<f64>,
    total: Drained,
}

/// A share of a battery.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Drained {
    /// Of the full battery, 0 to 1.
    pub share: f64,
    /// In so many seconds.
    pub seconds: f64,
}

impl Drain {
    /// The battery is like this at `now`, in seconds; `works` says whether the device takes part.
    pub fn see(&mut self, battery: Option<Battery>, works: bool, now: f64) {
        let level = battery
            .filter(|battery| works && !battery.charging)
            .map(|battery| battery.level);
        match self.level.zip(level) {
            Some((before, level)) if level < before => {
                if let Some(fell) = self.fell {
                    self.total.share += before - level;
                    self.total.seconds += now - fell;
                }
                self.fell = Some(now);
            }
            Some((before, level)) if level <= before => {}
            // Another stretch begins, or none.
            _ => self.fell = None,
        }
        self.level = level;
    }

    /// What all stretches came to; none below what browsers can tell.
    pub fn drained(&self) -> Option<Drained> {
        (self.total.share > 0.005).then_some(self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_training_took_is_told_from_change_to_change_and_what_charging_gave_is_not() {
        let battery = |level, charging| Some(Battery { level, charging });
        let at = |level| battery(level, false);
        let close = |drain: &Drain, share: f64, seconds: f64| {
            let drained = drain.drained().expect("it was drained");
            (drained.share - share).abs() < 1e-9 && (drained.seconds - seconds).abs() < 1e-9
        };
        let mut drain = Drain::default();
        drain.see(at(0.9), false, 0.0);
        drain.see(at(0.8), true, 100.0);
        drain.see(at(0.79), true, 102.0);
        assert_eq!(drain.drained(), None, "nobody knows how full the first was");
        drain.see(at(0.78), true, 402.0);
        drain.see(at(0.78), true, 500.0);
        drain.see(at(0.77), true, 702.0);
        assert!(close(&drain, 0.02, 600.0), "{drain:?}");
        drain.see(battery(0.85, true), true, 1000.0);
        drain.see(at(0.9), true, 1100.0);
        drain.see(at(0.89), true, 1200.0);
        assert!(close(&drain, 0.02, 600.0), "{drain:?}");
        drain.see(at(0.88), true, 1300.0);
        assert!(close(&drain, 0.03, 700.0), "{drain:?}");
        drain.see(at(0.5), false, 1400.0);
        drain.see(None, true, 1500.0);
        assert!(close(&drain, 0.03, 700.0), "{drain:?}");
    }

    #[test]
    fn only_a_battery_that_is_not_charged_gets_low() {
        let low = |level, charging| Battery { level, charging }.is_low();
        assert!(low(LOW, false) && low(0.0, false));
        assert!(!low(LOW + 0.01, false) && !low(0.0, true));
    }
}
