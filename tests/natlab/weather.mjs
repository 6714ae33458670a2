// What becomes of a direct link when the network under it turns bad.
import assert from "node:assert/strict";
import { until } from "../browser/harness.mjs";
import { isDirect, openPair, seconds } from "./cells.mjs";
import { NATS } from "./places.mjs";

/** ms; a browser gives a silent link up after half a minute, and a relay is looked for again then. */
const BACK = 180_000;

const CALM = {};

/** Rows on a full cone before the asker and a port-restricted one before the provider. */
export const WEATHER = {
  "loss 2 %": { weather: { loss_ppm: 20_000 } },
  "delay 100 ms": { weather: { delay_millis: 100 } },
  "loss 2 %, delay 100 ms": { weather: { loss_ppm: 20_000, delay_millis: 100 } },
  "3 s without a link": { down: 3_000, survives: true },
  "20 s without a link": { down: 20_000 },
  "another address": { readdress: true },
};

/** Tries a row: a link that is made in this weather, or that meets with it. */
export async function tryWeather(lab, browsers, origin, { weather = CALM, down, readdress, survives }) {
  await lab.tell({ do: "nat", site: "one", nat: NATS.full });
  await lab.tell({ do: "nat", site: "other", nat: NATS.portRestricted });
  await lab.tell({ do: "weather", site: "one", weather });
  const since = Date.now();
  const pair = await openPair(browsers, origin);
  try {
    const opened = seconds(since);
    await pair.until("both reach each other", isDirect);
    const reached = seconds(since);
    assert.equal(await pair.ask(), "direct");
    if (down === undefined && !readdress) return { way: "direct", opened, reached };
    const before = await pair.asker.up();
    assert.equal(before.length, 1, "one connection, and no other");
    const begun = Date.now();
    if (down !== undefined) await lab.tell({ do: "flap", site: "one", millis: down });
    if (readdress) await lab.tell({ do: "readdress", site: "one" });
    if (survives) {
      // Asked while the link is away, answered when it is back.
      assert.equal(await pair.ask(1), "direct");
      const answered = seconds(begun);
      assert.deepEqual(await pair.asker.up(), before, "the same connection goes on");
      return { way: "direct, the same link", opened, reached, back: answered };
    }
    await until("another connection has taken the place of the one that broke", async () =>
      (await pair.asker.up()).some((at) => !before.includes(at)), { millis: BACK });
    await until("an answer comes directly again", async () => {
      const seen = await pair.views();
      return seen.every((one) => one && isDirect(one)) && (await pair.ask(1)) === "direct";
    }, { millis: BACK });
    return { way: "direct, another link", opened, reached, back: seconds(begun) };
  } finally {
    await lab.tell({ do: "weather", site: "one", weather: CALM });
    await pair.close();
  }
}
