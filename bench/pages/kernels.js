// Our kernels alone, without the engine around them.
import init, * as kernels from "/made/kernels/kernels.js";
import { draw, reference } from "./onnx.js";

await init();

export const names = () => kernels.kernelNames();

/** Milliseconds of one product on one thread of the CPU, in each of `rounds` series. */
export const measureCpu = (name, { format, cols, rows }, tokens, rounds) =>
  [...kernels.matmul(name, format, cols, rows, tokens, rounds)];

/** Seconds of passes with adapters and without, on the CPU path, of a GGUF file. */
export async function adapters(url, narrow) {
  const file = new Uint8Array(await (await fetch(url)).arrayBuffer());
  return JSON.parse(await kernels.adapterSpeed(file, narrow));
}

/** Whether the crate times its WGSL kernels. */
export const hasGpu = () => typeof kernels.gpuMatmul === "function";

/** GGUF's Q4_0 blocks of a drawn matrix; scales are rounded to 16 bits. */
function blocks({ codes, scales }) {
  const bytes = new Uint8Array(scales.length * 18);
  const view = new DataView(bytes.buffer);
  const halves = new Float16Array(scales);
  const bits = new Uint16Array(halves.buffer);
  for (let block = 0; block < scales.length; block += 1) {
    view.setUint16(block * 18, bits[block], true);
    const code = (n) => (codes[block * 16 + (n >> 1)] >> (4 * (n & 1))) & 15;
    for (let n = 0; n < 16; n += 1) bytes[block * 18 + 2 + n] = code(n) | (code(n + 16) << 4);
  }
  return bytes;
}

/** Milliseconds of one product on WebGPU, in each of `rounds` series, and the kernel that was
 * fastest; the outputs are checked. */
export async function measure(shape, rounds) {
  const drawn = draw(shape);
  const { millis, outputs, kernel } = await kernels.gpuMatmul(blocks(drawn), drawn.x, shape.cols, shape.rows, rounds);
  for (const [row, token] of [[0, 0], [7, 0], [shape.rows - 1, shape.tokens - 1]]) {
    const wanted = reference({ ...shape, ...drawn }, row, token);
    const found = outputs[token * shape.rows + row];
    if (!(Math.abs(found - wanted) < 0.05)) throw new Error(`row ${row}, token ${token} is ${found}, not ${wanted}`);
  }
  return { millis: [...millis], kernel };
}
