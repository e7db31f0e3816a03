//! How fast the devices are that paced peers emulate.

use ringtmp_core::plan::LayerCost;
use ringtmp_core::signal::RunOutline;
use std::fmt;
use std::str::FromStr;

/// On the device that is called 1, F, B and W of an equal part of the model take so long on average: long beside the grain of
/// timers and what the machine needs for a small model, short enough for runs of a few seconds.
const TASK_SECONDS: f64 = 0.025;

/// The speed of one device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Speed {
    /// So many times slower than the device that is called 1.
    Slowness(f64),
    /// Operations per second.
    Operations(f64),
}

impl Speed {
    /// Operations per second, for a run by so many devices.
    pub(crate) fn operations_per_second(self, outline: &RunOutline, peers: usize) -> f64 {
        match self {
            Self::Operations(speed) => speed,
            Self::Slowness(times) => {
                let flops: f64 = outline.layers.iter().map(LayerCost::flops_total).sum();
                let samples = f64::from(outline.schedule.micro_batch_samples);
                flops * samples / (3.0 * peers as f64) / TASK_SECONDS / times
            }
        }
    }
}

/// As it is read.
impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slowness(times) => write!(f, "{times}"),
            Self::Operations(speed) => write!(f, "{}k", speed / 1e3),
        }
    }
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = [('k', 1e3), ('M', 1e6), ('G', 1e9), ('T', 1e12)];
        let unit = units.iter().find(|(unit, _)| text.ends_with(*unit));
        let number = unit.map_or(text, |(unit, _)| text.trim_end_matches(*unit));
        let positive = number
            .parse()
            .ok()
            .filter(|n: &f64| *n > 0.0 && n.is_finite());
        match (positive, unit) {
            (Some(number), Some((_, factor))) => Ok(Self::Operations(number * factor)),
            (Some(number), None) => Ok(Self::Slowness(number)),
            (None, _) => Err(format!(
                "{text:?} is no speed: say operations per second (500k, 20M, 1.5G), or how many times slower than others (1, 4)"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringtmp_peer::RunFile;

    #[test]
    fn speeds_are_operations_per_second_with_a_unit_and_slowness_without() {
        assert_eq!("20M".parse(), Ok(Speed::Operations(2e7)));
        assert_eq!("1.5G".parse(), Ok(Speed::Operations(1.5e9)));
        assert_eq!("4".parse(), Ok(Speed::Slowness(4.0)));
        for speed in [Speed::Slowness(2.5), Speed::Operations(45_465_600.5)] {
            assert_eq!(speed.to_string().parse(), Ok(speed));
        }
        for wrong in ["", "M", "-1", "0", "nan", "inf", "fast", "1e400"] {
            assert!(wrong.parse::<Speed>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_device_four_times_slower_has_a_quarter_of_the_speed() {
        let outline = RunFile::default()
            .check()
            .expect("a run")
            .descriptor()
            .outline;
        let speed = |times| Speed::Slowness(times).operations_per_second(&outline, 3);
        assert!((speed(1.0) / speed(4.0) - 4.0).abs() < 1e-9);
        let fixed = Speed::Operations(7.0);
        assert_eq!(
            fixed.operations_per_second(&outline, 3).to_bits(),
            7f64.to_bits()
        );
    }
}
