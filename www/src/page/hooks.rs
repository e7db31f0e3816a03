//! The page for programs and tests.

use super::App;
use super::session::Session;
use crate::messages::{Channels, read_command};
use js_sys::{Object, Reflect};
use std::rc::Rc;
use wasm_bindgen::prelude::*;

impl App {
    /// `globalThis.ringtmp`: the page for programs and tests. `view()` gives the view as JSON, `command(json)` passes a
    /// command on, `channels()` says how data channels reach the worker; `trace()` gives this device's trace some time after
    /// `askTrace()`. They also keep the app alive, as long as the page.
    pub(super) fn publish_hooks(self: &Rc<Self>) -> Result<(), JsValue> {
        let hooks = Object::new();
        let app = Rc::clone(self);
        let view = Closure::<dyn Fn() -> JsValue>::new(move || {
            let json = app
                .state
                .borrow()
                .view
                .as_ref()
                .and_then(|view| serde_json::to_string(view).ok());
            json.map_or(JsValue::NULL, JsValue::from)
        });
        let app = Rc::clone(self);
        let command = Closure::<dyn Fn(String) -> Result<(), JsValue>>::new(move |json: String| {
            let command = read_command(&json).map_err(|error| JsError::new(&error.to_string()))?;
            app.command(&command);
            Ok(())
        });
        let app = Rc::clone(self);
        let channels = Closure::<dyn Fn() -> JsValue>::new(move || {
            match app.session.borrow().as_ref().map(Session::channels) {
                Some(Channels::Transfer) => "transfer".into(),
                Some(Channels::Post) => "post".into(),
                None => JsValue::NULL,
            }
        });
        let app = Rc::clone(self);
        let ask_trace = Closure::<dyn Fn()>::new(move || {
            app.state.borrow_mut().trace = None;
            app.ask_trace();
        });
        let app = Rc::clone(self);
        let trace = Closure::<dyn Fn() -> JsValue>::new(move || {
            let trace = app.state.borrow().trace.clone();
            trace.map_or(JsValue::NULL, JsValue::from)
        });
        for (name, function) in [
            ("askTrace", ask_trace.into_js_value()),
            ("trace", trace.into_js_value()),
            ("view", view.into_js_value()),
            ("command", command.into_js_value()),
            ("channels", channels.into_js_value()),
        ] {
            Reflect::set(&hooks, &name.into(), &function)?;
        }
        Reflect::set(&js_sys::global(), &"ringtmp".into(), &hooks)?;
        Ok(())
    }
}
