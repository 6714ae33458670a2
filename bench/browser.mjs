// Chromium for the bench, and what its processes take.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { chromium } from "playwright-core";

const flags = [
  "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--enable-unsafe-webgpu",
  // Pages that wait for their turn must not be slowed down for being in the background.
  "--disable-renderer-backgrounding", "--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows",
];

const options = () => ({ executablePath: process.env.THRUM_CHROMIUM ?? "/usr/bin/chromium", args: flags });

export const startBrowser = () => chromium.launch(options());

/** A browser with a profile on disk: what a visit leaves, the next one finds. */
export async function startProfile(directory) {
  const context = await chromium.launchPersistentContext(directory, options());
  return { context, browser: context.browser() };
}

/** A folder for a profile, and how to remove it. */
export function newProfile() {
  const directory = mkdtempSync(path.join(os.tmpdir(), "thrum-bench-"));
  return { directory, remove: () => rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 }) };
}

/** Bytes that the greatest page process of this browser has had in memory at most, or null. */
export async function peakBytes(page) {
  if (process.platform !== "linux") return null;
  const session = await page.context().browser()?.newBrowserCDPSession();
  if (!session) return null;
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  await session.detach();
  const peaks = processInfo.filter(({ type }) => type === "renderer").map(({ id }) => {
    const status = readFileSync(`/proc/${id}/status`, "utf8");
    return Number(status.match(/VmHWM:\s+(\d+) kB/)?.[1] ?? 0) * 1024;
  });
  return Math.max(...peaks);
}

/** A page of `origin` with an engine loaded; throws what the page threw, in its words. */
export async function openEngine(context, origin, kind, settings) {
  const page = await context.newPage();
  await page.goto(`${origin}/pages/blank.html`);
  const opened = await page.evaluate(async ([name, how]) => {
    const { open } = await import("/pages/engines.js");
    return open(name, how).then((value) => ({ value }), (error) => ({ error: String(error?.message ?? error) }));
  }, [kind, settings]);
  if (opened.error) {
    await page.close();
    throw new Error(opened.error);
  }
  return { page, ...opened.value };
}

/** Asks the engine of `page`. */
export const ask = (page, prompt, tokens) =>
  page.evaluate(async ([text, count]) => (await import("/pages/engines.js")).ask(text, count), [prompt, tokens]);
