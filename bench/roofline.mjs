// The ceiling, and the share of it that decode reached: what WebAssembly multiplies and reads per
// second when it does nothing else, and what our own kernels take when nothing is around them.
import { startBrowser } from "./browser.mjs";
import { median, printTable, short } from "./figures.mjs";
import { sections } from "./results.mjs";

const ROUNDS = 7;

/** tokens of a decoding pass, and of a full one of a prompt. */
const TOKENS = [1, 32];

const FORMATS = { 2: "Q4_0", 6: "Q5_0", 8: "Q8_0", 12: "Q4_K", 14: "Q6_K" };

/** Calls `name` of a page's module. */
const call = (page, module, name, ...args) =>
  page.evaluate(async ([from, what, given]) => (await import(from))[what](...given), [module, name, args]);

export async function roofline(servers, models) {
  const browser = await startBrowser();
  try {
    const page = await browser.newPage();
    await page.goto(`${servers.plain}/pages/blank.html`);
    const limits = { 1: await call(page, "/pages/probe.js", "probe", ROUNDS), 2: await call(page, "/pages/probe.js", "probeTwo", ROUNDS) };
    printTable([`best of ${ROUNDS}`, "GMAC/s, i8 dot in cache", "GB/s read"],
      Object.entries(limits).map(([threads, it]) => [`${threads} thread(s)`, short(it.macsPerSecond / 1e9), short(it.bytesPerSecond / 1e9)]));
    const bare = await bareKernels(page, models);
    return { limits, bare, reached: reached(limits, bare, models) };
  } finally {
    await browser.close();
  }
}

const keyOf = ({ format, cols, rows }) => `${FORMATS[format] ?? format} ${cols} x ${rows}`;

/** Every kind of matrix of the models with the fastest kernels, and one of each format with the others. */
async function bareKernels(page, models) {
  const names = await call(page, "/pages/kernels.js", "names");
  const kinds = new Map(models.flatMap(({ matrices }) => matrices).map((matrix) => [keyOf(matrix), matrix]));
  const best = {};
  const rows = [];
  const shown = new Set();
  for (const [key, matrix] of kinds) {
    const chosen = shown.has(matrix.format) ? names.slice(-1) : names;
    shown.add(matrix.format);
    for (const name of chosen) {
      const millis = {};
      for (const tokens of TOKENS) millis[tokens] = Math.min(...await call(page, "/pages/kernels.js", "measureCpu", name, matrix, tokens, 5));
      if (name === names.at(-1)) best[key] = millis;
      const rate = (tokens) => short((matrix.cols * matrix.rows * tokens) / (1e6 * millis[tokens]));
      rows.push([key, name, ...TOKENS.map(rate)]);
    }
  }
  console.log("\n  our kernels alone, one thread: GMAC/s, best of 5");
  printTable(["columns x rows", "kernels", ...TOKENS.map((tokens) => `${tokens} token${tokens > 1 ? "s" : ""}`)], rows);
  return best;
}

/** The share of each ceiling that decode in the browser reached, as the part `cpu` last measured it. */
function reached(limits, bare, models) {
  const rows = [];
  for (const { model: file, threads, engines } of sections().cpu?.figures ?? []) {
    const ours = engines.find(({ kind }) => kind === "thrum");
    const model = models.find((it) => it.file === file);
    if (!ours || !model || !limits[threads]) continue;
    const speed = median(ours.decode);
    const bareMs = model.matrices.reduce((sum, matrix) => sum + matrix.count * bare[keyOf(matrix)][1], 0) / threads;
    rows.push({
      model: file, threads, tokensPerSecond: speed,
      macs: (speed * model.macs) / limits[threads].macsPerSecond,
      bytes: (speed * model.matrixBytes) / limits[threads].bytesPerSecond,
      kernels: (speed * bareMs) / 1000,
    });
  }
  if (rows.length === 0) {
    console.log("  share reached by decode: not measured: the part `cpu` has not measured these files yet");
    return rows;
  }
  const percent = (share) => `${short(100 * share)} %`;
  console.log("\n  share reached by decode in the browser, as the part `cpu` last measured it");
  printTable(["file", "threads", "tok/s", "of the dot products", "of the reading", "of our kernels alone"],
    rows.map((it) => [it.model, it.threads, short(it.tokensPerSecond), percent(it.macs), percent(it.bytes), percent(it.kernels)]));
  return rows;
}
