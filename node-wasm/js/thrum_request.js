/** From OpenAI's request parameters to what the node is asked: every one honoured or refused. */
import { ThrumError } from "./thrum_error.js";

/** Tokens an answer has at most unless the request says more. */
const DEFAULT_MAX_TOKENS = 256;

/** Milliseconds from asking to the last token; the most a node accepts is 600,000. */
const DEADLINE_MILLIS = 300_000;

/** Parameters that both end points understand. `user` labels requests for OpenAI and means nothing
 * here; it is accepted because it changes no answer. */
const COMMON = ["max_tokens", "model", "n", "seed", "signal", "stop", "stream", "stream_options",
  "temperature", "thrum", "top_k", "top_p", "user"];
const CHAT = new Set([...COMMON, "max_completion_tokens", "messages"]);
const TEXT = new Set([...COMMON, "echo", "prompt"]);
const STREAM_OPTIONS = new Set(["include_usage"]);
const THRUM = new Set(["genomes", "ignoreEos", "peer", "route", "seed"]);

/** The request of `chat.completions.create`, without its number. */
export function chatRequest(params) {
  check(params, CHAT, "");
  if (!Array.isArray(params.messages) || params.messages.length === 0) {
    throw invalid("messages must be a list with at least one message");
  }
  return request(params, { chat: params.messages.map(message) });
}

/** The request of `completions.create`, without its number. */
export function textRequest(params) {
  check(params, TEXT, "");
  if (given(params.echo) && params.echo !== false) {
    throw new ThrumError("unsupported_parameter", "parameter echo is not supported");
  }
  if (typeof params.prompt !== "string") throw invalid("prompt must be one string");
  return request(params, { text: params.prompt });
}

function request(params, input) {
  const thrum = params.thrum ?? {};
  check(thrum, THRUM, "thrum.");
  if (given(thrum.genomes) && !(Array.isArray(thrum.genomes) && thrum.genomes.length === 0)) {
    throw new ThrumError("unsupported_parameter",
      "parameter thrum.genomes is not supported: thrum 0.1 has no genomes yet");
  }
  if (given(params.n) && params.n !== 1) {
    throw new ThrumError("unsupported_parameter", "parameter n is not supported, except n = 1");
  }
  const stream = flag(params.stream, "stream");
  check(params.stream_options ?? {}, STREAM_OPTIONS, "stream_options.");
  if (given(params.stream_options) && !stream) {
    throw invalid("stream_options needs stream: true");
  }
  return {
    stream,
    includeUsage: flag(params.stream_options?.include_usage, "stream_options.include_usage"),
    ask: {
      model: given(params.model) ? text(params.model, "model") : null,
      input,
      maxNewTokens: integer(params.max_completion_tokens ?? params.max_tokens ?? DEFAULT_MAX_TOKENS,
        "max_tokens", 1, 4096),
      sampling: sampling(params, thrum),
      stop: stops(params.stop),
      deadlineMillis: DEADLINE_MILLIS,
      route: route(thrum),
    },
  };
}

/** Signed messages hold integers only: thousandths. */
function sampling(params, thrum) {
  const seed = params.seed ?? thrum.seed;
  return {
    temperature_milli: Math.round(1000 * number(params.temperature ?? 1, "temperature", 0, 2)),
    top_k: integer(params.top_k ?? 0, "top_k", 0, 1_000_000),
    top_p_milli: Math.max(1, Math.round(1000 * number(params.top_p ?? 1, "top_p", 0, 1))),
    seed: given(seed) ? integer(seed, "seed", 0, Number.MAX_SAFE_INTEGER) : randomSeed(),
    ignore_eos: flag(thrum.ignoreEos, "thrum.ignoreEos"),
  };
}

/** Drawn here, so that a provider that takes over goes on with the same draws. */
function randomSeed() {
  const [low, high] = crypto.getRandomValues(new Uint32Array(2));
  return (high & 0x1fffff) * 2 ** 32 + low;
}

function route(thrum) {
  if (given(thrum.peer)) {
    if (given(thrum.route) && thrum.route !== "peer") {
      throw invalid("thrum.peer needs thrum.route to be \"peer\"");
    }
    return { peerId: text(thrum.peer, "thrum.peer") };
  }
  const named = thrum.route ?? "auto";
  if (!["auto", "local", "peer"].includes(named)) {
    throw invalid("thrum.route must be \"auto\", \"local\" or \"peer\"");
  }
  return named;
}

function message(given_) {
  if (given_ === null || typeof given_ !== "object") throw invalid("each message must be an object");
  check(given_, new Set(["content", "role"]), "messages[].");
  const role = given_.role === "developer" ? "system" : given_.role;
  if (!["assistant", "system", "user"].includes(role)) {
    throw invalid("messages[].role must be \"system\", \"user\" or \"assistant\"");
  }
  return { role, content: content(given_.content) };
}

function content(given_) {
  if (typeof given_ === "string") return given_;
  if (!Array.isArray(given_)) throw invalid("messages[].content must be text");
  return given_.map((part) => {
    if (part?.type !== "text") {
      throw new ThrumError("unsupported_parameter",
        `messages[].content of type ${JSON.stringify(part?.type)} is not supported: only "text" is`);
    }
    return text(part.text, "messages[].content[].text");
  }).join("");
}

function stops(given_) {
  if (!given(given_)) return [];
  const list = Array.isArray(given_) ? given_ : [given_];
  return list.map((stop) => {
    if (text(stop, "stop") === "") throw invalid("stop must not be empty");
    return stop;
  });
}

function check(object, known, prefix) {
  if (object === null || typeof object !== "object") {
    throw invalid(`${prefix === "" ? "the parameters" : prefix.slice(0, -1)} must be an object`);
  }
  for (const [name, value] of Object.entries(object)) {
    if (given(value) && !known.has(name)) {
      throw new ThrumError("unsupported_parameter", `parameter ${prefix}${name} is not supported`);
    }
  }
}

const given = (value) => value !== undefined && value !== null;

const invalid = (message) => new ThrumError("invalid_request", message);

function text(value, name) {
  if (typeof value !== "string") throw invalid(`${name} must be text`);
  return value;
}

function flag(value, name) {
  if (given(value) && typeof value !== "boolean") throw invalid(`${name} must be true or false`);
  return value ?? false;
}

function number(value, name, least, most) {
  if (typeof value !== "number" || !(value >= least && value <= most)) {
    throw invalid(`${name} must be a number from ${least} to ${most}`);
  }
  return value;
}

function integer(value, name, least, most) {
  if (!Number.isInteger(number(value, name, least, most))) throw invalid(`${name} must be an integer`);
  return value;
}
