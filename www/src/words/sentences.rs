//! Texts that are put together from parts.

#![expect(
    missing_docs,
    reason = "the name of a text says where it stands, the text says the rest"
)]

use super::{
    BUTTON_BEGIN_ANEW, INSECURE, INSECURE_ADVICE, Language, MOTION_LIVE, PRODUCT, SHARE_NETWORK,
    SHARE_NETWORK_WARNED, say, spoken,
};

pub fn share_network(warned_of: bool) -> &'static str {
    match warned_of {
        true => SHARE_NETWORK_WARNED.now(),
        false => SHARE_NETWORK.now(),
    }
}

pub fn insecure() -> String {
    format!("{}. {}", INSECURE.now(), INSECURE_ADVICE.now())
}

/// For those who cannot scan the code.
pub fn join_at(link: &str) -> String {
    say!("Join: {link}", "Mitmachen: {link}")
}

/// The same, where few characters can be typed in place of a link.
pub fn join_typing(address: &str, code: &str) -> String {
    say!(
        "Join: {address} with the code {code}",
        "Mitmachen: {address} mit dem Code {code}"
    )
}

pub fn share_code(link: &str) -> String {
    say!("QR code of {link}", "QR-Code von {link}")
}

pub fn page_title(phase: &str) -> String {
    format!("{phase} · {}", PRODUCT.now())
}

pub fn worker_failed(detail: &str) -> String {
    say!(
        "The training part of the page has failed: {detail}",
        "Der trainierende Teil der Seite ist gescheitert: {detail}"
    )
}

pub fn room_unreadable(reason: &str) -> String {
    say!(
        "This link does not lead to a room: {reason}.",
        "Dieser Link führt zu keinem Raum: {reason}."
    )
}

pub fn parameter_unreadable(name: &str, value: &str, allowed: &str) -> String {
    say!(
        "The address says {name}={value}, which is not understood. It takes {allowed}; the default is used.",
        "In der Adresse steht {name}={value}, was nicht verständlich ist. Möglich: {allowed}; es gilt die Voreinstellung."
    )
}

pub fn waiting(participants: usize, wanted: usize) -> String {
    let here = match participants {
        0 if wanted == 0 => {
            return say!(
                "No device that trains is here yet. Share the link.",
                "Noch ist kein Gerät da, das trainiert. Gib den Link weiter."
            );
        }
        0 => say!(
            "No device that trains is here yet.",
            "Noch ist kein Gerät da, das trainiert."
        ),
        1 => say!("One device is here.", "Ein Gerät ist da."),
        n => say!("{n} devices are here.", "{n} Geräte sind da."),
    };
    match wanted.saturating_sub(participants) {
        0 => say!(
            "{here} Share the link, or start now.",
            "{here} Gib den Link weiter, oder starte jetzt."
        ),
        1 => say!(
            "{here} Training starts with one more.",
            "{here} Mit noch einem beginnt das Training."
        ),
        n => say!(
            "{here} Training starts with {n} more.",
            "{here} Mit noch {n} beginnt das Training."
        ),
    }
}

pub fn training(stages: usize, role: Option<&str>) -> String {
    let ring = match stages {
        0 | 1 => say!(
            "One device trains the whole model.",
            "Ein Gerät trainiert das ganze Modell."
        ),
        n => say!(
            "{n} devices train one model; each holds a part of it.",
            "{n} Geräte trainieren ein Modell; jedes hält einen Teil davon."
        ),
    };
    match role {
        Some(role) => format!("{ring} {role}"),
        None => ring,
    }
}

pub fn holds(layers: &str) -> String {
    say!("This one holds {layers}.", "Dieses hält {layers}.")
}

pub fn this_is_spare() -> String {
    say!(
        "This one is a spare: there are more devices than stages.",
        "Dieses ist Reserve: Es gibt mehr Geräte als Stufen."
    )
}

pub fn this_watches() -> String {
    say!("This one only watches.", "Dieses schaut nur zu.")
}

pub fn stopped(reason: &str) -> String {
    say!(
        "The run ended before its last step: {reason}.",
        "Der Lauf endete vor seinem letzten Schritt: {reason}."
    )
}

pub fn finished(steps: &str, accuracy: Option<&str>, duration: &str) -> String {
    match accuracy {
        Some(accuracy) => say!(
            "{steps} steps, {accuracy} of unseen samples right, {duration} after the room was opened.",
            "{steps} Schritte, {accuracy} der ungesehenen Beispiele richtig, {duration} nach dem Öffnen des Raums."
        ),
        None => say!(
            "{steps} steps, {duration} after the room was opened.",
            "{steps} Schritte, {duration} nach dem Öffnen des Raums."
        ),
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
    say!(
        "{name} on {data} · {layers} layers · {parameters} parameters · {batch} samples a step, {micro_batch} at a time",
        "{name} auf {data} · {layers} Schichten · {parameters} Parameter · {batch} Beispiele je Schritt, {micro_batch} auf einmal"
    )
}

/// Layers are counted from 1 for people.
pub fn layer_range(first: u32, last: u32) -> String {
    if first == last {
        say!("layer {first}", "Schicht {first}")
    } else {
        say!("layers {first}–{last}", "Schichten {first}–{last}")
    }
}

/// Before a device is sent away.
pub fn kick_title(name: &str) -> String {
    say!(
        "Send {name} away? The others take over its layers.",
        "{name} wegschicken? Die anderen übernehmen die Schichten."
    )
}

/// Of a button, for those who do not see beside whom it stands.
pub fn of_device(button: &str, name: &str) -> String {
    format!("{button}: {name}")
}

/// While it computes.
pub fn busy(share: &str) -> String {
    say!("{share} busy", "{share} beschäftigt")
}

/// A rate.
pub fn per_second(bytes: &str) -> String {
    format!("{bytes}/s")
}

/// Outside the ring.
pub fn one_spare(name: &str) -> String {
    say!("spare: {name}", "Reserve: {name}")
}

pub fn spares(count: usize) -> String {
    say!("{count} spares", "{count} in Reserve")
}

pub fn watching(count: usize) -> String {
    match count {
        1 => say!("1 watching", "1 schaut zu"),
        count => say!("{count} watching", "{count} schauen zu"),
    }
}

/// By how much what is shown is slowed down.
pub fn slower(times: f64) -> String {
    if times < 1.05 {
        return MOTION_LIVE.now().to_owned();
    }
    let times = crate::format::local(&if times < 10.0 {
        format!("{times:.1}")
    } else {
        format!("{times:.0}")
    });
    say!(
        "{times} times slower than it was",
        "{times}-mal langsamer, als es war"
    )
}

pub fn parameters(count: &str) -> String {
    say!("{count} parameters", "{count} Parameter")
}

pub fn step_of(done: &str, of: &str) -> String {
    say!("{done} of {of}", "{done} von {of}")
}

pub fn centre_of(of: &str) -> String {
    say!("of {of}", "von {of}")
}

pub fn devices(count: usize) -> String {
    format!("{count} {}", devices_word(count))
}

pub fn devices_word(count: usize) -> &'static str {
    match (count, spoken()) {
        (1, Language::English) => "device",
        (_, Language::English) => "devices",
        (1, Language::German) => "Gerät",
        (_, Language::German) => "Geräte",
    }
}

pub fn sent_to(bytes: &str, to: &str) -> String {
    say!("{bytes} to {to}", "{bytes} an {to}")
}

pub fn device_number(number: usize) -> String {
    say!("device {number}", "Gerät {number}")
}

pub fn link_failed(reason: &str) -> String {
    say!(
        "no link with this device: {reason}",
        "kein Link mit diesem Gerät: {reason}"
    )
}

pub fn ring_summary(stages: usize, layers: usize) -> String {
    say!(
        "{stages} stages in a ring share {layers} layers",
        "{stages} Stufen in einem Ring teilen sich {layers} Schichten"
    )
}

pub fn curve_summary(
    name: &str,
    first: &str,
    first_step: &str,
    last: &str,
    last_step: &str,
) -> String {
    say!(
        "{name}: {first} at step {first_step}, {last} at step {last_step}",
        "{name}: {first} bei Schritt {first_step}, {last} bei Schritt {last_step}"
    )
}

pub fn gives(bytes: &str) -> String {
    say!("gives {bytes}", "gibt {bytes}")
}

pub fn idle(share: &str) -> String {
    say!("{share} idle", "{share} untätig")
}

pub fn paced_late(late: u64, tasks: u64) -> String {
    say!(
        "{late} of {tasks} tasks slower than its pace",
        "{late} von {tasks} Aufgaben langsamer als sein Takt"
    )
}

pub fn bytes_per_sample(bytes: &str) -> String {
    say!("{bytes} a sample", "{bytes} je Beispiel")
}

/// A time on the timeline's axis.
pub fn time_tick(seconds: f64) -> String {
    crate::format::local(&if seconds < 0.000_999 {
        format!("{:.0} µs", seconds * 1e6)
    } else if seconds < 0.999 {
        format!("{} ms", (seconds * 1e4).round() / 10.0)
    } else {
        format!("{} s", (seconds * 10.0).round() / 10.0)
    })
}

pub fn timeline_row(
    number: usize,
    forward: &str,
    backward: &str,
    weights: &str,
    idle: &str,
) -> String {
    say!(
        "Device {number} in the last second: {forward} forward, {backward} backward for the inputs, {weights} backward for the weights, {idle} idle.",
        "Gerät {number} in der letzten Sekunde: {forward} vorwärts, {backward} rückwärts für die Eingaben, {weights} rückwärts für die Gewichte, {idle} untätig."
    )
}

pub fn timeline_row_whole(number: usize, forward: &str, backward: &str, idle: &str) -> String {
    say!(
        "Device {number} in the last second: {forward} forward, {backward} backward, {idle} idle.",
        "Gerät {number} in der letzten Sekunde: {forward} vorwärts, {backward} rückwärts, {idle} untätig."
    )
}

pub fn device_name(browser: Option<&str>, system: Option<&str>) -> String {
    match (browser, system) {
        (Some(browser), Some(system)) => say!("{browser} on {system}", "{browser} auf {system}"),
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => "Browser".to_owned(),
    }
}

pub fn ask_entered(step: &str) -> String {
    say!(
        "On its way round the ring, with step {step}.",
        "Unterwegs durch den Ring, mit Schritt {step}."
    )
}

pub fn ask_answered(digit: usize, probability: &str, steps: &str) -> String {
    say!(
        "The network takes it for a {digit}: {probability}, after {steps} steps.",
        "Das Netz hält es für eine {digit}: {probability}, nach {steps} Schritten."
    )
}

pub fn draw_waiting(label: u32) -> String {
    say!(
        "{label}: waits for this device's next turn",
        "{label}: wartet, bis dieses Gerät wieder dran ist"
    )
}

pub fn draw_entered(label: u32, step: u32) -> String {
    say!(
        "{label}: entered step {step}",
        "{label}: in Schritt {step} eingegangen"
    )
}

pub fn draw_used(label: u32, step: u32) -> String {
    say!(
        "{label}: used in step {step}, and forgotten",
        "{label}: in Schritt {step} benutzt und vergessen"
    )
}

/// What a loss would not take.
pub fn safe(steps: u32) -> String {
    match steps {
        1 => say!(
            "The first step is safe: it lies with two devices.",
            "Der erste Schritt ist sicher: Er liegt bei zwei Geräten."
        ),
        steps => say!(
            "{steps} steps are safe: they lie with two devices.",
            "{steps} Schritte sind sicher: Sie liegen bei zwei Geräten."
        ),
    }
}

/// A run that this device keeps.
pub fn kept_run(name: &str, data: &str, step: &str, steps: &str, ago: &str) -> String {
    say!(
        "{name} on {data}, step {step} of {steps}, {ago}",
        "{name} auf {data}, Schritt {step} von {steps}, {ago}"
    )
}

/// A run that could not be forgotten.
pub fn kept_problem(reason: &str) -> String {
    say!(
        "It could not be forgotten: {reason}.",
        "Er ließ sich nicht vergessen: {reason}."
    )
}

/// What lies on disks as well.
pub fn kept(steps: u32) -> String {
    say!(
        "Step {steps} is kept on their disks: should all of them be closed, it can be gone on from.",
        "Schritt {steps} ist auf ihren Platten aufgehoben: Auch wenn alle geschlossen werden, kann es von dort weitergehen."
    )
}

/// While layers are missing.
pub fn lacking(reason: &str) -> String {
    let begin = BUTTON_BEGIN_ANEW.now();
    say!(
        "Training waits, and goes on by itself: {reason}. {begin} gives up what was learnt.",
        "Das Training wartet und geht von selbst weiter: {reason}. {begin} gibt auf, was gelernt wurde."
    )
}

/// While the ring is put together anew.
pub fn reconfiguring(reason: &str) -> String {
    // Devices' names stay as they are.
    let reason = match reason.strip_prefix("the ") {
        Some(rest) => format!("The {rest}"),
        None => reason.to_owned(),
    };
    say!(
        "{reason}. The others take over and go on.",
        "{reason}. Die anderen übernehmen und machen weiter."
    )
}

/// After the ring was put together anew.
pub fn recovered(reason: &str, taken: &str, step: u32, seconds: &str) -> String {
    let step = step + 1;
    say!(
        "{reason}.{taken} Training went on from step {step} after {seconds}.",
        "{reason}.{taken} Das Training ging nach {seconds} ab Schritt {step} weiter."
    )
}

/// Who has taken over which layers, as a sentence.
pub fn taken_over(parts: &[(&str, String)]) -> String {
    let part = |(name, layers): &(&str, String)| {
        say!("{name} took over {layers}", "{name} übernahm {layers}")
    };
    let parts: Vec<String> = parts.iter().map(part).collect();
    let text = match &parts[..] {
        [] => return String::new(),
        [only] => only.clone(),
        [most @ .., last] => {
            let most = most.join(", ");
            say!("{most}, and {last}", "{most}, und {last}")
        }
    };
    format!(" {}", crate::format::sentence(&text))
}

/// A battery that runs out.
pub fn battery_low(percent: u32) -> String {
    say!(
        "This device's battery is at {percent}%. It can hand its layers on to the others and leave, so that nothing is lost when it goes off.",
        "Der Akku dieses Geräts steht bei {percent} %. Es kann seine Schichten an die anderen weitergeben und gehen, damit nichts verloren geht, wenn es ausgeht."
    )
}

/// What training has taken of the battery, the whole device counted.
pub fn battery_drained(percent: u32, time: &str) -> String {
    say!(
        "This device used {percent}% of its battery in {time} of taking part (measured: all of the device).",
        "Dieses Gerät hat in {time}, in denen es mitmachte, {percent} % seines Akkus verbraucht (gemessen: das ganze Gerät)."
    )
}

/// Steps that were lost.
pub fn made_again(steps: u32) -> String {
    match steps {
        0 => say!("Nothing was lost.", "Nichts ging verloren."),
        1 => say!(
            "1 step was made again.",
            "1 Schritt wurde noch einmal gemacht."
        ),
        steps => say!(
            "{steps} steps were made again.",
            "{steps} Schritte wurden noch einmal gemacht."
        ),
    }
}
