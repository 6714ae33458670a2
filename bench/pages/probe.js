// Runs bench/probes/probe.wat: what one thread can multiply, and read, at most.

/** bytes; larger than any cache. */
const READ = 256 << 20;

/** turns of 128 products; about a tenth of a second. */
const TURNS = 20_000_000;

/** Best of `rounds`, after one to warm up, in units per second. */
function best(rounds, units, run) {
  run();
  const times = Array.from({ length: rounds }, () => {
    const since = performance.now();
    run();
    return performance.now() - since;
  });
  return (1000 * units) / Math.min(...times);
}

export async function probe(rounds) {
  const { instance } = await WebAssembly.instantiateStreaming(fetch(new URL("/probes/probe.wasm", import.meta.url)));
  const { grow, memory, dot, read } = instance.exports;
  grow(READ / 65_536);
  new Uint8Array(memory.buffer).fill(1);
  return {
    macsPerSecond: best(rounds, 128 * TURNS, () => dot(TURNS)),
    bytesPerSecond: best(rounds, READ, () => read(65_536, 65_536 + READ)),
  };
}

/** Two threads at once: each with its own memory, begun together. */
export async function probeTwo(rounds) {
  const script = `import { probe } from ${JSON.stringify(new URL("/pages/probe.js", location.href).href)};
    onmessage = ({ data }) => probe(data).then((value) => postMessage({ value }), (error) => postMessage({ error: String(error) }));`;
  const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const results = await Promise.all([0, 1].map(() => new Promise((resolve, reject) => {
    const worker = new Worker(url, { type: "module" });
    worker.onerror = (event) => reject(new Error(event.message));
    worker.onmessage = ({ data }) => {
      worker.terminate();
      if (data.error) reject(new Error(data.error));
      else resolve(data.value);
    };
    worker.postMessage(rounds);
  })));
  return {
    macsPerSecond: results.reduce((sum, it) => sum + it.macsPerSecond, 0),
    bytesPerSecond: results.reduce((sum, it) => sum + it.bytesPerSecond, 0),
  };
}
