//! Queries that are answered by their text.

use async_trait::async_trait;
use logql::value::{QueryValue, Sample, Series};
use model::{Error, Labels, Result};
use parking_lot::Mutex;
use rpc::call::{Call, Calls, Reply};
use rpc::queries::{QueryRequest, QueryResponse, QueryStats, QueryTime, Tenants};
use std::collections::HashMap;

#[derive(Default)]
pub struct ByExpression {
    answers: Mutex<HashMap<String, Answer>>,
    asked: Mutex<Vec<QueryRequest>>,
}

#[derive(Clone)]
struct Answer {
    samples: Vec<(Labels, f64)>,
    since_ns: i64,
    warning: Option<String>,
    failure: Option<String>,
}

impl ByExpression {
    /// One sample without labels, at any time.
    pub fn answer(&self, query: &str, value: f64) {
        self.answer_since(query, i64::MIN, value);
    }

    pub fn answer_since(&self, query: &str, since_ns: i64, value: f64) {
        let samples = vec![(Labels::default(), value)];
        self.set(query, Answer { samples, since_ns, warning: None, failure: None });
    }

    /// A sample for each value, told apart by the label `i`.
    pub fn answer_each(&self, query: &str, values: &[f64]) {
        let samples = values.iter().enumerate().map(|(i, value)| (Labels::new([("i", i.to_string())]), *value));
        self.set(query, Answer { samples: samples.collect(), since_ns: i64::MIN, warning: None, failure: None });
    }

    pub fn answer_nothing(&self, query: &str) {
        self.answer_each(query, &[]);
    }

    pub fn fail(&self, query: &str, failure: &str) {
        let failure = Some(failure.to_string());
        self.set(query, Answer { samples: vec![], since_ns: 0, warning: None, failure });
    }

    pub fn warn(&self, query: &str, warning: &str) {
        let warning = Some(warning.to_string());
        self.set(query, Answer { samples: vec![], since_ns: 0, warning, failure: None });
    }

    pub fn asked(&self) -> Vec<QueryRequest> {
        self.asked.lock().clone()
    }

    /// Of the range queries asked.
    pub fn steps_max(&self) -> i64 {
        let steps = |request: &QueryRequest| match request.time {
            QueryTime::Range { start_ns, end_ns, step_ns, .. } => (end_ns - start_ns) / step_ns + 1,
            QueryTime::Instant { .. } => 0,
        };
        self.asked.lock().iter().map(steps).max().unwrap_or(0)
    }

    fn set(&self, query: &str, answer: Answer) {
        self.answers.lock().insert(query.to_string(), answer);
    }
}

#[async_trait]
impl Calls for ByExpression {
    async fn call(&self, _: &Tenants, call: Call) -> Result<Reply> {
        let Call::Query(request) = call else { panic!("rules only query") };
        self.asked.lock().push(request.clone());
        let answer = self.answers.lock().get(&request.query).cloned();
        let Answer { samples, since_ns, warning, failure } = answer.expect("an answer for every query");
        if let Some(failure) = failure {
            return Err(Error::unavailable(failure));
        }
        let samples = samples.into_iter();
        let value = match request.time {
            QueryTime::Instant { time_ns } => {
                let samples = samples.filter(|_| time_ns >= since_ns);
                QueryValue::Vector(samples.map(|(labels, value)| Sample { labels, time_ns, value }).collect())
            }
            QueryTime::Range { start_ns, end_ns, step_ns, .. } => {
                let times = (0..).map(|i| start_ns + i * step_ns).take_while(|at| *at <= end_ns);
                let times: Vec<i64> = times.filter(|at| *at >= since_ns).collect();
                let series = |(labels, value)| Series { labels, points: times.iter().map(|at| (*at, value)).collect() };
                QueryValue::Matrix(samples.map(series).collect())
            }
        };
        let warnings = warning.into_iter().collect();
        Ok(Reply::Query(QueryResponse { value, warnings, stats: QueryStats::default() }))
    }
}
