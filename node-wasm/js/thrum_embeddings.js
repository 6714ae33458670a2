/** Texts as vectors, in OpenAI's shape. */
import { stoppable } from "./thrum_models.js";
import { check, given, invalid, text, unsupported } from "./thrum_value.js";

/** Texts of one request, as with OpenAI. */
const MAX_TEXTS = 2048;

const PARAMETERS = new Set(["encoding_format", "input", "model", "signal", "user"]);

/**
 * `node.embeddings`.
 * @param {{ handle: any, call: <T>(action: () => Promise<T>) => Promise<T>, loaded: () => any }} node
 */
export function embeddings({ handle, call, loaded }) {
  return {
    create: (params, options) => call(async () => {
      check(params, PARAMETERS, "");
      const texts = typeof params.input === "string" ? [params.input] : params.input;
      if (!Array.isArray(texts) || texts.length === 0 || texts.length > MAX_TEXTS
        || texts.some((one) => typeof one !== "string" || one === "")) {
        throw invalid(`input must be a text, or a list of 1 to ${MAX_TEXTS} texts, none of them empty`);
      }
      const format = params.encoding_format ?? "float";
      if (format !== "float" && format !== "base64") throw unsupported(`encoding_format ${format}`);
      text(params.user ?? "", "user");
      if (given(params.model)) {
        const model = loaded();
        if (model && ![model.id, model.name].includes(text(params.model, "model"))) {
          throw invalid(`model ${params.model} is not the loaded one, which is ${model.name}`);
        }
      }
      const signal = options?.signal ?? params.signal;
      const done = await stoppable((stop) => handle.embed(texts, stop), signal);
      return {
        object: "list",
        model: done.model,
        data: done.vectors.map((vector, index) => ({
          object: "embedding", index, embedding: format === "float" ? vector : base64(vector),
        })),
        usage: { prompt_tokens: done.promptTokens, total_tokens: done.promptTokens },
      };
    }),
  };
}

/** 32-bit floats, little endian, as OpenAI packs them. */
function base64(vector) {
  const view = new DataView(new ArrayBuffer(4 * vector.length));
  vector.forEach((value, index) => view.setFloat32(4 * index, value, true));
  return btoa(String.fromCharCode(...new Uint8Array(view.buffer)));
}
