//! Who may do what on the HTTP listeners: a request is let through by the credential that it shows, and its tenant is one
//! that the credential has. Without `server.auth_file` every request is let through, as in Loki. It must not know what is
//! asked for.

mod file;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use file::{Credential, Credentials, Permission};
use runtime::metrics::{Counter, Family, Metrics};
use runtime::reload::{Reloaded, Reloader};

const TENANT_HEADER: &str = "x-scope-orgid";
/// What separates tenants in a request that reads of several.
const SEPARATOR: char = '|';

/// Lets requests through; a cheap handle.
#[derive(Clone)]
pub struct Guard(Option<Inner>);

#[derive(Clone)]
struct Inner {
    credentials: Reloaded<Credentials>,
    refused: Family<Vec<(&'static str, &'static str)>, Counter>,
}

/// What a request needs; `None`: nothing.
type Rule = fn(&Request) -> Option<Permission>;

/// Why a request is not let through.
struct Refusal {
    status: StatusCode,
    /// The label of the metric.
    reason: &'static str,
    text: String,
}

impl Guard {
    /// Reads the file now and again whenever it changes. An empty name: no guard.
    pub fn new(file: &str, reloader: &Reloader, metrics: &Metrics) -> Result<Self, String> {
        if file.is_empty() {
            return Ok(Guard(None));
        }
        let refused = metrics.counters("auth_refused_requests", "Requests that were refused for their credential");
        let parse = |files: &[Vec<u8>]| Credentials::parse(&String::from_utf8_lossy(&files[0]));
        let credentials = reloader.start("server.auth_file", vec![file.into()], parse)?;
        Ok(Guard(Some(Inner { credentials, refused })))
    }

    /// For routes that take data.
    pub fn pushers(&self, routes: Router) -> Router {
        self.layered(routes, |_| Some(Permission::Push))
    }

    /// For the other routes of tenants.
    pub fn readers(&self, routes: Router) -> Router {
        self.layered(routes, |request| Some(of_tenant_route(request.method(), request.uri().path())))
    }

    /// For operators' routes.
    pub fn operators(&self, routes: Router) -> Router {
        self.layered(routes, |_| Some(Permission::Admin))
    }

    /// For what load balancers ask, and metrics.
    pub fn public(&self, routes: Router) -> Router {
        self.layered(routes, |request| (request.uri().path() == "/metrics").then_some(Permission::Metrics))
    }

    fn layered(&self, routes: Router, rule: Rule) -> Router {
        match &self.0 {
            None => routes,
            Some(inner) => routes.layer(from_fn_with_state((inner.clone(), rule), let_through)),
        }
    }
}

/// Deleting and writing rules are permissions of their own.
fn of_tenant_route(method: &Method, path: &str) -> Permission {
    let changes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if path.starts_with("/loki/api/v1/delete") || path.starts_with("/loki/api/v1/cache/generation_numbers") {
        Permission::Delete
    } else if changes && (path.starts_with("/loki/api/v1/rules") || path.starts_with("/api/prom/rules")) {
        Permission::Rules
    } else {
        Permission::Read
    }
}

async fn let_through(State((inner, rule)): State<(Inner, Rule)>, mut request: Request, next: Next) -> Response {
    let Some(permission) = rule(&request) else { return next.run(request).await };
    let credentials = inner.credentials.get();
    match admit(&credentials, permission, request.headers_mut()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            inner.refused.get_or_create(&vec![("reason", refusal.reason)]).inc();
            refusal.into_response()
        }
    }
}

/// From here on the request has the tenant that it is for, and no secret.
fn admit(credentials: &Credentials, permission: Permission, headers: &mut HeaderMap) -> Result<(), Refusal> {
    let credential = authenticate(credentials, headers)?;
    if !credential.permits(permission) {
        let text = format!("the credential {:?} has no permission to {}", credential.name, permission.name());
        return Err(Refusal { status: StatusCode::FORBIDDEN, reason: "permission", text });
    }
    check_tenant(credential, headers)?;
    headers.remove(header::AUTHORIZATION);
    Ok(())
}

fn authenticate<'a>(credentials: &'a Credentials, headers: &HeaderMap) -> Result<&'a Credential, Refusal> {
    let unauthorized = |reason, text: &str| Refusal { status: StatusCode::UNAUTHORIZED, reason, text: text.into() };
    let mut shown = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (shown.next(), shown.next()) else {
        return Err(unauthorized("no_credential", "one Authorization header is needed: Basic or Bearer"));
    };
    let unknown = || unauthorized("unknown_credential", "the credential is not known");
    credentials.find(value.to_str().map_err(|_| unknown())?).ok_or_else(unknown)
}

/// The tenants that the request names must be the credential's; one that names none has the credential's only one.
fn check_tenant(credential: &Credential, headers: &mut HeaderMap) -> Result<(), Refusal> {
    let foreign = |tenant: &str| Refusal {
        status: StatusCode::FORBIDDEN,
        reason: "tenant",
        text: format!("the credential {:?} is not for tenant {tenant:?}", credential.name),
    };
    let mut named = false;
    for value in headers.get_all(TENANT_HEADER) {
        let text = value.to_str().map_err(|_| foreign("(no text)"))?;
        for tenant in text.split(SEPARATOR).filter(|tenant| !tenant.is_empty()) {
            named = true;
            if !credential.has_tenant(tenant) {
                return Err(foreign(tenant));
            }
        }
    }
    if !named && let Some(tenant) = credential.only_tenant().and_then(|t| HeaderValue::from_str(t).ok()) {
        headers.insert(TENANT_HEADER, tenant);
    }
    Ok(())
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let headers =
            [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
        let mut response = (self.status, headers, format!("{}\n", self.text)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            for scheme in ["Basic realm=\"lokirs\", charset=\"UTF-8\"", "Bearer realm=\"lokirs\""] {
                response.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
            }
        }
        response
    }
}

#[cfg(test)]
#[path = "auth/tests.rs"]
mod tests;
