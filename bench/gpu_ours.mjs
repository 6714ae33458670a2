// Our WGSL kernels as a page can call them: `node-wasm/examples/gpu_kernels.rs`, compiled for the
// browser into target/bench/made. Its module exports `measure(shape, rounds)`, milliseconds of one
// product of each series.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fingerprint, root, run, stage, stamp, stamped } from "../scripts/stages.mjs";
import { benchRoot } from "./places.mjs";

const EXAMPLE = "gpu_kernels";
const source = path.join(root, "node-wasm/examples", `${EXAMPLE}.rs`);
const folder = path.join(benchRoot, "made", EXAMPLE);

/** What a page imports: starts the wasm once, and hands a shape to it. */
const FRONT = `import init, { measure as inWasm } from "./${EXAMPLE}.js";
let started;
export async function measure({ cols, rows, tokens }, rounds) {
  await (started ??= init());
  return inWasm(cols, rows, tokens, rounds);
}
`;

/** The module's address, or why there is none. */
export async function ours() {
  if (!existsSync(source)) return { why: "the browser build has no example gpu_kernels yet" };
  const print = fingerprint(["engine", "shaders", "node-wasm/examples", "node-wasm/Cargo.toml", "Cargo.lock"]);
  await stage({
    title: "our WGSL kernels for the browser",
    usually: "3 minutes the first time",
    done: () => (stamped("bench-gpu", print) && existsSync(path.join(folder, "front.js")) ? "unchanged" : null),
    run: async () => {
      mkdirSync(folder, { recursive: true });
      await run("cargo", ["build", "-q", "--release", "--target", "wasm32-unknown-unknown", "-p", "thrum-node-wasm", "--example", EXAMPLE]);
      await run("wasm-bindgen", ["--target", "web", "--out-name", EXAMPLE, "--out-dir", folder,
        path.join(root, "target/wasm32-unknown-unknown/release/examples", `${EXAMPLE}.wasm`)]);
      writeFileSync(path.join(folder, "front.js"), FRONT);
      stamp("bench-gpu", print);
    },
  });
  return { module: `/made/${EXAMPLE}/front.js` };
}
