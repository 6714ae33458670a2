// Genomes through the page's API and on the dashboard: worn, stacked, swapped, refused, kept, removed.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import AxeBuilder from "@axe-core/playwright";
import { openNode, openPage, root, until, withHost } from "./harness.mjs";

const folder = path.join(root, "tests/vectors/genomes");
const CONFIG = "adapter_config.json";
const WEIGHTS = "adapter_model.safetensors";

/** Made by the native engine, `tests/it/genomes.rs`. */
const answers = JSON.parse(readFileSync(path.join(folder, "answers.json"), "utf8"));
const gguf = readFileSync(path.join(folder, "nonsense.gguf"));
const id = createHash("sha256").update(gguf).digest("hex");

let relay, browser, host;
withHost(serve, (made) => ({ relay, browser, host } = made));

/** Another origin has the files, and some that are no genomes of this model. */
function serve(request, answer) {
  answer.setHeader("access-control-allow-origin", "*");
  const name = request.url.split("/").at(-1);
  const found = request.url.startsWith("/adapter/") ? path.join(folder, name)
    : request.url.startsWith("/qwen2/") ? path.join(root, "engine/tests/adapters/qwen2", name)
      : request.url.startsWith("/llama/") ? path.join(root, "engine/tests/adapters/llama", name) : null;
  if (!found) return answer.writeHead(404).end();
  answer.end(readFileSync(found));
}

/** What the node on `page` answers with these genomes on; the whole completion. */
const wearing = (page, genomes) => page.evaluate(([{ prompt, max_tokens }, worn]) =>
  window.node.completions.create({ prompt, max_tokens, temperature: 0, thrum: { genomes: worn, route: "local", ignoreEos: true } }), [answers, genomes]);

const says = async (page, genomes, name) =>
  assert.equal((await wearing(page, genomes)).choices[0].text, answers[name].text, name);

/** The error of `action(node, argument)` on a page, as `{ code, message }`, or what it gives. */
const tried = (page, action, argument) => page.evaluate(([source, value]) =>
  eval(source)(window.node, value).then((result) => ({ result }), ({ code, message }) => ({ code, message })), [action, argument]);

const load = (page, source, options) =>
  page.evaluate(([from, how]) => window.node.genomes.load(from, how), [source, options]);

/** The files of both genomes as Blobs on the page. */
const loadBlobs = (page) => page.evaluate(async (origin) => {
  const blob = async (name) => (await fetch(`${origin}/adapter/${name}`)).blob();
  const [whole, config, weights] = await Promise.all(["nonsense.gguf", "adapter_config.json", "adapter_model.safetensors"].map(blob));
  const seen = [];
  window.node.addEventListener("genome", ({ detail }) => seen.push(`${detail.name} ${detail.change}`));
  const one = await window.node.genomes.load(whole);
  const two = await window.node.genomes.load({ config, weights }, { name: "second" });
  return { one, two, seen };
}, host.origin);

test("genomes give the native engine's answers: alone, scaled, stacked, swapped, at once", async () => {
  const { page, context } = await openNode(browser, relay, { backend: "cpu" });
  const { one, two, seen } = await loadBlobs(page);
  assert.deepEqual(seen, ["nonsense loaded", "second loaded"]);
  assert.equal(one.id, id);
  assert.deepEqual([one.name, one.rank, one.fits, one.loaded, one.kept, one.bytes], ["nonsense", 4, true, true, true, gguf.length]);
  assert.deepEqual([two.name, two.rank, two.targets], ["second", 2, ["attn_q", "attn_v"]]);
  const both = [{ id: "nonsense", scale: 0.5 }, { id: two.id, scale: -1.5 }];
  await says(page, [], "base");
  await says(page, [one.id], "gguf");
  await says(page, ["second"], "peft");
  await says(page, [{ id: "nonsense", scale: 0.5 }], "half");
  await says(page, [{ id: "nonsense", scale: 0 }], "base");
  await says(page, both, "both");
  await Promise.all([says(page, ["nonsense"], "gguf"), says(page, [], "base"), says(page, both, "both"), says(page, ["second"], "peft")]);
  const answer = await wearing(page, both);
  assert.deepEqual(answer.thrum.genomes, [{ id: one.id, name: "nonsense", scale: 0.5 }, { id: two.id, name: "second", scale: -1.5 }]);
  assert.equal(answer.thrum.path, "local");
  const streamed = await page.evaluate(async ({ prompt, max_tokens }) => {
    const stream = await window.node.completions.create({ prompt, max_tokens, temperature: 0, stream: true, thrum: { genomes: ["second"], ignoreEos: true } });
    let text = "", last;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.text ?? "";
      last = chunk.thrum ?? last;
    }
    return { text, worn: last.genomes.map(({ name }) => name) };
  }, answers);
  assert.deepEqual(streamed, { text: answers.peft.text, worn: ["second"] });
  await context.close();
});

test("from addresses, with progress, a digest, and the folder that PEFT saves", async () => {
  const { page, context } = await openNode(browser, relay, { backend: "cpu" });
  const told = await page.evaluate(async ([origin, sha256]) => {
    let last = null;
    const genome = await window.node.genomes.load(`${origin}/adapter/nonsense.gguf`, { sha256, onProgress: (progress) => { last = progress; } });
    return { genome, last };
  }, [host.origin, id]);
  assert.equal(told.genome.id, id);
  assert.deepEqual([told.last.stage, told.last.loaded], ["genome", gguf.length]);
  assert.equal((await load(page, `${host.origin}/adapter/`)).name, "adapter");
  await says(page, ["adapter"], "peft");
  await says(page, ["nonsense"], "gguf");
  await context.close();
});

test("what does not fit is refused in the engine's words, and nothing is lost", async () => {
  const { page, context } = await openNode(browser, relay, { backend: "cpu" });
  await loadBlobs(page);
  const before = await page.evaluate(() => window.node.genomes.list());
  const refusals = [
    [`${host.origin}/qwen2/adapter.gguf`, {}, "invalid_genome", /for qwen2 models and the model is llama/],
    [`${host.origin}/llama/adapter.gguf`, {}, "invalid_genome", /and this model asks for/],
    [{ config: `${host.origin}/llama/${CONFIG}`, weights: `${host.origin}/llama/${WEIGHTS}` }, {}, "invalid_genome", /asks for/],
    [`${host.origin}/adapter/nonsense.gguf`, { sha256: "00".repeat(32) }, "invalid_genome", /SHA-256/],
    [`${relay.origin}/models/thrum-demo.q8_0.gguf`, {}, "invalid_genome", /general.type/],
    [`${host.origin}/nothing.gguf`, {}, "model_unreachable", /404/],
    [7, {}, "invalid_option", /genome/],
    [`${host.origin}/adapter/nonsense.gguf`, { shape: 1 }, "invalid_option", /shape/],
  ];
  for (const [source, options, code, words] of refusals) {
    const refused = await tried(page, "(node, [source, options]) => node.genomes.load(source, options)", [source, options]);
    assert.equal(refused.code, code, `${JSON.stringify(source)}: ${refused.message}`);
    assert.match(refused.message, words);
  }
  assert.deepEqual(await page.evaluate(() => window.node.genomes.list()), before);
  const requests = {
    '["nobody"]': "unknown_genome",
    '["nonsense", "nonsense"]': "invalid_request",
    '[{ "id": "nonsense", "scale": 1e9 }]': "invalid_request",
    '["a", "b", "c", "d", "e", "f", "g", "h", "i"]': "invalid_request",
    '"nonsense"': "invalid_request",
  };
  for (const [genomes, code] of Object.entries(requests)) {
    const refused = await tried(page, "(node, genomes) => node.completions.create({ prompt: 'a', thrum: { genomes } })", JSON.parse(genomes));
    assert.equal(refused.code, code, `${genomes}: ${refused.message}`);
  }
  assert.equal((await tried(page, "(node) => node.genomes.remove('nobody')")).code, "unknown_genome");
  await says(page, ["nonsense"], "gguf");
  await context.close();
});

test("genomes are there after a reload, come back after another model, and can be removed", async () => {
  const first = await openNode(browser, relay, { backend: "cpu" });
  await loadBlobs(first.page);
  await first.page.evaluate(() => window.node.close());
  const again = await openNode(browser, relay, { backend: "cpu" }, { context: first.context });
  const listed = await again.page.evaluate(() => window.node.genomes.list());
  assert.deepEqual(listed.map(({ name, loaded, kept, fits }) => [name, loaded, kept, fits]), [["nonsense", false, true, null], ["second", false, true, null]]);
  await says(again.page, ["second"], "peft");
  await again.page.evaluate(() => window.node.models.load("thrum-demo"));
  await says(again.page, ["nonsense"], "gguf");
  // Another node of this site has its own.
  const other = await openNode(browser, relay, { backend: "cpu", store: "other" }, { context: first.context });
  assert.deepEqual(await other.page.evaluate(() => window.node.genomes.list()), []);
  // Removed while an answer wears it.
  const ended = await again.page.evaluate(async ({ prompt }) => {
    const stream = await window.node.completions.create({ prompt, max_tokens: 400, stream: true, thrum: { genomes: ["nonsense"], ignoreEos: true } });
    let removed = null;
    try {
      for await (const _ of stream) removed ??= window.node.genomes.remove("nonsense");
    } catch (error) {
      await removed;
      return { code: error.code, message: error.message };
    }
    return null;
  }, answers);
  assert.equal(ended?.code, "invalid_request");
  assert.match(ended.message, /nonsense was removed/);
  assert.equal((await tried(again.page, "(node) => node.completions.create({ prompt: 'a', thrum: { genomes: ['nonsense'] } })")).code, "unknown_genome");
  await again.page.evaluate(() => window.node.close());
  const last = await openNode(browser, relay, { backend: "cpu" }, { context: first.context });
  assert.deepEqual((await last.page.evaluate(() => window.node.genomes.list())).map(({ name }) => name), ["second"]);
  await first.context.close();
});

test("a second tab of the site sees and wears the first one's genomes", async () => {
  const first = await openNode(browser, relay, { backend: "cpu" });
  const second = await openNode(browser, relay, { backend: "cpu" }, { context: first.context });
  await loadBlobs(second.page);
  assert.equal((await first.page.evaluate(() => window.node.genomes.list())).length, 2);
  await says(second.page, ["nonsense"], "gguf");
  await first.context.close();
});

test("without room in the browser a genome is worn until the page is closed, and it is said", async () => {
  const context = await browser.newContext();
  const devtools = await context.newCDPSession(await context.newPage());
  await devtools.send("Storage.overrideQuotaForOrigin", { origin: relay.origin, quotaSize: 1 });
  const { page } = await openNode(browser, relay, { backend: "cpu" }, { context });
  const genome = await load(page, `${host.origin}/adapter/nonsense.gguf`);
  assert.equal(genome.kept, false);
  await says(page, ["nonsense"], "gguf");
  await page.evaluate(() => window.node.models.load("thrum-demo"));
  await says(page, ["nonsense"], "gguf");
  await devtools.send("Storage.overrideQuotaForOrigin", { origin: relay.origin });
  await page.evaluate(() => window.node.close());
  const again = await openNode(browser, relay, { backend: "cpu" }, { context });
  assert.deepEqual(await again.page.evaluate(() => window.node.genomes.list()), []);
  await context.close();
});

test("the dashboard takes genomes from files, and the prompt wears them", async () => {
  const { page, context, errors } = await openPage(browser, relay.origin, { viewport: { width: 320, height: 800 } });
  const by = (name) => page.getByTestId(name);
  await by("connect").click();
  await by("peer-id").waitFor();
  await by("genome-file").setInputFiles(path.join(folder, "nonsense.gguf"));
  await by("genome").waitFor();
  assert.match(await by("genome").innerText(), /nonsense/);
  await by("genome-file").setInputFiles(path.join(folder, CONFIG));
  assert.match(await by("genome-refusal").innerText(), /chosen together/);
  await by("genome-file").setInputFiles([CONFIG, WEIGHTS].map((name) => path.join(folder, name)));
  await until("there are two", async () => (await by("genome").count()) === 2);
  assert.equal(await by("genome-refusal").count(), 0);
  await by("genome-file").setInputFiles(path.join(root, "engine/tests/adapters/qwen2/adapter.gguf"));
  await until("it says why not", async () => /qwen2/.test(await by("genome-refusal").innerText().catch(() => "")));
  const ask = async () => {
    const finished = page.locator('[data-testid="answer"][data-done="true"]');
    const before = await finished.count();
    await by("prompt").fill("What is a hive of bees?");
    await by("send").click();
    await until("an answer", async () => (await finished.count()) > before);
    return finished.last().getByTestId("answer-text").innerText();
  };
  const plain = await ask();
  const wear = page.locator(`[data-testid="wear"][data-genome-id="${id}"]`);
  await wear.check();
  await by("wear-scale").fill("3");
  await by("wear-scale").blur();
  const dressed = await ask();
  assert.notEqual(dressed, plain);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 320, `the page is ${wide} px wide`);
  const axe = await new AxeBuilder({ page }).analyze();
  assert.deepEqual(axe.violations.map(({ id: rule, nodes }) => [rule, nodes[0]?.html]), []);
  await by("genome-remove").first().click();
  await by("genome-remove").first().click();
  await until("there are none", async () => (await by("genome").count()) === 0);
  assert.equal(await wear.count(), 0);
  assert.equal(await ask(), plain);
  assert.deepEqual(errors, []);
  await context.close();
});
