// Loads the module in the worker of measure.js. Everything else is Rust.
import init, { LinkMeter } from "/ringtmp.js";

await init();
let meter = null;
addEventListener("message", ({ data }) => {
  // Arrays bring channels, which are the module's own business.
  if (Array.isArray(data)) return;
  if (meter === null) meter = new LinkMeter(data.port, data.offers, data.seconds);
  else meter.deliver(data);
});
postMessage("awake");
