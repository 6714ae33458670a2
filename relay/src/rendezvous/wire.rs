//! What stands on a rendezvous stream: libp2p's messages (specs/rendezvous), each in its own frame.

use std::io;

use futures::{AsyncRead, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};
use prost::Message as _;

use crate::framing;
use crate::limits::{MAX_DISCOVERY_BYTES, MAX_RENDEZVOUS_REQUEST_BYTES};

/// What the protocol is called.
pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/rendezvous/1.0.0");

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Kind {
    Register = 0,
    RegisterResponse = 1,
    Unregister = 2,
    Discover = 3,
    DiscoverResponse = 4,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Status {
    Ok = 0,
    InvalidNamespace = 100,
    InvalidSignedPeerRecord = 101,
    InvalidTtl = 102,
    InvalidCookie = 103,
    NotAuthorized = 200,
    InternalError = 300,
    Unavailable = 400,
}

/// One message; `kind` says which part counts.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Message {
    #[prost(enumeration = "Kind", optional, tag = "1")]
    pub(crate) kind: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub(crate) register: Option<Register>,
    #[prost(message, optional, tag = "3")]
    pub(crate) register_response: Option<RegisterResponse>,
    #[prost(message, optional, tag = "4")]
    pub(crate) unregister: Option<Unregister>,
    #[prost(message, optional, tag = "5")]
    pub(crate) discover: Option<Discover>,
    #[prost(message, optional, tag = "6")]
    pub(crate) discover_response: Option<DiscoverResponse>,
}

/// A peer's place in a namespace, asked for or told.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Register {
    #[prost(string, optional, tag = "1")]
    pub(crate) namespace: Option<String>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) record: Option<Vec<u8>>,
    /// seconds
    #[prost(uint64, optional, tag = "3")]
    pub(crate) ttl: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RegisterResponse {
    #[prost(enumeration = "Status", optional, tag = "1")]
    pub(crate) status: Option<i32>,
    #[prost(string, optional, tag = "2")]
    pub(crate) text: Option<String>,
    /// seconds
    #[prost(uint64, optional, tag = "3")]
    pub(crate) ttl: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Unregister {
    #[prost(string, optional, tag = "1")]
    pub(crate) namespace: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Discover {
    #[prost(string, optional, tag = "1")]
    pub(crate) namespace: Option<String>,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) limit: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) cookie: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct DiscoverResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) registrations: Vec<Register>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) cookie: Option<Vec<u8>>,
    #[prost(enumeration = "Status", optional, tag = "3")]
    pub(crate) status: Option<i32>,
    #[prost(string, optional, tag = "4")]
    pub(crate) text: Option<String>,
}

/// Reads requests and writes answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Codec;

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Message;
    type Response = Message;

    async fn read_request<T>(&mut self, _: &StreamProtocol, stream: &mut T) -> io::Result<Message>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(stream, MAX_RENDEZVOUS_REQUEST_BYTES).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, stream: &mut T) -> io::Result<Message>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(stream, MAX_DISCOVERY_BYTES).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        stream: &mut T,
        request: Message,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        framing::write(stream, &request.encode_to_vec()).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        stream: &mut T,
        response: Message,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        framing::write(stream, &response.encode_to_vec()).await?;
        stream.close().await
    }
}

async fn read<T>(stream: &mut T, max_bytes: usize) -> io::Result<Message>
where
    T: AsyncRead + Unpin + Send,
{
    let bytes = framing::read(stream, max_bytes).await?;
    let bytes = bytes.ok_or(io::ErrorKind::UnexpectedEof)?;
    Message::decode(&bytes[..]).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
