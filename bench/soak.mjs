// Long runs of rtc/ between two pages: what they take of memory as they go, printed now and then.
import { startBrowser } from "../tests/browser/harness.mjs";
import { openPeer, startRelayOf, startSite } from "../tests/interop/pages.mjs";
import { prepare } from "../tests/interop/prepare.mjs";
import { printTable } from "./figures.mjs";

/** count; streams one after another on one connection. */
const STREAMS = 100_000;

/** count; how often two peers connect and part. */
const CYCLES = 1_000;

/** count; lines of a table. */
const LINES = 10;

/** What a page holds after a collection of garbage: MB of JavaScript and of WebAssembly, connections. */
async function held(peer) {
  peer.session ??= await peer.page.context().newCDPSession(peer.page);
  await peer.session.send("Performance.enable");
  await peer.session.send("HeapProfiler.collectGarbage");
  const { metrics } = await peer.session.send("Performance.getMetrics");
  const of = (name) => metrics.find((it) => it.name === name)?.value;
  const wasm = await peer.page.evaluate(() => window.memory.buffer.byteLength);
  return { heap: of("JSHeapUsedSize") / 1e6, wasm: wasm / 1e6, connections: of("RTCPeerConnections") };
}

/** Two pages and a relay; `run` is given them, and how to add a line to the table. */
async function between(unit, run) {
  await prepare("release");
  const world = { browser: await startBrowser({ webgpu: false }), site: await startSite(), relay: await startRelayOf("ours") };
  const rows = [];
  const line = async (done, peers) => {
    const [near, far] = await Promise.all(peers.map(held));
    const row = [done, ...[near, far].flatMap(({ heap, wasm, connections }) => [heap.toFixed(2), wasm.toFixed(2), connections])];
    rows.push(row);
    console.log(`  ${done} ${unit}: ${row.slice(1).join(" ")}`);
  };
  try {
    const peers = await Promise.all([0, 1].map(() =>
      openPeer(world.browser, world.site.origin, "ours", world.relay.address, { keep: false })));
    for (const peer of peers) peer.relay = world.relay.address;
    await run(peers, await peers[1].call("address", true), (done) => line(done, peers));
  } finally {
    await world.browser.close();
    world.site.close();
    await world.relay.remove();
  }
  printTable([unit, "dialler: JS MB", "wasm MB", "connections", "listener: JS MB", "wasm MB", "connections"], rows);
  return rows;
}

/** Streams one after another on one connection. */
export const streams = () =>
  between("streams", async ([dialler, listener], address, line) => {
    await dialler.call("dial", address);
    await dialler.line(`upgraded ${listener.id}`);
    const [each, together] = [STREAMS / LINES, 1_000];
    await line(0);
    for (let done = 0; done < STREAMS; done += together) {
      await dialler.call("streams", listener.id, together);
      if ((done + together) % each === 0) await line(done + together);
    }
  });

/** Has a page go on with a new peer in the place of the one it had. */
const anew = (peer) =>
  peer.page.evaluate(async (relay) => {
    const { constructor: Peer } = window.peer;
    window.peer.free();
    window.peer = Peer.start(relay, false);
    while (!window.peer.log().includes("reserved")) await new Promise((resolve) => setTimeout(resolve, 5));
  }, peer.relay);

/**
 * Connecting, a byte there and back, and parting, again and again. A relay lets a peer open 64
 * circuits at once, so that the dialler is another now and then, and waits where it is told to.
 */
export const cycles = () =>
  between("cycles", async ([dialler, listener], address, line) => {
    const cycle = async () => {
      await dialler.call("dial", address);
      await dialler.call("echo", listener.id, 1);
      await dialler.call("part", listener.id);
    };
    await line(0);
    for (let done = 0; done < CYCLES;) {
      const limited = await cycle().then(() => false, (error) => {
        if (!error.message.includes("resource limit")) throw error;
        return true;
      });
      if (limited) await new Promise((resolve) => setTimeout(resolve, 2_000));
      else done += 1;
      if (limited || done % 50 > 0) continue;
      await anew(dialler);
      if (done % (CYCLES / LINES) === 0) await line(done);
    }
  });
