//! A server by a virtual clock, whose sockets are lists, and a client that does what a browser does.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use md5::{Digest as _, Md5};

use crate::stun::write::Draft;
use crate::stun::{Class, Message, Method, TransactionId, attribute};
use crate::turn::secret::{Credentials, REALM, Secret};
use crate::turn::{Client, Input, Now, Output, Refusal, RelayId, Server, Terms};

/// The relay's address.
pub(super) const RELAY: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

/// The wall clock when the server begins.
pub(super) const NOON: u64 = 1_800_000_000;

pub(super) struct Rig {
    pub(super) server: Server,
    pub(super) secret: Secret,
    pub(super) elapsed: Duration,
    pub(super) next_port: u16,
    pub(super) open: BTreeMap<RelayId, u16>,
    pub(super) to_clients: Vec<(Client, Vec<u8>)>,
    pub(super) to_peers: Vec<(u16, SocketAddr, Vec<u8>)>,
}

impl Rig {
    pub(super) fn new(allow_private: bool) -> Self {
        let secret = Secret::new([3; 32]);
        let terms = Terms {
            relayed_ip: RELAY,
            allow_private,
        };
        Self {
            server: Server::new(Some(terms), secret.clone(), 1),
            secret,
            elapsed: Duration::ZERO,
            next_port: 50_000,
            open: BTreeMap::new(),
            to_clients: Vec::new(),
            to_peers: Vec::new(),
        }
    }

    pub(super) fn unix_secs(&self) -> u64 {
        NOON + self.elapsed.as_secs()
    }

    pub(super) fn handle(&mut self, input: Input<'_>) {
        let now = Now {
            elapsed: self.elapsed,
            unix_secs: self.unix_secs(),
        };
        self.server.handle(now, input);
        while let Some(output) = self.server.poll() {
            match output {
                Output::Close { relay } => {
                    self.open.remove(&relay).unwrap();
                }
                Output::Open { relay } => {
                    self.next_port += 1;
                    let port = Some(self.next_port);
                    self.open.insert(relay, self.next_port);
                    self.server.handle(now, Input::Opened { relay, port });
                }
                Output::ToClient { client, bytes } => self.to_clients.push((client, bytes)),
                Output::ToPeer { relay, peer, bytes } => {
                    self.to_peers.push((self.open[&relay], peer, bytes));
                }
            }
        }
    }

    /// Lets time pass, with the wakes that the server wants.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.elapsed + time;
        while let Some(wake) = self.server.next_wake().filter(|wake| *wake <= end) {
            assert!(wake > self.elapsed, "a wake is due later");
            self.elapsed = wake;
            self.handle(Input::Wake);
        }
        self.elapsed = end;
    }

    /// Sends a datagram and returns the first answer to it.
    pub(super) fn ask(&mut self, client: Client, bytes: &[u8]) -> Option<Vec<u8>> {
        self.to_clients.clear();
        self.handle(Input::FromClient { client, bytes });
        let mut answers = self.to_clients.drain(..);
        answers.find_map(|(to, bytes)| (to == client).then_some(bytes))
    }

    pub(super) fn hear_peer(&mut self, port: u16, peer: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        self.to_clients.clear();
        let found = self.open.iter().find(|(_, found)| **found == port);
        let Some((&relay, _)) = found else {
            panic!("port {port} is not open");
        };
        let peer = peer.parse().unwrap();
        self.handle(Input::FromPeer { relay, peer, bytes });
        self.to_clients.pop().map(|(_, bytes)| bytes)
    }

    pub(super) fn user(&self, address: &str, peer: &str) -> Tester {
        Tester {
            client: client(address),
            credentials: self.secret.issue(peer, self.unix_secs()),
            nonce: String::new(),
            n_asked: 0,
        }
    }

    pub(super) fn n_refused(&self, refusal: Refusal) -> u64 {
        let found = self.server.stats().n_refused.get(&refusal);
        found.copied().unwrap_or_default()
    }
}

pub(super) fn client(address: &str) -> Client {
    Client {
        socket: 0,
        address: address.parse().unwrap(),
    }
}

/// A client with credentials, that does what a browser does.
pub(super) struct Tester {
    pub(super) client: Client,
    pub(super) credentials: Credentials,
    pub(super) nonce: String,
    pub(super) n_asked: u64,
}

impl Tester {
    pub(super) fn draft(&mut self, method: Method) -> Draft {
        self.n_asked += 1;
        let mut transaction = [0; 12];
        transaction[..8].copy_from_slice(&self.n_asked.to_be_bytes());
        Draft::new(Class::Request, method, TransactionId(transaction))
    }

    pub(super) fn signed(&self, draft: Draft) -> Vec<u8> {
        let Credentials { username, password } = &self.credentials;
        let key = Md5::digest(format!("{username}:{REALM}:{password}"));
        draft
            .with(attribute::USERNAME, username.as_bytes())
            .with(attribute::REALM, REALM.as_bytes())
            .with(attribute::NONCE, self.nonce.as_bytes())
            .signed(&key)
    }

    /// Asks once, and again with the nonce that it was told. The code of an error, or 0.
    pub(super) fn ask(
        &mut self,
        rig: &mut Rig,
        method: Method,
        fill: impl Fn(Draft) -> Draft,
    ) -> u16 {
        for _ in 0..2 {
            let draft = fill(self.draft(method));
            let bytes = self.signed(draft);
            let Some(answer) = rig.ask(self.client, &bytes) else {
                return u16::MAX;
            };
            let message = Message::parse(&answer).unwrap();
            match error_of(&message) {
                438 => self.nonce = message.text(attribute::NONCE).unwrap().to_owned(),
                code => return code,
            }
        }
        438
    }

    /// The relayed port.
    pub(super) fn allocate(&mut self, rig: &mut Rig) -> Result<u16, u16> {
        match self.ask(rig, Method::Allocate, with_udp) {
            0 => Ok(*rig.open.values().next_back().unwrap()),
            code => Err(code),
        }
    }

    pub(super) fn permit(&mut self, rig: &mut Rig, peer: &str) -> u16 {
        let peer: IpAddr = peer.parse().unwrap();
        self.ask(rig, Method::CreatePermission, |draft| {
            draft.with_address(attribute::XOR_PEER_ADDRESS, (peer, 0).into())
        })
    }

    pub(super) fn bind(&mut self, rig: &mut Rig, channel: u16, peer: &str) -> u16 {
        let peer = peer.parse().unwrap();
        let number = [channel.to_be_bytes(), [0; 2]].concat();
        self.ask(rig, Method::ChannelBind, |draft| {
            draft
                .with(attribute::CHANNEL_NUMBER, &number)
                .with_address(attribute::XOR_PEER_ADDRESS, peer)
        })
    }

    pub(super) fn refresh(&mut self, rig: &mut Rig, secs: u32) -> u16 {
        self.ask(rig, Method::Refresh, |draft| {
            draft.with(attribute::LIFETIME, &secs.to_be_bytes())
        })
    }

    pub(super) fn send(&self, rig: &mut Rig, peer: &str, data: &[u8]) {
        let bytes = Draft::new(Class::Indication, Method::Send, TransactionId([0; 12]))
            .with_address(attribute::XOR_PEER_ADDRESS, peer.parse().unwrap())
            .with(attribute::DATA, data)
            .unsigned();
        let answer = rig.ask(self.client, &bytes);
        assert_eq!(answer, None, "nothing answers an indication");
    }
}

pub(super) fn with_udp(draft: Draft) -> Draft {
    draft.with(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
}

pub(super) fn error_of(message: &Message<'_>) -> u16 {
    match message.value(attribute::ERROR_CODE) {
        Some([_, _, class, number, ..]) => u16::from(*class) * 100 + u16::from(*number),
        Some(_) | None => 0,
    }
}

/// A client with an allocation, and its port.
pub(super) fn allocated(rig: &mut Rig) -> (Tester, u16) {
    let mut tester = rig.user("192.0.2.1:1000", "alice");
    let port = tester.allocate(rig).unwrap();
    (tester, port)
}
