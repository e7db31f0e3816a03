//! The timeline on the page.

use super::dom::{Dom, clear, listen, set_attribute, set_text, show};
use crate::timeline::{TimelineDrawing, summary};
use crate::words;
use ringtmp_peer::View;
use std::cell::RefCell;
use wasm_bindgen::prelude::*;
use web_sys::{Element, HtmlElement};

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

/// What the legend says instead where devices have whole models: they go backward at once, and what comes to them is other than in a ring.
const OF_WHOLE_MODELS: [(&str, Option<words::Text>); 3] = [
    ("backward", None),
    ("weights", Some(words::LEGEND_WHOLE_BACKWARD)),
    ("activation", Some(words::LEGEND_WHOLE_ARRIVING)),
];

/// A row of what each device did, under one axis of time.
pub(super) struct Timeline {
    plot: Element,
    summary: Element,
    /// Items of the legend, each with its words, by class.
    legend: Vec<(&'static str, HtmlElement, Element)>,
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
        let list = dom.child(&section, "ul", "legend")?;
        let mut legend = Vec::new();
        for (class, words) in LEGEND {
            let item: HtmlElement = dom.typed(&list, "li", "")?;
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
            let label = dom.text(&item, "span", "", words.now())?;
            legend.push((class, item, label));
        }
        let save = dom.text(&section, "button", "save", words::TRACE_SAVE.now())?;
        save.set_attribute("type", "button")?;
        listen(&save, "click", move |_| save_trace())?;
        Ok(Self {
            plot,
            summary,
            legend,
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
            let room = view.room.as_ref();
            self.explain(room.is_some_and(|room| room.team().is_some()));
        }
        *self.drawn.borrow_mut() = wanted;
        Ok(())
    }
}

impl Timeline {
    /// Says what is drawn, of a ring or of devices that have whole models.
    fn explain(&self, has_whole_models: bool) {
        for ((class, item, label), (_, words)) in self.legend.iter().zip(LEGEND) {
            let other = OF_WHOLE_MODELS.iter().find(|(other, _)| other == class);
            let words = match other.filter(|_| has_whole_models) {
                Some((_, instead)) => *instead,
                None => Some(words),
            };
            show(item, words.is_some());
            if let Some(words) = words {
                set_text(label, words.now());
            }
        }
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
