// The whole matrix: every pair of NATs with and without TURN, neighbours, and bad weather.
// `node tests/natlab/run.mjs [part of a cell's name]`; `npm run natlab` builds what it needs first.
import { tryNats, tryNeighbours } from "./cells.mjs";
import { startLab, whyNot } from "./lab.mjs";
import { KINDS, PAIRS, SITES, WORDS } from "./places.mjs";
import { WEATHER, tryWeather } from "./weather.mjs";

const wanted = process.argv.slice(2).join(" ");
const impossible = whyNot();
if (impossible) {
  console.error(`there can be no NAT laboratory here: ${impossible}`);
  process.exit(1);
}

const lab = await startLab(SITES);
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => lab.close().finally(() => process.exit(130)));
}
const [withTurn, without] = [true, false];
const found = new Map();
let failures = 0;

async function cell(name, run) {
  if (!name.includes(wanted)) return;
  const result = await run().catch((error) => ({ error }));
  found.set(name, result);
  const { way, through, why, bytes, opened, reached, back, error } = result;
  const words = [`${way} (${reached - opened > 0 ? (reached - opened).toFixed(1) : reached} s)`];
  if (through) words.push(`through ${[...new Set(through)].join(" and ")}`);
  if (bytes !== undefined) words.push(`${bytes} bytes past the relays`);
  if (back !== undefined) words.push(`back after ${back} s`);
  if (why) words.push(why.join(" | "));
  if (error) failures += 1;
  console.log(error ? `✗ ${name}: ${error.message}` : `✓ ${name}: ${words.join(", ")}`);
}

const short = (name) => {
  const result = found.get(name);
  if (!result) return "";
  if (result.error) return "**failed**";
  return `${result.way}, ${(result.reached - result.opened).toFixed(1)} s`;
};

function table(title, columns, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line([title, ...columns]), line(["---", ...columns.map(() => "---")]), ...rows.map(line)].join("\n");
}

const pairName = ([one, other], turn) => `${WORDS[one]} x ${WORDS[other]}, ${turn ? "with" : "without"} TURN`;
const neighbourName = (kind, isolated) => `neighbours behind ${WORDS[kind]}${isolated ? ", kept apart" : ""}`;

try {
  const relays = new Map([
    [withTurn, await lab.relay("relay", ["--turn", "true"])],
    [without, await lab.relay("noTurn", ["--turn", "false"])],
  ]);
  const origins = [...relays.values()].map(({ origin }) => origin);
  const [a, b, c] = await Promise.all(["a", "b", "c"].map((name) => lab.browser(name, origins)));
  for (const turn of [without, withTurn]) {
    const { origin } = relays.get(turn);
    for (const pair of PAIRS) await cell(pairName(pair, turn), () => tryNats(lab, [a, c], origin, pair, turn));
  }
  const { origin } = relays.get(withTurn);
  for (const isolated of [false, true]) {
    for (const kind of KINDS) {
      await cell(neighbourName(kind, isolated), () => tryNeighbours(lab, [a, b], origin, kind, { isolated, turn: true }));
    }
  }
  for (const [name, row] of Object.entries(WEATHER)) {
    await cell(name, () => tryWeather(lab, [a, c], origin, row));
  }
  const columns = KINDS.map((kind) => WORDS[kind]);
  for (const turn of [without, withTurn]) {
    const rows = KINDS.map((one) => [WORDS[one], ...KINDS.map((other) => short(pairName([one, other], turn)))]);
    console.log(`\n${table(turn ? "with TURN" : "without TURN", columns, rows)}`);
  }
  const rows = [false, true].map((isolated) =>
    [isolated ? "kept apart" : "not kept apart", ...KINDS.map((kind) => short(neighbourName(kind, isolated)))]);
  console.log(`\n${table("neighbours, with TURN", columns, rows)}`);
  const weather = Object.keys(WEATHER).map((name) => [name, short(name), found.get(name)?.back ?? ""]);
  console.log(`\n${table("weather, full x port-restricted", ["link", "back after, s"], weather)}`);
} finally {
  await lab.close();
}
console.log(failures ? `\n${failures} of ${found.size} cells failed` : `\nall ${found.size} cells as they should be`);
process.exitCode = failures || found.size === 0 ? 1 : 0;
