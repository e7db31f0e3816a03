//! The first page: what this is, and the form that opens a room.

use super::dom::{Dom, listen};
use super::ring::Canvas;
use crate::address::Address;
use crate::messages::{Executor, RunWish};
use crate::ring::RingDrawing;
use crate::words;
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::profile::Planning;
use ringtmp_peer::{Arithmetic, DataSource, RunFile};
use wasm_bindgen::prelude::*;
use web_sys::{Element, Event, HtmlInputElement, HtmlSelectElement};

/// The most steps the form offers; a run file may say more.
const STEPS_MAX: u32 = 1_000_000;
/// Devices the form waits for unless told otherwise: the smallest ring that looks like one.
const PEERS: u16 = 3;
/// The most devices the form offers to wait for.
const PEERS_MAX: u16 = 64;

/// The ring beside the form: devices, and layers of each.
const EMBLEM: (usize, usize) = (5, 2);

/// What the form was filled in with.
pub(super) struct Choice {
    pub(super) run: RunWish,
    pub(super) executor: Executor,
    /// Whether everybody may take part.
    pub(super) open: bool,
}

/// Shows the first page. `create` is called when the form is sent.
pub(super) fn show(
    dom: &Dom,
    parent: &Element,
    address: &Address,
    is_secure: bool,
    create: impl Fn(Choice) + 'static,
) -> Result<(), JsValue> {
    let home = dom.child(parent, "div", "home")?;
    let purpose = dom.child(&home, "section", "purpose")?;
    dom.text(&purpose, "h1", "", words::PURPOSE.now())?;
    dom.text(&purpose, "p", "", words::PURPOSE_DETAIL.now())?;
    for problem in &address.problems {
        dom.text(&purpose, "p", "problem", problem)?;
    }
    if !is_secure {
        let text = words::insecure();
        dom.text(&purpose, "p", "problem", &text)?;
    }

    let emblem = dom.child(&purpose, "div", "emblem")?;
    Canvas::new(dom, &emblem)?.draw(RingDrawing::emblem(EMBLEM.0, EMBLEM.1), false)?;

    let form = dom.child(&home, "form", "panel")?;
    dom.text(&form, "h2", "", words::FORM_TITLE.now())?;
    let fields = Fields::new(dom, &form, address)?;
    let submit = dom.text(&form, "button", "primary", words::FORM_CREATE.now())?;
    submit.set_attribute("type", "submit")?;
    listen(&form, "submit", move |event: Event| {
        event.prevent_default();
        create(fields.read());
    })
}

struct Fields {
    model: HtmlSelectElement,
    data: HtmlSelectElement,
    source: HtmlSelectElement,
    steps: HtmlInputElement,
    peers: HtmlInputElement,
    access: HtmlSelectElement,
    executor: HtmlSelectElement,
    /// As the address has it.
    codec: Option<CodecChoice>,
    planning: Option<Planning>,
    arithmetic: Option<Arithmetic>,
}

impl Fields {
    fn new(dom: &Dom, form: &Element, address: &Address) -> Result<Self, JsValue> {
        let run = RunFile::default();
        let preset = address.run.preset.as_deref().unwrap_or(run.model.name());
        let models = words::FORM_MODELS.map(|(name, text)| (name, text.now()));
        let mut models = models.to_vec();
        if !models.iter().any(|(name, _)| *name == preset) {
            models.push((preset, preset));
        }
        let model = select(
            dom,
            form,
            ("model", words::FORM_MODEL.now()),
            &models,
            preset,
        )?;
        let mut data = vec![("", words::FORM_DATA_USUAL.now())];
        let chosen = address.run.data.as_deref().unwrap_or_default();
        if !chosen.is_empty() {
            data.push((chosen, chosen));
        }
        let data = select(dom, form, ("data", words::FORM_DATA.now()), &data, chosen)?;
        let chosen = address.run.source.unwrap_or(run.data.source);
        let source = source_field(dom, form, chosen)?;
        let steps = address.run.steps.unwrap_or(run.steps);
        let steps = number(
            dom,
            form,
            ("steps", words::FORM_STEPS.now()),
            steps,
            (1, STEPS_MAX),
        )?;
        let peers = u32::from(address.run.peers.unwrap_or(PEERS));
        let peers = number(
            dom,
            form,
            ("peers", words::FORM_PEERS.now()),
            peers,
            (0, u32::from(PEERS_MAX)),
        )?;
        dom.text(form, "p", "hint", words::FORM_PEERS_HINT.now())?
            .set_id("hint-peers");
        peers.set_attribute("aria-describedby", "hint-peers")?;
        let access = access_field(dom, form, address.open)?;
        let executor = executor_field(dom, form, address.executor)?;
        Ok(Self {
            model,
            data,
            source,
            steps,
            peers,
            access,
            executor,
            codec: address.run.codec,
            planning: address.run.planning,
            arithmetic: address.run.arithmetic,
        })
    }

    /// The browser has checked the numbers against their limits before it sends a form.
    fn read(&self) -> Choice {
        Choice {
            run: RunWish {
                preset: Some(self.model.value()),
                data: Some(self.data.value()).filter(|data| !data.is_empty()),
                steps: self.steps.value().parse().ok(),
                peers: self.peers.value().parse().ok(),
                source: Some(match self.source.value().as_str() {
                    "every" => DataSource::Every,
                    _ => DataSource::One,
                }),
                codec: self.codec,
                planning: self.planning,
                arithmetic: self.arithmetic,
            },
            executor: match self.executor.value().as_str() {
                "gpu" => Executor::Gpu,
                "cpu" => Executor::Cpu,
                _ => Executor::Auto,
            },
            open: self.access.value() == "open",
        }
    }
}

/// Whose samples are trained on.
fn source_field(
    dom: &Dom,
    form: &Element,
    chosen: DataSource,
) -> Result<HtmlSelectElement, JsValue> {
    let sources = [
        ("one", words::FORM_SOURCE_ONE.now()),
        ("every", words::FORM_SOURCE_EVERY.now()),
    ];
    let chosen = match chosen {
        DataSource::One => "one",
        DataSource::Every => "every",
    };
    let label = words::FORM_SOURCE.now();
    select(dom, form, ("source", label), &sources, chosen)
}

/// Who may take part.
fn access_field(dom: &Dom, form: &Element, open: bool) -> Result<HtmlSelectElement, JsValue> {
    let choices = [
        ("secret", words::FORM_ACCESS_SECRET.now()),
        ("open", words::FORM_ACCESS_OPEN.now()),
    ];
    let chosen = if open { "open" } else { "secret" };
    let label = words::FORM_ACCESS.now();
    select(dom, form, ("access", label), &choices, chosen)
}

/// What is to compute.
fn executor_field(
    dom: &Dom,
    form: &Element,
    chosen: Executor,
) -> Result<HtmlSelectElement, JsValue> {
    let executors = [
        ("auto", words::FORM_EXECUTOR_AUTO.now()),
        ("gpu", words::FORM_EXECUTOR_GPU.now()),
        ("cpu", words::FORM_EXECUTOR_CPU.now()),
    ];
    let chosen = match chosen {
        Executor::Auto => "auto",
        Executor::Gpu => "gpu",
        Executor::Cpu => "cpu",
    };
    let label = words::FORM_EXECUTOR.now();
    select(dom, form, ("executor", label), &executors, chosen)
}

/// A labelled field; returns the element that holds its control.
fn field(dom: &Dom, form: &Element, name: &str, label: &str) -> Result<Element, JsValue> {
    let field = dom.child(form, "div", "field")?;
    dom.text(&field, "label", "", label)?
        .set_attribute("for", name)?;
    Ok(field)
}

fn number(
    dom: &Dom,
    form: &Element,
    (name, label): (&str, &str),
    value: u32,
    (from, to): (u32, u32),
) -> Result<HtmlInputElement, JsValue> {
    let field = field(dom, form, name, label)?;
    field.set_class_name("field short");
    let input: HtmlInputElement = dom.typed(&field, "input", "")?;
    input.set_id(name);
    for (attribute, value) in [
        ("type", "number"),
        ("inputmode", "numeric"),
        ("required", ""),
        ("min", &from.to_string()),
        ("max", &to.to_string()),
        ("value", &value.to_string()),
    ] {
        input.set_attribute(attribute, value)?;
    }
    Ok(input)
}

fn select(
    dom: &Dom,
    form: &Element,
    (name, label): (&str, &str),
    options: &[(&str, &str)],
    chosen: &str,
) -> Result<HtmlSelectElement, JsValue> {
    let field = field(dom, form, name, label)?;
    let select: HtmlSelectElement = dom.typed(&field, "select", "")?;
    select.set_id(name);
    for (value, text) in options {
        dom.text(&select, "option", "", text)?
            .set_attribute("value", value)?;
    }
    select.set_value(chosen);
    Ok(select)
}
