// What the bench needs beside the product: the packages it is measured against, the model files, the
// probes. Each is made once and kept under target/bench.
import { createHash } from "node:crypto";
import { copyFileSync, createReadStream, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fingerprint, root, run, stage, stamp, stamped } from "../scripts/stages.mjs";
import { benchRoot, modelsRoot, packagesRoot } from "./places.mjs";

/** wllama 2.4.0 and 3.8.1, and onnxruntime-web, as bench/package-lock.json names them. */
export async function packages() {
  const print = fingerprint(["bench/package.json", "bench/package-lock.json", "bench/.npmrc"]);
  await stage({
    title: "packages to compare with (wllama, onnxruntime-web)",
    usually: "20 s",
    done: () => (stamped("bench-packages", print) && existsSync(path.join(packagesRoot, "node_modules")) ? "there" : null),
    run: async () => {
      mkdirSync(packagesRoot, { recursive: true });
      for (const file of ["package.json", "package-lock.json", ".npmrc"]) {
        copyFileSync(path.join(root, "bench", file), path.join(packagesRoot, file));
      }
      await run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        { cwd: packagesRoot, remedy: "npm ci, where the npm registry can be reached" });
      stamp("bench-packages", print);
    },
  });
}

async function sha256(file) {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file)) hash.update(chunk);
  return hash.digest("hex");
}

/**
 * The synthetic files of these shapes and mixes, and a catalogue of them as a relay has one.
 * @returns {Promise<{shape: string, mix: string, file: string, bytes: number, macs: number, matrixBytes: number}[]>}
 */
export async function models(shapes, mixes) {
  const print = fingerprint(["engine/examples/synthetic_model"]);
  const wanted = shapes.flatMap((shape) => mixes.map((mix) => ({ shape, mix, file: `${shape}.${mix}.gguf` })));
  const made = ({ file }) =>
    stamped(`bench-${file}`, print) && existsSync(path.join(modelsRoot, `${file}.json`)) && existsSync(path.join(modelsRoot, file));
  await stage({
    title: `synthetic models (${wanted.map(({ file }) => file.replace(".gguf", "")).join(", ")})`,
    usually: "10 s, and 2 minutes the first time",
    done: () => (wanted.every(made) ? "there" : null),
    run: async () => {
      mkdirSync(modelsRoot, { recursive: true });
      for (const model of wanted.filter((it) => !made(it))) {
        const file = path.join(modelsRoot, model.file);
        await run("cargo", ["run", "-q", "--profile", "native", "-p", "thrum-engine", "--example", "synthetic_model",
          "--", model.shape, model.mix, file]);
        const sizes = JSON.parse(readFileSync(`${file}.json`, "utf8"));
        writeFileSync(`${file}.json`, JSON.stringify({ ...sizes, sha256: await sha256(file) }));
        stamp(`bench-${model.file}`, print);
      }
    },
  });
  const known = wanted.map((model) => {
    const file = path.join(modelsRoot, model.file);
    return { ...model, bytes: statSync(file).size, ...JSON.parse(readFileSync(`${file}.json`, "utf8")) };
  });
  const entries = known.map(({ file, shape, mix, bytes, sha256: digest }, number) => ({
    id: `${shape}.${mix}`, name: `${shape} ${mix}`, file, bytes, sha256: digest, default: number === 0, context: 8192,
  }));
  writeFileSync(path.join(modelsRoot, "index.json"), JSON.stringify({ models: entries }, null, 1));
  return known;
}

/** The wasm of bench/probes. */
export async function probes() {
  const print = fingerprint(["bench/probes"]);
  const file = path.join(benchRoot, "probe.wasm");
  await stage({
    title: "probes of what the machine can do",
    usually: "1 s",
    done: () => (stamped("bench-probes", print) && existsSync(file) ? "there" : null),
    run: async () => {
      mkdirSync(benchRoot, { recursive: true });
      await run("wasm-as", ["--enable-simd", "--enable-relaxed-simd", path.join(root, "bench/probes/probe.wat"), "-o", file]);
      stamp("bench-probes", print);
    },
  });
  return file;
}
