// Tabs that talk without a relay between them: the way there, a relay that dies, a tab that does.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { openNode, root, seesProvider, startBrowser, startRelay, until } from "./harness.mjs";

let browser;
before(async () => {
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
});

/** Answers made by the native reference, `tests/vectors/answers.json`. */
const answers = JSON.parse(readFileSync(path.join(root, "tests/vectors/answers.json"), "utf8"));

const peerOf = (page, peerId) =>
  page.evaluate((id) => window.node.peers().find((one) => one.peerId === id) ?? null, peerId);

const direct = (page, peerId) =>
  until(`${peerId} is reached directly`, async () => {
    const peer = await peerOf(page, peerId);
    return peer?.path === "direct" && peer.transport === "webrtc";
  });

const complete = (page, { prompt }) =>
  page.evaluate((text) => window.node.completions.create({
    prompt: text, max_tokens: 64, temperature: 0, thrum: { route: "peer", ignoreEos: true },
  }), prompt);

test("two tabs find a direct way, and it outlives every relay", async () => {
  const relay = await startRelay();
  try {
    const provider = await openNode(browser, relay);
    const asker = await openNode(browser, relay);
    await provider.page.evaluate(() => window.node.donate());
    await seesProvider(asker.page, provider.peerId);
    await Promise.all([direct(asker.page, provider.peerId), direct(provider.page, asker.peerId)]);
    const before = await complete(asker.page, answers.greedy[0]);
    assert.equal(before.thrum.path, "direct");
    assert.equal(before.choices[0].text, answers.greedy[0].text);

    await until("the browser has measured the link", async () => {
      const { link } = await peerOf(asker.page, provider.peerId);
      return link && link.through !== "turn" && link.bytesIn > 0 && link.bytesOut > 0;
    });

    await relay.stop("SIGKILL");
    const after = await complete(asker.page, answers.greedy[1]);
    assert.equal(after.thrum.path, "direct");
    assert.equal(after.thrum.provider, provider.peerId);
    assert.equal(after.choices[0].text, answers.greedy[1].text);
    await Promise.all([provider.context.close(), asker.context.close()]);
  } finally {
    await relay.remove();
  }
});

test("a tab knows its network as its relay sees it", async () => {
  const relay = await startRelay();
  const kindOf = async (options, kind) => {
    const { page, context } = await openNode(browser, relay, options);
    const found = await until(`the network is ${kind}`, () =>
      page.evaluate((wanted) => {
        const { reachability } = window.node.status();
        return reachability.kind === wanted && reachability;
      }, kind));
    await context.close();
    return found;
  };
  try {
    // On the loopback nobody changes ports, and browsers hide the address that would show it.
    assert.equal((await kindOf({}, "cone")).error, null);
    assert.equal((await kindOf({ iceTransportPolicy: "relay" }, "relayOnly")).error, null);
  } finally {
    await relay.remove();
  }
});

test("of two relays one dies: newcomers are found through the other", async () => {
  const relays = [await startRelay(), await startRelay()];
  const both = { relays: relays.map(({ origin }) => origin) };
  try {
    const provider = await openNode(browser, relays[1], both);
    await provider.page.evaluate(() => window.node.donate());
    await until("the provider has a place at both", () =>
      provider.page.evaluate(() => window.node.status().state === "ready"));
    await relays[0].stop("SIGKILL");
    const asker = await openNode(browser, relays[1], both);
    await seesProvider(asker.page, provider.peerId);
    const answer = await complete(asker.page, answers.greedy[0]);
    assert.equal(answer.thrum.path, "direct");
    assert.equal(answer.choices[0].text, answers.greedy[0].text);
    await Promise.all([provider.context.close(), asker.context.close()]);
  } finally {
    await Promise.all(relays.map((relay) => relay.remove()));
  }
});

test("who wants to stay unseen is reached through the relay's TURN alone", async () => {
  const relay = await startRelay();
  try {
    const unseen = { iceTransportPolicy: "relay" };
    const provider = await openNode(browser, relay, unseen);
    const asker = await openNode(browser, relay, unseen);
    await provider.page.evaluate(() => window.node.donate());
    await seesProvider(asker.page, provider.peerId);
    await until("the browser has measured the link", async () =>
      (await peerOf(asker.page, provider.peerId))?.link?.through === "turn");
    const answer = await complete(asker.page, answers.greedy[0]);
    assert.equal(answer.thrum.path, "direct");
    assert.equal(answer.choices[0].text, answers.greedy[0].text);
    await Promise.all([provider.context.close(), asker.context.close()]);
  } finally {
    await relay.remove();
  }
});

test("where no direct way is, everything goes through the relay, and the page says why", async () => {
  // Nobody hands out credentials: who uses TURN alone has no way.
  const relay = await startRelay({ extra: ["--turn", "false"] });
  try {
    const unseen = { iceTransportPolicy: "relay" };
    const provider = await openNode(browser, relay, unseen);
    const asker = await openNode(browser, relay, unseen);
    await provider.page.evaluate(() => window.node.donate());
    await seesProvider(asker.page, provider.peerId);
    const answer = await complete(asker.page, answers.greedy[0]);
    assert.equal(answer.thrum.path, "relayed");
    assert.equal(answer.choices[0].text, answers.greedy[0].text);
    const why = [await peerOf(asker.page, provider.peerId), await peerOf(provider.page, asker.peerId)]
      .map((peer) => peer.directError).join(" ");
    assert.match(why, /no direct connection: [a-z ]+ failed: /);
    assert.match(why, /offers no TURN/);
    await Promise.all([provider.context.close(), asker.context.close()]);
  } finally {
    await relay.remove();
  }
});

test("a tab that is killed is missed", async () => {
  const relay = await startRelay();
  try {
    const [one, other] = [await openNode(browser, relay), await openNode(browser, relay)];
    await direct(one.page, other.peerId);
    await other.context.close();
    await until("the peer is missed", async () => (await peerOf(one.page, other.peerId)) === null,
      { millis: 40_000 });
    await one.context.close();
  } finally {
    await relay.remove();
  }
});

test("ice servers that a browser would refuse are refused by name", async () => {
  const relay = await startRelay();
  try {
    for (const [iceServers, words] of [
      [[{ urls: "http://example.org" }], "no stun:"],
      [[{ urls: [] }], "names no address"],
      [[{ urls: "turn:127.0.0.1:3478" }], "needs a username"],
    ]) {
      await assert.rejects(openNode(browser, relay, { iceServers }), (error) =>
        error.message.includes("iceServers") && error.message.includes(words));
    }
  } finally {
    await relay.remove();
  }
});
