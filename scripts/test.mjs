// `npm test`: set-up, then every check: format, lints, native tests, wasm tests in a real browser,
// types, and the whole with several real tabs.
import { readdirSync } from "node:fs";
import path from "node:path";
import { main, root, run, stage } from "./stages.mjs";
import { findBrowser, findDriver, setUp, setUpTests } from "./tools.mjs";
import { buildSite } from "./build.mjs";

const wasm = ["--target", "wasm32-unknown-unknown"];
const edges = ["-p", "thrum-node-wasm", "-p", "thrum-rtc", "-p", "thrum-ui", "-p", "thrum-bench"];

/** One check: always run, and a failure says how to run it alone. */
const check = (title, usually, command, args, env = {}) =>
  stage({
    title,
    usually,
    run: () => run(command, args, { env, remedy: `see above; alone: ${command} ${args.join(" ")}` }),
  });

await main(async () => {
  await setUp();
  await setUpTests();
  const browser = {
    THRUM_CHROMIUM: await findBrowser(),
    CHROMEDRIVER: findDriver(),
    // The kernel tests fail rather than skip where a driver was installed for them.
    ...(process.platform === "linux" ? { THRUM_REQUIRE_GPU: "1" } : {}),
  };
  await check("format", "5 s", "cargo", ["fmt", "--all", "--check"]);
  await check("lints, native", "4 minutes", "cargo",
    ["clippy", "--all-targets", "-p", "thrum-ui", "-p", "thrum-tests", "-p", "thrum-engine", "-p", "thrum-shaders",
      "-p", "thrum-protocol", "-p", "thrum-hive", "-p", "thrum-rtc", "-p", "thrum-sim", "-p", "thrum-relay",
      "-p", "thrum-natlab", "--", "-D", "warnings"]);
  await check("lints, browser", "2 minutes", "cargo", ["clippy", "--tests", ...wasm, ...edges, "--", "-D", "warnings"]);
  // This also makes target/debug/thrum-relay, which the tests with real tabs start.
  await check("native tests", "6 minutes", "cargo", ["test"], browser);
  await check("dashboard's pure tests", "10 s", "cargo", ["test", "-p", "thrum-ui"]);
  await check("what NATs do to packets", "20 s", "cargo", ["test", "-p", "thrum-natlab"]);
  await buildSite();
  await check("wasm tests in the browser", "3 minutes", "cargo",
    ["test", ...wasm, "-p", "thrum-node-wasm"], { ...browser, WASM_BINDGEN_TEST_TIMEOUT: "300" });
  await check("peers in one page, over real data channels", "1 minute", "cargo",
    ["test", ...wasm, "-p", "thrum-rtc"], { ...browser, WASM_BINDGEN_TEST_TIMEOUT: "300" });
  await check("every matrix kernel, bit for bit, in the browser", "1 minute", "cargo",
    ["test", ...wasm, "-p", "thrum-engine", "--test", "kernels_web"], browser);
  await check("the same logits, bit for bit, in wasm", "1 minute", "cargo",
    ["test", ...wasm, "-p", "thrum-engine", "--test", "same_bits"]);
  await check("types of the JavaScript API", "3 s", "tsc", ["-p", "tests/browser/tsconfig.json"]);
  const suites = readdirSync(path.join(root, "tests/browser"))
    .filter((name) => name.endsWith(".test.mjs"))
    .map((name) => path.join("tests/browser", name));
  await check("several real tabs", "3 minutes", "node",
    ["--test", "--test-concurrency=1", ...suites], browser);
  await check("the NAT laboratory", "10 s", "cargo", ["build", "-p", "thrum-natlab"]);
  await check("tabs behind NATs", "1 minute", "node", ["--test", "tests/natlab/natlab.test.mjs"], browser);
  await check("browser to browser with js-libp2p", "90 s", "node", ["--test", "tests/interop/interop.test.mjs"], browser);
});
