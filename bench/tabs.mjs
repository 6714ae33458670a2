// Long runs of whole nodes: a tab that nobody looks at, and many tabs at once.
import { openNode, startBrowser, startRelay, until } from "../tests/browser/harness.mjs";
import { startChromium } from "./devtools.mjs";
import { median, printTable, short } from "./figures.mjs";

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1_000));

/** A tab with a node, `window.node`. */
async function tab(window, origin) {
  const page = await window.open(`${origin}/healthz`);
  await until("the page is there", () => page.evaluate("document.readyState === 'complete'"));
  page.peerId = await page.evaluate(`
    import("${origin}/embed/thrum.js").then(async ({ createNode }) => {
      window.node = await createNode({ relays: ["${origin}"] });
      return window.node.peerId;
    })`);
  return page;
}

/** A tab in the background serves another that is looked at. */
export async function hidden({ minutes }) {
  const relay = await startRelay();
  const chromium = await startChromium();
  const rows = [];
  try {
    const window = await chromium.window();
    const provider = await tab(window, relay.origin);
    await provider.evaluate("window.node.donate()");
    const asker = await tab(await chromium.window(), relay.origin);
    const path = () => asker.evaluate(`window.node.peers().find((it) => it.peerId === "${provider.peerId}")?.path`);
    await until("the two are connected directly", async () => (await path()) === "direct");
    const cover = await window.open("about:blank");
    await cover.show();
    await until("the provider's tab is hidden", () => provider.evaluate("document.visibilityState === 'hidden'"));
    const began = Date.now();
    let lost = 0;
    for (let minute = 1; minute <= minutes; minute += 1) {
      const millis = [];
      while (Date.now() - began < minute * 60_000) {
        const since = performance.now();
        const answer = await asker.evaluate(`window.node.completions.create({ prompt: "a b c", max_tokens: 16,
          temperature: 0, thrum: { route: "peer", peer: "${provider.peerId}", ignoreEos: true } })
          .then((it) => ({ path: it.thrum.path }), (error) => ({ error: String(error) }))`);
        millis.push(performance.now() - since);
        if (answer.path !== "direct") {
          lost += 1;
          console.log(`  ${Math.round((Date.now() - began) / 1000)} s: ${answer.error ?? answer.path}`);
        }
        await sleep(5);
      }
      const state = await provider.evaluate("document.visibilityState");
      rows.push([minute, state, await path(), millis.length, short(median(millis)), short(Math.max(...millis))]);
      console.log(`  ${rows.at(-1).join(" ")}`);
    }
    console.log(`  ${lost} answers of ${rows.reduce((sum, row) => sum + row[3], 0)} did not come directly`);
  } finally {
    await chromium.close();
    await relay.remove();
  }
  printTable(["minute", "the provider's tab", "link", "answers", "median ms", "longest ms"], rows);
  return rows;
}

/** count; tabs of a mesh. */
const TABS = 32;

/** Many tabs at one relay, all at rest: who is connected to how many, and who is not. */
export async function mesh({ minutes }) {
  const relay = await startRelay();
  const browser = await startBrowser({ webgpu: false });
  const rows = [];
  try {
    const nodes = [];
    for (let n = 0; n < TABS; n += 1) nodes.push(await openNode(browser, relay));
    const began = Date.now();
    for (let minute = 1; minute <= minutes; minute += 1) {
      await sleep(Math.max(0, (began + minute * 60_000 - Date.now()) / 1_000));
      const seen = await Promise.all(nodes.map(({ page }) => page.evaluate(() => ({
        state: window.node.status().state,
        direct: window.node.peers().filter((it) => it.path === "direct").length,
      })).catch((error) => ({ state: String(error), direct: 0 }))));
      const links = seen.map(({ direct }) => direct).toSorted((a, b) => a - b);
      const lost = seen.filter(({ state, direct }) => state !== "ready" && state !== "working" || direct === 0).length;
      rows.push([minute, TABS - lost, lost, links[0], median(links), links.at(-1)]);
      console.log(`  ${rows.at(-1).join(" ")}`);
    }
    const complaints = nodes.flatMap(({ errors }) => errors);
    if (complaints.length > 0) console.log(`  ${complaints.length} complaints in consoles, the first: ${complaints[0]}`);
  } finally {
    await browser.close();
    await relay.remove();
  }
  printTable(["minute", "nodes there", "lost", "direct links: fewest", "median", "most"], rows);
  return rows;
}
