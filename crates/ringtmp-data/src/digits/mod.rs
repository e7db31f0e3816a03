//! Digits, drawn.
//!
//! A sample begins as one of the skeletons in [`style`], is bent as hands bend it (control points moved, parts stretched,
//! an elastic field, slant and rotation), gets a pen with a width and a pressure, and is then normalised as the files
//! of MNIST are (LeCun, Bottou, Bengio and Haffner, 1998): scaled to fit a box of 20 by 20 pixels, and moved by whole pixels
//! until its centre of mass is within half a pixel of the middle of 28 by 28.
//!
//! The amounts (how far things are bent, how wide pens are) were set by comparing the quantiles of ink, slant and width
//! per class with those of MNIST's test images, and by the share of these images that a perceptron trained on drawn
//! digits alone reads.

mod drawing;
mod raster;
mod style;

pub use drawing::{DRAWING_POINTS_MAX, DrawingError, picture};

use crate::random::Draws;
use raster::Node;
use style::{POINTS_MAX, STROKES_MAX, STYLES, Stroke, Style};

/// Pixels in a row, and rows.
pub(crate) const SIDE: usize = 28;

/// Pixels in a picture.
pub(crate) const PIXELS: usize = SIDE * SIDE;

/// Draws one way to write `digit` (0 to 9) into `pixels` (28 x 28, row-major, 0 to 255).
pub(crate) fn draw(digit: usize, draws: &mut Draws, pixels: &mut [u8; PIXELS]) {
    let mut path = Path::new();
    path.write(digit, draws);
    path.press(draws);
    fit(&mut path.nodes[..path.length]);
    raster::ink(&path.nodes[..path.length], draws.between(0.9, 1.6), pixels);
    raster::centre(pixels);
}

/// The way of a pen: first in units of the digit's height around its middle, then in pixels.
struct Path {
    nodes: [Node; NODES_MAX],
    length: usize,
}

/// Straight pieces between two control points; at the size of a picture each is then one to two pixels long.
const PIECES: usize = 4;

/// The most nodes a path can have.
const NODES_MAX: usize = STROKES_MAX * POINTS_MAX * PIECES;

/// The box that the digit fits into, in pixels.
const BOX: f32 = 20.0;

impl Path {
    fn new() -> Self {
        Self {
            nodes: [Node::default(); NODES_MAX],
            length: 0,
        }
    }

    /// Puts the strokes of one style, bent, into the path. Unit: the height of the undistorted digit.
    fn write(&mut self, digit: usize, draws: &mut Draws) {
        let style = choose(STYLES[digit], draws);
        let hand = Hand::new(style.width, draws);
        for stroke in style.strokes {
            self.stroke(stroke, &hand, draws);
        }
    }

    fn stroke(&mut self, arcs: Stroke, hand: &Hand, draws: &mut Draws) {
        let mut points = [[0.0; 2]; POINTS_MAX];
        let mut turns = [false; POINTS_MAX];
        let mut count = 0;
        for arc in arcs {
            for [x, y] in *arc {
                points[count] = [0.01 * f32::from(*x) - 0.3, 0.01 * f32::from(*y) - 0.5];
                count += 1;
            }
            turns[count - 1] = true;
        }
        let last = count - 1;
        // Where a stroke begins and ends varies more than where it passes.
        for (i, point) in points[..count].iter_mut().enumerate() {
            let amount = hand.jitter * if i == 0 || i == last { 1.6 } else { 1.0 };
            *point = point.map(|place| place + amount * draws.bell());
        }
        self.push(hand.bend(points[0]), false);
        for i in 0..last {
            let (from, to) = (points[i], points[i + 1]);
            let before = if i == 0 || turns[i] {
                from
            } else {
                points[i - 1]
            };
            let after = if turns[i + 1] { to } else { points[i + 2] };
            for piece in 1..=PIECES {
                let t = piece as f32 / PIECES as f32;
                self.push(hand.bend(catmull_rom([before, from, to, after], t)), true);
            }
        }
    }

    fn push(&mut self, [x, y]: [f32; 2], inked: bool) {
        self.nodes[self.length] = Node {
            x,
            y,
            radius: 0.0,
            inked,
        };
        self.length += 1;
    }

    /// Gives the pen a width, in pixels of the finished picture, that varies along the path.
    fn press(&mut self, draws: &mut Draws) {
        let heavy = draws.unit();
        let radius = 0.80 + 1.15 * heavy * heavy * heavy + 0.35 * draws.unit();
        let (start, middle, end) = (draws.bell(), draws.bell(), draws.bell());
        let length = self.length as f32;
        for (i, node) in self.nodes[..self.length].iter_mut().enumerate() {
            let t = i as f32 / length;
            let pressure =
                start * (1.0 - t) * (1.0 - t) + 2.0 * middle * t * (1.0 - t) + end * t * t;
            node.radius = radius * (1.0 + 0.12 * pressure + 0.03 * draws.bell());
        }
    }
}

/// Scales the way of a pen, with its ink, to the box in the middle of the picture.
fn fit(nodes: &mut [Node]) {
    let (mut low, mut high) = ([f32::MAX; 2], [f32::MIN; 2]);
    let mut thick: f32 = 0.0;
    for node in nodes.iter() {
        low = [low[0].min(node.x), low[1].min(node.y)];
        high = [high[0].max(node.x), high[1].max(node.y)];
        thick = thick.max(node.radius);
    }
    let extent = (high[0] - low[0]).max(high[1] - low[1]).max(1.0e-3);
    let scale = (BOX - 2.0 * thick) / extent;
    let middle = 0.5 * SIDE as f32;
    for node in nodes {
        node.x = middle + scale * (node.x - 0.5 * (low[0] + high[0]));
        node.y = middle + scale * (node.y - 0.5 * (low[1] + high[1]));
    }
}

/// One of the styles, each as often as its share says.
fn choose<'a>(styles: &'a [Style], draws: &mut Draws) -> &'a Style {
    let shares = styles.iter().map(|style| style.share).sum();
    let place = draws.below(shares);
    let mut end = 0;
    styles
        .iter()
        .find(|style| {
            end += style.share;
            place < end
        })
        .expect("a draw below the sum of all shares falls into one of them")
}

/// A point of the curve that runs smoothly through the second and third of four points (Catmull and Rom, 1974).
fn catmull_rom(points: [[f32; 2]; 4], t: f32) -> [f32; 2] {
    std::array::from_fn(|axis| {
        let [a, b, c, d] = points.map(|point| point[axis]);
        let linear = c - a;
        let square = 2.0 * a - 5.0 * b + 4.0 * c - d;
        let cubic = 3.0 * (b - c) + d - a;
        b + 0.5 * t * (linear + t * (square + t * cubic))
    })
}

/// What a hand does to a whole digit. Units: the height of the undistorted digit, its middle at (0, 0).
struct Hand {
    /// Standard deviation of a control point's move.
    jitter: f32,
    /// How much the upper half grows at the cost of the lower one, and the left at the cost of the right.
    stretch: [f32; 2],
    /// How much wider the lower end is than the upper one.
    taper: f32,
    /// The matrix of width, slant and rotation, row by row.
    matrix: [[f32; 2]; 2],
    /// Moves at the corners of a grid that covers the digit: an elastic field.
    field: [[[f32; 2]; FIELD]; FIELD],
}

/// Corners of the elastic field on each side.
const FIELD: usize = 5;

impl Hand {
    fn new(width: [f32; 2], draws: &mut Draws) -> Self {
        let jitter = draws.between(0.006, 0.028);
        let stretch = [
            0.25 * draws.bell().clamp(-2.0, 2.0),
            0.18 * draws.bell().clamp(-2.0, 2.0),
        ];
        let taper = 0.3 * draws.bell();
        let width = draws.between(width[0], width[1]) * (1.0 + 0.13 * draws.bell());
        let slant = 0.09 + 0.25 * draws.bell();
        // The tangent of half the angle gives a rotation without calling sine and cosine.
        let half = 0.06 * draws.bell();
        let unit = 1.0 / (1.0 + half * half);
        let (cosine, sine) = ((1.0 - half * half) * unit, 2.0 * half * unit);
        let matrix = [
            [cosine * width, -cosine * slant - sine],
            [sine * width, cosine - sine * slant],
        ];
        let strength = draws.between(0.02, 0.11);
        let field = std::array::from_fn(|_| {
            std::array::from_fn(|_| [strength * draws.bell(), strength * draws.bell()])
        });
        Self {
            jitter,
            stretch,
            taper,
            matrix,
            field,
        }
    }

    /// Where a point of the skeleton comes to lie.
    fn bend(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let tall = y + self.stretch[0] * (0.25 - y * y);
        let wide = (x + self.stretch[1] * (0.09 - x * x)) * (1.0 + self.taper * y);
        let [moved_x, moved_y] = self.elastic(wide, tall);
        let (x, y) = (wide + moved_x, tall + moved_y);
        self.matrix.map(|row| row[0] * x + row[1] * y)
    }

    /// The elastic field at a point: a quadratic B-spline over its grid, without a kink anywhere.
    fn elastic(&self, x: f32, y: f32) -> [f32; 2] {
        let (column, across) = cell(x);
        let (row, down) = cell(y);
        let mut moved = [0.0; 2];
        for (line, v) in self.field[row..].iter().zip(down) {
            for (corner, u) in line[column..].iter().zip(across) {
                moved[0] += u * v * corner[0];
                moved[1] += u * v * corner[1];
            }
        }
        moved
    }
}

/// The first of the three corners of the elastic grid that move a coordinate of -0.5 to 0.5, and what each weighs.
fn cell(coordinate: f32) -> (usize, [f32; 3]) {
    let cells = FIELD - 2;
    let place = ((coordinate + 0.5) * cells as f32).clamp(0.0, cells as f32);
    let index = (place as usize).min(cells - 1);
    let t = place - index as f32;
    let (before, after) = (0.5 * (1.0 - t) * (1.0 - t), 0.5 * t * t);
    (index, [before, 1.0 - before - after, after])
}
