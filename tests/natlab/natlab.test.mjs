// A few cells of the matrix, for every run of the tests; `npm run natlab` tries all of them.
import { after, before, test } from "node:test";
import { tryNats } from "./cells.mjs";
import { startLab, whyNot } from "./lab.mjs";
import { SITES } from "./places.mjs";
import { WEATHER, tryWeather } from "./weather.mjs";

const impossible = whyNot();
if (impossible) console.log(`LEFT OUT: no browser was put behind a NAT, since ${impossible}`);
const skip = impossible ?? false;

const made = {};
before(async () => {
  if (impossible) return;
  made.lab = await startLab(SITES);
  made.relay = await made.lab.relay("relay", ["--turn", "true"]);
  made.browsers = await Promise.all(["a", "c"].map((name) => made.lab.browser(name, [made.relay.origin])));
});
after(() => made.lab?.close());

const nats = (pair) => tryNats(made.lab, made.browsers, made.relay.origin, pair, true);

test("two port-restricted NATs are crossed, past the relay", { skip }, () => nats(["portRestricted", "portRestricted"]));

test("two symmetric NATs are crossed by the relay's TURN", { skip }, () => nats(["symmetric", "symmetric"]));

test("a link outlives three seconds without a network", { skip }, () =>
  tryWeather(made.lab, made.browsers, made.relay.origin, WEATHER["3 s without a link"]));
