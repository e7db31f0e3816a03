//! Carries out a [`RingDrawing`].

use super::dom::{Dom, clear};
use crate::ring::{Disc, RingDrawing};
use crate::words;
use std::cell::RefCell;
use wasm_bindgen::prelude::*;
use web_sys::Element;

/// The width, in pixels, under which names are left to the table.
const NARROW_PIXELS: i32 = 430;

/// The drawing of the ring.
pub(super) struct Ring {
    dom: Dom,
    section: Element,
    svg: Element,
    shown: RefCell<Option<RingDrawing>>,
}

impl Ring {
    pub(super) fn new(dom: &Dom, parent: &Element) -> Result<Self, JsValue> {
        let section = dom.section(parent, "ring", words::RING_TITLE)?;
        let svg = dom.svg(&section, "svg", &[("role", "img")])?;
        Ok(Self {
            dom: dom.clone(),
            section,
            svg,
            shown: RefCell::default(),
        })
    }

    /// Whether there is too little width for names. An element that is not laid out yet counts as wide.
    pub(super) fn is_narrow(&self) -> bool {
        (1..NARROW_PIXELS).contains(&self.section.client_width())
    }

    pub(super) fn update(&self, drawing: RingDrawing) -> Result<(), JsValue> {
        if self.shown.borrow().as_ref() == Some(&drawing) {
            return Ok(());
        }
        let (dom, svg) = (&self.dom, &self.svg);
        clear(svg);
        svg.set_attribute(
            "viewBox",
            &format!("0 0 {} {}", drawing.size.0, drawing.size.1),
        )?;
        svg.set_attribute("aria-label", &drawing.summary)?;
        for segment in &drawing.segments {
            let class = if segment.mine {
                "segment mine"
            } else {
                "segment"
            };
            let path = dom.svg(svg, "path", &[("class", class), ("d", &segment.path)])?;
            self.title(&path, &segment.title)?;
        }
        for link in &drawing.links {
            let closing = if link.closing { " closing" } else { "" };
            let class = format!("link {}{closing}", link.state.key());
            let group = dom.svg(svg, "g", &[("class", &class)])?;
            self.title(&group, &link.title)?;
            dom.svg(&group, "path", &[("class", "arc"), ("d", &link.path)])?;
            dom.svg(&group, "path", &[("class", "arrow"), ("d", &link.arrow)])?;
        }
        for disc in &drawing.discs {
            self.draw_disc(disc)?;
        }
        let (x, y) = (drawing.size.0 / 2.0, drawing.size.1 / 2.0);
        for ((text, class), shift) in drawing
            .centre
            .iter()
            .zip(["above", "large", "below"])
            .zip([-26.0, 2.0, 28.0])
        {
            self.write(
                svg,
                text,
                &format!("centre {class}"),
                (x, y + shift),
                "middle",
            )?;
        }
        *self.shown.borrow_mut() = Some(drawing);
        Ok(())
    }

    fn draw_disc(&self, disc: &Disc) -> Result<(), JsValue> {
        let class = format!(
            "disc {}{}",
            disc.status,
            if disc.mine { " mine" } else { "" }
        );
        let group = self.dom.svg(&self.svg, "g", &[("class", &class)])?;
        self.title(&group, &disc.title)?;
        let (x, y) = (format!("{:.2}", disc.at.0), format!("{:.2}", disc.at.1));
        self.dom.svg(
            &group,
            "circle",
            &[
                ("cx", &x),
                ("cy", &y),
                ("r", &format!("{:.2}", disc.radius)),
            ],
        )?;
        self.write(&group, &disc.number, "number", disc.at, "middle")?;
        if let Some(label) = &disc.label {
            self.write(&group, &label.name, "name", label.at, label.anchor)?;
            self.write(
                &group,
                &label.layers,
                "layers",
                (label.at.0, label.at.1 + 16.0),
                label.anchor,
            )?;
        }
        Ok(())
    }

    fn write(
        &self,
        parent: &Element,
        text: &str,
        class: &str,
        at: (f64, f64),
        anchor: &str,
    ) -> Result<(), JsValue> {
        let (x, y) = (format!("{:.2}", at.0), format!("{:.2}", at.1));
        let attributes = [
            ("class", class),
            ("x", &x),
            ("y", &y),
            ("dy", "0.35em"),
            ("text-anchor", anchor),
        ];
        self.dom
            .svg(parent, "text", &attributes)?
            .set_text_content(Some(text));
        Ok(())
    }

    /// What the pointer reads when it rests on a shape.
    fn title(&self, shape: &Element, text: &str) -> Result<(), JsValue> {
        self.dom
            .svg(shape, "title", &[])?
            .set_text_content(Some(text));
        Ok(())
    }
}
