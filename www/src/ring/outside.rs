//! Who stands outside the ring: spares, which may step in with the next plan, and those who only watch.

use super::circle::Circle;
use crate::shown::MemberLine;
use crate::{format, words};
use ringtmp_core::signal::Role;
use ringtmp_peer::View;

/// The most devices of a kind that are drawn; the text counts all.
const DRAWN_MAX: usize = 6;
/// From the middle of one to that of the next.
const STEP: f64 = 22.0;
/// Between a kind and the next.
const GAP: f64 = 26.0;
/// Mean width of a letter.
const LETTER_WIDTH: f64 = 7.4;
/// The longest name.
const NAME_CHARS_MAX: usize = 16;

/// Why a device holds no layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bystanders {
    /// The plan does without it.
    Spares,
    /// It only watches.
    Watchers,
}

impl Bystanders {
    /// Its name for style sheets.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Spares => "spare",
            Self::Watchers => "watcher",
        }
    }
}

/// Devices of one kind, in a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Outside {
    /// Which kind.
    pub kind: Bystanders,
    /// Their middles.
    pub discs: Vec<(f64, f64)>,
    /// Where the text begins, at the middle of its height.
    pub text_at: (f64, f64),
    /// How many they are, or which it is.
    pub text: String,
}

/// Whoever is in the room of this view and not on the ring.
pub(super) fn of(
    view: &View,
    lines: &[MemberLine],
    on_ring: &[&MemberLine],
    circle: &Circle,
) -> Vec<Outside> {
    let watches = |line: &MemberLine| {
        let mut members = view.room.iter().flat_map(|room| &room.members);
        members.any(|member| member.peer == line.peer && member.role == Role::Spectator)
    };
    let outside = || {
        let is_inside = |line: &MemberLine| on_ring.iter().any(|other| other.peer == line.peer);
        lines.iter().filter(move |line| !is_inside(line))
    };
    let spares: Vec<_> = outside().filter(|line| !watches(line)).collect();
    let watchers: Vec<_> = outside().filter(|line| watches(line)).collect();
    let kinds = [
        (Bystanders::Spares, spares),
        (Bystanders::Watchers, watchers),
    ];
    let kinds: Vec<_> = kinds
        .into_iter()
        .filter(|(_, lines)| !lines.is_empty())
        .map(|(kind, lines)| (kind, lines.len(), text(kind, &lines)))
        .collect();
    let width = |(_, count, text): &(Bystanders, usize, String)| {
        (*count).min(DRAWN_MAX) as f64 * STEP + text.chars().count() as f64 * LETTER_WIDTH
    };
    let ((middle, y), _) = circle.outside();
    let whole: f64 = kinds.iter().map(width).sum::<f64>() + GAP * (kinds.len().max(1) - 1) as f64;
    let mut x = middle - whole / 2.0;
    let mut groups = Vec::new();
    for kind in kinds {
        let next = x + width(&kind) + GAP;
        let drawn = kind.1.min(DRAWN_MAX);
        groups.push(Outside {
            kind: kind.0,
            discs: (0..drawn)
                .map(|i| (x + STEP * (i as f64 + 0.5), y))
                .collect(),
            text_at: (x + STEP * drawn as f64 + 4.0, y),
            text: kind.2,
        });
        x = next;
    }
    groups
}

fn text(kind: Bystanders, lines: &[&MemberLine]) -> String {
    match (kind, lines) {
        (Bystanders::Spares, [one]) => {
            words::one_spare(&format::shorten(&one.name, NAME_CHARS_MAX))
        }
        (Bystanders::Spares, many) => words::spares(many.len()),
        (Bystanders::Watchers, many) => words::watching(many.len()),
    }
}
