// `npm run bench`: what Thrum does beside the best that a web developer could pick instead, in the
// same Chromium on the same files. Prints; asserts nothing. `npm run bench -- help` lists the parts.
import { parseArgs } from "node:util";
import { StageError, main, output } from "./stages.mjs";
import { findBrowser, setUp, setUpTests } from "./tools.mjs";
import { buildCrowd, buildRelay, buildSite } from "./build.mjs";
import * as prepare from "../bench/prepare.mjs";
import { section } from "../bench/results.mjs";
import { startServers } from "../bench/server.mjs";
import { kernels } from "../bench/wasm.mjs";

const SHAPES = ["smollm2-135m", "qwen2.5-0.5b"];
const MIXES = ["q4_0", "q8_0", "q4_k_m"];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    shape: { type: "string", multiple: true, default: SHAPES },
    mix: { type: "string", multiple: true, default: MIXES },
    threads: { type: "string", multiple: true, default: ["1", "2"] },
    engine: { type: "string", multiple: true, default: ["thrum", "wllama2", "wllama3"] },
    rounds: { type: "string", default: "3" },
    minutes: { type: "string", default: "30" },
    built: { type: "boolean", default: false },
  },
});

/** Every part: what it prints, what it needs, and how. */
const PARTS = {
  sizes: {
    title: "Sizes (aim: worker with everything under 1,500 kB gzipped)",
    site: true,
    run: async () => (await import("../bench/sizes.mjs")).sizes(),
  },
  native: {
    title: "The engine alone, natively",
    models: true,
    run: async ({ models, settings }) => (await import("../bench/native.mjs")).native(models, settings),
  },
  cpu: {
    title: "CPU: tokens per second in the browser, beside wllama",
    site: true, models: true, packages: true,
    run: async ({ servers, models, settings }) => (await import("../bench/cpu.mjs")).cpu(servers, models, settings),
  },
  roofline: {
    title: "What WebAssembly can do here at most, and the share that decode reached",
    models: true, probes: true, kernels: true,
    run: async ({ servers, models }) => (await import("../bench/roofline.mjs")).roofline(servers, models),
  },
  load: {
    title: "From the browser's storage to the first token, and peak memory of the tab",
    site: true, models: true, packages: true,
    run: async ({ servers, models, settings }) => (await import("../bench/load.mjs")).load(servers, models, settings),
  },
  gpu: {
    title: "WebGPU: one matrix of 4-bit weights, beside onnxruntime-web",
    site: true, models: true, packages: true, kernels: true,
    run: async ({ servers, models, settings }) => (await import("../bench/gpu.mjs")).gpu(servers, models, settings),
  },
  adapters: {
    title: "Adapters",
    models: true, kernels: true,
    run: async ({ servers, models }) => (await import("../bench/adapters.mjs")).adapters(servers, models),
  },
  rtc: {
    title: "Browser to browser, beside js-libp2p and bare data channels",
    relay: true,
    run: async ({ settings }) => (await import("../bench/rtc.mjs")).rtc(settings),
  },
  streams: {
    title: "100,000 streams on one connection between two tabs: memory",
    relay: true, long: true,
    run: async () => (await import("../bench/soak.mjs")).streams(),
  },
  cycles: {
    title: "1,000 times connecting and parting: memory",
    relay: true, long: true,
    run: async () => (await import("../bench/soak.mjs")).cycles(),
  },
  hidden: {
    title: "A tab that nobody looks at serves another",
    site: true, relay: true, long: true,
    run: async ({ settings }) => (await import("../bench/tabs.mjs")).hidden(settings),
  },
  mesh: {
    title: "32 tabs at one relay",
    site: true, relay: true, long: true,
    run: async ({ settings }) => (await import("../bench/tabs.mjs")).mesh(settings),
  },
  relay: {
    title: "The relay: 5,000 idle peers and 500 meetings a minute on one core, beside js-libp2p",
    relay: true, crowd: true,
    run: async () => (await import("../bench/relay.mjs")).relay(),
  },
  demo: {
    title: "The demonstrator, from nothing to its first token",
    site: true, relay: true,
    run: async () => (await import("../bench/demo.mjs")).demo(),
  },
};

function help() {
  console.log("npm run bench -- [part ...] [--shape NAME] [--mix NAME] [--threads N] [--engine NAME] [--rounds N] [--minutes N] [--built]\n");
  for (const [name, { title, long }] of Object.entries(PARTS)) {
    console.log(`  ${name.padEnd(9)} ${title}${long ? " (only when named)" : ""}`);
  }
  console.log(`\n  shapes ${SHAPES.join(", ")}; mixes ${MIXES.join(", ")}; options may be repeated`);
  console.log("  --built measures dist/ as it is, without building; figures go to target/bench/results.json");
}

/** A number the command line gives. */
function count(text) {
  if (!/^[1-9]\d{0,2}$/.test(text)) throw new StageError(`${text} is not a number from 1 to 999`);
  return Number(text);
}

/** Makes what the chosen parts need, and nothing else. */
async function prepared(parts) {
  const needs = (what) => parts.some((name) => PARTS[name][what]);
  await setUp();
  await setUpTests();
  process.env.THRUM_CHROMIUM ??= await findBrowser();
  if (needs("site") && !values.built) await buildSite();
  if (needs("relay")) {
    await buildRelay("native");
    process.env.THRUM_RELAY_PROFILE = "native";
  }
  if (needs("crowd")) await buildCrowd();
  if (needs("packages")) await prepare.packages();
  if (needs("probes")) await prepare.probes();
  if (needs("kernels")) await kernels();
  return needs("models") ? prepare.models(values.shape, values.mix) : [];
}

await main(async () => {
  if (positionals.includes("help")) return help();
  const unknown = positionals.find((name) => !(name in PARTS));
  if (unknown) throw new StageError(`there is no part ${unknown}`, "npm run bench -- help");
  const parts = positionals.length ? positionals : Object.keys(PARTS).filter((name) => !PARTS[name].long);
  const settings = { rounds: count(values.rounds), minutes: count(values.minutes), threads: values.threads.map(count), kinds: values.engine };
  const models = await prepared(parts);
  const servers = await startServers();
  console.log(`commit ${output("git", ["rev-parse", "--short", "HEAD"])}, ${output(process.env.THRUM_CHROMIUM, ["--version"])}`);
  try {
    for (const name of parts) {
      await section(name, PARTS[name].title, () => PARTS[name].run({ servers, models, settings }));
    }
  } finally {
    servers.close();
  }
});
