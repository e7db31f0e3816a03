//! Sentences of the card before joining, and of asking to be let in.

#![expect(
    missing_docs,
    reason = "the name of a text says where it stands, the text says the rest"
)]

use super::say;

pub fn adapter_limits(name: &str, bytes: &str, threads: &str) -> String {
    let name = match name {
        "" => String::new(),
        name => format!("{name}: "),
    };
    say!(
        "{name}buffers of up to {bytes}, {threads} threads in a group",
        "{name}Puffer bis {bytes}, {threads} Threads in einer Gruppe"
    )
}

pub fn storage_space(bytes: &str) -> String {
    say!(
        "{bytes} free, to go on after all devices were closed",
        "{bytes} frei, um weiterzumachen, wenn alle Geräte geschlossen wurden"
    )
}

pub fn storage_none(reason: &str) -> String {
    say!(
        "Nothing is kept here: {reason}.",
        "Hier wird nichts aufgehoben: {reason}."
    )
}

pub fn link_works(took: &str) -> String {
    say!(
        "A link of this device with itself stood after {took}.",
        "Ein Link dieses Geräts mit sich selbst stand nach {took}."
    )
}

pub fn link_fails(reason: &str) -> String {
    say!(
        "A link of this device with itself does not work: {reason}. An extension or a policy of this browser may forbid WebRTC.",
        "Ein Link dieses Geräts mit sich selbst geht nicht: {reason}. Vielleicht verbietet eine Erweiterung oder Richtlinie dieses Browsers WebRTC."
    )
}

/// With whom a visitor would train: names that are told, how many more there are, and who has opened the room.
pub fn with_whom(told: &[&str], more: usize, host: Option<&str>) -> String {
    let mut names: Vec<String> = told.iter().map(|name| (*name).to_owned()).collect();
    match more {
        0 => {}
        1 => names.push(say!("one more", "einem weiteren")),
        more => names.push(say!("{more} more", "{more} weiteren")),
    }
    let list = match &names[..] {
        [] => return say!("Nobody trains here yet.", "Noch trainiert hier niemand."),
        [only] => only.clone(),
        [most @ .., last] => {
            let most = most.join(", ");
            say!("{most} and {last}", "{most} und {last}")
        }
    };
    match host {
        Some(host) => say!(
            "With {list}. The room was opened by {host}.",
            "Mit {list}. Den Raum hat {host} geöffnet."
        ),
        None => say!("With {list}.", "Mit {list}."),
    }
}

pub fn asking(code: &str) -> String {
    say!(
        "Asking the host of room {code} to be let in.",
        "Bitte um Einlass in den Raum {code}."
    )
}

pub fn asks(name: &str, kind: &str) -> String {
    say!(
        "{name} ({kind}) asks to take part.",
        "{name} ({kind}) möchte mitmachen."
    )
}

pub fn no_such_code(code: &str) -> String {
    say!(
        "There is no room {code}: it has ended, or the code was misheard.",
        "Es gibt keinen Raum {code}: Er ist zu Ende, oder der Code wurde falsch verstanden."
    )
}

pub fn secret_unreadable(reason: &str) -> String {
    say!(
        "The link's secret cannot be read: {reason}.",
        "Das Geheimnis des Links ist nicht lesbar: {reason}."
    )
}
