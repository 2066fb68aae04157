//! Loki's delete API: a tenant's requests taken, listed and taken back; and the generation that caches of answers go
//! by. It must not know how requests are carried out. The routes are there only where `retention_enabled` is set.

use crate::error::ApiError;
use crate::query::params::Params;
use crate::tenant::tenant;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use model::time::{NANOS_PER_MILLI, floor_ms};
use model::{Error, Result, TenantId};
use rpc::deletes::{DeleteRequest, DeleteStatus, Deletes, NewDelete};
use runtime::clock::SharedClock;
use std::sync::Arc;

/// The id of a new request.
const ID_HEADER: &str = "X-Delete-Request-Id";
/// Digits of a time in seconds; a longer number is no time that Loki reads.
const SECONDS_DIGITS_MAX: usize = 10;

/// What the handlers need.
#[derive(Clone)]
pub struct DeletesApi {
    pub deletes: Arc<dyn Deletes>,
    pub auth_enabled: bool,
    pub clock: SharedClock,
}

pub fn router(api: DeletesApi) -> Router {
    Router::new()
        .route("/loki/api/v1/delete", get(list).post(create).put(create).delete(cancel))
        .route("/loki/api/v1/cache/generation_numbers", get(generation))
        .with_state(api)
}

type Answer = std::result::Result<Response, ApiError>;

impl DeletesApi {
    async fn read(&self, request: Request<Body>) -> std::result::Result<(TenantId, Params), ApiError> {
        let tenant = tenant(request.headers(), self.auth_enabled).map_err(ApiError::ingest)?;
        let params = Params::read(request).await.map_err(ApiError::ingest)?;
        Ok((tenant, params))
    }
}

/// Asks for the deletion of the lines of `query` between `start` and `end`.
async fn create(State(api): State<DeletesApi>, request: Request<Body>) -> Answer {
    let (tenant, params) = api.read(request).await?;
    let new = new_delete(&params, floor_ms(api.clock.now_ns())).map_err(ApiError::ingest)?;
    let id = api.deletes.create(&tenant, new).await.map_err(ApiError::ingest)?;
    Ok((StatusCode::NO_CONTENT, [(ID_HEADER, id)]).into_response())
}

/// The tenant's delete requests and their states.
async fn list(State(api): State<DeletesApi>, request: Request<Body>) -> Answer {
    let (tenant, _) = api.read(request).await?;
    let requests = api.deletes.list(&tenant).await.map_err(ApiError::ingest)?;
    let objects: Vec<String> = requests.iter().map(object).collect();
    Ok(json(format!("[{}]\n", objects.join(","))))
}

/// Cancels the delete request `request_id`; `force=true` also when it was carried out in part.
async fn cancel(State(api): State<DeletesApi>, request: Request<Body>) -> Answer {
    let (tenant, params) = api.read(request).await?;
    // Loki takes a request without an id for one that is done.
    if let Some(id) = params.get("request_id") {
        let force = params.get("force") == Some("true");
        api.deletes.cancel(&tenant, id, force).await.map_err(ApiError::ingest)?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The number that changes with every delete request, for caches of answers.
async fn generation(State(api): State<DeletesApi>, request: Request<Body>) -> Answer {
    let (tenant, _) = api.read(request).await?;
    let generation = api.deletes.generation(&tenant).await.map_err(ApiError::ingest)?;
    Ok(json(format!("{}\n", json_string(&generation))))
}

/// `query`, `start` and `end`, by default now. `max_interval` splits the work in Loki and has no meaning here.
fn new_delete(params: &Params, now_ms: i64) -> Result<NewDelete> {
    if params.query().is_empty() {
        return Err(Error::invalid("query not set"));
    }
    let start = params.get("start").ok_or_else(|| Error::invalid("start time not set"))?;
    let start_ms = time_ms("start", start)?;
    let end_ms = params.get("end").map_or(Ok(now_ms), |text| time_ms("end", text))?;
    NewDelete::parse(params.query(), start_ms, end_ms, now_ms)
}

fn time_ms(name: &str, text: &str) -> Result<i64> {
    let seconds = text.len() <= SECONDS_DIGITS_MAX && text.bytes().all(|b| b.is_ascii_digit());
    let ms = match seconds {
        true => text.parse().ok().and_then(|seconds: i64| seconds.checked_mul(1000)),
        false => text.parse().ok().and_then(|time: jiff::Timestamp| {
            i64::try_from(time.as_nanosecond().div_euclid(i128::from(NANOS_PER_MILLI))).ok()
        }),
    };
    ms.ok_or_else(|| Error::invalid(format!("invalid {name} time: require unix seconds or RFC3339 format")))
}

fn json(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// A request as Loki prints it; the tenant is left empty there.
fn object(request: &DeleteRequest) -> String {
    let status = match request.status {
        DeleteStatus::Received => "received",
        DeleteStatus::Processed => "processed",
    };
    format!(
        r#"{{"request_id":{},"start_time":{},"end_time":{},"query":{},"status":"{status}","created_at":{},"user_id":""}}"#,
        json_string(&request.id),
        seconds(request.start_ms),
        seconds(request.end_ms),
        json_string(&request.query),
        seconds(request.created_ms),
    )
}

/// Seconds with as many digits after the point as there are: `1795410352.84`.
fn seconds(ms: i64) -> String {
    let (whole, rest) = (ms.div_euclid(1000), ms.rem_euclid(1000));
    if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:03}").trim_end_matches('0').to_string() }
}

/// Quoted as Go's encoder does: what HTML would take for markup is escaped.
fn json_string(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use axum::body::to_bytes;
    use model::{Kind, TimeRange};
    use rpc::deletes::DeleteFilter;
    use runtime::clock::ManualClock;
    use std::sync::Mutex;
    use tower::ServiceExt;

    const NOW_NS: i64 = 1_795_410_352_950_000_000;

    /// Keeps what is created; the tenant `off` may not delete.
    #[derive(Default)]
    struct Kept(Mutex<Vec<DeleteRequest>>);

    #[async_trait]
    impl Deletes for Kept {
        async fn create(&self, tenant: &TenantId, new: NewDelete) -> Result<String> {
            if tenant.as_str() == "off" {
                return Err(Error::new(Kind::Forbidden, "deletion is not available for this tenant"));
            }
            let id = "01599ad3".to_string();
            self.0.lock().unwrap().push(DeleteRequest {
                id: id.clone(),
                query: new.query().into(),
                start_ms: new.start_ms(),
                end_ms: new.end_ms(),
                created_ms: NOW_NS / 1_000_000 - 110,
                status: DeleteStatus::Received,
            });
            Ok(id)
        }
        async fn list(&self, _: &TenantId) -> Result<Vec<DeleteRequest>> {
            Ok(self.0.lock().unwrap().clone())
        }
        async fn cancel(&self, _: &TenantId, id: &str, force: bool) -> Result<()> {
            match id {
                "01599ad3" if force => Ok(()),
                "01599ad3" => Err(Error::invalid("too late")),
                _ => Err(Error::new(Kind::NotFound, "could not find delete request with given id")),
            }
        }
        async fn filters(&self, _: &TenantId, _: TimeRange) -> Result<Vec<DeleteFilter>> {
            Ok(vec![])
        }
        async fn generation(&self, _: &TenantId) -> Result<String> {
            Ok("1795410352840000000".into())
        }
    }

    async fn ask(router: &Router, method: &str, path: &str, tenant: &str) -> (u16, String, String) {
        let request = Request::builder().method(method).uri(path).header("X-Scope-OrgID", tenant);
        let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (status, id) = (response.status().as_u16(), response.headers().get(ID_HEADER).cloned());
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let id = id.map(|id| id.to_str().unwrap().to_string()).unwrap_or_default();
        (status, String::from_utf8(body.to_vec()).unwrap(), id)
    }

    #[tokio::test]
    async fn requests_are_answered_as_loki_answers_them() {
        let deletes = Arc::new(Kept::default());
        let api = DeletesApi { deletes, auth_enabled: true, clock: ManualClock::at(NOW_NS) };
        let router = router(api);
        let query = "query=%7Bapp%3D%22gateway%22%7D%20%7C%3D%20%22%3Ca%22";
        let delete = "/loki/api/v1/delete";
        for (method, path, tenant, status, body) in [
            ("POST", delete.to_string(), "a", 400, "query not set\n"),
            ("POST", format!("{delete}?{query}"), "a", 400, "start time not set\n"),
            ("POST", format!("{delete}?query=%7B&start=1"), "a", 400, "invalid query expression\n"),
            (
                "POST",
                format!("{delete}?{query}&start=yesterday"),
                "a",
                400,
                "invalid start time: require unix seconds or RFC3339 format\n",
            ),
            (
                "POST",
                format!("{delete}?{query}&start=1&end=17954103529"),
                "a",
                400,
                "invalid end time: require unix seconds or RFC3339 format\n",
            ),
            (
                "PUT",
                format!("{delete}?{query}&start=1&end=1795410353"),
                "a",
                400,
                "deletes in the future are not allowed\n",
            ),
            ("PUT", format!("{delete}?{query}&start=5&end=5"), "a", 400, "start time can't be greater than end time\n"),
            ("POST", format!("{delete}?{query}&start=5"), "off", 403, "deletion is not available for this tenant\n"),
            ("POST", format!("{delete}?{query}&start=5"), "", 401, "no org id\n"),
            ("DELETE", delete.to_string(), "a", 204, ""),
            ("DELETE", format!("{delete}?request_id=x"), "a", 404, "could not find delete request with given id\n"),
            ("DELETE", format!("{delete}?request_id=01599ad3"), "a", 400, "too late\n"),
            ("DELETE", format!("{delete}?request_id=01599ad3&force=true"), "a", 204, ""),
            ("GET", "/loki/api/v1/cache/generation_numbers".into(), "a", 200, "\"1795410352840000000\"\n"),
            ("GET", delete.to_string(), "a", 200, "[]\n"),
        ] {
            let (got, text, _) = ask(&router, method, &path, tenant).await;
            assert_eq!((got, text.as_str()), (status, body), "{method} {path}");
        }
        let (status, _, id) = ask(&router, "POST", &format!("{delete}?{query}&start=2025-03-01T22:00:00Z"), "a").await;
        assert_eq!((status, id.as_str()), (204, "01599ad3"));
        let listed = concat!(
            r#"[{"request_id":"01599ad3","start_time":1740866400,"end_time":1795410352.95,"#,
            r#""query":"{app=\"gateway\"} |= \"\u003ca\"","status":"received","#,
            r#""created_at":1795410352.84,"user_id":""}]"#
        );
        assert_eq!(ask(&router, "GET", delete, "a").await.1.trim_end(), listed);
    }
}
