// The relay on one core, full of idle peers and of pairs that meet, beside js-libp2p's in the same
// rig: one crowd (relay/examples/crowd.rs) for both, over WebSocket on the loopback.
import { spawn } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { root } from "../scripts/stages.mjs";
import { interopRoot, packages } from "../tests/interop/prepare.mjs";
import { printTable, short } from "./figures.mjs";

/** count; idle peers with a place. */
const PEERS = 5_000;

/** count; circuits opened within a minute, each carrying 5 kB there and back. */
const MEETINGS = 500;

const target = (...parts) => path.join(root, "target", process.env.THRUM_RELAY_PROFILE ?? "native", ...parts);

/** The command on one core, where the system can hold it there. */
const onOneCore = (command, args) =>
  process.platform === "linux" ? ["taskset", ["-c", "0", command, ...args]] : [command, args];

/** Starts a relay; its process, and the first of its lines that holds an address. */
async function startOne(command, args, options = {}) {
  const child = spawn(...onOneCore(command, args), { stdio: ["pipe", "pipe", "inherit"], ...options });
  for await (const line of createInterface(child.stdout)) {
    const address = line.match(/\/ip4\/\S+\/ws\/p2p\/\S+/);
    if (address) return { child, address: address[0] };
  }
  throw new Error(`${command} ended without an address`);
}

async function startOurs() {
  const state = mkdtempSync(path.join(os.tmpdir(), "thrum-relay-"));
  const any = "127.0.0.1:0";
  const started = await startOne(target("thrum-relay"), [
    "--http", any, "--ws", any, "--webrtc", any, "--stun", any, "--state", state,
    "--max-connections-per-ip", "10240",
  ]);
  return { ...started, remove: () => rmSync(state, { recursive: true, force: true }) };
}

async function startJs() {
  await packages();
  for (const file of ["js_relay.mjs", "with_resolvers.mjs"]) {
    copyFileSync(path.join(root, "tests/interop", file), path.join(interopRoot, file));
  }
  const started = await startOne(process.execPath, ["js_relay.mjs", String(2 * PEERS)], { cwd: interopRoot });
  return { ...started, remove: () => {} };
}

/** kB; what a process has in memory. */
const resident = ({ pid }) => Number(readFileSync(`/proc/${pid}/status`, "utf8").match(/VmRSS:\s+(\d+)/)[1]);

/** s; what a process has had of the processor. Clock ticks are 10 ms on every Linux. */
function processor({ pid }) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function measure(relay) {
  const { child, address } = relay;
  const figures = { empty: resident(child) };
  const crowd = spawn(target("examples/crowd"), [address, String(PEERS), String(MEETINGS)], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface(crowd.stdout)[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error("the crowd left");
    return value.split(" ").slice(1).map(Number);
  };
  try {
    const connecting = processor(child);
    [figures.placed] = await next();
    figures.full = resident(child);
    figures.connect = (processor(child) - connecting) / figures.placed;
    const before = processor(child);
    crowd.stdin.write("meet\n");
    [figures.met, figures.p50, figures.p95] = await next();
    figures.busy = processor(child) - before;
    figures.after = resident(child);
  } finally {
    crowd.stdin.end();
    child.kill();
    relay.remove();
  }
  return figures;
}

const row = (name, it) => [
  name, it.placed, short((it.full - it.empty) / it.placed), short(it.empty / 1024), short(it.full / 1024),
  short(it.connect * 1000), `${it.met}/${MEETINGS}`, it.p50, it.p95, short(it.busy),
];

export async function relay() {
  const ours = await measure(await startOurs());
  const heads = ["relay on one core", "idle", "kB each", "MB empty", "MB full", "ms CPU to place one", "met", "p50 ms", "p95 ms", "s CPU in the minute"];
  const rows = [row("ours", ours)];
  let js;
  try {
    js = await measure(await startJs());
    rows.push(row("js-libp2p", js));
  } catch (error) {
    console.log(`  js-libp2p: not measured: ${error.message}`);
  }
  printTable(heads, rows);
  if (js) {
    const each = (it) => (it.full - it.empty) / it.placed;
    console.log(`  js / ours: memory of a connection ${short(each(js) / each(ours))}, CPU to place one ${short(js.connect / ours.connect)}, CPU of a minute ${short(js.busy / ours.busy)}, p50 ${short(js.p50 / ours.p50)}`);
  }
  return { ours, js };
}
