//! How fast a tab computes: `ringtmp bench` in headless Chromium. `cargo xtask bench-browser` builds what is needed and calls it.
//! One JSON line each goes to standard output.

use anyhow::{Context, Result, bail};
use ringtmp_tests::speed::{Wanted, measure};
use ringtmp_tests::{BrowserKind, Theatre};

/// Reads the arguments, each of which may be left out.
fn wanted(mut arguments: impl Iterator<Item = String>) -> Result<(Vec<String>, Wanted)> {
    let words = |value: &str| -> Vec<String> {
        let words = value.split(',').filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    };
    let mut executors = words("gpu,cpu");
    let mut wanted = Wanted {
        executor: String::new(),
        presets: words("mlp,cnn,gpt-nano"),
        batch: None,
        products: vec![256, 512],
        rounds: 5,
        seconds: 1.0,
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next();
        let value = value.with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--executor" => executors = words(&value),
            "--preset" => wanted.presets = words(&value),
            "--batch" => wanted.batch = Some(value.parse().context("--batch is a number")?),
            "--products" => {
                let sizes = words(&value).into_iter().map(|size| size.parse());
                let sizes: Result<_, _> = sizes.collect();
                wanted.products = sizes.context("--products are numbers")?;
            }
            "--rounds" => wanted.rounds = value.parse().context("--rounds is a number")?,
            "--seconds" => wanted.seconds = value.parse().context("--seconds is a number")?,
            _ => bail!(
                "there is no {name}: say --executor gpu,cpu, --preset NAMES, --batch N, --products SIZES, --rounds N or --seconds S"
            ),
        }
    }
    Ok((executors, wanted))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let (executors, wanted) = wanted(std::env::args().skip(1))?;
    let theatre = Theatre::open(&[BrowserKind::Chromium]).await?;
    let theatre = theatre.context("tabs need the built page, Chromium and its driver")?;
    for executor in executors {
        // A browser of its own, so that what one leaves behind is not the other's load.
        let browser = theatre.browser(BrowserKind::Chromium).await?;
        let wanted = Wanted {
            executor,
            ..wanted.clone()
        };
        measure(&theatre, &browser, &wanted, |line| println!("{line}")).await?;
    }
    Ok(())
}
