//! The two curves.

use super::dom::{Dom, clear, set_text, show};
use crate::curves::{Curve, Palette, Quantity};
use crate::{format, words};
use ringtmp_core::signal::Point;
use std::cell::{Cell, RefCell};
use wasm_bindgen::prelude::*;
use web_sys::{Element, HtmlElement, Window};

/// Milliseconds between two drawings of a curve while it grows.
pub(super) const REDRAW_MS: i32 = 250;
/// The height of a curve in pixels.
const HEIGHT: u32 = 200;
/// How many times as large a curve is shown to many.
const ENLARGED: u32 = 2;

/// The curves of loss and accuracy.
pub(super) struct Curves {
    window: Window,
    figures: [Figure; 2],
    /// When the last drawing was made, in milliseconds.
    drawn_at: Cell<f64>,
    /// Whether curves are for the last row of a hall: as high as there is room, with large letters, and one alone.
    large: bool,
}

/// The one curve that is shown where there is room for one: what people understand, once there are two points of it.
fn alone(curves: &[Curve; 2]) -> Quantity {
    let tells = |curve: &&Curve| curve.points.len() >= 2 || curve.quantity == Quantity::Loss;
    let telling = curves.iter().rev().find(tells);
    telling.map_or(Quantity::Loss, |curve| curve.quantity)
}

type Drawn = (Curve, (u32, u32), Palette);

struct Figure {
    figure: HtmlElement,
    quantity: Quantity,
    plot: Element,
    summary: Element,
    /// What is drawn, at which size, in which colours.
    drawn: RefCell<Option<Drawn>>,
}

impl Curves {
    pub(super) fn new(
        dom: &Dom,
        parent: &Element,
        window: &Window,
        large: bool,
    ) -> Result<Self, JsValue> {
        let section = dom.child(parent, "div", "curves")?;
        let figures = [
            Figure::new(dom, &section, Quantity::Loss)?,
            Figure::new(dom, &section, Quantity::Accuracy)?,
        ];
        Ok(Self {
            window: window.clone(),
            figures,
            drawn_at: Cell::new(f64::NEG_INFINITY),
            large,
        })
    }

    /// Draws what has changed; while points keep coming, at most every [`REDRAW_MS`]. Says whether something was put off.
    pub(super) fn update(
        &self,
        points: &[Point],
        steps: u32,
        growing: bool,
    ) -> Result<bool, JsValue> {
        let Some(palette) = self.palette()? else {
            return Ok(false);
        };
        let now = self
            .window
            .performance()
            .map_or(0.0, |performance| performance.now());
        if growing && now - self.drawn_at.get() < f64::from(REDRAW_MS) {
            return Ok(true);
        }
        // The first points are drawn at once.
        let waits = if points.is_empty() {
            f64::NEG_INFINITY
        } else {
            now
        };
        self.drawn_at.set(waits);
        let curves = self.figures.each_ref();
        let curves = curves.map(|figure| Curve::new(figure.quantity, points, steps));
        let shown = curves
            .each_ref()
            .map(|curve| !self.large || alone(&curves) == curve.quantity);
        for ((figure, curve), shown) in self.figures.iter().zip(curves).zip(shown) {
            show(&figure.figure, shown);
            if shown {
                figure.update(curve, palette, self.large)?;
            }
        }
        Ok(false)
    }

    /// The colours of the style sheet, as they are in the present colour scheme.
    fn palette(&self) -> Result<Option<Palette>, JsValue> {
        let root = self
            .window
            .document()
            .and_then(|document| document.document_element());
        let Some(root) = root else { return Ok(None) };
        let Some(style) = self.window.get_computed_style(&root)? else {
            return Ok(None);
        };
        let read = |name: &str| Ok::<_, JsValue>(read_color(&style.get_property_value(name)?));
        let (accent, text, grid) = (read("--accent")?, read("--ink-soft")?, read("--line")?);
        Ok(accent
            .zip(text)
            .zip(grid)
            .map(|((accent, text), grid)| Palette { accent, text, grid }))
    }
}

impl Figure {
    fn new(dom: &Dom, parent: &Element, quantity: Quantity) -> Result<Self, JsValue> {
        let (name, empty) = match quantity {
            Quantity::Loss => (words::CURVE_LOSS.now(), words::CURVE_EMPTY.now()),
            Quantity::Accuracy => (
                words::CURVE_ACCURACY.now(),
                words::CURVE_EMPTY_ACCURACY.now(),
            ),
        };
        let figure: HtmlElement = dom.typed(parent, "figure", "curve")?;
        let caption = dom.child(&figure, "figcaption", "")?;
        dom.text(&caption, "h2", "", name)?;
        let summary = dom.child(&caption, "p", "visually-hidden")?;
        let plot = dom.child(&figure, "div", "plot")?;
        plot.set_attribute("aria-hidden", "true")?;
        dom.text(&plot, "p", "empty", empty)?;
        Ok(Self {
            figure,
            quantity,
            plot,
            summary,
            drawn: RefCell::default(),
        })
    }

    fn update(&self, curve: Curve, palette: Palette, large: bool) -> Result<(), JsValue> {
        let pixels = |length: i32| u32::try_from(length).unwrap_or(0);
        let (width, height) = (self.plot.client_width(), self.plot.client_height());
        let size = match large {
            false => (pixels(width), HEIGHT),
            // Drawn small and shown large, letters and all.
            true => (pixels(width) / ENLARGED, pixels(height) / ENLARGED),
        };
        let wanted = Some((curve, size, palette));
        if *self.drawn.borrow() == wanted {
            return Ok(());
        }
        if let Some((curve, size, palette)) = &wanted
            && let Some(svg) = curve.draw(*size, palette)
        {
            clear(&self.plot);
            // Made here from numbers alone.
            self.plot.insert_adjacent_html("beforeend", &svg)?;
            set_text(&self.summary, &summary(curve));
        }
        *self.drawn.borrow_mut() = wanted;
        Ok(())
    }
}

/// The curve in a sentence, for those who do not see it.
fn summary(curve: &Curve) -> String {
    let (Some(first), Some(last)) = (curve.points.first(), curve.points.last()) else {
        return String::new();
    };
    let (name, value): (_, fn(f64) -> String) = match curve.quantity {
        Quantity::Loss => (words::CURVE_LOSS.now(), |value| format::loss(value as f32)),
        Quantity::Accuracy => (words::CURVE_ACCURACY.now(), |value| {
            format::percent(value as f32)
        }),
    };
    let step = |step: u32| format::count(u64::from(step));
    words::curve_summary(
        name,
        &value(first.1),
        &step(first.0),
        &value(last.1),
        &step(last.0),
    )
}

/// `#rrggbb`.
fn read_color(text: &str) -> Option<[u8; 3]> {
    let digits = text
        .trim()
        .strip_prefix('#')
        .filter(|digits| digits.len() == 6)?;
    let value = u32::from_str_radix(digits, 16).ok()?;
    let [_, red, green, blue] = value.to_be_bytes();
    Some([red, green, blue])
}
