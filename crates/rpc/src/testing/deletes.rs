//! The contract of [`Deletes`].

use crate::deletes::{DeleteFilter, DeleteRequest, DeleteStatus, Deletes, NewDelete};
use async_trait::async_trait;
use model::{Error, Kind, Result, TenantId, TimeRange};
use std::sync::{Arc, Mutex};

/// A delete service that answers what it is told to, and remembers its calls.
#[derive(Default)]
pub struct ScriptedDeletes {
    /// Each with its arguments.
    pub calls: Mutex<Vec<String>>,
    pub requests: Vec<DeleteRequest>,
    /// What every call answers with, if set.
    pub error: Mutex<Option<Error>>,
}

impl ScriptedDeletes {
    pub fn with_requests() -> Self {
        let request = |id: &str, query: &str, status| DeleteRequest {
            id: id.into(),
            query: query.into(),
            start_ms: -1,
            end_ms: 1_795_410_352_950,
            created_ms: 5,
            status,
        };
        let requests = vec![
            request("01599ad3", r#"{app="a\"b", env=~"x|y"}"#, DeleteStatus::Received),
            request(
                "00000000",
                r#"{app!="ü", job=~".+"} |= "secret" | json | level=~"a.*", size > 5KB"#,
                DeleteStatus::Processed,
            ),
        ];
        ScriptedDeletes { requests, ..ScriptedDeletes::default() }
    }

    /// The filters of all requests.
    pub fn filters(&self) -> Vec<DeleteFilter> {
        let filter = |r: &DeleteRequest| DeleteFilter::parse(&r.query, r.start_ms, r.end_ms).expect("a valid query");
        self.requests.iter().map(filter).collect()
    }

    fn answer<T>(&self, call: String, value: T) -> Result<T> {
        self.calls.lock().expect("no test panics with it").push(call);
        self.error.lock().expect("no test panics with it").clone().map_or(Ok(value), Err)
    }
}

#[async_trait]
impl Deletes for ScriptedDeletes {
    async fn create(&self, tenant: &TenantId, request: NewDelete) -> Result<String> {
        self.answer(format!("create {tenant} {request:?}"), "01599ad3".into())
    }
    async fn list(&self, tenant: &TenantId) -> Result<Vec<DeleteRequest>> {
        self.answer(format!("list {tenant}"), self.requests.clone())
    }
    async fn cancel(&self, tenant: &TenantId, id: &str, force: bool) -> Result<()> {
        self.answer(format!("cancel {tenant} {id} {force}"), ())
    }
    async fn filters(&self, tenant: &TenantId, range: TimeRange) -> Result<Vec<DeleteFilter>> {
        self.answer(format!("filters {tenant} {range:?}"), ScriptedDeletes::filters(self))
    }
    async fn generation(&self, tenant: &TenantId) -> Result<String> {
        self.answer(format!("generation {tenant}"), "17".into())
    }
}

/// Checks that `make` gives a delete service that is, to its caller, the scripted one it is given.
pub async fn check_deletes<F, D>(make: F)
where
    F: AsyncFn(Arc<ScriptedDeletes>) -> D,
    D: Deletes,
{
    let script = Arc::new(ScriptedDeletes::with_requests());
    let deletes = make(script.clone()).await;
    let tenant = TenantId::parse("team-a").expect("a valid name");
    let new = NewDelete::parse(r#"{app="a"} |= "x\ny""#, -7, 9, 9).expect("a valid request");
    let range = TimeRange::new(i64::MIN, i64::MAX);
    assert_eq!(deletes.create(&tenant, new.clone()).await, Ok("01599ad3".into()));
    assert_eq!(deletes.list(&tenant).await, Ok(script.requests.clone()));
    assert_eq!(deletes.cancel(&tenant, "01599ad3", true).await, Ok(()));
    assert_eq!(deletes.filters(&tenant, range).await, Ok(ScriptedDeletes::filters(&script)));
    assert_eq!(deletes.generation(&tenant).await, Ok("17".into()));
    let expected = [
        format!("create team-a {new:?}"),
        "list team-a".into(),
        "cancel team-a 01599ad3 true".into(),
        format!("filters team-a {range:?}"),
        "generation team-a".into(),
    ];
    assert_eq!(*script.calls.lock().expect("no test panics with it"), expected);
    for kind in [Kind::Invalid, Kind::Forbidden, Kind::NotFound, Kind::Unavailable, Kind::Corrupt] {
        let error = Error::new(kind, "what\nhappened: ünï");
        *script.error.lock().expect("no test panics with it") = Some(error.clone());
        assert_eq!(deletes.create(&tenant, new.clone()).await, Err(error.clone()));
        assert_eq!(deletes.list(&tenant).await, Err(error.clone()));
        assert_eq!(deletes.cancel(&tenant, "x", false).await, Err(error.clone()));
        assert_eq!(deletes.filters(&tenant, range).await, Err(error.clone()));
        assert_eq!(deletes.generation(&tenant).await, Err(error));
    }
}
