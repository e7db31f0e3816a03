//! Carries out a [`RingDrawing`].

use super::dom::{Dom, clear, set_text};
use crate::ring::{Disc, LINE, RingDrawing};
use crate::words;
use std::cell::RefCell;
use wasm_bindgen::prelude::*;
use web_sys::Element;

/// The width, in pixels, under which names are left to the table.
const NARROW_PIXELS: i32 = 430;

/// The drawing of the ring.
pub(super) struct Ring {
    section: Element,
    canvas: Canvas,
}

impl Ring {
    pub(super) fn new(dom: &Dom, parent: &Element) -> Result<Self, JsValue> {
        let section = dom.section(parent, "ring", words::RING_TITLE)?;
        let canvas = Canvas::new(dom, &section)?;
        Ok(Self { section, canvas })
    }

    /// Whether there is too little width for names. An element that is not laid out yet counts as wide.
    pub(super) fn is_narrow(&self) -> bool {
        (1..NARROW_PIXELS).contains(&self.section.client_width())
    }

    /// Shows a drawing, with three lines of text in its middle.
    pub(super) fn update(&self, drawing: RingDrawing, centre: [String; 3]) -> Result<(), JsValue> {
        self.canvas.draw(drawing)?;
        for (line, text) in self.canvas.centre.iter().zip(centre) {
            set_text(line, &text);
        }
        Ok(())
    }
}

/// Where a ring is drawn.
pub(super) struct Canvas {
    dom: Dom,
    svg: Element,
    shapes: Element,
    /// The lines in the middle. They change with every step, the shapes hardly ever.
    centre: [Element; 3],
    shown: RefCell<Option<RingDrawing>>,
}

impl Canvas {
    pub(super) fn new(dom: &Dom, parent: &Element) -> Result<Self, JsValue> {
        let svg = dom.svg(parent, "svg", &[("role", "img")])?;
        let shapes = dom.svg(&svg, "g", &[])?;
        let line = |class: &str| {
            let attributes = [
                ("class", class),
                ("dy", "0.35em"),
                ("text-anchor", "middle"),
            ];
            dom.svg(&svg, "text", &attributes)
        };
        let centre = [
            line("centre above")?,
            line("centre large")?,
            line("centre below")?,
        ];
        Ok(Self {
            dom: dom.clone(),
            svg,
            shapes,
            centre,
            shown: RefCell::default(),
        })
    }

    /// Draws, unless it is drawn already.
    pub(super) fn draw(&self, drawing: RingDrawing) -> Result<(), JsValue> {
        if self.shown.borrow().as_ref() == Some(&drawing) {
            return Ok(());
        }
        let (width, height) = drawing.size;
        clear(&self.shapes);
        self.svg
            .set_attribute("viewBox", &format!("0 0 {width} {height}"))?;
        self.svg.set_attribute("aria-label", &drawing.summary)?;
        for (line, shift) in self.centre.iter().zip([-26.0, 2.0, 28.0]) {
            line.set_attribute("x", &length(width / 2.0))?;
            line.set_attribute("y", &length(height / 2.0 + shift))?;
        }
        for segment in &drawing.segments {
            let class = if segment.mine {
                "segment mine"
            } else {
                "segment"
            };
            let path = self.path(&self.shapes, class, &segment.path)?;
            self.title(&path, &segment.title)?;
        }
        for link in &drawing.links {
            let closing = if link.closing { " closing" } else { "" };
            let group = self.group(&format!("link {}{closing}", link.state.key()))?;
            self.title(&group, &link.title)?;
            self.path(&group, "arc", &link.path)?;
            self.path(&group, "arrow", &link.arrow)?;
        }
        for disc in &drawing.discs {
            self.draw_disc(disc)?;
        }
        *self.shown.borrow_mut() = Some(drawing);
        Ok(())
    }

    fn draw_disc(&self, disc: &Disc) -> Result<(), JsValue> {
        let mine = if disc.mine { " mine" } else { "" };
        let group = self.group(&format!("disc {}{mine}", disc.status))?;
        self.title(&group, &disc.title)?;
        let ((x, y), radius) = (disc.at, length(disc.radius));
        let place = [("cx", &*length(x)), ("cy", &*length(y)), ("r", &*radius)];
        self.dom.svg(&group, "circle", &place)?;
        self.write(&group, &disc.number, "number", (x, y), "middle")?;
        if let Some(label) = &disc.label {
            let (x, y) = label.at;
            self.write(&group, &label.name, "name", (x, y), label.anchor)?;
            self.write(&group, &label.layers, "layers", (x, y + LINE), label.anchor)?;
        }
        Ok(())
    }

    fn group(&self, class: &str) -> Result<Element, JsValue> {
        self.dom.svg(&self.shapes, "g", &[("class", class)])
    }

    fn path(&self, parent: &Element, class: &str, path: &str) -> Result<Element, JsValue> {
        self.dom
            .svg(parent, "path", &[("class", class), ("d", path)])
    }

    fn write(
        &self,
        parent: &Element,
        text: &str,
        class: &str,
        (x, y): (f64, f64),
        anchor: &str,
    ) -> Result<(), JsValue> {
        let attributes = [
            ("class", class),
            ("x", &*length(x)),
            ("y", &*length(y)),
            ("dy", "0.35em"),
            ("text-anchor", anchor),
        ];
        set_text(&self.dom.svg(parent, "text", &attributes)?, text);
        Ok(())
    }

    /// What the pointer reads when it rests on a shape.
    fn title(&self, shape: &Element, text: &str) -> Result<(), JsValue> {
        set_text(&self.dom.svg(shape, "title", &[])?, text);
        Ok(())
    }
}

/// A length in units of the drawing.
fn length(value: f64) -> String {
    format!("{value:.2}")
}
