//! One POST against a real socket: what is sent, and what answers mean.

#[path = "../../../tests/certificates.rs"]
mod certificates;

use self::auth::{Authorization, BasicAuth};
use super::*;
use crate::testing::{Process, Server, status};
use runtime::tls::{ClientAuth, ClientTls, MinVersion, ServerTls};

fn endpoint(url: &str) -> Endpoint {
    Endpoint {
        url: SecretUrl::new(url),
        connect_to: None,
        auth: Auth::None,
        headers: BTreeMap::new(),
        tls: Tls::default(),
        timeout: Duration::from_secs(10),
    }
}

fn poster(process: &Process, endpoint: &Endpoint) -> Poster {
    Poster::new(endpoint, &process.certificates(), process.clock.clone()).unwrap()
}

async fn post(process: &Process, endpoint: &Endpoint) -> Result<(), Failure> {
    poster(process, endpoint).post(&HeaderMap::new(), Bytes::from_static(b"body")).await
}

#[tokio::test]
async fn answers_say_whether_another_try_may_help() {
    let (process, server) = (Process::new(), Server::start().await);
    let after = |text: &str| vec![("retry-after", text.to_string())];
    for (answer, what, passes, retry_after) in [
        ((500, vec![], "late\nmore".to_string()), "it answered 500 Internal Server Error: \"late\"", true, None),
        (status(503), "it answered 503 Service Unavailable", true, None),
        ((429, after("7"), String::new()), "it answered 429 Too Many Requests", true, Some(7)),
        ((503, after("100000"), String::new()), "it answered 503 Service Unavailable", true, Some(300)),
        ((503, after("soon"), String::new()), "it answered 503 Service Unavailable", true, None),
        (
            (503, after("Thu, 01 Jan 2026 00:01:00 GMT"), String::new()),
            "it answered 503 Service Unavailable",
            true,
            Some(60),
        ),
        (
            (503, after("Wed, 31 Dec 2025 00:01:00 GMT"), String::new()),
            "it answered 503 Service Unavailable",
            true,
            None,
        ),
        ((400, vec![], "\u{7}bad".to_string()), "it answered 400 Bad Request: \"\\u{7}bad\"", false, None),
        (status(401), "it answered 401 Unauthorized", false, None),
        ((302, vec![("location", "/elsewhere".to_string())], String::new()), "it answered 302 Found", false, None),
    ] {
        server.answer([answer]);
        let failure = post(&process, &endpoint(&server.url())).await.unwrap_err();
        assert_eq!((failure.what.as_str(), failure.passes()), (what, passes));
        assert_eq!(failure.retry_after, retry_after.map(Duration::from_secs));
    }
    assert!(server.seen().iter().all(|seen| seen.path == "/" && &seen.body[..] == b"body"));
    server.answer([status(204), (400, vec![], "x".repeat(1 << 20))]);
    assert_eq!(post(&process, &endpoint(&server.url())).await, Ok(()));
    assert!(post(&process, &endpoint(&server.url())).await.unwrap_err().what.len() < 2 * ANSWER_BYTES_MAX);
}

#[tokio::test]
async fn a_server_that_is_away_or_slow_may_be_tried_again() {
    let (process, server) = (Process::new(), Server::start().await);
    server.shut();
    let slow = Endpoint { timeout: Duration::from_millis(50), ..endpoint(&server.url()) };
    // Nothing listens at port 1.
    for endpoint in [slow, endpoint("http://me:hunter2@127.0.0.1:1/path")] {
        let failure = post(&process, &endpoint).await.unwrap_err();
        assert!(failure.passes() && failure.status.is_none());
        assert!(!failure.what.contains("hunter2") && !failure.what.contains("127.0.0.1:1/"), "{}", failure.what);
    }
}

#[tokio::test]
async fn credentials_come_from_the_url_settings_or_a_file_that_changes() {
    let (process, server) = (Process::new(), Server::start().await);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, "from-file\n").unwrap();
    let file = path.display().to_string();
    let basic = |username: &str, password: &str| BasicAuth {
        username: username.into(),
        password: Secret::new(password),
        ..BasicAuth::default()
    };
    let token = |kind: &str, text: &str, file: &str| Authorization {
        r#type: kind.into(),
        credentials: Secret::new(text),
        credentials_file: file.into(),
    };
    let nobody = token("Bearer", "", "");
    let url = server.url();
    let user_url = format!("http://us%65r:p%40ss@127.0.0.1:{}", server.port);
    for (url, basic, token, header) in [
        (&url, basic("", ""), nobody.clone(), ""),
        (&url, basic("user", "p@ss"), nobody.clone(), "Basic dXNlcjpwQHNz"),
        (&user_url, basic("other", "one"), nobody.clone(), "Basic dXNlcjpwQHNz"),
        (
            &url,
            BasicAuth { password_file: file.clone(), ..basic("user", "") },
            nobody.clone(),
            "Basic dXNlcjpmcm9tLWZpbGU=",
        ),
        (&url, basic("", ""), token("", "abc", ""), "Bearer abc"),
        (&url, basic("", ""), token("Token", "", &file), "Token from-file"),
    ] {
        let auth = Auth::new(&basic, &token).unwrap();
        let headers = [("x-extra".to_string(), Secret::new("1"))].into();
        post(&process, &Endpoint { auth, headers, ..endpoint(url) }).await.unwrap();
        let seen = server.seen().pop().unwrap();
        assert_eq!((seen.header("authorization"), seen.header("x-extra")), (header, "1"));
        assert!(seen.header("user-agent").starts_with("lokirs/"));
    }
    let auth = Auth::new(&BasicAuth::default(), &token("Bearer", "", &file)).unwrap();
    let poster = poster(&process, &Endpoint { auth, ..endpoint(&url) });
    std::fs::write(&path, "renewed").unwrap();
    poster.post(&HeaderMap::new(), Bytes::new()).await.unwrap();
    assert_eq!(server.seen().pop().unwrap().header("authorization"), "Bearer renewed");
    std::fs::remove_file(&path).unwrap();
    let failure = poster.post(&HeaderMap::new(), Bytes::new()).await.unwrap_err();
    assert!(failure.passes() && failure.what.contains(&file), "{failure:?}");
    for (basic, token) in [
        (basic("a", ""), token("Bearer", "b", "")),
        (BasicAuth { password_file: file.clone(), ..basic("a", "b") }, nobody.clone()),
        (basic("", ""), token("Bearer", "b", &file)),
        (basic("", ""), token("Basic", "b", "")),
    ] {
        assert!(Auth::new(&basic, &token).is_err(), "{basic:?} {token:?}");
    }
}

#[tokio::test]
async fn tls_verifies_the_server_by_its_own_name_and_shows_a_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let authority = certificates::Authority::new(dir.path(), "ours");
    let (server_id, client_id) = (authority.sign("server"), authority.sign("client"));
    let server = Server::start_with(Some(ServerTls {
        cert_file: server_id.cert_file,
        key_file: server_id.key_file,
        client_ca_file: Some(authority.ca_file.clone()),
        client_auth: ClientAuth::RequireAndVerifyClientCert,
        min_version: MinVersion::default(),
    }))
    .await;
    let process = Process::new();
    let url = format!("https://127.0.0.1:{}", server.port);
    let files = ClientTls {
        ca_file: Some(authority.ca_file.clone()),
        identity: Some((client_id.cert_file, client_id.key_file)),
        insecure_skip_verify: false,
    };
    let tls = |files: &ClientTls, server_name: &str| Tls { files: files.clone(), server_name: server_name.into() };
    let blind = ClientTls { insecure_skip_verify: true, ca_file: None, ..files.clone() };
    let anonymous = ClientTls { identity: None, ..files.clone() };
    for (tls, works) in [
        (tls(&files, "localhost"), true),
        (tls(&files, ""), false),
        (tls(&files, "elsewhere"), false),
        (tls(&blind, ""), true),
        (tls(&anonymous, "localhost"), false),
    ] {
        let endpoint = Endpoint { tls: tls.clone(), ..endpoint(&url) };
        assert_eq!(post(&process, &endpoint).await.is_ok(), works, "{tls:?}");
    }
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    // The server is still called by the name in the URL.
    assert!(seen.iter().all(|seen| seen.header("host") == format!("127.0.0.1:{}", server.port)));
    // A host whose name resolves nowhere, at the address that was found for it.
    let found = Endpoint {
        url: SecretUrl::new(format!("https://localhost:{}", server.port)),
        connect_to: Some(([127, 0, 0, 1], server.port).into()),
        tls: tls(&files, ""),
        ..endpoint(&url)
    };
    assert_eq!(post(&process, &found).await, Ok(()));
}
