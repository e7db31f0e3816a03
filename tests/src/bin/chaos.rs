//! Kills one of four tabs at a random moment, over and over. `cargo xtask chaos` builds what is needed and calls it.

use anyhow::{Context, Result, bail};
use ringtmp_core::signal::RunResult;
use ringtmp_peer::Paradigm;
use ringtmp_tests::chaos::{EVERY, Work, killed, undisturbed};
use ringtmp_tests::{BrowserKind, Theatre};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// `gpt-nano` with batches of 64.
const WORK: Work = Work {
    paradigm: Paradigm::Ring,
    steps: 12,
    batch: 64,
    pace: None,
};

/// What is asked for.
struct Wanted {
    rounds: usize,
    seed: u64,
    path: String,
}

/// Reads `--rounds N --seed N --json FILE`, each of which may be left out.
fn wanted(mut arguments: impl Iterator<Item = String>) -> Result<Wanted> {
    let mut wanted = Wanted {
        rounds: 20,
        seed: 1,
        path: "-".to_owned(),
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next();
        let value = value.with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--rounds" => wanted.rounds = value.parse().context("--rounds is a number")?,
            "--seed" => wanted.seed = value.parse().context("--seed is a number")?,
            "--json" => wanted.path = value,
            _ => bail!("there is no {name}: say --rounds N, --seed N or --json FILE"),
        }
    }
    Ok(wanted)
}

/// One number for the weights of all layers.
fn hash(result: &RunResult) -> String {
    let mut hash = Sha256::new();
    for digest in &result.digests {
        hash.update(digest.sha256.as_bytes());
    }
    let bytes = hash.finalize();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Numbers of a seed, one after the other ("splitmix64": Steele, Lea and Flood, 2014).
fn draw(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % below
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let Wanted { rounds, seed, path } = wanted(std::env::args().skip(1))?;
    let mut random = seed;
    let theatre = Theatre::open(&[BrowserKind::Chromium]).await?;
    let theatre = theatre.context("tabs need the built page, Chromium and its driver")?;
    let whole = hash(&undisturbed(&theatre, WORK).await?.result);
    let (mut seconds, mut repeated, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=rounds {
        let victim = draw(&mut random, 4) as usize;
        let at_step = 2 + draw(&mut random, u64::from(WORK.steps) - 6) as u32;
        let and_then = Duration::from_millis(draw(&mut random, 3000));
        let round = match killed(&theatre, WORK, victim, at_step, and_then).await {
            Ok(round) => round,
            Err(error) => {
                eprintln!("round {number}: {error:#}");
                continue;
            }
        };
        let made_again: u32 = round.recoveries.iter().map(|one| one.repeated).sum();
        let took = round.seconds_to_resume.unwrap_or_default();
        eprintln!(
            "round {number}: tab {victim} after step {at_step}; {took:.1} s, {made_again} steps"
        );
        seconds.push(took);
        repeated.push(made_again);
        hashes.push(hash(&round.result));
    }
    let equal = hashes.iter().all(|hash| *hash == whole);
    // In `sync`, with 32-bit floats, a micro-batch that were lost or counted twice would show in the weights.
    let none = equal.then_some(0);
    let figures = json!({
        "schema_version": 1,
        "rounds": rounds,
        "seed": seed,
        "recovered": hashes.len(),
        "k": EVERY,
        "seconds_to_resume": seconds,
        "steps_repeated": repeated,
        "lost": none,
        "duplicated": none,
        "weights_hash": hashes.iter().find(|hash| **hash != whole).unwrap_or(&whole),
        "undisturbed_hash": whole,
    });
    let text = serde_json::to_string_pretty(&figures)?;
    if path == "-" {
        println!("{text}");
    } else {
        std::fs::write(&path, text).with_context(|| format!("cannot write {path}"))?;
    }
    if hashes.len() < rounds || !equal {
        bail!("not every round went on to the weights of a ring left in peace");
    }
    Ok(())
}
