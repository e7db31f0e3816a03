//! A short run of what the fuzz targets do, without a fuzzer: their examples, and thousands of inputs that are made of these by
//! changing some of their bytes. It prints the seed of an input that fails; `RINGTMP_SEED=SEED` runs that one alone.

mod hostile;
#[path = "hostile/seeds.rs"]
mod seeds;

use hostile::{Read, Said};
use std::path::PathBuf;

/// Inputs that are made of examples: as many as take about a second.
const FRAMES: u64 = 20_000;
const SCRIPTS: u64 = 4_000;

/// The longest input.
const BYTES_MAX: usize = 64 * 1024;

/// Pieces that mean something to a reader of JSON, or of lines.
const WORDS: [&str; 14] = [
    "\n0 +\n",
    "\n1 -\n",
    "\n0 ~60000\n",
    "$ROOM",
    "$PEER1",
    "$ASKER",
    "$SHORT",
    "null",
    "[]",
    "{}",
    "-1",
    "1e400",
    "18446744073709551615",
    "\"",
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let folder = folder.join(target);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("there are examples")
        .map(|entry| entry.expect("readable").path())
        .collect();
    // The same order everywhere, so that a seed means the same.
    paths.sort();
    let read = |path: &PathBuf| std::fs::read(path).expect("readable");
    paths.iter().map(read).collect()
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Draws(u64);

impl Draws {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % n.max(1) as u64) as usize
    }
}

/// An example with a few changes.
fn changed(corpus: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let mut draws = Draws(seed);
    let mut bytes = corpus[draws.below(corpus.len())].clone();
    for _ in 0..=draws.below(6) {
        let at = draws.below(bytes.len() + 1);
        let end = (at + draws.below(32)).min(bytes.len());
        match draws.below(14) {
            0 if at < bytes.len() => bytes[at] ^= 1 << draws.below(8),
            1 if at < bytes.len() => bytes[at] = draws.below(256) as u8,
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let again: Vec<u8> = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            5 => {
                let word = WORDS[draws.below(WORDS.len())];
                bytes.splice(at..end.min(at + word.len()), word.bytes());
            }
            6 => {
                let other = &corpus[draws.below(corpus.len())];
                let from = draws.below(other.len() + 1);
                bytes.splice(at.., other[from..].iter().copied());
            }
            // Whole lines, so that what they say stays what somebody could mean.
            _ => {
                let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
                let line = lines[draws.below(lines.len())..].first().copied();
                let to = draws.below(lines.len() + 1);
                match draws.below(3) {
                    0 if to < lines.len() => drop(lines.remove(to)),
                    _ => lines.splice(to..to, line).for_each(drop),
                }
                bytes = lines.concat();
            }
        }
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

/// Says which input it was, should it be the last.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay it with RINGTMP_SEED={}", self.0);
        }
    }
}

fn short_run(target: &str, inputs: u64, mut read: impl FnMut(&[u8])) {
    let corpus = corpus(target);
    for bytes in &corpus {
        read(bytes);
    }
    let replayed = std::env::var("RINGTMP_SEED").ok();
    let replayed = replayed.map(|seed| seed.parse().expect("a seed is a number"));
    let seeds = match replayed {
        Some(seed) => seed..seed + 1,
        None => 0..inputs,
    };
    for seed in seeds {
        let replay = Replay(seed);
        read(&changed(&corpus, seed));
        drop(replay);
    }
}

#[test]
fn frames_of_strangers_do_no_harm() {
    let mut all = Read::default();
    short_run("frame", FRAMES, |bytes| {
        let read = hostile::frame(bytes);
        all.frames += read.frames;
        all.team_frames += read.team_frames;
    });
    println!("{FRAMES} changed examples: {all:?}");
    // If nothing gets through, it is not the readers that are tested.
    assert!(all.frames > 1000 && all.team_frames > 40, "{all:?}");
}

#[test]
fn texts_of_strangers_do_no_harm() {
    let mut all = Said::default();
    short_run("signalling", SCRIPTS, |bytes| {
        let said = hostile::signalling(bytes);
        all.welcomes += said.welcomes;
        all.relayed += said.relayed;
        all.prepared += said.prepared;
        all.halts += said.halts;
        all.refusals += said.refusals;
        all.closed += said.closed;
        all.asked += said.asked;
    });
    println!("{SCRIPTS} changed examples: {all:?}");
    let Said {
        welcomes,
        relayed,
        prepared,
        halts,
        refusals,
        closed,
        asked,
    } = all;
    for count in [welcomes, relayed, prepared, halts, refusals, closed, asked] {
        assert!(count > 50, "{all:?}");
    }
}
