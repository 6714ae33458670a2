// Browser to browser with js-libp2p, each as dialler and as listener, through a relay of each.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startBrowser, until } from "../browser/harness.mjs";
import { openPeer, startRelayOf, startSite } from "./pages.mjs";
import { prepare } from "./prepare.mjs";

/** bytes; below, at and above what a frame, and what js-libp2p's buffers hold. */
const LENGTHS = [1, 100, 16_365, 16_384, 65_537, 1 << 20, 16 << 20];

/** One after another, on one connection. */
const STREAMS = 5_000;

/** How many are asked for at once. */
const TOGETHER = 500;

/**
 * Of those, what js-libp2p may lose: Chromium hands over a channel on which it never sends now and
 * then (see rtc/src/stream). Two peers of rtc/ do not notice.
 */
const MUTE = 4;

/** bytes; what js-libp2p pushes into a channel before it waits. */
const PUSHED = 2 << 20;

const made = {};
before(async () => {
  await prepare();
  made.browser = await startBrowser({ webgpu: false });
  made.site = await startSite();
  made.relays = {};
  for (const kind of ["js", "ours"]) made.relays[kind] = await startRelayOf(kind);
});
after(async () => {
  await made.browser?.close();
  made.site?.close();
  for (const relay of Object.values(made.relays ?? {})) await relay.remove();
});

async function pushes(from, to) {
  const pushed = from.call("push", to.id, PUSHED);
  await Promise.race([pushed, until("a reader is paused", () => to.call("paused"))]);
  await to.call("release");
  assert.equal(await pushed, PUSHED);
}

/** Opens streams until `count` have ended well; `mute` of them may fail on the way. */
async function streams(from, to, count, mute) {
  let [left, lost] = [count, 0];
  while (left > 0) {
    const n = Math.min(left, TOGETHER);
    await from.call("streams", to.id, n).then(() => (left -= n), (error) => {
      const well = Number(error.message.match(/\bstream (\d+): /)?.[1]);
      lost += 1;
      if (!Number.isInteger(well) || lost > mute) throw error;
      left -= well;
    });
  }
}

async function gossips(from, to, text) {
  await until(`somebody listens to ${text}`, () => from.call("publish", text));
  await to.line(`message ${text}`);
}

async function exchanges(dialler, listener, mute) {
  for (const length of LENGTHS) await dialler.call("echo", listener.id, length);
  for (const length of [1, 1 << 20]) await listener.call("echo", dialler.id, length);
  await streams(dialler, listener, STREAMS, mute);
  await streams(listener, dialler, 20, mute);
  await pushes(dialler, listener);
  await pushes(listener, dialler);
  await gossips(dialler, listener, "hello from the dialler");
  await gossips(listener, dialler, "hello from the listener");
}

const PAIRS = [["ours", "js"], ["js", "ours"], ["ours", "ours"]];

for (const relay of ["js", "ours"]) {
  for (const [from, to] of PAIRS) {
    test(`${from} dials ${to} through the relay of ${relay}`, { timeout: 240_000 }, async () => {
      const { address } = made.relays[relay];
      const { origin } = made.site;
      const [dialler, listener] = await Promise.all(
        [from, to].map((kind) => openPeer(made.browser, origin, kind, address)));
      try {
        const dialled = await dialler.call("dial", await listener.call("address", true));
        assert.match(dialled, /\/webrtc\b/);
        await listener.line(`accepted /webrtc/p2p/${dialler.id}`);
        for (const peer of [dialler, listener]) {
          assert.match(String(await peer.pairs()), /^(host|prflx)-(host|prflx)$/);
        }
        await exchanges(dialler, listener, from === to ? 0 : MUTE);
      } finally {
        await Promise.all([dialler, listener].map((peer) => peer.close()));
      }
    });
  }
}

/** Two of our peers whose only way is the relay's certificate, with streams over circuits. */
const direct = async (check) => {
  const { direct: address, peerId } = made.relays.ours;
  const peers = await Promise.all([0, 1].map(() =>
    openPeer(made.browser, made.site.origin, "ours", address, { relayed: true })));
  try {
    for (const peer of peers) await peer.line(`ping ${peerId}`);
    await check(peers, address);
  } finally {
    await Promise.all(peers.map((peer) => peer.close()));
  }
};

test("a relay is reached by its certificate alone, and carries a megabyte", { timeout: 90_000 }, () =>
  direct(async ([dialler, listener]) => {
    const circuit = await dialler.call("dial", await listener.call("address", false));
    assert.match(circuit, /webrtc-direct.*p2p-circuit/);
    // Within the 4 MiB that a circuit may carry.
    for (const length of [1, 16_384, 1 << 20]) await dialler.call("echo", listener.id, length);
    await listener.call("echo", dialler.id, 1 << 19);
    await dialler.call("streams", listener.id, 100);
    // The same circuit carries signalling.
    await dialler.call("dial", await listener.call("address", true));
    await listener.line(`accepted /webrtc/p2p/${dialler.id}`);
    await dialler.line(`upgraded ${listener.id}`);
    await dialler.call("echo", listener.id, 1 << 20);
  }));

test("a server that is not the one of the address is refused, with the stage", { timeout: 90_000 }, () =>
  direct(async ([dialler, listener], address) => {
    const relay = address.replace(/\/p2p\/.*/, "");
    await assert.rejects(dialler.call("dial", `${relay}/p2p/${listener.id}`), /proving who the peer is failed/);
    const other = relay.replace(/certhash\/uEi(.)/, (_, letter) => `certhash/uEi${letter === "A" ? "B" : "A"}`);
    assert.notEqual(other, relay);
    await assert.rejects(dialler.call("dial", `${other}/p2p/${made.relays.ours.peerId}`), /finding a direct way failed/);
  }));
