//! A client of Loki's HTTP API, as small as the suite needs it.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone)]
pub struct Client {
    base: String,
    http: reqwest::Client,
    tenant: Option<String>,
}

/// One line of an answer: its stream's labels, its time, its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    pub labels: BTreeMap<String, String>,
    pub ts_ns: i64,
    pub text: String,
}

impl Client {
    pub fn new(base: &str) -> Client {
        // A second installation finds the first one in place; either way there is a provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(120)).build().unwrap();
        Client { base: base.to_string(), http, tenant: None }
    }

    pub fn tenant(mut self, tenant: &str) -> Client {
        self.tenant = Some(tenant.to_string());
        self
    }

    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.tenant {
            Some(tenant) => request.header("X-Scope-OrgID", tenant),
            None => request,
        }
    }

    /// The status of a GET, `None` when there is no answer.
    pub async fn status(&self, path: &str) -> Option<u16> {
        Some(self.request(reqwest::Method::GET, path).send().await.ok()?.status().as_u16())
    }

    /// Status and body of a GET.
    pub async fn get(&self, path: &str) -> (u16, String) {
        self.send("GET", path).await
    }

    /// Status and body of a request without one.
    pub async fn send(&self, method: &str, path: &str) -> (u16, String) {
        let answer = self.request(method.parse().unwrap(), path).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// The sum of a metric's samples whose labels hold `label`; 0 when there is none yet.
    pub async fn metric(&self, name: &str, label: &str) -> f64 {
        let (_, text) = self.get("/metrics").await;
        let samples = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The answer of a page that has a form for programs.
    pub async fn get_json(&self, path: &str) -> Value {
        let request = self.request(reqwest::Method::GET, path).header("Accept", "application/json");
        serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap()
    }

    /// Status and body of a POST; `None` when the connection broke before an answer.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Option<(u16, String)> {
        let mut request = self.request(reqwest::Method::POST, path).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.text().await.ok()?))
    }

    /// Pushes lines of one stream as JSON; the status, or `None` when nobody answered.
    pub async fn push(&self, labels: &[(&str, &str)], lines: &[(i64, String)]) -> Option<u16> {
        let stream: BTreeMap<_, _> = labels.iter().copied().collect();
        let values: Vec<Value> = lines.iter().map(|(ts, line)| json!([ts.to_string(), line])).collect();
        let body = json!({"streams": [{"stream": stream, "values": values}]}).to_string().into_bytes();
        Some(self.post("/loki/api/v1/push", &[("Content-Type", "application/json")], body).await?.0)
    }

    /// The parsed answer of a query_range, which must succeed.
    pub async fn query_range(&self, query: &str, start_ns: i64, end_ns: i64, limit: usize, direction: &str) -> Value {
        let url = format!(
            "/loki/api/v1/query_range?query={}&start={start_ns}&end={end_ns}&limit={limit}&direction={direction}",
            encode(query)
        );
        let (status, body) = self.get(&url).await;
        assert_eq!(status, 200, "{query}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Every line of a selector in a range, read page by page, oldest first; fails on a warning.
    pub async fn all_lines(&self, query: &str, start_ns: i64, end_ns: i64) -> Vec<Line> {
        const PAGE: usize = 5000;
        let mut all: Vec<Line> = vec![];
        let mut from = start_ns;
        loop {
            let answer = self.query_range(query, from, end_ns, PAGE, "forward").await;
            assert_eq!(answer.get("warnings"), None, "{query}");
            let mut page = lines(&answer);
            let full = page.len() == PAGE;
            page.sort_by(|a, b| (a.ts_ns, a).cmp(&(b.ts_ns, b)));
            let Some(last_ts) = page.last().map(|l| l.ts_ns) else { return all };
            if !full {
                all.extend(page);
                return all;
            }
            // The last timestamp may be cut in the middle: it is read again with the next page.
            assert!(page[0].ts_ns < last_ts, "more than {PAGE} lines at one timestamp");
            all.extend(page.into_iter().filter(|l| l.ts_ns < last_ts));
            from = last_ts;
        }
    }
}

/// The lines of a `streams` answer.
pub fn lines(answer: &Value) -> Vec<Line> {
    let mut all = vec![];
    for stream in answer["data"]["result"].as_array().unwrap() {
        let labels: BTreeMap<String, String> = serde_json::from_value(stream["stream"].clone()).unwrap();
        for value in stream["values"].as_array().unwrap() {
            all.push(Line {
                labels: labels.clone(),
                ts_ns: value[0].as_str().unwrap().parse().unwrap(),
                text: value[1].as_str().unwrap().to_string(),
            });
        }
    }
    all
}

/// Percent-encodes a query parameter.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => (b as char).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
}

pub fn now_ns() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as i64
}
