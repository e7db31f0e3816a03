//! How people write digits: skeletons, several per class.
//!
//! A skeleton is a few strokes in the order a hand makes them. A stroke is a list of arcs: the curve runs smoothly through the
//! points of an arc, and the pen turns where one arc ends and the next begins.

/// Places that a stroke passes: x to the right and y down, in hundredths of the digit's height.
pub(super) type Arc = &'static [[i8; 2]];

/// What a pen draws without being lifted. The last point of an arc is where the next begins, and is written once.
pub(super) type Stroke = &'static [Arc];

/// One way to write a digit.
#[derive(Debug)]
pub(super) struct Style {
    /// How often this way is taken, relative to the others of the class.
    pub(super) share: u32,
    /// By how much the width is multiplied, at least and at most.
    pub(super) width: [f32; 2],
    /// The strokes, in order.
    pub(super) strokes: &'static [Stroke],
}

/// The most points in a stroke.
pub(super) const POINTS_MAX: usize = 16;

/// The most strokes in a digit.
pub(super) const STROKES_MAX: usize = 2;

/// The ways to write each digit.
pub(super) const STYLES: [&[Style]; 10] =
    [ZERO, ONE, TWO, THREE, FOUR, FIVE, SIX, SEVEN, EIGHT, NINE];

const fn style(share: u32, width: [f32; 2], strokes: &'static [Stroke]) -> Style {
    Style {
        share,
        width,
        strokes,
    }
}

/// Points `x y` with commas between them, a slash after a point where the pen turns.
macro_rules! stroke {
    ($($($x:literal $y:literal),+)/+) => {
        &[$(&[$([$x, $y]),+]),+]
    };
}

const ZERO: &[Style] = &[
    // An oval, begun at the top.
    style(
        6,
        [0.78, 1.51],
        &[stroke!(42 1, 17 16, 2 50, 7 86, 28 99, 53 84, 65 48, 59 14, 38 2)],
    ),
    // Begun and ended at the right of the top, the ends crossing.
    style(
        3,
        [0.78, 1.57],
        &[stroke!(54 4, 28 6, 6 36, 4 76, 24 98, 51 84, 64 46, 53 10, 26 2)],
    ),
    // Begun with a stroke inside.
    style(
        1,
        [0.90, 1.46],
        &[stroke!(30 24, 34 4, 10 28, 2 66, 18 98, 49 86, 62 44, 51 8, 28 4)],
    ),
];

const ONE: &[Style] = &[
    // A line.
    style(12, [0.50, 1.50], &[stroke!(3 0, 0 50, -3 100)]),
    // A leaning line.
    style(3, [0.6, 1.6], &[stroke!(40 0, 20 50, 0 100)]),
    // With a flag.
    style(2, [0.70, 1.30], &[stroke!(-16 22, 5 0 / 1 50, -3 100)]),
    // With a flag and a base.
    style(
        1,
        [0.80, 1.40],
        &[stroke!(-18 22, 5 0 / 1 50, -3 100), stroke!(-27 100, 23 99)],
    ),
];

const TWO: &[Style] = &[
    // A straight base.
    style(
        4,
        [0.91, 1.60],
        &[stroke!(4 22, 16 5, 34 0, 52 10, 54 32, 38 62, 18 84, 2 97 / 30 96, 64 95)],
    ),
    // A loop at the foot.
    style(
        5,
        [0.91, 1.60],
        &[stroke!(4 18, 22 2, 44 2, 56 20, 48 48, 28 78, 10 96, 1 90, 10 78, 28 84, 46 96, 70 92)],
    ),
    // A wavy base without a loop.
    style(
        3,
        [0.91, 1.71],
        &[stroke!(6 16, 26 0, 48 8, 50 32, 34 60, 16 80, 2 94 / 20 88, 44 97, 68 90)],
    ),
    // A wide loop at the foot.
    style(
        3,
        [0.9, 1.5],
        &[stroke!(2 24, 14 4, 38 0, 52 16, 44 46, 24 80, 8 98, 0 89, 10 78, 28 86, 48 99, 66 92)],
    ),
    // A loop to the left of a slanting back.
    style(
        3,
        [0.9, 1.5],
        &[stroke!(12 14, 34 0, 54 10, 50 36, 34 66, 14 92, 2 96, 2 80, 20 76, 40 86, 62 88)],
    ),
    // A large hook at the top.
    style(
        2,
        [0.91, 1.48],
        &[stroke!(10 34, 2 18, 18 2, 44 4, 52 26, 40 54, 20 80, 0 98 / 32 94, 62 98)],
    ),
];

const THREE: &[Style] = &[
    // Two bows.
    style(
        5,
        [0.80, 1.43],
        &[stroke!(4 14, 24 1, 48 8, 50 28, 36 44, 20 48 / 46 54, 60 72, 46 94, 22 100, 2 90)],
    ),
    // A flat top.
    style(
        1,
        [0.85, 1.38],
        &[stroke!(2 4, 56 3 / 26 42 / 50 52, 60 74, 44 95, 20 100, 1 91)],
    ),
    // A small loop between the bows.
    style(
        2,
        [0.80, 1.38],
        &[stroke!(4 10, 28 0, 50 12, 44 34, 24 48, 20 42, 32 42, 54 56, 58 78, 40 97, 16 99, 2 90)],
    ),
    // Bows that hardly meet.
    style(
        2,
        [0.80, 1.43],
        &[stroke!(6 8, 32 0, 52 16, 42 38, 34 46, 46 54, 56 72, 42 94, 20 100, 0 94)],
    ),
];

const FOUR: &[Style] = &[
    // Open, round, in two strokes.
    style(
        5,
        [0.78, 1.46],
        &[
            stroke!(8 4, 2 30, 10 50, 32 53, 56 46),
            stroke!(58 0, 55 48, 48 100),
        ],
    ),
    // Open, angular, the bar crossing.
    style(
        5,
        [0.78, 1.51],
        &[
            stroke!(16 4, 8 30, 2 54 / 34 54, 68 50),
            stroke!(50 4, 47 50, 44 100),
        ],
    ),
    // Open, wide, on a short stem.
    style(
        3,
        [0.8, 1.6],
        &[
            stroke!(6 6, 3 32, 2 56 / 34 57, 72 52),
            stroke!(60 2, 58 50, 55 100),
        ],
    ),
    // Closed.
    style(
        2,
        [0.84, 1.34],
        &[
            stroke!(46 2, 24 34, 0 62 / 34 61, 68 58),
            stroke!(47 1, 46 50, 45 100),
        ],
    ),
    // In one stroke.
    style(
        2,
        [0.78, 1.46],
        &[stroke!(10 4, 3 30, 12 50, 36 48, 57 2 / 52 50, 47 100)],
    ),
    // Closed by a slanting stroke.
    style(
        1,
        [0.78, 1.34],
        &[
            stroke!(50 4, 26 20, 4 44, 20 52, 54 46),
            stroke!(52 4, 50 50, 46 100),
        ],
    ),
];

const FIVE: &[Style] = &[
    // The bar last.
    style(
        4,
        [0.84, 1.57],
        &[
            stroke!(17 6, 8 44 / 33 37, 56 52, 56 78, 33 98, -1 92),
            stroke!(15 6, 41 4, 69 0),
        ],
    ),
    // In one stroke with corners.
    style(
        4,
        [0.84, 1.57],
        &[stroke!(69 2, 43 4, 19 5 / 10 44 / 35 37, 56 52, 56 78, 33 98, -1 94)],
    ),
    // Like an S.
    style(
        3,
        [0.84, 1.46],
        &[stroke!(67 2, 37 3, 14 16, 19 38, 42 52, 53 74, 33 96, -1 94)],
    ),
    // A small bow.
    style(
        2,
        [0.90, 1.57],
        &[stroke!(71 3, 47 4, 27 6 / 16 48 / 36 46, 47 62, 38 88, 13 100, -2 88)],
    ),
];

const SIX: &[Style] = &[
    // A bent back.
    style(
        5,
        [0.90, 1.66],
        &[stroke!(46 0, 20 24, 4 60, 10 90, 34 99, 54 82, 48 58, 26 56, 8 74)],
    ),
    // A straight back.
    style(
        3,
        [0.90, 1.66],
        &[stroke!(30 0, 14 36, 4 74, 16 98, 40 94, 50 72, 34 58, 10 74)],
    ),
    // A hooked top.
    style(
        1,
        [1.02, 1.66],
        &[stroke!(56 8, 38 0, 12 28, 2 66, 14 96, 44 94, 54 70, 36 54, 6 72)],
    ),
    // A large round loop.
    style(
        3,
        [0.9, 1.5],
        &[stroke!(20 0, 7 34, 2 70, 12 96, 40 99, 60 80, 54 56, 34 52, 14 70, 12 90)],
    ),
    // A small loop, crossing the back.
    style(
        2,
        [0.90, 1.66],
        &[stroke!(38 0, 14 34, 6 76, 22 99, 46 88, 46 70, 28 68, 2 90)],
    ),
];

const SEVEN: &[Style] = &[
    // Two lines.
    style(5, [0.79, 1.47], &[stroke!(2 8, 30 6, 60 3 / 42 48, 28 100)]),
    // With a bar.
    style(
        2,
        [0.90, 1.47],
        &[
            stroke!(2 8, 30 5, 60 3 / 42 46, 28 100),
            stroke!(14 52, 62 46),
        ],
    ),
    // Begun with a serif.
    style(
        3,
        [0.79, 1.47],
        &[stroke!(0 22, 4 6 / 32 6, 60 3 / 40 48, 28 100)],
    ),
    // A long top.
    style(3, [1.0, 1.7], &[stroke!(0 10, 30 9, 60 6 / 34 50, 12 100)]),
    // A round shoulder.
    style(
        4,
        [0.79, 1.47],
        &[stroke!(0 16, 20 4, 46 2, 57 14, 46 46, 36 72, 28 100)],
    ),
];

const EIGHT: &[Style] = &[
    // An S and back.
    style(
        4,
        [0.75, 1.3],
        &[
            stroke!(52 10, 30 0, 8 14, 16 34, 36 48, 50 66, 48 90, 28 100, 8 88, 12 66, 34 46, 54 26, 50 6),
        ],
    ),
    // Two rings.
    style(
        2,
        [0.85, 1.4],
        &[
            stroke!(30 0, 10 12, 10 36, 30 46, 50 36, 50 12, 30 1),
            stroke!(30 46, 6 60, 4 84, 30 100, 56 86, 54 60, 30 47),
        ],
    ),
    // Open at the top right.
    style(
        3,
        [0.75, 1.3],
        &[stroke!(58 6, 36 1, 12 14, 22 38, 40 58, 43 84, 26 100, 8 86, 18 62, 42 36, 64 4)],
    ),
    // Begun at the top left and closed over the top.
    style(
        2,
        [0.75, 1.3],
        &[stroke!(8 4, 28 38, 46 70, 40 94, 22 100, 10 84, 24 56, 50 22, 48 4, 28 0, 6 8)],
    ),
    // A narrow foot.
    style(
        3,
        [0.75, 1.4],
        &[
            stroke!(56 12, 34 0, 8 10, 14 32, 36 50, 43 72, 38 95, 24 99, 17 84, 27 60, 46 38, 58 18, 48 3),
        ],
    ),
    // Begun in the middle.
    style(
        1,
        [0.75, 1.3],
        &[stroke!(34 46, 10 30, 14 6, 40 0, 52 20, 34 46, 8 70, 10 94, 36 99, 52 78, 32 48)],
    ),
];

const NINE: &[Style] = &[
    // A round loop and a straight stem.
    style(
        5,
        [0.8, 1.4],
        &[stroke!(52 14, 36 0, 12 6, 4 26, 16 42, 38 36, 53 12 / 52 54, 48 100)],
    ),
    // A wide loop.
    style(
        3,
        [0.8, 1.5],
        &[stroke!(56 8, 30 0, 6 14, 8 36, 32 42, 52 28, 60 6 / 59 50, 56 100)],
    ),
    // A curved tail.
    style(
        2,
        [0.8, 1.4],
        &[stroke!(52 14, 30 1, 6 18, 10 42, 34 42, 53 12 / 56 46, 44 86, 20 100, 4 90)],
    ),
    // A loop that runs on into the stem.
    style(
        3,
        [0.8, 1.4],
        &[stroke!(44 44, 16 46, 4 28, 18 4, 42 2, 53 20, 50 56, 44 100)],
    ),
    // A slanting stem.
    style(
        4,
        [0.8, 1.4],
        &[stroke!(50 6, 24 2, 4 22, 10 42, 34 34, 54 4 / 44 50, 32 100)],
    ),
    // A loop and a stem that do not meet.
    style(
        2,
        [0.8, 1.5],
        &[
            stroke!(56 8, 32 0, 6 14, 8 36, 30 42, 54 30),
            stroke!(57 6, 57 50, 54 100),
        ],
    ),
    // A small loop on a long stem.
    style(
        2,
        [0.8, 1.5],
        &[stroke!(42 6, 22 1, 4 14, 8 32, 28 32, 44 8 / 42 54, 36 100)],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_skeleton_fits_its_bounds_and_fills_the_height_of_a_digit() {
        for (digit, styles) in STYLES.iter().enumerate() {
            assert!(
                styles
                    .iter()
                    .all(|style| style.share > 0 && style.width[0] > 0.0)
            );
            for style in *styles {
                assert!(
                    (1..=STROKES_MAX).contains(&style.strokes.len()),
                    "{digit}: {style:?}"
                );
                for stroke in style.strokes {
                    let points = stroke.concat().len();
                    assert!(
                        (2..=POINTS_MAX).contains(&points),
                        "{digit}: {points} points"
                    );
                }
                let heights = || {
                    style
                        .strokes
                        .iter()
                        .flat_map(|stroke| stroke.concat())
                        .map(|[_, y]| y)
                };
                assert!(
                    heights().min() <= Some(6) && heights().max() >= Some(96),
                    "{digit}: {style:?}"
                );
            }
        }
    }
}
