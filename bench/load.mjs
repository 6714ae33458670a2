// A second visit: how long from a page's first line to the first token, the model being in the
// browser's storage already, and how much memory the tab took at most on the way.
import { ask, newProfile, openEngine, peakBytes, startProfile } from "./browser.mjs";
import { KINDS, promptOf } from "./cpu.mjs";
import { notMeasured, printTable, ratios, spread, short, median } from "./figures.mjs";

/** tokens; the prompt is not what is measured. */
const PROMPT = 8;

/** tokens; with these the tab has done all that takes memory. */
const ANSWER = 8;

/** Visits once with a profile; milliseconds and bytes. */
async function visit(directory, origin, kind, cached, relays) {
  const { context } = await startProfile(directory);
  try {
    const since = performance.now();
    const { page, loadMs } = await openEngine(context, origin, kind, { cached, threads: 1, relays });
    const prepared = performance.now() - since;
    const answer = await ask(page, promptOf(PROMPT, 0), ANSWER);
    return { ms: prepared + answer.firstMs, loadMs, peakBytes: await peakBytes(page) };
  } finally {
    await context.close();
  }
}

async function compare(origin, model, { rounds, kinds }) {
  const series = [];
  const notes = [];
  for (const kind of kinds) {
    const cached = kind === "thrum" ? `${model.shape}.${model.mix}` : `${origin}/models/${model.file}`;
    series.push({ kind, cached, profile: newProfile(), ms: [], peakBytes: [] });
  }
  try {
    // The first visit downloads and keeps; it is not measured.
    for (let round = -1; round < rounds; round += 1) {
      for (const it of series.filter((one) => !one.failed)) {
        try {
          const figures = await visit(it.profile.directory, origin, it.kind, it.cached, [origin]);
          if (round < 0) continue;
          it.ms.push(figures.ms);
          if (figures.peakBytes) it.peakBytes.push(figures.peakBytes);
        } catch (error) {
          it.failed = true;
          notes.push(notMeasured(`${model.shape} ${model.mix}, ${KINDS[it.kind]}`, error.message));
        }
      }
    }
  } finally {
    for (const { profile } of series) profile.remove();
  }
  return { series: series.filter(({ failed }) => !failed), notes };
}

/** The port is part of an origin, and an origin's storage is found under it again: one server for all. */
export async function load(servers, models, settings) {
  const rows = [];
  const figures = [];
  for (const model of models) {
    const { series, notes } = await compare(servers.plain, model, settings);
    const ours = series.find(({ kind }) => kind === "thrum");
    const fastest = series.filter((it) => it !== ours).toSorted((a, b) => median(a.ms) - median(b.ms))[0];
    for (const it of series) {
      rows.push([`${model.shape} ${model.mix}`, KINDS[it.kind], spread(it.ms),
        it === ours && fastest ? spread(ratios(fastest.ms, ours.ms)) : "",
        it.peakBytes.length ? `${short(median(it.peakBytes) / 1e6)} MB` : "-", `${short(model.bytes / 1e6)} MB`]);
    }
    figures.push({ model: model.file, notes, series: series.map(({ kind, ms, peakBytes: peak }) => ({ kind, ms, peakBytes: peak })) });
  }
  if (rows.length) {
    printTable(["file", "engine", "to the first token, ms", "times faster", "peak memory of the tab", "file's size"], rows);
  }
  return figures;
}
