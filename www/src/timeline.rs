//! The timeline: a row for each device of the ring, with what it computed and what reached it in the same stretch of time.
//! Laid out here as SVG; colours and patterns are the style sheet's.

use crate::words;
use ringtmp_core::signal::{MemberView, RoomView};
use ringtmp_core::time::Time;
use ringtmp_core::trace::{Activity, Mark, Report, Shares, TIMELINE_MAX, Timeline};
use ringtmp_peer::View;
use std::fmt::Write;
use std::time::Duration;

/// Timelines that end this much before the newest belong to devices that have fallen silent.
pub(crate) const SILENT_AFTER: Duration = Duration::from_millis(2_500);

/// A task is drawn at least so wide on average, in pixels: the stretch of time is cut so that it is.
const TASK_WIDTH: f64 = 9.0;

/// Where the rows begin and how much is free after their end, in pixels.
const LEFT: f64 = 34.0;
const RIGHT: f64 = 1.0;

/// Heights in pixels: of the tasks of a row, of each kind of what reaches it, of a row with the gap after it, of the axis.
const LANE: f64 = 26.0;
const STRIP: f64 = 5.0;
const ROW: f64 = 50.0;
const AXIS: f64 = 22.0;

/// A task so wide has a letter, a wider one its micro-batch as well.
const LETTER_WIDTH: f64 = 15.0;
const NUMBER_WIDTH: f64 = 38.0;

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct TimelineDrawing {
    rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq)]
struct Row {
    number: usize,
    mine: bool,
    timeline: Timeline,
}

/// A stretch of the room's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    from: Time,
    until: Time,
}

impl TimelineDrawing {
    /// Of the devices in the order of their plan; nothing without one.
    pub fn new(view: &View) -> Option<Self> {
        let room = view.room.as_ref()?;
        let order = room.plan.as_ref()?.order();
        let row = |(i, peer)| {
            let report = member(room, peer).and_then(|member| member.report.as_ref());
            let timeline = report.map(|report| report.timeline.clone());
            Row {
                number: i + 1,
                mine: view.me == Some(peer),
                timeline: timeline.unwrap_or_default(),
            }
        };
        let rows = order.iter().copied().enumerate().map(row).collect();
        Some(Self { rows })
    }

    /// The height of the drawing in pixels, which does not depend on what is drawn, so that nothing on the page moves.
    pub fn height(&self) -> f64 {
        ROW * self.rows.len() as f64 + AXIS
    }

    /// As SVG of so many pixels; nothing where there is no room.
    pub fn draw(&self, width: u32) -> Option<String> {
        let (width, height) = (f64::from(width), self.height());
        let inner = width - LEFT - RIGHT;
        if inner < 60.0 {
            return None;
        }
        let mut svg = format!(
            "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" aria-hidden=\"true\" focusable=\"false\">"
        );
        let stretch = self.stretch(inner);
        for (i, row) in self.rows.iter().enumerate() {
            let top = ROW * i as f64;
            row.draw(&mut svg, top, inner, stretch);
        }
        if let Some(stretch) = stretch {
            draw_axis(&mut svg, stretch, inner, height);
        }
        svg.push_str("</svg>");
        Some(svg)
    }

    /// The newest stretch of time that all devices tell of which are not silent, short enough for tasks to be told apart.
    fn stretch(&self, inner: f64) -> Option<Stretch> {
        let told = || {
            let timelines = self.rows.iter().map(|row| &row.timeline);
            timelines.filter(|timeline| !timeline.marks.is_empty())
        };
        let newest = told().map(|timeline| timeline.until).max()?;
        let speaking = || told().filter(|timeline| newest.since(timeline.until) < SILENT_AFTER);
        let until = speaking().map(|timeline| timeline.until).min()?;
        let begin = |timeline: &Timeline| timeline.until - microseconds(timeline.covers_us);
        let from = speaking().map(begin).max()?.max(until - TIMELINE_MAX);
        let tasks_max = (inner / TASK_WIDTH).max(8.0) as usize;
        // Where timelines do not meet, each is drawn where it lies.
        let from = if from < until {
            from
        } else {
            speaking().map(begin).min()?
        };
        let busiest = speaking().map(|timeline| nth_task_before(timeline, until, tasks_max));
        let from = busiest.flatten().fold(from, Time::max);
        (from < until).then_some(Stretch { from, until })
    }
}

/// When the task began that is the `count`th from the last before `until`.
pub(crate) fn nth_task_before(timeline: &Timeline, until: Time, count: usize) -> Option<Time> {
    let begin = |mark: &Mark| timeline.until - microseconds(mark.1);
    let tasks = timeline.marks.iter().rev().filter(|mark| mark.0.is_task());
    tasks.map(begin).filter(|begin| *begin < until).nth(count)
}

pub(crate) fn microseconds(us: u32) -> Duration {
    Duration::from_micros(u64::from(us))
}

fn member(room: &RoomView, peer: ringtmp_core::ids::PeerId) -> Option<&MemberView> {
    room.members.iter().find(|member| member.peer == peer)
}

impl Row {
    fn draw(&self, svg: &mut String, top: f64, inner: f64, stretch: Option<Stretch>) {
        let middle = top + LANE / 2.0;
        let class = if self.mine { "row mine" } else { "row" };
        let number = self.number;
        push(
            svg,
            format_args!(
                "<g class=\"{class}\"><circle cx=\"13\" cy=\"{middle}\" r=\"12\"/><text class=\"number\" x=\"13\" y=\"{middle}\">{number}</text>\
                 <rect class=\"idle\" x=\"{LEFT}\" y=\"{top}\" width=\"{inner:.1}\" height=\"{LANE}\" rx=\"3\"/>"
            ),
        );
        if let Some(stretch) = stretch {
            for mark in &self.timeline.marks {
                self.draw_mark(svg, top, inner, stretch, mark);
            }
        }
        svg.push_str("</g>");
    }

    fn draw_mark(&self, svg: &mut String, top: f64, inner: f64, stretch: Stretch, mark: &Mark) {
        let Mark(activity, began, took, micro_batch) = *mark;
        let start = self.timeline.until - microseconds(began);
        let end = (start + microseconds(took)).min(stretch.until);
        let start = start.max(stretch.from);
        if end <= start {
            return;
        }
        let whole = stretch.until.since(stretch.from).as_secs_f64();
        let scale = |time: Time| LEFT + inner * time.since(stretch.from).as_secs_f64() / whole;
        let x = scale(start);
        let width = (scale(end) - x).max(0.6);
        let Some((class, strip)) = look(activity) else {
            return;
        };
        let (y, height) = match strip {
            // A little air, so that tasks that follow each other stay apart.
            None => (top, LANE),
            Some(strip) => (top + LANE + 2.0 + strip * (STRIP + 1.0), STRIP),
        };
        let shown = if strip.is_none() && width > 4.0 {
            width - 0.8
        } else {
            width
        };
        push(
            svg,
            format_args!(
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{shown:.1}\" height=\"{height}\" rx=\"{:.1}\"/>",
                (width / 4.0).min(2.0)
            ),
        );
        if strip.is_none() && width >= LETTER_WIDTH {
            let letter = letter(activity);
            let has_number = width >= NUMBER_WIDTH && activity != Activity::Update;
            let text = if has_number {
                format!(
                    "{letter}<tspan class=\"which\"> {}</tspan>",
                    micro_batch + 1
                )
            } else {
                letter.to_owned()
            };
            push(
                svg,
                format_args!(
                    "<text class=\"on\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
                    x + shown / 2.0,
                    y + height / 2.0
                ),
            );
        }
    }
}

/// The class of the style sheet, and on which strip below the tasks it lies if it is on its way.
const fn look(activity: Activity) -> Option<(&'static str, Option<f64>)> {
    match activity {
        Activity::Forward => Some(("forward", None)),
        Activity::Evaluate => Some(("evaluate", None)),
        Activity::BackwardInput => Some(("backward", None)),
        Activity::BackwardWeights => Some(("weights", None)),
        Activity::Update | Activity::Draw => Some(("update", None)),
        Activity::Activation | Activity::Samples | Activity::Weights => {
            Some(("activation", Some(0.0)))
        }
        Activity::Gradient => Some(("gradient", Some(1.0))),
        Activity::Release | Activity::WaitInput | Activity::WaitCredit | Activity::WaitWeights => {
            None
        }
    }
}

const fn letter(activity: Activity) -> &'static str {
    match activity {
        Activity::Forward => "F",
        Activity::Evaluate => "E",
        Activity::BackwardInput => "B",
        Activity::BackwardWeights => "W",
        Activity::Update => "U",
        Activity::Draw => "D",
        Activity::Activation
        | Activity::Samples
        | Activity::Gradient
        | Activity::Weights
        | Activity::Release
        | Activity::WaitInput
        | Activity::WaitCredit
        | Activity::WaitWeights => "",
    }
}

fn draw_axis(svg: &mut String, stretch: Stretch, inner: f64, height: f64) {
    let seconds = stretch.until.since(stretch.from).as_secs_f64();
    let step = tick_seconds(seconds, (inner / 90.0).max(1.0));
    let bottom = height - AXIS;
    let mut tick = 0.0;
    while tick <= seconds {
        let x = LEFT + inner * tick / seconds;
        let (anchor, label) = if tick == 0.0 {
            ("start", "0".to_owned())
        } else {
            ("middle", words::time_tick(tick))
        };
        push(
            svg,
            format_args!("<path class=\"tick\" d=\"M{x:.1} 0V{bottom:.1}\"/>"),
        );
        // What would run out of the picture is not written.
        if x + 30.0 < LEFT + inner || tick == 0.0 {
            push(
                svg,
                format_args!(
                    "<text class=\"time\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{label}</text>",
                    height - 4.0
                ),
            );
        }
        tick += step;
    }
}

/// A round time such that there are at most so many ticks.
fn tick_seconds(seconds: f64, ticks_max: f64) -> f64 {
    let least = (seconds / ticks_max).max(1e-6);
    let power = 10f64.powf(least.log10().floor());
    let round = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    round
        .into_iter()
        .find(|step| *step >= least)
        .unwrap_or(least)
}

fn push(svg: &mut String, words: std::fmt::Arguments<'_>) {
    svg.write_fmt(words).expect("a string takes all text");
}

/// How idle a device has been in this run, and what it mostly waited for, in words.
pub fn idle_words(report: &Report) -> (String, String) {
    let idle = words::idle(&crate::format::percent(report.run.idle() as f32));
    let detail = main_cause(&report.run).map_or("", |(words, _)| words);
    let late = report.paced.filter(|paced| paced.late > 0);
    let detail = late.map_or_else(
        || detail.to_owned(),
        |paced| words::paced_late(paced.late, paced.tasks),
    );
    (idle, detail)
}

/// What a device mostly waited for; nothing if it hardly did.
fn main_cause(shares: &Shares) -> Option<(&'static str, f64)> {
    let causes = [
        (words::WAITS_INPUT.now(), shares.input),
        (words::WAITS_LINK.now(), shares.link),
        (words::WAITS_CREDIT.now(), shares.credit),
        (words::WAITS_WEIGHTS.now(), shares.weights),
    ];
    let most = causes.into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    (most.1 >= 0.005).then_some(most)
}

/// The timeline in sentences, for those who do not see it.
pub fn summary(view: &View) -> String {
    let Some((room, order)) = view
        .room
        .as_ref()
        .and_then(|room| Some((room, room.plan.as_ref()?.order())))
    else {
        return String::new();
    };
    let sentence = |(i, peer): (usize, &ringtmp_core::ids::PeerId)| {
        let report = member(room, *peer)?.report.as_ref()?;
        let shares = &report.shares;
        let parts = [
            shares.forward,
            shares.backward_input,
            shares.backward_weights,
            shares.idle(),
        ];
        let [forward, backward, weights, idle] =
            parts.map(|share| crate::format::percent(share as f32));
        let number = i + 1;
        // Who has the whole model goes backward at once.
        Some(match room.team() {
            None => words::timeline_row(number, &forward, &backward, &weights, &idle),
            Some(_) => words::timeline_row_whole(number, &forward, &weights, &idle),
        })
    };
    let sentences: Vec<String> = order.iter().enumerate().filter_map(sentence).collect();
    sentences.join(" ")
}

#[cfg(test)]
mod tests;
