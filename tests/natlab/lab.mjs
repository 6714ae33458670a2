// The laboratory as a test has it: an internet, relays and browsers on it, each in a network
// namespace of its own, and the end of all of them.
import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { root } from "../browser/harness.mjs";

const binary = (name) => path.join(root, "target", process.env.THRUM_RELAY_PROFILE ?? "debug", name);

/** A user namespace, where whoever runs this is root; its processes end with the first one. */
const UNSHARE = ["--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];

/** ms; what ends by itself has so long for it. */
const GRACE = 5_000;

/** Why there can be no laboratory here, or null. */
export function whyNot() {
  if (process.platform !== "linux") return "network namespaces are Linux's";
  const runs = (command, args) => spawnSync(command, args, { stdio: "ignore" }).status === 0;
  if (!runs("ip", ["-V"])) return "`ip` is missing (apt-get install iproute2)";
  if (!runs("unshare", [...UNSHARE, "true"])) {
    return "this user may not make namespaces (unshare --map-root-user --net --pid --mount-proc fails)";
  }
  try {
    accessSync("/dev/net/tun", constants.R_OK | constants.W_OK);
  } catch {
    return "/dev/net/tun is not there, or not for this user";
  }
  return null;
}

const ended = (child) =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve();
    child.once("exit", resolve);
  });

/** Waits for a process that was told to end, and ends it by its id where it does not. */
async function end(child) {
  const timer = setTimeout(() => child.kill("SIGKILL"), GRACE);
  await ended(child);
  clearTimeout(timer);
}

/** What a process answers, line by line, each question after the other. */
function conversation(child, name) {
  const waiting = [];
  const gone = () => {
    for (const { reject } of waiting.splice(0)) reject(new Error(`${name} has ended`));
  };
  createInterface(child.stdout).on("line", (line) => waiting.shift()?.resolve(JSON.parse(line)));
  child.once("exit", gone);
  child.stdin.on("error", () => {}); // It has ended, which is told by `gone`.
  return (question) =>
    new Promise((resolve, reject) => {
      if (child.exitCode !== null || child.signalCode !== null) return reject(new Error(`${name} has ended`));
      waiting.push({ resolve, reject });
      if (question !== undefined) child.stdin.write(`${JSON.stringify(question)}\n`);
    });
}

/**
 * Starts an internet. `sites` are as in `SitePlan` of this crate; hosts are started by `host`.
 */
export async function startLab(sites, { seed = 1 } = {}) {
  for (const name of ["natlab", "thrum-relay"]) {
    if (!existsSync(binary(name))) throw new Error(`${binary(name)} is not built: cargo build -p thrum-natlab -p thrum-relay`);
  }
  const directory = mkdtempSync(path.join(os.tmpdir(), "natlab-"));
  const [plan, socket] = ["plan.json", "socket"].map((name) => path.join(directory, name));
  writeFileSync(plan, JSON.stringify({ seed, sites }));
  const net = spawn(binary("natlab"), ["net", "--plan", plan, "--socket", socket], { stdio: ["pipe", "pipe", "inherit"] });
  const ask = conversation(net, "the internet");
  const hosts = [];
  const close = async () => {
    for (const child of hosts) child.stdin.end();
    await Promise.all(hosts.map((child) => (child.isRelay ? child.kill("SIGKILL") : end(child))));
    net.stdin.end();
    await Promise.all([net, ...hosts].map(end));
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await ask();
  } catch (error) {
    await close();
    throw error;
  }

  /** Runs a command on a host of the plan. */
  const host = (name, command, { isRelay = false } = {}) => {
    const site = sites.find(({ hosts: all }) => name in all);
    const prefix = site.nat ? 24 : 32;
    const child = spawn("unshare", [...UNSHARE, binary("natlab"), "end", "--socket", socket, "--host", name,
      "--address", `${site.hosts[name]}/${prefix}`, "--", ...command], { stdio: ["pipe", "pipe", "pipe"] });
    child.isRelay = isRelay;
    let text = "";
    child.stderr.on("data", (chunk) => {
      text += chunk;
    });
    child.said = () => text;
    hosts.push(child);
    return child;
  };

  return {
    host, close,
    /** Does something to the internet, as `Command` of this crate names it. */
    tell: async (command) => {
      const answer = await ask(command);
      if (answer.answer === "refused") throw new Error(`${JSON.stringify(command)}: ${answer.reason}`);
      return answer;
    },
    /** A real relay, with its HTTP at port 80. */
    relay: async (name, extra = []) => {
      const address = sites.find(({ hosts: all }) => name in all).hosts[name];
      const child = host(name, [binary("thrum-relay"), "--http", `${address}:80`, "--ws", `${address}:8081`,
        "--webrtc", `${address}:8082`, "--stun", `${address}:3478,${address}:3479`,
        "--state", path.join(directory, name), "--page", process.env.NATLAB_PAGE ?? path.join(root, "dist"),
        "--models", path.join(root, "models"), ...extra], { isRelay: true });
      const origin = `http://${address}`;
      await new Promise((resolve, reject) => {
        let text = "";
        const look = (chunk) => {
          text += chunk;
          if (text.includes(origin)) resolve();
        };
        child.stdout.on("data", look);
        child.stderr.on("data", look);
        child.once("exit", (code) => reject(new Error(`${name} ended with ${code}:\n${text}`)));
      });
      return { origin, said: child.said };
    },
    /** A real browser; pages of `origins` are trusted as if they came by HTTPS. */
    browser: async (name, origins) => {
      const child = host(name, [process.execPath, path.join(root, "tests/natlab/peer.mjs"), ...origins]);
      const call = conversation(child, `the browser of ${name}`);
      const must = async (question) => {
        const answer = await call(question);
        if ("error" in answer) throw new Error(`${name}: ${answer.error}`);
        return answer.value;
      };
      try {
        await must();
      } catch (error) {
        throw new Error(`${error.message}\n${child.said()}`);
      }
      return {
        name,
        open: async (url, init) => {
          const page = await must({ do: "open", url, init: init && String(init) });
          return {
            evaluate: (body, argument) => must({ do: "evaluate", page, body: String(body), argument }),
            lines: () => must({ do: "lines", page }),
            close: () => must({ do: "close", page }),
          };
        },
      };
    },
  };
}
