// onnxruntime-web's MatMulNBits, on WebGPU or on one thread of its WebAssembly.
import { draw, matMulNBits, reference } from "./onnx.js";

const PACKAGE = "/packages/onnxruntime-web/dist";

/** ms; how long one series of runs takes about; one run where that is longer. */
const SERIES_MS = 400;

async function runtime(provider) {
  const ort = await import(`${PACKAGE}/${provider === "webgpu" ? "ort.webgpu.bundle.min.mjs" : "ort.wasm.bundle.min.mjs"}`);
  ort.env.wasm.wasmPaths = `${PACKAGE}/`;
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  return ort;
}

/** Throws unless the outputs are those of the reference, within what i8 activations cost. */
function check(shape, drawn, y) {
  for (const [row, token] of [[0, 0], [7, 0], [shape.rows - 1, shape.tokens - 1]]) {
    const wanted = reference({ ...shape, ...drawn }, row, token);
    const found = y[token * shape.rows + row];
    if (!(Math.abs(found - wanted) < 0.05)) throw new Error(`row ${row}, token ${token} is ${found}, not ${wanted}`);
  }
}

/** Its accuracy levels: whatever is fastest, and activations as i8. Either may be the faster one. */
const ACCURACIES = [0, 4];

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** Milliseconds of one product, for each of `rounds` series, at the accuracy that is faster. */
export async function measure(provider, shape, rounds) {
  const ort = await runtime(provider);
  const tried = [];
  for (const accuracy of ACCURACIES) tried.push(await measureAt(ort, provider, { ...shape, accuracy }, rounds));
  const [millis] = tried.toSorted((a, b) => median(a) - median(b));
  return { millis };
}

async function measureAt(ort, provider, shape, rounds) {
  const drawn = draw(shape);
  const session = await ort.InferenceSession.create(matMulNBits({ ...shape, ...drawn }), {
    executionProviders: [provider],
    ...(provider === "webgpu" && { preferredOutputLocation: "gpu-buffer" }),
  });
  const dims = [shape.tokens, shape.cols];
  const device = provider === "webgpu" ? await ort.env.webgpu.device : null;
  const input = device ? onDevice(ort, device, drawn.x, dims) : new ort.Tensor("float32", drawn.x, dims);
  const run = async () => {
    const { Y } = await session.run({ A: input });
    return Y;
  };
  const first = await run();
  check(shape, drawn, device ? await first.getData() : first.data);
  first.dispose();
  const series = async (count) => {
    const since = performance.now();
    for (let n = 0; n < count; n += 1) (await run()).dispose();
    await device?.queue.onSubmittedWorkDone();
    return (performance.now() - since) / count;
  };
  const once = await series(1);
  const count = Math.max(1, Math.min(200, Math.round(SERIES_MS / once)));
  const millis = [];
  for (let round = 0; round < rounds; round += 1) millis.push(await series(count));
  await session.release();
  return millis;
}

function onDevice(ort, device, x, dims) {
  const buffer = device.createBuffer({
    size: x.byteLength,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC,
  });
  device.queue.writeBuffer(buffer, 0, x);
  return ort.Tensor.fromGpuBuffer(buffer, { dataType: "float32", dims });
}
