// Who is where in the laboratory, which NATs there are, and which of them can be crossed.

const nat = (mapping, filtering) => ({ mapping, filtering, hairpin: true, preserve_ports: false });

/** The four kinds of old, in the words of RFC 4787. */
export const NATS = {
  full: nat("independent", "independent"),
  restricted: nat("independent", "address"),
  portRestricted: nat("independent", "address-and-port"),
  symmetric: nat("address-and-port", "address-and-port"),
};
export const KINDS = Object.keys(NATS);

/** What they are called in print. */
export const WORDS = {
  full: "full cone", restricted: "restricted", portRestricted: "port-restricted", symmetric: "symmetric",
};

/** Every pair once. */
export const PAIRS = KINDS.flatMap((one, at) => KINDS.slice(at).map((other) => [one, other]));

/** Whether ICE finds a direct way between two NATs: of a symmetric one nobody guesses the port. */
export function canMeet(one, other) {
  const strict = [one, other].filter((kind) => kind === "portRestricted" || kind === "symmetric");
  return strict.length < 2 || !strict.includes("symmetric");
}

/** Two relays on the open internet, a home with two hosts, and another one with one. */
export const SITES = [
  { name: "relays", hosts: { relay: "60.0.0.1", noTurn: "60.0.0.2" } },
  { name: "one", hosts: { a: "10.0.1.2", b: "10.0.1.3" }, nat: NATS.full, public: ["81.0.0.1", "81.0.0.2"] },
  { name: "other", hosts: { c: "10.0.2.2" }, nat: NATS.full, public: ["82.0.0.1", "82.0.0.2"] },
];
