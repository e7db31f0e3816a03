//! What the network writes on from a start: whether it can be asked here now, and what is shown of it.

use crate::drawing::Readiness;
use crate::shown::{Computes, Phase, computes};
use crate::words::Text;
use crate::{format, words};
use ringtmp_core::signal::Role;
use ringtmp_peer::{
    DataSpec, START_CHARACTERS_MAX, View, Writing, WritingRefusal, WritingState, Written,
};

/// What a run's network writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The digits of sums.
    Sums,
    /// Text.
    Text,
}

impl Kind {
    /// That of the run in a view; none where its samples are no text.
    pub fn of(view: &View) -> Option<Self> {
        match view.run.as_ref()?.data.parse().ok()? {
            DataSpec::Addition => Some(Self::Sums),
            DataSpec::Text { .. } => Some(Self::Text),
            DataSpec::Digits | DataSpec::Idx { .. } | DataSpec::Csv { .. } => None,
        }
    }

    /// How it is written, by a ring or by a device that has the whole model.
    pub fn hint(self, whole: bool) -> Text {
        match (self, whole) {
            (Self::Sums, false) => words::WRITE_SUM_HINT,
            (Self::Sums, true) => words::WRITE_SUM_WHOLE_HINT,
            (Self::Text, false) => words::WRITE_HINT,
            (Self::Text, true) => words::WRITE_WHOLE_HINT,
        }
    }

    /// What was typed, as the network takes it: a sum is asked with an equals sign and without spaces.
    pub fn start(self, typed: &str) -> String {
        if self == Self::Text {
            return typed.to_owned();
        }
        let mut sum: String = typed.chars().filter(|c| !c.is_whitespace()).collect();
        if !sum.is_empty() && !sum.contains('=') {
            sum.push('=');
        }
        sum
    }
}

/// Whether a start can be typed on a page now.
pub fn readiness(phase: Phase, view: &View) -> Readiness {
    if Kind::of(view).is_none() {
        return Readiness::Never;
    }
    if view.role == Role::Spectator {
        return Readiness::NotNow(words::WRITE_WATCHING.now());
    }
    let computes = computes(view);
    match phase {
        Phase::Training => {}
        Phase::Paused if computes == Computes::Whole => {}
        Phase::Joining
        | Phase::Waiting
        | Phase::WarmingUp
        | Phase::Reconfiguring
        | Phase::Lacking => return Readiness::NotNow(words::WRITE_BEFORE.now()),
        Phase::Paused => return Readiness::NotNow(words::WRITE_PAUSED.now()),
        Phase::Finished | Phase::Stopped => return Readiness::NotNow(words::WRITE_AFTER.now()),
        Phase::Refused | Phase::Broken | Phase::Left => return Readiness::Never,
    }
    match (computes, view.room.as_ref().and_then(|room| room.team())) {
        (Computes::Stage | Computes::Whole, _) => Readiness::Ready,
        (Computes::Nothing, Some(_)) => Readiness::NotNow(words::ASK_NO_MODEL.now()),
        (Computes::Nothing, None) => Readiness::NotNow(words::WRITE_NO_STAGE.now()),
    }
}

/// A text with its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// As it was typed.
    pub start: String,
    /// What the network wrote.
    pub text: String,
    /// Of a sum, whether that is right.
    pub is_right: Option<bool>,
    /// After how many steps, for people.
    pub steps: String,
}

/// What is shown of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sheet {
    /// How it stands, said aloud to who cannot see it.
    pub status: String,
    /// The newest text, as far as it is written.
    pub newest: Line,
    /// Whether another character is to come.
    pub writes: bool,
    /// Whether there is something to stop.
    pub stops: bool,
    /// Whether the status is that nothing can be written.
    pub refused: bool,
    /// Those that are written, the newest first.
    pub written: Vec<Line>,
}

impl Sheet {
    /// That of what a device writes.
    pub fn of(kind: Kind, writing: &Writing) -> Self {
        let line = |written: &Written| Line {
            start: writing.start.clone(),
            text: written.text.clone(),
            is_right: is_right(kind, &writing.start, &written.text),
            steps: steps(written),
        };
        let mut sheet = Self {
            written: writing.written.iter().rev().map(line).collect(),
            ..Self::default()
        };
        sheet.newest.start.clone_from(&writing.start);
        match &writing.state {
            WritingState::Opening => words::WRITE_OPENING.now().clone_into(&mut sheet.status),
            WritingState::Writes { text, .. } => {
                let status = match text.is_empty() {
                    true => words::WRITE_ON_ITS_WAY,
                    false => words::WRITE_WRITES,
                };
                status.now().clone_into(&mut sheet.status);
                sheet.newest.text.clone_from(text);
                (sheet.writes, sheet.stops) = (true, true);
            }
            WritingState::Rests { again_after } => {
                sheet.stops = again_after.is_some();
                let Some(newest) = sheet.written.first() else {
                    words::WRITE_RESTS.now().clone_into(&mut sheet.status);
                    return sheet;
                };
                sheet.newest = newest.clone();
                let whole = format!("{}{}", newest.start, newest.text);
                sheet.status = words::write_done(&newest.steps, &whole);
                if let Some(step) = again_after {
                    let again = words::write_again_after(&count(step + 1));
                    sheet.status = format!("{} {again}", format::sentence(&sheet.status));
                }
            }
            WritingState::Refused { why } => {
                sheet.status = refusal(why);
                sheet.refused = true;
            }
        }
        sheet
    }
}

/// Updates before its first and its last character.
fn steps(written: &Written) -> String {
    match written.first == written.last {
        true => count(written.last),
        false => format!("{}–{}", count(written.first), count(written.last)),
    }
}

fn count(number: u32) -> String {
    format::count(u64::from(number))
}

/// Whether a sum was added up right; none of what is no sum.
fn is_right(kind: Kind, start: &str, text: &str) -> Option<bool> {
    if kind == Kind::Text {
        return None;
    }
    let (sum, begun) = start.split_once('=')?;
    let (a, b) = sum.split_once('+')?;
    let sum = a.parse::<u32>().ok()?.checked_add(b.parse().ok()?)?;
    Some(format!("{begun}{text}") == sum.to_string())
}

fn refusal(why: &WritingRefusal) -> String {
    match why {
        WritingRefusal::Empty => words::WRITE_EMPTY.now().to_owned(),
        WritingRefusal::TooLong => words::write_too_long(START_CHARACTERS_MAX),
        WritingRefusal::Stranger { character } => {
            words::write_stranger(&format!("“{}”", character.escape_debug()))
        }
        WritingRefusal::NoText => words::WRITE_NO_TEXT.now().to_owned(),
        WritingRefusal::TooManyCharacters { characters } => {
            words::write_too_many(&count(*characters))
        }
        WritingRefusal::Watches => words::WRITE_WATCHING.now().to_owned(),
        WritingRefusal::NoData { reason } => words::write_no_data(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shown::{tests_team_view, tests_view as view};

    fn writing(state: WritingState) -> Writing {
        let written = |text: &str, first, last| Written {
            text: text.to_owned(),
            first,
            last,
        };
        Writing {
            start: "17+25=".to_owned(),
            state,
            written: vec![written("11", 3, 5), written("42", 1200, 1200)],
        }
    }

    #[test]
    fn what_is_written_stands_with_its_steps_the_newest_first_and_sums_are_checked() {
        let rests = writing(WritingState::Rests {
            again_after: Some(1299),
        });
        let sheet = Sheet::of(Kind::Sums, &rests);
        for part in ["1,200", "17+25=42", "1,300"] {
            assert!(sheet.status.contains(part), "{}", sheet.status);
        }
        assert!(sheet.stops && !sheet.writes);
        let lines = |line: &Line| (line.text.clone(), line.is_right, line.steps.clone());
        let lines: Vec<_> = sheet.written.iter().map(lines).collect();
        let of = |text: &str, right, steps: &str| (text.to_owned(), Some(right), steps.to_owned());
        assert_eq!(lines, [of("42", true, "1,200"), of("11", false, "3–5")]);
        assert_eq!(sheet.newest, sheet.written[0]);
        let writes = WritingState::Writes {
            text: "4".to_owned(),
            most: 4,
        };
        let sheet = Sheet::of(Kind::Text, &writing(writes));
        assert!(sheet.writes && sheet.newest.text == "4");
        assert_eq!(sheet.written[0].is_right, None);
    }

    #[test]
    fn sums_are_asked_as_the_network_knows_them() {
        assert_eq!(Kind::Sums.start(" 17 + 25 "), "17+25=");
        assert_eq!(Kind::Sums.start("17+25=4"), "17+25=4");
        assert_eq!(Kind::Sums.start(" "), "");
        assert_eq!(Kind::Text.start(" a "), " a ");
        assert_eq!(is_right(Kind::Sums, "17+25=4", "2"), Some(true));
        assert_eq!(is_right(Kind::Sums, "17+", "25"), None);
    }

    #[test]
    fn every_stage_of_a_ring_that_trains_on_text_may_ask_and_nobody_else() {
        let mut view = view();
        assert_eq!(readiness(Phase::Training, &view), Readiness::Never);
        let run = view.run.as_mut().expect("a run");
        "addition".clone_into(&mut run.data);
        assert_eq!(readiness(Phase::Training, &view), Readiness::Ready);
        let says = |phase, view: &View| match readiness(phase, view) {
            Readiness::NotNow(why) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(says(Phase::Paused, &view), words::WRITE_PAUSED.now());
        assert_eq!(says(Phase::Finished, &view), words::WRITE_AFTER.now());
        view.me = Some(ringtmp_core::ids::PeerId(9));
        assert_eq!(says(Phase::Training, &view), words::WRITE_NO_STAGE.now());
        view.role = Role::Spectator;
        assert_eq!(says(Phase::Training, &view), words::WRITE_WATCHING.now());
    }

    #[test]
    fn whoever_has_the_whole_model_may_ask_in_a_pause_too_and_a_server_may_not() {
        let mut view = tests_team_view(|_| {});
        let run = view.run.as_mut().expect("a run");
        "addition".clone_into(&mut run.data);
        for phase in [Phase::Training, Phase::Paused] {
            assert_eq!(readiness(phase, &view), Readiness::Ready);
        }
        assert_ne!(Kind::Sums.hint(true), Kind::Sums.hint(false));
        view.me = Some(ringtmp_core::ids::PeerId(2));
        let no_model = Readiness::NotNow(words::ASK_NO_MODEL.now());
        assert_eq!(readiness(Phase::Training, &view), no_model);
    }
}
