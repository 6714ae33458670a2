/** Values of a request: each is checked by name, and refused by name. */
import { ThrumError } from "./thrum_error.js";

/** Refuses members that nobody honours. */
export function check(object, known, prefix) {
  if (object === null || typeof object !== "object") {
    throw invalid(`${prefix === "" ? "the parameters" : prefix.slice(0, -1)} must be an object`);
  }
  for (const [name, value] of Object.entries(object)) {
    if (given(value) && !known.has(name)) throw unsupported(prefix + name);
  }
}

export const given = (value) => value !== undefined && value !== null;

export const invalid = (message) => new ThrumError("invalid_request", message);

export const unsupported = (name) =>
  new ThrumError("unsupported_parameter", `parameter ${name} is not supported`);

export function text(value, name) {
  if (typeof value !== "string") throw invalid(`${name} must be text`);
  return value;
}

export function flag(value, name) {
  if (given(value) && typeof value !== "boolean") throw invalid(`${name} must be true or false`);
  return value ?? false;
}

export function number(value, name, least, most) {
  if (typeof value !== "number" || !(value >= least && value <= most)) {
    throw invalid(`${name} must be a number from ${least} to ${most}`);
  }
  return value;
}

export function integer(value, name, least, most) {
  if (!Number.isInteger(number(value, name, least, most))) throw invalid(`${name} must be an integer`);
  return value;
}
