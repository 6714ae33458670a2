// Pages with a peer of either implementation, and relays of either.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { openPage, startHost, startRelay, until } from "../browser/harness.mjs";
import { interopRoot, site } from "./prepare.mjs";

const TYPES = { ".js": "text/javascript", ".wasm": "application/wasm" };
const SOURCES = { ours: "./our_peer.js", js: "./js_peer.js" };

/** Serves the peers; every other path is a blank page. */
export const startSite = () =>
  startHost((request, response) => {
    const name = path.basename(new URL(request.url, "http://localhost").pathname);
    const type = TYPES[path.extname(name)];
    if (!type) return response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html>");
    return response.writeHead(200, { "content-type": type }).end(readFileSync(path.join(site, name)));
  });

/** The address of a relay of `kind`, and how it is ended. */
export async function startRelayOf(kind) {
  if (kind === "ours") {
    const { info, remove } = await startRelay();
    const [ws, direct] = ["/ws", "/webrtc-direct"].map((way) => info.addrs.find((it) => it.includes(way)));
    const named = (address) => (address.includes("/p2p/") ? address : `${address}/p2p/${info.peerId}`);
    return { address: named(ws), direct: named(direct), peerId: info.peerId, remove };
  }
  const child = spawn(process.execPath, ["js_relay.mjs"], { cwd: interopRoot, stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const first = createInterface(child.stdout)[Symbol.asyncIterator]().next();
  const address = await Promise.race([first.then(({ value }) => value), ended]);
  if (typeof address !== "string") throw new Error(`the relay of js-libp2p ended with ${address}`);
  return {
    address,
    remove: () => {
      child.stdin.end();
      return ended;
    },
  };
}

/** Keeps hold of a page's connections, to look at their statistics. */
function keepConnections() {
  window.connections = [];
  window.RTCPeerConnection = class extends window.RTCPeerConnection {
    constructor(...options) {
      super(...options);
      window.connections.push(this);
    }
  };
}

/** What kinds of candidates the connected pairs of a page have. */
async function pairs() {
  const connected = window.connections.filter((it) => it.connectionState === "connected");
  const all = await Promise.all(connected.map((it) => it.getStats()));
  return all.map((stats) => {
    const transport = [...stats.values()].find((it) => it.type === "transport");
    const pair = stats.get(transport?.selectedCandidatePairId);
    return [pair?.localCandidateId, pair?.remoteCandidateId].map((id) => stats.get(id)?.candidateType).join("-");
  });
}

/** A page with a peer of `kind` that has a place at the relay. */
export async function openPeer(browser, origin, kind, relay, { relayed = false, keep = true } = {}) {
  const { page, context, errors } = await openPage(browser, origin, keep ? { init: keepConnections } : {});
  await page.evaluate(async ([source, address, through]) => {
    const module = await import(new URL(source, location.href).href);
    window.memory = (await module.default?.())?.memory;
    window.peer = module.Peer.start(address, through);
  }, [SOURCES[kind], relay, relayed]);
  const log = () => page.evaluate(() => window.peer.log());
  const peer = {
    page, errors, log,
    close: () => context.close(),
    pairs: () => page.evaluate(pairs),
    /** Waits for a line of the peer's log. */
    line: (beginning) =>
      until(`${kind} says "${beginning}"`, async () => (await log()).find((it) => it.startsWith(beginning)), { millis: 30_000 })
        .catch(async (error) => {
          throw new Error([error.message, ...(await log()), ...errors].join("\n"));
        }),
    /** Calls a method of the peer, which has half a minute for it. */
    call: async (method, ...options) => {
      let timer;
      const late = new Promise((_, reject) => {
        timer = setTimeout(reject, 30_000, new Error("it took more than 30 s"));
      });
      try {
        return await Promise.race([
          page.evaluate(([name, rest]) => window.peer[name](...rest), [method, options]), late]);
      } catch (error) {
        const [reason] = error.message.split("\n");
        throw new Error([`${kind}.${method}(${options}): ${reason}`, ...(await log()), ...errors].join("\n"));
      } finally {
        clearTimeout(timer);
      }
    },
  };
  await peer.line("reserved");
  peer.id = await page.evaluate(() => window.peer.id);
  return peer;
}
