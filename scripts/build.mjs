// Builds the page, the embeddable node and the relay; each only when its sources changed.
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { fingerprint, main, output, root, run, stage, stamp, stamped } from "./stages.mjs";
import { setUp } from "./tools.mjs";

const wasmSources = ["protocol", "hive", "shaders", "engine", "rtc", "node-wasm"];
const manifests = ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", ".cargo", "scripts/build.mjs"];
const dist = path.join(root, "dist");
const wasmRelease = path.join(root, "target/wasm32-unknown-unknown/release");

const commit = () => {
  const hash = output("git", ["rev-parse", "--short", "HEAD"]) ?? "unknown";
  const changed = output("git", ["status", "--porcelain", "--", ...wasmSources, "ui", "relay"]);
  return changed ? `${hash}-changed` : hash;
};

const changedSince = (name, file, print) =>
  stamped(name, print) && existsSync(file) ? "unchanged" : null;

/** `dist/`: what the relay serves under `/`. */
async function buildPage() {
  const print = fingerprint([...manifests, ...wasmSources, "ui", "index.html", "Trunk.toml"]);
  await stage({
    title: "page and engine worker",
    usually: "5 minutes the first time",
    done: () => changedSince("page", path.join(dist, "index.html"), print),
    run: async () => {
      const embed = path.join(root, "target", "embed");
      await run("trunk", ["build", "--release"], { env: { THRUM_COMMIT: commit() } });
      if (existsSync(embed)) cpSync(embed, path.join(dist, "embed"), { recursive: true });
      stamp("page", print);
    },
  });
}

/** `dist/embed/`: what another page imports. The worker is the page's own. */
async function buildEmbed() {
  const print = fingerprint([...manifests, ...wasmSources]);
  const embed = path.join(root, "target", "embed");
  await stage({
    title: "embeddable node",
    usually: "2 minutes the first time",
    done: () => changedSince("embed", path.join(dist, "embed/thrum.js"), print),
    run: async () => {
      rmSync(embed, { recursive: true, force: true });
      mkdirSync(embed, { recursive: true });
      await run("cargo", ["build", "--release", "--target", "wasm32-unknown-unknown",
        "-p", "thrum-node-wasm", "--lib"], { env: { THRUM_COMMIT: commit() } });
      await run("wasm-bindgen", ["--target", "web", "--out-name", "thrum_node", "--out-dir", embed,
        path.join(wasmRelease, "thrum_node_wasm.wasm")]);
      const wasm = path.join(embed, "thrum_node_bg.wasm");
      await run("wasm-opt", ["-Os", wasm, "-o", wasm]);
      const scripts = path.join(root, "node-wasm/js");
      for (const file of readdirSync(scripts)) copyFileSync(path.join(scripts, file), path.join(embed, file));
      for (const file of readdirSync(dist).filter((name) => name.startsWith("engine_worker"))) {
        copyFileSync(path.join(dist, file), path.join(embed, file));
      }
      cpSync(embed, path.join(dist, "embed"), { recursive: true });
      stamp("embed", print);
    },
  });
}

/** The relay's binary; `profile` is a Cargo profile that names its own directory. */
export async function buildRelay(profile) {
  const binary = path.join(root, "target", profile, "thrum-relay");
  const print = fingerprint([...manifests, "protocol", "hive", "relay"]);
  await stage({
    title: "relay",
    usually: "4 minutes the first time",
    done: () => changedSince(`relay-${profile}`, binary, print),
    run: async () => {
      await run("cargo", ["build", "--profile", profile, "-p", "thrum-relay", "--bin", "thrum-relay"],
        { env: { THRUM_COMMIT: commit() } });
      stamp(`relay-${profile}`, print);
    },
  });
  return binary;
}

/** What fills a relay with peers, for its figures. */
export async function buildCrowd() {
  const binary = path.join(root, "target/native/examples/crowd");
  const print = fingerprint([...manifests, "protocol", "relay"]);
  await stage({
    title: "a crowd for the relay",
    usually: "1 minute",
    done: () => changedSince("crowd", binary, print),
    run: async () => {
      await run("cargo", ["build", "--profile", "native", "-p", "thrum-relay", "--example", "crowd"]);
      stamp("crowd", print);
    },
  });
}

/** Everything that is served. */
export async function buildSite() {
  await buildPage();
  await buildEmbed();
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main(async () => {
    await setUp();
    await buildSite();
    await buildRelay("native");
  });
}
