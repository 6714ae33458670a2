// What a first visitor of a relay's page waits for: script, wasm, model, first token.
import { openPage, startBrowser, startRelay } from "../tests/browser/harness.mjs";
import { printTable, spread } from "./figures.mjs";

const ROUNDS = 5;

/** Milliseconds from nothing to the first token of the default model, in a new profile each time. */
async function coldStart(browser, origin) {
  const { page, context } = await openPage(browser, `${origin}/healthz`);
  const millis = await page.evaluate(async (address) => {
    const since = performance.now();
    const { createNode } = await import(`${address}/embed/thrum.js`);
    const node = await createNode({ relays: [address], backend: "cpu" });
    const stream = await node.completions.create({ prompt: "ab>ba;xy>", stream: true, thrum: { route: "local" } });
    for await (const _ of stream) return performance.now() - since;
    throw new Error("the answer has no token");
  }, origin);
  await context.close();
  return millis;
}

/** Tokens per second of answers of `tokens` tokens; the first is not counted. */
async function decode(browser, origin, backend, rounds, tokens) {
  const { page, context } = await openPage(browser, `${origin}/healthz`);
  const speeds = await page.evaluate(async ([address, kind, count, max]) => {
    const { createNode } = await import(`${address}/embed/thrum.js`);
    const node = await createNode({ relays: [address], backend: kind });
    const found = [];
    for (let round = 0; round <= count; round += 1) {
      const answer = await node.completions.create({
        prompt: `bench ${round}`, max_tokens: max, temperature: 1, seed: round, thrum: { route: "local", ignoreEos: true },
      });
      if (round > 0) found.push(answer.thrum.tokensPerSecond);
    }
    return found;
  }, [origin, backend, rounds, tokens]);
  await context.close();
  return speeds;
}

export async function demo() {
  const relay = await startRelay();
  const browser = await startBrowser();
  try {
    const cold = [];
    for (let round = 0; round < ROUNDS; round += 1) cold.push(await coldStart(browser, relay.origin));
    const cpu = await decode(browser, relay.origin, "cpu", ROUNDS, 256);
    const webgpu = await decode(browser, relay.origin, "webgpu", 3, 32);
    printTable(["0.8 M parameters, Q8_0", "median (lowest-highest)"], [
      ["cold start to first token, ms", spread(cold)],
      ["cpu, tokens/s", spread(cpu)],
      ["webgpu, tokens/s", spread(webgpu)],
    ]);
    return { coldMs: cold, cpu, webgpu };
  } finally {
    await browser.close();
    await relay.remove();
  }
}
