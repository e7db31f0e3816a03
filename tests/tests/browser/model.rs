//! The whole model, fetched from the ring by a tab and saved as a file.

use super::{JOIN_MAX, RUN_MAX, STEPS, axe, ring, stage};
use anyhow::{Context, Result, ensure};
use ringtmp_core::codec::CodecChoice;
use ringtmp_data::Dataset;
use ringtmp_peer::{
    Arithmetic, Executor, ExecutorChoice, ModelState, RunFile, Solo, View, to_safetensors,
};
use ringtmp_tests::{BrowserKind, Theatre};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Remembers what the page makes a file of.
const WATCH: &str = "
    const make = URL.createObjectURL;
    URL.createObjectURL = blob => { globalThis.saved = blob; return make.call(URL, blob); };
";

/// The name and the digest of the file behind the link, as the browser has it.
const FILE: &str = r#"
    const link = document.querySelector(".model a");
    return saved.arrayBuffer()
        .then(bytes => crypto.subtle.digest("SHA-256", bytes))
        .then(digest => [link.download, [...new Uint8Array(digest)].map(byte => byte.toString(16).padStart(2, "0")).join("")])
"#;

/// The digest of what one process exports.
async fn exported() -> Result<String> {
    let file = RunFile {
        steps: STEPS,
        codec: CodecChoice::F32,
        // As tabs round.
        arithmetic: Arithmetic::Portable,
        ..RunFile::default()
    };
    let executor = Executor::open(ExecutorChoice::Cpu).await?;
    let run = file.check()?;
    let data = Dataset::digits(run.file.seed);
    let mut solo = Solo::new(run, data, executor).await?;
    while solo.steps_done() < STEPS {
        solo.step().await?;
    }
    let digest = Sha256::digest(to_safetensors(&solo.stage().parameters().await?));
    Ok(digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[tokio::test]
async fn the_host_downloads_the_model_that_all_tabs_have_trained() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let (tabs, _) = ring(&theatre, &[&browser; 2], "executor=cpu", 0).await?;
    let host = &tabs[0];
    host.finished(RUN_MAX).await?;
    let guest = tabs[1].text().await?;
    ensure!(!guest.contains("Download the model"), "{guest}");
    host.execute(WATCH).await?;
    host.press("Download the model").await?;
    let here = |view: &View| matches!(view.model, Some(ModelState::Here { steps: STEPS }));
    host.wait_for(JOIN_MAX, "the model", here).await?;
    host.wait_for_text(JOIN_MAX, "Save the file").await?;
    let file = host.execute(FILE).await?;
    let name = file[0].as_str().context("a name")?;
    ensure!(name == format!("mlp-{STEPS}-steps.safetensors"), "{name}");
    ensure!(file[1] == exported().await?, "as one process exports it");
    if let Some(axe) = axe::axe()? {
        axe::check(host, &axe, "a model that was fetched").await?;
    }
    stage::pictures(host, "model").await
}
