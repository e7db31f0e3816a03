//! The SVG element on which a ring is drawn.

use super::discs::Discs;
use crate::page::dom::{Dom, clear, set_attribute, set_text};
use crate::replay::{Doing, Dot};
use crate::ring::{LINE, LinkArc, Outside, RateLabel, RingDrawing};
use std::cell::RefCell;
use wasm_bindgen::prelude::*;
use web_sys::Element;

/// The most dots that are drawn at once; more would be a blur.
const DOTS_MAX: usize = 160;

/// Where a ring is drawn.
pub(in crate::page) struct Canvas {
    dom: Dom,
    svg: Element,
    /// Layers and links.
    shapes: Element,
    rates: Element,
    outside: Element,
    dots: RefCell<Vec<Element>>,
    dots_place: Element,
    discs: Discs,
    /// The lines in the middle. They change with every step, the shapes hardly ever.
    centre: [Element; 3],
    shown: RefCell<Option<RingDrawing>>,
}

impl Canvas {
    pub(in crate::page) fn new(dom: &Dom, parent: &Element) -> Result<Self, JsValue> {
        let svg = dom.svg(parent, "svg", &[("role", "img")])?;
        let layer = || dom.svg(&svg, "g", &[]);
        let (shapes, dots_place, rates, outside) = (layer()?, layer()?, layer()?, layer()?);
        let discs = Discs::new(dom, &layer()?);
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
            rates,
            outside,
            dots: RefCell::default(),
            dots_place,
            discs,
            centre,
            shown: RefCell::default(),
        })
    }

    pub(super) fn write_centre(&self, lines: [String; 3]) {
        for (line, text) in self.centre.iter().zip(lines) {
            set_text(line, &text);
        }
    }

    /// Draws what is not drawn already. Devices walk to their places where things may move.
    pub(in crate::page) fn draw(&self, drawing: RingDrawing, moves: bool) -> Result<(), JsValue> {
        let mut shown = self.shown.borrow_mut();
        let before = shown.as_ref();
        if before == Some(&drawing) {
            return Ok(());
        }
        if before
            .is_none_or(|before| (before.size, before.centre) != (drawing.size, drawing.centre))
        {
            self.lay_out(&drawing)?;
        }
        set_attribute(&self.svg, "aria-label", &drawing.summary)?;
        if before.is_none_or(|before| {
            (&before.segments, &before.links) != (&drawing.segments, &drawing.links)
        }) {
            self.draw_shapes(&drawing)?;
        }
        if before.is_none_or(|before| before.rates != drawing.rates) {
            clear(&self.rates);
            for rate in &drawing.rates {
                self.draw_rate(rate)?;
            }
        }
        if before.is_none_or(|before| before.outside != drawing.outside) {
            clear(&self.outside);
            for group in &drawing.outside {
                self.draw_outside(group)?;
            }
        }
        // Of another size it is another drawing: nobody walks from one to the other.
        let same = before.is_some_and(|before| before.centre == drawing.centre);
        self.discs
            .update(&drawing.discs, drawing.centre, moves && same)?;
        *shown = Some(drawing);
        Ok(())
    }

    /// Brings devices one frame further on their way. Says whether some are on their way still.
    pub(super) fn walk(&self, now: f64) -> Result<bool, JsValue> {
        self.discs.walk(now)
    }

    /// Brings everything to rest: devices to their places, nothing on the links.
    pub(super) fn settle(&self) -> Result<(), JsValue> {
        self.discs.settle()?;
        self.show_moment(|_| None, std::iter::empty())
    }

    /// Shows what each device computes and what is on its way.
    pub(super) fn show_moment(
        &self,
        doing: impl Fn(usize) -> Option<Doing>,
        moving: impl Iterator<Item = Dot>,
    ) -> Result<(), JsValue> {
        self.discs.show_doing(doing)?;
        let shown = self.shown.borrow();
        let links = shown.as_ref().map_or(&[][..], |shown| &shown.links);
        let mut dots = self.dots.borrow_mut();
        let mut used = 0;
        for dot in moving.take(DOTS_MAX) {
            let Some(link) = links.get(dot.link) else {
                continue;
            };
            if used == dots.len() {
                dots.push(self.dom.svg(&self.dots_place, "path", &[])?);
            }
            let (x, y) = link.road.at(dot.share, dot.back);
            let (class, shape) = if dot.back {
                ("dot gradient", DIAMOND)
            } else {
                ("dot activation", CIRCLE)
            };
            let element = &dots[used];
            set_attribute(element, "class", class)?;
            set_attribute(element, "d", shape)?;
            element.set_attribute("transform", &format!("translate({x:.1} {y:.1})"))?;
            used += 1;
        }
        for element in &dots[used..] {
            set_attribute(element, "class", "dot none")?;
        }
        Ok(())
    }

    fn lay_out(&self, drawing: &RingDrawing) -> Result<(), JsValue> {
        let (width, height) = drawing.size;
        self.svg
            .set_attribute("viewBox", &format!("0 0 {width} {height}"))?;
        let (x, y) = drawing.centre;
        for (line, shift) in self.centre.iter().zip([-34.0, 2.0, 34.0]) {
            line.set_attribute("x", &length(x))?;
            line.set_attribute("y", &length(y + shift))?;
        }
        Ok(())
    }

    fn draw_shapes(&self, drawing: &RingDrawing) -> Result<(), JsValue> {
        clear(&self.shapes);
        for segment in &drawing.segments {
            let class = if segment.mine {
                "segment mine"
            } else {
                "segment"
            };
            let path = self.path(&self.shapes, class, &segment.path)?;
            title(&self.dom, &path, &segment.title)?;
        }
        for link in &drawing.links {
            self.draw_link(link)?;
        }
        Ok(())
    }

    fn draw_link(&self, link: &LinkArc) -> Result<(), JsValue> {
        let closing = if link.closing { " closing" } else { "" };
        let class = format!("link {}{closing}", link.state.key());
        let group = self.dom.svg(&self.shapes, "g", &[("class", &class)])?;
        title(&self.dom, &group, &link.title)?;
        for lane in &link.lanes {
            let back = if lane.back { " back" } else { "" };
            self.path(&group, &format!("arc{back}"), &lane.path)?;
            self.path(&group, &format!("arrow{back}"), &lane.arrow)?;
        }
        Ok(())
    }

    fn draw_rate(&self, rate: &RateLabel) -> Result<(), JsValue> {
        let (x, y) = rate.at;
        let named = rate.closing;
        for (class, mark, text, y) in [
            ("activation", "● ", &rate.forward, y),
            ("gradient", "◆ ", &rate.back, y + LINE),
        ] {
            if text.is_empty() {
                continue;
            }
            let place = (x, y);
            let line = write(&self.dom, &self.rates, "", "rate", place, rate.anchor)?;
            if !named {
                let mark_of = self.dom.svg(&line, "tspan", &[("class", class)])?;
                set_text(&mark_of, mark);
            }
            set_text(&self.dom.svg(&line, "tspan", &[])?, text);
        }
        Ok(())
    }

    fn draw_outside(&self, group: &Outside) -> Result<(), JsValue> {
        for (x, y) in &group.discs {
            let class = format!("bystander {}", group.kind.key());
            let place = [
                ("class", &*class),
                ("cx", &length(*x)),
                ("cy", &length(*y)),
                ("r", "8"),
            ];
            self.dom.svg(&self.outside, "circle", &place)?;
        }
        write(
            &self.dom,
            &self.outside,
            &group.text,
            "rate",
            group.text_at,
            "start",
        )?;
        Ok(())
    }

    fn path(&self, parent: &Element, class: &str, path: &str) -> Result<Element, JsValue> {
        self.dom
            .svg(parent, "path", &[("class", class), ("d", path)])
    }
}

/// What activations and gradients look like: told apart by shape as well as by colour.
const CIRCLE: &str = "M-6 0a6 6 0 1 1 12 0a6 6 0 1 1 -12 0Z";
const DIAMOND: &str = "M0 -7.5L7.5 0L0 7.5L-7.5 0Z";

/// A text in the drawing.
pub(super) fn write(
    dom: &Dom,
    parent: &Element,
    text: &str,
    class: &str,
    (x, y): (f64, f64),
    anchor: &str,
) -> Result<Element, JsValue> {
    let attributes = [
        ("class", class),
        ("x", &*length(x)),
        ("y", &*length(y)),
        ("dy", "0.35em"),
        ("text-anchor", anchor),
    ];
    let element = dom.svg(parent, "text", &attributes)?;
    set_text(&element, text);
    Ok(element)
}

/// What the pointer reads when it rests on a shape.
pub(super) fn title(dom: &Dom, shape: &Element, text: &str) -> Result<(), JsValue> {
    set_text(&dom.svg(shape, "title", &[])?, text);
    Ok(())
}

/// A length in units of the drawing.
pub(super) fn length(value: f64) -> String {
    format!("{value:.2}")
}
