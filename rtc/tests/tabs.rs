//! Peers and a relay in one page, with the browser's real connections between the peers.

#![cfg(target_arch = "wasm32")]
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails where it stops, and waits for what it names"
)]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::future::{Either, join, join_all, select};
use futures::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, StreamExt as _};
use futures_timer::Delay;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::MemoryTransport;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, NetworkBehaviour, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Transport as _, noise, relay, yamux};
use libp2p_stream::{Control, IncomingStreams};
use thrum_rtc::address::{bare, is_webrtc};
use thrum_rtc::behaviour::{Behaviour, Event};
use thrum_rtc::browser::{self, CandidateKind, Config};
use wasm_bindgen::JsValue;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

const ECHO: StreamProtocol = StreamProtocol::new("/test/echo/1");

#[derive(NetworkBehaviour)]
struct Tab {
    relay: relay::client::Behaviour,
    rtc: Behaviour,
    streams: libp2p_stream::Behaviour,
}

/// What a test waits for.
#[derive(Debug, PartialEq)]
enum Seen {
    Reserved,
    Answering,
    Direct(ConnectionId),
    Relayed,
    Upgraded,
    DirectClosed,
    DialFailed(String),
}

type Command = Box<dyn FnOnce(&mut Swarm<Tab>)>;

struct Node {
    peer: PeerId,
    control: Control,
    links: browser::Control,
    incoming: Option<IncomingStreams>,
    commands: mpsc::UnboundedSender<Command>,
    events: mpsc::UnboundedReceiver<Seen>,
    direct: BTreeSet<ConnectionId>,
}

fn config() -> libp2p::swarm::Config {
    libp2p::swarm::Config::with_wasm_executor()
        .with_idle_connection_timeout(Duration::from_secs(3_600))
}

/// A relay at an address in memory.
fn relay(port: u64) -> Multiaddr {
    let keypair = Keypair::generate_ed25519();
    let peer = PeerId::from(keypair.public());
    let transport = MemoryTransport::default()
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(&keypair).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let behaviour = relay::Behaviour::new(peer, relay::Config::default());
    let mut swarm = Swarm::new(transport, behaviour, peer, config());
    let address = Multiaddr::empty().with(Protocol::Memory(port));
    swarm.listen_on(address.clone()).unwrap();
    swarm.add_external_address(address.clone());
    wasm_bindgen_futures::spawn_local(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    address.with(Protocol::P2p(peer))
}

impl Node {
    /// A node with a place at the relay.
    async fn new(keypair: &Keypair, relay_address: &Multiaddr) -> Self {
        let peer = PeerId::from(keypair.public());
        let (circuits, relay) = relay::client::new(peer);
        let (webrtc, rtc, links) = browser::new(peer, Config::default());
        let rest = circuits
            .or_transport(MemoryTransport::default())
            .upgrade(Version::V1Lazy)
            .authenticate(noise::Config::new(keypair).unwrap())
            .multiplex(yamux::Config::default())
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
        let transport = webrtc
            .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
            .or_transport(rest)
            .map(|either, _| either.into_inner())
            .boxed();
        let streams = libp2p_stream::Behaviour::new();
        let mut control = streams.new_control();
        let incoming = control.accept(ECHO).unwrap();
        let behaviour = Tab {
            relay,
            rtc,
            streams,
        };
        let mut swarm = Swarm::new(transport, behaviour, peer, config());
        let webrtc = Multiaddr::empty().with(Protocol::WebRTC);
        swarm.listen_on(webrtc).unwrap();
        let circuit = relay_address.clone().with(Protocol::P2pCircuit);
        swarm.listen_on(circuit).unwrap();
        let (commands, queue) = mpsc::unbounded();
        let (seen, events) = mpsc::unbounded();
        wasm_bindgen_futures::spawn_local(drive(swarm, queue, seen));
        let mut node = Self {
            peer,
            control,
            links,
            incoming: Some(incoming),
            commands,
            events,
            direct: BTreeSet::new(),
        };
        node.until(|seen| *seen == Seen::Reserved).await;
        node
    }

    async fn until(&mut self, mut is_it: impl FnMut(&Seen) -> bool) -> Seen {
        let mut others = Vec::new();
        loop {
            let timer = Delay::new(Duration::from_secs(20));
            let seen = match select(self.events.next(), timer).await {
                Either::Left((seen, _)) => seen.expect("the swarm goes on"),
                Either::Right(_) => panic!("what was waited for did not come, but {others:?}"),
            };
            if let Seen::Direct(id) = &seen {
                self.direct.insert(*id);
            }
            if is_it(&seen) {
                return seen;
            }
            others.push(seen);
        }
    }

    fn tell(&self, command: impl FnOnce(&mut Swarm<Tab>) + 'static) {
        self.commands.unbounded_send(Box::new(command)).unwrap();
    }

    async fn ask<T: 'static>(&self, question: impl FnOnce(&mut Swarm<Tab>) -> T + 'static) -> T {
        let (reply, answer) = oneshot::channel();
        self.tell(move |swarm| {
            reply.send(question(swarm)).ok();
        });
        answer.await.unwrap()
    }

    fn dial(&self, peer: PeerId, address: Multiaddr) {
        self.tell(move |swarm| {
            let options = DialOpts::peer_id(peer)
                .condition(PeerCondition::Always)
                .addresses(vec![address]);
            swarm.dial(options.build()).unwrap();
        });
    }

    async fn open(&mut self, peer: PeerId) -> libp2p::swarm::Stream {
        let opened = self.control.open_stream(peer, ECHO);
        within(20, "a stream", opened).await.unwrap()
    }

    /// Sends back all that comes, stream by stream.
    fn echo(&mut self) {
        let mut incoming = self.incoming.take().unwrap();
        wasm_bindgen_futures::spawn_local(async move {
            while let Some((_, stream)) = incoming.next().await {
                wasm_bindgen_futures::spawn_local(async move {
                    let (mut reader, mut writer) = stream.split();
                    // A test that gives a stream up sees to its own end.
                    if futures::io::copy(&mut reader, &mut writer).await.is_ok() {
                        writer.close().await.ok();
                    }
                });
            }
        });
    }
}

async fn drive(
    mut swarm: Swarm<Tab>,
    mut queue: mpsc::UnboundedReceiver<Command>,
    seen: mpsc::UnboundedSender<Seen>,
) {
    loop {
        let event = futures::select! {
            command = queue.next() => match command {
                Some(command) => {
                    command(&mut swarm);
                    continue;
                }
                None => return,
            },
            event = swarm.select_next_some() => event,
        };
        let found = match event {
            SwarmEvent::Behaviour(TabEvent::Relay(
                relay::client::Event::ReservationReqAccepted { .. },
            )) => Seen::Reserved,
            SwarmEvent::Behaviour(TabEvent::Rtc(Event::Upgraded { .. })) => Seen::Upgraded,
            SwarmEvent::ConnectionEstablished {
                endpoint,
                connection_id,
                ..
            } if is_webrtc(endpoint.get_remote_address()) => Seen::Direct(connection_id),
            SwarmEvent::ConnectionEstablished { endpoint, .. } if endpoint.is_relayed() => {
                Seen::Relayed
            }
            SwarmEvent::ConnectionClosed { endpoint, .. }
                if is_webrtc(endpoint.get_remote_address()) =>
            {
                Seen::DirectClosed
            }
            SwarmEvent::IncomingConnection { send_back_addr, .. } if is_webrtc(&send_back_addr) => {
                Seen::Answering
            }
            SwarmEvent::OutgoingConnectionError { error, .. } => {
                Seen::DialFailed(error.to_string())
            }
            _ => continue,
        };
        seen.unbounded_send(found).ok();
    }
}

/// s; nothing is waited for for ever.
async fn within<T>(seconds: u64, what: &str, future: impl Future<Output = T>) -> T {
    let timer = Delay::new(Duration::from_secs(seconds));
    match select(Box::pin(future), timer).await {
        Either::Left((found, _)) => found,
        Either::Right(_) => panic!("{what} did not come in {seconds} s"),
    }
}

/// Two nodes, the smaller peer id first, that are not connected; and their relay.
async fn two(port: u64) -> (Node, Node, Multiaddr) {
    let relay = relay(port);
    let mut keys = [(); 2].map(|()| Keypair::generate_ed25519());
    keys.sort_by_key(|key| PeerId::from(key.public()));
    let a = Node::new(&keys[0], &relay).await;
    let b = Node::new(&keys[1], &relay).await;
    (a, b, relay)
}

fn webrtc_address(relay: &Multiaddr, peer: PeerId) -> Multiaddr {
    relay
        .clone()
        .with(Protocol::P2pCircuit)
        .with(Protocol::WebRTC)
        .with(Protocol::P2p(peer))
}

/// Two nodes that are connected directly, and only so.
async fn connected(port: u64) -> (Node, Node) {
    let (mut a, mut b, relay) = two(port).await;
    a.dial(b.peer, webrtc_address(&relay, b.peer));
    let up = |seen: &Seen| *seen == Seen::Upgraded;
    join(a.until(up), b.until(up)).await;
    (a, b)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

/// Writes all, ends, and reads all that comes back.
async fn echoed(stream: libp2p::swarm::Stream, sent: &[u8]) -> Vec<u8> {
    let (reader, mut writer) = stream.split();
    let write = async {
        writer.write_all(sent).await.unwrap();
        writer.close().await.unwrap();
    };
    join(write, read_all(reader)).await.1
}

async fn read_all(mut reader: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut found = Vec::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        match reader.read(&mut piece).await.unwrap() {
            0 => return found,
            n => found.extend_from_slice(&piece[..n]),
        }
    }
}

#[wasm_bindgen_test]
async fn a_dial_becomes_a_direct_connection_and_the_relayed_one_goes() {
    let (mut a, mut b) = connected(1).await;
    assert_eq!((a.direct.len(), b.direct.len()), (1, 1));
    for (node, other) in [(&a, b.peer), (&b, a.peer)] {
        let relayed_or_direct = node
            .ask(move |swarm| swarm.network_info().connection_counters().num_established())
            .await;
        assert!(relayed_or_direct >= 2, "the relay and {other}");
    }
    b.echo();
    for len in [0, 1, 100, 16_365, 16_366, 1 << 20, 16 << 20] {
        let stream = a.open(b.peer).await;
        let sent = bytes(len);
        let found = within(60, "the echo", echoed(stream, &sent)).await;
        assert!(found == sent, "{len} bytes");
    }
    let (here, there) = join(a.links.stats(b.peer), b.links.stats(a.peer)).await;
    let (here, there) = (here.unwrap(), there.unwrap());
    assert!(here.local != CandidateKind::Relay && there.local != CandidateKind::Relay);
    // Browsers look at their counters now and then only.
    let carried = 8 << 20;
    assert!(
        here.bytes_out > carried && here.bytes_in > carried,
        "{here:?}"
    );
    assert!(
        there.bytes_out > carried && there.bytes_in > carried,
        "{there:?}"
    );
    assert_eq!(a.links.stats(a.peer).await, None);
}

#[wasm_bindgen_test]
async fn both_can_open_streams_and_a_dial_over_a_standing_circuit_needs_no_relay_in_its_address() {
    let (mut a, mut b, relay) = two(2).await;
    let circuit = relay.with(Protocol::P2pCircuit).with(Protocol::P2p(b.peer));
    a.dial(b.peer, circuit);
    a.until(|seen| *seen == Seen::Relayed).await;
    a.dial(b.peer, bare(b.peer));
    let up = |seen: &Seen| *seen == Seen::Upgraded;
    join(a.until(up), b.until(up)).await;
    a.echo();
    b.echo();
    let (to_b, to_a) = (a.open(b.peer).await, b.open(a.peer).await);
    let sent = bytes(300_000);
    let both = join(echoed(to_b, &sent), echoed(to_a, &sent));
    let (one, other) = within(60, "two echoes", both).await;
    assert!(one == sent && other == sent);
}

#[wasm_bindgen_test]
async fn streams_one_after_another_use_their_numbers_again() {
    let (mut a, mut b) = connected(3).await;
    b.echo();
    // Browsers have 512 numbers for each side.
    for n in 0..1_200 {
        let stream = a.open(b.peer).await;
        let sent = bytes(1 + n % 50);
        let found = within(20, "the echo", echoed(stream, &sent)).await;
        assert!(found == sent, "stream {n}");
    }
}

/// Has the browser send nothing on the next channels that a peer opens, as Chromium does when a
/// channel opens while the page is told of it.
fn mute_the_next(count: u32) {
    let script = "
        if (!window.madeHere) {
            window.madeHere = new WeakSet();
            const { createDataChannel } = RTCPeerConnection.prototype;
            RTCPeerConnection.prototype.createDataChannel = function (...options) {
                const channel = createDataChannel.apply(this, options);
                window.madeHere.add(channel);
                return channel;
            };
            const state = Object.getOwnPropertyDescriptor(RTCDataChannel.prototype, 'readyState');
            const seen = new WeakSet();
            const muted = new WeakSet();
            Object.defineProperty(RTCDataChannel.prototype, 'readyState', {
                get() {
                    if (!window.madeHere.has(this) && !seen.has(this) && window.mute > 0) {
                        window.mute -= 1;
                        muted.add(this);
                    }
                    seen.add(this);
                    return muted.has(this) ? 'connecting' : state.get.call(this);
                },
            });
            const { send } = RTCDataChannel.prototype;
            RTCDataChannel.prototype.send = function (message) {
                if (muted.has(this)) throw new DOMException('not open', 'InvalidStateError');
                return send.call(this, message);
            };
        }
        window.mute = count;";
    let function = js_sys::Function::new_with_args("count", script);
    function.call1(&JsValue::NULL, &count.into()).unwrap();
}

#[wasm_bindgen_test]
async fn channels_on_which_the_browser_sends_nothing_are_not_noticed() {
    let (mut a, mut b) = connected(9).await;
    b.echo();
    let sent = bytes(1_000);
    mute_the_next(0);
    for count in [0, 1, 2, 0] {
        mute_the_next(count);
        let stream = a.open(b.peer).await;
        let found = within(20, "the echo", echoed(stream, &sent)).await;
        assert!(found == sent, "after {count} channels");
    }
    mute_the_next(u32::from(thrum_rtc::limits::MAX_STARTS));
    let opened = a.control.open_stream(b.peer, ECHO);
    assert!(
        within(20, "the end", opened).await.is_err(),
        "it goes on for ever"
    );
    a.open(b.peer).await;
}

#[wasm_bindgen_test]
async fn more_streams_at_once_than_there_are_numbers_wait_and_come() {
    let (mut a, mut b) = connected(4).await;
    b.echo();
    let opens = (0..400).map(|n| {
        let mut control = a.control.clone();
        let peer = b.peer;
        async move {
            let stream = control.open_stream(peer, ECHO).await;
            match stream {
                Ok(stream) => echoed(stream, &bytes(100 + n)).await.len() == 100 + n,
                Err(_) => false,
            }
        }
    });
    let done = within(60, "all echoes", join_all(opens)).await;
    let whole = done.iter().filter(|it| **it).count();
    assert_eq!(whole, 400);
    a.open(b.peer).await;
}

#[wasm_bindgen_test]
async fn a_connection_that_closes_leaves_the_page_its_turns() {
    let (mut a, b) = connected(10).await;
    // Some are open, with bytes in them, and others are still to open, with a time for it.
    let (told, mut opened) = mpsc::unbounded();
    for _ in 0..100 {
        let (mut control, told) = (a.control.clone(), told.clone());
        wasm_bindgen_futures::spawn_local(async move {
            if let Ok(mut stream) = control.open_stream(b.peer, ECHO).await {
                stream.write_all(&bytes(100_000)).await.ok();
                told.unbounded_send(stream).ok();
            }
        });
    }
    let stream = opened.next().await.unwrap();
    let turns = Rc::new(Cell::new(0));
    let counted = Rc::clone(&turns);
    wasm_bindgen_futures::spawn_local(async move {
        while Rc::strong_count(&counted) > 1 {
            Delay::new(Duration::from_millis(1)).await;
            counted.set(counted.get() + 1);
        }
    });
    let before = a.ask(|_| ()).map(|()| turns.get()).await;
    a.tell(move |swarm| swarm.disconnect_peer_id(b.peer).unwrap());
    a.until(|seen| *seen == Seen::DirectClosed).await;
    assert!(
        turns.get() > before,
        "what was written is waited for without a turn in between"
    );
    drop(stream);
}

#[wasm_bindgen_test]
async fn a_reader_that_pauses_loses_nothing_and_holds_the_writer_back() {
    let (mut a, mut b) = connected(5).await;
    let mut incoming = b.incoming.take().unwrap();
    let stream = a.open(b.peer).await;
    let sent = bytes(24 << 20);
    let copy = sent.clone();
    let (told, mut written) = mpsc::unbounded();
    wasm_bindgen_futures::spawn_local(async move {
        let (mut reader, mut writer) = stream.split();
        let mut first = [0];
        reader.read_exact(&mut first).await.unwrap();
        for piece in copy.chunks(1 << 20) {
            writer.write_all(piece).await.unwrap();
            told.unbounded_send(piece.len()).ok();
        }
        writer.close().await.unwrap();
    });
    let (_, mut stream) = within(20, "the stream", incoming.next()).await.unwrap();
    stream.write_all(b"!").await.unwrap();
    stream.flush().await.unwrap();
    // The writer comes to rest while nobody reads.
    let mut ahead = 0;
    loop {
        let rest = Delay::new(Duration::from_millis(1_500));
        match select(written.next(), rest).await {
            Either::Left((Some(n), _)) => ahead += n,
            Either::Left((None, _)) => panic!("all was written though nobody read"),
            Either::Right(_) => break,
        }
    }
    assert!(ahead < 8 << 20, "{ahead} bytes are ahead of the reader");
    let found = within(60, "the rest", read_all(&mut stream)).await;
    assert!(found == sent);
}

#[wasm_bindgen_test]
async fn dials_that_cross_lead_to_one_connection() {
    let (mut a, mut b, relay) = two(6).await;
    a.dial(b.peer, webrtc_address(&relay, b.peer));
    b.dial(a.peer, webrtc_address(&relay, a.peer));
    let up = |seen: &Seen| *seen == Seen::Upgraded;
    join(a.until(up), b.until(up)).await;
    b.echo();
    let stream = a.open(b.peer).await;
    let sent = bytes(1_000);
    assert!(within(20, "the echo", echoed(stream, &sent)).await == sent);
    // Nothing more comes.
    Delay::new(Duration::from_millis(500)).await;
    while let Some(Some(seen)) = a.events.next().now_or_never() {
        assert!(
            !matches!(seen, Seen::Direct(_) | Seen::DirectClosed),
            "{seen:?}"
        );
    }
}

#[wasm_bindgen_test]
async fn a_dial_while_the_peer_s_is_answered_gives_way_and_ends_after_it() {
    let (a, mut b, relay) = two(14).await;
    a.dial(b.peer, webrtc_address(&relay, b.peer));
    b.until(|seen| *seen == Seen::Answering).await;
    b.dial(a.peer, webrtc_address(&relay, a.peer));
    b.until(|seen| matches!(seen, Seen::Direct(_))).await;
    let failed = b.until(|seen| matches!(seen, Seen::DialFailed(_))).await;
    let Seen::DialFailed(words) = failed else {
        unreachable!("it was asked for");
    };
    assert!(
        words.contains("gave way to the dial of the peer"),
        "{words}"
    );
    drop(a);
}

#[wasm_bindgen_test]
async fn the_end_of_a_connection_is_noticed_on_the_other_side() {
    let (mut a, mut b) = connected(7).await;
    b.echo();
    let mut stream = a.open(b.peer).await;
    stream.write_all(b"hello").await.unwrap();
    stream.flush().await.unwrap();
    let mut heard = [0; 5];
    stream.read_exact(&mut heard).await.unwrap();
    let peer = b.peer;
    a.tell(move |swarm| {
        swarm.disconnect_peer_id(peer).unwrap();
    });
    let closed = |seen: &Seen| *seen == Seen::DirectClosed;
    join(a.until(closed), b.until(closed)).await;
    let end = stream.read(&mut heard).await;
    assert!(end.is_err(), "an end that nobody said is no end: {end:?}");
}

#[wasm_bindgen_test]
async fn a_peer_that_does_not_take_direct_connections_is_named_with_the_stage() {
    let (mut a, b, relay) = two(8).await;
    let nobody = PeerId::random();
    a.dial(nobody, webrtc_address(&relay, nobody));
    let failed = a
        .until(|seen| matches!(seen, Seen::DialFailed(it) if it.contains("webrtc")))
        .await;
    let Seen::DialFailed(words) = failed else {
        unreachable!("it was asked for");
    };
    assert!(
        words.contains("reaching the peer through a relay failed"),
        "{words}"
    );
    drop(b);
}
