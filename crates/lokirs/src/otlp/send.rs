//! One message to a collector: HTTP with protobuf, or gRPC. Errors never hold the address's user information or a header.

use super::encode::ExportAnswer;
use super::environment::{Collector, Protocol};
use bytes::{Buf, BufMut, Bytes};
use rpc::wire::{Channel, Connector};
use runtime::reload::Reloaded;
use runtime::tls::ClientTls;
use std::time::Duration;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tonic::{Request, Status};

const TIMEOUT: Duration = Duration::from_secs(10);
const METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

pub enum Sender {
    Http { client: reqwest::Client, url: reqwest::Url, headers: reqwest::header::HeaderMap },
    Grpc { channel: Channel, headers: MetadataMap },
}

impl Sender {
    pub fn new(collector: &Collector) -> Result<Sender, String> {
        match collector.protocol {
            Protocol::Http => http(collector),
            Protocol::Grpc => grpc(collector),
        }
    }

    /// An encoded request.
    pub async fn send(&self, message: Bytes) -> Result<(), String> {
        match self {
            Sender::Http { client, url, headers } => {
                let request = client.post(url.clone()).headers(headers.clone()).body(message);
                let answer = request.send().await.map_err(|error| chain(&error.without_url()))?;
                let status = answer.status();
                if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) }
            }
            Sender::Grpc { channel, headers } => {
                let mut client = tonic::client::Grpc::new(channel.clone());
                let call = async {
                    client.ready().await.map_err(|error| Status::unavailable(chain(&error)))?;
                    let request = Request::from_parts(headers.clone(), tonic::Extensions::default(), message);
                    client.unary(request, PathAndQuery::from_static(METHOD), Encoded).await
                };
                let answer = tokio::time::timeout(TIMEOUT, call).await.map_err(|_| "it does not answer".to_string())?;
                answer.map(drop).map_err(|status| format!("{:?}: {}", status.code(), status.message()))
            }
        }
    }
}

fn http(collector: &Collector) -> Result<Sender, String> {
    let url = reqwest::Url::parse(collector.endpoint.expose()).map_err(|error| format!("its URL: {error}"))?;
    let mut headers = reqwest::header::HeaderMap::new();
    headers.insert("content-type", reqwest::header::HeaderValue::from_static("application/x-protobuf"));
    for (key, value) in &collector.headers {
        let fault = || format!("{key:?} is no header, or its value is none");
        let name: reqwest::header::HeaderName = key.parse().map_err(|_| fault())?;
        let mut value: reqwest::header::HeaderValue = value.expose().parse().map_err(|_| fault())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    let mut client = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
    if let Some(path) = &collector.ca_file {
        let pem = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let authority = reqwest::Certificate::from_pem(&pem).map_err(|error| format!("{}: {error}", path.display()))?;
        client = client.add_root_certificate(authority);
    }
    let client = client.build().map_err(|error| error.to_string())?;
    Ok(Sender::Http { client, url, headers })
}

fn grpc(collector: &Collector) -> Result<Sender, String> {
    let endpoint = collector.endpoint.expose();
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("http", endpoint));
    let address = rest.split('/').next().unwrap_or_default();
    let address = address.rsplit('@').next().unwrap_or_default();
    let connector = if scheme == "https" {
        let tls = ClientTls { ca_file: collector.ca_file.clone(), ..ClientTls::default() };
        Connector::tls(Reloaded::fixed(tls.read()?), "").map_err(|error| error.message)?
    } else {
        Connector::default()
    };
    let mut headers = MetadataMap::new();
    for (key, value) in &collector.headers {
        let fault = || format!("{key:?} is no header, or its value is none");
        let name = MetadataKey::from_bytes(key.to_ascii_lowercase().as_bytes()).map_err(|_| fault())?;
        headers.insert(name, MetadataValue::try_from(value.expose()).map_err(|_| fault())?);
    }
    let channel = connector.channel(address).map_err(|_| "its address is none".to_string())?;
    Ok(Sender::Grpc { channel, headers })
}

/// An error with what led to it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

/// Messages that are encoded already.
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = ExportAnswer;
    type Encoder = Encoded;
    type Decoder = Encoded;

    fn encoder(&mut self) -> Encoded {
        Encoded
    }
    fn decoder(&mut self) -> Encoded {
        Encoded
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = ExportAnswer;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<ExportAnswer>, Status> {
        // What collectors say of a part that they refuse helps nobody here.
        bytes.advance(bytes.remaining());
        Ok(Some(ExportAnswer {}))
    }
}
