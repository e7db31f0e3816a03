// Measures how fast this tab computes, for measure.js. Everything else is Rust.
import init, { measure_speed } from "/ringtmp.js";

await init();
addEventListener("message", ({ data }) => measure_speed(data), { once: true });
postMessage("awake");
