/** How tokens are chosen, as signed messages say it: whole numbers from 0 up, in thousandths. */
import { check, flag, given, integer, invalid, number, text, unsupported } from "./thrum_value.js";

const FORMAT = new Set(["json_schema", "type"]);
const SCHEMA = new Set(["description", "name", "schema", "strict"]);

/** What a request says of the choice of tokens; `logprobs` is how many alternatives are wanted. */
export function sampling(params, thrum, logprobs) {
  const seed = params.seed ?? thrum.seed;
  const format = answerFormat(params.response_format);
  return {
    temperature_milli: milli(params.temperature ?? 1, "temperature", 0, 2),
    top_k: integer(params.top_k ?? 0, "top_k", 0, 1_000_000),
    top_p_milli: Math.max(1, milli(params.top_p ?? 1, "top_p", 0, 1)),
    min_p_milli: milli(params.min_p ?? 0, "min_p", 0, 1),
    repetition_penalty_milli:
      Math.max(1, milli(params.repetition_penalty ?? 1, "repetition_penalty", 0, 10)),
    frequency_penalty: shift(params.frequency_penalty ?? 0, "frequency_penalty", 2),
    presence_penalty: shift(params.presence_penalty ?? 0, "presence_penalty", 2),
    logit_bias: biases(params.logit_bias),
    seed: given(seed) ? integer(seed, "seed", 0, Number.MAX_SAFE_INTEGER) : randomSeed(),
    ignore_eos: flag(thrum.ignoreEos, "thrum.ignoreEos"),
    ...(logprobs === null ? {} : { logprobs }),
    ...(format === null ? {} : { format }),
  };
}

const milli = (value, name, least, most) => Math.round(1000 * number(value, name, least, most));

/** An amount that may go either way. */
function shift(value, name, most) {
  const size = milli(value, name, -most, most);
  return size < 0 ? { less: -size } : { more: size };
}

/** OpenAI's map from token id to bias. */
function biases(map) {
  if (!given(map)) return [];
  if (typeof map !== "object" || Array.isArray(map)) throw invalid("logit_bias must be an object");
  const entries = Object.entries(map);
  if (entries.length > 300) throw invalid("logit_bias may have 300 tokens at most");
  return entries.map(([token, bias]) => ({
    id: integer(/^\d+$/.test(token) ? Number(token) : NaN, "each key of logit_bias", 0, 0xffffffff),
    bias: shift(bias, `logit_bias[${token}]`, 100),
  }));
}

/** None is any text. */
function answerFormat(format) {
  if (!given(format)) return null;
  check(format, FORMAT, "response_format.");
  switch (format.type) {
    case "text": return null;
    case "json_object": return "json_object";
    case "json_schema": {
      check(format.json_schema ?? null, SCHEMA, "response_format.json_schema.");
      text(format.json_schema.name, "response_format.json_schema.name");
      const { schema } = format.json_schema;
      if (schema === null || typeof schema !== "object") {
        throw invalid("response_format.json_schema.schema must be an object");
      }
      return { json_schema: JSON.stringify(schema) };
    }
    default: throw unsupported(`response_format.type ${JSON.stringify(format.type)}`);
  }
}

/** Drawn here, so that a provider that takes over goes on with the same draws. */
function randomSeed() {
  const [low, high] = crypto.getRandomValues(new Uint32Array(2));
  return (high & 0x1fffff) * 2 ** 32 + low;
}
