//! `-health`: asks a running process whether it is ready, for images that hold nothing but this binary.

use runtime::tls::{ClientConfig, ClientTls, ServerName};
use rustls::{ClientConnection, Stream};
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

pub const DEFAULT_URL: &str = "http://localhost:3100/ready";

/// For each of connecting, asking and reading.
const TIMEOUT: Duration = Duration::from_secs(5);

/// `Err` says why not.
pub fn ask(url: &str) -> Result<(), String> {
    let (tls, rest, port) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest, 80),
        (_, Some(rest)) => (true, rest, 443),
        _ => return Err("want an http:// or https:// URL".into()),
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, "ready"));
    let answer = get(tls, host, port, path).map_err(|error| format!("{host}: {error}"))?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    if status == "200" { Ok(()) } else { Err(format!("{host}: status {status}")) }
}

fn get(tls: bool, host: &str, port: u16, path: &str) -> std::io::Result<String> {
    let with_port = if host.contains(':') { host.to_string() } else { format!("{host}:{port}") };
    let address = with_port.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let request = format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    if !tls {
        return exchange(&mut stream, &request);
    }
    let name = host.split(':').next().unwrap_or_default().to_string();
    let name = ServerName::try_from(name).map_err(std::io::Error::other)?;
    let mut session = ClientConnection::new(probing()?, name).map_err(std::io::Error::other)?;
    exchange(&mut Stream::new(&mut session, &mut stream), &request)
}

/// Whoever answers: a probe sends no secret and believes one word. It speaks HTTP/1.
fn probing() -> std::io::Result<Arc<ClientConfig>> {
    let tls = ClientTls { insecure_skip_verify: true, ..ClientTls::default() };
    let mut config = tls.read().map_err(std::io::Error::other)?;
    config.alpn_protocols.clear();
    Ok(Arc::new(config))
}

fn exchange(stream: &mut (impl Read + Write), request: &str) -> std::io::Result<String> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut head = [0u8; 64];
    let count = stream.read(&mut head)?;
    Ok(String::from_utf8_lossy(&head[..count]).into_owned())
}
