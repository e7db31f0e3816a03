//! What happens at a server's sockets, as the lobby is told of it.
#![no_main]

#[path = "../../crates/ringtmp-core/tests/hostile/mod.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    hostile::signalling(bytes);
});
