/**
 * A Thrum node in this page: `import { createNode } from "thrum"`.
 *
 * Nothing happens on import; nothing is computed for others before `donate()`, and no model is
 * loaded before somebody asks or donates.
 */
import init, { startNode } from "./thrum_node.js";
import { AnswerStream, CHAT, TEXT, wholeAnswer } from "./thrum_answer.js";
import { embeddings } from "./thrum_embeddings.js";
import { ThrumError, abortable, throwIfAborted } from "./thrum_error.js";
import { genomes } from "./thrum_genomes.js";
import { models, sourceOf } from "./thrum_models.js";
import { chatRequest, textRequest } from "./thrum_request.js";

export { ThrumError };

const OPTIONS = new Set(["backend", "iceServers", "iceTransportPolicy", "model", "onProgress", "relays", "signal", "store",
  "threads", "wasmUrl", "workerUrl"]);

/** Each limit of a donation with its least and greatest value. */
const DONATE_LIMITS = { slots: [1, 4096], maxNewTokens: [1, 4096], sharePercent: [5, 100] };

/** As `MAX_THREADS` in `node-wasm/src/worker/messages.rs`. */
const MAX_THREADS = 16;

/** The wasm module, once per page. */
let wasm = null;

/** @type {import("./thrum.js").createNode} */
export async function createNode(options) {
  const { model, signal, onProgress } = checked(options);
  throwIfAborted(signal);
  try {
    wasm ??= init(options.wasmUrl ? { module_or_path: options.wasmUrl } : undefined);
    await abortable(wasm, signal);
  } catch (thrown) {
    if (!(thrown instanceof ThrumError)) wasm = null;
    throw ThrumError.from(thrown);
  }
  const source = sourceOf(model);
  const starting = startNode(JSON.stringify({
    relays: options.relays,
    model: source.text,
    backend: options.backend ?? "auto",
    threads: options.threads ?? null,
    iceServers: options.iceServers ?? [],
    iceTransportPolicy: options.iceTransportPolicy ?? "all",
    store: options.store ?? "thrum",
    workerUrl: options.workerUrl ?? new URL("./thrum_worker.js", import.meta.url).href,
  }), source.files);
  try {
    const node = new ThrumNode(await abortable(starting, signal), onProgress);
    signal?.addEventListener("abort", () => void node.close(), { once: true });
    return node;
  } catch (thrown) {
    // A node that is ready too late is of no use to anyone.
    starting.then((handle) => handle.close(), () => {});
    throw ThrumError.from(thrown);
  }
}

function checked(options) {
  const wrong = (message) => new ThrumError("invalid_option", message);
  if (options === null || typeof options !== "object") throw wrong("createNode needs options");
  for (const name of Object.keys(options)) {
    if (!OPTIONS.has(name)) throw wrong(`option ${name} is not supported`);
  }
  if (!Array.isArray(options.relays) || options.relays.some((it) => typeof it !== "string")) {
    throw wrong("option relays: a list of origins or multiaddrs is needed");
  }
  if (!["auto", "cpu", "webgpu", undefined].includes(options.backend)) {
    throw wrong("option backend: must be \"auto\", \"webgpu\" or \"cpu\"");
  }
  const { threads } = options;
  if (threads !== undefined && (!Number.isInteger(threads) || threads < 1 || threads > MAX_THREADS)) {
    throw wrong(`option threads: must be a whole number from 1 to ${MAX_THREADS}`);
  }
  if (options.iceServers !== undefined && !Array.isArray(options.iceServers)) {
    throw wrong("option iceServers: a list is needed");
  }
  if (!["all", "relay", undefined].includes(options.iceTransportPolicy)) {
    throw wrong("option iceTransportPolicy: must be \"all\" or \"relay\"");
  }
  return options;
}

/** A node, or this tab's view of the one that another tab of this site runs. */
export class ThrumNode extends EventTarget {
  #handle;
  #onProgress;
  #onGenomeProgress = new Set();
  #dress;
  #lastAsk = 0;
  #asks = new Map();
  #waiting = new Set();
  #last = { status: "", peers: "" };
  #lookDue = false;
  #stopped = null;
  #closing = null;

  /** Use `createNode`. */
  constructor(handle, onProgress) {
    super();
    this.#handle = handle;
    this.#onProgress = onProgress;
    this.peerId = handle.peerId;
    const create = (shape, toRequest) => async (params, options) => {
      const request = toRequest(params);
      const signal = options?.signal ?? params.signal;
      this.#check();
      throwIfAborted(signal);
      if (request.genomes.length > 0) await abortable(this.#dress(request), signal);
      return request.stream
        ? new AnswerStream(this.#asker, shape, request, signal)
        : wholeAnswer(this.#asker, shape, request, signal);
    };
    this.chat = { completions: { create: create(CHAT, chatRequest) } };
    this.completions = { create: create(TEXT, textRequest) };
    this.models = models({
      handle,
      call: (action) => this.#call(action),
      loaded: () => this.#snapshot()?.model?.id,
    });
    this.embeddings = embeddings({
      handle,
      call: (action) => this.#call(action),
      loaded: () => this.#snapshot()?.model,
    });
    const progress = (listener) => {
      this.#onGenomeProgress.add(listener);
      return () => this.#onGenomeProgress.delete(listener);
    };
    const worn = genomes({ handle, call: (action) => this.#call(action), progress });
    this.genomes = worn.genomes;
    this.#dress = worn.dress;
    for (const name of ["basins", "tasks", "sessions", "ledger", "memory"]) {
      this[name] = absent(name);
    }
    globalThis.addEventListener("thrum:stopped", this.#onStopped);
    handle.onEvent((event) => this.#onEvent(event));
    this.#look();
  }

  status() {
    const status = this.#snapshot()?.status;
    if (this.#stopped) {
      return { ...(status ?? nothing()), state: "error", reason: this.#stopped };
    }
    return status ?? nothing();
  }

  peers() {
    return this.#snapshot()?.peers ?? [];
  }

  announced() {
    return this.#snapshot()?.announced ?? [];
  }

  donate(limits = {}) {
    const known = { slots: 2, maxNewTokens: 512, sharePercent: 100, ...limits };
    for (const [name, value] of Object.entries(known)) {
      const bounds = DONATE_LIMITS[name];
      if (!bounds) {
        return Promise.reject(new ThrumError("unsupported_parameter", `limit ${name} is not supported`));
      }
      const [least, most] = bounds;
      if (!Number.isInteger(value) || value < least || value > most) {
        return Promise.reject(new ThrumError("invalid_request", `limit ${name} must be ${least} to ${most}`));
      }
    }
    return this.#until({ command: "donate", ...known }, (mode) => mode === "on");
  }

  pause() {
    return this.#until({ command: "pause" }, (mode) => mode === "paused" || mode === "off");
  }

  finish() {
    return this.#until({ command: "finish" }, (mode) => mode === "off");
  }

  close() {
    this.#closing ??= (async () => {
      if (!this.#stopped) await this.#handle.close();
      globalThis.removeEventListener("thrum:stopped", this.#onStopped);
      this.#end("closed", "the node is closed");
    })();
    return this.#closing;
  }

  graphql() {
    return Promise.reject(notYet("GraphQL"));
  }

  /** What answers need of the node. */
  #asker = {
    ask: (ask, listener) => {
      this.#check();
      const number = ++this.#lastAsk;
      this.#asks.set(number, listener);
      this.#handle.command(JSON.stringify({ command: "ask", ...ask, ask: number }));
      return number;
    },
    forget: (number, ended) => {
      this.#asks.delete(number);
      if (!ended && !this.#closing && !this.#stopped) {
        this.#handle.command(JSON.stringify({ command: "cancelAsk", ask: number }));
      }
    },
    modelName: (id) => {
      const snapshot = this.#snapshot();
      const offered = [
        ...(snapshot?.peers ?? []).flatMap((peer) => peer.capabilities?.models ?? []),
        ...(snapshot?.announced ?? []).flatMap((peer) => peer.models),
      ];
      const known = [snapshot?.model, ...offered].filter(Boolean);
      return known.find((model) => id === null || model.id === id)?.name ?? id ?? "default";
    },
  };

  #onStopped = (event) => {
    this.#stopped = `the node stopped: ${event.detail}`;
    const error = new ThrumError("stopped", this.#stopped);
    this.#end("stopped", this.#stopped);
    this.#dispatch("error", error);
    this.#dispatch("statechange", this.status());
  };

  #onEvent(event) {
    if (event === undefined) {
      this.#look();
      this.#end("closed", "the node is closed");
      return;
    }
    try {
      switch (event.event) {
        case "ask":
          this.#asks.get(event.ask)?.(event.update);
          this.#dispatch("task", { ask: event.ask, ...event.update });
          break;
        case "changed": this.#lookSoon(); break;
        case "contribution": this.#dispatch("contribution", withoutTag(event)); break;
        case "genome": this.#dispatch("genome", withoutTag(event)); break;
        case "log":
          if (event.level === "error") {
            this.#dispatch("error", new ThrumError("failed", event.message));
          }
          break;
        case "misbehaviour": this.#dispatch("misbehaviour", withoutTag(event)); break;
        case "progress": {
          const { stage, loaded, total } = event;
          const progress = { stage, loaded, ...(total !== null && { total }) };
          if (stage === "genome") for (const listener of this.#onGenomeProgress) listener(progress);
          this.#onProgress?.(progress);
          break;
        }
      }
    } catch (thrown) {
      // A listener's own mistake: reported like any uncaught error, and the node goes on.
      reportError(thrown);
    }
  }

  /** Many changes come together: they are looked at once. */
  #lookSoon() {
    if (this.#lookDue) return;
    this.#lookDue = true;
    queueMicrotask(() => {
      this.#lookDue = false;
      this.#look();
    });
  }

  #look() {
    if (this.#stopped) return;
    const status = this.status();
    const peers = this.peers();
    const seen = { status: JSON.stringify(status), peers: JSON.stringify(peers) };
    const before = this.#last;
    this.#last = seen;
    for (const check of [...this.#waiting]) check();
    if (seen.status !== before.status) this.#dispatch("statechange", status);
    if (seen.peers !== before.peers) this.#dispatch("peer", peers);
  }

  #dispatch(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #snapshot() {
    return this.#stopped ? undefined : this.#handle.snapshot();
  }

  #check() {
    if (this.#stopped) throw new ThrumError("stopped", this.#stopped);
    if (this.#closing) throw new ThrumError("closed", "the node is closed");
  }

  async #call(action) {
    this.#check();
    try {
      return await action();
    } catch (thrown) {
      throw ThrumError.from(thrown);
    }
  }

  /** Gives a command and waits until the donation's mode shows that it was taken. */
  #until(command, isDone) {
    return this.#call(() => new Promise((resolve, reject) => {
      const check = (error) => {
        const mode = this.#snapshot()?.donation.mode;
        if (error) reject(error);
        else if (isDone(mode)) resolve();
        else return;
        this.#waiting.delete(check);
      };
      this.#handle.command(JSON.stringify(command));
      this.#waiting.add(check);
      this.#lookSoon();
    }));
  }

  #end(code, message) {
    for (const check of [...this.#waiting]) check(new ThrumError(code, message));
    for (const listener of [...this.#asks.values()]) listener({ type: "failed", code, message });
    this.#asks.clear();
  }
}

const nothing = () => ({ state: "connecting", reason: "waiting for the tab that runs the node",
  model: null, backend: null, threads: null, threadsReason: null,
  reachability: { kind: "unknown", error: null }, version: "", commit: "" });

const withoutTag = ({ event: _, ...rest }) => rest;

const notYet = (what) => new ThrumError("not_implemented", `thrum 0.1 has no ${what} yet`);

/** An object whose every method says that there is no such thing yet. */
function absent(name) {
  return new Proxy({}, {
    get: (_, property) => typeof property === "symbol" || property === "then"
      ? undefined
      : () => Promise.reject(notYet(name)),
  });
}
