// One product of a 4-bit matrix and one or 64 activations on WebGPU: onnxruntime-web's and ours. On a
// machine without a graphics card both run on SwiftShader, Chromium's own, on the processor.
import { ask, openEngine, startBrowser } from "./browser.mjs";
import { promptOf } from "./cpu.mjs";
import { median, notMeasured, printTable, ratios, short, spread } from "./figures.mjs";

/** Columns and rows: a SmolLM2 block's up and down and its head, a Qwen2.5 block's up. */
const MATRICES = [[576, 1536], [1536, 576], [576, 49_152], [896, 4_864]];
const TOKENS = [1, 64];
const SHAPES = MATRICES.flatMap(([cols, rows]) => TOKENS.map((tokens) => ({ cols, rows, tokens })));

async function onPage(browser, origin, module, args) {
  const context = await browser.newContext();
  const page = await context.newPage();
  try {
    await page.goto(`${origin}/pages/blank.html`);
    const result = await page.evaluate(async ([name, given]) => {
      const { measure } = await import(name);
      return measure(...given).catch((error) => ({ error: String(error?.message ?? error) }));
    }, [module, args]);
    if (result.error) throw new Error(result.error);
    return result;
  } finally {
    await context.close();
  }
}

const adapterName = (browser, origin) => browser.newPage().then(async (page) => {
  await page.goto(`${origin}/pages/blank.html`);
  const name = await page.evaluate(async () => {
    const adapter = await navigator.gpu?.requestAdapter();
    return adapter ? `${adapter.info.vendor} ${adapter.info.architecture} ${adapter.info.description}`.trim() : null;
  });
  await page.close();
  return name;
});

/** Whether the kernels' crate times WGSL; asked once. */
async function hasOwn(browser, origin) {
  const page = await browser.newPage();
  await page.goto(`${origin}/pages/blank.html`);
  const answer = await page.evaluate(async () => (await import("/pages/kernels.js")).hasGpu());
  await page.close();
  return answer;
}

/** tokens of a prompt and of an answer; a processor that plays a graphics card is slow. */
const PROMPT = 32;
const ANSWER = 8;

/** Our whole engine on WebGPU, as a page that asks for it gets it. */
async function wholeModel(browser, origin, model, rounds) {
  const name = `${model.shape} ${model.mix}, whole model, ours on WebGPU`;
  const context = await browser.newContext();
  try {
    const { page } = await openEngine(context, origin, "thrum", { url: `/models/${model.file}`, threads: 1, backend: "webgpu" });
    await ask(page, promptOf(8, 1_000), 2);
    const prefill = [];
    const decode = [];
    for (let round = 0; round < rounds; round += 1) {
      const answer = await ask(page, promptOf(PROMPT, round), ANSWER);
      prefill.push((1000 * answer.promptTokens) / answer.firstMs);
      decode.push((1000 * (answer.tokens - 1)) / answer.restMs);
    }
    console.log(`  ${name}: prefill ${spread(prefill)}, decode ${spread(decode)} tok/s`);
    return { model: model.file, prefill, decode };
  } catch (error) {
    return notMeasured(name, error.message);
  } finally {
    await context.close();
  }
}

export async function gpu(servers, models, { rounds }) {
  const browser = await startBrowser();
  const figures = [];
  const rows = [];
  try {
    const adapter = await adapterName(browser, servers.plain);
    if (!adapter) return [notMeasured("WebGPU", "this browser has no adapter")];
    console.log(`  adapter: ${adapter}`);
    const own = await hasOwn(browser, servers.plain);
    for (const shape of SHAPES) {
      const name = `${shape.cols} x ${shape.rows}, ${shape.tokens} token${shape.tokens > 1 ? "s" : ""}`;
      const entry = { ...shape };
      const measure = async (key, module, args) => {
        try {
          const { millis, kernel } = await onPage(browser, servers.plain, module, args);
          entry[key] = millis;
          if (kernel) entry.kernel = kernel;
        } catch (error) {
          entry[`${key}NotMeasured`] = error.message;
        }
      };
      await measure("ortWebgpu", "/pages/ort.js", ["webgpu", shape, rounds]);
      await measure("ortWasm", "/pages/ort.js", ["wasm", shape, rounds]);
      if (own) await measure("thrum", "/pages/kernels.js", [shape, rounds]);
      else entry.thrumNotMeasured = "the crate thrum-bench has no gpuMatmul yet";
      figures.push(entry);
      const rate = (millis) => short((shape.cols * shape.rows * shape.tokens) / (1e6 * median(millis)));
      const cell = (key) => (entry[key] ? `${spread(entry[key])} = ${rate(entry[key])}` : "-");
      rows.push([name, cell("ortWebgpu"), cell("ortWasm"), cell("thrum"),
        entry.thrum && entry.ortWebgpu ? spread(ratios(entry.ortWebgpu, entry.thrum)) : "-"]);
    }
    console.log(`  ms of one product, median (lowest-highest) of ${rounds} series, and GMAC/s`);
    printTable(["columns x rows", "ORT WebGPU", "ORT wasm, 1 thread", "ours, WebGPU", "times faster"], rows);
    for (const { cols, rows: height, tokens, kernel } of figures) {
      if (kernel) console.log(`  ours at ${cols} x ${height}, ${tokens}: ${kernel}`);
    }
    const reasons = new Set(figures.flatMap((it) => Object.entries(it).filter(([key]) => key.endsWith("NotMeasured")).map(([key, why]) => `${key.replace("NotMeasured", "")}: ${why}`)));
    for (const reason of reasons) console.log(`  not measured: ${reason}`);
    const whole = models.find(({ shape, mix }) => shape === "smollm2-135m" && mix === "q4_0");
    return { adapter, shapes: figures, whole: whole && await wholeModel(browser, servers.plain, whole, rounds) };
  } finally {
    await browser.close();
  }
}
