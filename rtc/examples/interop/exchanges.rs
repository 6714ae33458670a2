//! What two peers do over a stream, the same words as in `tests/interop/js_peer.mjs`.

use std::cell::RefCell;
use std::rc::Rc;

use futures::channel::oneshot;
use futures::future::try_join;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::StreamProtocol;
use libp2p::swarm::Stream;
use libp2p_stream::{Control, IncomingStreams};

/// All that comes goes back, then the end.
pub(crate) const ECHO: StreamProtocol = StreamProtocol::new("/interop/echo/1");

/// Nothing is read until the page says so; then all is, and its length goes back in 4 bytes,
/// little-endian.
pub(crate) const PAUSED: StreamProtocol = StreamProtocol::new("/interop/paused/1");

/// As [`PAUSED`], without the pause.
pub(crate) const SINK: StreamProtocol = StreamProtocol::new("/interop/sink/1");

/// bytes; what is written or read at once.
const PIECE: usize = 64 * 1024;

/// Readers that are to begin.
pub(crate) type Paused = Rc<RefCell<Vec<oneshot::Sender<()>>>>;

/// Takes streams of all kinds from now on.
pub(crate) fn serve(control: &mut Control) -> Result<Paused, String> {
    let mut accept = |protocol| control.accept(protocol).map_err(|error| error.to_string());
    let (echoes, pauses, sinks) = (accept(ECHO)?, accept(PAUSED)?, accept(SINK)?);
    let paused = Paused::default();
    wasm_bindgen_futures::spawn_local(serve_echo(echoes));
    wasm_bindgen_futures::spawn_local(serve_paused(pauses, Rc::clone(&paused)));
    wasm_bindgen_futures::spawn_local(serve_sink(sinks));
    Ok(paused)
}

async fn serve_echo(mut streams: IncomingStreams) {
    while let Some((_, stream)) = streams.next().await {
        wasm_bindgen_futures::spawn_local(async move {
            let (mut reader, mut writer) = stream.split();
            // Who gives a stream up sees to its own end.
            if futures::io::copy(&mut reader, &mut writer).await.is_ok() {
                writer.close().await.ok();
            }
        });
    }
}

async fn serve_paused(mut streams: IncomingStreams, paused: Paused) {
    while let Some((_, stream)) = streams.next().await {
        let (begin, may_begin) = oneshot::channel();
        paused.borrow_mut().push(begin);
        wasm_bindgen_futures::spawn_local(async move {
            if may_begin.await.is_ok() {
                count(stream).await.ok();
            }
        });
    }
}

async fn serve_sink(mut streams: IncomingStreams) {
    while let Some((_, stream)) = streams.next().await {
        wasm_bindgen_futures::spawn_local(async move {
            // The pusher says that its own half is over, whatever becomes of this one.
            count(stream).await.ok();
        });
    }
}

/// Reads to the end and says how much it was.
async fn count(mut stream: Stream) -> Result<(), std::io::Error> {
    let mut length = 0_u32;
    let mut piece = vec![0; PIECE];
    loop {
        match stream.read(&mut piece).await? {
            0 => break,
            n => length += n as u32,
        }
    }
    stream.write_all(&length.to_le_bytes()).await?;
    stream.close().await
}

/// Bytes that differ from each other and from those of other lengths.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| ((n * 31 + len) % 251) as u8).collect()
}

/// Writes, ends, and compares all that comes back.
pub(crate) async fn echo(stream: Stream, len: usize) -> Result<(), String> {
    let sent = bytes(len);
    let found = exchange(stream, &sent).await?;
    if found == sent {
        return Ok(());
    }
    let same = found.iter().zip(&sent).take_while(|(a, b)| a == b).count();
    Err(format!(
        "{len} bytes went out, {} came back, the same up to {same}",
        found.len()
    ))
}

/// Pushes at a reader; how much it says that it has read then.
pub(crate) async fn push(stream: Stream, len: usize) -> Result<u32, String> {
    let (reader, mut writer) = stream.split();
    let piece = bytes(PIECE);
    let write = async {
        let mut left = len;
        while left > 0 {
            let n = left.min(PIECE);
            writer.write_all(&piece[..n]).await?;
            left -= n;
        }
        writer.close().await
    };
    let found = both(write, read_all(reader)).await?;
    let length: Result<[u8; 4], _> = found.try_into();
    length
        .map(u32::from_le_bytes)
        .map_err(|found| format!("the reader answered {} bytes, not 4", found.len()))
}

async fn exchange(stream: Stream, sent: &[u8]) -> Result<Vec<u8>, String> {
    let (reader, mut writer) = stream.split();
    let write = async {
        for piece in sent.chunks(PIECE) {
            writer.write_all(piece).await?;
        }
        writer.close().await
    };
    both(write, read_all(reader)).await
}

async fn both(
    write: impl Future<Output = Result<(), std::io::Error>>,
    read: impl Future<Output = Result<Vec<u8>, std::io::Error>>,
) -> Result<Vec<u8>, String> {
    let both = try_join(write, read).await;
    both.map(|((), found)| found)
        .map_err(|error| error.to_string())
}

async fn read_all(mut reader: impl AsyncRead + Unpin) -> Result<Vec<u8>, std::io::Error> {
    let mut found = Vec::new();
    let mut piece = vec![0; PIECE];
    loop {
        match reader.read(&mut piece).await? {
            0 => return Ok(found),
            n => found.extend_from_slice(&piece[..n]),
        }
    }
}
