//! What the manual says beside the options: examples of commands that have few, and what holds for all of them.

/// For `--help` and the manual.
pub(crate) const ENVIRONMENT: &str = "\
Environment:
  RUST_LOG      what is logged to standard error, such as info or ringtmp_peer=debug; goes before -v and -q
  NO_COLOR      if set, no colours
  RINGTMP_ROOM  the address of the room that `join` joins: who lists this device's processes does not see its secret there
  CHROME        the browser that `demo` opens, where it is not found or another is wanted
  CHROME_FLAGS  more flags for it";

pub(crate) const JOIN_EXAMPLES: &str = "\
Examples:
  ringtmp join \"http://localhost:8080/r/CODE#secret=SECRET\"
  ringtmp join \"http://localhost:8080/r/CODE#secret=SECRET\" --executor cpu --memory 500MB --exit-when-finished
  ringtmp join \"http://localhost:8080/r/CODE#secret=SECRET\" --data text:notes.txt";

pub(crate) const WATCH_EXAMPLES: &str = "\
Examples:
  ringtmp watch http://localhost:8080/r/CODE";

pub(crate) const EXPORT_EXAMPLES: &str = "\
Examples:
  ringtmp export --checkpoint run --output mlp.safetensors";

pub(crate) const TRACE_EXAMPLES: &str = "\
Examples:
  ringtmp trace ring.json
  ringtmp trace head.json tail.json --merged ring.json --timeline ring.svg";

pub(crate) const METERS_EXAMPLES: &str = "\
Examples:
  ringtmp energy meters
  ringtmp energy meters --json";

pub(crate) const ENERGY_EXAMPLES: &str = "\
Examples:
  ringtmp energy meters
  ringtmp energy measure -- ringtmp train --preset mlp --steps 500";

pub(crate) const BENCH_RING_EXAMPLES: &str = "\
Examples:
  ringtmp bench ring --run examples/ring-cost.toml --peers 2,4
  ringtmp bench ring --run examples/ring-cost.toml --tabs 2,4 --rounds 1";

pub(crate) const BENCH_LINKS_EXAMPLES: &str = "\
Examples:
  ringtmp bench links";

pub(crate) const BENCH_PLAN_EXAMPLES: &str = "\
Examples:
  ringtmp bench plan --peers 64 --layers 500";

pub(crate) const BENCH_SERVER_EXAMPLES: &str = "\
Examples:
  ringtmp bench server
  ringtmp bench server --against \"matchbox=matchbox_server 127.0.0.1:{port}\"";

pub(crate) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  ringtmp completions bash > ~/.local/share/bash-completion/completions/ringtmp
  ringtmp completions zsh > ~/.zfunc/_ringtmp
  ringtmp completions fish > ~/.config/fish/completions/ringtmp.fish";

pub(crate) const MAN_EXAMPLES: &str = "\
Examples:
  ringtmp man | man -l -
  ringtmp man --dir ~/.local/share/man/man1";
