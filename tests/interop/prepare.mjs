// What the interoperation tests need beside Thrum: js-libp2p of one version, bundled for a page, and
// the page's peer of rtc/. Each is made once and kept under target/interop.
import { copyFileSync, existsSync, mkdirSync } from "node:fs";
import path from "node:path";
import { fingerprint, root, run, stage, stamp, stamped } from "../../scripts/stages.mjs";

const source = path.join(root, "tests/interop");
export const interopRoot = path.join(root, "target/interop");
/** What pages load. */
export const site = path.join(interopRoot, "site");

const PACKAGES = ["package.json", "package-lock.json", ".npmrc"];
const SCRIPTS = ["js_peer.mjs", "js_relay.mjs", "with_resolvers.mjs"];

export async function packages() {
  const print = fingerprint(PACKAGES.map((file) => `tests/interop/${file}`));
  await stage({
    title: "packages to talk to (js-libp2p)",
    usually: "30 s",
    done: () => (stamped("interop-packages", print) && existsSync(path.join(interopRoot, "node_modules")) ? "there" : null),
    run: async () => {
      mkdirSync(interopRoot, { recursive: true });
      for (const file of PACKAGES) copyFileSync(path.join(source, file), path.join(interopRoot, file));
      await run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        { cwd: interopRoot, remedy: "npm ci, where the npm registry can be reached" });
      stamp("interop-packages", print);
    },
  });
}

async function jsPeer() {
  const print = fingerprint(["tests/interop"]);
  const bundle = path.join(site, "js_peer.js");
  await stage({
    title: "a page's peer of js-libp2p",
    usually: "3 s",
    done: () => (stamped("interop-js-peer", print) && existsSync(bundle) ? "unchanged" : null),
    run: async () => {
      for (const file of SCRIPTS) copyFileSync(path.join(source, file), path.join(interopRoot, file));
      await run("node_modules/.bin/esbuild", ["js_peer.mjs", "--bundle", "--format=esm",
        "--platform=browser", "--minify", `--outfile=${bundle}`, "--log-level=warning"], { cwd: interopRoot });
      stamp("interop-js-peer", print);
    },
  });
}

async function ourPeer(profile) {
  const print = `${profile} ${fingerprint(["rtc", "Cargo.toml", "Cargo.lock"])}`;
  await stage({
    title: "a page's peer of rtc/",
    usually: "1 minute",
    done: () => (stamped("interop-our-peer", print) && existsSync(path.join(site, "our_peer.js")) ? "unchanged" : null),
    run: async () => {
      await run("cargo", ["build", "--profile", profile, "--target", "wasm32-unknown-unknown",
        "-p", "thrum-rtc", "--example", "interop"]);
      const directory = profile === "dev" ? "debug" : profile;
      await run("wasm-bindgen", ["--target", "web", "--out-name", "our_peer", "--out-dir", site,
        path.join(root, "target/wasm32-unknown-unknown", directory, "examples/interop.wasm")]);
      stamp("interop-our-peer", print);
    },
  });
}

/** Makes all of it; `profile` is Cargo's. */
export async function prepare(profile = "dev") {
  mkdirSync(site, { recursive: true });
  await packages();
  await jsPeer();
  await ourPeer(profile);
}
