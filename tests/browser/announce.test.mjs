// Who has which model: told from tab to tab, and written down at the relays.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openNode, startBrowser, startRelay, until } from "./harness.mjs";

let browser;
before(async () => {
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
});

const linked = (page, peerId) =>
  until(`${peerId} is reached directly`, () =>
    page.evaluate((id) => window.node.peers().some((one) =>
      one.peerId === id && one.path === "direct" && one.transport === "webrtc"), peerId));

const announcement = (page, peerId) =>
  page.evaluate((id) => window.node.announced().find((one) => one.peerId === id) ?? null, peerId);

test("without any relay a tab learns who has a model, from a tab that is linked to both", async () => {
  const relays = [await startRelay(), await startRelay()];
  const origins = relays.map(({ origin }) => origin);
  try {
    const donor = await openNode(browser, relays[0], { relays: [origins[0]] });
    const between = await openNode(browser, relays[0], { relays: origins });
    const seeker = await openNode(browser, relays[1], { relays: [origins[1]] });
    const model = await donor.page.evaluate(() => window.node.models.load());
    await Promise.all([
      linked(donor.page, between.peerId), linked(between.page, donor.peerId),
      linked(seeker.page, between.peerId), linked(between.page, seeker.peerId),
    ]);
    await Promise.all(relays.map((relay) => relay.stop("SIGKILL")));
    assert.equal(await announcement(seeker.page, donor.peerId), null);

    await donor.page.evaluate(() => window.node.donate({ slots: 3 }));
    const heard = await until("the announcement arrives", () =>
      announcement(seeker.page, donor.peerId));
    assert.deepEqual(heard.models.map(({ id }) => id), [model.id]);
    assert.equal(heard.slots, 3);
    assert.ok(heard.tokensPerSecond > 0, JSON.stringify(heard));
    assert.ok(heard.expiresInMillis > 0 && heard.expiresInMillis <= 600_000);
    const peers = await seeker.page.evaluate(() => window.node.peers().map(({ peerId }) => peerId));
    assert.deepEqual(peers, [between.peerId]);

    await donor.page.evaluate(() => window.node.finish());
    await until("the donor takes it back", async () =>
      (await announcement(seeker.page, donor.peerId)) === null);
    await Promise.all([donor, between, seeker].map(({ context }) => context.close()));
  } finally {
    await Promise.all(relays.map((relay) => relay.remove()));
  }
});

const metric = async (relay, name) => {
  const text = await (await fetch(`${relay.origin}/metrics`)).text();
  const line = text.split("\n").find((one) => one.startsWith(`${name} `));
  return line ? Number(line.split(" ")[1]) : null;
};

test("what a tab offers is written into the relay's table, and what nobody offers is looked for there", async () => {
  const relay = await startRelay();
  try {
    const donor = await openNode(browser, relay);
    const asker = await openNode(browser, relay);
    assert.equal(await metric(relay, "thrum_relay_provider_records"), 0);
    await donor.page.evaluate(() => window.node.donate());
    await until("the offer is in the table", async () =>
      (await metric(relay, "thrum_relay_provider_records")) === 1);
    await linked(asker.page, donor.peerId);
    assert.equal(await metric(relay, "thrum_relay_provider_lookups_total"), 0);
    const refused = await asker.page.evaluate(() => window.node.completions.create({
      model: "77".repeat(32), prompt: "anybody?", max_tokens: 1, thrum: { route: "peer" },
    }).catch((error) => error.code));
    assert.equal(refused, "unknown_model");
    assert.ok((await metric(relay, "thrum_relay_provider_lookups_total")) > 0);

    const registered = () => metric(relay, "thrum_relay_registrations");
    await until("both are registered, and the donor's model", async () => (await registered()) === 3);
    await donor.page.evaluate(() => window.node.finish());
    await until("the donor's model is not any more", async () => (await registered()) === 2);
    await Promise.all([donor, asker].map(({ context }) => context.close()));
  } finally {
    await relay.remove();
  }
});
