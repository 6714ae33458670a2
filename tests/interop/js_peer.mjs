// A peer of js-libp2p for a page, as a web developer would set it up, with the same methods as
// rtc/examples/interop. No handler takes limited connections: what works then works directly.
import { circuitRelayTransport } from "@libp2p/circuit-relay-v2";
import { gossipsub } from "@libp2p/gossipsub";
import { identify } from "@libp2p/identify";
import { noise } from "@libp2p/noise";
import { ping } from "@libp2p/ping";
import { webRTC } from "@libp2p/webrtc";
import { webSockets } from "@libp2p/websockets";
import { yamux } from "@libp2p/yamux";
import { multiaddr } from "@multiformats/multiaddr";
import { createLibp2p } from "libp2p";

const ECHO = "/interop/echo/1";
const PAUSED = "/interop/paused/1";
const SINK = "/interop/sink/1";
const TOPIC = "interop";
const PIECE = 64 * 1024;

/** Bytes that differ from each other and from those of other lengths. */
const bytes = (length) => Uint8Array.from({ length }, (_, n) => (n * 31 + length) % 251);

async function write(stream, sent) {
  for (let at = 0; at < sent.length; at += PIECE) {
    if (!stream.send(sent.subarray(at, at + PIECE))) await stream.onDrain();
  }
  await stream.close();
}

/** Gives every piece to `take`, also where the end came before anybody listened. */
const toTheEnd = (stream, take) =>
  new Promise((resolve, reject) => {
    stream.addEventListener("message", ({ data }) => take(data));
    stream.addEventListener("end", () => resolve());
    stream.addEventListener("close", ({ error }) => error && reject(error));
    if (stream.readableEnded) resolve();
  });

async function readAll(stream) {
  const pieces = [];
  await toTheEnd(stream, (piece) => pieces.push(piece.subarray()));
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}

/** Reads to the end and says how much it was. */
async function count(stream) {
  let length = 0;
  await toTheEnd(stream, (piece) => (length += piece.byteLength));
  const answer = new Uint8Array(4);
  new DataView(answer.buffer).setUint32(0, length, true);
  await write(stream, answer);
}

/** Pushes at a reader; how much it says that it has read then. */
async function pushed(stream, length) {
  const answered = readAll(stream);
  const piece = bytes(PIECE);
  for (let left = length; left > 0; left -= PIECE) {
    if (!stream.send(piece.subarray(0, left))) await stream.onDrain();
  }
  await stream.close();
  const answer = await answered;
  if (answer.length !== 4) throw new Error(`the reader answered ${answer.length} bytes, not 4`);
  return new DataView(answer.buffer).getUint32(0, true);
}

async function exchange(stream, sent) {
  const [found] = await Promise.all([readAll(stream), write(stream, sent)]);
  return found;
}

async function echoed(stream, length) {
  const sent = bytes(length);
  const found = await exchange(stream, sent);
  const same = found.findIndex((byte, n) => byte !== sent[n]);
  if (found.length !== length || same !== -1) {
    throw new Error(`${length} bytes went out, ${found.length} came back, the same up to ${same}`);
  }
}

export class Peer {
  #node;
  #relay;
  #lines = [];
  #paused = [];

  static start(relay) {
    const peer = new Peer();
    peer.#start(relay).catch((error) => peer.#lines.push(`failed ${error.stack}`));
    return peer;
  }

  async #start(relay) {
    this.#relay = relay;
    this.#node = await createLibp2p({
      addresses: { listen: [`${relay}/p2p-circuit`, "/webrtc"] },
      transports: [webSockets(), webRTC({ rtcConfiguration: { iceServers: [] } }), circuitRelayTransport()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      connectionGater: { denyDialMultiaddr: () => false },
      // A page that is busy for a while on a small machine is not gone.
      connectionMonitor: { enabled: false },
      services: { identify: identify(), ping: ping(), gossip: gossipsub() },
    });
    await this.#node.handle(ECHO, async (stream) => {
      await toTheEnd(stream, (piece) => stream.send(piece));
      await stream.close();
    });
    await this.#node.handle(PAUSED, async (stream) => {
      stream.pause();
      await new Promise((resolve) => this.#paused.push(resolve));
      const counted = count(stream);
      stream.resume();
      await counted;
    });
    await this.#node.handle(SINK, (stream) => count(stream));
    this.#node.addEventListener("connection:open", ({ detail }) => {
      if (detail.direction === "inbound" && detail.limits == null) {
        this.#lines.push(`accepted ${detail.remoteAddr}`);
      }
    });
    const { gossip } = this.#node.services;
    gossip.addEventListener("message", ({ detail }) => {
      if (detail.topic === TOPIC) this.#lines.push(`message ${new TextDecoder().decode(detail.data)}`);
    });
    gossip.addEventListener("subscription-change", ({ detail }) => {
      if (detail.subscriptions.some((it) => it.topic === TOPIC && it.subscribe)) {
        this.#lines.push(`subscribed ${detail.peerId}`);
      }
    });
    gossip.subscribe(TOPIC);
    const reserved = () => {
      if (!this.#node.getMultiaddrs().some((it) => `${it}`.includes("/webrtc"))) return;
      this.#node.removeEventListener("self:peer:update", reserved);
      this.#lines.push("reserved");
    };
    this.#node.addEventListener("self:peer:update", reserved);
    reserved();
  }

  get id() {
    return this.#node.peerId.toString();
  }

  address() {
    return `${this.#relay}/p2p-circuit/webrtc/p2p/${this.id}`;
  }

  log() {
    return this.#lines;
  }

  async dial(address) {
    const connection = await this.#node.dial(multiaddr(address));
    return connection.remoteAddr.toString();
  }

  async part(id) {
    const of = this.#node.getConnections().filter((it) => it.remotePeer.toString() === id);
    await Promise.all(of.map((it) => it.close()));
  }

  async echo(id, length) {
    await echoed(await this.#open(id, ECHO), length);
  }

  async streams(id, count) {
    for (let n = 0; n < count; n += 1) {
      await echoed(await this.#open(id, ECHO), 1 + n % 50).catch((error) => {
        throw new Error(`stream ${n}: ${error.message}`);
      });
    }
  }

  async push(id, length) {
    return pushed(await this.#open(id, PAUSED), length);
  }

  async send(id, length) {
    return pushed(await this.#open(id, SINK), length);
  }

  paused() {
    return this.#paused.length;
  }

  release() {
    for (const resume of this.#paused.splice(0)) resume();
  }

  async publish(text) {
    const { gossip } = this.#node.services;
    if (gossip.getSubscribers(TOPIC).length === 0) return false;
    const { recipients } = await gossip.publish(TOPIC, new TextEncoder().encode(text));
    return recipients.length > 0;
  }

  /** Ends it, as that of rtc/ is ended when its memory is given back. */
  free() {
    this.#node.stop();
  }

  /** A stream on the direct connection. */
  #open(id, protocol) {
    const direct = this.#node.getConnections()
      .find((it) => it.remotePeer.toString() === id && it.limits == null && it.status === "open");
    if (direct == null) throw new Error(`no direct connection to ${id}`);
    return direct.newStream(protocol);
  }
}
