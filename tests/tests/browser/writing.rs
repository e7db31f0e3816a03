//! A start that is typed on a page, and what the network writes after it while it is being trained.

use super::{JOIN_MAX, RUN_MAX, axe, ring, stage};
use anyhow::{Context, Result, ensure};
use ringtmp_peer::{View, WritingState};
use ringtmp_tests::{BrowserKind, Theatre};

/// Types a sum as people do, and asks.
const ASK: &str = r#"
    const start = document.querySelector(".write-form input");
    start.value = " 12 + 34 ";
    document.querySelector(".write-form button[type=submit]").click();
"#;

/// The newest text, whether it is seen, and the list of those that are written.
const SHOWN: &str = r#"
    const newest = document.querySelector(".newest");
    const written = [...document.querySelectorAll(".written li .line")].map(line => line.textContent);
    return [newest.querySelector(".start").textContent, newest.offsetParent !== null, written.length]
"#;

#[tokio::test]
async fn the_network_answers_a_sum_typed_in_any_tab_of_the_ring_and_again_as_it_learns()
-> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    // Four steps between two texts.
    let settings = "preset=gpt-nano&executor=cpu&steps=80";
    let (tabs, _) = ring(&theatre, &[&browser; 2], settings, 0).await?;
    let wrote = |count: usize| {
        move |view: &View| {
            let writing = view.writing.as_ref();
            writing.is_some_and(|writing| writing.written.len() >= count)
        }
    };
    // Only the head draws samples: the other tab's question goes through it.
    for tab in &tabs {
        tab.wait_for(JOIN_MAX, "training", stage::trains).await?;
        tab.execute(ASK).await?;
    }
    for tab in &tabs {
        let view = tab.wait_for(RUN_MAX, "a sum", wrote(1)).await?;
        let writing = view.writing.context("it was asked")?;
        ensure!(writing.start == "12+34=", "{writing:?}");
        let written = &writing.written[0];
        ensure!(written.text.chars().count() <= 4, "{written:?}");
        tab.wait_for_text(JOIN_MAX, "steps it writes: 12+34=")
            .await?;
    }
    let tab = &tabs[1];
    if let Some(axe) = axe::axe()? {
        axe::check(tab, &axe, "a sum that was asked").await?;
    }
    let view = tab.wait_for(RUN_MAX, "once more", wrote(2)).await?;
    let written = view.writing.context("it was asked")?.written;
    let apart = written[1].first - written[0].last;
    ensure!((4..20).contains(&apart), "{written:?}");
    stage::pictures(tab, "written").await?;
    let shown = tab.execute(SHOWN).await?;
    let count = shown[2].as_u64().context("a number")?;
    ensure!(
        shown[0] == "12+34=" && shown[1] == true && count >= 2,
        "{shown}"
    );
    tab.execute("document.querySelector('.write-form button[type=button]').click()")
        .await?;
    let rests = |view: &View| {
        let state = view.writing.as_ref().map(|writing| &writing.state);
        matches!(state, Some(WritingState::Rests { again_after: None }))
    };
    tab.wait_for(JOIN_MAX, "no more texts", rests).await?;
    Ok(())
}
