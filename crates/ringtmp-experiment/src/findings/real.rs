//! What real devices did, in sentences.

use crate::cell::Trouble;
use crate::chart::short;
use crate::groups::{Estimate, are_enough, few};

/// By how much predictions may differ from what real peers do before it wants an explanation.
const AGREES: f64 = 0.15;

/// How far off a prediction is, and whether that is near enough.
fn verdict(real: f64, simulated: f64) -> String {
    let differs = simulated / real - 1.0;
    let agrees = if differs.abs() <= AGREES {
        "which agrees"
    } else {
        "which does not agree"
    };
    format!("{:+.1}%, {agrees} within 15%", 100.0 * differs)
}

/// By how many points of the whole time a prediction is off, and whether that is near enough.
fn verdict_in_points(real: f64, simulated: f64) -> String {
    let differs = simulated - real;
    let agrees = if differs.abs() <= AGREES {
        "which agrees"
    } else {
        "which does not agree"
    };
    format!("{:+.1} points, {agrees} within 15", 100.0 * differs)
}

/// Of how many runs something is told, where these are few or not all; of how many there are, so many were refused.
fn through([runs, refused]: [usize; 2]) -> String {
    match refused {
        0 => few(runs),
        refused => format!(
            ", of those {} of {runs} runs that got there",
            runs - refused
        ),
    }
}

/// What real peers of one way did, and what the simulator says of them; none where all runs were refused.
pub(crate) struct Pair {
    pub(crate) way: String,
    /// How many, and how many of them were refused.
    pub(crate) runs: [usize; 2],
    /// Samples per second, real and simulated.
    pub(crate) throughput: Option<[f64; 2]>,
    /// Idle shares, real and simulated.
    pub(crate) idle: Option<[f64; 2]>,
    /// Those shares by cause, where there is any: the cause, real and simulated.
    pub(crate) causes: Vec<(&'static str, [f64; 2])>,
}

/// Whether real peers do what the simulator says.
pub(crate) fn agreement(all: &[Pair]) -> String {
    let told = |pair: &Pair| {
        let way = &pair.way;
        let (Some([real, simulated]), Some([idle, idle_simulated])) = (pair.throughput, pair.idle)
        else {
            return format!("{way}: nothing to compare, all runs were refused");
        };
        let percent = |share: f64| format!("{:.1}%", 100.0 * share);
        let causes = pair.causes.iter().map(|(cause, [real, simulated])| {
            format!("{cause} {} and {}", percent(*real), percent(*simulated))
        });
        let causes: Vec<String> = causes.collect();
        let causes = match causes.is_empty() {
            true => String::new(),
            false => format!("; of that for {}", causes.join(", ")),
        };
        let through = through(pair.runs);
        format!(
            "{way} makes {} samples/s, the simulator says {} ({}); idle {} against {} ({}){causes}{through}",
            short(real),
            short(simulated),
            verdict(real, simulated),
            percent(idle),
            percent(idle_simulated),
            verdict_in_points(idle, idle_simulated)
        )
    };
    let told: Vec<String> = all.iter().map(told).collect();
    format!("{}.", told.join(".\n"))
}

/// What tabs take beside native processes, for each sample: core-seconds, and joules, which are either measured or estimated.
pub(crate) fn hosts(
    core_seconds: Option<[Estimate; 2]>,
    measured: Option<[Estimate; 2]>,
    estimated: Option<[Estimate; 2]>,
) -> String {
    let Some(cores) = core_seconds else {
        return "One of the two was refused, so that there is nothing to compare.".to_owned();
    };
    let compared = |[native, tabs]: [Estimate; 2], scale: f64, unit: &str| {
        let told = |value: Estimate| {
            let (mean, half) = (short(scale * value.mean), short(scale * value.half_width));
            format!("{mean} ± {half}")
        };
        let seeds = native.seeds.min(tabs.seeds);
        let verdict = if !are_enough(seeds) {
            "seeds are too few to say which takes less".to_owned()
        } else if native.high() < tabs.low() {
            let times = short(tabs.mean / native.mean);
            format!("tabs take {times} times as much")
        } else if tabs.high() < native.low() {
            let times = short(native.mean / tabs.mean);
            format!("native processes take {times} times as much")
        } else {
            "intervals overlap, so that neither takes less".to_owned()
        };
        format!(
            "Natively a sample takes {} {unit}, in tabs {}{}: {verdict}.",
            told(native),
            told(tabs),
            few(seeds)
        )
    };
    let mut text = compared(cores, 1e3, "core-milliseconds");
    let joules = match (measured, estimated) {
        (Some(measured), _) => Some(compared(measured, 1.0, "J (measured)")),
        (None, Some(estimated)) => Some(compared(estimated, 1.0, "J (estimated)")),
        (None, None) => None,
    };
    if let Some(joules) = joules {
        text.push('\n');
        text.push_str(&joules);
    }
    text
}

/// What losing a device cost one way; what is told of it for real, then simulated.
pub(crate) struct Loss {
    pub(crate) way: String,
    pub(crate) trouble: Trouble,
    pub(crate) runs: usize,
    /// Runs that were refused, or could not go on.
    pub(crate) ended: usize,
    /// Seconds.
    pub(crate) lost: Option<(Estimate, Estimate)>,
    /// Steps made again.
    pub(crate) repeated: Option<(Estimate, Estimate)>,
}

/// What losses cost real devices, and what the simulator says they cost.
pub(crate) fn losses(all: &[Loss]) -> String {
    let told = |loss: &Loss| {
        let (way, what) = (&loss.way, loss.trouble.words());
        let (Some((lost, simulated)), Some((again, again_simulated))) = (loss.lost, loss.repeated)
        else {
            return format!("{way}, {what}: nothing to compare, no run came to its end");
        };
        let seconds = |v: Estimate| format!("{} ± {} s", short(v.mean), short(v.half_width));
        let verdict = match lost.low() > 0.0 && are_enough(lost.seeds) {
            true => verdict(lost.mean, simulated.mean),
            false => "too little to compare".to_owned(),
        };
        let basis = few(lost.seeds);
        let ended = match loss.ended {
            0 => String::new(),
            ended => format!("; {ended} of {} runs did not come to their end", loss.runs),
        };
        format!(
            "{way}, {what}: {} lost and {} steps made again, by the simulator {} and {} ({verdict}){basis}{ended}",
            seconds(lost),
            short(again.mean),
            seconds(simulated),
            short(again_simulated.mean)
        )
    };
    let all: Vec<String> = all.iter().map(told).collect();
    format!("{}.", all.join(".\n"))
}

/// What real peers of one way have learnt in the end, and what the simulator says of them; none where all runs were refused.
pub(crate) struct Taught {
    pub(crate) way: String,
    /// How many, and how many of them were refused.
    pub(crate) runs: [usize; 2],
    /// Updates.
    pub(crate) steps: u32,
    /// Shares of right answers, real and simulated.
    pub(crate) accuracy: Option<(Estimate, Estimate)>,
    /// By how much these differ at most, after any evaluation under any seed.
    pub(crate) apart: f64,
    /// Until then, real and simulated.
    pub(crate) seconds: Option<(Estimate, Estimate)>,
}

/// Whether real peers learn what the simulator says, and as fast.
pub(crate) fn taught(all: &[Taught]) -> String {
    let told = |one: &Taught| {
        let way = &one.way;
        let (Some((right, right_simulated)), Some((seconds, seconds_simulated))) =
            (one.accuracy, one.seconds)
        else {
            return format!("{way}: nothing to compare, all runs were refused");
        };
        let percent = |v: Estimate| {
            let [mean, half] = [v.mean, v.half_width].map(|share| 100.0 * share);
            format!("{mean:.1} ± {half:.1}%")
        };
        let apart = if one.apart > 0.0 {
            let points = short(100.0 * one.apart);
            format!("never more than {points} points apart under the same seed")
        } else {
            "the same after every evaluation of each seed".to_owned()
        };
        format!(
            "{way}: {} read right after {} steps, simulated {} ({apart}); in {} ± {} s, simulated {} ({}){}",
            percent(right),
            one.steps,
            percent(right_simulated),
            short(seconds.mean),
            short(seconds.half_width),
            short(seconds_simulated.mean),
            verdict(seconds.mean, seconds_simulated.mean),
            through(one.runs)
        )
    };
    let all: Vec<String> = all.iter().map(told).collect();
    format!("{}.", all.join(".\n"))
}
