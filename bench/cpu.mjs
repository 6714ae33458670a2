// Tokens per second of a page that asks: ours and both wllamas on the same file, in the same
// browser, in turns.
import { ask, openEngine, startBrowser } from "./browser.mjs";
import { median, notMeasured, printTable, ratios, short, spread } from "./figures.mjs";

export const KINDS = { thrum: "thrum", wllama2: "wllama 2.4.0", wllama3: "wllama 3.8.1" };

/** tokens; long enough that the first one's own time is small beside the prompt's. */
const PROMPT = { "smollm2-135m": 128, "qwen2.5-0.5b": 64 };

/** tokens of an answer. */
const ANSWER = 32;

const WORDS = ("the of and to in is that it was for on are as with his they at be this from have or by one had not but what all were when we there can an your which their said if do will each about how up out them then she many some so these would other into has more her two like him see time could no make than first been its who now people my made over did down only way find use may water long little very after words called just where most know").split(" ");

/** Words without a pattern that a cache of prompts could use: each round begins differently. */
export function promptOf(tokens, round) {
  // Measured on the synthetic vocabularies: 1.66 letters and spaces make a token.
  const letters = Math.round(tokens * 1.66);
  let state = 12_345 + 7_919 * round;
  let text = "";
  while (text.length < letters) {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    text += `${text ? " " : ""}${WORDS[state % WORDS.length]}`;
  }
  return text.slice(0, letters).trim();
}

/** Measures one file with one number of threads. */
async function compare(browser, origin, model, threads, { rounds, kinds }) {
  const opened = [];
  const missing = {};
  for (const kind of kinds) {
    const context = await browser.newContext();
    try {
      const engine = await openEngine(context, origin, kind, { url: `/models/${model.file}`, threads });
      if (engine.threads !== threads) throw new Error(`it runs with ${engine.threads} thread(s)`);
      opened.push({ kind, context, page: engine.page, loadMs: engine.loadMs, prefill: [], decode: [], answers: [] });
    } catch (error) {
      missing[kind] = error.message;
      await context.close();
    }
  }
  const length = PROMPT[model.shape];
  for (const { page } of opened) await ask(page, promptOf(24, 1_000), 8);
  for (let round = 0; round < rounds; round += 1) {
    // Whoever begins has the cooler machine: the order turns.
    const turn = opened.map((_, place) => opened[(place + round) % opened.length]);
    for (const engine of turn) {
      const answer = await ask(engine.page, promptOf(length, round), ANSWER);
      engine.prefill.push((1000 * answer.promptTokens) / answer.firstMs);
      engine.decode.push((1000 * (answer.tokens - 1)) / answer.restMs);
      engine.answers.push({ promptTokens: answer.promptTokens, tokens: answer.tokens, text: answer.text });
    }
  }
  for (const { context } of opened) await context.close();
  return { opened, missing };
}

/** Letters that two answers have in common before they part. */
const common = (a, b) => {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at += 1;
  return at;
};

function report(model, threads, { opened, missing }) {
  const ours = opened.find(({ kind }) => kind === "thrum");
  const theirs = opened.filter(({ kind }) => kind !== "thrum");
  const faster = (what) => theirs.toSorted((a, b) => median(b[what]) - median(a[what]))[0];
  const against = (what) => (ours && theirs.length ? ratios(ours[what], faster(what)[what]) : []);
  const rows = opened.map((engine) => [
    `${model.shape} ${model.mix}, ${threads} thread${threads > 1 ? "s" : ""}`, KINDS[engine.kind],
    spread(engine.prefill), spread(engine.decode),
    engine === ours ? spread(against("prefill")) : "", engine === ours ? spread(against("decode")) : "",
  ]);
  const notes = Object.entries(missing).map(([kind, why]) => notMeasured(`${model.shape} ${model.mix}, ${threads} thread(s), ${KINDS[kind]}`, why));
  const counts = new Set(opened.flatMap(({ answers }) => answers.slice(0, 1).map(({ promptTokens }) => promptTokens)));
  if (counts.size > 1) console.log(`  the engines read the prompt of ${model.file} as ${[...counts].join(", ")} tokens`);
  const judge = theirs.at(-1);
  const agreement = ours && judge
    ? ours.answers.map(({ text }, round) => common(text, judge.answers[round].text) / Math.max(1, judge.answers[round].text.length))
    : [];
  return {
    rows,
    figures: {
      model: model.file, threads, notes, promptTokens: [...counts], answerTokens: ANSWER,
      engines: opened.map(({ kind, loadMs, prefill, decode }) => ({ kind, loadMs, prefill, decode })),
      ratio: { prefill: against("prefill"), decode: against("decode") }, agreement,
      reached: ours ? { macsPerSecond: median(ours.decode) * model.macs, bytesPerSecond: median(ours.decode) * model.matrixBytes } : null,
    },
  };
}

/** @param {{rounds: number, threads: number[], kinds: string[]}} settings */
export async function cpu(servers, models, settings) {
  const browser = await startBrowser();
  const rows = [];
  const figures = [];
  try {
    for (const model of models) {
      for (const threads of settings.threads) {
        const origin = threads > 1 ? servers.isolated : servers.plain;
        const result = report(model, threads, await compare(browser, origin, model, threads, settings));
        rows.push(...result.rows);
        figures.push(result.figures);
        for (const row of result.rows) console.log(`  ${row.slice(0, 4).join("  ")}`);
      }
    }
  } finally {
    await browser.close();
  }
  console.log(`\n  tokens per second, median (lowest-highest) of ${settings.rounds}; ratio to the faster wllama, round by round`);
  printTable(["file", "engine", "prefill", "decode", "prefill ratio", "decode ratio"], rows);
  for (const { model, threads, agreement } of figures) {
    if (agreement.length) console.log(`  ${model}, ${threads}: ${short(100 * median(agreement))} % of an answer's letters are llama.cpp's before the two part`);
  }
  return figures;
}
