// `npm run natlab [-- part of a cell's name]`: real browsers behind NATs of every kind.
import { buildSite } from "./build.mjs";
import { main, run } from "./stages.mjs";
import { findBrowser, setUp, setUpTests } from "./tools.mjs";

await main(async () => {
  await setUp();
  await setUpTests();
  await buildSite();
  await run("cargo", ["build", "-p", "thrum-natlab", "-p", "thrum-relay"]);
  await run("node", ["tests/natlab/run.mjs", ...process.argv.slice(2)], { env: { THRUM_CHROMIUM: await findBrowser() } });
});
