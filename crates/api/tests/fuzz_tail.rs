//! Junk from the client of a live tail: the connection goes on as before or is closed, what it is answered is well-formed
//! frames, and no tail is left open.

#[path = "../../../tests/fuzz/mod.rs"]
mod fuzz;

use api::tail::{TailApi, router};
use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use fuzz::fuzz;
use model::{Result, TenantId};
use rpc::tail::{TailFrame, TailRequest, Tails};
use runtime::clock::ManualClock;
use runtime::limits::{Limits, Overrides};
use runtime::metrics::Metrics;
use runtime::tasks::Tasks;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Clients do not wait for longer than this.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// What one connection is answered: a few frames.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
const STILL_THERE: &[u8] = b"still there?";
const HANDSHAKE: &str = "GET /loki/api/v1/tail?query=%7Ba%3D%22b%22%7D HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// One frame at once, and nothing more for ever.
struct Quiet;

#[async_trait]
impl Tails for Quiet {
    async fn tail(&self, _: &TenantId, _: TailRequest) -> Result<BoxStream<'static, Result<TailFrame>>> {
        let first = futures::stream::iter([Ok(TailFrame::default())]);
        Ok(first.chain(futures::stream::pending()).boxed())
    }
}

/// A client's frame (RFC 6455, section 5.2), masked unless it errs.
fn frame(first_byte: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let bit = if masked { 0x80 } else { 0 };
    let mut out = vec![first_byte];
    match payload.len() {
        len @ 0..=125 => out.push(bit | len as u8),
        len => {
            out.push(bit | 126);
            out.extend((len as u16).to_be_bytes());
        }
    }
    if masked {
        out.extend(mask);
    }
    out.extend(payload.iter().enumerate().map(|(i, byte)| if masked { byte ^ mask[i % 4] } else { *byte }));
    out
}

/// The payloads of a server's frames by kind; `None` where they are not well formed. A frame that is cut short at the end is
/// left out.
fn frames(mut bytes: &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
    let mut frames = vec![];
    while let [first, length, rest @ ..] = bytes {
        let (kind, known) = (first & 0x0f, matches!(first & 0x0f, 1 | 8 | 9 | 10));
        // Final, without extensions, unmasked.
        if first & 0xf0 != 0x80 || !known || length & 0x80 != 0 {
            return None;
        }
        let (length, rest) = match (length, rest) {
            (126, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            (126 | 127, _) => return None,
            (length, rest) => (usize::from(*length), rest),
        };
        let Some((payload, after)) = rest.split_at_checked(length) else { break };
        frames.push((kind, payload.to_vec()));
        bytes = after;
    }
    Some(frames)
}

/// What a tail answers to these bytes and a ping after them, and then the end of what the client has to say.
async fn answer(server: SocketAddr, sent: &[u8]) -> Vec<u8> {
    let mut connection = TcpStream::connect(server).await.expect("the server listens");
    connection.write_all(HANDSHAKE.as_bytes()).await.expect("the server reads");
    let (mut head, mut byte) = (vec![], [0]);
    while !head.ends_with(b"\r\n\r\n") {
        connection.read_exact(&mut byte).await.expect("an answer to the handshake");
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    // Who is told to go may find the connection closed while still talking.
    let _ = connection.write_all(sent).await;
    let _ = connection.write_all(&frame(0x89, STILL_THERE, true)).await;
    let _ = connection.shutdown().await;
    let mut answered = vec![];
    // A reset ends it too.
    let _ = connection.take(ANSWER_BYTES_MAX).read_to_end(&mut answered).await;
    answered
}

#[test]
fn bytes_from_the_client_of_a_tail_are_answered_or_end_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tasks = Tasks::new(&Metrics::new("loki"));
    let api = TailApi {
        tails: Arc::new(Quiet),
        limits: Arc::new(Overrides::new(Limits::default())),
        auth_enabled: false,
        clock: ManualClock::at(1_768_471_200_000_000_000),
        tasks: tasks.clone(),
    };
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let server = listener.local_addr().unwrap();
    runtime.spawn(async move { axum::serve(listener, router(api)).await });
    let seeds = [
        frame(0x81, b"text", true),
        frame(0x82, &[0xff; 200], true),
        [frame(0x01, b"a message ", true), frame(0x89, b"ping", true), frame(0x80, b"in parts", true)].concat(),
        frame(0x8a, b"", true),
        frame(0x88, &[0x03, 0xe8], true),
        frame(0x88, &[0xff, 0xff, 0xc3], true),
        frame(0x81, &[b'x'; 5000], true),
        frame(0x81, b"unmasked", false),
        vec![],
    ];
    let pieces: [&[u8]; 4] =
        [b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x82\xfe\xff\xff", b"\x09\x80", b"\xf1\x80"];
    fuzz(&seeds, &pieces, |input, random| {
        // Some clients send a message byte by byte, some many at once.
        let input = input.repeat(1 + random.below(3));
        let answered =
            runtime.block_on(async { timeout(ANSWERED_WITHIN, answer(server, &input)).await.expect("an end") });
        assert!((answered.len() as u64) < ANSWER_BYTES_MAX, "{} bytes", answered.len());
        let frames = frames(&answered).unwrap_or_else(|| panic!("no frames: {answered:x?}"));
        frames.iter().any(|(kind, payload)| *kind == 10 && payload == STILL_THERE)
    });
    let closed = async {
        while tasks.counts().values().any(|open| *open > 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let closed = runtime.block_on(async { timeout(ANSWERED_WITHIN, closed).await });
    assert!(closed.is_ok(), "tails are left: {:?}", tasks.counts());
    assert_eq!(tasks.panics().get(), 0);
}
