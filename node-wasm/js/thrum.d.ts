/** A Thrum node in a page: a peer of a hive of browser tabs that runs and shares language models. */

/**
 * Starts a node, or joins the one that another tab of this site runs. Done when the identity is
 * open; connecting goes on by itself and shows in `status()`. Nothing is computed for others before
 * `donate()`, and no model is loaded before somebody asks or donates.
 */
export function createNode(options: NodeOptions): Promise<ThrumNode>;

export interface NodeOptions {
  /** Origins (`"http://127.0.0.1:8080"`) or multiaddrs that end in `/p2p/<peer id>`; at most 8. */
  relays: string[];
  /** Default: the relay's default. */
  model?: ModelSource;
  /** `"auto"`: WebGPU unless it is absent or a fallback adapter, else CPU. */
  backend?: "auto" | "webgpu" | "cpu";
  /**
   * Threads of the CPU, 1 to 16; default: half of `navigator.hardwareConcurrency`, 1 to 8. More than
   * one needs a cross-origin isolated page; elsewhere one computes, and `status()` says why.
   */
  threads?: number;
  /** Name of the database, default `"thrum"`: two names are two peers. */
  store?: string;
  /** For direct connections between tabs, which thrum 0.1 does not make yet: not used so far. */
  iceServers?: RTCIceServer[];
  /** `"relay"`: peers are reached through TURN alone, and none learns this page's address. */
  iceTransportPolicy?: RTCIceTransportPolicy;
  /** Where `thrum_node_bg.wasm` is; default: beside this module. */
  wasmUrl?: string;
  /** Where the engine's worker script is; default: beside this module. */
  workerUrl?: string;
  /** Aborting it before the node is made rejects; afterwards it closes the node. */
  signal?: AbortSignal;
  /** How the loading of a model goes: stages `"download"`, `"read"`, `"probe"`,
   * `"genome"`; bytes. */
  onProgress?: (progress: { stage: string; loaded: number; total?: number }) => void;
}

/**
 * A catalogue name, the id of a kept model, the address of a `.gguf` file, or the file. The address
 * of one part of a split model (`name-00001-of-00003.gguf`) stands for all its parts. With `sha256`
 * (of the file, hexadecimal) another file is refused. A list holds the parts of one model.
 */
export type ModelSource = string | ModelFile | ModelFile[];
export type ModelFile = URL | Blob | { url: string | URL; sha256?: string };

export interface ThrumNode extends EventTarget {
  /** The libp2p peer id of the Ed25519 identity that is kept in the store. */
  readonly peerId: string;
  status(): Status;
  /** The connected peers. */
  peers(): PeerView[];
  /** What peers announced to everybody, connected or not. An announcement ends within ten minutes. */
  announced(): Announcement[];
  /** Takes work from others from now on. */
  donate(limits?: DonateLimits): Promise<void>;
  /** Stops computing for others at once. */
  pause(): Promise<void>;
  /** Finishes what is taken, takes nothing new; done when that is finished. */
  finish(): Promise<void>;
  /** Leaves the peers and frees the worker. Answers under way fail with code `"closed"`. */
  close(): Promise<void>;
  readonly models: Models;
  readonly chat: { readonly completions: ChatCompletions };
  readonly completions: TextCompletions;
  readonly embeddings: Embeddings;
  readonly genomes: Genomes;
  /** Not in thrum 0.1: every method rejects with code `"not_implemented"`. */
  readonly basins: NotYet;
  readonly tasks: NotYet;
  readonly sessions: NotYet;
  readonly ledger: NotYet;
  readonly memory: NotYet;
  graphql(query: string, variables?: object): Promise<never>;

  addEventListener<K extends keyof ThrumEventMap>(
    type: K,
    listener: (this: ThrumNode, event: ThrumEventMap[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

export interface ThrumEventMap {
  statechange: CustomEvent<Status>;
  /** All connected peers, when anything about them changed. */
  peer: CustomEvent<PeerView[]>;
  /** What happens to an answer that this page asked for. */
  task: CustomEvent<{ ask: number; type: "delta" | "done" | "failed" | "retrying" | "routed" }>;
  /** A task for somebody else ended. */
  contribution: CustomEvent<Contribution>;
  /** A peer broke the protocol. */
  misbehaviour: CustomEvent<{ peer_id: string; what: string }>;
  error: CustomEvent<ThrumError>;
  /** A genome came or went. */
  genome: CustomEvent<{ id: string; name: string; change: "loaded" | "removed" }>;
}

export interface Contribution {
  task_id: string;
  peer_id: string;
  tokens: number;
  completed: boolean;
}

export interface Reachability {
  /**
   * `"open"`: no router changes addresses. `"cone"`: one outer port for all peers. `"symmetric"`:
   * another for each, so that others like it are reached by TURN only. `"nat"`: not known which.
   * `"udpBlocked"`: no STUN server answered. `"relayOnly"`: `iceTransportPolicy` says so.
   */
  kind: "open" | "cone" | "symmetric" | "nat" | "udpBlocked" | "relayOnly" | "unknown";
  /** What the browser said of servers that did not answer. */
  error: string | null;
}

export interface Status {
  state: "off" | "connecting" | "ready" | "working" | "paused" | "error";
  /** In one sentence: what it waits for, or why it stands still. */
  reason: string;
  /** Name of the loaded model. */
  model: string | null;
  backend: "cpu" | "webgpu" | null;
  /** Threads that compute; `null` on a GPU and before a model is loaded. */
  threads: number | null;
  /** Why they are fewer than were to be, in a few words. */
  threadsReason: string | null;
  /** What lies between this browser and the others. */
  reachability: Reachability;
  version: string;
  commit: string;
}

export interface PeerView {
  peerId: string;
  path: "direct" | "relayed";
  /** `"circuit"`, `"webrtc"` or `"websocket"`. */
  transport: string;
  rttMillis: number | null;
  /** What it says it can do. */
  capabilities: Capabilities | null;
  /** From 0 (lied) to 1; `null` before anything is known. */
  reputation: number | null;
  agent: string | null;
  activity: string | null;
  /** Why it is not reached directly, where that was tried and failed. */
  directError: string | null;
  /** A direct connection as the browser measures it: what lies between, and bytes since it stands. */
  link: { through: "network" | "unknown" | "nat" | "turn"; bytesIn: number; bytesOut: number } | null;
}

/** A peer's own claim. */
export interface Announcement {
  peerId: string;
  /** What it answers with. */
  models: ModelView[];
  backend: "cpu" | "webgpu" | null;
  /** At least; a power of two. */
  tokensPerSecond: number;
  slots: number;
  expiresInMillis: number;
}

export interface Capabilities {
  donating: boolean;
  backend: "cpu" | "webgpu" | null;
  models: ModelView[];
  tokensPerSecond: number;
  busy: number;
  slots: number;
  maxNewTokens: number;
}

export interface ModelView {
  /** SHA-256 of the file. */
  id: string;
  name: string;
  contextTokens: number;
}

export interface DonateLimits {
  /** Tasks at once, default 2. */
  slots?: number;
  /** Tokens of one task, default 512. */
  maxNewTokens?: number;
  /** Percent of the time that the engine computes for others, 5 to 100, default 100. */
  sharePercent?: number;
}

export interface Models {
  /** What the relays offer and what the browser keeps, each model once. */
  list(): Promise<ModelEntry[]>;
  /** How much the browser keeps for this site. */
  storage(): Promise<ModelStorage>;
  /**
   * What a model is and whether it fits, reading no more than its header; without a source, the
   * relay's default. Aborting the signal stops the reading.
   */
  inspect(source?: ModelSource, options?: RequestOptions): Promise<Inspection>;
  /**
   * Loads a model in place of the loaded one, which answers until then and stays where the other
   * cannot be loaded; without a source, the relay's default. What does not fit is refused before it
   * is downloaded. Aborting the signal stops the loading; an interrupted download goes on with the
   * next call.
   */
  load(
    source?: ModelSource,
    options?: RequestOptions,
  ): Promise<{ id: string; name: string; context_tokens: number }>;
  /** Removes a model's files from what the browser keeps, by id or name. A loaded one stays loaded. */
  remove(id: string): Promise<void>;
}

export interface ModelEntry {
  /** In the catalogue; of a model that is only kept, its SHA-256. */
  id: string;
  name: string;
  file: string;
  url: string;
  bytes: number;
  /** `null` while a model without a catalogue entry is not whole. */
  sha256: string | null;
  default: boolean;
  loaded: boolean;
  /** Whether all of it is in the browser's storage. */
  kept: boolean;
  /** Bytes of it that are. */
  keptBytes: number;
  /** ISO 8601. */
  savedAt: string | null;
  licence?: string;
  description?: string;
  context?: number;
}

export interface ModelStorage {
  /** Bytes of models. */
  modelBytes: number;
  /** Bytes of everything this site keeps, where the browser says. */
  usedBytes: number | null;
  /** Bytes it may keep, where the browser says. */
  quotaBytes: number | null;
  /** Why nothing can be kept. */
  trouble: string | null;
}

export interface Inspection {
  name: string;
  /** `general.architecture` of the file. */
  architecture: string;
  parameters: number;
  /** How most of its bytes are stored, as GGUF names it. */
  format: string;
  /** Bytes of its files, where the server says. */
  bytes: number | null;
  /** Bytes that loading it moves over the network: 0 where it is kept or a file at hand. */
  downloadBytes: number | null;
  weightBytes: number;
  /** Keys and values of the whole context. */
  kvBytes: number;
  memoryBytes: number;
  /** Memory there is; `null` on a GPU, which does not say. */
  availableBytes: number | null;
  freeStorageBytes: number | null;
  /** Prompt and answer together. */
  contextTokens: number;
  backend: "cpu" | "webgpu";
  kept: boolean;
  fits: boolean;
  /** Why, or why not, in a sentence. */
  reason: string;
}

/** Adapters (LoRA) that answers wear, without the model being touched. */
export interface Genomes {
  /** All that this node has, by name. */
  list(): Promise<Genome[]>;
  /**
   * Checks an adapter against the loaded model (without one, the node's own is loaded first), takes
   * it, and keeps it in the browser: it is there after a reload, and goes into the engine with its
   * first use. At most 128 MiB, and 128 genomes. Where the browser has no room it can be worn until
   * the page is closed, and `kept` is false. What is refused leaves everything as it was.
   */
  load(source: GenomeSource, options?: GenomeOptions): Promise<Genome>;
  /** By id or name. Answers that wear it end with code `"invalid_request"`; its memory is freed. */
  remove(id: string): Promise<void>;
}

/**
 * A `.gguf` adapter by address or as a file, the two files that PEFT saves (`adapter_config.json`
 * and `adapter_model.safetensors`), or the address of a folder with both, which ends in `/`.
 */
export type GenomeSource = string | URL | Blob | { config: string | URL | Blob; weights: string | URL | Blob };

export interface GenomeOptions extends RequestOptions {
  /** Default: what its file or its place says. */
  name?: string;
  /** Of the file with the numbers, hexadecimal: another one is refused. */
  sha256?: string;
  onProgress?: (progress: { stage: "genome"; loaded: number; total?: number }) => void;
}

export interface Genome {
  /** SHA-256 of its file, or of the SHA-256s of its two files. */
  id: string;
  name: string;
  rank: number;
  /** The matrices it adds to, as GGUF names them. */
  targets: string[];
  /** Bytes of its files. */
  bytes: number;
  /** Of the models it is for. */
  architecture: string;
  /** Name of the model it was loaded for. */
  base: string;
  /** Whether the loaded model can wear it; `null` while none is loaded. */
  fits: boolean | null;
  /** Why not. */
  reason: string | null;
  /** Whether it is in the engine. */
  loaded: boolean;
  /** Whether it is there after a reload. */
  kept: boolean;
  /** ISO 8601. */
  savedAt: string;
}

export interface RequestOptions {
  signal?: AbortSignal;
}

/** Any other parameter is refused by name, with code `"unsupported_parameter"`. */
export interface CommonParams {
  /** Name or id of a model; default: the loaded one, else any that a peer offers. */
  model?: string | null;
  /** Default 256. */
  max_tokens?: number | null;
  /** 0 is greedy; default 1, as with OpenAI. Kept to thousandths, as are the other fractions. */
  temperature?: number | null;
  top_p?: number | null;
  /** An extension: only the k likeliest tokens; 0, the default, is all. */
  top_k?: number | null;
  /** An extension: only tokens at least this likely, relative to the likeliest; default 0. */
  min_p?: number | null;
  /** An extension: above 1 makes tokens of prompt and answer less likely; default 1, most 10. */
  repetition_penalty?: number | null;
  /** From -2 to 2. */
  frequency_penalty?: number | null;
  /** From -2 to 2. */
  presence_penalty?: number | null;
  /** From token id to a shift of its logit, -100 to 100; at most 300. */
  logit_bias?: Record<string, number> | null;
  /** Default: drawn at random. The same seed gives the same answer on any peer with this model. */
  seed?: number | null;
  stop?: string | string[] | null;
  stream_options?: { include_usage?: boolean } | null;
  /** Answers to one prompt, 1 to 8; each draws from a seed of its own. */
  n?: number | null;
  /** What the answer must be, enforced token by token. */
  response_format?: ResponseFormat | null;
  /**
   * What happens where prompt and answer outgrow the model's context; as in OpenAI's Responses API.
   * `"disabled"`, the default: a prompt that is too long is refused with its numbers (code
   * `"invalid_request"`), and an answer that fills the context ends with `"length"`. `"auto"`: a
   * conversation that is too long loses its oldest messages after the system messages it begins
   * with, as few as have to, so that what is left begins with a user's (its last turn stays: one
   * that is too long alone is refused); a plain text loses its beginning; and an answer that fills
   * the context goes on, up to `max_tokens`, without the oldest half of what comes after the system
   * messages, in whole pages of 32 tokens, each time. What was lost is told in `thrum.discarded`.
   * An answer that went on is close to what a model would say that had never read what was lost,
   * and not the same: what stays is moved (its keys are rotated anew, and rounded again), not read
   * again. The same request gives the same answer all the same.
   */
  truncation?: "auto" | "disabled" | null;
  /** Accepted and without effect. */
  user?: string | null;
  signal?: AbortSignal;
  thrum?: {
    /** `"local"`: here and nowhere else; `"peer"`: never here. Default `"auto"`. */
    route?: "auto" | "local" | "peer";
    /** Peer id: this peer and no other. */
    peer?: string;
    /**
     * Adapters that the answer wears, one on top of the other, at most 8: by id or name, each with
     * its scale (default 1, from -100 to 100). Only for answers of this tab: the route is `"local"`.
     */
    genomes?: (string | { id: string; scale?: number })[];
    /** Goes on after the model's end token, for measuring and comparing. Default false. */
    ignoreEos?: boolean;
    seed?: number;
  };
}

export type ResponseFormat =
  | { type: "text" }
  | { type: "json_object" }
  | {
    type: "json_schema";
    json_schema: { name: string; schema: object; description?: string; strict?: boolean | null };
  };

export interface ChatParams extends CommonParams {
  messages: ChatMessage[];
  max_completion_tokens?: number | null;
  logprobs?: boolean | null;
  /** The likeliest tokens at each position, 0 to 20; needs `logprobs: true`. */
  top_logprobs?: number | null;
}

export interface ChatMessage {
  role: "system" | "developer" | "user" | "assistant";
  content: string | { type: "text"; text: string }[];
}

export interface TextParams extends CommonParams {
  prompt: string;
  /** Only false. */
  echo?: false | null;
  /** Log probabilities of the tokens, and of so many likeliest ones at each position, 0 to 20. */
  logprobs?: number | null;
}

export interface ChatCompletions {
  create(params: ChatParams & { stream: true }, options?: RequestOptions): Promise<AnswerStream<ChatCompletionChunk>>;
  create(params: ChatParams & { stream?: false | null }, options?: RequestOptions): Promise<ChatCompletion>;
}

export interface TextCompletions {
  create(params: TextParams & { stream: true }, options?: RequestOptions): Promise<AnswerStream<TextCompletion>>;
  create(params: TextParams & { stream?: false | null }, options?: RequestOptions): Promise<TextCompletion>;
}

export interface Embeddings {
  /** By the loaded model, which must be one that gives vectors (BERT); each vector has length 1. */
  create(params: EmbeddingParams, options?: RequestOptions): Promise<EmbeddingList>;
}

export interface EmbeddingParams {
  input: string | string[];
  /** Must be the loaded model, by name or id. */
  model?: string | null;
  /** Default `"float"`; `"base64"` packs 32-bit floats, little endian. */
  encoding_format?: "float" | "base64" | null;
  /** Accepted and without effect. */
  user?: string | null;
  signal?: AbortSignal;
}

export interface EmbeddingList {
  object: "list";
  model: string;
  data: { object: "embedding"; index: number; embedding: number[] | string }[];
  usage: { prompt_tokens: number; total_tokens: number };
}

/** Iterate it once. Leaving the loop early stops the answer. */
export interface AnswerStream<Chunk> extends AsyncIterable<Chunk> {
  /** `controller.abort()` stops the answer; the iteration then ends. */
  readonly controller: AbortController;
  /** One JSON text and a line feed for each chunk. */
  toReadableStream(): ReadableStream<Uint8Array>;
}

export type FinishReason = "stop" | "length";

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
}

/** Where an answer was computed, by whom, with what. */
export interface Provenance {
  /** Peer id of who computed the last part. */
  provider: string;
  /** `"local"`: in this tab. */
  path: "local" | "direct" | "relayed";
  /** What the answer wore. */
  genomes: { id: string; name: string; scale: number }[];
  /** What `truncation: "auto"` let go; all 0 otherwise. */
  discarded: Discarded;
  /** Not in thrum 0.1. */
  receipt: null;
  attempts: number;
  /** Over the whole time from asking to the end. */
  tokensPerSecond: number | null;
}

export interface Discarded {
  /** Messages that the model did not read. */
  messages: number;
  /** Tokens by which the prompt became shorter: those of the messages, or of a text's beginning. */
  promptTokens: number;
  /** Tokens of prompt and answer that went so that the answer could go on; of all answers. */
  contextTokens: number;
}

export interface TokenLogprob {
  token: string;
  logprob: number;
  /** A token may be part of a character. */
  bytes: number[];
}

/** `null` where none were asked for. */
export type ChatLogprobs = {
  content: (TokenLogprob & { top_logprobs: TokenLogprob[] })[];
  refusal: null;
} | null;

/** `null` where none were asked for. */
export type TextLogprobs = {
  tokens: string[];
  token_logprobs: number[];
  /** `null` where no alternatives were asked for. */
  top_logprobs: Record<string, number>[] | null;
  /** Where each token begins in the text, in UTF-16 units. */
  text_offset: number[];
} | null;

export interface ChatCompletion {
  id: string;
  object: "chat.completion";
  created: number;
  model: string;
  choices: {
    index: number;
    message: { role: "assistant"; content: string; refusal: null };
    logprobs: ChatLogprobs;
    finish_reason: FinishReason;
  }[];
  usage: Usage;
  thrum: Provenance;
}

export interface ChatCompletionChunk {
  id: string;
  object: "chat.completion.chunk";
  created: number;
  model: string;
  /** Empty in the last chunk if `include_usage` was asked for. */
  choices: {
    index: number;
    delta: { role?: "assistant"; content?: string };
    logprobs: ChatLogprobs;
    finish_reason: FinishReason | null;
  }[];
  usage?: Usage | null;
  /** In the chunk with the finish reason, and in the one with the usage. */
  thrum?: Provenance;
}

export interface TextCompletion {
  id: string;
  object: "text_completion";
  created: number;
  model: string;
  choices: { index: number; text: string; logprobs: TextLogprobs; finish_reason: FinishReason | null }[];
  usage?: Usage | null;
  thrum: Provenance;
}

/** What a later version brings. */
export interface NotYet {
  [method: string]: (...args: unknown[]) => Promise<never>;
}

/** The name is `"AbortError"` where a signal was aborted. */
export class ThrumError extends Error {
  constructor(code: string, message: string, cause?: unknown);
  /**
   * Stable: `aborted`, `backend_unavailable`, `busy`, `cancelled`, `closed`, `deadline_passed`,
   * `engine_failed`, `failed`, `identity_damaged`, `identity_unreadable`, `invalid_genome`,
   * `invalid_model`, `invalid_option`, `invalid_request`, `model_unreachable`, `no_provider`, `not_implemented`,
   * `out_of_memory`, `providers_failed`, `stopped`, `unknown_genome`,
   * `unknown_model`, `unsupported_parameter`.
   */
  readonly code: string;
  readonly cause?: unknown;
}
