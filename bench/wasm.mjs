// The crate of this folder, compiled for the browser into target/bench/made/kernels.
import { existsSync, mkdirSync } from "node:fs";
import path from "node:path";
import { fingerprint, root, run, stage, stamp, stamped } from "../scripts/stages.mjs";
import { benchRoot } from "./places.mjs";

const folder = path.join(benchRoot, "made", "kernels");

export async function kernels() {
  const print = fingerprint(["engine", "shaders", "bench/src", "bench/Cargo.toml", "Cargo.lock", "Cargo.toml"]);
  await stage({
    title: "the engine's kernels alone, for the browser",
    usually: "3 minutes the first time",
    done: () => (stamped("bench-kernels", print) && existsSync(path.join(folder, "kernels.js")) ? "unchanged" : null),
    run: async () => {
      mkdirSync(folder, { recursive: true });
      await run("cargo", ["build", "--release", "--target", "wasm32-unknown-unknown", "-p", "thrum-bench"]);
      await run("wasm-bindgen", ["--target", "web", "--out-name", "kernels", "--out-dir", folder,
        path.join(root, "target/wasm32-unknown-unknown/release/thrum_bench.wasm")]);
      const wasm = path.join(folder, "kernels_bg.wasm");
      await run("wasm-opt", ["-O3", wasm, "-o", wasm]);
      stamp("bench-kernels", print);
    },
  });
}
