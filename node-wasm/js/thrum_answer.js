/** From what the node says of an answer to OpenAI's shapes, whole or as a stream. */
import { ThrumError, abortedBy } from "./thrum_error.js";

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
};
export const TEXT = {
  id: "cmpl",
  whole: "text_completion",
  chunk: "text_completion",
  choice: (text) => ({ text }),
  first: null,
  delta: (text) => ({ text }),
  last: () => ({ text: "" }),
};

/** Asks and gives the whole answer. */
export async function wholeAnswer(node, shape, request, signal) {
  const head = newHead(shape, shape.whole);
  for await (const update of updates(node, request.ask, signal, null)) {
    if (update.type === "done") {
      return {
        ...head,
        model: node.modelName(update.model),
        choices: [choice(shape.choice(update.text), update.finishReason)],
        usage: usage(update),
        thrum: provenance(update),
      };
    }
  }
  throw new ThrumError("failed", "the answer ended without an end");
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
  const head = { ...newHead(shape, shape.chunk), model: request.ask.model ?? node.modelName(null) };
  const nothing = request.includeUsage ? { usage: null } : {};
  if (shape.first) yield { ...head, choices: [choice(shape.first(), null)], ...nothing };
  for await (const update of updates(node, request.ask, signal, ownSignal)) {
    if (update.type === "delta" && update.text !== "") {
      yield { ...head, choices: [choice(shape.delta(update.text), null)], ...nothing };
    } else if (update.type === "done") {
      head.model = node.modelName(update.model);
      const last = [choice(shape.last(), update.finishReason)];
      yield { ...head, choices: last, ...nothing, thrum: provenance(update) };
      if (request.includeUsage) {
        yield { ...head, choices: [], usage: usage(update), thrum: provenance(update) };
      }
      return;
    }
  }
}

/** What happens to one ask, until its end. A caller that stops listening cancels it. */
async function* updates(node, ask, signal, ownSignal) {
  if (signal?.aborted) throw abortedBy(signal);
  if (ownSignal?.aborted) return;
  const queue = new Queue();
  const abort = () => queue.push({ type: "aborted" });
  signal?.addEventListener("abort", abort);
  ownSignal?.addEventListener("abort", abort);
  const number = node.ask(ask, (update) => queue.push(update));
  let ended = false;
  try {
    for (;;) {
      const update = await queue.next();
      if (update.type === "aborted") {
        if (signal?.aborted) throw abortedBy(signal);
        return;
      }
      ended = update.type === "done" || update.type === "failed";
      if (update.type === "failed") throw new ThrumError(update.code, update.message);
      yield update;
      if (ended) return;
    }
  } finally {
    signal?.removeEventListener("abort", abort);
    ownSignal?.removeEventListener("abort", abort);
    node.forget(number, ended);
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

const choice = (body, finish_reason) => ({ index: 0, ...body, logprobs: null, finish_reason });

const usage = (done) => ({
  prompt_tokens: done.promptTokens,
  completion_tokens: done.completionTokens,
  total_tokens: done.promptTokens + done.completionTokens,
});

function provenance(done) {
  return {
    provider: done.provider,
    path: done.path ?? "local",
    genomes: [],
    receipt: null,
    attempts: done.attempts,
    tokensPerSecond: done.totalMillis > 0 ? (1000 * done.completionTokens) / done.totalMillis : null,
  };
}
