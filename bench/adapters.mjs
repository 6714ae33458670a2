// What adapters cost: decode with one, a swap, and eight at once. The engine's example measures; a
// line whose feature the engine lacks says so.
import { existsSync } from "node:fs";
import path from "node:path";
import { root } from "../scripts/stages.mjs";
import { notMeasured, printTable, ratios, short, spread } from "./figures.mjs";
import { example } from "./native.mjs";
import { modelsRoot } from "./places.mjs";

const EXAMPLE = "adapter_speed";

/** Where an example of this name may lie. */
const places = [`engine/examples/${EXAMPLE}.rs`, `engine/examples/${EXAMPLE}/main.rs`];

/**
 * The example prints one JSON line of series, in seconds, interleaved round by round:
 * `{"decode": [], "decodeWithAdapter": [], "swap": [], "eight": [], "eightWithAdapters": []}`.
 */
function rowsOf(name, { decode, decodeWithAdapter, swap, eight, eightWithAdapters }) {
  return [
    [name, "a rank-8 adapter on all linears, time of a token", spread(ratios(decodeWithAdapter, decode)), "at most 1.05"],
    [name, "a swap, ms", spread(swap.map((seconds) => 1000 * seconds)), "under 5"],
    [name, "8 sequences with 8 adapters, time to 8 without", spread(ratios(eightWithAdapters, eight)), "at most 1.5"],
    [name, "8 sequences without adapters, tok/s", short(8 / Math.min(...eight)), ""],
  ];
}

export function adapters(models) {
  const inBrowser = notMeasured("the same in the browser", "createNode takes no adapters yet");
  if (!places.some((place) => existsSync(path.join(root, place)))) {
    return [inBrowser, notMeasured("decode with an adapter, swap, eight adapters", `the engine has no example ${EXAMPLE} yet`)];
  }
  const rows = [];
  const figures = [inBrowser];
  for (const model of models) {
    try {
      const text = example(EXAMPLE, [path.join(modelsRoot, model.file)]);
      const series = JSON.parse(text.trim().split("\n").at(-1));
      rows.push(...rowsOf(`${model.shape} ${model.mix}`, series));
      figures.push({ model: model.file, ...series });
    } catch (error) {
      figures.push(notMeasured(`${model.shape} ${model.mix}`, error.message));
    }
  }
  if (rows.length) printTable(["file", "what", "median (lowest-highest)", "aim"], rows);
  return figures;
}
