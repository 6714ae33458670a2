// `npm run bench`: sizes, cold start to the first token, tokens per second on each path. Prints;
// asserts nothing.
import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { main, output, root, run } from "./stages.mjs";
import { findBrowser, setUp, setUpTests } from "./tools.mjs";
import { buildRelay, buildSite } from "./build.mjs";

const kilobytes = (bytes) => `${(bytes / 1000).toFixed(0).padStart(6)} kB`;
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

function sizes() {
  console.log("\nSizes (aim: page under 1,500 kB, worker under 1,000 kB, gzipped)");
  const dist = path.join(root, "dist");
  const parts = [
    ["page", (name) => /ui.*\.wasm$/.test(name)],
    ["worker", (name) => /^engine_worker.*\.wasm$/.test(name)],
    ["embed/node", (name) => name === "embed/thrum_node_bg.wasm"],
  ];
  const names = [...readdirSync(dist), ...readdirSync(path.join(dist, "embed")).map((name) => `embed/${name}`)];
  for (const [title, matches] of parts) {
    const file = names.find(matches);
    if (!file) continue;
    const bytes = readFileSync(path.join(dist, file));
    console.log(`  ${title.padEnd(11)} ${kilobytes(bytes.length)} plain ${kilobytes(gzipSync(bytes, { level: 9 }).length)} gzip ${kilobytes(brotliCompressSync(bytes).length)} brotli`);
  }
}

/** Decode speed of a node on `page`, tokens per second, median of `rounds`. */
const decodeSpeed = (page, rounds, tokens) =>
  page.evaluate(async ([count, max]) => {
    const speeds = [];
    for (let round = 0; round <= count; round += 1) {
      const answer = await window.node.completions.create({
        prompt: `bench ${round}`, max_tokens: max, temperature: 1, seed: round, thrum: { route: "local", ignoreEos: true },
      });
      if (round > 0) speeds.push([answer.thrum.tokensPerSecond, answer.usage.completion_tokens]);
    }
    return speeds;
  }, [rounds, tokens]);

async function browserFigures() {
  const { openNode, startBrowser, startRelay, openPage } = await import("../tests/browser/harness.mjs");
  const relay = await startRelay();
  const browser = await startBrowser();
  console.log("\nIn the browser (median of 5; the model is the demonstrator, Q8_0)");
  const cold = [];
  for (let round = 0; round < 5; round += 1) {
    const { page, context } = await openPage(browser, `${relay.origin}/healthz`);
    cold.push(await page.evaluate(async (origin) => {
      const since = performance.now();
      const { createNode } = await import(`${origin}/embed/thrum.js`);
      const node = await createNode({ relays: [origin], backend: "cpu" });
      const stream = await node.completions.create({ prompt: "ab>ba;xy>", stream: true, thrum: { route: "local" } });
      for await (const _ of stream) return performance.now() - since;
    }, relay.origin));
    await context.close();
  }
  console.log(`  cold start to first token ${median(cold).toFixed(0)} ms (script, wasm, model download, prefill)`);
  for (const [backend, rounds, tokens] of [["cpu", 5, 256], ["webgpu", 3, 32]]) {
    const { page, context } = await openNode(browser, relay, { backend });
    const speeds = (await decodeSpeed(page, rounds, tokens)).map(([speed]) => speed);
    console.log(`  ${backend.padEnd(7)} ${median(speeds).toFixed(1)} tokens/s`);
    await context.close();
  }
  await browser.close();
  await relay.remove();
}

await main(async () => {
  await setUp();
  await setUpTests();
  process.env.THRUM_CHROMIUM ??= await findBrowser();
  await buildSite();
  await buildRelay("native");
  process.env.THRUM_RELAY_PROFILE = "native";
  console.log(`commit ${output("git", ["rev-parse", "--short", "HEAD"])}`);
  sizes();
  console.log("\nNative");
  await run("cargo", ["run", "--profile", "native", "-q", "-p", "thrum-engine", "--example", "speed", "--", "models/thrum-demo.q8_0.gguf"]);
  await browserFigures();
});
