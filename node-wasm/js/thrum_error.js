/**
 * Why a node cannot do what was asked: `code` is stable, the message is for people. Where a signal
 * was aborted the name is "AbortError", as everywhere in browsers.
 */
export class ThrumError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {unknown} [cause]
   */
  constructor(code, message, cause) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = code === "aborted" ? "AbortError" : "ThrumError";
    this.code = code;
  }

  /** The same error, whatever was thrown. @param {unknown} thrown */
  static from(thrown) {
    if (thrown instanceof ThrumError) return thrown;
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    const code = typeof error.code === "string" ? error.code : "failed";
    return new ThrumError(code, error.message, thrown);
  }
}

/** Throws if the signal says so. @param {AbortSignal | null | undefined} signal */
export function throwIfAborted(signal) {
  if (signal?.aborted) throw abortedBy(signal);
}

/** @param {AbortSignal} signal */
export function abortedBy(signal) {
  return new ThrumError("aborted", "the request was aborted", signal.reason);
}

/**
 * The promise, or an error as soon as the signal aborts.
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal | null | undefined} signal
 * @returns {Promise<T>}
 */
export function abortable(promise, signal) {
  if (!signal) return promise;
  throwIfAborted(signal);
  return new Promise((resolve, reject) => {
    const abort = () => reject(abortedBy(signal));
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
