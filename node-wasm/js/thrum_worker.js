/** The engine's worker: a module worker that only starts its wasm module. */
import init from "./engine_worker.js";

await init();
