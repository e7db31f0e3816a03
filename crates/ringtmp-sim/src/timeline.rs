//! The Gantt chart of a trace, as SVG.

use ringtmp_core::time::Time;
use ringtmp_core::trace::{Activity, Span};
use std::fmt::Write;

/// The most spans that are drawn: browsers show so many without trouble. Later ones are left out, and the title says so.
const SPANS_MAX: usize = 40_000;

const WIDTH: f64 = 1600.0;
const MARGIN: f64 = 60.0;
const LANE: f64 = 34.0;

/// Draws what happened from `start` to `end`: of each peer a lane with its tasks above and what it sends below; what is
/// left white is idle.
pub fn svg(spans: &[Span], start: Time, end: Time) -> String {
    let inside = |span: &&Span| span.end > start && span.start < end;
    let peers = spans.iter().map(|span| span.peer + 1).max().unwrap_or(0);
    let height = 40.0 + LANE * f64::from(peers);
    let width = WIDTH + MARGIN;
    let seconds = end.since(start).as_secs_f64();
    let drawn = spans.iter().filter(inside).count();
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{MARGIN}\" y=\"14\">{seconds:.3} s, {} of {drawn} spans: F, B, W, update, and below them what is sent; white is idle</text>\n",
        drawn.min(SPANS_MAX),
    );
    let legend = [
        Activity::Forward,
        Activity::BackwardInput,
        Activity::BackwardWeights,
        Activity::Update,
        Activity::Activation,
        Activity::Gradient,
    ];
    for (i, activity) in (0..).zip(legend) {
        let x = WIDTH - 560.0 + 100.0 * f64::from(i);
        let fill = colour(activity);
        let name = name(activity);
        push(
            &mut text,
            format_args!(
                "<rect x=\"{x}\" y=\"4\" width=\"12\" height=\"12\" fill=\"{fill}\"/><text x=\"{}\" y=\"14\">{name}</text>\n",
                x + 16.0
            ),
        );
    }
    for peer in 0..peers {
        let y = 24.0 + LANE * f64::from(peer) + 14.0;
        push(
            &mut text,
            format_args!("<text x=\"4\" y=\"{y}\">peer {peer}</text>\n"),
        );
    }
    for span in spans.iter().filter(inside).take(SPANS_MAX) {
        draw(&mut text, span, start, end);
    }
    text.push_str("</svg>\n");
    text
}

fn draw(text: &mut String, span: &Span, start: Time, end: Time) {
    if !span.activity.is_task() && !span.activity.is_transfer() {
        return;
    }
    let whole = end.since(start).as_micros().max(1) as f64;
    let scale =
        |time: Time| time.min(end).since(start).as_micros() as f64 / whole * (WIDTH - MARGIN);
    let (from, to) = (scale(span.start), scale(span.end));
    let (x, width) = (MARGIN + from, (to - from).max(0.1));
    let lane = 24.0 + LANE * f64::from(span.peer);
    let (y, height) = if span.activity.is_task() {
        (lane, 18.0)
    } else {
        (lane + 20.0, 5.0)
    };
    let fill = colour(span.activity);
    let title = title(span);
    push(
        text,
        format_args!(
            "<rect x=\"{x:.2}\" y=\"{y}\" width=\"{width:.2}\" height=\"{height}\" fill=\"{fill}\" stroke=\"#fff\" stroke-width=\"0.2\"><title>{title}</title></rect>\n"
        ),
    );
}

fn title(span: &Span) -> String {
    let mut title = name(span.activity).to_owned();
    let details = span.details;
    if let Some(step) = details.step {
        push(&mut title, format_args!(", step {step}"));
    }
    if let Some(sequence) = details.micro_batch {
        push(&mut title, format_args!(", micro-batch {sequence}"));
    }
    if let Some(version) = details.weight_version {
        push(&mut title, format_args!(", weights {version}"));
    }
    title
}

fn push(text: &mut String, words: std::fmt::Arguments<'_>) {
    text.write_fmt(words).expect("a string takes all text");
}

const fn name(activity: Activity) -> &'static str {
    match activity {
        Activity::Draw => "draw",
        Activity::Forward => "F",
        Activity::Evaluate => "evaluate",
        Activity::BackwardInput => "B",
        Activity::BackwardWeights => "W",
        Activity::Update => "update",
        Activity::Activation => "activation",
        Activity::Samples => "samples",
        Activity::Gradient => "gradient",
        Activity::Weights => "weights",
        Activity::Release => "release",
        Activity::WaitInput => "wait for input",
        Activity::WaitCredit => "wait for credit",
        Activity::WaitWeights => "wait for weights",
    }
}

/// Okabe and Ito's colours, which colour-blind readers tell apart.
const fn colour(activity: Activity) -> &'static str {
    match activity {
        Activity::Draw => "#f0e442",
        Activity::Forward => "#0072b2",
        Activity::Evaluate => "#cc79a7",
        Activity::BackwardInput => "#d55e00",
        Activity::BackwardWeights => "#009e73",
        Activity::Update => "#000000",
        Activity::Activation => "#56b4e9",
        Activity::Samples => "#f0e442",
        Activity::Gradient => "#e69f00",
        Activity::Weights => "#56b4e9",
        Activity::Release => "#999999",
        Activity::WaitInput | Activity::WaitCredit | Activity::WaitWeights => "#ffffff",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::simulate_checked;
    use crate::scenario::Scenario;
    use ringtmp_core::schedule::Mode;
    use ringtmp_core::trace::extent;

    #[test]
    fn every_task_and_transfer_is_drawn_once_and_waits_are_left_white() {
        let scenario = Scenario::equal(3, Mode::Sync, 4, 2, 1.0);
        let trace = simulate_checked(&scenario).expect("a sound run").trace;
        let (start, end) = extent(&trace);
        let svg = svg(&trace, start, end);
        let drawn = trace
            .iter()
            .filter(|span| span.activity.is_task() || span.activity.is_transfer())
            .filter(|span| span.end > start && span.start < end);
        assert_eq!(svg.matches("<title>").count(), drawn.count());
        assert!(svg.contains("white is idle"));
        assert!(svg.contains("W, step 1, micro-batch 3, weights 1"));
        assert!(svg.ends_with("</svg>\n"));
    }
}
