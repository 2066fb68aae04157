//! Where traces go, as OpenTelemetry's environment variables say. What cannot work is refused at the start; header values
//! are secrets.

use super::send::Sender;
use crate::config::Environment;
use runtime::settings::{Secret, SecretUrl};
use std::path::PathBuf;

const SERVICE: &str = "lokirs";

/// A collector, and what is sent to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Collector {
    pub protocol: Protocol,
    /// For HTTP with its path.
    pub endpoint: SecretUrl,
    pub headers: Vec<(String, Secret)>,
    /// Who is trusted, beside the machine's authorities.
    pub ca_file: Option<PathBuf>,
    /// The part of the traces that begin here.
    pub ratio: f64,
    pub follows_caller: bool,
    /// What describes this process.
    pub resource: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http,
    Grpc,
}

impl Collector {
    /// `None` where no collector is named: nothing is sent then.
    pub fn of_environment(environment: Environment) -> Result<Option<Collector>, String> {
        let get = |name: &str| environment(name).map(|v| v.trim().to_string()).filter(|value| !value.is_empty());
        let of_traces = |name: &str| {
            get(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}")).or_else(|| get(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        let off = get("OTEL_SDK_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let exporter = get("OTEL_TRACES_EXPORTER");
        let Some(endpoint) = of_traces("ENDPOINT").filter(|_| !off && exporter.as_deref() != Some("none")) else {
            return Ok(None);
        };
        if let Some(other) = exporter.filter(|exporter| exporter != "otlp") {
            return Err(format!("OTEL_TRACES_EXPORTER: {other:?} is not there: want otlp or none"));
        }
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            return Err("OTEL_EXPORTER_OTLP_ENDPOINT: want a URL with http:// or https://".into());
        }
        let protocol = match of_traces("PROTOCOL").as_deref() {
            None | Some("http/protobuf") => Protocol::Http,
            Some("grpc") => Protocol::Grpc,
            Some(other) => return Err(format!("OTEL_EXPORTER_OTLP_PROTOCOL: {other:?}: want grpc or http/protobuf")),
        };
        let whole = get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").is_some() || protocol == Protocol::Grpc;
        let endpoint = if whole { endpoint } else { format!("{}/v1/traces", endpoint.trim_end_matches('/')) };
        let (ratio, follows_caller) = sampler(get("OTEL_TRACES_SAMPLER"), get("OTEL_TRACES_SAMPLER_ARG"))?;
        let mut resource = pairs("OTEL_RESOURCE_ATTRIBUTES", get("OTEL_RESOURCE_ATTRIBUTES"))?;
        let named = resource.iter().any(|(key, _)| key == "service.name");
        match get("OTEL_SERVICE_NAME") {
            Some(name) => {
                resource.retain(|(key, _)| key != "service.name");
                resource.push(("service.name".into(), name));
            }
            None if !named => resource.push(("service.name".into(), SERVICE.into())),
            None => {}
        }
        let headers = pairs("OTEL_EXPORTER_OTLP_HEADERS", of_traces("HEADERS"))?;
        Ok(Some(Collector {
            protocol,
            endpoint: SecretUrl::new(endpoint),
            headers: headers.into_iter().map(|(key, value)| (key, Secret::new(value))).collect(),
            ca_file: of_traces("CERTIFICATE").map(PathBuf::from),
            ratio,
            follows_caller,
            resource,
        }))
    }

    pub(super) fn sender(&self) -> Result<Sender, String> {
        Sender::new(self)
    }
}

fn sampler(name: Option<String>, argument: Option<String>) -> Result<(f64, bool), String> {
    let ratio = || match argument.as_deref().map(str::parse::<f64>) {
        None => Ok(1.0),
        Some(Ok(ratio)) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        Some(_) => Err("OTEL_TRACES_SAMPLER_ARG: want a number from 0 to 1".to_string()),
    };
    Ok(match name.as_deref() {
        None | Some("parentbased_always_on") => (1.0, true),
        Some("always_on") => (1.0, false),
        Some("always_off") => (0.0, false),
        Some("parentbased_always_off") => (0.0, true),
        Some("traceidratio") => (ratio()?, false),
        Some("parentbased_traceidratio") => (ratio()?, true),
        Some(other) => return Err(format!("OTEL_TRACES_SAMPLER: {other:?} is not there")),
    })
}

/// `key=value,key=value`. The error holds no value.
fn pairs(variable: &str, text: Option<String>) -> Result<Vec<(String, String)>, String> {
    let text = text.unwrap_or_default();
    let items = text.split(',').filter(|item| !item.trim().is_empty());
    let pair = |item: &str| {
        let (key, value) = item.split_once('=').ok_or_else(|| format!("{variable}: want key=value,key=value"))?;
        Ok((key.trim().to_string(), percent_decoded(value.trim())))
    };
    items.map(pair).collect()
}

/// Values may be percent-encoded; what is not stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut bytes = vec![];
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escape = (*first == b'%').then(|| tail.get(..2)).flatten().and_then(|hex| std::str::from_utf8(hex).ok());
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
