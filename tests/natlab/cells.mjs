// One cell of the matrix: two real nodes on their pages, what they find between them, and an answer
// that one computes for the other. What they say is held against what the laboratory has carried.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { root, until } from "../browser/harness.mjs";
import { NATS, canMeet } from "./places.mjs";

/** Answers made by the native reference. */
const answers = JSON.parse(readFileSync(path.join(root, "tests/vectors/answers.json"), "utf8"));

/** ms; three rungs, of which each has half a minute, and what a busy machine adds. */
const REACHED = 120_000;

/** Bytes; more is more than the checks and refusals of ICE. */
const TALK = 3_000;

/** Keeps hold of a page's connections: which of them are up tells whether one has lived on. */
function keepConnections() {
  window.connections = [];
  window.RTCPeerConnection = class extends window.RTCPeerConnection {
    constructor(...options) {
      super(...options);
      window.connections.push(this);
    }
  };
}

async function openNode(browser, origin) {
  const page = await browser.open(`${origin}/healthz`, keepConnections);
  const peerId = await page.evaluate(async (relay) => {
    const { createNode } = await import(`${relay}/embed/thrum.js`);
    window.node = await createNode({ relays: [relay] });
    return window.node.peerId;
  }, origin);
  return {
    ...page, peerId,
    /** How it sees another one; null: not connected. */
    sees: (id) => page.evaluate((other) => window.node.peers().find((one) => one.peerId === other) ?? null, id),
    /** Which of its connections are up: an index for each. */
    up: () => page.evaluate(() =>
      window.connections.flatMap((it, at) => (it.connectionState === "connected" ? [at] : []))),
    /** Takes leave, so that nobody looks for it in the next cell. */
    close: async () => {
      await page.evaluate(() => window.node.close());
      await page.close();
    },
  };
}

/** Two nodes that know of each other; the second one takes work. */
export async function openPair(browsers, origin) {
  const pair = await Promise.all(browsers.map((browser) => openNode(browser, origin)));
  const [asker, provider] = pair;
  await provider.evaluate(() => window.node.donate());
  const views = async () => [await asker.sees(provider.peerId), await provider.sees(asker.peerId)];
  return {
    asker, provider, views,
    close: () => Promise.all(pair.map((page) => page.close())),
    /** Waits until both see a link of which this holds. */
    until: (what, holds) =>
      until(what, async () => {
        const seen = await views();
        if (seen.every((one) => one && holds(one))) return seen;
        throw new Error(JSON.stringify(seen.map((one) => one && [one.path, one.link, one.directError])));
      }, { millis: REACHED, every: 200 }),
    /** Has the provider compute a known answer; the path that it took. */
    ask: async (at = 0) => {
      await until("the asker sees a provider", () => asker.sees(provider.peerId).then((one) =>
        one?.capabilities?.donating && one.capabilities.models.length > 0), { millis: REACHED });
      const answer = await asker.evaluate((prompt) => window.node.completions.create({
        prompt, max_tokens: 64, temperature: 0, thrum: { route: "peer", ignoreEos: true },
      }), answers.greedy[at].prompt);
      assert.equal(answer.choices[0].text, answers.greedy[at].text);
      assert.equal(answer.thrum.provider, provider.peerId);
      return answer.thrum.path;
    },
  };
}

export const isDirect = ({ path: way, link }) => way === "direct" && link !== null && link.bytesIn > 0;
const isGivenUp = ({ path: way, directError }) => way === "relayed" && directError !== null;

/** Bytes that went between the homes past every relay, by the laboratory's own count. */
async function talked(lab) {
  const { bytes, hairpinned, switched } = await lab.tell({ do: "counts" });
  const sum = (counts) => Object.values(counts).reduce((all, one) => all + one, 0);
  return (bytes["one>other"] ?? 0) + (bytes["other>one"] ?? 0) + sum(hairpinned) + sum(switched);
}

/** Seconds since a time. */
export const seconds = (since) => Number(((Date.now() - since) / 1000).toFixed(1));

/** Tries a pair; `direct`: whether a way without a relay is to be found. */
export async function tryPair(lab, browsers, origin, { direct, turn }) {
  const before = await talked(lab);
  const since = Date.now();
  const pair = await openPair(browsers, origin);
  try {
    const opened = seconds(since);
    if (direct || turn) {
      const seen = await pair.until("both reach each other", isDirect);
      const reached = seconds(since);
      const through = seen.map(({ link }) => link.through);
      assert.equal(through.includes("turn"), !direct, `they say that they are reached by ${through}`);
      assert.equal(await pair.ask(), "direct");
      const bytes = await talked(lab) - before;
      assert.equal(bytes > TALK, direct, `${bytes} bytes went past the relays`);
      return { way: direct ? "direct" : "TURN", through, bytes, opened, reached };
    }
    const seen = await pair.until("both have given up a direct way, and say so", isGivenUp);
    const reached = seconds(since);
    for (const { directError } of seen) assert.match(directError, /no direct connection: .* failed: .*no TURN/);
    assert.equal(await pair.ask(), "relayed");
    const bytes = await talked(lab) - before;
    assert.equal(bytes <= TALK, true, `${bytes} bytes went past the relays`);
    return { way: "relay", why: seen.map(({ directError }) => directError), bytes, opened, reached };
  } finally {
    await pair.close();
  }
}

/** Two homes with these NATs. */
export async function tryNats(lab, browsers, origin, [one, other], turn) {
  await lab.tell({ do: "nat", site: "one", nat: NATS[one] });
  await lab.tell({ do: "nat", site: "other", nat: NATS[other] });
  return tryPair(lab, browsers, origin, { direct: canMeet(one, other), turn });
}

/** Two hosts of one home; `isolated`: its network keeps them apart, so that the NAT has to turn back. */
export async function tryNeighbours(lab, browsers, origin, kind, { isolated, turn }) {
  await lab.tell({ do: "nat", site: "one", nat: NATS[kind] });
  await lab.tell({ do: "isolate", site: "one", isolated });
  try {
    return await tryPair(lab, browsers, origin, { direct: !isolated || canMeet(kind, kind), turn });
  } finally {
    await lab.tell({ do: "isolate", site: "one", isolated: false });
  }
}
