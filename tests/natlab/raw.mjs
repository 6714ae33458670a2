// A bare RTCPeerConnection in each of two pages: what the browser's own ICE makes of the laboratory.
import { until } from "../browser/harness.mjs";

function prepare(configuration) {
  window.received = 0;
  window.pc = new RTCPeerConnection(configuration);
  window.gathered = () => new Promise((resolve) => {
    const look = () => pc.iceGatheringState === "complete" && resolve(pc.localDescription.toJSON());
    pc.addEventListener("icegatheringstatechange", look);
    look();
  });
  window.listen = (channel) => {
    window.channel = channel;
    channel.binaryType = "arraybuffer";
    channel.onmessage = ({ data }) => {
      received += data.byteLength;
      if (window.echoes) channel.send(data);
    };
  };
  pc.ondatachannel = ({ channel }) => {
    window.echoes = true;
    listen(channel);
  };
}

async function selected() {
  const stats = await pc.getStats();
  const transport = [...stats.values()].find(({ type }) => type === "transport");
  const pair = stats.get(transport?.selectedCandidatePairId);
  return [pair?.localCandidateId, pair?.remoteCandidateId].map((id) => stats.get(id)?.candidateType).join("-");
}

/** Connects two pages; `{ pair }` with the kinds of candidates in use, or `{ failed: true }`. */
export async function connectRaw(browsers, origin, iceServers) {
  const pages = await Promise.all(browsers.map((browser) => browser.open(`${origin}/healthz`)));
  const [one, other] = pages;
  try {
    for (const page of pages) await page.evaluate(prepare, { iceServers });
    const offer = await one.evaluate(async () => {
      listen(pc.createDataChannel("echo"));
      await pc.setLocalDescription();
      return gathered();
    });
    const answer = await other.evaluate(async (description) => {
      await pc.setRemoteDescription(description);
      await pc.setLocalDescription();
      return gathered();
    }, offer);
    await one.evaluate((description) => pc.setRemoteDescription(description), answer);
    const state = await until("ICE has an end", () => one.evaluate(() =>
      ["connected", "failed"].find((end) => end === pc.connectionState)));
    if (state === "failed") return { failed: true, offer: offer.sdp, answer: answer.sdp };
    await until("the channel is open", () => one.evaluate(() => channel.readyState === "open"));
    await one.evaluate(() => {
      for (let n = 0; n < 64; n += 1) channel.send(new Uint8Array(16_384));
    });
    await until("a megabyte is back", () => one.evaluate(() => received === 1 << 20));
    return { pair: await one.evaluate(selected) };
  } finally {
    await Promise.all(pages.map((page) => page.close()));
  }
}
