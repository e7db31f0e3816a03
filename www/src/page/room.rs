//! The page of a room.

use super::care::CareNotes;
use super::controls::Controls;
use super::curves::Curves;
use super::dom::{Dom, set_text, show};
use super::draw::Draw;
use super::members::Members;
use super::model::Model;
use super::notices::Notices;
use super::numbers::{Figures, Numbers};
use super::pledge::Pledge;
use super::porch::Porch;
use super::ring::Ring;
use super::saving::Savers;
use super::share::Share;
use super::timeline::Timeline;
use super::write::Write;
use crate::pledge::changeable;
use crate::replay::Replay;
use crate::ring::RingDrawing;
use crate::shown::{self, Care, Ending, OwnDevice, Phase, Progress};
use crate::traffic::Traffic;
use crate::{format, words};
use ringtmp_peer::{Command, Notice, View};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{Element, HtmlElement, Window};

/// Everything on the page of a room.
pub(super) struct Room {
    headline: Element,
    sentence: Element,
    safety: Element,
    /// Who may take part, where that is not as usual.
    access: HtmlElement,
    run: HtmlElement,
    notices: Notices,
    porch: Porch,
    numbers: Numbers,
    controls: Controls,
    model: Model,
    care: CareNotes,
    pledge: Pledge,
    share: Share,
    ring: Ring,
    timeline: Timeline,
    curves: Curves,
    draw: Draw,
    write: Write,
    members: Members,
    /// What is of no use before there is a room.
    of_room: [HtmlElement; 2],
}

/// What a room's page is made of.
pub(super) struct Content<'a> {
    pub(super) view: Option<&'a View>,
    pub(super) ending: Option<&'a Ending>,
    /// Notices of the page's own.
    pub(super) own_notices: &'a [Notice],
    pub(super) figures: Figures<'a>,
    /// What travels on each link.
    pub(super) traffic: &'a Traffic,
    /// What is known of this device.
    pub(super) device: OwnDevice,
    /// The link to the room.
    pub(super) url: Option<&'a str>,
}

impl Room {
    pub(super) fn new(
        dom: &Dom,
        parent: &Element,
        window: &Window,
        projector: bool,
        act: Rc<dyn Fn(Command)>,
        savers: Savers,
    ) -> Result<Self, JsValue> {
        let top: HtmlElement = dom.typed(parent, "div", "room")?;
        let story: HtmlElement = dom.typed(&top, "div", "story")?;
        let state = dom.child(&story, "div", "state")?;
        state.set_attribute("role", "status")?;
        let headline = dom.text(&state, "h1", "", words::JOINING.now())?;
        let sentence = dom.text(&state, "p", "sentence", "")?;
        let safety = dom.text(&story, "p", "safety", "")?;
        let access: HtmlElement = dom.typed(&story, "p", "access")?;
        let run = dom.typed(&story, "p", "run")?;
        let notices = Notices::new(dom, &story)?;
        let porch = Porch::new(dom, &story, Rc::clone(&act))?;
        let numbers_place: HtmlElement = dom.typed(&story, "div", "")?;
        let numbers = Numbers::new(dom, &numbers_place)?;
        let controls = Controls::new(dom, &story, window, Rc::clone(&act), savers.layers)?;
        let model = Model::new(dom, &story, Rc::clone(&act))?;
        let care = CareNotes::new(dom, &story, Rc::clone(&act))?;
        let pledge = Pledge::new(dom, &story, Rc::clone(&act))?;
        let shown: HtmlElement = dom.typed(&top, "div", "shown")?;
        let ring = Ring::new(dom, &shown, window)?;
        let write = Write::new(dom, &shown, Rc::clone(&act))?;
        let share = Share::new(dom, &top, window)?;
        let details: HtmlElement = dom.typed(parent, "div", "details")?;
        let timeline = Timeline::new(dom, &details, savers.trace)?;
        let curves = Curves::new(dom, &details, window, projector)?;
        let draw = Draw::new(dom, &details, Rc::clone(&act))?;
        let members = Members::new(dom, &details, act)?;
        let of_room = [numbers_place, details];
        Ok(Self {
            headline,
            sentence,
            safety,
            access,
            run,
            notices,
            porch,
            numbers,
            controls,
            model,
            care,
            pledge,
            share,
            ring,
            timeline,
            curves,
            draw,
            write,
            members,
            of_room,
        })
    }

    /// Where the whole model is offered.
    pub(super) fn model(&self) -> &Model {
        &self.model
    }

    /// Brings everything up to date. Says whether drawing the curves was put off.
    pub(super) fn update(&self, content: Content<'_>) -> Result<bool, JsValue> {
        let Content {
            view,
            ending,
            own_notices,
            figures,
            traffic,
            device,
            url,
        } = content;
        let phase = Phase::of(view, ending);
        set_text(&self.headline, phase.headline());
        set_text(&self.sentence, &shown::sentence(phase, view));
        set_text(&self.safety, &shown::safety(phase, view));
        let access = shown::access(view.filter(|_| ending.is_none()));
        show(&self.access, !access.is_empty());
        set_text(&self.access, access);
        let run = view.and_then(|view| view.run.as_ref());
        show(&self.run, run.is_some());
        set_text(&self.run, &run.map_or_else(String::new, shown::run_line));
        let mut notices = shown::notices(view, ending);
        notices.extend_from_slice(own_notices);
        self.notices.update(notices)?;
        self.porch.update(view.filter(|_| ending.is_none()))?;
        self.controls.update(phase.controls(view));
        self.model.update(phase, view)?;
        self.care.update(&Care::of(phase, view, device))?;
        self.pledge
            .update(view.and_then(|view| changeable(phase, view)))?;
        self.share.update(
            url,
            shown::may_take_part(view),
            shown::short_code(view),
            shown::is_asked(view),
        )?;
        for part in &self.of_room {
            show(part, view.is_some_and(|view| view.room.is_some()));
        }
        self.numbers.update(&figures)?;
        self.draw.update(phase, view)?;
        self.write.update(phase, view)?;
        let Some(view) = view else { return Ok(false) };
        let lines = shown::member_lines(view);
        self.members.update(&lines)?;
        let centre = centre(phase, &figures.progress, view);
        let drawing = RingDrawing::new(view, &lines, traffic, self.ring.is_narrow());
        let replay = Replay::new(view).filter(|_| phase == Phase::Training);
        self.ring.update(drawing, centre, replay)?;
        self.timeline.update(view)?;
        self.curves
            .update(&view.points, figures.progress.of, phase == Phase::Training)
    }
}

/// What stands in the middle of the ring.
fn centre(phase: Phase, progress: &Progress, view: &View) -> [String; 3] {
    let room = view.room.as_ref();
    let plan = room.and_then(|room| room.plan.as_ref());
    if plan.is_none() || phase == Phase::WarmingUp {
        let here = room.map_or(0, shown::participants);
        return [
            String::new(),
            here.to_string(),
            words::devices_word(here).to_owned(),
        ];
    }
    let count = |value: u32| format::count(u64::from(value));
    [
        words::CENTRE_STEP.now().to_owned(),
        count(progress.done),
        words::centre_of(&count(progress.of)),
    ]
}
