//! A digit drawn on the page: the strokes of a pen, whether they can be trained on, and what became of those before.

use crate::shown::{Computes, Phase, computes};
use crate::{format, words};
use ringtmp_core::signal::Role;
use ringtmp_peer::{Asked, DataSpec, FreshSample, FreshState, View};

/// The drawing's width and height, in its own unit.
pub const SIDE: u16 = 1000;

/// The most points of a drawing; what is drawn beyond is left out. Far more than a digit needs.
const POINTS_MAX: usize = 1500;

/// Points closer than this to the one before are left out: they would not be seen in a picture of 28 pixels.
const STEP_MIN: u16 = 6;

/// The strokes so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drawing {
    strokes: Vec<Vec<[u16; 2]>>,
}

impl Drawing {
    /// The pen is put down.
    pub fn begin(&mut self, point: [u16; 2]) {
        if self.points() < POINTS_MAX {
            self.strokes.push(vec![point]);
        }
    }

    /// The pen moves.
    pub fn extend(&mut self, point: [u16; 2]) {
        if self.points() >= POINTS_MAX {
            return;
        }
        let Some(stroke) = self.strokes.last_mut() else {
            return;
        };
        let near = |last: &[u16; 2]| {
            let moved = last.iter().zip(point).map(|(a, b)| a.abs_diff(b)).max();
            moved.is_some_and(|moved| moved < STEP_MIN)
        };
        if !stroke.last().is_some_and(near) {
            stroke.push(point);
        }
    }

    /// The last stroke as an SVG polyline has it. One of a single point is a dot.
    pub fn last_polyline(&self) -> String {
        let Some(stroke) = self.strokes.last() else {
            return String::new();
        };
        let dot = stroke.first().filter(|_| stroke.len() == 1);
        let points = stroke.iter().chain(dot).map(|[x, y]| format!("{x},{y}"));
        points.collect::<Vec<_>>().join(" ")
    }

    /// Whether nothing is drawn.
    pub fn is_empty(&self) -> bool {
        self.strokes.is_empty()
    }

    /// The strokes so far.
    pub fn strokes(&self) -> Vec<Vec<[u16; 2]>> {
        self.strokes.clone()
    }

    /// Hands the strokes over, and begins anew.
    pub fn take(&mut self) -> Vec<Vec<[u16; 2]>> {
        std::mem::take(&mut self.strokes)
    }

    fn points(&self) -> usize {
        self.strokes.iter().map(Vec::len).sum()
    }
}

/// Whether drawn digits can be trained on here now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// This run takes none, or there is no run yet.
    Never,
    /// Not now, and why.
    NotNow(&'static str),
    /// They can be asked about, but nothing trains on them.
    Asks,
    /// Yes.
    Ready,
}

impl Readiness {
    /// That of a page.
    pub fn of(phase: Phase, view: &View) -> Self {
        let data = view.run.as_ref().and_then(|run| run.data.parse().ok());
        let takes_digits = match data {
            Some(DataSpec::Digits | DataSpec::Idx { .. }) => true,
            Some(DataSpec::Addition | DataSpec::Text { .. } | DataSpec::Csv { .. }) | None => false,
        };
        if !takes_digits {
            return Self::Never;
        }
        if view.role == Role::Spectator {
            return Self::NotNow(words::DRAW_WATCHING.now());
        }
        let is_whole = computes(view) == Computes::Whole;
        match phase {
            Phase::Training => {}
            Phase::Paused if is_whole => {}
            Phase::Joining
            | Phase::Waiting
            | Phase::WarmingUp
            | Phase::Reconfiguring
            | Phase::Lacking => {
                return Self::NotNow(words::DRAW_BEFORE.now());
            }
            Phase::Paused => return Self::NotNow(words::DRAW_PAUSED.now()),
            Phase::Finished | Phase::Stopped => return Self::NotNow(words::DRAW_AFTER.now()),
            Phase::Refused | Phase::Broken | Phase::Left => return Self::Never,
        }
        if is_whole {
            return Self::Asks;
        }
        if view.room.as_ref().is_some_and(|room| room.team().is_some()) {
            return Self::NotNow(words::ASK_NO_MODEL.now());
        }
        let plan = view.room.as_ref().and_then(|room| room.ring());
        let stage = plan.zip(view.me).and_then(|(plan, me)| plan.stage_of(me));
        let source = plan
            .zip(stage)
            .and_then(|(plan, stage)| plan.source_of(stage));
        match source {
            Some(_) => Self::Ready,
            None => Self::NotNow(words::DRAW_NO_SOURCE.now()),
        }
    }
}

/// What the network takes a drawing for.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// In a sentence.
    pub sentence: String,
    /// How probable it holds each digit, in their order; none while the question is on its way.
    pub probabilities: Vec<f32>,
    /// The likeliest digit, of equal ones the first.
    pub likeliest: Option<usize>,
}

impl Verdict {
    /// That on a question.
    pub fn of(asked: &Asked) -> Self {
        let on_its_way = |sentence: String| Self {
            sentence,
            probabilities: Vec::new(),
            likeliest: None,
        };
        match asked {
            Asked::Waiting => on_its_way(words::ASK_WAITING.now().to_owned()),
            Asked::Entered { step } => on_its_way(words::ask_entered(&count(step + 1))),
            Asked::Answered {
                step,
                probabilities,
            } => {
                let mut best: Option<(usize, f32)> = None;
                for (digit, share) in probabilities.iter().copied().enumerate() {
                    if best.is_none_or(|(_, most)| share > most) {
                        best = Some((digit, share));
                    }
                }
                let (digit, share) = best.unwrap_or_default();
                Self {
                    // Updates before that step.
                    sentence: words::ask_answered(digit, &format::percent(share), &count(*step)),
                    probabilities: probabilities.clone(),
                    likeliest: best.map(|(digit, _)| digit),
                }
            }
        }
    }
}

fn count(number: u32) -> String {
    format::count(u64::from(number))
}

/// What became of a drawing.
pub fn line(sample: &FreshSample) -> String {
    match sample.state {
        FreshState::Waiting => words::draw_waiting(sample.label),
        // People count from 1.
        FreshState::Entered { step } => words::draw_entered(sample.label, step + 1),
        FreshState::Used { step } => words::draw_used(sample.label, step + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shown::{tests_team_view, tests_view};

    #[test]
    fn a_drawing_keeps_its_strokes_leaves_out_what_is_not_seen_and_has_an_end() {
        let mut drawing = Drawing::default();
        drawing.extend([1, 1]);
        assert!(drawing.is_empty(), "the pen is not down");
        drawing.begin([10, 20]);
        assert_eq!(drawing.last_polyline(), "10,20 10,20");
        drawing.extend([12, 21]);
        drawing.extend([40, 21]);
        assert_eq!(drawing.last_polyline(), "10,20 40,21");
        for i in 0..5000 {
            drawing.extend([if i % 2 == 0 { 0 } else { SIDE }, 0]);
        }
        drawing.begin([0, 0]);
        let strokes = drawing.take();
        assert_eq!(strokes.len(), 1);
        assert_eq!(strokes[0].len(), POINTS_MAX);
        assert!(drawing.is_empty());
    }

    #[test]
    fn a_worker_may_ask_about_drawings_in_a_pause_too_and_a_server_or_a_stage_without_samples_may_not()
     {
        let no_source = Readiness::NotNow(words::DRAW_NO_SOURCE.now());
        assert_eq!(Readiness::of(Phase::Training, &tests_view()), no_source);
        let mut team = tests_team_view(|_| {});
        assert_eq!(Readiness::of(Phase::Training, &team), Readiness::Asks);
        assert_eq!(Readiness::of(Phase::Paused, &team), Readiness::Asks);
        team.me = Some(ringtmp_core::ids::PeerId(2));
        let no_model = Readiness::NotNow(words::ASK_NO_MODEL.now());
        assert_eq!(Readiness::of(Phase::Training, &team), no_model);
    }

    #[test]
    fn the_verdict_names_the_likeliest_digit_and_how_probable_it_is() {
        let verdict = Verdict::of(&Asked::Answered {
            step: 1200,
            probabilities: vec![0.1, 0.625, 0.275],
        });
        assert_eq!(verdict.likeliest, Some(1));
        for part in ["a 1", "62.5%", "1,200"] {
            assert!(verdict.sentence.contains(part), "{}", verdict.sentence);
        }
        let waits = Verdict::of(&Asked::Entered { step: 41 });
        assert!(waits.sentence.contains("42") && waits.probabilities.is_empty());
    }

    #[test]
    fn what_became_of_a_drawing_is_said_with_its_step_counted_from_one() {
        let says = |state| line(&FreshSample { label: 7, state });
        assert!(says(FreshState::Waiting).contains('7'));
        assert!(says(FreshState::Entered { step: 411 }).contains("412"));
        assert!(says(FreshState::Used { step: 411 }).contains("412"));
    }
}
