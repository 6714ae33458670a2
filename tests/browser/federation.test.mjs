// Two relays that federate: tabs that know one each find each other, and meet directly.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync } from "node:fs";
import os from "node:os";
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

const federated = async (relay) =>
  (await (await fetch(`${relay.origin}/api/relay`)).json()).federated.map(({ peerId }) => peerId);

/** Two relays of which the second dials the first, and the first waits for it. */
async function startTwo() {
  const state = mkdtempSync(path.join(os.tmpdir(), "thrum-relay-"));
  const once = await startRelay({ state });
  await once.stop();
  const second = `/p2p/${once.info.peerId}`;
  const first = await startRelay({ extra: ["--federate", second] });
  const relays = [first, await startRelay({ state, extra: ["--federate", first.info.addrs[0]] })];
  return relays;
}

test("tabs at different relays find each other, and talk directly", async () => {
  const relays = await startTwo();
  try {
    const provider = await openNode(browser, relays[0]);
    await provider.page.evaluate(() => window.node.donate());
    // Not yet connected relays are learned of later.
    const asker = await openNode(browser, relays[1]);
    await until("each relay vouches for the other", async () => {
      const [first, second] = await Promise.all(relays.map(federated));
      return first.includes(relays[1].info.peerId) && second.includes(relays[0].info.peerId);
    });
    await seesProvider(asker.page, provider.peerId);
    const answer = await asker.page.evaluate((text) => window.node.completions.create({
      prompt: text, max_tokens: 64, temperature: 0, thrum: { route: "peer", ignoreEos: true },
    }), answers.greedy[0].prompt);
    assert.equal(answer.thrum.path, "direct");
    assert.equal(answer.thrum.provider, provider.peerId);
    assert.equal(answer.choices[0].text, answers.greedy[0].text);
    // A relay that carried the way is no peer.
    const peers = await asker.page.evaluate(() => window.node.peers().map(({ peerId }) => peerId));
    assert.deepEqual(peers, [provider.peerId]);
    await Promise.all([provider.context.close(), asker.context.close()]);
  } finally {
    await Promise.all(relays.map((relay) => relay.remove()));
  }
});
