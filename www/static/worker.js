// Loads the module in the worker. Everything else is Rust.
import init, { start_worker } from "/ringtmp.js";

await init();
start_worker();
