// A relay of js-libp2p with its default limits (2 minutes, 128 KiB a circuit): prints its address,
// and ends with its standard input. A number as its argument is how many peers it is to take.
import "./with_resolvers.mjs";

const [{ createLibp2p }, { circuitRelayServer }, { identify }, { noise }, { webSockets }, { yamux }] =
  await Promise.all([
    import("libp2p"), import("@libp2p/circuit-relay-v2"), import("@libp2p/identify"),
    import("@libp2p/noise"), import("@libp2p/websockets"), import("@libp2p/yamux"),
  ]);

const many = Number(process.argv[2] ?? 0);
const relay = await createLibp2p({
  addresses: { listen: ["/ip4/127.0.0.1/tcp/0/ws"] },
  transports: [webSockets()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  // By default five new connections a second of one host are taken, and 300 in all.
  ...(many ? { connectionManager: { maxConnections: many, inboundConnectionThreshold: 1e6, maxIncomingPendingConnections: 1000 } } : {}),
  services: {
    identify: identify(),
    relay: circuitRelayServer({ reservations: { maxReservations: many || 200 } }),
  },
});
console.log(relay.getMultiaddrs()[0].toString());
process.stdin.on("end", () => process.exit(0)).resume();
