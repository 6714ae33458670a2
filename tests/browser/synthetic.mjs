// A small GGUF file of drawn weights, large enough to be shared between workers: the demonstrator's
// matrices are not.

/** Sizes of the model. */
const DIM = 256, FFN = 512, LAYERS = 2, HEADS = 4, KV_HEADS = 2, CONTEXT = 512;

/** GGUF's numbers of types. */
const U32 = 4, F32_VALUE = 6, TEXT = 8, ARRAY = 9, I32 = 5, F32_TENSOR = 0;
const ALIGNMENT = 32;

const number = (bytes, write) => {
  const buffer = Buffer.alloc(bytes);
  write(buffer);
  return buffer;
};
const u32 = (value) => number(4, (it) => it.writeUInt32LE(value));
const i32 = (value) => number(4, (it) => it.writeInt32LE(value));
const f32 = (value) => number(4, (it) => it.writeFloatLE(value));
const u64 = (value) => number(8, (it) => it.writeBigUInt64LE(BigInt(value)));
const text = (value) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
const pair = (key, type, value) => Buffer.concat([text(key), u32(type), value]);
const list = (type, values) => Buffer.concat([u32(type), u64(values.length), ...values]);

/** Byte tokens behind the three that SentencePiece vocabularies begin with. */
const tokens = ["<unk>", "<s>", "</s>",
  ...Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`)];
const UNKNOWN = 2, CONTROL = 3, BYTE = 6;

const metadata = () => [
  pair("general.architecture", TEXT, text("llama")),
  pair("llama.block_count", U32, u32(LAYERS)),
  pair("llama.embedding_length", U32, u32(DIM)),
  pair("llama.feed_forward_length", U32, u32(FFN)),
  pair("llama.attention.head_count", U32, u32(HEADS)),
  pair("llama.attention.head_count_kv", U32, u32(KV_HEADS)),
  pair("llama.attention.layer_norm_rms_epsilon", F32_VALUE, f32(1e-5)),
  pair("llama.context_length", U32, u32(CONTEXT)),
  pair("tokenizer.ggml.model", TEXT, text("llama")),
  pair("tokenizer.ggml.tokens", ARRAY, list(TEXT, tokens.map(text))),
  pair("tokenizer.ggml.scores", ARRAY, list(F32_VALUE, tokens.map(() => f32(0)))),
  pair("tokenizer.ggml.token_type", ARRAY,
    list(I32, tokens.map((_, id) => i32(id === 0 ? UNKNOWN : id < 3 ? CONTROL : BYTE)))),
  pair("tokenizer.ggml.bos_token_id", U32, u32(1)),
  pair("tokenizer.ggml.eos_token_id", U32, u32(2)),
];

/** Name, rows and columns of every tensor; a gain has one row. */
const tensors = () => {
  const kv = (DIM / HEADS) * KV_HEADS;
  const block = [["attn_norm", 1, DIM], ["attn_q", DIM, DIM], ["attn_k", kv, DIM], ["attn_v", kv, DIM],
    ["attn_output", DIM, DIM], ["ffn_norm", 1, DIM], ["ffn_gate", FFN, DIM], ["ffn_up", FFN, DIM],
    ["ffn_down", DIM, FFN]];
  const blocks = Array.from({ length: LAYERS }, (_, layer) =>
    block.map(([name, rows, cols]) => [`blk.${layer}.${name}.weight`, rows, cols]));
  return [["token_embd.weight", tokens.length, DIM], ...blocks.flat(), ["output_norm.weight", 1, DIM]];
};

/** The file; the head is tied to the embeddings. */
export function syntheticModel(seed = 1) {
  let state = seed;
  const drawn = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  const infos = [], data = [];
  let offset = 0;
  for (const [name, rows, cols] of tensors()) {
    const dims = rows === 1 ? [cols] : [cols, rows];
    infos.push(text(name), u32(dims.length), ...dims.map(u64), u32(F32_TENSOR), u64(offset));
    const scale = Math.sqrt(3 / cols);
    const weights = Float32Array.from({ length: rows * cols }, () => (rows === 1 ? 1 : scale * drawn()));
    data.push(Buffer.from(weights.buffer));
    offset += weights.byteLength;
  }
  const pairs = metadata();
  const head = Buffer.concat([Buffer.from("GGUF"), u32(3), u64(tensors().length), u64(pairs.length),
    ...pairs, ...infos]);
  const padding = Buffer.alloc((ALIGNMENT - (head.length % ALIGNMENT)) % ALIGNMENT);
  return Buffer.concat([head, padding, ...data]);
}
