//! `-health`: asks a running process whether it is ready, for images that hold nothing but this binary.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

pub const DEFAULT_URL: &str = "http://localhost:3100/ready";

/// For each of connecting, asking and reading.
const TIMEOUT: Duration = Duration::from_secs(5);

/// `Err` says why not.
pub fn ask(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("http://").ok_or_else(|| format!("want an http:// URL, not {url}"))?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, "ready"));
    let answer = get(host, path).map_err(|error| format!("{url}: {error}"))?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    if status == "200" { Ok(()) } else { Err(format!("{url}: status {status}")) }
}

fn get(host: &str, path: &str) -> std::io::Result<String> {
    let with_port = if host.contains(':') { host.to_string() } else { format!("{host}:80") };
    let address = with_port.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
    let mut head = [0u8; 64];
    let count = stream.read(&mut head)?;
    Ok(String::from_utf8_lossy(&head[..count]).into_owned())
}
