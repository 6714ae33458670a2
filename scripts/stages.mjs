// Stages of a command: each says what it does and how long it usually takes, is skipped when there
// is nothing to do, and on failure names what is missing and the command that mends it.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
export const toolsBin = path.join(root, ".tools", "bin");
const modulesBin = path.join(root, "node_modules", ".bin");

/** Environment of every command: our tools first, so that trunk finds them and downloads nothing. */
export const environment = {
  ...process.env,
  PATH: [toolsBin, modulesBin, process.env.PATH].join(path.delimiter),
  TRUNK_SKIP_VERSION_CHECK: "true",
};

/** A failure that says what to do; printed without a stack. */
export class StageError extends Error {
  constructor(message, remedy) {
    super(message);
    this.remedy = remedy;
  }
}

const started = Date.now();
const seconds = (since) => ((Date.now() - since) / 1000).toFixed(1);

/**
 * Runs one stage. `done()` returns a short text when there is nothing to do.
 * @param {{title: string, usually: string, done?: () => string | null | undefined, run: () => unknown}} stage
 */
export async function stage({ title, usually, done, run }) {
  const already = await done?.();
  if (already) {
    console.log(`✓ ${title}: ${already}`);
    return;
  }
  console.log(`▸ ${title} (usually ${usually})`);
  const since = Date.now();
  await run();
  console.log(`✓ ${title}: done in ${seconds(since)} s`);
}

/** Runs a command to its end, its output shown; throws a StageError if it fails. */
export function run(command, args, { env = {}, cwd = root, remedy } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env: { ...environment, ...env }, stdio: "inherit" });
    child.on("error", (error) =>
      reject(new StageError(`cannot start ${command}: ${error.message}`, remedy)),
    );
    child.on("exit", (code, signal) =>
      code === 0
        ? resolve()
        : reject(new StageError(`${command} ${args.join(" ")} ended with ${signal ?? code}`, remedy)),
    );
  });
}

/** Standard output of a command, or null where it cannot be run or fails. */
export function output(command, args) {
  const result = spawnSync(command, args, { cwd: root, env: environment, encoding: "utf8" });
  return result.status === 0 ? result.stdout.trim() : null;
}

const stampFile = path.join(root, ".tools", "stamps.json");
const stamps = () => (existsSync(stampFile) ? JSON.parse(readFileSync(stampFile, "utf8")) : {});

/** Remembers that `name` was made from inputs with this fingerprint. */
export function stamp(name, fingerprint) {
  mkdirSync(path.dirname(stampFile), { recursive: true });
  writeFileSync(stampFile, JSON.stringify({ ...stamps(), [name]: fingerprint }, null, 1));
}

/** Whether `name` was last made from inputs with this fingerprint. */
export const stamped = (name, fingerprint) => stamps()[name] === fingerprint;

/** SHA-256 over the paths and contents of the files of these directories that git knows or sees. */
export function fingerprint(paths) {
  const list = output("git", ["ls-files", "-co", "--exclude-standard", "--", ...paths]);
  if (list === null) return `no git ${Date.now()}`;
  const hash = createHash("sha256");
  for (const file of list.split("\n").sort()) {
    const absolute = path.join(root, file);
    if (!file || !existsSync(absolute)) continue;
    hash.update(file).update("\0").update(readFileSync(absolute)).update("\0");
  }
  return hash.digest("hex");
}

/** Runs a command's main function; prints a failure with its remedy and exits with 1. */
export async function main(body) {
  try {
    await body();
    console.log(`  total ${seconds(started)} s`);
  } catch (error) {
    if (!(error instanceof StageError)) throw error;
    console.error(`✗ ${error.message}`);
    if (error.remedy) console.error(`  to mend it: ${error.remedy}`);
    process.exit(1);
  }
}
