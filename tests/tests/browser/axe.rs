//! Accessibility, as far as axe-core can tell: contrast (WCAG AA), names, roles, landmarks. `cargo xtask setup` fetches it.

use super::stage::trains;
use super::{JOIN_MAX, RUN_MAX, ring};
use anyhow::{Result, ensure};
use ringtmp_peer::View;
use ringtmp_tests::{BrowserKind, Look, Tab, Theatre, repository};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// The version and digest of what is run.
const FILE: &str = "target/tools/axe-core-4.14.1.min.js";
const SHA256: &str = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c";

/// What is checked: all that WCAG 2.2 asks for at levels A and AA, and what axe's authors hold to be good practice.
const TAGS: &str = r#"["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]"#;

/// How it is looked at: widths of a phone, a tablet and a laptop, light and dark.
const LOOKS: [(u32, bool); 5] = [
    (360, false),
    (360, true),
    (820, false),
    (1280, false),
    (1280, true),
];

/// axe-core; nothing, aloud, where it is not.
pub(super) fn axe() -> Result<Option<String>> {
    let Ok(script) = std::fs::read_to_string(repository().join(FILE)) else {
        eprintln!("SKIP: {FILE} is missing; `cargo xtask setup` fetches it where there is npm");
        return Ok(None);
    };
    let digest = Sha256::digest(script.as_bytes());
    let digest = digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    ensure!(digest == SHA256, "{FILE} is not what it was: {digest}");
    Ok(Some(script))
}

/// Everything that axe finds fault with, in all looks.
pub(super) async fn check(tab: &Tab, axe: &str, name: &str) -> Result<()> {
    for (width, dark) in LOOKS {
        tab.look(Look {
            width,
            height: 900,
            scale: 1.0,
            dark,
        })
        .await?;
        tab.execute(&format!("if (!globalThis.axe) {{ {axe} }}"))
            .await?;
        let found = tab
            .execute(&format!(
                "return axe.run(document, {{ runOnly: {TAGS}, resultTypes: ['violations'] }}).then(result =>
                    result.violations.flatMap(fault => fault.nodes.map(node =>
                        `${{fault.id}}: ${{node.html.slice(0, 160)}} ${{node.failureSummary.slice(0, 200)}}`)))"
            ))
            .await?;
        let faults: Vec<String> = serde_json::from_value(found)?;
        ensure!(
            faults.is_empty(),
            "{name}, {width} wide, dark {dark}:\n{}",
            faults.join("\n")
        );
    }
    Ok(())
}

#[tokio::test]
async fn axe_finds_no_fault_with_any_view_of_the_page() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let Some(axe) = axe()? else { return Ok(()) };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let first = browser.tab(&theatre.url("/")).await?;
    first.wait_for_text(JOIN_MAX, "Create room").await?;
    check(&first, &axe, "the first page").await?;
    first.goto(&theatre.url("/?lang=de")).await?;
    first.wait_for_text(JOIN_MAX, "Raum öffnen").await?;
    check(&first, &axe, "the first page in German").await?;
    let typed = theatre.secure_url("/").replacen("https://", "http://", 1);
    first.goto(&typed).await?;
    first.wait_for_text(JOIN_MAX, "will warn you once").await?;
    check(&first, &axe, "what explains the warning").await?;
    drop(first);

    let settings = "executor=cpu&steps=100000&pace=4e8";
    let (tabs, room) = ring(&theatre, &[&browser], settings, 1).await?;
    tabs[0]
        .wait_for_text(JOIN_MAX, "Training starts with one more")
        .await?;
    check(&tabs[0], &axe, "a room that waits").await?;
    let visitor = browser.tab(&theatre.url(&format!("/r/{room}"))).await?;
    visitor.wait_for_text(JOIN_MAX, "Before you join").await?;
    visitor
        .execute("document.querySelector('.preflight details').open = true")
        .await?;
    visitor
        .wait_for_text(JOIN_MAX, "with itself stood after")
        .await?;
    check(&visitor, &axe, "before joining").await?;
    drop(visitor);
    let second = theatre.joining(&format!("/r/{room}?executor=cpu"));
    let second = browser.tab(&second).await?;
    let curve = |view: &View| trains(view) && view.points.len() > 10;
    tabs[0].wait_for(RUN_MAX, "a curve", curve).await?;
    check(&tabs[0], &axe, "the host's page").await?;
    tabs[0]
        .execute("[...document.querySelectorAll('tr.member button')].find(button => button.textContent === 'Rename').click()")
        .await?;
    tabs[0].wait_for_element(JOIN_MAX, "dialog[open]").await?;
    check(&tabs[0], &axe, "the question for a name").await?;
    tabs[0]
        .execute("document.querySelector('dialog[open]').close()")
        .await?;
    for (query, name) in [
        ("view=projector", "the projector's view"),
        ("watch&lang=de", "a page in German"),
    ] {
        let address = theatre.url(&format!("/r/{room}?{query}"));
        let watcher = browser.tab(&address).await?;
        watcher.wait_for(RUN_MAX, "a curve", curve).await?;
        check(&watcher, &axe, name).await?;
    }
    tabs[0].press("Stop").await?;
    second.wait_for_text(JOIN_MAX, "stopped on purpose").await?;
    check(&second, &axe, "a guest's page after the end").await
}
