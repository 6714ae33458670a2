// target/bench/results.json: every section with the commit, the time and the load it was measured
// under. Running a part replaces what it measured, and keeps what it measured of other files before.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { output } from "../scripts/stages.mjs";
import { notMeasured } from "./figures.mjs";
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

const subject = ({ model, threads }) => `${model ?? ""} ${threads ?? ""}`;

/** Figures of files, each with when it was made; those of other files stay. */
function merged(before, figures, made) {
  if (!Array.isArray(figures)) return figures;
  const measured = new Set(figures.map(subject));
  const kept = Array.isArray(before) ? before.filter((it) => it.model && !measured.has(subject(it))) : [];
  return [...kept, ...figures.map((it) => ({ ...it, ...made }))];
}

/** Measures a section and keeps what it returns. */
export async function section(name, title, measure) {
  console.log(`\n${title}`);
  printLoad("before");
  const before = load();
  const since = Date.now();
  // A part that fails leaves the other parts their figures.
  const figures = await measure().catch((error) => [notMeasured(title, error.message)]);
  const known = { machine: machine(), sections: sections() };
  const made = { commit: output("git", ["rev-parse", "--short", "HEAD"]), when: new Date().toISOString(), load: { before, after: load() } };
  known.sections[name] = {
    ...made,
    seconds: Math.round((Date.now() - since) / 1000),
    figures: merged(known.sections[name]?.figures, figures, made),
  };
  mkdirSync(benchRoot, { recursive: true });
  writeFileSync(file, `${JSON.stringify(known, null, 1)}\n`);
}
