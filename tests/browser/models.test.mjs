// Where models come from and where they stay, and OpenAI's shapes, in a real browser with a real
// server.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { openNode, root, until, withHost } from "./harness.mjs";

const file = readFileSync(path.join(root, "models/thrum-demo.q8_0.gguf"));
const sha256 = createHash("sha256").update(file).digest("hex");

/** What other origins do: where their connection breaks once, or hangs, and what was asked. */
const host = { log: [], breakAt: 0, hangAt: 0, asked: () => host.log.splice(0) };

let relay, browser;
withHost(serve, (made) => {
  ({ relay, browser } = made);
  host.url = `${made.host.origin}/demo.gguf`;
});

/** A server of another origin whose connections break once, or hang, where `host` says. */
function serve(request, answer) {
  answer.setHeader("access-control-allow-origin", "*");
  answer.setHeader("access-control-allow-headers", "*");
  answer.setHeader("access-control-expose-headers", "*");
  if (request.method === "OPTIONS") return answer.writeHead(204).end();
  host.log.push(request.headers.range ?? "all");
  const [, first, last] = /bytes=(\d+)-(\d*)/.exec(request.headers.range ?? "bytes=0-");
  const from = Number(first);
  const until = last ? Math.min(file.length, Number(last) + 1) : file.length;
  const headers = { etag: '"one"', "content-length": until - from };
  if (request.headers.range) headers["content-range"] = `bytes ${from}-${until - 1}/${file.length}`;
  answer.writeHead(request.headers.range ? 206 : 200, headers);
  if (host.breakAt > from && host.breakAt < until) {
    answer.write(file.subarray(from, host.breakAt), () => setTimeout(() => answer.destroy(), 100));
    host.breakAt = 0;
    return;
  }
  if (host.hangAt > from && host.hangAt < until) return answer.write(file.subarray(from, host.hangAt));
  answer.end(file.subarray(from, until));
}

const codeOf = (page, action, argument) =>
  page.evaluate(([source, value]) => eval(source)(window.node, value)
    .then((result) => ({ result }), (error) => ({ code: error.code, message: error.message })), [action, argument]);

test("a model is inspected, downloaded over a broken line, kept, listed and removed", async () => {
  const { page, context } = await openNode(browser, relay, { backend: "cpu" });
  const told = await page.evaluate((url) => window.node.models.inspect(new URL(url)), host.url);
  assert.deepEqual(host.asked(), ["bytes=0-1048575"]);
  assert.deepEqual([told.architecture, told.format, told.fits, told.kept], ["llama", "Q8_0", true, false]);
  assert.equal(told.bytes, file.length);
  assert.equal(told.downloadBytes, file.length);
  assert.ok(told.memoryBytes > told.weightBytes && told.reason.length > 10);

  host.breakAt = 400_000;
  const loaded = await page.evaluate((value) => window.node.models.load(value), { url: host.url, sha256 });
  assert.equal(loaded.id, sha256);
  const asked = host.asked();
  assert.equal(asked.length, 2);
  assert.match(asked[1], /^bytes=[1-9]\d+-$/);
  const entry = (await page.evaluate(() => window.node.models.list())).find((model) => model.sha256 === sha256);
  assert.deepEqual([entry.kept, entry.keptBytes, entry.loaded], [true, file.length, true]);
  const room = await page.evaluate(() => window.node.models.storage());
  assert.equal(room.modelBytes, file.length);
  assert.ok(room.quotaBytes > room.usedBytes);

  await page.evaluate((url) => window.node.models.load(url), host.url);
  assert.deepEqual(host.asked(), [], "the second time it is kept");
  await page.evaluate((id) => window.node.models.remove(id), sha256);
  assert.equal((await page.evaluate(() => window.node.models.storage())).modelBytes, 0);
  const { code } = await codeOf(page, "(node, id) => node.models.load('0'.repeat(64))");
  assert.equal(code, "model_unreachable");
  await context.close();
});

test("an AbortSignal stops inspecting and loading, and the download goes on later", async () => {
  const { page, context } = await openNode(browser, relay, { backend: "cpu" });
  host.hangAt = 300_000;
  await page.evaluate((url) => {
    window.abort = new AbortController();
    window.aborted = window.node.models.load(url, { signal: window.abort.signal })
      .then(() => "loaded", (error) => [error.name, error.code]);
  }, host.url);
  await until("some of it is kept", () => page.evaluate(async (url) =>
    (await window.node.models.list()).some((model) => model.url === url && model.keptBytes === 300_000), host.url));
  await page.evaluate(() => window.abort.abort());
  assert.deepEqual(await page.evaluate(() => window.aborted), ["AbortError", "aborted"]);
  host.hangAt = 0;
  host.asked();
  await page.evaluate((url) => window.node.models.load(url), host.url);
  assert.match(host.asked().join(), /^bytes=[1-9]\d+-$/);
  const name = await page.evaluate((url) =>
    window.node.models.inspect(url, { signal: AbortSignal.abort() }).then(() => "told", (error) => error.name), host.url);
  assert.equal(name, "AbortError");
  await context.close();
});

test("what does not load leaves the model before", async () => {
  const { page, context } = await openNode(browser, relay, { backend: "cpu" });
  await page.evaluate(() => window.node.models.load());
  const wrong = await codeOf(page, "(node, url) => node.models.load({ url, sha256: 'ab'.repeat(32) })", host.url);
  assert.equal(wrong.code, "invalid_model");
  const answer = await codeOf(page,
    "(node) => node.completions.create({ prompt: 'ab>ba;xy>', max_tokens: 4, temperature: 0, thrum: { route: 'local' } })");
  assert.equal(answer.result?.object, "text_completion", answer.message);
  await context.close();
});

test("several answers, log probabilities and every parameter of sampling", async () => {
  const { page, context } = await openNode(browser, relay, { backend: "cpu" });
  const chat = await page.evaluate(() => window.node.chat.completions.create({
    messages: [{ role: "user", content: "reverse: starling" }],
    n: 3, seed: 5, temperature: 2, max_tokens: 12, logprobs: true, top_logprobs: 2,
    top_k: 50, top_p: 0.99, min_p: 0.001, repetition_penalty: 1.05, frequency_penalty: 0.1,
    presence_penalty: -0.1, logit_bias: { 1: -1 }, user: "me", thrum: { route: "local", ignoreEos: true },
  }));
  assert.deepEqual(chat.choices.map((choice) => choice.index), [0, 1, 2]);
  assert.ok(new Set(chat.choices.map((choice) => choice.message.content)).size > 1);
  for (const choice of chat.choices) {
    assert.equal(choice.logprobs.content.length, 12);
    for (const { token, logprob, bytes, top_logprobs } of choice.logprobs.content) {
      assert.equal(new TextDecoder().decode(Uint8Array.from(bytes)), token);
      assert.ok(logprob <= 0 && top_logprobs.length === 2 && top_logprobs[0].logprob >= logprob);
    }
  }
  assert.equal(chat.usage.completion_tokens, 36);
  assert.equal(chat.usage.total_tokens, chat.usage.prompt_tokens + 36);

  const body = { prompt: "ab>ba;cd>", n: 2, seed: 9, temperature: 1, max_tokens: 8, logprobs: 1, thrum: { route: "local", ignoreEos: true } };
  const whole = await page.evaluate((params) => window.node.completions.create(params), body);
  const parts = await page.evaluate(async (params) => {
    const seen = [{ text: "", tokens: [] }, { text: "", tokens: [] }];
    let usage;
    const stream = await window.node.completions.create({ ...params, stream: true, stream_options: { include_usage: true } });
    for await (const chunk of stream) {
      const choice = chunk.choices[0];
      usage = chunk.usage ?? usage;
      if (!choice) continue;
      seen[choice.index].text += choice.text;
      seen[choice.index].tokens.push(...(choice.logprobs?.tokens ?? []));
    }
    return { seen, usage };
  }, body);
  assert.deepEqual(parts.seen.map(({ text }) => text), whole.choices.map((choice) => choice.text));
  assert.deepEqual(parts.seen.map(({ tokens }) => tokens), whole.choices.map((choice) => choice.logprobs.tokens));
  assert.deepEqual(parts.usage, whole.usage);
  await context.close();
});

test("log probabilities come from a peer as well", async () => {
  const provider = await openNode(browser, relay, { backend: "cpu" });
  const asker = await openNode(browser, relay, { backend: "cpu" });
  await provider.page.evaluate(() => window.node.donate({ sharePercent: 50 }));
  const body = { prompt: "ab>ba;cd>", max_tokens: 6, temperature: 0, logprobs: 2, thrum: { route: "peer", peer: provider.peerId, ignoreEos: true } };
  const { result, message } = await until("the peer answers", async () => {
    const answer = await codeOf(asker.page, "(node, params) => node.completions.create(params)", body);
    return answer.result ? answer : null;
  });
  assert.equal(result?.choices[0].logprobs.tokens.length, 6, message);
  assert.equal(result.thrum.provider, provider.peerId);
  await provider.context.close();
  await asker.context.close();
});

test("what is not honoured is refused by name", async () => {
  const { page, context } = await openNode(browser, relay, { backend: "cpu" });
  const refusals = {
    'node => node.completions.create({ prompt: "a", best_of: 2 })': "unsupported_parameter",
    'node => node.completions.create({ prompt: "a", n: 9 })': "invalid_request",
    'node => node.completions.create({ prompt: "a", logit_bias: { a: 1 } })': "invalid_request",
    'node => node.completions.create({ prompt: "a", frequency_penalty: 3 })': "invalid_request",
    'node => node.completions.create({ prompt: "a", response_format: { type: "yaml" } })': "unsupported_parameter",
    'node => node.completions.create({ prompt: "a", thrum: { genomes: ["a"] } })': "unknown_genome",
    'node => node.completions.create({ prompt: "a", thrum: { genomes: [{ id: "a", scale: 101 }] } })': "invalid_request",
    'node => node.completions.create({ prompt: "a", thrum: { route: "peer", genomes: ["a"] } })': "invalid_request",
    'node => node.genomes.load({ config: "x" })': "invalid_option",
    'node => node.chat.completions.create({ messages: [{ role: "user", content: "a" }], top_logprobs: 2 })': "invalid_request",
    'node => node.donate({ sharePercent: 4 })': "invalid_request",
    'node => node.models.load({ url: "x", sha256: "00" })': "invalid_option",
    'node => node.models.load([])': "invalid_option",
  };
  for (const [action, code] of Object.entries(refusals)) {
    assert.equal((await codeOf(page, action)).code, code, action);
  }
  await context.close();
});
