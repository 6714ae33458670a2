// Three engines behind one face, so that each is measured in the same way:
// `open({model, threads})` loads, `ask(prompt, tokens)` streams a greedy answer and says when its
// first and last token came. Times are taken where a page sees them.

const now = () => performance.now();

/** Collects the pieces of one answer. */
class Clock {
  constructor() {
    this.since = now();
    this.first = null;
    this.last = null;
    this.text = "";
  }

  piece(text) {
    this.last = now();
    this.first ??= this.last;
    this.text += text;
  }

  figures(promptTokens, tokens) {
    return {
      promptTokens, tokens, text: this.text,
      firstMs: this.first - this.since,
      restMs: this.last - this.first,
    };
  }
}

/** `model` is a Blob, or the address of a file that is kept in the browser's storage. */
const engines = {
  async wllama2({ model, threads }) {
    const { Wllama } = await import("/packages/wllama2/esm/index.js");
    const engine = new Wllama({
      "single-thread/wllama.wasm": "/packages/wllama2/esm/single-thread/wllama.wasm",
      "multi-thread/wllama.wasm": "/packages/wllama2/esm/multi-thread/wllama.wasm",
    }, { suppressNativeLog: true });
    const options = { n_ctx: 1024, n_threads: threads };
    if (typeof model === "string") await engine.loadModelFromUrl(model, options);
    else await engine.loadModel([model], options);
    const ends = engine.getLoadedContextInfo().list_tokens_eog;
    const decoder = new TextDecoder();
    return {
      threads: engine.isMultithread() ? engine.getNumThreads() : 1,
      async ask(prompt, tokens) {
        const promptTokens = (await engine.tokenize(prompt, true)).length;
        const clock = new Clock();
        let made = 0;
        await engine.createCompletion(prompt, {
          nPredict: tokens,
          sampling: { temp: 0, logit_bias: ends.map((token) => ({ token, bias: -1e9 })) },
          onNewToken: (_, piece) => {
            made += 1;
            clock.piece(decoder.decode(piece, { stream: true }));
          },
        });
        return clock.figures(promptTokens, made);
      },
    };
  },

  async wllama3({ model, threads }) {
    const { Wllama } = await import("/packages/wllama3/esm/index.js");
    const engine = new Wllama({ default: "/packages/wllama3/esm/wasm/wllama.wasm" }, { suppressNativeLog: true });
    // On the CPU: its WebGPU wants f16 shaders. One slot, as there is one asker.
    const options = { n_ctx: 1024, n_threads: threads, n_gpu_layers: 0, n_parallel: 1 };
    if (typeof model === "string") await engine.loadModelFromUrl(model, options);
    else await engine.loadModel([model], options);
    return {
      threads: engine.isMultithread() ? engine.getNumThreads() : 1,
      async ask(prompt, tokens) {
        const clock = new Clock();
        let usage = null;
        let pieces = 0;
        await engine.createCompletion({
          prompt, max_tokens: tokens, temperature: 0, ignore_eos: true, cache_prompt: false, stream: true,
          onData: (chunk) => {
            usage = chunk.usage ?? usage;
            const text = chunk.choices?.[0]?.text;
            if (!text) return;
            pieces += 1;
            clock.piece(text);
          },
        });
        return clock.figures(usage?.prompt_tokens ?? null, usage?.completion_tokens ?? pieces);
      },
    };
  },

  async thrum({ model, threads, relays = [], store = "bench", backend = "cpu" }) {
    const { createNode } = await import("/embed/thrum.js");
    const options = { relays, store, backend, model };
    let node;
    let used = threads;
    try {
      node = await createNode({ ...options, threads });
    } catch (error) {
      if (error.code !== "invalid_option" || !/threads/.test(error.message)) throw error;
      if (threads > 1) throw new Error("threads are not offered yet");
      node = await createNode(options);
      used = 1;
    }
    await node.models.load(model);
    return {
      threads: node.status().threads ?? used,
      async ask(prompt, tokens) {
        const clock = new Clock();
        const stream = await node.completions.create({
          prompt, max_tokens: tokens, temperature: 0, stream: true, stream_options: { include_usage: true },
          thrum: { route: "local", ignoreEos: true },
        });
        let usage = null;
        for await (const chunk of stream) {
          usage = chunk.usage ?? usage;
          const text = chunk.choices?.[0]?.text;
          if (text) clock.piece(text);
        }
        return clock.figures(usage?.prompt_tokens ?? null, usage?.completion_tokens ?? 0);
      },
    };
  },
};

/** Loads `kind` and keeps it for `ask`; says how long loading took. */
export async function open(kind, { url, cached, ...options }) {
  const model = cached ?? await (await fetch(url)).blob();
  const since = now();
  globalThis.engine = await engines[kind]({ ...options, model });
  return { loadMs: now() - since, threads: globalThis.engine.threads, isolated: crossOriginIsolated };
}

export const ask = (prompt, tokens) => globalThis.engine.ask(prompt, tokens);
