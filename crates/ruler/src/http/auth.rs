//! How a request says who sends it. Files are read for each request, so that new secrets need no restart. It must not
//! know who asks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use runtime::settings;
use runtime::settings::Secret;
use std::path::Path;
use tokio::io::AsyncReadExt;

/// Bytes of a file with a secret.
const SECRET_BYTES_MAX: u64 = 64 << 10;

settings! {
    /// Prometheus's `basic_auth`.
    pub struct BasicAuth {
        pub username: String = String::new(),
        pub username_file: String = String::new(),
        pub password: Secret = Secret::default(),
        /// Read for each request.
        pub password_file: String = String::new(),
    }

    /// Prometheus's `authorization`.
    pub struct Authorization {
        /// The first word of the header.
        pub r#type: String = "Bearer".into(),
        pub credentials: Secret = Secret::default(),
        /// Read for each request.
        pub credentials_file: String = String::new(),
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub enum Auth {
    #[default]
    None,
    Basic(BasicAuth),
    Token(Authorization),
}

impl Auth {
    /// What the settings say together: at most one of them may be set.
    pub fn new(basic: &BasicAuth, token: &Authorization) -> Result<Self, String> {
        let both = |secret: &Secret, file: &str| !secret.is_empty() && !file.is_empty();
        if both(&basic.password, &basic.password_file) {
            return Err("at most one of a password and a file with it must be set".into());
        }
        if !basic.username.is_empty() && !basic.username_file.is_empty() {
            return Err("at most one of username and username_file must be set".into());
        }
        if both(&token.credentials, &token.credentials_file) {
            return Err("at most one of credentials and credentials_file must be set".into());
        }
        let has_token = !token.credentials.is_empty() || !token.credentials_file.is_empty();
        match (*basic != BasicAuth::default(), has_token) {
            (true, true) => Err("at most one of basic authentication and credentials must be set".into()),
            (true, false) => Ok(Auth::Basic(basic.clone())),
            (false, true) if token.r#type.trim().eq_ignore_ascii_case("basic") => {
                Err("type cannot be \"basic\": there are settings for basic authentication".into())
            }
            (false, true) => Ok(Auth::Token(token.clone())),
            (false, false) => Ok(Auth::None),
        }
    }

    /// Of a URL's user information.
    pub(super) fn of_url(url: &Url) -> Result<Option<Self>, String> {
        if url.username().is_empty() && url.password().is_none() {
            return Ok(None);
        }
        let decoded = |text: &str| decode_percents(text).ok_or("its user information is no UTF-8".to_string());
        let (username, password) = (decoded(url.username())?, decoded(url.password().unwrap_or_default())?);
        Ok(Some(Auth::Basic(BasicAuth { username, password: Secret::new(password), ..BasicAuth::default() })))
    }

    /// Adds the header. What cannot be read is an error without the secret.
    pub(super) async fn apply(&self, headers: &mut HeaderMap) -> Result<(), String> {
        let text = match self {
            Auth::None => return Ok(()),
            Auth::Basic(basic) => {
                let username = value(&basic.username, &basic.username_file).await?;
                let password = value(basic.password.expose(), &basic.password_file).await?;
                format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
            }
            Auth::Token(token) => {
                let credentials = value(token.credentials.expose(), &token.credentials_file).await?;
                format!("{} {credentials}", if token.r#type.is_empty() { "Bearer" } else { token.r#type.trim() })
            }
        };
        let mut header = HeaderValue::from_str(&text).map_err(|_| "the credentials fit into no header".to_string())?;
        header.set_sensitive(true);
        headers.insert(AUTHORIZATION, header);
        Ok(())
    }
}

/// What is set, or what stands in the file.
async fn value(set: &str, file: &str) -> Result<String, String> {
    if file.is_empty() {
        return Ok(set.to_string());
    }
    let fault = |error: std::io::Error| format!("cannot read {file}: {error}");
    let mut text = String::new();
    let opened = tokio::fs::File::open(Path::new(file)).await.map_err(fault)?;
    opened.take(SECRET_BYTES_MAX).read_to_string(&mut text).await.map_err(fault)?;
    Ok(text.trim().to_string())
}

fn decode_percents(text: &str) -> Option<String> {
    let mut bytes = vec![];
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|_| *byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok()
}
