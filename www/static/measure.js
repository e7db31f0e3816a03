// Measures what a link to another tab carries: ours, or a data channel with nothing around it. A program opens two of these pages,
// calls `start` on both and passes `signals` of each to `deliver` of the other, until `carried` or `failed` is there. And how fast a
// tab computes: `speed` with settings in JSON, and then `told` until something in it is "finished" or says that it failed.
import init, { serve_connections } from "/ringtmp.js";

// Smaller messages are slower.
const MESSAGE_BYTES = 64 * 1024;
const HIGH_MARK_BYTES = 1024 * 1024;
const LOW_MARK_BYTES = 256 * 1024;

const measuring = { signals: [], begun: false, carried: null, failed: null, start, deliver: null, told: [], speed };
globalThis.measuring = measuring;
const fail = (error) => { measuring.failed = String(error); };

function start(kind, offers, seconds) {
  (kind === "ours" ? ours : bare)(offers, seconds).catch(fail);
}

function speed(settings) {
  const worker = new Worker("/measure-speed-worker.js", { type: "module" });
  worker.onerror = fail;
  worker.onmessage = ({ data }) => {
    if (data === "awake") worker.postMessage(settings);
    else measuring.told.push(data);
  };
}

async function ours(offers, seconds) {
  await init();
  const worker = new Worker("/measure-worker.js", { type: "module" });
  const { port1, port2 } = new MessageChannel();
  measuring.deliver = (signal) => worker.postMessage(signal);
  worker.onerror = fail;
  worker.onmessage = ({ data }) => {
    if (data === "awake") {
      measuring.connections = serve_connections(port1, worker);
      worker.postMessage({ port: port2, offers, seconds }, [port2]);
      return;
    }
    const told = JSON.parse(data);
    if (told.signal) measuring.signals.push(JSON.stringify(told.signal));
    if (told === "begun") measuring.begun = true;
    if (told.carried) measuring.carried = told.carried;
    if (told.failed) fail(told.failed);
  };
}

async function bare(offers, seconds) {
  const peer = new RTCPeerConnection();
  measuring.peer = peer;
  const channel = peer.createDataChannel("bare", { negotiated: true, id: 0 });
  channel.binaryType = "arraybuffer";
  const say = (signal) => measuring.signals.push(JSON.stringify(signal));
  peer.onicecandidate = ({ candidate }) => { if (candidate) say({ candidate }); };
  const describe = async (description) => {
    await peer.setLocalDescription(description);
    say({ description: peer.localDescription });
  };
  // One after the other: a candidate is of no use before the description.
  let last = Promise.resolve();
  const take = async ({ description, candidate }) => {
    if (candidate) return peer.addIceCandidate(candidate);
    await peer.setRemoteDescription(description);
    if (!offers) await describe(await peer.createAnswer());
  };
  measuring.deliver = (signal) => { last = last.then(() => take(JSON.parse(signal))).catch(fail); };
  if (offers) {
    channel.onopen = () => flood(channel);
    await describe(await peer.createOffer());
  } else {
    count(channel, seconds);
  }
}

function flood(channel) {
  const message = new Uint8Array(MESSAGE_BYTES).fill(7);
  channel.bufferedAmountLowThreshold = LOW_MARK_BYTES;
  const fill = () => { while (channel.bufferedAmount < HIGH_MARK_BYTES) channel.send(message); };
  channel.onbufferedamountlow = fill;
  fill();
}

// Counts for some seconds, after half as many to get going.
function count(channel, seconds) {
  let begins = null;
  let start = null;
  let bytes = 0;
  channel.onmessage = ({ data }) => {
    const now = Date.now();
    begins ??= now + 500 * seconds;
    if (start === null) {
      if (now >= begins) {
        start = now;
        measuring.begun = true;
      }
      return;
    }
    bytes += data.byteLength;
    const elapsed = (now - start) / 1000;
    if (elapsed >= seconds && !measuring.carried) measuring.carried = { bytes, seconds: elapsed };
  };
}
