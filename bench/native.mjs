// The engine without a browser: what its kernels do in this machine's own instructions.
import { spawnSync } from "node:child_process";
import path from "node:path";
import { environment, root } from "../scripts/stages.mjs";
import { notMeasured, printTable, short } from "./figures.mjs";
import { modelsRoot } from "./places.mjs";

/** tokens of prompt and of answer. */
const TOKENS = "32";

/** Lines such as `  cpu: prefill 2034 tok/s, decode 301 tok/s`. */
const LINE = /^\s*(.+?): prefill ([\d.]+) tok\/s, decode ([\d.]+) tok\/s/gm;

/** Runs an example of the engine and returns its output; throws its last words. */
export function example(name, args) {
  const result = spawnSync("cargo", ["run", "-q", "--profile", "native", "-p", "thrum-engine", "--example", name, "--", ...args],
    { cwd: root, env: environment, encoding: "utf8", maxBuffer: 1 << 24 });
  if (result.status !== 0) throw new Error(result.stderr.trim().split("\n").at(-1) || `ended with ${result.status}`);
  return result.stdout;
}

export function native(models) {
  const rows = [];
  const figures = [];
  for (const model of models) {
    try {
      const lines = [...example("speed", [path.join(modelsRoot, model.file), TOKENS]).matchAll(LINE)];
      for (const [, engine, prefill, decode] of lines) {
        rows.push([`${model.shape} ${model.mix}`, engine, prefill, decode, short((decode * model.macs) / 1e9)]);
        figures.push({ model: model.file, engine, prefill: Number(prefill), decode: Number(decode) });
      }
    } catch (error) {
      figures.push(notMeasured(`${model.shape} ${model.mix}`, error.message));
    }
  }
  if (rows.length) printTable(["file", "path", "prefill tok/s", "decode tok/s", "decode GMAC/s"], rows);
  return figures;
}
