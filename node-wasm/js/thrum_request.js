/** From OpenAI's request parameters to what the node is asked: every one honoured or refused. */
import { ThrumError } from "./thrum_error.js";
import { wornGenomes } from "./thrum_genomes.js";
import { sampling } from "./thrum_sampling.js";
import { check, flag, given, integer, invalid, text, unsupported } from "./thrum_value.js";

/** Tokens an answer has at most unless the request says more. */
const DEFAULT_MAX_TOKENS = 256;

/** Answers to one prompt: as many as one node gives at once. */
const MAX_CHOICES = 8;

/** Milliseconds from asking to the last token; the most a node accepts is 600,000. */
const DEADLINE_MILLIS = 300_000;

/** Parameters that both end points understand. `user` labels requests for OpenAI and means nothing
 * here; it is accepted because it changes no answer. */
const COMMON = ["frequency_penalty", "logit_bias", "logprobs", "max_tokens", "min_p", "model", "n",
  "presence_penalty", "repetition_penalty", "response_format", "seed", "signal", "stop", "stream",
  "stream_options", "temperature", "thrum", "top_k", "top_p", "truncation", "user"];
const CHAT = new Set([...COMMON, "max_completion_tokens", "messages", "top_logprobs"]);
const TEXT = new Set([...COMMON, "echo", "prompt"]);
const STREAM_OPTIONS = new Set(["include_usage"]);
const THRUM = new Set(["genomes", "ignoreEos", "peer", "route", "seed"]);

/** The request of `chat.completions.create`, without its number. */
export function chatRequest(params) {
  check(params, CHAT, "");
  if (!Array.isArray(params.messages) || params.messages.length === 0) {
    throw invalid("messages must be a list with at least one message");
  }
  const wanted = flag(params.logprobs, "logprobs");
  if (given(params.top_logprobs) && !wanted) throw invalid("top_logprobs needs logprobs: true");
  const logprobs = wanted ? integer(params.top_logprobs ?? 0, "top_logprobs", 0, 20) : null;
  return request(params, { chat: params.messages.map(message) }, logprobs);
}

/** The request of `completions.create`, without its number. */
export function textRequest(params) {
  check(params, TEXT, "");
  if (given(params.echo) && params.echo !== false) throw unsupported("echo");
  if (typeof params.prompt !== "string") throw invalid("prompt must be one string");
  const logprobs = given(params.logprobs) ? integer(params.logprobs, "logprobs", 0, 20) : null;
  return request(params, { text: params.prompt }, logprobs);
}

function request(params, input, logprobs) {
  const thrum = params.thrum ?? {};
  check(thrum, THRUM, "thrum.");
  const genomes = wornGenomes(thrum.genomes);
  const stream = flag(params.stream, "stream");
  check(params.stream_options ?? {}, STREAM_OPTIONS, "stream_options.");
  if (given(params.stream_options) && !stream) {
    throw invalid("stream_options needs stream: true");
  }
  const choices = integer(params.n ?? 1, "n", 1, MAX_CHOICES);
  text(params.user ?? "", "user");
  const how = sampling(params, thrum, logprobs);
  const ask = {
    model: given(params.model) ? text(params.model, "model") : null,
    input,
    maxNewTokens: integer(params.max_completion_tokens ?? params.max_tokens ?? DEFAULT_MAX_TOKENS,
      "max_tokens", 1, 4096),
    stop: stops(params.stop),
    deadlineMillis: DEADLINE_MILLIS,
    truncation: truncation(params.truncation),
    route: route(thrum, genomes.length > 0),
  };
  return {
    stream,
    genomes,
    includeUsage: flag(params.stream_options?.include_usage, "stream_options.include_usage"),
    logprobs: logprobs !== null,
    topLogprobs: logprobs ?? 0,
    asks: Array.from({ length: choices }, (_, choice) => ({
      ...ask, sampling: { ...how, seed: choiceSeed(how.seed, choice) },
    })),
  };
}

const WORD = (1n << 64n) - 1n;

/** SplitMix64, as the engine draws. */
function mix(state) {
  let z = (state + 0x9e3779b97f4a7c15n) & WORD;
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & WORD;
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & WORD;
  return z ^ (z >> 31n);
}

/** The first answer has the request's own seed; each further one its own, which JSON can hold. */
function choiceSeed(seed, choice) {
  if (choice === 0) return seed;
  return Number(mix(BigInt(seed) ^ mix(BigInt(choice))) >> 11n);
}

/** As in OpenAI's Responses API. */
function truncation(given_) {
  const named = given_ ?? "disabled";
  if (!["auto", "disabled"].includes(named)) {
    throw invalid("truncation must be \"auto\" or \"disabled\"");
  }
  return named;
}

/** Genomes are worn by answers of this tab only. */
function route(thrum, wearsGenomes) {
  if (wearsGenomes) {
    if (given(thrum.peer) || !["auto", "local"].includes(thrum.route ?? "auto")) {
      throw invalid("thrum.genomes needs thrum.route to be \"local\": peers have no genomes of this node");
    }
    return "local";
  }
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
