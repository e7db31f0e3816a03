//! Texts of rooms whose devices hold whole models.

#![expect(
    missing_docs,
    reason = "the name of a text says where it stands, the text says the rest"
)]

use super::say;

/// What a room of `workers` devices does; `servers` serve and do nothing else, none of them where gradients go round a ring.
pub fn team_training(workers: usize, servers: usize, role: Option<&str>) -> String {
    let work = match workers {
        1 => say!(
            "One device trains on the whole model.",
            "Ein Gerät trainiert auf dem ganzen Modell."
        ),
        n => say!(
            "{n} devices train, each on the whole model.",
            "{n} Geräte trainieren, jedes auf dem ganzen Modell."
        ),
    };
    let serve = match servers {
        0 => String::new(),
        1 => say!(
            " One server adds up what they find and updates the parameters.",
            " Ein Server zählt zusammen, was sie finden, und ändert die Parameter."
        ),
        n => say!(
            " {n} servers add up what they find; each updates a part of the parameters.",
            " {n} Server zählen zusammen, was sie finden; jeder ändert einen Teil der Parameter."
        ),
    };
    match role {
        Some(role) => format!("{work}{serve} {role}"),
        None => format!("{work}{serve}"),
    }
}

pub fn this_works() -> String {
    say!("This one trains.", "Dieses trainiert.")
}

pub fn this_serves() -> String {
    say!("This one serves.", "Dieses dient.")
}

pub fn this_works_and_serves() -> String {
    say!(
        "This one trains and updates a part of the parameters.",
        "Dieses trainiert und ändert einen Teil der Parameter."
    )
}

pub fn this_stands_in() -> String {
    say!(
        "This one keeps copies, and serves soon.",
        "Dieses hält Kopien und dient bald."
    )
}

pub fn stands_in() -> String {
    say!(
        "copies of what it is to serve",
        "Kopien dessen, was ihm bald zufällt"
    )
}

pub fn whole_model() -> String {
    say!("the whole model", "das ganze Modell")
}

pub fn share_of_step(share: &str, all: &str) -> String {
    say!(
        "{share} of {all} micro-batches of each step",
        "{share} von {all} Micro-Batches jedes Schritts"
    )
}

pub fn serves_all() -> String {
    say!("server of all parameters", "Server aller Parameter")
}

pub fn serves_one_of(servers: usize) -> String {
    say!(
        "server of one of {servers} parts of the parameters",
        "Server eines von {servers} Teilen der Parameter"
    )
}

pub fn too_many_servers() -> String {
    say!(
        "nothing: others serve already",
        "nichts: Andere dienen schon"
    )
}

pub fn too_few_micro_batches() -> String {
    say!(
        "nothing: a step has fewer micro-batches than there are devices",
        "nichts: Ein Schritt hat weniger Micro-Batches, als Geräte da sind"
    )
}

pub fn team_summary(workers: usize, servers: usize) -> String {
    match servers {
        0 => say!(
            "{workers} devices train, each on the whole model",
            "{workers} Geräte trainieren, jedes auf dem ganzen Modell"
        ),
        1 => say!(
            "{workers} devices train, each on the whole model; each is linked to one server",
            "{workers} Geräte trainieren, jedes auf dem ganzen Modell; jedes ist mit einem Server verbunden"
        ),
        servers => say!(
            "{workers} devices train, each on the whole model; each is linked to {servers} servers",
            "{workers} Geräte trainieren, jedes auf dem ganzen Modell; jedes ist mit {servers} Servern verbunden"
        ),
    }
}
