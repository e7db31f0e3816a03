//! Frames and chunks, as a peer gets them from its neighbours.
#![no_main]

#[path = "../../crates/ringtmp-core/tests/hostile/mod.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    hostile::frame(bytes);
});
