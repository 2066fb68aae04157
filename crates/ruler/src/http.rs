//! One POST to a server outside: credentials, TLS, a time limit, and what its answer means for another try. Redirects
//! are not followed, and no error holds a secret. It must not know what is sent.

pub mod auth;
mod dial;
pub mod tls;

use self::auth::Auth;
use self::dial::Dial;
use self::tls::{Certificates, Tls};
use bytes::Bytes;
use parking_lot::Mutex;
use reqwest::header::{HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use runtime::clock::SharedClock;
use runtime::reload::Reloaded;
use runtime::settings::{Secret, SecretUrl};
use runtime::tls::ClientConfig;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Of an answer's body, this much is read, and stands in an error.
const ANSWER_BYTES_MAX: usize = 1024;
/// The longest wait that a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// A connection that nothing was sent on for so long is closed.
const IDLE_CONNECTION: Duration = Duration::from_secs(300);

const USER_AGENT: &str = concat!("lokirs/", env!("CARGO_PKG_VERSION"));

/// Where to, and how.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// User information in it is the authentication, whatever `auth` says.
    pub url: SecretUrl,
    /// Instead of what the URL's host resolves to.
    pub connect_to: Option<SocketAddr>,
    pub auth: Auth,
    pub headers: BTreeMap<String, Secret>,
    pub tls: Tls,
    /// Of a whole request.
    pub timeout: Duration,
}

/// What went wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub what: String,
    /// Of the answer, if there was one.
    pub status: Option<u16>,
    /// How long the server asks to be left alone.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// Whether another try may succeed.
    pub fn passes(&self) -> bool {
        self.status.is_none_or(|status| status >= 500 || matches!(status, 408 | 429))
    }
    pub fn is_rate_limit(&self) -> bool {
        self.status == Some(429)
    }
    fn before_answer(what: impl Into<String>) -> Self {
        Failure { what: what.into(), status: None, retry_after: None }
    }
}

/// A client of one endpoint.
pub struct Poster {
    url: Url,
    headers: HeaderMap,
    auth: Auth,
    dial: Option<Dial>,
    timeout: Duration,
    clock: SharedClock,
    tls: Reloaded<ClientConfig>,
    /// And the certificates that it was made with.
    client: Mutex<(Client, Arc<ClientConfig>)>,
}

impl Poster {
    pub fn new(endpoint: &Endpoint, certificates: &Certificates, clock: SharedClock) -> Result<Self, String> {
        let (mut url, user) = parse_url(&endpoint.url)?;
        let mut headers = headers(&endpoint.headers)?;
        let tls = certificates.config(&endpoint.tls, url.scheme() == "https")?;
        let mut dial = endpoint.connect_to.map(Dial::Address);
        if url.scheme() == "https" && !endpoint.tls.server_name.is_empty() {
            let host = url.host_str().unwrap_or_default().to_string();
            let authority = url.port().map_or(host.clone(), |port| format!("{host}:{port}"));
            headers.insert(HOST, authority.parse().map_err(|_| "its URL has no usable host".to_string())?);
            dial = dial.or(Some(Dial::Host(host.trim_matches(['[', ']']).to_string())));
            url.set_host(Some(&endpoint.tls.server_name))
                .map_err(|_| "the server's name is no host name".to_string())?;
        }
        let config = tls.get();
        let client = build(&config, dial.as_ref())?;
        let (auth, timeout) = (user.unwrap_or_else(|| endpoint.auth.clone()), endpoint.timeout);
        Ok(Poster { url, headers, auth, dial, timeout, clock, tls, client: Mutex::new((client, config)) })
    }

    /// Sends `body`. `more` are headers of this kind of message.
    pub async fn post(&self, more: &HeaderMap, body: Bytes) -> Result<(), Failure> {
        let mut headers = self.headers.clone();
        headers.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
        self.auth.apply(&mut headers).await.map_err(Failure::before_answer)?;
        let client = self.client().map_err(Failure::before_answer)?;
        let request = client.post(self.url.clone()).headers(headers).timeout(self.timeout).body(body);
        let answer = request.send().await.map_err(|error| Failure::before_answer(chain(&error.without_url())))?;
        let status = answer.status();
        let retry_after = self.retry_after(answer.headers());
        let text = beginning(answer).await;
        if status.is_success() {
            return Ok(());
        }
        Err(Failure { what: explained(status, &text), status: Some(status.as_u16()), retry_after })
    }

    /// Made anew when the certificates have changed.
    fn client(&self) -> Result<Client, String> {
        let newest = self.tls.get();
        let mut made = self.client.lock();
        if !Arc::ptr_eq(&made.1, &newest) {
            *made = (build(&newest, self.dial.as_ref())?, newest);
        }
        Ok(made.0.clone())
    }

    /// Seconds or a date.
    fn retry_after(&self, headers: &HeaderMap) -> Option<Duration> {
        let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        let wait = match text.parse::<u64>() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => {
                let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
                let ns = date.as_nanosecond() - i128::from(self.clock.now_ns());
                Duration::from_nanos(u64::try_from(ns).ok()?)
            }
        };
        Some(wait.min(RETRY_AFTER_MAX))
    }
}

/// The URL without its user information, and what that says.
pub(crate) fn parse_url(url: &SecretUrl) -> Result<(Url, Option<Auth>), String> {
    // The parser's error does not hold the text.
    let mut parsed = Url::parse(url.expose()).map_err(|error| format!("{}: {error}", url.masked()))?;
    if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
        return Err(format!("{}: it must begin with http:// or https:// and name a host", url.masked()));
    }
    let user = Auth::of_url(&parsed)?;
    // Neither fails for a URL with a host.
    let _ = parsed.set_username("");
    let _ = parsed.set_password(None);
    parsed.set_fragment(None);
    Ok((parsed, user))
}

fn headers(configured: &BTreeMap<String, Secret>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (key, value) in configured {
        let fault = || format!("headers: {key:?} is no header, or its value is none");
        let name: HeaderName = key.parse().map_err(|_| fault())?;
        let mut value: HeaderValue = value.expose().parse().map_err(|_| fault())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

fn build(tls: &Arc<ClientConfig>, dial: Option<&Dial>) -> Result<Client, String> {
    let mut tls = ClientConfig::clone(tls);
    tls.alpn_protocols.clear();
    // No proxy of the environment: who is sent to is what the settings say.
    let mut client = Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(USER_AGENT)
        .pool_idle_timeout(IDLE_CONNECTION);
    if let Some(dial) = dial {
        client = client.dns_resolver(dial.clone());
    }
    client.build().map_err(|error| chain(&error))
}

/// The first bytes of the body; one that breaks off ends there.
async fn beginning(mut answer: Response) -> Vec<u8> {
    let mut text = vec![];
    while text.len() < ANSWER_BYTES_MAX {
        let Ok(Some(part)) = answer.chunk().await else { break };
        text.extend_from_slice(&part[..part.len().min(ANSWER_BYTES_MAX - text.len())]);
    }
    text
}

fn explained(status: StatusCode, text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    match text.lines().next().map(str::trim).unwrap_or_default() {
        "" => format!("it answered {status}"),
        line => format!("it answered {status}: {line:?}"),
    }
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

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
