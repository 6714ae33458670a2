// Two origins for the bench's pages: one as most sites are, one cross-origin isolated, where shared
// memory and so threads are allowed. Everything is on the loopback and read only.
import { createReadStream, statSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import { benchRoot, distRoot, modelsRoot, packagesRoot, pagesRoot } from "./places.mjs";

/** First part of an address, and the folder behind it. */
const folders = {
  pages: pagesRoot,
  embed: path.join(distRoot, "embed"),
  models: modelsRoot,
  packages: path.join(packagesRoot, "node_modules"),
  made: path.join(benchRoot, "made"),
  probes: benchRoot,
};

const types = {
  ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".mjs": "text/javascript",
  ".json": "application/json", ".wasm": "application/wasm",
};

/** The file an address names, or null. */
function fileOf(url) {
  const [first, ...rest] = decodeURIComponent(new URL(url, "http://localhost").pathname).split("/").filter(Boolean);
  const folder = folders[first];
  if (!folder || rest.length === 0 || rest.includes("..")) return null;
  const file = path.join(folder, ...rest);
  const found = statSync(file, { throwIfNoEntry: false });
  return found?.isFile() ? { file, found } : null;
}

function serve(request, answer, isolated) {
  if (isolated) {
    answer.setHeader("cross-origin-opener-policy", "same-origin");
    answer.setHeader("cross-origin-embedder-policy", "require-corp");
  }
  answer.setHeader("cross-origin-resource-policy", "cross-origin");
  const known = fileOf(request.url);
  if (!known) {
    answer.writeHead(404).end();
    return;
  }
  const { file, found } = known;
  const tag = `"${found.size.toString(16)}-${Math.round(found.mtimeMs).toString(16)}"`;
  answer.setHeader("etag", tag);
  answer.setHeader("cache-control", "no-cache");
  answer.setHeader("content-type", types[path.extname(file)] ?? "application/octet-stream");
  if (request.headers["if-none-match"] === tag) {
    answer.writeHead(304).end();
    return;
  }
  answer.setHeader("content-length", found.size);
  answer.writeHead(200);
  if (request.method === "HEAD") answer.end();
  else createReadStream(file).pipe(answer);
}

function listen(isolated) {
  const server = http.createServer((request, answer) => serve(request, answer, isolated));
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve({ server, origin: `http://127.0.0.1:${server.address().port}` }));
  });
}

/** Starts both; `close()` ends them. */
export async function startServers() {
  const plain = await listen(false);
  const isolated = await listen(true);
  return {
    plain: plain.origin,
    isolated: isolated.origin,
    close: () => {
      for (const { server } of [plain, isolated]) {
        server.closeAllConnections();
        server.close();
      }
    },
  };
}
