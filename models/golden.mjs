// Golden vectors from llama.cpp itself, for the engine to agree with.
//
//   npm install node-llama-cpp            (in any folder; its prebuilt binaries are npm packages)
//   NODE_LLAMA_CPP=<folder>/node_modules/node-llama-cpp/dist/index.js node golden.mjs
//
// For each prompt and file: token ids, 64 greedy tokens (end of answer ignored, argmax of the
// raw logits), the gap between the two best logits at each of them, and all 320 raw logits at
// some positions. The prompt is decoded as one batch, then one token at a time; the KV cache
// is F32, attention without the flash kernel, one thread, CPU.

import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const engine = process.env.NODE_LLAMA_CPP ?? "node-llama-cpp";
const { getLlama } = await import(engine);
const CONTINUE = 64;
const VOCABULARY = 320;
const EVERY = 32;

const round = (x) => Math.round(x * 1e5) / 1e5;
const { prompts } = JSON.parse(readFileSync(join(here, "golden", "prompts.json"), "utf8"));
const llama = await getLlama({ gpu: false, build: "never", progressLogs: false });

for (const kind of ["f16", "q8_0"]) {
    const file = `thrum-demo.${kind}.gguf`;
    const bytes = readFileSync(join(here, file));
    const model = await llama.loadModel({ modelPath: join(here, file), gpuLayers: 0 });
    const context = await model.createContext({
        contextSize: 512, threads: 1, flashAttention: false,
        experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32",
    });
    const sequence = context.getSequence();
    const cases = [];
    for (const prompt of prompts)
        cases.push(await golden(model, sequence, prompt));
    await context.dispose();
    await model.dispose();
    const result = {
        file, sha256: createHash("sha256").update(bytes).digest("hex"),
        made_with: { "llama.cpp": llama.llamaCppRelease.release, repo: llama.llamaCppRelease.repo,
            "node-llama-cpp": process.env.NODE_LLAMA_CPP_VERSION ?? await version(), backend: "cpu",
            kv_cache: "f32", flash_attention: false },
        logits: "raw, before any softmax, rounded to 5 decimals; logits[p] predict the token after position p of prompt + continuation",
        cases,
    };
    const text = JSON.stringify(result).replaceAll('{"text"', '\n{"text"');
    writeFileSync(join(here, "golden", `${kind}.json`), text + "\n");
    console.log(file, cases.length, "prompts", text.length, "bytes");
}
process.exit(0);

async function version() {
    const path = join(dirname(engine), "..", "package.json");
    return JSON.parse(readFileSync(path, "utf8")).version;
}

async function golden(model, sequence, text) {
    const tokens = [model.tokens.bos, ...model.tokenize(text, false)];
    await sequence.clearHistory();
    const logits = {};
    const continuation = [];
    const gaps = [];
    const wanted = (p) => p === 0 || p === tokens.length - 1 || p % EVERY === 0;
    const keep = (p, row) => { if (wanted(p)) logits[p] = row.map(round); };
    const ask = { generateNext: { logits: true } };
    const first = await sequence.controlledEvaluate(
        tokens.map((t, p) => (wanted(p) ? [t, ask] : t)));
    let row;
    for (let p = 0; p < tokens.length; p++)
        if (wanted(p)) keep(p, (row = dense(first[p].next.logits)));
    for (let i = 0; i < CONTINUE; i++) {
        const [best, second] = best_two(row);
        continuation.push(best);
        gaps.push(round(row[best] - row[second]));
        const next = await sequence.controlledEvaluate([[best, ask]]);
        row = dense(next[0].next.logits);
        keep(tokens.length + i, row);
    }
    return { text, tokens: [...tokens], continuation, gaps, logits };
}

function dense(map) {
    const row = new Array(VOCABULARY).fill(NaN);
    for (const [token, logit] of map) row[token] = logit;
    if (row.some(Number.isNaN)) throw new Error("llama.cpp did not give all logits");
    return row;
}

function best_two(row) {
    let best = 0, second = -1;
    for (let i = 1; i < row.length; i++)
        if (row[i] > row[best]) { second = best; best = i; }
        else if (second < 0 || row[i] > row[second]) second = i;
    return [best, second];
}
