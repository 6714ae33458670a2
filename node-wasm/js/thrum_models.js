/** Models: which there are, what they are, whether they fit, and which is loaded. */
import { ThrumError, abortedBy, throwIfAborted } from "./thrum_error.js";

const HEXADECIMAL = /^[0-9a-f]{64}$/;

/**
 * A source as the node takes it: its text, and the files that travel beside it.
 * @param {unknown} source text, URL, Blob, `{ url, sha256 }`, or a list of the last three
 */
export function sourceOf(source) {
  if (source === undefined || source === null) return { text: "default", files: [] };
  if (typeof source === "string") return { text: { named: source }, files: [] };
  const parts = Array.isArray(source) ? source : [source];
  if (parts.length === 0) throw wrong("a list of files must not be empty");
  const files = [];
  const text = { files: parts.map((part) => {
    if (part instanceof Blob) {
      files.push(part);
      return "blob";
    }
    return { url: address(part) };
  }) };
  return { text, files };
}

function address(part) {
  if (typeof part === "string" || part instanceof URL) return { url: String(part) };
  if (part === null || typeof part !== "object") {
    throw wrong("a model is text, a URL, a Blob, { url, sha256 }, or a list of files");
  }
  for (const name of Object.keys(part)) {
    if (!["sha256", "url"].includes(name)) throw wrong(`a model has no member ${name}`);
  }
  const { url, sha256 } = part;
  if (typeof url !== "string" && !(url instanceof URL)) throw wrong("a model needs a url");
  if (sha256 !== undefined && !(typeof sha256 === "string" && HEXADECIMAL.test(sha256))) {
    throw wrong("sha256 must be 64 hexadecimal digits");
  }
  return sha256 === undefined ? { url: String(url) } : { url: String(url), sha256 };
}

const wrong = (message) => new ThrumError("invalid_option", message);

/**
 * `node.models`.
 * @param {{ handle: any, call: <T>(action: () => Promise<T>) => Promise<T>, loaded: () => string | undefined }} node
 */
export function models({ handle, call, loaded }) {
  const begin = (start, source, options) => call(() => {
    const { text, files } = sourceOf(source);
    return stoppable((stop) => start(JSON.stringify(text), files, stop), options?.signal);
  });
  return {
    list: () => call(async () => {
      const kept = await handle.keptModels();
      let offered = [];
      try {
        offered = await handle.listModels();
      } catch (thrown) {
        // Without a relay there is still what is kept.
        if (kept.models.length === 0) throw thrown;
      }
      return joined(offered, kept.models, loaded());
    }),
    storage: () => call(async () => {
      const { models, trouble, usedBytes, quotaBytes } = await handle.keptModels();
      const modelBytes = models.reduce((sum, model) => sum + model.bytes, 0);
      return { modelBytes, usedBytes, quotaBytes, trouble };
    }),
    inspect: (source, options) => begin(handle.inspectModel.bind(handle), source, options),
    load: (source, options) => begin(handle.loadModel.bind(handle), source, options),
    remove: (id) => call(async () => {
      const { models: kept } = await handle.keptModels();
      const own = kept.find((model) => model.id === id || model.name === id);
      const listed = own ? [] : await handle.listModels().catch(() => []);
      const known = own ?? listed.find((model) => model.id === id || model.name === id);
      await handle.removeModel(own?.id ?? known?.sha256 ?? String(id));
    }),
  };
}

/** What relays offer and what is kept, each model once. */
function joined(offered, kept, loaded) {
  const state = (model) => ({
    kept: model?.complete ?? false,
    keptBytes: model?.bytes ?? 0,
    savedAt: model ? new Date(model.savedMillis).toISOString() : null,
  });
  const listed = offered.map((entry) => {
    const own = kept.find((model) => model.id === entry.sha256 || model.source === entry.url);
    return { ...entry, loaded: entry.sha256 === loaded, ...state(own) };
  });
  const known = new Set(offered.flatMap((entry) => [entry.sha256, entry.url]));
  const others = kept.filter((model) => !known.has(model.id) && !known.has(model.source));
  return [...listed, ...others.map((model) => ({
    id: model.id,
    name: model.name,
    file: model.source.split(/[?#]/)[0].split("/").at(-1),
    url: model.source,
    bytes: model.totalBytes ?? model.bytes,
    sha256: model.complete ? model.id : null,
    default: false,
    loaded: model.id === loaded,
    ...state(model),
  }))];
}

/** Starts something that ends when the signal says so. */
export async function stoppable(start, signal) {
  throwIfAborted(signal);
  let abort = () => {};
  const stop = new Promise((resolve) => { abort = resolve; });
  signal?.addEventListener("abort", abort, { once: true });
  try {
    return await start(stop);
  } catch (thrown) {
    throw signal?.aborted ? abortedBy(signal) : thrown;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}
