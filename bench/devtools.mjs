// A Chromium that is told what to do over its DevTools pipe, and whose tabs are as visible as they
// would be to a person: Playwright has every page believe that it is looked at.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";

const FLAGS = [
  "--headless=new", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
];

/** Starts one, with a profile of its own. */
export async function startChromium() {
  const profile = mkdtempSync(path.join(os.tmpdir(), "thrum-chromium-"));
  const child = spawn(process.env.THRUM_CHROMIUM ?? "/usr/bin/chromium", [...FLAGS, `--user-data-dir=${profile}`, "about:blank"],
    { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
  const waiting = new Map();
  let [unread, last] = ["", 0];
  child.stdio[4].on("data", (chunk) => {
    const messages = (unread + chunk).split("\0");
    unread = messages.pop();
    for (const { id, result, error } of messages.map((it) => JSON.parse(it))) {
      const { resolve, reject } = waiting.get(id) ?? {};
      waiting.delete(id);
      if (error) reject?.(new Error(error.message));
      else resolve?.(result);
    }
  });
  const send = (method, params = {}, sessionId = undefined) =>
    new Promise((resolve, reject) => {
      last += 1;
      waiting.set(last, { resolve, reject });
      child.stdio[3].write(`${JSON.stringify({ id: last, method, params, sessionId })}\0`);
    });
  const open = async (url, browserContextId) => {
    const { targetId } = await send("Target.createTarget", { url, browserContextId });
    const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
    return {
      show: () => send("Target.activateTarget", { targetId }),
      /** What a script comes to; promises are waited for. */
      evaluate: async (expression) => {
        const { result, exceptionDetails } = await send("Runtime.evaluate",
          { expression, awaitPromise: true, returnByValue: true }, sessionId);
        if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
        return result.value;
      },
    };
  };
  return {
    /** A window of its own, with storage of its own; `open(url)` opens a tab in it. */
    window: async () => {
      const { browserContextId } = await send("Target.createBrowserContext");
      return { open: (url) => open(url, browserContextId) };
    },
    close: async () => {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      await send("Browser.close").catch(() => child.kill());
      await ended;
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
