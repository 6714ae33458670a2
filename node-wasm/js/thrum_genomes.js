/** Genomes: adapters that answers wear, one on top of the other, without the model being touched. */
import { ThrumError } from "./thrum_error.js";
import { stoppable } from "./thrum_models.js";
import { check, given, invalid, number, text } from "./thrum_value.js";

const HEXADECIMAL = /^[0-9a-f]{64}$/;

/** Genomes of one answer, and how much of one is worn at most. */
const MAX_WORN = 8;
const MAX_SCALE = 100;

const OPTIONS = new Set(["name", "onProgress", "sha256", "signal"]);
const PAIR = new Set(["config", "weights"]);
const WORN = new Set(["id", "scale"]);

/** What PEFT calls its files in a folder. */
const CONFIG = "adapter_config.json";
const WEIGHTS = "adapter_model.safetensors";

const wrong = (message) => new ThrumError("invalid_option", message);

/** What a request wears, as far as it can be said without the node: `[{ id, scale }]`. */
export function wornGenomes(list) {
  if (!given(list)) return [];
  if (!Array.isArray(list)) throw invalid("thrum.genomes must be a list");
  if (list.length > MAX_WORN) throw invalid(`thrum.genomes may have ${MAX_WORN} genomes at most`);
  return list.map((one) => {
    if (typeof one === "string") return { id: one, scale: 1 };
    check(one, WORN, "thrum.genomes[].");
    const id = text(one.id, "thrum.genomes[].id");
    return { id, scale: number(one.scale ?? 1, "thrum.genomes[].scale", -MAX_SCALE, MAX_SCALE) };
  });
}

/**
 * `node.genomes`, and what puts genomes on a request.
 * @param {{ handle: any, call: <T>(action: () => Promise<T>) => Promise<T>, progress: (listener: (progress: object) => void) => () => void }} node
 */
export function genomes({ handle, call, progress }) {
  /** One after the other, so that the progress of each is its own. */
  let last = Promise.resolve();
  const inTurn = (action) => {
    const next = last.then(action);
    last = next.catch(() => {});
    return next;
  };
  const named = (known, name) => {
    const found = known.filter((genome) => genome.id === name || genome.name === name);
    if (found.length === 0) throw new ThrumError("unknown_genome", `there is no genome ${name} here`);
    if (found.length > 1 && !HEXADECIMAL.test(name)) {
      throw invalid(`${found.length} genomes are called ${name}: say which by its id`);
    }
    return found.find((genome) => genome.id === name) ?? found[0];
  };
  return {
    genomes: {
      list: () => call(async () => (await handle.listGenomes()).map(shown)),
      load: (source, options = {}) => call(() => {
        const { order, files } = orderOf(source, options);
        return inTurn(async () => {
          const forget = options.onProgress ? progress(options.onProgress) : () => {};
          try {
            const start = (stop) => handle.loadGenome(JSON.stringify(order), files, stop);
            return shown(await stoppable(start, options.signal));
          } finally {
            forget();
          }
        });
      }),
      remove: (id) => call(async () => {
        const known = await handle.listGenomes();
        await handle.removeGenome(named(known, text(id, "id")).id);
      }),
    },
    dress: (request) => call(async () => {
      const known = await handle.listGenomes();
      const worn = [];
      for (const { id, scale } of request.genomes) {
        const genome = named(known, id);
        if (worn.some((other) => other.id === genome.id)) {
          throw invalid(`thrum.genomes has ${genome.name} twice`);
        }
        worn.push({ id: genome.id, name: genome.name, scale: Math.round(1000 * scale) / 1000 });
      }
      request.genomes = worn;
      const uses = worn.map(({ id, scale }) => ({ id, scale: shift(scale) }));
      for (const ask of request.asks) ask.sampling.genomes = uses;
    }),
  };
}

/** An amount that may go either way, in thousandths, as signed messages say it. */
const shift = (scale) => scale < 0
  ? { less: Math.round(-1000 * scale) } : { more: Math.round(1000 * scale) };

const shown = ({ savedMillis, ...genome }) =>
  ({ ...genome, savedAt: new Date(savedMillis).toISOString() });

/** A source as the node takes it, and the files that travel beside it. */
function orderOf(source, options) {
  for (const name of Object.keys(options)) {
    if (!OPTIONS.has(name)) throw wrong(`option ${name} is not supported`);
  }
  const { name, sha256 } = options;
  if (given(name) && !(typeof name === "string" && name.trim() !== "" && name.length <= 128)) {
    throw wrong("option name: a text of 1 to 128 characters is needed");
  }
  if (given(sha256) && !HEXADECIMAL.test(sha256)) {
    throw wrong("option sha256: 64 hexadecimal digits are needed");
  }
  const blobs = [];
  const file = (part) => {
    if (part instanceof Blob) {
      blobs.push(part);
      return "blob";
    }
    if (typeof part === "string" || part instanceof URL) return { url: { url: String(part) } };
    throw wrong("a genome is a URL or a Blob of a .gguf file, the URL of a folder, or { config, weights }");
  };
  const [files, place] = parts(source, file);
  return { order: { name: name ?? null, sha256: sha256 ?? null, place, files }, files: blobs };
}

/** The files, and what their place says of their name. */
function parts(source, file) {
  if (isFolder(source)) {
    const inside = (name) => file(String(source).replace(/\/*$/, `/${name}`));
    return [{ peft: { config: inside(CONFIG), weights: inside(WEIGHTS) } }, lastName(source)];
  }
  if (typeof source === "string" || source instanceof URL || source instanceof Blob) {
    return [{ gguf: file(source) }, lastName(source)?.replace(/\.gguf$/i, "") ?? null];
  }
  if (source === null || typeof source !== "object") throw wrong("a genome needs a source");
  for (const name of Object.keys(source)) {
    if (!PAIR.has(name)) throw wrong(`a genome has no member ${name}`);
  }
  const { config, weights } = source;
  const folder = weights instanceof Blob ? null : lastName(String(weights).replace(/\/?[^/]*$/, ""));
  return [{ peft: { config: file(config), weights: file(weights) } }, folder];
}

const isFolder = (source) => (typeof source === "string" || source instanceof URL)
  && String(source).endsWith("/");

function lastName(source) {
  const path = source instanceof Blob ? source.name ?? "" : String(source).split(/[?#]/)[0];
  const name = path.replace(/\/+$/, "").split("/").at(-1);
  return name && !name.includes(":") ? name : null;
}
