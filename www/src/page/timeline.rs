//! The timeline on the page.

use super::dom::{Dom, clear, listen, set_attribute, set_text};
use crate::timeline::{TimelineDrawing, summary};
use crate::words;
use ringtmp_peer::View;
use std::cell::RefCell;
use wasm_bindgen::prelude::*;
use web_sys::Element;

/// The kinds in the legend: class of the style sheet, and words.
const LEGEND: [(&str, words::Text); 7] = [
    ("forward", words::LEGEND_FORWARD),
    ("backward", words::LEGEND_BACKWARD),
    ("weights", words::LEGEND_WEIGHTS),
    ("update", words::LEGEND_UPDATE),
    ("activation", words::LEGEND_ACTIVATION),
    ("gradient", words::LEGEND_GRADIENT),
    ("idle", words::LEGEND_IDLE),
];

/// A row of what each device did, under one axis of time.
pub(super) struct Timeline {
    plot: Element,
    summary: Element,
    /// What is drawn, at which width.
    drawn: RefCell<Option<(TimelineDrawing, u32)>>,
}

impl Timeline {
    pub(super) fn new(
        dom: &Dom,
        parent: &Element,
        save_trace: impl Fn() + 'static,
    ) -> Result<Self, JsValue> {
        let section = dom.section(parent, "timeline", words::TIMELINE_TITLE.now())?;
        patterns(dom, &section)?;
        let summary = dom.child(&section, "p", "visually-hidden")?;
        let plot = dom.child(&section, "div", "lanes")?;
        plot.set_attribute("aria-hidden", "true")?;
        let legend = dom.child(&section, "ul", "legend")?;
        for (class, words) in LEGEND {
            let item = dom.child(&legend, "li", "")?;
            let size = [("viewBox", "0 0 22 14"), ("aria-hidden", "true")];
            let swatch = dom.svg(&item, "svg", &size)?;
            let (y, height) = match class {
                "activation" | "gradient" => ("5", "5"),
                _ => ("1", "12"),
            };
            let place = [("x", "1"), ("width", "20"), ("rx", "2")];
            let rect = dom.svg(&swatch, "rect", &place)?;
            for (name, value) in [("y", y), ("height", height), ("class", class)] {
                rect.set_attribute(name, value)?;
            }
            dom.text(&item, "span", "", words.now())?;
        }
        let save = dom.text(&section, "button", "save", words::TRACE_SAVE.now())?;
        save.set_attribute("type", "button")?;
        listen(&save, "click", move |_| save_trace())?;
        Ok(Self {
            plot,
            summary,
            drawn: RefCell::default(),
        })
    }

    /// Draws what has changed: once a second, when devices have reported.
    pub(super) fn update(&self, view: &View) -> Result<(), JsValue> {
        let Some(drawing) = TimelineDrawing::new(view) else {
            return Ok(());
        };
        let width = u32::try_from(self.plot.client_width()).unwrap_or(0);
        let wanted = Some((drawing, width));
        if *self.drawn.borrow() == wanted {
            return Ok(());
        }
        if let Some((drawing, width)) = &wanted
            && let Some(svg) = drawing.draw(*width)
        {
            clear(&self.plot);
            // Made here from numbers alone.
            self.plot.insert_adjacent_html("beforeend", &svg)?;
            set_text(&self.summary, &summary(view));
        }
        *self.drawn.borrow_mut() = wanted;
        Ok(())
    }
}

/// What tells tasks apart without colour: B is striped, W is dotted, what is idle is hatched thinly.
fn patterns(dom: &Dom, parent: &Element) -> Result<(), JsValue> {
    let size = [("width", "0"), ("height", "0"), ("class", "patterns")];
    let svg = dom.svg(parent, "svg", &size)?;
    set_attribute(&svg, "aria-hidden", "true")?;
    let definitions = dom.svg(&svg, "defs", &[])?;
    let marks = [
        ("pattern-backward", "7", "M-1 8L8 -1M-1 1L1 -1M6 8L8 6"),
        ("pattern-weights", "5", "M1.5 2.5h2"),
        ("pattern-idle", "6", "M-1 7L7 -1"),
    ];
    for (id, size, path) in marks {
        let attributes = [
            ("id", id),
            ("width", size),
            ("height", size),
            ("patternUnits", "userSpaceOnUse"),
        ];
        let pattern = dom.svg(&definitions, "pattern", &attributes)?;
        let ground = [("width", size), ("height", size), ("class", "ground")];
        dom.svg(&pattern, "rect", &ground)?;
        dom.svg(&pattern, "path", &[("d", path), ("class", "mark")])?;
    }
    Ok(())
}
