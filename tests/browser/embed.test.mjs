// A node embedded in somebody else's page, through /embed/thrum.js, in real browsers.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { openNode, openPage, root, seesProvider, startBrowser, startHost, startRelay, until } from "./harness.mjs";

let relay, browser;
before(async () => {
  relay = await startRelay();
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  await relay?.remove();
});

/** Answers made by the native reference, `tests/vectors/answers.json`. */
const answers = JSON.parse(readFileSync(path.join(root, "tests/vectors/answers.json"), "utf8"));

/** Asks on `page` and returns the whole completion. */
const complete = (page, params) =>
  page.evaluate((body) => window.node.completions.create(body), params);

const closeAll = (...opened) => Promise.all(opened.map(({ context }) => context.close()));

test("a prompt asked in one tab is computed in another, and equals the native reference", async () => {
  const provider = await openNode(browser, relay);
  const asker = await openNode(browser, relay);
  await provider.page.evaluate(() => window.node.donate());
  await seesProvider(asker.page, provider.peerId);
  for (const { prompt, text } of answers.greedy.slice(0, 3)) {
    const answer = await complete(asker.page, {
      prompt, max_tokens: 64, temperature: 0, thrum: { route: "peer", ignoreEos: true },
    });
    assert.equal(answer.choices[0].text, text, prompt);
    assert.equal(answer.thrum.provider, provider.peerId);
    assert.equal(answer.thrum.path, "direct");
  }
  assert.notEqual(provider.peerId, asker.peerId);
  await closeAll(provider, asker);
});

test("a provider killed half-way: the answer goes on elsewhere, as if nothing had happened", async () => {
  const slow = await openNode(browser, relay);
  const other = await openNode(browser, relay);
  const asker = await openNode(browser, relay);
  const { prompt, max_tokens, seed, text } = answers.seeded;
  // Slow enough to be interrupted, and the same bits: a GPU's sums are rounded as its kernels are
  // tuned, and a draw may fall on the other side of a boundary.
  await slow.page.evaluate(() => window.node.donate({ sharePercent: 5 }));
  await seesProvider(asker.page, slow.peerId);
  await asker.page.evaluate((body) => {
    window.seen = [];
    window.finished = (async () => {
      const stream = await window.node.completions.create({ ...body, stream: true, stream_options: { include_usage: true } });
      let last;
      for await (const chunk of stream) {
        window.seen.push(chunk.choices[0]?.text ?? "");
        last = chunk.thrum ?? last;
      }
      return { text: window.seen.join(""), last };
    })();
  }, { prompt, max_tokens, seed, temperature: 1, thrum: { route: "peer", ignoreEos: true } });
  await until("some of the answer is there", () => asker.page.evaluate(() => window.seen.length > 5));
  await other.page.evaluate(() => window.node.donate());
  await seesProvider(asker.page, other.peerId);
  assert.ok(await asker.page.evaluate((whole) => window.seen.join("").length < whole.length, text),
    "the answer was complete before the provider was killed: the test shows nothing");
  await slow.context.close();
  const { text: whole, last } = await asker.page.evaluate(() => window.finished);
  assert.equal(whole, text);
  assert.equal(last.provider, other.peerId);
  assert.equal(last.attempts, 2);
  await closeAll(other, asker);
});

test("nothing is computed for others before donate(), and pause stops it", async () => {
  const provider = await openNode(browser, relay, { model: "thrum-demo", backend: "webgpu" });
  const asker = await openNode(browser, relay);
  await until("they know each other", () =>
    asker.page.evaluate((id) => window.node.peers().some((peer) => peer.peerId === id && peer.capabilities), provider.peerId));
  const refused = await asker.page.evaluate((peer) =>
    window.node.completions.create({ prompt: "a", thrum: { route: "peer", peer } })
      .then(() => null, (error) => ({ name: error.name, code: error.code })), provider.peerId);
  assert.equal(refused?.name, "ThrumError");
  await provider.page.evaluate(() => window.node.donate());
  await seesProvider(asker.page, provider.peerId);
  await asker.page.evaluate((peer) => {
    window.tokens = 0;
    window.ended = (async () => {
      const stream = await window.node.completions.create(
        { prompt: "a", max_tokens: 400, temperature: 1, seed: 3, stream: true, thrum: { route: "peer", peer, ignoreEos: true } });
      for await (const _ of stream) window.tokens += 1;
      return "finished";
    })().catch((error) => error.code);
  }, provider.peerId);
  await until("it computes", () => asker.page.evaluate(() => window.tokens > 1));
  await provider.page.evaluate(() => window.node.pause());
  assert.equal(await provider.page.evaluate(() => window.node.status().state), "paused");
  assert.notEqual(await asker.page.evaluate(() => window.ended), "finished");
  await closeAll(provider, asker);
});

test("a reload keeps the peer id; another store is another peer", async () => {
  const first = await openNode(browser, relay);
  await first.page.evaluate(() => window.node.close());
  const again = await openNode(browser, relay, {}, { context: first.context });
  const other = await openNode(browser, relay, { store: "other" }, { context: first.context });
  assert.equal(again.peerId, first.peerId);
  assert.notEqual(other.peerId, first.peerId);
  await closeAll(first);
});

test("two tabs of one origin are one node, and the second takes over", async () => {
  const first = await openNode(browser, relay);
  const second = await openNode(browser, relay, {}, { context: first.context });
  assert.equal(second.peerId, first.peerId);
  const ask = () => complete(second.page, { prompt: "ab>ba;cd>dc;xy>", max_tokens: 8, temperature: 0, thrum: { route: "local" } });
  const before = await ask();
  await first.page.close();
  await until("the second owns the node and is connected", () =>
    second.page.evaluate(() => window.node.status().state === "ready"));
  const after = await ask();
  assert.equal(after.choices[0].text, before.choices[0].text);
  assert.equal(await second.page.evaluate(() => window.node.peerId), first.peerId);
  await closeAll(first);
});

test("a prompt survives the relay's WebRTC listener", async () => {
  const webrtc = relay.info.addrs.find((address) => address.includes("/webrtc-direct"));
  const provider = await openNode(browser, relay, { relays: [webrtc], model: `${relay.origin}/models/thrum-demo.q8_0.gguf` });
  const asker = await openNode(browser, relay, { relays: [webrtc] });
  await provider.page.evaluate(() => window.node.donate());
  await seesProvider(asker.page, provider.peerId);
  const { prompt, text } = answers.greedy[0];
  const answer = await complete(asker.page, { prompt, max_tokens: 64, temperature: 0, thrum: { route: "peer", ignoreEos: true } });
  assert.equal(answer.choices[0].text, text);
  await closeAll(provider, asker);
});

/** The code of the ThrumError that `action(node)` throws on a page. */
const codeOf = (page, action) =>
  page.evaluate((source) => eval(source)(window.node).then(() => "no error", (error) => error.code), action);

test("bad requests are refused by name", async () => {
  const { page, context } = await openNode(browser, relay);
  const refusals = {
    'node => node.completions.create({ prompt: "a", best_of: 2 })': "unsupported_parameter",
    'node => node.completions.create({ prompt: "a", temperature: NaN })': "invalid_request",
    'node => node.completions.create({ prompt: "a".repeat(600), thrum: { route: "local" } })': "invalid_request",
    'node => node.completions.create({ prompt: "a", model: "no-such-model" })': "unknown_model",
    'node => node.completions.create({ prompt: "a", thrum: { route: "peer" } })': "no_provider",
    'node => node.models.load("no-such-model")': "unknown_model",
  };
  for (const [action, code] of Object.entries(refusals)) {
    assert.equal(await codeOf(page, action), code, action);
  }
  await context.close();
});

test("a truncated or damaged model is refused, and the node goes on", async () => {
  const { page, context } = await openNode(browser, relay);
  const outcome = await page.evaluate(async () => {
    const whole = await (await fetch("/models/thrum-demo.q8_0.gguf")).arrayBuffer();
    const damaged = whole.slice(0);
    new Uint8Array(damaged).fill(0xff, 64, 4096);
    const load = (bytes) => window.node.models.load(new Blob([bytes])).then(() => "loaded", (error) => error.code);
    return [await load(whole.slice(0, 100_000)), await load(damaged), await load(whole)];
  });
  assert.deepEqual(outcome, ["invalid_model", "invalid_model", "loaded"]);
  await context.close();
});

test("an AbortSignal ends a stream at once", async () => {
  const { page, context } = await openNode(browser, relay, { backend: "webgpu" });
  const name = await page.evaluate(async () => {
    const abort = new AbortController();
    const stream = await window.node.completions.create(
      { prompt: "a", max_tokens: 400, temperature: 1, stream: true, thrum: { route: "local", ignoreEos: true } }, { signal: abort.signal });
    try {
      for await (const _ of stream) abort.abort();
      return "finished";
    } catch (error) {
      return error.name;
    }
  });
  assert.equal(name, "AbortError");
  await context.close();
});

test("without IndexedDB the node runs and says that it forgets", async () => {
  const init = () => Object.defineProperty(window, "indexedDB", { get: () => undefined });
  const { page, context } = await openNode(browser, relay, {}, { init });
  const answer = await complete(page, { prompt: "ab>ba;xy>", max_tokens: 4, temperature: 0, thrum: { route: "local" } });
  assert.equal(answer.object, "text_completion");
  await context.close();
});

test("without WebGPU `auto` computes on the CPU, and `webgpu` says why not", async () => {
  const plain = await startBrowser({ webgpu: false });
  const { page } = await openNode(plain, relay);
  await complete(page, { prompt: "a", max_tokens: 2, thrum: { route: "local" } });
  assert.equal(await page.evaluate(() => window.node.status().backend), "cpu");
  const forced = await openNode(plain, relay, { backend: "webgpu" });
  const error = await forced.page.evaluate(() =>
    window.node.models.load("thrum-demo").then(() => null, ({ code, message }) => ({ code, message })));
  assert.equal(error?.code, "backend_unavailable");
  assert.match(error.message, /WebGPU/);
  await plain.close();
});

test("the relay dies and returns: the node reconnects by itself", async () => {
  const own = await startRelay();
  const { page, context, peerId } = await openNode(browser, own);
  const state = () => page.evaluate(() => window.node.status().state);
  await until("it is connected", async () => (await state()) === "ready");
  await own.stop("SIGKILL");
  await until("it notices", async () => (await state()) === "connecting");
  const back = await startRelay({ ...own.ports, state: own.state });
  assert.equal(back.info.peerId, own.info.peerId, "the relay keeps its identity");
  await until("it is connected again", async () => (await state()) === "ready");
  assert.equal(await page.evaluate(() => window.node.peerId), peerId);
  await context.close();
  await back.remove();
});

test("a relay that cannot be reached is an error in words, not a hang", async () => {
  const { page, context } = await openNode(browser, relay, { relays: ["http://127.0.0.1:9"] });
  const status = await until("it says why", () =>
    page.evaluate(() => (/127\.0\.0\.1:9/.test(window.node.status().reason) ? window.node.status() : null)));
  assert.equal(status.state, "connecting");
  await context.close();
});

test("the example page of at most 20 lines works from another origin", async () => {
  const source = readFileSync(path.join(root, "docs/examples/embed.html"), "utf8");
  assert.ok(source.trim().split("\n").length <= 20);
  const host = await startHost((_, answer) => answer.setHeader("content-type", "text/html").end(source));
  const address = `${host.origin}/?relay=${relay.origin}`;
  const { page, context, errors } = await openPage(browser, address);
  await until("the example shows an answer", () => page.evaluate(() => document.body.innerText.includes("gnilrats")));
  assert.deepEqual(errors.filter((text) => !text.includes("favicon")), []);
  await context.close();
  host.close();
});
