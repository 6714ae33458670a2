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
  /** A catalogue name, the address of a `.gguf` file, or the file. Default: the relay's default. */
  model?: string | URL | Blob;
  /** `"auto"`: WebGPU unless it is absent or a fallback adapter, else CPU. */
  backend?: "auto" | "webgpu" | "cpu";
  /** Name of the database, default `"thrum"`: two names are two peers. */
  store?: string;
  /** For direct connections between tabs, which thrum 0.1 does not make yet: not used so far. */
  iceServers?: RTCIceServer[];
  /** Where `thrum_node_bg.wasm` is; default: beside this module. */
  wasmUrl?: string;
  /** Where the engine's worker script is; default: beside this module. */
  workerUrl?: string;
  /** Aborting it before the node is made rejects; afterwards it closes the node. */
  signal?: AbortSignal;
  /** How the loading of a model goes: stages `"download"`, `"read"`, `"probe"`; bytes. */
  onProgress?: (progress: { stage: string; loaded: number; total?: number }) => void;
}

export interface ThrumNode extends EventTarget {
  /** The libp2p peer id of the Ed25519 identity that is kept in the store. */
  readonly peerId: string;
  status(): Status;
  /** The connected peers. */
  peers(): PeerView[];
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
  /** Not in thrum 0.1: every method rejects with code `"not_implemented"`. */
  readonly embeddings: NotYet;
  readonly genomes: NotYet;
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
  /** Not dispatched in thrum 0.1. */
  genome: CustomEvent<never>;
}

export interface Contribution {
  task_id: string;
  peer_id: string;
  tokens: number;
  completed: boolean;
}

export interface Status {
  state: "off" | "connecting" | "ready" | "working" | "paused" | "error";
  /** In one sentence: what it waits for, or why it stands still. */
  reason: string;
  /** Name of the loaded model. */
  model: string | null;
  backend: "cpu" | "webgpu" | null;
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
}

export interface Models {
  /** What the relays offer. */
  list(): Promise<CatalogueEntry[]>;
  /** Loads a model in place of the loaded one; without a source, the relay's default. */
  load(
    source?: string | URL | Blob,
    options?: RequestOptions,
  ): Promise<{ id: string; name: string; context_tokens: number }>;
  /** Removes a model's file from what the browser keeps: by SHA-256, or a name in the catalogue. */
  remove(id: string): Promise<void>;
}

export interface CatalogueEntry {
  id: string;
  name: string;
  file: string;
  url: string;
  bytes: number;
  sha256: string;
  default: boolean;
  loaded: boolean;
  licence?: string;
  description?: string;
  context?: number;
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
  /** 0 is greedy; default 1, as with OpenAI. Kept to thousandths. */
  temperature?: number | null;
  top_p?: number | null;
  /** An extension: only the k likeliest tokens; 0, the default, is all. */
  top_k?: number | null;
  /** Default: drawn at random. The same seed gives the same answer on any peer with this model. */
  seed?: number | null;
  stop?: string | string[] | null;
  stream_options?: { include_usage?: boolean } | null;
  /** Only 1. */
  n?: 1 | null;
  /** Accepted and without effect. */
  user?: string | null;
  signal?: AbortSignal;
  thrum?: {
    /** `"local"`: here and nowhere else; `"peer"`: never here. Default `"auto"`. */
    route?: "auto" | "local" | "peer";
    /** Peer id: this peer and no other. */
    peer?: string;
    /** Must be empty in thrum 0.1. */
    genomes?: never[];
    /** Goes on after the model's end token, for measuring and comparing. Default false. */
    ignoreEos?: boolean;
    seed?: number;
  };
}

export interface ChatParams extends CommonParams {
  messages: ChatMessage[];
  max_completion_tokens?: number | null;
}

export interface ChatMessage {
  role: "system" | "developer" | "user" | "assistant";
  content: string | { type: "text"; text: string }[];
}

export interface TextParams extends CommonParams {
  prompt: string;
  /** Only false. */
  echo?: false | null;
}

export interface ChatCompletions {
  create(params: ChatParams & { stream: true }, options?: RequestOptions): Promise<AnswerStream<ChatCompletionChunk>>;
  create(params: ChatParams & { stream?: false | null }, options?: RequestOptions): Promise<ChatCompletion>;
}

export interface TextCompletions {
  create(params: TextParams & { stream: true }, options?: RequestOptions): Promise<AnswerStream<TextCompletion>>;
  create(params: TextParams & { stream?: false | null }, options?: RequestOptions): Promise<TextCompletion>;
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
  genomes: never[];
  /** Not in thrum 0.1. */
  receipt: null;
  attempts: number;
  /** Over the whole time from asking to the end. */
  tokensPerSecond: number | null;
}

export interface ChatCompletion {
  id: string;
  object: "chat.completion";
  created: number;
  model: string;
  choices: {
    index: 0;
    message: { role: "assistant"; content: string; refusal: null };
    logprobs: null;
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
    index: 0;
    delta: { role?: "assistant"; content?: string };
    logprobs: null;
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
  choices: { index: 0; text: string; logprobs: null; finish_reason: FinishReason | null }[];
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
   * `engine_failed`, `failed`, `identity_damaged`, `identity_unreadable`, `invalid_model`,
   * `invalid_option`, `invalid_request`, `model_unreachable`, `no_provider`, `not_implemented`,
   * `out_of_memory`, `providers_failed`, `stopped`, `unknown_model`, `unsupported_parameter`.
   */
  readonly code: string;
  readonly cause?: unknown;
}
