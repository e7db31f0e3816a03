//! The progress bar and the numbers under it.

use super::dom::{Dom, set_attribute, set_text};
use crate::shown::Progress;
use crate::{format, words};
use wasm_bindgen::prelude::*;
use web_sys::Element;

/// What the numbers say.
pub(super) struct Figures {
    pub(super) progress: Progress,
    /// Samples trained on a second.
    pub(super) samples: Option<f64>,
    /// Bytes on all links a second.
    pub(super) bytes: Option<f64>,
}

/// The progress bar and the numbers.
pub(super) struct Numbers {
    bar: Element,
    step: Element,
    loss: Element,
    accuracy: Element,
    samples: Element,
    bytes: Element,
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
            dom.text(&pair, "dd", "", words::NUMBER_NONE.now())
        };
        Ok(Self {
            step: number(words::NUMBER_STEP.now(), "step")?,
            loss: number(words::NUMBER_LOSS.now(), "loss")?,
            accuracy: number(words::NUMBER_ACCURACY.now(), "accuracy")?,
            samples: number(words::NUMBER_SAMPLES.now(), "samples")?,
            bytes: number(words::NUMBER_BYTES.now(), "bytes")?,
            bar,
        })
    }

    pub(super) fn update(&self, figures: &Figures) -> Result<(), JsValue> {
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
        set_text(
            &self.samples,
            &or_none(figures.samples.and_then(format::rate)),
        );
        set_text(
            &self.bytes,
            &or_none(figures.bytes.and_then(format::byte_rate)),
        );
        Ok(())
    }
}
