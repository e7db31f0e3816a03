//! What a device gives its user as a file: what it did, and what it has learnt.

use super::App;
use super::dom;
use js_sys::Uint8Array;
use std::rc::Rc;

/// What begins to save each of them.
pub(super) struct Savers {
    pub(super) trace: Box<dyn Fn()>,
    pub(super) layers: Box<dyn Fn()>,
}

impl App {
    pub(super) fn savers(self: &Rc<Self>) -> Savers {
        let (one, other) = (Rc::downgrade(self), Rc::downgrade(self));
        Savers {
            trace: Box::new(move || {
                if let Some(app) = one.upgrade() {
                    app.trace_wanted.set(true);
                    app.ask_trace();
                }
            }),
            layers: Box::new(move || {
                if let Some(app) = other.upgrade() {
                    app.ask_layers();
                }
            }),
        }
    }

    /// Gives the trace to who asked for it: a program, or the user as a file.
    pub(super) fn save_trace(&self, json: String) {
        let document = self.dom.document();
        let parts = js_sys::Array::of1(&json.as_str().into());
        if self.trace_wanted.replace(false)
            && let Err(error) = dom::download(document, "ringtmp-trace.json", &parts)
        {
            wasm_bindgen::throw_val(error);
        }
        self.state.borrow_mut().trace = Some(json);
    }

    pub(super) fn ask_trace(&self) {
        if let Some(session) = &*self.session.borrow() {
            // A worker that cannot be posted to has ended, and says so itself.
            let _ = session.ask_trace();
        }
    }

    fn ask_layers(&self) {
        if let Some(session) = &*self.session.borrow() {
            // Likewise.
            let _ = session.ask_layers();
        }
    }

    /// Gives the layers to the user, in a file that names them.
    pub(super) fn save_layers(&self, bytes: &Uint8Array) {
        let state = self.state.borrow();
        let Some(name) = state.view.as_ref().and_then(crate::shown::layers_file) else {
            return;
        };
        let parts = js_sys::Array::of1(bytes);
        if let Err(error) = dom::download(self.dom.document(), &name, &parts) {
            wasm_bindgen::throw_val(error);
        }
    }
}
