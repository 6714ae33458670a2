/** From what the node says of an answer to OpenAI's shapes, whole or as a stream. */
import { ThrumError, abortedBy } from "./thrum_error.js";
import { ChatLogprobs, TextLogprobs } from "./thrum_logprobs.js";

/** Chunks that wait for a reader. The answer goes on in the node; a reader never slows it down. */
class Queue {
  #items = [];
  #waiting = null;

  push(item) {
    this.#items.push(item);
    this.#waiting?.();
  }

  async next() {
    while (this.#items.length === 0) {
      await new Promise((resolve) => { this.#waiting = resolve; });
    }
    this.#waiting = null;
    return this.#items.shift();
  }
}

/** The two shapes: what differs between chat and plain completions. */
export const CHAT = {
  id: "chatcmpl",
  whole: "chat.completion",
  chunk: "chat.completion.chunk",
  choice: (content) => ({ message: { role: "assistant", content, refusal: null } }),
  first: () => ({ delta: { role: "assistant", content: "" } }),
  delta: (content) => ({ delta: { content } }),
  last: () => ({ delta: {} }),
  Logprobs: ChatLogprobs,
};
export const TEXT = {
  id: "cmpl",
  whole: "text_completion",
  chunk: "text_completion",
  choice: (text) => ({ text }),
  first: null,
  delta: (text) => ({ text }),
  last: () => ({ text: "" }),
  Logprobs: TextLogprobs,
};

/** Asks and gives the whole answer. */
export async function wholeAnswer(node, shape, request, signal) {
  const head = newHead(shape, shape.whole);
  const logprobs = logprobsOf(shape, request);
  const ends = [];
  for await (const { choice: index, update } of updates(node, request.asks, signal, null)) {
    if (update.type === "delta") logprobs[index]?.add(update.tokens);
    if (update.type === "done") ends[index] = update;
  }
  if (ends.filter(Boolean).length < request.asks.length) {
    throw new ThrumError("failed", "the answer ended without an end");
  }
  return {
    ...head,
    model: node.modelName(ends[0].model),
    choices: ends.map((end, index) =>
      choice(index, shape.choice(end.text), logprobs[index]?.all() ?? null, end.finishReason)),
    usage: usage(ends),
    thrum: provenance(ends[0], request, ends),
  };
}

/** An answer as it comes. Iterate it once; leaving the loop early stops the answer. */
export class AnswerStream {
  #chunks;

  constructor(node, shape, request, signal) {
    /** `controller.abort()` stops the answer; the iteration then ends. */
    this.controller = new AbortController();
    this.#chunks = chunks(node, shape, request, signal, this.controller.signal);
  }

  [Symbol.asyncIterator]() {
    return this.#chunks;
  }

  /** One JSON text and a line feed for each chunk, as OpenAI's own client gives it. */
  toReadableStream() {
    const encoder = new TextEncoder();
    const chunks = this.#chunks;
    return new ReadableStream({
      async pull(controller) {
        const { done, value } = await chunks.next();
        if (done) controller.close();
        else controller.enqueue(encoder.encode(`${JSON.stringify(value)}\n`));
      },
      async cancel() {
        await chunks.return();
      },
    });
  }
}

async function* chunks(node, shape, request, signal, ownSignal) {
  const model = request.asks[0].model ?? node.modelName(null);
  const head = { ...newHead(shape, shape.chunk), model };
  const nothing = request.includeUsage ? { usage: null } : {};
  const logprobs = logprobsOf(shape, request);
  if (shape.first) {
    for (const index of request.asks.keys()) {
      yield { ...head, choices: [choice(index, shape.first(), null, null)], ...nothing };
    }
  }
  const ends = [];
  for await (const { choice: index, update } of updates(node, request.asks, signal, ownSignal)) {
    if (update.type === "delta") {
      logprobs[index]?.add(update.tokens);
      const told = logprobs[index]?.fresh() ?? null;
      if (update.text === "" && told === null) continue;
      yield { ...head, choices: [choice(index, shape.delta(update.text), told, null)], ...nothing };
    } else if (update.type === "done") {
      ends.push(update);
      head.model = node.modelName(update.model);
      const last = [choice(index, shape.last(), null, update.finishReason)];
      yield { ...head, choices: last, ...nothing, thrum: provenance(update, request) };
      if (ends.length === request.asks.length && request.includeUsage) {
        yield { ...head, choices: [], usage: usage(ends), thrum: provenance(update, request, ends) };
      }
    }
  }
}

const logprobsOf = (shape, request) =>
  request.asks.map(() => request.logprobs ? new shape.Logprobs(request.topLogprobs) : null);

/**
 * What happens to the answers of one request, until all have ended. A caller that stops listening
 * cancels them; if one fails, so do the others.
 */
async function* updates(node, asks, signal, ownSignal) {
  if (signal?.aborted) throw abortedBy(signal);
  if (ownSignal?.aborted) return;
  const queue = new Queue();
  const abort = () => queue.push({ update: { type: "aborted" } });
  signal?.addEventListener("abort", abort);
  ownSignal?.addEventListener("abort", abort);
  /** Number of each answer that is under way. */
  const open = new Map();
  try {
    for (const [choice, ask] of asks.entries()) {
      open.set(choice, node.ask(ask, (update) => queue.push({ choice, update })));
    }
    while (open.size > 0) {
      const { choice, update } = await queue.next();
      if (update.type === "aborted") {
        if (signal?.aborted) throw abortedBy(signal);
        return;
      }
      if (update.type === "done" || update.type === "failed") {
        node.forget(open.get(choice), true);
        open.delete(choice);
      }
      if (update.type === "failed") throw new ThrumError(update.code, update.message);
      yield { choice, update };
    }
  } finally {
    signal?.removeEventListener("abort", abort);
    ownSignal?.removeEventListener("abort", abort);
    for (const number of open.values()) node.forget(number, false);
  }
}

function newHead(shape, object) {
  const id = [...crypto.getRandomValues(new Uint8Array(12))];
  return {
    id: `${shape.id}-${id.map((byte) => byte.toString(16).padStart(2, "0")).join("")}`,
    object,
    created: Math.floor(Date.now() / 1000),
  };
}

const choice = (index, body, logprobs, finish_reason) => ({ index, ...body, logprobs, finish_reason });

/** The prompt counts once, however many answers it has. */
function usage(ends) {
  const prompt_tokens = Math.max(...ends.map((end) => end.promptTokens));
  const completion_tokens = ends.reduce((sum, end) => sum + end.completionTokens, 0);
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
}

/** What the context had no room for: of the prompt once, of the answers together. */
const discarded = (ends) => ({
  messages: Math.max(...ends.map((end) => end.discarded.messages)),
  promptTokens: Math.max(...ends.map((end) => end.discarded.prompt_tokens)),
  contextTokens: ends.reduce((sum, end) => sum + end.discarded.context_tokens, 0),
});

function provenance(done, { genomes }, ends = [done]) {
  return {
    provider: done.provider,
    path: done.path ?? "local",
    genomes,
    discarded: discarded(ends),
    receipt: null,
    attempts: done.attempts,
    tokensPerSecond: done.totalMillis > 0 ? (1000 * done.completionTokens) / done.totalMillis : null,
  };
}
