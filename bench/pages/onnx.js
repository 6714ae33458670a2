// A model of one MatMulNBits, written as ONNX's protocol buffers have it: 4-bit weights in blocks of
// 32 columns, one f32 scale each, zero point 8; what GGUF calls Q4_0 but for the width of the scale.

/** weights that share a scale. */
export const BLOCK = 32;

const FLOAT = 1;
const UINT8 = 2;
const INT_ATTRIBUTE = 2;
const encoder = new TextEncoder();

function varint(value) {
  const bytes = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  return Uint8Array.from([...bytes, rest]);
}

function concat(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** A field: a number, a text, or bytes (a message, or raw data). */
function field(number, value) {
  if (typeof value === "number") return concat([varint(number << 3), varint(value)]);
  const bytes = typeof value === "string" ? encoder.encode(value) : value;
  return concat([varint((number << 3) | 2), varint(bytes.length), bytes]);
}

const message = (...fields) => concat(fields);

const attribute = (name, value) => field(5, message(field(1, name), field(3, value), field(20, INT_ATTRIBUTE)));

const initializer = (name, type, dims, raw) =>
  field(5, message(...dims.map((dim) => field(1, dim)), field(2, type), field(8, name), field(9, raw)));

const valueInfo = (number, name, dims) => {
  const shape = message(...dims.map((dim) => field(1, message(field(1, dim)))));
  const type = message(field(1, message(field(1, FLOAT), field(2, shape))));
  return field(number, message(field(1, name), field(2, type)));
};

/** The model for `tokens` rows of activations. `codes` are two to a byte, the low half first;
 * `accuracy` is ONNX's level: 4 lets activations be i8. */
export function matMulNBits({ cols, rows, tokens, codes, scales, accuracy }) {
  const blocks = cols / BLOCK;
  const node = message(
    field(1, "A"), field(1, "B"), field(1, "scales"), field(2, "Y"), field(4, "MatMulNBits"), field(7, "com.microsoft"),
    attribute("K", cols), attribute("N", rows), attribute("bits", 4), attribute("block_size", BLOCK), attribute("accuracy_level", accuracy),
  );
  const graph = message(
    field(1, node), field(2, "bench"),
    initializer("B", UINT8, [rows, blocks, BLOCK / 2], codes),
    initializer("scales", FLOAT, [rows * blocks], new Uint8Array(scales.buffer)),
    valueInfo(11, "A", [tokens, cols]), valueInfo(12, "Y", [tokens, rows]),
  );
  const opset = (domain, version) => field(8, message(field(1, domain), field(2, version)));
  return message(field(1, 10), opset("", 21), opset("com.microsoft", 1), field(7, graph));
}

/** A matrix and activations drawn from a seed, the same for whoever is measured. */
export function draw({ cols, rows, tokens }) {
  let state = 0x9e3779b9 ^ (cols * 31 + rows);
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  const codes = Uint8Array.from({ length: (rows * cols) / 2 }, () => next() & 255);
  const scales = Float32Array.from({ length: (rows * cols) / BLOCK }, () => (0.5 + (next() & 255) / 256) / (4.6 * Math.sqrt(cols)));
  const x = Float32Array.from({ length: tokens * cols }, () => (next() & 0xffff) / 32_768 - 1);
  return { codes, scales, x };
}

/** Output `row` of `token` in f64: what every engine must come near. */
export function reference({ cols, codes, scales, x }, row, token) {
  let sum = 0;
  for (let col = 0; col < cols; col += 1) {
    const at = row * cols + col;
    const code = (codes[at >> 1] >> (4 * (at & 1))) & 15;
    sum += (code - 8) * scales[Math.floor(at / BLOCK)] * x[token * cols + col];
  }
  return sum;
}
