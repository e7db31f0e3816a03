//! What a measurement found, for people and for programs.

use crate::estimate::EstimatedParts;
use crate::joules::plain;
use crate::{Estimated, Jump, Measured, MeasuredTotal, Recorded, Recording, Unreadable};
use serde::Serialize;
use std::fmt;

/// The version of the JSON: keys are added, never changed.
pub const REPORT_SCHEMA_VERSION: u32 = 1;

/// If others took more than this share of the command's own CPU time, the figures of meters are theirs too.
const OTHERS_SHARE_MAX: f64 = 0.05;

/// If the net is less certain than this share of itself, it is said.
const UNCERTAIN_SHARE_MAX: f64 = 0.1;

/// CPU time of the command and of what it started.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CpuTime {
    /// Its CPU seconds.
    pub core_seconds: f64,
    /// CPU seconds of everything else on this machine in the same time; none where that is not known.
    pub others_core_seconds: Option<f64>,
    /// Processes that the command left running; they count up to its end.
    pub left_running: usize,
    /// What cannot be counted.
    pub not_counted: &'static str,
}

/// The estimate, and what it rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EstimatedPart {
    /// The kind of device.
    pub profile: String,
    /// How many such devices.
    pub devices: u32,
    /// The file, or `embedded`.
    pub coefficients: String,
    /// All that was drawn.
    pub gross: Estimated,
    /// Of it, what lies above idle.
    pub net: Estimated,
    /// By cause.
    pub causes: EstimatedParts,
    /// The gross energy of each sample.
    pub gross_per_sample: Option<Estimated>,
}

/// The one figure to compare by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "figure", content = "value", rename_all = "snake_case")]
pub enum Headline {
    /// Gross, by meters.
    MeasuredJoulesPerSample(f64),
    /// Gross, by meters, where samples are not known.
    MeasuredJoules(f64),
    /// Where no meter could be read.
    CoreSecondsPerSample(f64),
    /// Where no meter could be read and samples are not known.
    CoreSeconds(f64),
    /// Nothing was measured at all.
    Nothing,
}

impl fmt::Display for Headline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MeasuredJoulesPerSample(joules) => {
                write!(f, "{} J per sample, measured", plain(joules))
            }
            Self::MeasuredJoules(joules) => write!(f, "{} J, measured", plain(joules)),
            Self::CoreSecondsPerSample(seconds) => {
                write!(f, "{} core-seconds per sample", plain(seconds))
            }
            Self::CoreSeconds(seconds) => write!(f, "{} core-seconds", plain(seconds)),
            Self::Nothing => f.write_str("nothing could be measured here"),
        }
    }
}

/// What a measurement found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The version of these keys.
    pub schema_version: u32,
    /// What was measured.
    pub command: Vec<String>,
    /// How it ended.
    pub ended: String,
    /// How long it took.
    pub wall_seconds: f64,
    /// How many samples it trained on, if that was told.
    pub samples: Option<u64>,
    /// The figure to compare by.
    pub headline: Headline,
    /// CPU time; none where it cannot be counted.
    pub cpu: Option<CpuTime>,
    /// What meters counted, all in all.
    pub measured: Option<MeasuredTotal>,
    /// Of it, for each sample.
    pub measured_per_sample: Option<Measured>,
    /// Why there is no measured total.
    pub not_measured_because: Option<String>,
    /// The estimate; none where there is not even CPU time.
    pub estimated: Option<EstimatedPart>,
    /// Meter by meter.
    pub meters: Vec<Recorded>,
    /// Meters that could not be read.
    pub unreadable: Vec<Unreadable>,
    /// Jumps of this device's clock.
    pub clock_jumps: Vec<Jump>,
    /// What makes the figures worth less.
    pub warnings: Vec<String>,
}

impl Report {
    /// Draws the conclusions.
    pub fn new(
        command: Vec<String>,
        ended: String,
        samples: Option<u64>,
        recording: Recording,
        unreadable: Vec<Unreadable>,
        cpu: Option<CpuTime>,
        estimated: Option<EstimatedPart>,
    ) -> Self {
        let samples = samples.filter(|&samples| samples > 0);
        let (measured, not_measured_because) = match recording.measured_total() {
            Ok(total) => (Some(total), None),
            Err(why) => (None, Some(why.to_string())),
        };
        let warnings = warnings(&recording, measured.as_ref(), cpu.as_ref());
        Self {
            schema_version: REPORT_SCHEMA_VERSION,
            command,
            ended,
            wall_seconds: recording.run.length().as_secs_f64(),
            samples,
            headline: headline(measured.as_ref(), cpu.as_ref(), samples),
            measured_per_sample: samples
                .and_then(|samples| Some(measured.as_ref()?.gross.per_sample(samples))),
            cpu,
            measured,
            not_measured_because,
            estimated,
            meters: recording.meters,
            unreadable,
            clock_jumps: recording.jumps,
            warnings,
        }
    }
}

fn headline(
    measured: Option<&MeasuredTotal>,
    cpu: Option<&CpuTime>,
    samples: Option<u64>,
) -> Headline {
    match (measured, cpu, samples) {
        (Some(total), _, Some(samples)) => {
            Headline::MeasuredJoulesPerSample(total.gross.per_sample(samples).joules())
        }
        (Some(total), _, None) => Headline::MeasuredJoules(total.gross.joules()),
        (None, Some(cpu), Some(samples)) => {
            Headline::CoreSecondsPerSample(cpu.core_seconds / samples as f64)
        }
        (None, Some(cpu), None) => Headline::CoreSeconds(cpu.core_seconds),
        (None, None, _) => Headline::Nothing,
    }
}

fn warnings(
    recording: &Recording,
    measured: Option<&MeasuredTotal>,
    cpu: Option<&CpuTime>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    for jump in &recording.jumps {
        let (by, after) = (jump.by_seconds, jump.after_seconds);
        warnings.push(format!(
            "the clock jumped by {by:+.1} s after {after:.0} s: it was set, or the device slept"
        ));
    }
    let others = cpu.and_then(|cpu| Some((cpu.others_core_seconds?, cpu.core_seconds)));
    if let Some((others, own)) = others.filter(|(others, own)| *others > OTHERS_SHARE_MAX * own) {
        warnings.push(format!(
            "other processes took {} core-seconds beside the command's {}: what meters counted is theirs too, and both slowed each other",
            plain(others),
            plain(own)
        ));
    }
    if let Some(cpu) = cpu.filter(|cpu| cpu.left_running > 0) {
        let left = cpu.left_running;
        warnings.push(format!(
            "{left} processes of the command still ran when it ended; they count up to then"
        ));
    }
    let net =
        measured.and_then(|total| Some((total.net?.joules(), total.net_uncertainty?.joules())));
    if let Some((net, uncertain)) = net
        && uncertain > UNCERTAIN_SHARE_MAX * net.abs()
    {
        warnings.push(format!(
            "idle power changed from before to after, so that the net of {} J is known to within {} J only: let the machine rest first",
            plain(net),
            plain(uncertain)
        ));
    }
    warnings
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.headline)?;
        let mut line = |what: &str, value: String| writeln!(f, "  {what:<22} {value}");
        line("ended", self.ended.clone())?;
        line("wall time", format!("{} s", plain(self.wall_seconds)))?;
        if let Some(cpu) = &self.cpu {
            line(
                "CPU time",
                format!("{} core-seconds", plain(cpu.core_seconds)),
            )?;
        }
        if let Some(total) = &self.measured {
            let scope = if total.whole_device {
                "the whole device"
            } else {
                "these parts only"
            };
            let meters = total.meters.join(", ");
            line("gross", format!("{} ({scope}: {meters})", total.gross))?;
            if let Some(net) = total.net {
                line("net, above idle", net.to_string())?;
            }
        }
        if let Some(why) = &self.not_measured_because {
            line("not measured", why.clone())?;
        }
        if let Some(estimated) = &self.estimated {
            let EstimatedPart {
                profile,
                devices,
                coefficients,
                ..
            } = estimated;
            let of = format!("({devices} x {profile}, {coefficients})");
            line("gross", format!("{} {of}", estimated.gross))?;
            line("net, above idle", estimated.net.to_string())?;
            if let Some(each) = estimated.gross_per_sample {
                line("gross per sample", each.to_string())?;
            }
        }
        for warning in &self.warnings {
            line("warning", warning.clone())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::tests::{Script, recorded, work};
    use crate::{Interval, Role};
    use serde_json::Value;

    fn cpu() -> CpuTime {
        CpuTime {
            core_seconds: 20.0,
            others_core_seconds: Some(0.5),
            left_running: 0,
            not_counted: crate::process::MISSED,
        }
    }

    fn estimated() -> EstimatedPart {
        let interval = Interval::new(1.0, 2.0, 3.0).expect("in order");
        let each = Estimated::new(interval);
        let causes = EstimatedParts {
            idle: each,
            cpu: each,
            gpu: Estimated::default(),
            network: Estimated::default(),
        };
        EstimatedPart {
            profile: "laptop".to_owned(),
            devices: 1,
            coefficients: "embedded".to_owned(),
            gross: causes.gross(),
            net: causes.net(),
            causes,
            gross_per_sample: None,
        }
    }

    fn report(recording: Recording, cpu: Option<CpuTime>, samples: Option<u64>) -> Report {
        let command = vec!["train".to_owned()];
        let ended = "exit status: 0".to_owned();
        let estimated = Some(estimated());
        Report::new(
            command,
            ended,
            samples,
            recording,
            Vec::new(),
            cpu,
            estimated,
        )
    }

    /// The paths of all numbers under keys that speak of joules or watts.
    fn energies(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    energies(value, &format!("{path}.{key}"), found);
                }
            }
            Value::Array(values) => {
                for value in values {
                    energies(value, path, found);
                }
            }
            Value::Number(_) => {
                let key = path.rsplit('.').next().unwrap_or_default();
                if key.contains("joules") || key.contains("watts") {
                    found.push(key.to_owned());
                }
            }
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn every_energy_in_the_json_says_whether_it_was_measured() {
        let meters = vec![Script::boxed("package", Role::Part, work())];
        let report = report(recorded(meters), Some(cpu()), Some(50));
        let json = serde_json::to_value(&report).expect("plain fields");
        let mut found = Vec::new();
        energies(&json, "", &mut found);
        assert!(found.len() > 12, "{found:?}");
        for key in found {
            assert!(
                key.contains("measured") != key.contains("estimated"),
                "{key} does not say of which kind it is"
            );
        }
        assert_eq!(json["headline"]["figure"], "measured_joules_per_sample");
        assert_eq!(json["headline"]["value"], 5.0);
        assert_eq!(json["meters"][0]["run"]["measured_joules"], 250.0);
        assert_eq!(json["estimated"]["gross"]["estimated_joules_high"], 6.0);
    }

    #[test]
    fn the_headline_is_what_was_measured_and_never_an_estimate() {
        let none = || recorded(Vec::new());
        let of = |recording, cpu, samples| report(recording, cpu, samples).headline;
        assert_eq!(
            of(none(), Some(cpu()), Some(40)),
            Headline::CoreSecondsPerSample(0.5)
        );
        assert_eq!(
            of(none(), Some(cpu()), Some(0)),
            Headline::CoreSeconds(20.0)
        );
        assert_eq!(of(none(), None, Some(40)), Headline::Nothing);
        let meters = vec![Script::boxed("package", Role::Part, work())];
        assert_eq!(
            of(recorded(meters), None, None),
            Headline::MeasuredJoules(250.0)
        );
        // A part that stopped is no headline.
        let stops = work().into_iter().take(15);
        let meters = vec![Script::boxed("package", Role::Part, stops)];
        let stopped = report(recorded(meters), Some(cpu()), Some(40));
        assert_eq!(stopped.headline, Headline::CoreSecondsPerSample(0.5));
        assert!(
            stopped
                .not_measured_because
                .is_some_and(|why| why.contains("gone"))
        );
    }

    #[test]
    fn people_read_the_word_beside_every_figure() {
        let meters = vec![Script::boxed("package", Role::Part, work())];
        let told = report(recorded(meters), Some(cpu()), Some(50)).to_string();
        for line in told.lines().filter(|line| line.contains(" J")) {
            assert!(
                line.contains("measured") != line.contains("estimated"),
                "{line}"
            );
        }
        assert!(told.starts_with("5.00 J per sample, measured"), "{told}");
        assert!(told.contains("these parts only"), "{told}");
    }

    #[test]
    fn what_makes_figures_worth_less_is_told() {
        let busy = CpuTime {
            others_core_seconds: Some(5.0),
            left_running: 2,
            ..cpu()
        };
        let mut recording = recorded(Vec::new());
        recording.jumps.push(Jump {
            after_seconds: 3.0,
            by_seconds: -60.0,
        });
        let warnings = report(recording, Some(busy), None).warnings.join("\n");
        assert!(warnings.contains("jumped by -60.0 s"), "{warnings}");
        assert!(warnings.contains("other processes took 5.00"), "{warnings}");
        assert!(warnings.contains("2 processes"), "{warnings}");
        assert_eq!(
            report(recorded(Vec::new()), Some(cpu()), None).warnings,
            [""; 0]
        );
    }
}
