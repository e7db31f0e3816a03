// Loads the module on the page, or says why that is not possible. Everything else is Rust.

// The smallest module that uses a 128-bit vector: (func (result v128) i32.const 0 i8x16.splat i8x16.popcnt).
const SIMD = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
]);

function fail(id, detail) {
  document.querySelector(".opening").hidden = true;
  document.getElementById(id).hidden = false;
  document.getElementById("not-loaded-detail").textContent = detail;
  document.body.dataset.state = "refused";
}

const modern = typeof WebAssembly === "object" && WebAssembly.validate(SIMD)
  && typeof Worker === "function" && typeof RTCPeerConnection === "function";

if (modern) {
  try {
    const { default: init, start_page } = await import("/ringtmp.js");
    await init();
    start_page();
    document.getElementById("before").remove();
    document.getElementById("app").hidden = false;
  } catch (error) {
    fail("not-loaded", String(error));
  }
} else {
  fail("too-old", "");
}
