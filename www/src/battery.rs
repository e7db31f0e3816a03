//! What a low battery means for a ring.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_battery_that_is_not_charged_gets_low() {
        let low = |level, charging| Battery { level, charging }.is_low();
        assert!(low(LOW, false) && low(0.0, false));
        assert!(!low(LOW + 0.01, false) && !low(0.0, true));
    }
}
