//! Memcached's text protocol, as far as a cache needs it: `get` of many keys and `set` of one. What a server answers is
//! read with bounds. It must not know of connections.

use crate::metrics::Failed;
use bytes::Bytes;
use std::borrow::Cow;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest key that the protocol allows.
const KEY_BYTES_MAX: usize = 250;
/// A line of an answer: a key and three numbers, or an error's text.
const LINE_BYTES_MAX: u64 = 1024;
/// Lifetimes beyond this are read as moments.
const RELATIVE_SECONDS_MAX: u64 = 30 * 86_400;

/// The key as the protocol can say it: one that it cannot say is replaced by its hash.
pub fn wire_key(key: &str) -> Cow<'_, str> {
    let sayable = |byte: u8| byte > b' ' && byte != 0x7f;
    if !key.is_empty() && key.len() <= KEY_BYTES_MAX && key.bytes().all(sayable) {
        return Cow::Borrowed(key);
    }
    let hash = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Cow::Owned(format!("sha256-{hex}"))
}

/// When an entry expires, as `set` says it.
pub fn expiration(validity: Duration, now_ns: i64) -> u64 {
    // Less than a second would be for ever.
    let seconds = validity.as_secs() + u64::from(validity.subsec_nanos() > 0);
    if seconds <= RELATIVE_SECONDS_MAX { seconds } else { (now_ns.max(0) as u64 / 1_000_000_000) + seconds }
}

/// The values of `keys`, in their order. Values beyond `bytes_max` are an error, before anything is kept of them.
pub async fn get<S>(stream: &mut S, keys: &[&str], bytes_max: usize) -> Result<Vec<Option<Bytes>>, Failed>
where
    S: AsyncBufRead + AsyncWrite + Unpin,
{
    let request = format!("get {}\r\n", keys.join(" "));
    write(stream, &[request.as_bytes()]).await?;
    let mut found = vec![None; keys.len()];
    let mut next = 0;
    loop {
        let line = line(stream).await?;
        if line == "END" {
            return Ok(found);
        }
        let (key, bytes) = parse_value_line(&line).ok_or(Failed::Answer)?;
        // Servers answer in the order of the request, so each key has one value at most.
        let at = keys[next..].iter().position(|asked| *asked == key).ok_or(Failed::Answer)? + next;
        if bytes > bytes_max {
            return Err(Failed::TooLarge);
        }
        found[at] = Some(value(stream, bytes).await?);
        next = at + 1;
    }
}

/// Stores one value.
pub async fn set<S>(stream: &mut S, key: &str, value: &[u8], expiration: u64) -> Result<(), Failed>
where
    S: AsyncBufRead + AsyncWrite + Unpin,
{
    let request = format!("set {key} 0 {expiration} {}\r\n", value.len());
    write(stream, &[request.as_bytes(), value, b"\r\n"]).await?;
    let line = line(stream).await?;
    match line.as_str() {
        "STORED" => Ok(()),
        // The server has swallowed the value, and goes on.
        "NOT_STORED" | "SERVER_ERROR object too large for cache" => Err(Failed::Refused),
        line if line.starts_with("SERVER_ERROR out of memory") => Err(Failed::Refused),
        _ => Err(Failed::Answer),
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, parts: &[&[u8]]) -> Result<(), Failed> {
    for part in parts {
        stream.write_all(part).await.map_err(|_| Failed::Connection)?;
    }
    stream.flush().await.map_err(|_| Failed::Connection)
}

/// One line without its end.
async fn line<S: AsyncBufRead + Unpin>(stream: &mut S) -> Result<String, Failed> {
    let mut line = vec![];
    stream.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await.map_err(|_| Failed::Connection)?;
    match line.strip_suffix(b"\r\n") {
        Some(text) => String::from_utf8(text.to_vec()).map_err(|_| Failed::Answer),
        None if line.len() as u64 == LINE_BYTES_MAX || line.ends_with(b"\n") => Err(Failed::Answer),
        None => Err(Failed::Connection),
    }
}

/// Key and length of `VALUE <key> <flags> <bytes>`.
fn parse_value_line(line: &str) -> Option<(&str, usize)> {
    let mut words = line.strip_prefix("VALUE ")?.split(' ');
    let (key, flags, bytes) = (words.next()?, words.next()?, words.next()?);
    flags.parse::<u32>().ok()?;
    if words.next().is_some() {
        return None;
    }
    Some((key, bytes.parse().ok()?))
}

/// A value and the end of its line.
async fn value<S: AsyncBufRead + Unpin>(stream: &mut S, bytes: usize) -> Result<Bytes, Failed> {
    let mut value = Vec::with_capacity(bytes);
    stream.take(bytes as u64).read_to_end(&mut value).await.map_err(|_| Failed::Connection)?;
    let mut end = [0; 2];
    stream.read_exact(&mut end).await.map_err(|_| Failed::Connection)?;
    if value.len() == bytes && &end == b"\r\n" { Ok(Bytes::from(value)) } else { Err(Failed::Answer) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::BufReader;

    const BYTES_MAX: usize = 64;

    /// What `get a b c` makes of an answer that comes in pieces of `piece` bytes, and then the end.
    async fn answered(answer: &'static [u8], piece: usize) -> Result<Vec<Option<Bytes>>, Failed> {
        let (near, mut far) = tokio::io::duplex(piece);
        let server = async move {
            let mut asked = [0; 11];
            far.read_exact(&mut asked).await.unwrap();
            assert_eq!(&asked, b"get a b c\r\n");
            // A client that has seen enough hangs up.
            let _ = far.write_all(answer).await;
        };
        tokio::join!(server, async move { get(&mut BufReader::new(near), &["a", "b", "c"], BYTES_MAX).await }).1
    }

    fn found(values: [Option<&'static str>; 3]) -> Result<Vec<Option<Bytes>>, Failed> {
        Ok(values.map(|value| value.map(|text| Bytes::from_static(text.as_bytes()))).to_vec())
    }

    #[tokio::test]
    async fn answers_are_read_in_any_pieces_and_with_bounds() {
        let long_line: &'static [u8] = vec![b'x'; 5000].leak();
        for (answer, expected) in [
            (&b"END\r\n"[..], found([None, None, None])),
            (b"VALUE b 0 3\r\nx\r\n\r\nEND\r\n", found([None, Some("x\r\n"), None])),
            (
                b"VALUE a 0 0\r\n\r\nVALUE c 4294967295 5\r\nEND\r\n\r\nEND\r\n",
                found([Some(""), None, Some("END\r\n")]),
            ),
            // What says that it is larger than values may be, or than memory.
            (b"VALUE a 0 65\r\n", Err(Failed::TooLarge)),
            (b"VALUE a 0 18446744073709551615\r\n", Err(Failed::TooLarge)),
            (b"VALUE a 0 99999999999999999999999\r\n", Err(Failed::Answer)),
            (b"VALUE a 0 -1\r\n", Err(Failed::Answer)),
            // Shorter or longer than it says.
            (b"VALUE a 0 5\r\nx\r\nEND\r\n", Err(Failed::Answer)),
            (b"VALUE a 0 1\r\nxyz\r\nEND\r\n", Err(Failed::Answer)),
            (b"VALUE a 0 60\r\nxyz\r\nEND\r\n", Err(Failed::Connection)),
            // Keys that nobody asked for, or twice.
            (b"VALUE z 0 1\r\nx\r\nEND\r\n", Err(Failed::Answer)),
            (b"VALUE a 0 1\r\nx\r\nVALUE a 0 1\r\nx\r\nEND\r\n", Err(Failed::Answer)),
            // No protocol.
            (b"VALUE a 0\r\n", Err(Failed::Answer)),
            (b"VALUE a 0 1 2 3\r\n", Err(Failed::Answer)),
            (b"VALUE a f 1\r\nx\r\n", Err(Failed::Answer)),
            (b"END\n", Err(Failed::Answer)),
            (b"\xff\xfe\r\n", Err(Failed::Answer)),
            (b"ERROR\r\n", Err(Failed::Answer)),
            (b"SERVER_ERROR out of memory\r\n", Err(Failed::Answer)),
            (long_line, Err(Failed::Answer)),
            // The end in the middle.
            (b"", Err(Failed::Connection)),
            (b"VALUE a", Err(Failed::Connection)),
            (b"VALUE a 0 1\r\nx", Err(Failed::Connection)),
            (b"VALUE a 0 1\r\nx\r\n", Err(Failed::Connection)),
        ] {
            for piece in [1, 2, 7, 8192] {
                let text = String::from_utf8_lossy(answer);
                assert_eq!(answered(answer, piece).await, expected, "{text:?} by {piece}");
            }
        }
    }

    #[tokio::test]
    async fn a_server_says_whether_it_stored() {
        for (answer, expected) in [
            ("STORED\r\n", Ok(())),
            ("NOT_STORED\r\n", Err(Failed::Refused)),
            ("SERVER_ERROR object too large for cache\r\n", Err(Failed::Refused)),
            ("SERVER_ERROR out of memory storing object\r\n", Err(Failed::Refused)),
            ("CLIENT_ERROR bad data chunk\r\n", Err(Failed::Answer)),
            ("ERROR\r\n", Err(Failed::Answer)),
            ("", Err(Failed::Connection)),
        ] {
            let (near, mut far) = tokio::io::duplex(3);
            let server = async move {
                let mut asked = [0; 20];
                far.read_exact(&mut asked).await.unwrap();
                assert_eq!(&asked, b"set k 0 60 4\r\nv\r\n\x00\r\n");
                far.write_all(answer.as_bytes()).await.unwrap();
            };
            let client = async move { set(&mut BufReader::new(near), "k", b"v\r\n\x00", 60).await };
            assert_eq!(tokio::join!(server, client).1, expected, "{answer}");
        }
    }

    #[test]
    fn keys_are_said_as_they_are_or_hashed() {
        for key in ["tenant/8f1e/18c:18d:ab12", "grüße", &"k".repeat(250)] {
            assert_eq!(wire_key(key), key);
        }
        let mut hashed: Vec<String> = ["", "a b", "a\r\nflush_all", "a\u{7f}", &"k".repeat(251), &"k".repeat(252)]
            .iter()
            .map(|key| wire_key(key).into_owned())
            .collect();
        assert!(hashed.iter().all(|key| key.starts_with("sha256-") && key.len() == 71));
        hashed.sort();
        hashed.dedup();
        assert_eq!(hashed.len(), 6);
    }

    #[test]
    fn lifetimes_are_seconds_or_moments() {
        let (day, now_ns) = (Duration::from_secs(86_400), 1_700_000_000_000_000_000);
        for (validity, expected) in [
            (Duration::ZERO, 0),
            (Duration::from_millis(1), 1),
            (day, 86_400),
            (30 * day, 2_592_000),
            (31 * day, 1_700_000_000 + 31 * 86_400),
        ] {
            assert_eq!(expiration(validity, now_ns), expected, "{validity:?}");
        }
    }
}
