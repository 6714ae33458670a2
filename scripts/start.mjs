// `npm start`: set-up, build, and the relay that serves the page. Arguments go to the relay.
import { spawn } from "node:child_process";
import { environment, main, root } from "./stages.mjs";
import { setUp } from "./tools.mjs";
import { buildRelay, buildSite } from "./build.mjs";

await main(async () => {
  await setUp();
  await buildSite();
  const relay = await buildRelay("native");
  console.log("▸ relay (stop it with Ctrl-C)");
  const child = spawn(relay, process.argv.slice(2), { cwd: root, env: environment, stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => process.exit(signal ? 1 : code));
  await new Promise(() => {});
});
