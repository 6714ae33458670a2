// Several CPU threads: on the relay's own pages, which are cross-origin isolated, and not elsewhere.
import assert from "node:assert/strict";
import { test } from "node:test";
import { openPage, withHost } from "./harness.mjs";
import { syntheticModel } from "./synthetic.mjs";

const file = syntheticModel();

let relay, browser, host;
withHost(serve, (made) => ({ relay, browser, host } = made));

/** Another origin: a blank page without a header, and the model, open to all. */
function serve(request, answer) {
  if (request.url !== "/model.gguf") return answer.setHeader("content-type", "text/html").end("<p>blank");
  answer.setHeader("access-control-allow-origin", "*");
  answer.setHeader("content-length", file.length);
  return answer.end(file);
}

/** What a page at `url` computes with these options: the answer with its probabilities, and how. */
async function computed(url, options, { loads = 1 } = {}) {
  const { page, context, errors } = await openPage(browser, url);
  const result = await page.evaluate(async ([origin, model, given, times]) => {
    const { createNode } = await import(`${origin}/embed/thrum.js`);
    const node = await createNode({ relays: [origin], backend: "cpu", ...given });
    for (let load = 0; load < times; load += 1) await node.models.load({ url: model });
    const { threads, threadsReason } = node.status();
    const answer = await node.completions.create({
      prompt: "The same letters, whoever computes them.", max_tokens: 40, temperature: 0, logprobs: 3,
      thrum: { route: "local", ignoreEos: true },
    });
    await node.close();
    const [choice] = answer.choices;
    return { isolated: crossOriginIsolated, threads, threadsReason, text: choice.text, logprobs: choice.logprobs };
  }, [relay.origin, `${host.origin}/model.gguf`, options, loads]);
  await context.close();
  // The browser asks for an icon by itself.
  assert.deepEqual(errors.filter((text) => !text.includes("404")), []);
  return result;
}

test("the dashboard is cross-origin isolated", async () => {
  const { page, context } = await openPage(browser, relay.origin);
  assert.equal(await page.evaluate(() => crossOriginIsolated), true);
  await context.close();
});

test("several threads answer as one does, with a model from another origin", async () => {
  const url = `${relay.origin}/healthz`;
  const alone = await computed(url, { threads: 1 });
  assert.deepEqual([alone.isolated, alone.threads, alone.threadsReason], [true, 1, null]);
  assert.equal(alone.text.length > 0, true);
  for (const threads of [2, 3]) {
    assert.deepEqual(await computed(url, { threads }), { ...alone, threads });
  }
  assert.deepEqual(await computed(url, { threads: 2 }, { loads: 2 }), { ...alone, threads: 2 });
});

test("a page that is not isolated computes on one thread and says why", async () => {
  const alone = await computed(`${relay.origin}/healthz`, { threads: 1 });
  const elsewhere = await computed(host.origin, { threads: 2 });
  const { isolated, threads, threadsReason, ...answer } = elsewhere;
  assert.deepEqual([isolated, threads], [false, 1]);
  assert.match(threadsReason, /not cross-origin isolated/);
  assert.deepEqual(answer, { text: alone.text, logprobs: alone.logprobs });
});

test("a number of threads that cannot be is refused by name", async () => {
  const { page, context } = await openPage(browser, `${relay.origin}/healthz`);
  for (const threads of [0, 17, 1.5, "2", null]) {
    const { code, message } = await page.evaluate(async ([origin, given]) => {
      const { createNode } = await import(`${origin}/embed/thrum.js`);
      return createNode({ relays: [], threads: given }).then(
        () => ({}), (error) => ({ code: error.code, message: error.message }));
    }, [relay.origin, threads]);
    assert.equal(code, "invalid_option");
    assert.match(message, /threads/);
  }
  await context.close();
});
