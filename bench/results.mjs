// target/bench/results.json: every section with the commit, the time and the load it was measured
// under. Running one section replaces that section only.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { output } from "../scripts/stages.mjs";
import { benchRoot } from "./places.mjs";

const file = path.join(benchRoot, "results.json");

/** What earlier runs measured, by name of the section. */
export const sections = () => (existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).sections : {});

const load = () => os.loadavg().map((value) => Number(value.toFixed(2)));

/** The machine, as a reader of the figures needs to know it. */
export const machine = () => ({
  cpu: os.cpus()[0]?.model ?? "unknown",
  cores: os.cpus().length,
  memoryGib: Math.round(os.totalmem() / 2 ** 30),
});

/** Warns where something else runs: figures are then too low, and ratios less certain. */
export function printLoad(when) {
  const [minute] = os.loadavg();
  const busy = minute > 0.5 * os.cpus().length ? "; OTHER WORK IS RUNNING, read the ratios only" : "";
  console.log(`  load average ${when}: ${load().join(" ")}${busy}`);
}

/** Measures a section and keeps what it returns. */
export async function section(name, title, measure) {
  console.log(`\n${title}`);
  printLoad("before");
  const before = load();
  const since = Date.now();
  const figures = await measure();
  const known = { machine: machine(), sections: sections() };
  known.sections[name] = {
    commit: output("git", ["rev-parse", "--short", "HEAD"]),
    when: new Date().toISOString(),
    seconds: Math.round((Date.now() - since) / 1000),
    load: { before, after: load() },
    figures,
  };
  mkdirSync(benchRoot, { recursive: true });
  writeFileSync(file, `${JSON.stringify(known, null, 1)}\n`);
}
