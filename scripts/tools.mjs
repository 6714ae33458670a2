// Set-up: what the builds and tests need, each only when it is missing.
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { StageError, fingerprint, output, root, run, stage, stamp, stamped } from "./stages.mjs";

/** Trunk builds with any 0.21; this is the one installed where there is none. */
const TRUNK = "0.21.14";

// Tools run for seconds, so they are compiled for minutes less.
const quickBuild = {
  CARGO_PROFILE_RELEASE_OPT_LEVEL: "1",
  CARGO_PROFILE_RELEASE_LTO: "off",
  CARGO_PROFILE_RELEASE_CODEGEN_UNITS: "64",
  CARGO_PROFILE_RELEASE_DEBUG: "0",
};

/** The version of wasm-bindgen in Cargo.lock: the command must be of exactly this one. */
function wasmBindgenVersion() {
  const lock = readFileSync(path.join(root, "Cargo.lock"), "utf8");
  return lock.match(/name = "wasm-bindgen"\nversion = "([^"]+)"/)[1];
}

const installTool = (crate, version, features = []) =>
  run(
    "cargo",
    ["install", "--locked", "--force", crate, "--version", version, ...features,
      "--root", path.join(root, ".tools"), "--target-dir", path.join(root, "target", "tools")],
    { env: quickBuild, remedy: `cargo install --locked ${crate} --version ${version}` },
  );

async function prerequisites() {
  const major = Number(process.versions.node.split(".")[0]);
  if (major < 20) {
    throw new StageError(`Node ${process.versions.node} is too old, 20 is needed`, "install Node 20 or later");
  }
  if (!output("cargo", ["--version"])) {
    throw new StageError(
      "cargo is missing, or cannot use the toolchain that rust-toolchain.toml names",
      "install Rust with rustup (see rustup.rs), then: rustup toolchain install",
    );
  }
  if (!output("cc", ["--version"])) {
    throw new StageError(
      "the C compiler `cc` is missing; Rust links with it",
      process.platform === "darwin" ? "xcode-select --install" : "apt-get install build-essential",
    );
  }
}

/** Everything that building the page and the relay needs. */
export async function setUp() {
  await prerequisites();
  await stage({
    title: "wasm target for Rust",
    usually: "10 s",
    done: () => {
      const sysroot = output("rustc", ["--print", "sysroot"]);
      const target = path.join(sysroot ?? "", "lib/rustlib/wasm32-unknown-unknown");
      return sysroot && existsSync(target) ? "there" : null;
    },
    run: () =>
      run("rustup", ["target", "add", "wasm32-unknown-unknown"], {
        remedy: "rustup target add wasm32-unknown-unknown",
      }),
  });
  const packages = fingerprint(["package.json", "package-lock.json", ".npmrc"]);
  await stage({
    title: "npm packages (wasm-opt, browser driver)",
    usually: "15 s",
    done: () =>
      stamped("npm", packages) && existsSync(path.join(root, "node_modules/.bin/wasm-opt"))
        ? "there"
        : null,
    run: async () => {
      await run("npm", ["ci", "--no-audit", "--no-fund"], { remedy: "npm ci" });
      stamp("npm", packages);
    },
  });
  const bindgen = wasmBindgenVersion();
  await stage({
    title: `wasm-bindgen ${bindgen}`,
    usually: "2 minutes",
    done: () =>
      output("wasm-bindgen", ["--version"]) === `wasm-bindgen ${bindgen}` ? "there" : null,
    run: () => installTool("wasm-bindgen-cli", bindgen),
  });
  await stage({
    title: "trunk",
    usually: "4 minutes",
    done: () => output("trunk", ["--version"])?.match(/^trunk 0\.2[1-9]\..*/)?.[0],
    run: () => installTool("trunk", TRUNK, ["--no-default-features", "--features", "rustls"]),
  });
}

const mayInstallPackages = () => output("apt-get", ["--version"]) && process.getuid?.() === 0;

async function installPackages(packages, remedy) {
  await run("apt-get", ["update", "-q"], { remedy });
  await run("apt-get", ["install", "-qy", "--no-install-recommends", ...packages], { remedy });
}

const BROWSERS = [
  process.env.THRUM_CHROMIUM,
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/** Path of a chromedriver, which the wasm tests need beside a Chromium, or null. */
export const findDriver = () =>
  process.env.CHROMEDRIVER ?? ["/usr/bin/chromedriver"].find((file) => existsSync(file)) ?? output("which", ["chromedriver"]);

/** Path of a Chromium, or null. */
export async function findBrowser() {
  const known = BROWSERS.find((candidate) => candidate && existsSync(candidate));
  if (known) return known;
  const { chromium } = await import("playwright-core");
  return existsSync(chromium.executablePath()) ? chromium.executablePath() : null;
}

const hasVulkan = () =>
  process.platform !== "linux" ||
  ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"].some((directory) => existsSync(directory));

/** Everything that the tests need on top. */
export async function setUpTests() {
  await stage({
    title: "a Chromium for the browser tests",
    usually: "1 minute",
    done: async () => ((await findBrowser()) && findDriver() ? "there" : null),
    run: async () => {
      const remedy =
        "apt-get install chromium chromium-driver, or set THRUM_CHROMIUM and CHROMEDRIVER to their paths";
      if (mayInstallPackages()) {
        await installPackages(["chromium", "chromium-driver", "fonts-dejavu-core"], remedy);
      } else {
        await run("npx", ["playwright-core", "install", "chromium"], { remedy });
      }
      if (!findDriver()) throw new StageError("chromedriver is missing", remedy);
    },
  });
  await stage({
    title: "a Vulkan driver for the kernel tests",
    usually: "20 s",
    done: () => (hasVulkan() ? "there" : null),
    run: async () => {
      const remedy = "apt-get install mesa-vulkan-drivers";
      if (mayInstallPackages()) await installPackages(["mesa-vulkan-drivers", "libvulkan1"], remedy);
      else console.log(`  none found; the GPU kernel tests will say that they are skipped (${remedy})`);
    },
  });
}
