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

/// What the battery gave while this device trained: the meter that a tab has. Browsers tell a level in whole percent and no capacity,
/// so it is a share, of the whole device and whatever else it did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drain {
    /// The level at which training began, or at which the device was last charged, and when.
    began: Option<(f64, f64)>,
    /// The last level, and when it was first seen.
    last: Option<(f64, f64)>,
    /// What it came to before training or the battery paused.
    before: Option<Drained>,
}

/// A share of a battery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drained {
    /// Of the full battery, 0 to 1.
    pub share: f64,
    /// In so many seconds.
    pub seconds: f64,
}

impl Drain {
    /// The battery is like this at `now`, in seconds; `trains` says whether the device does.
    pub fn see(&mut self, battery: Option<Battery>, trains: bool, now: f64) {
        let Some(battery) = battery.filter(|battery| trains && !battery.charging) else {
            *self = Self {
                before: self.drained(),
                ..Self::default()
            };
            return;
        };
        let level = battery.level;
        self.began.get_or_insert((level, now));
        if self.last.is_none_or(|(known, _)| level < known) {
            self.last = Some((level, now));
        }
    }

    /// What it came to, up to the last change; none below what browsers can tell.
    pub fn drained(&self) -> Option<Drained> {
        self.going_on().or(self.before)
    }

    fn going_on(&self) -> Option<Drained> {
        let ((level, since), (last, at)) = (self.began?, self.last?);
        let share = level - last;
        (share > 0.005).then_some(Drained {
            share,
            seconds: at - since,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_training_took_is_told_and_what_charging_gave_is_not() {
        let at = |level| {
            Some(Battery {
                level,
                charging: false,
            })
        };
        let charged = |level| {
            Some(Battery {
                level,
                charging: true,
            })
        };
        let mut drain = Drain::default();
        drain.see(at(0.9), false, 0.0);
        drain.see(at(0.8), true, 100.0);
        assert_eq!(drain.drained(), None, "it has only begun");
        drain.see(at(0.79), true, 400.0);
        drain.see(at(0.78), true, 700.0);
        // The level stays for a while: the time until it changes again is not told of.
        drain.see(at(0.78), true, 900.0);
        let drained = drain.drained().expect("two percent");
        assert!(
            (drained.share - 0.02).abs() < 1e-9 && drained.seconds == 600.0,
            "{drained:?}"
        );
        drain.see(charged(0.85), true, 1000.0);
        assert_eq!(drain.drained(), Some(drained));
        drain.see(at(0.9), true, 1100.0);
        assert_eq!(drain.drained(), Some(drained));
        drain.see(at(0.89), true, 1200.0);
        let drained = drain.drained().expect("one percent");
        assert!(
            (drained.share - 0.01).abs() < 1e-9 && drained.seconds == 100.0,
            "{drained:?}"
        );
        drain.see(at(0.5), false, 1300.0);
        assert_eq!(
            drain.drained(),
            Some(drained),
            "nothing of what it did later"
        );
    }

    #[test]
    fn only_a_battery_that_is_not_charged_gets_low() {
        let low = |level, charging| Battery { level, charging }.is_low();
        assert!(low(LOW, false) && low(0.0, false));
        assert!(!low(LOW + 0.01, false) && !low(0.0, true));
    }
}
