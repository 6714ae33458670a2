// What every browser test needs: a relay of its own on free ports, a Chromium, pages whose console
// is kept, and waiting for a condition instead of for a time.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const profile = process.env.THRUM_RELAY_PROFILE ?? "debug";
const binary = path.join(root, "target", profile, "thrum-relay");

const flags = [
  "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

/** Starts a relay; `http` and `ws` are ports, 0 for any. Resolves when it is ready. */
export async function startRelay({ state, http = 0, ws = 0, webrtc = 0, extra = [] } = {}) {
  const directory = state ?? mkdtempSync(path.join(os.tmpdir(), "thrum-relay-"));
  const child = spawn(binary, [
    "--http", `127.0.0.1:${http}`, "--ws", `127.0.0.1:${ws}`, "--webrtc", `127.0.0.1:${webrtc}`,
    "--stun", "127.0.0.1:0,127.0.0.1:0",
    "--state", directory, "--page", path.join(root, "dist"), "--models", path.join(root, "models"),
    ...extra,
  ], { stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  const origin = await new Promise((resolve, reject) => {
    const look = (chunk) => {
      text += chunk;
      const found = text.match(/http:\/\/127\.0\.0\.1:\d+/);
      if (found) resolve(found[0]);
    };
    child.stdout.on("data", look);
    child.stderr.on("data", look);
    child.on("exit", (code) => reject(new Error(`relay ended with ${code}:\n${text}`)));
  });
  await until("the relay is ready", async () =>
    fetch(`${origin}/readyz`).then((answer) => answer.ok, () => false));
  const info = await (await fetch(`${origin}/api/relay`)).json();
  const stop = (signal = "SIGTERM") =>
    new Promise((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) return resolve(child.exitCode);
      child.once("exit", resolve);
      child.kill(signal);
    });
  return {
    origin, info, state: directory, stop,
    log: () => text,
    ports: { http: Number(new URL(origin).port), ...ports(info.addrs) },
    remove: async () => {
      await stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

const ports = (addrs) => ({
  ws: Number(addrs.find((addr) => addr.includes("/ws"))?.match(/\/tcp\/(\d+)/)?.[1]),
  webrtc: Number(addrs.find((addr) => addr.includes("/webrtc-direct"))?.match(/\/udp\/(\d+)/)?.[1]),
});

/** Starts a server of another origin on the loopback; `handler` answers every request. */
export async function startHost(handler) {
  const server = http.createServer(handler);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

/**
 * Has a relay, a browser and a host of another origin before the tests of a file, and ends them
 * after; `take` gets `{ relay, browser, host }`.
 */
export function withHost(handler, take) {
  const made = {};
  before(async () => {
    made.relay = await startRelay();
    made.browser = await startBrowser();
    made.host = await startHost(handler);
    take(made);
  });
  after(async () => {
    await made.browser?.close();
    await made.relay?.remove();
    made.host?.close();
  });
}

/** Starts the browser of `THRUM_CHROMIUM`; headless Linux has WebGPU only when asked for it. */
export const startBrowser = ({ webgpu = true, extra = [] } = {}) =>
  chromium.launch({
    executablePath: process.env.THRUM_CHROMIUM ?? "/usr/bin/chromium",
    args: [...flags, ...(webgpu ? ["--enable-unsafe-webgpu"] : []), ...extra],
  });

/** A page in a context (a browser profile) of its own; `errors` holds what the console complains of. */
export async function openPage(browser, url, { context, init, ...options } = {}) {
  const profileContext = context ?? (await browser.newContext(options));
  if (init) await profileContext.addInitScript(init);
  const page = await profileContext.newPage();
  const errors = [];
  const lines = [];
  page.on("console", (message) => {
    lines.push(`${message.type()}: ${message.text()}`);
    if (message.type() === "error") errors.push(message.text());
  });
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(url);
  return { page, context: profileContext, errors, lines };
}

/** Waits until `condition()` is truthy and returns it; fails naming what it waited for. */
export async function until(what, condition, { millis = 60_000, every = 50 } = {}) {
  const end = Date.now() + millis;
  let last;
  while (Date.now() < end) {
    try {
      last = await condition();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, every));
  }
  throw new Error(`waited ${millis} ms in vain until ${what}; last: ${last}`);
}

/**
 * A blank page of the relay's origin on which `window.node` is a node made with these options.
 * `overrides` may hold any JSON-able option of createNode.
 */
export async function openNode(browser, relay, overrides = {}, pageOptions = {}) {
  const opened = await openPage(browser, `${relay.origin}/healthz`, pageOptions);
  await opened.page.evaluate(async ([origin, options]) => {
    const { createNode } = await import(`${origin}/embed/thrum.js`);
    window.node = await createNode({ relays: [origin], ...options });
  }, [relay.origin, overrides]);
  return { ...opened, peerId: await opened.page.evaluate(() => window.node.peerId) };
}

/** Waits until the node on `page` sees `peerId` offering a model. */
export const seesProvider = (page, peerId) =>
  until(`a node sees ${peerId} donating`, () =>
    page.evaluate((id) => {
      const peer = window.node.peers().find((one) => one.peerId === id);
      return Boolean(peer?.capabilities?.donating && peer.capabilities.models.length > 0);
    }, peerId));
