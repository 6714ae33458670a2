// What adapters cost: decode with one, a swap, taking one from memory, and eight at once; the
// engine measures the same natively and in a page.
import path from "node:path";
import { startBrowser } from "./browser.mjs";
import { notMeasured, printTable, ratios, short, spread } from "./figures.mjs";
import { example } from "./native.mjs";
import { modelsRoot } from "./places.mjs";

/** How adapters are stored: BF16 halves what is read, where the numbers are such. */
const KINDS = { "16 bits": true, "32 bits": false };

/** Series in seconds, interleaved round by round. */
function rowsOf(name, { decode, decodeWithAdapter, swap, load, eight, eightWithAdapters }) {
  const millis = (series) => spread(series.map((seconds) => 1000 * seconds));
  const best = (a, b) => short(Math.min(...a) / Math.min(...b));
  return [
    [name, "a rank-8 adapter on all linears, time of a token to that without", spread(ratios(decodeWithAdapter, decode)), best(decodeWithAdapter, decode), "at most 1.05"],
    [name, "putting on one that is loaded, ms", millis(swap), short(1000 * Math.min(...swap)), "under 5"],
    [name, "taking one from memory, ms", millis(load), short(1000 * Math.min(...load)), "under 5"],
    [name, "8 sequences with 8 adapters, time to 8 without", spread(ratios(eightWithAdapters, eight)), best(eightWithAdapters, eight), "at most 1.5"],
    [name, "8 sequences without adapters, tok/s", spread(eight.map((seconds) => 8 / seconds)), short(8 / Math.min(...eight)), ""],
  ];
}

/** In a page of `origin`, on one thread. */
async function inBrowser(origin, model, narrow) {
  const browser = await startBrowser();
  try {
    const page = await browser.newPage();
    await page.goto(`${origin}/pages/blank.html`);
    return await page.evaluate(async ([url, how]) => (await import("/pages/kernels.js")).adapters(url, how), [`/models/${model.file}`, narrow]);
  } finally {
    await browser.close();
  }
}

function natively(model, narrow) {
  const args = [path.join(modelsRoot, model.file), ...(narrow ? [] : ["f32"])];
  return JSON.parse(example("adapter_speed", args).trim().split("\n").at(-1));
}

export async function adapters(servers, models) {
  const rows = [];
  const figures = [];
  for (const model of models) {
    for (const [kind, narrow] of Object.entries(KINDS)) {
      const places = { browser: () => inBrowser(servers.plain, model, narrow), native: () => natively(model, narrow) };
      for (const [place, measure] of Object.entries(places)) {
        const name = `${model.shape} ${model.mix}, ${kind}, ${place}`;
        try {
          const series = await measure();
          rows.push(...rowsOf(name, series));
          figures.push({ model: model.file, kind, place, ...series });
        } catch (error) {
          figures.push(notMeasured(name, error.message));
        }
      }
    }
  }
  if (rows.length) printTable(["file", "what", "median (lowest-highest)", "best to best", "aim"], rows);
  return figures;
}
