//! Loki's S3 settings become a client: static keys or the environment's, URL form, path style, several buckets.

use super::open::{client_options, retry};
use super::{Backend, Bucket, ChunkNames, Objects, S3Settings, Spread};
use model::{Error, Result};
use object_store::ClientOptions;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::prefix::PrefixStore;
use runtime::settings::Secret;
use std::sync::Arc;

/// The region in signatures for servers that have none; AWS SDKs use the same.
const REGION_DEFAULT: &str = "us-east-1";

/// What the settings mean once the URL form is resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Target {
    /// With scheme; `None` for AWS itself.
    endpoint: Option<String>,
    region: Option<String>,
    keys: Option<(String, Secret)>,
    buckets: Vec<String>,
}

pub(super) fn open(s: &S3Settings, prefix: &str) -> Result<Objects> {
    let names = match s.chunk_delimiter.chars().collect::<Vec<_>>()[..] {
        [one] => ChunkNames::Delimited(one),
        _ => ChunkNames::AsKeyed,
    };
    let target = target(s)?;
    let mut buckets: Vec<Arc<dyn Bucket>> = Vec::new();
    for name in &target.buckets {
        let store = PrefixStore::new(client(s, &target, name)?, prefix);
        buckets.push(Arc::new(Backend::new(Arc::new(store))));
    }
    let bucket: Arc<dyn Bucket> = match buckets.as_slice() {
        [one] => one.clone(),
        _ => Arc::new(Spread::new(buckets)?),
    };
    Ok(Objects::new(bucket, names))
}

fn target(s: &S3Settings) -> Result<Target> {
    let mut target = match s.s3.expose() {
        "" => Target::default(),
        url => from_url(url)?,
    };
    if !s.endpoint.is_empty() {
        target.endpoint = Some(with_scheme(&s.endpoint, s.insecure));
    }
    if !s.region.is_empty() {
        target.region = Some(s.region.clone());
    }
    if !s.access_key_id.is_empty() || !s.secret_access_key.is_empty() {
        if s.access_key_id.is_empty() || s.secret_access_key.is_empty() {
            return Err(Error::invalid("s3: access_key_id and secret_access_key must be set together"));
        }
        target.keys = Some((s.access_key_id.clone(), s.secret_access_key.clone()));
    }
    let named: Vec<String> =
        s.bucketnames.split(',').map(str::trim).filter(|b| !b.is_empty()).map(str::to_string).collect();
    if !named.is_empty() {
        target.buckets = named;
    }
    if target.buckets.is_empty() {
        return Err(Error::invalid("s3: no bucket is named (setting: bucketnames)"));
    }
    Ok(target)
}

fn with_scheme(endpoint: &str, insecure: bool) -> String {
    match (endpoint.contains("://"), insecure) {
        (true, _) => endpoint.to_string(),
        (false, true) => format!("http://{endpoint}"),
        (false, false) => format!("https://{endpoint}"),
    }
}

/// `s3://[key:secret@]host[/bucket,...]`. As in Loki, a host with a dot (or a port) is an endpoint spoken to over plain
/// HTTP, and one without is a region of AWS.
fn from_url(url: &str) -> Result<Target> {
    let malformed = || Error::invalid("s3: the URL must be s3://[key:secret@]region-or-host[/bucket]");
    let rest = url.strip_prefix("s3://").ok_or_else(malformed)?;
    // The last `@`: a secret that was not escaped may hold `/`, and must not be taken for a host.
    let (user, place) = rest.rsplit_once('@').map_or((None, rest), |(user, place)| (Some(user), place));
    let (host, path) = place.split_once('/').unwrap_or((place, ""));
    let keys = match user {
        None => None,
        Some(user) => {
            let (key, secret) = user.split_once(':').ok_or_else(malformed)?;
            let secret = Secret::new(unescape(secret).ok_or_else(malformed)?);
            Some((unescape(key).ok_or_else(malformed)?, secret))
        }
    };
    let is_endpoint = host.contains('.') || host.contains(':');
    Ok(Target {
        endpoint: is_endpoint.then(|| with_scheme(host, true)),
        region: (!is_endpoint && !host.is_empty()).then(|| host.to_string()),
        keys,
        buckets: path.split(',').filter(|b| !b.is_empty()).map(|b| b.trim_matches('/').to_string()).collect(),
    })
}

/// Percent escapes of a URL's user part, which secrets with `/` or `+` need.
fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        out.push((digit()? * 16 + digit()?) as u8);
    }
    String::from_utf8(out).ok()
}

fn client(s: &S3Settings, target: &Target, bucket: &str) -> Result<AmazonS3> {
    let mut builder = match &target.keys {
        Some((key, secret)) => AmazonS3Builder::new().with_access_key_id(key).with_secret_access_key(secret.expose()),
        None => AmazonS3Builder::from_env(),
    };
    if target.keys.is_some() && !s.session_token.is_empty() {
        builder = builder.with_token(s.session_token.expose());
    }
    builder = match &target.region {
        Some(region) => builder.with_region(region),
        None if builder.get_config_value(&AmazonS3ConfigKey::Region).is_none() => builder.with_region(REGION_DEFAULT),
        None => builder,
    };
    if let Some(endpoint) = &target.endpoint {
        builder = builder.with_endpoint(endpoint_of(endpoint, bucket, s.s3forcepathstyle));
    }
    builder = match (s.sse.kind.as_str(), s.sse.kms_key_id.as_str()) {
        ("", _) => builder,
        ("SSE-S3", _) => {
            let key = "aws_server_side_encryption".parse().map_err(|e| Error::internal(format!("s3: {e}")))?;
            builder.with_config(key, "AES256")
        }
        ("SSE-KMS", key) if !key.is_empty() => builder.with_sse_kms_encryption(key),
        (kind, _) => {
            return Err(Error::invalid(format!("s3: sse.type {kind:?} is not SSE-S3 or SSE-KMS with a kms_key_id")));
        }
    };
    let plain = target.endpoint.as_ref().is_some_and(|e| e.starts_with("http://"));
    let options: ClientOptions = client_options(&s.http_config)?.with_allow_http(plain);
    builder
        .with_bucket_name(bucket)
        .with_virtual_hosted_style_request(!s.s3forcepathstyle)
        .with_retry(retry(&s.backoff_config))
        .with_client_options(options)
        .build()
        .map_err(|e| Error::invalid(format!("s3 bucket {bucket:?}: {e}")))
}

/// With virtual-hosted style the bucket is part of the host.
fn endpoint_of(endpoint: &str, bucket: &str, path_style: bool) -> String {
    match endpoint.split_once("://") {
        Some((scheme, host)) if !path_style => format!("{scheme}://{bucket}.{host}"),
        _ => endpoint.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> S3Settings {
        S3Settings { s3: Secret::new(text), ..Default::default() }
    }

    #[test]
    fn urls_and_fields_mean_what_they_mean_in_loki() {
        let some = |s: &str| Some(s.to_string());
        let keys = Some(("AK".to_string(), Secret::new("se/cret+")));
        let table = [
            (
                url("s3://AK:se%2Fcret%2B@minio.:9000/loki"),
                Target {
                    endpoint: some("http://minio.:9000"),
                    region: None,
                    keys: keys.clone(),
                    buckets: vec!["loki".into()],
                },
            ),
            (
                S3Settings { bucketnames: "a, b".into(), ..url("s3://us-east-1") },
                Target { endpoint: None, region: some("us-east-1"), keys: None, buckets: vec!["a".into(), "b".into()] },
            ),
            (
                S3Settings {
                    endpoint: "s3.example.org".into(),
                    region: "eu-1".into(),
                    access_key_id: "AK".into(),
                    secret_access_key: Secret::new("se/cret+"),
                    bucketnames: "x".into(),
                    ..Default::default()
                },
                Target {
                    endpoint: some("https://s3.example.org"),
                    region: some("eu-1"),
                    keys,
                    buckets: vec!["x".into()],
                },
            ),
            (
                S3Settings {
                    endpoint: "minio:9000".into(),
                    insecure: true,
                    bucketnames: "x".into(),
                    ..Default::default()
                },
                Target { endpoint: some("http://minio:9000"), region: None, keys: None, buckets: vec!["x".into()] },
            ),
        ];
        for (settings, expected) in table {
            assert_eq!(target(&settings).unwrap(), expected, "{settings:?}");
            assert!(open(&settings, "").is_ok(), "{settings:?}");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused_and_secrets_never_printed() {
        let half = S3Settings { access_key_id: "AK".into(), bucketnames: "x".into(), ..Default::default() };
        let sse = S3Settings {
            sse: crate::objects::SseSettings { kind: "SSE-KMS".into(), ..Default::default() },
            ..url("s3://eu-1/b")
        };
        for bad in [url("s3://eu-1"), url("http://x/y"), url("s3://key@host/b"), url("s3://k:%zz@eu-1/b"), half, sse] {
            assert!(open(&bad, "").is_err(), "{bad:?}");
        }
        let printed =
            format!("{:?}", S3Settings { secret_access_key: Secret::new("hunter2"), ..url("s3://k:hunter2@eu-1/b") });
        assert!(!printed.contains("hunter2"), "{printed}");
    }

    #[test]
    fn buckets_are_in_the_host_unless_path_style_is_forced() {
        assert_eq!(endpoint_of("https://s3.eu-1.example.org", "b", false), "https://b.s3.eu-1.example.org");
        assert_eq!(endpoint_of("http://minio:9000", "b", true), "http://minio:9000");
    }
}
