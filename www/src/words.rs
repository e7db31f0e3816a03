//! Every text the page shows. Another language is another module with these names.
//!
//! Two texts lie elsewhere because nothing else can show them: `static/index.html` says that a browser is too old to
//! run this module at all, and errors of the crates below carry their own words.

#![expect(
    missing_docs,
    reason = "the name of a text says where it stands, the text says the rest"
)]

pub const PRODUCT: &str = "RingTMP";
pub const PURPOSE: &str = "Train one neural network across the devices around you.";
pub const PURPOSE_DETAIL: &str = "Every device opens one link. Its browser tab holds a few of the layers, computes them, and \
    hands the result to its neighbour, until the ring closes. The devices talk to each other directly: the server only introduces them.";

pub const FORM_TITLE: &str = "Open a room";
pub const FORM_MODEL: &str = "Model";
/// The presets that tabs train within minutes, and a word for each.
pub const FORM_MODELS: [(&str, &str); 3] = [
    ("mlp", "mlp: a small classifier"),
    ("cnn", "cnn: convolutions over pictures"),
    ("gpt-nano", "gpt-nano: a small transformer"),
];
pub const FORM_DATA: &str = "Data";
pub const FORM_DATA_USUAL: &str = "drawn digits; for a transformer sums";
pub const FORM_SOURCE: &str = "Samples to train on";
pub const FORM_SOURCE_ONE: &str = "all from the first device";
pub const FORM_SOURCE_EVERY: &str = "every device its own";
pub const FORM_STEPS: &str = "Steps";
pub const FORM_PEERS: &str = "Devices to wait for";
pub const FORM_PEERS_HINT: &str =
    "Training starts by itself when they are there, this one included. With 0 it waits for Start.";
pub const FORM_EXECUTOR: &str = "This device computes on";
pub const FORM_EXECUTOR_AUTO: &str = "the best it has";
pub const FORM_EXECUTOR_GPU: &str = "its GPU";
pub const FORM_EXECUTOR_CPU: &str = "its CPU";
pub const FORM_CREATE: &str = "Create room";

pub const KEPT_TITLE: &str = "Kept on this device";
pub const KEPT_DETAIL: &str = "Runs that can be gone on with, though all their devices were closed. Open the new room on the others too: each brings the layers that it kept.";
pub const KEPT_GO_ON: &str = "Go on";
pub const KEPT_FORGET: &str = "Forget";

pub const BUTTON_START: &str = "Start now";
pub const BUTTON_START_AGAIN: &str = "Train again";
pub const BUTTON_BEGIN_ANEW: &str = "Begin anew";
pub const BUTTON_PAUSE: &str = "Pause";
pub const BUTTON_RESUME: &str = "Resume";
pub const BUTTON_STOP: &str = "Stop";
pub const BUTTON_LEAVE: &str = "Leave";
pub const BUTTON_LEAVE_NOW: &str = "Leave at once";
pub const BUTTON_HAND_ON: &str = "Hand my layers on";
pub const BUTTON_PAUSE_ALL: &str = "Pause for all";
pub const BUTTON_RELOAD: &str = "Try again";
pub const PLEDGE: &str = "This device gives up to";
pub const BUTTON_HOME: &str = "Open another room";

pub const DRAW_TITLE: &str = "Train on this";
pub const DRAW_HINT: &str =
    "Draw a digit, say which it is, and the ring trains on it once. It is not kept.";
pub const DRAW_PAD: &str = "Drawing area: draw a digit with finger, mouse or pen";
pub const DRAW_LABELS: &str = "Which digit it is";
pub const DRAW_TRAIN: &str = "Train on this";
pub const DRAW_CLEAR: &str = "Clear";
pub const DRAW_WATCHING: &str =
    "This page only watches. A device that takes part can draw digits for the ring to train on.";
pub const DRAW_BEFORE: &str =
    "Once training runs, a digit drawn here goes into the next step that this device makes.";
pub const DRAW_PAUSED: &str = "Training is paused; drawings enter when it goes on.";
pub const DRAW_AFTER: &str = "The run is over. Train again to draw digits for it.";
pub const DRAW_NO_SOURCE: &str = "In this run another device draws the samples. In a room where every device trains on its own, this one would take drawings too.";

pub const SHARE_TITLE: &str = "Open this link on the next device";
pub const PROJECTOR: &str = "Show on a projector";
pub const SHARE_COPY: &str = "Copy link";
pub const SHARE_COPIED: &str = "Copied";
pub const SHARE_COPY_BY_HAND: &str = "Selected: copy it";
pub const SHARE_LOCAL: &str = "This address works on this computer only: open it in more tabs here. For other devices, serve on an address they can reach.";
pub const SHARE_NETWORK: &str =
    "Any device in this network can open it: scan the code with its camera.";
pub const SHARE_NETWORK_WARNED: &str = "Any device in this network can open it: scan the code with its camera. Its browser warns once that it does not know this \
    computer's certificate. Go on there: press Advanced, on an iPhone Show Details.";

pub const INSECURE: &str = "This page came without HTTPS, so the browser holds back the GPU, storage and keeping the screen on. This device trains on its CPU";
pub const INSECURE_ADVICE: &str = "For the rest, open the https:// link that the server shows.";

pub const SCREEN_KEPT: &str = "The screen stays on while this device trains. Locking it, or going to another app, stops this page: after a few seconds the others take over its layers.";
pub const SCREEN_NOT_KEPT: &str = "Keep this page in view: this browser does not keep the screen on for it. Once the screen is locked the page stops, and after a few seconds the others take over its layers.";

pub const SERVER_CONNECTING: &str = "connecting to the server";
pub const SERVER_CONNECTED: &str = "server connected";
pub const SERVER_LOST: &str = "server lost";
pub const SERVER_AWAY: &str = "server away, trying again";

pub const JOINING: &str = "Joining";
pub const WAITING: &str = "Waiting for devices";
pub const WARMING_UP: &str = "Warming up";
pub const TRAINING: &str = "Training";
pub const PAUSED: &str = "Paused";
pub const RECONFIGURING: &str = "Putting the ring together again";
pub const LACKING: &str = "Waiting for a device";
pub const FINISHED: &str = "Finished";
pub const STOPPED: &str = "Stopped";
pub const REFUSED: &str = "Could not join";
pub const BROKEN: &str = "This device dropped out";
pub const LEFT: &str = "You left the room";

pub const JOINING_STARTING: &str = "Starting this device.";
pub const JOINING_SERVER: &str = "Looking for the server.";
pub const JOINING_ROOM: &str = "The server is there. Entering the room.";
pub const WARMING_UP_DETAIL: &str =
    "The devices build their layers, connect to their neighbours and prepare their kernels.";
pub const PAUSED_DETAIL: &str = "No new step begins until somebody presses Resume.";
pub const LEAVING_DETAIL: &str = "This device finishes the step, hands its layers on, and leaves as soon as the others have them.";
pub const LEFT_DETAIL: &str = "The others go on without this device. Reload the page to come back.";

pub const NUMBER_STEP: &str = "Step";
pub const NUMBER_LOSS: &str = "Loss";
pub const NUMBER_ACCURACY: &str = "Accuracy";
pub const NUMBER_SAMPLES: &str = "Samples/s";
pub const NUMBER_BYTES: &str = "Data/s";
pub const NUMBER_NONE: &str = "–";

pub const RING_TITLE: &str = "The ring";
pub const RING_CLOSING: &str = "closing link";
pub const MOTION_ACTIVATIONS: &str = "activations";
pub const MOTION_GRADIENTS: &str = "gradients";
pub const MOTION_LIVE: &str = "as fast as it was";
pub const CENTRE_STEP: &str = "step";

pub const CURVE_LOSS: &str = "Loss";
pub const CURVE_ACCURACY: &str = "Accuracy on unseen samples";
pub const CURVE_EMPTY: &str = "The curve begins with the first step.";
pub const CURVE_EMPTY_ACCURACY: &str = "The curve begins with the first evaluation.";

pub const MEMBERS_TITLE: &str = "Devices";
pub const MEMBERS_NONE: &str = "Nobody is here yet.";
pub const COLUMN_DEVICE: &str = "Device";
pub const COLUMN_LAYERS: &str = "Layers";
pub const COLUMN_TIME: &str = "Its time";
pub const COLUMN_STATUS: &str = "Status";
pub const COLUMN_LINKS: &str = "Links";
pub const HOST: &str = "host";
pub const BUTTON_KICK: &str = "Send away";
pub const BUTTON_RENAME: &str = "Rename";
pub const BUTTON_CANCEL: &str = "Cancel";
pub const RENAME_TITLE: &str = "A name that everybody sees";
pub const KICKED_ADVICE: &str = "Ask them before you come back.";
pub const THIS_DEVICE: &str = "this device";
pub const KIND_TAB: &str = "browser tab";
pub const KIND_NATIVE: &str = "program";
pub const EXECUTOR_GPU: &str = "GPU";
pub const EXECUTOR_CPU: &str = "CPU";
pub const UNNAMED: &str = "unnamed device";

pub const STATUS_WAITING: &str = "waiting";
pub const STATUS_MEASURING: &str = "measuring its speed";
pub const STATUS_PREPARING: &str = "preparing";
pub const STATUS_READY: &str = "ready";
pub const STATUS_TRAINING: &str = "training";
pub const STATUS_SPARE: &str = "spare";
pub const STATUS_WATCHING: &str = "watching";
pub const STATUS_DONE: &str = "done";
pub const STATUS_AWAY: &str = "away";
pub const STATUS_LEAVING: &str = "leaving";
pub const STATUS_CUT_OUT: &str = "cut out";

pub const LAYERS_TOO_FEW: &str = "none: there are more devices than layers";
pub const LAYERS_TOO_LARGE: &str = "none: it gives less memory than a layer takes";
pub const LAYERS_FASTER_WITHOUT: &str = "none: the ring is as fast without it";
pub const LAYERS_WATCHING: &str = "none: it only watches";
pub const LAYERS_UNPLANNED: &str = "not dealt yet";

pub const LINK_CONNECTING: &str = "link to this device is being made";
pub const LINK_OPEN: &str = "linked with this device";

pub const NOTICES: &str = "What happened";
pub const LEVEL_INFORMATION: &str = "Note";
pub const LEVEL_WARNING: &str = "Warning";
pub const LEVEL_ERROR: &str = "Error";

pub const WORKER_FAILED_ADVICE: &str = "Reload the page. If it happens again, close other tabs to free memory, or try another browser.";
pub const SIGNALLING_ADVICE: &str =
    "Check that the server runs and that this device is on its network, then try again.";
pub const COMPUTE_ADVICE: &str = "Add executor=cpu to the address to train on the CPU.";
pub const REFUSED_ADVICE: &str = "Check the link with whoever sent it, or open a room of your own.";
pub const WORKER_NOT_LOADED: &str = "its script could not be loaded";
pub const START_UNREADABLE: &str = "The training part of the page cannot read its first message.";
pub const UNANSWERED: &str = "The training part of the page does not start.";

pub const fn share_network(warned_of: bool) -> &'static str {
    match warned_of {
        true => SHARE_NETWORK_WARNED,
        false => SHARE_NETWORK,
    }
}

pub fn insecure() -> String {
    format!("{INSECURE}. {INSECURE_ADVICE}")
}

pub fn share_code(link: &str) -> String {
    format!("QR code of {link}")
}

pub fn page_title(phase: &str) -> String {
    format!("{phase} · {PRODUCT}")
}

pub fn worker_failed(detail: &str) -> String {
    format!("The training part of the page has failed: {detail}")
}

pub fn room_unreadable(reason: &str) -> String {
    format!("This link does not lead to a room: {reason}.")
}

pub fn parameter_unreadable(name: &str, value: &str, allowed: &str) -> String {
    format!(
        "The address says {name}={value}, which is not understood. It takes {allowed}; the default is used."
    )
}

pub fn waiting(participants: usize, wanted: usize) -> String {
    let here = match participants {
        0 if wanted == 0 => return "No device that trains is here yet. Share the link.".to_owned(),
        0 => "No device that trains is here yet.".to_owned(),
        1 => "One device is here.".to_owned(),
        n => format!("{n} devices are here."),
    };
    match wanted.saturating_sub(participants) {
        0 => format!("{here} Share the link, or start now."),
        1 => format!("{here} Training starts with one more."),
        n => format!("{here} Training starts with {n} more."),
    }
}

pub fn training(stages: usize, role: Option<&str>) -> String {
    let ring = match stages {
        0 | 1 => "One device trains the whole model.".to_owned(),
        n => format!("{n} devices train one model; each holds a part of it."),
    };
    match role {
        Some(role) => format!("{ring} {role}"),
        None => ring,
    }
}

pub fn holds(layers: &str) -> String {
    format!("This one holds {layers}.")
}

pub fn this_is_spare() -> String {
    "This one is a spare: there are more devices than stages.".to_owned()
}

pub fn this_watches() -> String {
    "This one only watches.".to_owned()
}

pub fn stopped(reason: &str) -> String {
    format!("The run ended before its last step: {reason}.")
}

pub fn finished(steps: &str, accuracy: Option<&str>, duration: &str) -> String {
    match accuracy {
        Some(accuracy) => format!(
            "{steps} steps, {accuracy} of unseen samples right, {duration} after the room was opened."
        ),
        None => format!("{steps} steps, {duration} after the room was opened."),
    }
}

pub fn run_line(
    name: &str,
    data: &str,
    layers: usize,
    parameters: &str,
    batch: u32,
    micro_batch: u32,
) -> String {
    format!(
        "{name} on {data} · {layers} layers · {parameters} parameters · {batch} samples a step, {micro_batch} at a time"
    )
}

/// Layers are counted from 1 for people.
pub fn layer_range(first: u32, last: u32) -> String {
    if first == last {
        format!("layer {first}")
    } else {
        format!("layers {first}–{last}")
    }
}

/// Before a device is sent away.
pub fn kick_title(name: &str) -> String {
    format!("Send {name} away? The others take over its layers.")
}

/// Of a button, for those who do not see beside whom it stands.
pub fn of_device(button: &str, name: &str) -> String {
    format!("{button}: {name}")
}

/// While it computes.
pub fn busy(share: &str) -> String {
    format!("{share} busy")
}

/// A rate.
pub fn per_second(bytes: &str) -> String {
    format!("{bytes}/s")
}

/// Outside the ring.
pub fn one_spare(name: &str) -> String {
    format!("spare: {name}")
}

pub fn spares(count: usize) -> String {
    format!("{count} spares")
}

pub fn watching(count: usize) -> String {
    format!("{count} watching")
}

/// By how much what is shown is slowed down.
pub fn slower(times: f64) -> String {
    match times {
        times if times < 1.05 => MOTION_LIVE.to_owned(),
        times if times < 10.0 => format!("{times:.1} times slower than it was"),
        times => format!("{times:.0} times slower than it was"),
    }
}

pub fn parameters(count: &str) -> String {
    format!("{count} parameters")
}

pub fn step_of(done: &str, of: &str) -> String {
    format!("{done} of {of}")
}

pub fn centre_of(of: &str) -> String {
    format!("of {of}")
}

pub fn devices(count: usize) -> String {
    format!("{count} {}", devices_word(count))
}

pub const fn devices_word(count: usize) -> &'static str {
    if count == 1 { "device" } else { "devices" }
}

pub fn sent_to(bytes: &str, to: &str) -> String {
    format!("{bytes} to {to}")
}

pub fn device_number(number: usize) -> String {
    format!("device {number}")
}

pub fn link_failed(reason: &str) -> String {
    format!("no link with this device: {reason}")
}

pub fn ring_summary(stages: usize, layers: usize) -> String {
    format!("{stages} stages in a ring share {layers} layers")
}

pub fn curve_summary(
    name: &str,
    first: &str,
    first_step: &str,
    last: &str,
    last_step: &str,
) -> String {
    format!("{name}: {first} at step {first_step}, {last} at step {last_step}")
}

pub const TIMELINE_TITLE: &str = "What each device does";
pub const TRACE_SAVE: &str = "Save this device's trace";
pub const LEGEND_FORWARD: &str = "F forward";
pub const LEGEND_BACKWARD: &str = "B backward, for the inputs";
pub const LEGEND_WEIGHTS: &str = "W backward, for the weights";
pub const LEGEND_UPDATE: &str = "U update";
pub const LEGEND_ACTIVATION: &str = "activations arriving";
pub const LEGEND_GRADIENT: &str = "gradients arriving";
pub const LEGEND_IDLE: &str = "idle";

pub const WAITS_INPUT: &str = "mostly waits for a neighbour to compute";
pub const WAITS_LINK: &str = "mostly waits for a link";
pub const WAITS_CREDIT: &str = "mostly waits for work to come back";
pub const WAITS_WEIGHTS: &str = "mostly waits for its own update";

pub fn gives(bytes: &str) -> String {
    format!("gives {bytes}")
}

pub fn idle(share: &str) -> String {
    format!("{share} idle")
}

pub fn paced_late(late: u64, tasks: u64) -> String {
    format!("{late} of {tasks} tasks slower than its pace")
}

pub fn bytes_per_sample(bytes: &str) -> String {
    format!("{bytes} a sample")
}

/// A time on the timeline's axis.
pub fn time_tick(seconds: f64) -> String {
    if seconds < 0.000_999 {
        format!("{:.0} µs", seconds * 1e6)
    } else if seconds < 0.999 {
        format!("{} ms", (seconds * 1e4).round() / 10.0)
    } else {
        format!("{} s", (seconds * 10.0).round() / 10.0)
    }
}

pub fn timeline_row(
    number: usize,
    forward: &str,
    backward: &str,
    weights: &str,
    idle: &str,
) -> String {
    format!(
        "Device {number} in the last second: {forward} forward, {backward} backward for the inputs, {weights} backward for the weights, {idle} idle."
    )
}

pub fn device_name(browser: Option<&str>, system: Option<&str>) -> String {
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => "Browser".to_owned(),
    }
}

pub fn draw_waiting(label: u32) -> String {
    format!("{label}: waits for this device's next turn")
}

pub fn draw_entered(label: u32, step: u32) -> String {
    format!("{label}: entered step {step}")
}

pub fn draw_used(label: u32, step: u32) -> String {
    format!("{label}: used in step {step}, and forgotten")
}

/// Behind a sentence: what a loss would not take.
pub fn safe(steps: u32) -> String {
    match steps {
        1 => "The first step is safe: it lies with two devices.".to_owned(),
        steps => format!("{steps} steps are safe: they lie with two devices."),
    }
}

/// A run that this device keeps.
pub fn kept_run(name: &str, data: &str, step: &str, steps: &str, ago: &str) -> String {
    format!("{name} on {data}, step {step} of {steps}, {ago}")
}

/// A run that could not be forgotten.
pub fn kept_problem(reason: &str) -> String {
    format!("It could not be forgotten: {reason}.")
}

/// What lies on disks as well.
pub fn kept(steps: u32) -> String {
    format!(
        "Step {steps} is kept on their disks: should all of them be closed, it can be gone on from."
    )
}

/// While layers are missing.
pub fn lacking(reason: &str) -> String {
    let begin = BUTTON_BEGIN_ANEW;
    format!("Training waits, and goes on by itself: {reason}. {begin} gives up what was learnt.")
}

/// While the ring is put together anew.
pub fn reconfiguring(reason: &str) -> String {
    format!("{reason}. The others take over and go on.")
}

/// After the ring was put together anew.
pub fn recovered(reason: &str, taken: &str, step: u32, seconds: &str) -> String {
    format!(
        "{reason}.{taken} Training went on from step {} after {seconds}.",
        step + 1
    )
}

/// Who has taken over which layers, as a sentence.
pub fn taken_over(parts: &[(&str, String)]) -> String {
    let parts: Vec<String> = parts
        .iter()
        .map(|(name, layers)| format!("{name} took over {layers}"))
        .collect();
    let text = match &parts[..] {
        [] => return String::new(),
        [only] => only.clone(),
        [most @ .., last] => format!("{}, and {last}", most.join(", ")),
    };
    format!(" {}", crate::format::sentence(&text))
}

/// A battery that runs out.
pub fn battery_low(percent: u32) -> String {
    format!(
        "This device's battery is at {percent}%. It can hand its layers on to the others and leave, so that nothing is lost when it goes off."
    )
}

/// Steps that were lost.
pub fn made_again(steps: u32) -> String {
    match steps {
        0 => "Nothing was lost.".to_owned(),
        1 => "1 step was made again.".to_owned(),
        steps => format!("{steps} steps were made again."),
    }
}
