/** Log probabilities of tokens in OpenAI's two shapes. */

/** As Base64 without padding, as signed messages hold it. */
const bytesOf = (piece) => Uint8Array.from(atob(piece), (character) => character.charCodeAt(0));

const textOf = (bytes) => new TextDecoder().decode(bytes);

/** Millionths of a nat below certainty. */
const logprobOf = (surprisalMicro) => surprisalMicro === 0 ? 0 : -surprisalMicro / 1e6;

/** `choices[].logprobs` of chat completions. */
export class ChatLogprobs {
  #all = [];
  #told = 0;

  add(tokens = []) {
    for (const token of tokens) {
      const entry = ({ piece, surprisal_micro }) => {
        const bytes = bytesOf(piece);
        return { token: textOf(bytes), logprob: logprobOf(surprisal_micro), bytes: [...bytes] };
      };
      this.#all.push({
        ...entry({ piece: token.piece, surprisal_micro: token.logprob.surprisal_micro }),
        top_logprobs: (token.logprob.top ?? []).map(entry),
      });
    }
  }

  /** What came since the last time; null where nothing did. */
  fresh() {
    const content = this.#all.slice(this.#told);
    this.#told = this.#all.length;
    return content.length > 0 ? { content, refusal: null } : null;
  }

  all() {
    return { content: this.#all, refusal: null };
  }
}

/** `choices[].logprobs` of plain completions. */
export class TextLogprobs {
  #all = [];
  #told = 0;
  #offset = 0;
  #wantsTop;

  constructor(top) {
    this.#wantsTop = top > 0;
  }

  add(tokens = []) {
    for (const { piece, logprob } of tokens) {
      const token = textOf(bytesOf(piece));
      const top = (logprob.top ?? []).map((other) =>
        [textOf(bytesOf(other.piece)), logprobOf(other.surprisal_micro)]);
      this.#all.push({
        token, logprob: logprobOf(logprob.surprisal_micro), offset: this.#offset,
        top: Object.fromEntries(top),
      });
      this.#offset += token.length;
    }
  }

  fresh() {
    const part = this.#all.slice(this.#told);
    this.#told = this.#all.length;
    return part.length > 0 ? this.#shape(part) : null;
  }

  all() {
    return this.#shape(this.#all);
  }

  #shape(part) {
    return {
      tokens: part.map(({ token }) => token),
      token_logprobs: part.map(({ logprob }) => logprob),
      top_logprobs: this.#wantsTop ? part.map(({ top }) => top) : null,
      text_offset: part.map(({ offset }) => offset),
    };
  }
}
