// The JavaScript API as its users' compilers see it; only ever type-checked.
import { createNode, ThrumError, type ThrumNode } from "thrum";

const node: ThrumNode = await createNode({
  relays: ["http://127.0.0.1:8080"],
  backend: "auto",
  threads: 2,
  store: "thrum",
  signal: AbortSignal.timeout(1_000),
  onProgress: ({ stage, loaded, total }) => console.log(stage, loaded, total ?? "?"),
});
const id: string = node.peerId;
const state: "off" | "connecting" | "ready" | "working" | "paused" | "error" = node.status().state;
const threads: number | null = node.status().threads;
const paths: ("direct" | "relayed")[] = node.peers().map((peer) => peer.path);
const far: [string, string | undefined, number][] = node.announced().map((one) =>
  [one.peerId, one.models[0]?.name, one.expiresInMillis]);
await node.donate();
await node.models.load(new Blob([]));
await node.models.load([new Blob([]), new URL("https://a.example/b.gguf")], { signal: AbortSignal.timeout(1) });
const told = await node.models.inspect({ url: "https://a.example/b.gguf", sha256: "00" });
const verdict: [boolean, string, number | null] = [told.fits, told.reason, told.downloadBytes];
const kept: number[] = (await node.models.list()).map((model) => model.keptBytes);
const room: number | null = (await node.models.storage()).quotaBytes;
const answer = await node.chat.completions.create({
  messages: [{ role: "user", content: "reverse: starling" }],
  thrum: { route: "auto" },
});
const text: string | null = answer.choices[0].message.content;
const provider: string = answer.thrum.provider;
const genome = await node.genomes.load("https://a.example/adapter/", {
  name: "polite", onProgress: ({ loaded }) => console.log(loaded), signal: AbortSignal.timeout(1),
});
await node.genomes.load({ config: new Blob([]), weights: new URL("https://a.example/a.safetensors") });
const dressed = await node.completions.create({
  prompt: "a", thrum: { genomes: ["polite", { id: genome.id, scale: -0.5 }] },
});
const worn: { id: string; name: string; scale: number }[] = dressed.thrum.genomes;
const fitting: (boolean | null)[] = (await node.genomes.list()).map((one) => one.fits);
await node.genomes.remove(genome.id);
node.addEventListener("genome", ({ detail }) => console.log(detail.change === "loaded", detail.name));
const forgetful = await node.chat.completions.create({
  messages: [{ role: "user", content: "on and on" }], truncation: "auto", max_tokens: 4_000,
});
const lost: number = forgetful.thrum.discarded.contextTokens;
const stream = await node.chat.completions.create({
  messages: [{ role: "user", content: "reverse: starling" }],
  stream: true,
});
const many = await node.chat.completions.create({
  messages: [{ role: "user", content: "reverse: starling" }],
  n: 2, logprobs: true, top_logprobs: 3, logit_bias: { 17: -100 }, min_p: 0.1, frequency_penalty: -0.5,
  response_format: { type: "json_schema", json_schema: { name: "a", schema: { type: "object" } } },
});
const likely: number | undefined = many.choices[1]?.logprobs?.content[0]?.top_logprobs[0]?.logprob;
for await (const chunk of stream) console.log(chunk.choices[0]?.delta.content ?? "");
const bytes: ReadableStream = stream.toReadableStream();
node.addEventListener("statechange", () => {});
try {
  // @ts-expect-error a parameter that does not exist
  await node.completions.create({ prompt: "a", best_of: 2 });
} catch (error) {
  if (error instanceof ThrumError) console.log(error.code, error.cause);
}
await node.close();
console.log(id, state, paths, text, provider, bytes, verdict, kept, room, likely, worn, fitting, lost);
