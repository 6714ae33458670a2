// Browser to browser: rtc/ beside js-libp2p, and beside a bare data channel, in the same Chromium,
// through the same relay, turn by turn.
import { startBrowser, until } from "../tests/browser/harness.mjs";
import { openPeer, startRelayOf, startSite } from "../tests/interop/pages.mjs";
import { prepare } from "../tests/interop/prepare.mjs";
import { median, printTable, ratios, short, spread } from "./figures.mjs";

const KINDS = ["ours", "js"];

/** count; connections, each between fresh peers. */
const CONNECTS = 50;

/** bytes; pushed over one stream. */
const PUSHED = 64 << 20;

/** count; streams one after another on one connection. */
const STREAMS = 5_000;

/** s; how long a reader pauses. */
const PAUSE = 10;

/** Two pages of a kind, connected. */
async function pair({ browser, site, relay }, kind) {
  const [dialler, listener] = await Promise.all(
    [0, 1].map(() => openPeer(browser, site.origin, kind, relay.address, { keep: false })));
  await dialler.call("dial", await listener.call("address", true));
  await listener.line("accepted ");
  return { dialler, listener, close: () => Promise.all([dialler.close(), listener.close()]) };
}

/** ms; from the dial of a peer that has a relay to the first byte that came back. */
const connect = (dialler, address, id) =>
  dialler.page.evaluate(async ([start, to, peerId]) => {
    const peer = await window.fresh(start);
    const since = performance.now();
    await peer.dial(to);
    await peer.echo(peerId, 1);
    const millis = performance.now() - since;
    peer.free();
    return millis;
  }, [dialler.relay, address, id]);

/** Has a page make more peers of its kind, each with a place at the relay. */
const makesFresh = (peer) =>
  peer.page.evaluate(() => {
    const { constructor: Peer } = window.peer;
    window.fresh = async (relay) => {
      const made = Peer.start(relay, false);
      while (!made.log().includes("reserved")) await new Promise((resolve) => setTimeout(resolve, 5));
      return made;
    };
  });

async function connects(world) {
  const peers = {};
  for (const kind of KINDS) {
    const [dialler, listener] = await Promise.all(
      [0, 1].map(() => openPeer(world.browser, world.site.origin, kind, world.relay.address, { keep: false })));
    dialler.relay = world.relay.address;
    await makesFresh(dialler);
    peers[kind] = { dialler, listener, address: await listener.call("address", true) };
  }
  const millis = { ours: [], js: [] };
  for (let round = 0; round < CONNECTS; round += 1) {
    for (const kind of KINDS) {
      const { dialler, listener, address } = peers[kind];
      await connect(dialler, address, listener.id).then((found) => millis[kind].push(found),
        (error) => console.log(`  ${kind} did not connect: ${error.message.split("\n")[0]}`));
    }
  }
  for (const { dialler, listener } of Object.values(peers)) await Promise.all([dialler.close(), listener.close()]);
  return millis;
}

/** MB/s; from the first byte written to the word that all have been read. */
async function push({ dialler, listener }) {
  const seconds = await dialler.page.evaluate(async ([id, bytes]) => {
    const since = performance.now();
    const read = await window.peer.send(id, bytes);
    if (read !== bytes) throw new Error(`${read} of ${bytes} bytes were read`);
    return (performance.now() - since) / 1000;
  }, [listener.id, PUSHED]);
  return PUSHED / 1e6 / seconds;
}

/** Two pages with a bare connection and channel, as little as a browser needs. */
async function barePair({ browser, site }) {
  const context = await browser.newContext();
  const [near, far] = await Promise.all([0, 1].map(async () => {
    const page = await context.newPage();
    await page.goto(site.origin);
    await page.evaluate(() => (window.connection = new RTCPeerConnection()));
    return page;
  }));
  const described = () =>
    new Promise((resolve) => {
      const { connection } = window;
      const look = () => connection.iceGatheringState === "complete" && resolve(connection.localDescription.toJSON());
      connection.onicegatheringstatechange = look;
      look();
    });
  const describe = async (page, remote) => {
    await page.evaluate(async (description) => {
      if (description) await window.connection.setRemoteDescription(description);
      else window.channel = window.connection.createDataChannel("");
      if (window.connection.signalingState !== "stable" || !description) await window.connection.setLocalDescription();
    }, remote);
    return page.evaluate(described);
  };
  await far.evaluate(() => (window.connection.ondatachannel = ({ channel }) => (window.channel = channel)));
  const answer = await describe(far, await describe(near));
  await near.evaluate((description) => window.connection.setRemoteDescription(description), answer);
  await near.waitForFunction(() => window.channel.readyState === "open");
  await far.waitForFunction(() => window.channel);
  return { near, far, close: () => context.close() };
}

/** MB/s over a bare channel from page to page: what the browser itself can do. */
async function bare({ near, far }, pieceBytes) {
  await far.evaluate((bytes) => {
    let left = bytes;
    window.channel.onmessage = ({ data }) => {
      left -= data.byteLength ?? data.size;
      if (left === 0) window.channel.send("all");
    };
  }, PUSHED);
  const seconds = await near.evaluate(async ([bytes, size]) => {
    const { channel } = window;
    const done = new Promise((resolve) => (channel.onmessage = resolve));
    channel.bufferedAmountLowThreshold = 1 << 18;
    const piece = new Uint8Array(size);
    const since = performance.now();
    for (let sent = 0; sent < bytes; sent += size) {
      channel.send(piece);
      if (channel.bufferedAmount > 1 << 20) await new Promise((resolve) => (channel.onbufferedamountlow = resolve));
    }
    await done;
    return (performance.now() - since) / 1000;
  }, [PUSHED, pieceBytes]);
  return PUSHED / 1e6 / seconds;
}

/** ms a stream: opened, a few bytes there and back, ended by both. */
const streams = async ({ dialler, listener }) =>
  (await dialler.page.evaluate(async ([id, count]) => {
    const since = performance.now();
    await window.peer.streams(id, count);
    return performance.now() - since;
  }, [listener.id, STREAMS])) / STREAMS;

/** What becomes of a push at full speed while the reader pauses. */
async function paused({ dialler, listener }) {
  const pushed = dialler.call("push", listener.id, PUSHED).then((read) => `${read === PUSHED ? "all" : read} read`, (error) => error.message.split("\n")[0]);
  await until("a reader pauses", () => listener.call("paused"));
  await new Promise((resolve) => setTimeout(resolve, PAUSE * 1000));
  await listener.call("release");
  return pushed;
}

const percentile = (values, share) => values.toSorted((a, b) => a - b)[Math.ceil(values.length * share) - 1];
const per = (name, values) => [name, short(median(values)), short(percentile(values, 0.95)), short(Math.min(...values)), short(Math.max(...values))];

export async function rtc({ rounds }) {
  await prepare("release");
  const world = { browser: await startBrowser({ webgpu: false }), site: await startSite(), relay: await startRelayOf("ours") };
  try {
    const millis = await connects(world);
    printTable([`connect to first byte back, ms, ${CONNECTS} each`, "p50", "p95", "lowest", "highest"],
      KINDS.map((kind) => per(kind, millis[kind])));
    console.log(`  js / ours: p50 ${short(median(millis.js) / median(millis.ours))}, p95 ${short(percentile(millis.js, 0.95) / percentile(millis.ours, 0.95))}`);

    const speeds = { ours: [], js: [], "bare, 16 KiB": [], "bare, 64 KiB": [] };
    const pairs = { ours: await pair(world, "ours"), js: await pair(world, "js") };
    const plain = await barePair(world);
    for (let round = 0; round < rounds; round += 1) {
      for (const kind of KINDS) speeds[kind].push(await push(pairs[kind]));
      speeds["bare, 16 KiB"].push(await bare(plain, 16 << 10));
      speeds["bare, 64 KiB"].push(await bare(plain, 64 << 10));
    }
    printTable([`${PUSHED >> 20} MiB over one stream, MB/s`, "median (lowest-highest)", "of bare, 16 KiB"],
      Object.entries(speeds).map(([name, found]) => [name, spread(found), short(median(ratios(found, speeds["bare, 16 KiB"])))]));
    console.log(`  ours / js: ${spread(ratios(speeds.ours, speeds.js))}`);
    await plain.close();

    const each = { ours: [], js: [] };
    for (const kind of KINDS) each[kind].push(await streams(pairs[kind]));
    console.log(`  ${STREAMS} streams one after another, ms each: ours ${short(each.ours[0])}, js ${short(each.js[0])}, js / ours ${short(each.js[0] / each.ours[0])}`);

    const pauses = {};
    for (const kind of KINDS) {
      pauses[kind] = await paused(pairs[kind]);
      console.log(`  ${PUSHED >> 20} MiB at a reader that pauses ${PAUSE} s, ${kind}: ${pauses[kind]}`);
    }
    for (const { close } of Object.values(pairs)) await close();
    return { millis, speeds, each, pauses };
  } finally {
    await world.browser.close();
    world.site.close();
    await world.relay.remove();
  }
}
