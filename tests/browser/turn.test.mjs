// The relay's STUN and TURN, judged by Chromium alone: no Thrum in these pages.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import path from "node:path";
import { after, before, test } from "node:test";
import { openPage, root, startBrowser, startRelay, until } from "./harness.mjs";

const profile = process.env.THRUM_RELAY_PROFILE ?? "debug";
const example = path.join(root, "target", profile, "examples", "turn_credentials");

let relay, browser;
before(async () => {
  relay = await startRelay();
  browser = await startBrowser({ webgpu: false });
});
after(async () => {
  await browser?.close();
  await relay?.remove();
});

/** An `iceServers` entry for a peer that nobody knew before, by the relay's own protocol. */
const credentials = () => {
  const { ttlSecs, ...server } = JSON.parse(execFileSync(example, [relay.info.addrs[0]], { encoding: "utf8" }));
  assert.equal(ttlSecs, 600);
  return server;
};

const metric = async (name) => {
  const text = await (await fetch(`${relay.origin}/metrics`)).text();
  const line = text.split("\n").find((one) => one.startsWith(`thrum_relay_${name} `));
  return Number(line?.split(" ").at(-1) ?? 0);
};

/** A page with a connection `window.pc`; candidates are in its description once it gathered. */
async function openPeer(configuration) {
  const { page, context } = await openPage(browser, `${relay.origin}/healthz`);
  await page.evaluate((given) => {
    window.errors = [];
    window.received = [];
    window.pc = new RTCPeerConnection(given);
    pc.onicecandidateerror = ({ url, errorCode, errorText }) => errors.push(`${url} ${errorCode} ${errorText}`);
    window.gathered = () => new Promise((resolve) => {
      const look = () => pc.iceGatheringState === "complete" && resolve(pc.localDescription.toJSON());
      pc.addEventListener("icegatheringstatechange", look);
      look();
    });
    window.listen = (channel) => {
      window.channel = channel;
      channel.binaryType = "arraybuffer";
      channel.onmessage = ({ data }) => received.push(data);
    };
    pc.ondatachannel = ({ channel }) => listen(channel);
  }, configuration);
  return { page, close: () => context.close() };
}

const offer = (page) => page.evaluate(async () => {
  listen(pc.createDataChannel("echo"));
  await pc.setLocalDescription();
  return gathered();
});

test("Chromium gathers at the relay's STUN without an error", async () => {
  const before = await metric("stun_requests_total");
  const iceServers = relay.info.iceServers;
  assert.equal(iceServers[0].urls.every((url) => url.startsWith("stun:127.0.0.1:")), true);
  const peer = await openPeer({ iceServers });
  const { sdp } = await offer(peer.page);
  assert.match(sdp, /a=candidate/);
  assert.deepEqual(await peer.page.evaluate(() => errors), []);
  assert.equal(await metric("stun_requests_total") > before, true);
  await peer.close();
});

test("two pages that may use nothing but the relay's TURN talk through it", async () => {
  const policy = () => ({ iceServers: [credentials()], iceTransportPolicy: "relay" });
  const [one, two] = [await openPeer(policy()), await openPeer(policy())];
  const offered = await offer(one.page);
  for (const line of offered.sdp.match(/a=candidate.*/g)) assert.match(line, / typ relay /);
  const answered = await two.page.evaluate(async (description) => {
    await pc.setRemoteDescription(description);
    await pc.setLocalDescription();
    return gathered();
  }, offered);
  await one.page.evaluate((description) => pc.setRemoteDescription(description), answered);
  for (const { page } of [one, two]) {
    await until("the channel is open", () => page.evaluate(() => window.channel?.readyState === "open"));
  }
  await two.page.evaluate(() => { channel.onmessage = ({ data }) => channel.send(data); });
  const [n, same] = await one.page.evaluate(async () => {
    const sent = crypto.getRandomValues(new Uint8Array(16_000));
    const echoed = new Promise((resolve) => { channel.onmessage = ({ data }) => resolve(new Uint8Array(data)); });
    channel.send(sent);
    const got = await echoed;
    return [got.length, got.every((byte, at) => byte === sent[at])];
  });
  assert.deepEqual([n, same], [16_000, true]);
  const kinds = await one.page.evaluate(async () => {
    const stats = [...(await pc.getStats()).values()];
    const pair = stats.find(({ type, nominated, state }) => type === "candidate-pair" && nominated && state === "succeeded");
    return [pair.localCandidateId, pair.remoteCandidateId].map((id) => stats.find((one) => one.id === id).candidateType);
  });
  assert.deepEqual(kinds, ["relay", "relay"]);
  assert.equal(await metric("turn_allocations") >= 2, true);
  assert.equal(await metric('turn_bytes_total{to="peers"}') >= 32_000, true);
  for (const { page } of [one, two]) await page.evaluate(() => pc.close());
  await until("the allocations are given back", async () => (await metric("turn_allocations")) === 0);
  await one.close();
  await two.close();
});

test("made-up credentials get no candidate", async () => {
  const server = { ...credentials(), credential: "made up" };
  const peer = await openPeer({ iceServers: [server], iceTransportPolicy: "relay" });
  const { sdp } = await offer(peer.page);
  assert.doesNotMatch(sdp, /a=candidate/);
  assert.match((await peer.page.evaluate(() => errors)).join("\n"), / 401 /);
  await peer.close();
});
