// What a visitor downloads.
import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { printTable } from "./figures.mjs";
import { distRoot, packagesRoot } from "./places.mjs";

const PARTS = [
  ["page", /ui.*\.wasm$/],
  ["worker", /^engine_worker.*\.wasm$/],
  ["embed/node", /^embed\/thrum_node_bg\.wasm$/],
  // Kernels of their own, which only some browsers take.
  ["kernels", /kernels.*\.wasm$/],
];

const kilobytes = (bytes) => `${(bytes / 1000).toFixed(0)} kB`;

function figures(part, bytes) {
  return { part, plain: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length, brotli: brotliCompressSync(bytes).length };
}

export function sizes() {
  const names = [...readdirSync(distRoot), ...readdirSync(path.join(distRoot, "embed")).map((name) => `embed/${name}`)];
  const rows = PARTS.flatMap(([part, pattern]) => {
    const name = names.find((it) => pattern.test(it));
    return name ? [figures(part, readFileSync(path.join(distRoot, name)))] : [];
  });
  const rival = path.join(packagesRoot, "node_modules/wllama3/esm/wasm/wllama.wasm");
  if (existsSync(rival)) rows.push(figures("wllama 3.8.1", readFileSync(rival)));
  printTable(["wasm", "plain", "gzip", "brotli"],
    rows.map(({ part, ...sizes }) => [part, ...Object.values(sizes).map(kilobytes)]));
  return rows;
}
