//! One figure from many meters, without counting a joule twice or leaving one out silently.

use crate::{Measured, Recorded, Recording, Role, Window};
use serde::Serialize;

/// What the meters of a machine counted, all in all.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MeasuredTotal {
    /// All that was drawn.
    pub gross: Measured,
    /// Of it, what lies above idle; none where there was no idle time to compare with.
    pub net: Option<Measured>,
    /// The net is known to within so many measured joules: half of how much idle power changed from before to after, times the time.
    pub net_uncertainty: Option<Measured>,
    /// Idle power before, in measured watts.
    pub measured_idle_watts_before: Option<f64>,
    /// Idle power after, in measured watts.
    pub measured_idle_watts_after: Option<f64>,
    /// Whether this is all that the device draws, or only some parts of it.
    pub whole_device: bool,
    /// The meters in it.
    pub meters: Vec<String>,
}

/// Why there is no measured total.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmeasured {
    /// Nothing that counts could be read.
    #[error("no meter could be read")]
    NoMeter,
    /// A meter that belongs into the total did not cover the whole time.
    #[error(
        "{meter} covered {covered_percent}% of the time ({trouble}), and what it missed is not guessed"
    )]
    NotWhole {
        /// Which.
        meter: String,
        /// How much it covered.
        covered_percent: u32,
        /// What went wrong with it first.
        trouble: String,
    },
}

impl Recording {
    /// The total: of the first meter of the whole machine that covered the run, or else of all parts.
    ///
    /// # Errors
    ///
    /// If there is no such meter, or one of the parts did not cover the run.
    pub fn measured_total(&self) -> Result<MeasuredTotal, Unmeasured> {
        let of = |role| {
            let meters = self.meters.iter();
            meters.filter(move |meter| meter.description.role == role)
        };
        if let Some(machine) = of(Role::Machine).find(|meter| meter.run.is_whole()) {
            return Ok(self.total(&[machine], true));
        }
        let parts: Vec<_> = of(Role::Part).collect();
        // Where parts can be read, a battery that was on mains is no reason to have no total.
        let lacking = parts.iter().find(|meter| !meter.run.is_whole()).copied();
        let lacking = lacking.or_else(|| of(Role::Machine).next().filter(|_| parts.is_empty()));
        match lacking {
            Some(meter) => Err(not_whole(meter)),
            None if parts.is_empty() => Err(Unmeasured::NoMeter),
            None => Ok(self.total(&parts, false)),
        }
    }

    fn total(&self, meters: &[&Recorded], whole_device: bool) -> MeasuredTotal {
        let seconds = self.run.length().as_secs_f64();
        let gross: Measured = meters.iter().map(|meter| meter.run.joules).sum();
        let before = watts(meters.iter().map(|meter| meter.before.as_ref()));
        let after = watts(meters.iter().map(|meter| meter.after.as_ref()));
        let idle = match (before, after) {
            (Some(before), Some(after)) => Some((before + after) / 2.0),
            (before, after) => before.or(after),
        };
        MeasuredTotal {
            gross,
            net: idle.map(|watts| gross - Measured::new(watts * seconds)),
            net_uncertainty: before
                .zip(after)
                .map(|(before, after)| Measured::new((before - after).abs() / 2.0 * seconds)),
            measured_idle_watts_before: before,
            measured_idle_watts_after: after,
            whole_device,
            meters: meters
                .iter()
                .map(|meter| meter.description.id.clone())
                .collect(),
        }
    }
}

/// The power of all these together; none unless each covered its window.
fn watts<'a>(windows: impl Iterator<Item = Option<&'a Window>>) -> Option<f64> {
    windows
        .map(|window| window.filter(|window| window.is_whole())?.watts())
        .sum()
}

fn not_whole(meter: &Recorded) -> Unmeasured {
    let length = meter.run.length.as_secs_f64();
    let share = if length > 0.0 {
        meter.run.covered.as_secs_f64() / length
    } else {
        0.0
    };
    let trouble = meter.run.troubles.first();
    Unmeasured::NotWhole {
        meter: meter.description.id.clone(),
        covered_percent: (share * 100.0) as u32,
        trouble: trouble.map_or_else(
            || "too few readings".to_owned(),
            |trouble| trouble.what.clone(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::tests::{Script, power, recorded, work};

    fn constant(watts: f64) -> Vec<Result<crate::Reading, crate::MeterError>> {
        vec![power(watts); 31]
    }

    #[test]
    fn parts_add_up_and_what_lies_within_them_does_not() {
        let total = recorded(vec![
            Script::boxed("package", Role::Part, work()),
            Script::boxed("core", Role::Aside, work()),
            Script::boxed("card", Role::Part, constant(10.0)),
        ])
        .measured_total()
        .expect("both parts are whole");
        assert_eq!(total.meters, ["package", "card"]);
        assert_eq!(total.gross, Measured::new(250.0 + 100.0));
        // Above 5 W and 10 W of idling.
        assert_eq!(total.net, Some(Measured::new(200.0)));
        assert_eq!(total.net_uncertainty, Some(Measured::new(0.0)));
        assert!(!total.whole_device);
    }

    #[test]
    fn a_meter_of_the_machine_makes_parts_superfluous() {
        let total = recorded(vec![
            Script::boxed("package", Role::Part, work()),
            Script::boxed("plug", Role::Machine, constant(50.0)),
        ])
        .measured_total()
        .expect("the plug is whole");
        assert_eq!(total.meters, ["plug"]);
        assert_eq!(total.gross, Measured::new(500.0));
        assert!(total.whole_device);
    }

    #[test]
    fn a_battery_on_mains_leaves_the_parts() {
        let on_mains = vec![Err(crate::MeterError::NotNow("on mains".to_owned())); 31];
        let battery = || Script::boxed("battery", Role::Machine, on_mains.clone());
        let with = recorded(vec![
            battery(),
            Script::boxed("package", Role::Part, work()),
        ]);
        let total = with.measured_total().expect("the package is whole");
        assert_eq!(total.meters, ["package"]);
        let alone = recorded(vec![battery()]).measured_total();
        let why = alone.expect_err("not measured").to_string();
        assert!(
            why.contains("battery covered 0%") && why.contains("on mains"),
            "{why}"
        );
    }

    #[test]
    fn a_part_that_stopped_leaves_no_total() {
        let stops = work().into_iter().take(15);
        let refused = recorded(vec![
            Script::boxed("card", Role::Part, stops),
            Script::boxed("package", Role::Part, work()),
        ])
        .measured_total();
        let expected = Unmeasured::NotWhole {
            meter: "card".to_owned(),
            covered_percent: 40,
            trouble: crate::MeterError::Gone("card".to_owned()).to_string(),
        };
        assert_eq!(refused, Err(expected));
        let none = recorded(vec![Script::boxed("core", Role::Aside, work())]);
        assert_eq!(none.measured_total(), Err(Unmeasured::NoMeter));
    }

    #[test]
    fn idle_power_that_changed_makes_the_net_uncertain() {
        let mut warms = constant(30.0);
        (0..10).for_each(|second| warms[second] = power(10.0));
        (21..31).for_each(|second| warms[second] = power(14.0));
        let total = recorded(vec![Script::boxed("plug", Role::Machine, warms)])
            .measured_total()
            .expect("it is whole");
        let before = total.measured_idle_watts_before.expect("measured");
        let after = total.measured_idle_watts_after.expect("measured");
        // Both phases share their borders with the run, at 30 W.
        assert!((11.0..=11.01).contains(&before), "{before}");
        assert!((14.79..=14.81).contains(&after), "{after}");
        let uncertainty = total.net_uncertainty.expect("both are known").joules();
        assert!((18.9..=19.1).contains(&uncertainty), "{uncertainty}");
    }
}
