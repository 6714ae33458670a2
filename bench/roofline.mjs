// The ceiling: bytes multiplied and read per second by WebAssembly that does nothing else; and what
// share of it the last `cpu` part reached.
import { startBrowser } from "./browser.mjs";
import { printTable, short } from "./figures.mjs";
import { sections } from "./results.mjs";

const ROUNDS = 7;

export async function roofline(servers) {
  const browser = await startBrowser();
  try {
    const page = await browser.newPage();
    await page.goto(`${servers.plain}/pages/blank.html`);
    const run = (name) => page.evaluate(async ([what, rounds]) => (await import("/pages/probe.js"))[what](rounds), [name, ROUNDS]);
    const figures = { one: await run("probe"), two: await run("probeTwo") };
    const row = (name, it) => [name, short(it.macsPerSecond / 1e9), short(it.bytesPerSecond / 1e9)];
    printTable([`best of ${ROUNDS}`, "GMAC/s, i8 dot in cache", "GB/s read"], [row("1 thread", figures.one), row("2 threads", figures.two)]);
    figures.reached = reached(figures);
    return figures;
  } finally {
    await browser.close();
  }
}

/** The share of the ceiling that decode reached: the nearer of both limits. */
function reached({ one, two }) {
  const rows = [];
  for (const { model, threads, reached: got } of sections().cpu?.figures ?? []) {
    if (!got) continue;
    const limit = threads > 1 ? two : one;
    rows.push({ model, threads, macs: got.macsPerSecond / limit.macsPerSecond, bytes: got.bytesPerSecond / limit.bytesPerSecond });
  }
  if (rows.length === 0) console.log("  share reached: not measured: the part `cpu` has not run yet");
  else {
    console.log("\n  share reached by decode in the browser, as the part `cpu` last measured it");
    printTable(["file", "threads", "of the dot products", "of the reading"],
      rows.map(({ model, threads, macs, bytes }) => [model, threads, `${short(100 * macs)} %`, `${short(100 * bytes)} %`]));
  }
  return rows;
}
