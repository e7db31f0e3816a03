//! The progress bar and the numbers under it, and how those went that rise and fall.

use super::dom::{Dom, set_attribute, set_text};
use crate::shown::Progress;
use crate::{format, rate, words};
use std::cell::RefCell;
use wasm_bindgen::prelude::*;
use web_sys::Element;

/// Of the picture of a rate, in units of its own.
const SIZE: [f64; 2] = [100.0, 20.0];

/// What the numbers say.
pub(super) struct Figures<'a> {
    pub(super) progress: Progress,
    /// Samples trained on a second.
    pub(super) samples: Option<f64>,
    /// Bytes on all links a second.
    pub(super) bytes: Option<f64>,
    /// How both went, evenly apart in time.
    pub(super) courses: [&'a [f64]; 2],
}

/// The progress bar and the numbers.
pub(super) struct Numbers {
    bar: Element,
    step: Element,
    loss: Element,
    accuracy: Element,
    samples: Rate,
    bytes: Rate,
}

/// A number that rises and falls, and the line that it has drawn.
struct Rate {
    number: Element,
    line: Element,
    drawn: RefCell<Vec<f64>>,
}

impl Rate {
    fn new(dom: &Dom, number: &Element) -> Result<Self, JsValue> {
        let text = dom.text(number, "span", "", words::NUMBER_NONE.now())?;
        let [width, height] = SIZE;
        let view = format!("0 0 {width} {height}");
        let stretched = [
            ("class", "course"),
            ("viewBox", view.as_str()),
            ("preserveAspectRatio", "none"),
            ("aria-hidden", "true"),
        ];
        let picture = dom.svg(number, "svg", &stretched)?;
        let line = dom.svg(&picture, "polyline", &[])?;
        Ok(Self {
            number: text,
            line,
            drawn: RefCell::default(),
        })
    }

    fn update(&self, text: &str, course: &[f64]) -> Result<(), JsValue> {
        set_text(&self.number, text);
        if *self.drawn.borrow() == course {
            return Ok(());
        }
        let [width, height] = SIZE;
        let line = rate::line(course, width, height).unwrap_or_default();
        set_attribute(&self.line, "points", &line)?;
        self.drawn.replace(course.to_vec());
        Ok(())
    }
}

impl Numbers {
    pub(super) fn new(dom: &Dom, parent: &Element) -> Result<Self, JsValue> {
        let section = dom.child(parent, "div", "numbers")?;
        let bar = dom.child(&section, "progress", "")?;
        bar.set_attribute("aria-label", words::NUMBER_STEP.now())?;
        let list = dom.child(&section, "dl", "")?;
        let number = |name: &str, class: &str| {
            let pair = dom.child(&list, "div", class)?;
            dom.text(&pair, "dt", "", name)?;
            dom.child(&pair, "dd", "")
        };
        let rate = |name: &str, class: &str| Rate::new(dom, &number(name, class)?);
        Ok(Self {
            step: number(words::NUMBER_STEP.now(), "step")?,
            loss: number(words::NUMBER_LOSS.now(), "loss")?,
            accuracy: number(words::NUMBER_ACCURACY.now(), "accuracy")?,
            samples: rate(words::NUMBER_SAMPLES.now(), "samples")?,
            bytes: rate(words::NUMBER_BYTES.now(), "bytes")?,
            bar,
        })
    }

    pub(super) fn update(&self, figures: &Figures<'_>) -> Result<(), JsValue> {
        let progress = &figures.progress;
        set_attribute(&self.bar, "max", &progress.of.max(1).to_string())?;
        set_attribute(
            &self.bar,
            "value",
            &progress.done.min(progress.of).to_string(),
        )?;
        let or_none =
            |text: Option<String>| text.unwrap_or_else(|| words::NUMBER_NONE.now().to_owned());
        let count = |value: u32| format::count(u64::from(value));
        let step =
            (progress.of > 0).then(|| words::step_of(&count(progress.done), &count(progress.of)));
        set_text(&self.step, &or_none(step));
        set_text(&self.loss, &or_none(progress.loss.map(format::loss)));
        set_text(
            &self.accuracy,
            &or_none(progress.accuracy.map(format::percent)),
        );
        let [samples, bytes] = figures.courses;
        self.samples
            .update(&or_none(figures.samples.and_then(format::rate)), samples)?;
        self.bytes
            .update(&or_none(figures.bytes.and_then(format::byte_rate)), bytes)
    }
}
