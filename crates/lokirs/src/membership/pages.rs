//! Who is in the cluster, for people and for programs: `/ring`, the same for the other roles, `/memberlist`.

use super::Cluster;
use crate::roles::owner::{self, COMPACTOR};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Form, Json, Router};
use cluster::gossip::Peer;
use cluster::members::{Member, MemberState};
use cluster::ring::{TOKENS_PER_MEMBER, token_of};
use model::Kind;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Loki's name of a ring in paths, and the role whose members it has.
const RINGS: [(&str, &str); 5] = [
    ("distributor", "distributor"),
    ("scheduler", "query-scheduler"),
    ("indexgateway", "index-gateway"),
    ("compactor", "compactor"),
    ("ruler", "ruler"),
];

pub fn router(cluster: Cluster) -> Router {
    let mut router = Router::new().route("/memberlist", get(memberlist)).route("/ring", get(ingesters).post(forget));
    for (name, role) in RINGS {
        // The ring of this role's instances, as `/ring`.
        let ring_of_role =
            move |State(cluster): State<Cluster>, headers: HeaderMap| async move { ring(&cluster, role, &headers) };
        router = router.route(&format!("/{name}/ring"), get(ring_of_role).post(forget));
    }
    router.with_state(cluster)
}

/// The ring of ingesters as a page, or as JSON.
async fn ingesters(State(cluster): State<Cluster>, headers: HeaderMap) -> Response {
    ring(&cluster, super::INGESTER, &headers)
}

fn ring(cluster: &Cluster, role: &str, headers: &HeaderMap) -> Response {
    let now_ns = cluster.clock.now_ns();
    let rows: Vec<Row> = cluster.rows().into_iter().filter(|row| row.member.plays(role)).collect();
    if wants_json(headers) {
        let shards: Vec<Value> = rows.iter().map(|row| row.shard(now_ns)).collect();
        let mut body = json!({ "shards": shards, "now": time(now_ns) });
        if role == COMPACTOR {
            body["owner"] = owner::compactor(&*cluster.members).map(|member| member.id).into();
        }
        return Json(body).into_response();
    }
    let mut body = String::from(
        "<tr><th>Instance ID</th><th>Availability Zone</th><th>State</th><th>Address</th><th>Registered At</th>\
         <th>Last Heartbeat</th><th>Tokens</th><th>Actions</th></tr>",
    );
    for row in &rows {
        let Member { id, zone, grpc_address, state, .. } = &row.member;
        let heartbeat = row.heard_ns(now_ns).map(time).unwrap_or_default();
        let registered = row.registered_ns().map(time).unwrap_or_default();
        let action = match state {
            MemberState::Unhealthy => {
                format!("<button name=\"forget\" value=\"{}\" type=\"submit\">Forget</button>", escape(id))
            }
            _ => String::new(),
        };
        let cells = [id, zone, state.name(), grpc_address, &registered, &heartbeat, &TOKENS_PER_MEMBER.to_string()];
        body += &format!("<tr>{}<td>{action}</td></tr>", cells.map(cell).concat());
    }
    page(&format!("Ring Status: {role}"), &format!("<form method=\"POST\"><table>{body}</table></form>"))
}

/// All members of the cluster and their states.
async fn memberlist(State(cluster): State<Cluster>, headers: HeaderMap) -> Response {
    let Some(gossip) = &cluster.gossip else {
        return "This instance doesn't use memberlist.".into_response();
    };
    let settings = gossip.settings();
    let rows = cluster.rows();
    if wants_json(&headers) {
        let members: Vec<Value> = rows.iter().filter_map(Row::peer).collect();
        let (name, own) = (&settings.cluster, &settings.id);
        return Json(json!({ "cluster": name, "node": own, "members": members })).into_response();
    }
    let mut body =
        String::from("<tr><th>Name</th><th>Address</th><th>gRPC</th><th>State</th><th>Roles</th><th>Version</th></tr>");
    for row in &rows {
        let Some(peer) = &row.peer else { continue };
        let Member { id, grpc_address, state, roles, .. } = &row.member;
        let (address, roles) = (peer.incarnation.address.to_string(), roles.join(", "));
        let cells = [id, &address, grpc_address, state.name(), &roles, &peer.version];
        body += &format!("<tr>{}</tr>", cells.map(cell).concat());
    }
    let title = format!("Memberlist Status: {} members of {}", rows.len(), settings.cluster);
    page(&title, &format!("<table>{body}</table>"))
}

#[derive(Deserialize)]
struct ForgetForm {
    forget: String,
}

/// Drops the member `forget` if it is dead, and shows the page again.
async fn forget(State(cluster): State<Cluster>, uri: Uri, Form(form): Form<ForgetForm>) -> Response {
    let answer = match &cluster.gossip {
        Some(gossip) => gossip.forget(&form.forget),
        None => Err(model::Error::invalid("static members are forgotten in common.ring.static_members")),
    };
    match answer {
        Ok(()) => (StatusCode::FOUND, [(header::LOCATION, uri.path().to_string())]).into_response(),
        Err(error) if error.kind == Kind::NotFound => (StatusCode::NOT_FOUND, error.message).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, error.message).into_response(),
    }
}

/// A member and, where there is gossip, what it shows.
struct Row {
    member: Member,
    peer: Option<Peer>,
}

impl Cluster {
    fn rows(&self) -> Vec<Row> {
        match &self.gossip {
            Some(gossip) => gossip.peers().into_iter().map(|(member, peer)| Row { member, peer: Some(peer) }).collect(),
            None => self.members.all().iter().cloned().map(|member| Row { member, peer: None }).collect(),
        }
    }
}

impl Row {
    fn heard_ns(&self, now_ns: i64) -> Option<i64> {
        let silent = self.peer.as_ref().map_or(Duration::ZERO, |peer| peer.silent);
        now_ns.checked_sub(silent.as_nanos() as i64)
    }

    fn registered_ns(&self) -> Option<i64> {
        self.peer.as_ref().map(|peer| peer.incarnation.generation as i64)
    }

    fn shard(&self, now_ns: i64) -> Value {
        let tokens: Vec<u32> = (0..TOKENS_PER_MEMBER).map(|i| token_of(&self.member.id, i)).collect();
        json!({
            "id": self.member.id,
            "state": self.member.state.name(),
            "address": self.member.grpc_address,
            "timestamp": self.heard_ns(now_ns).map(time),
            "registered_timestamp": self.registered_ns().map(time).unwrap_or_default(),
            "read_only": false,
            "zone": self.member.zone,
            "tokens": tokens,
        })
    }

    fn peer(&self) -> Option<Value> {
        let Peer { incarnation, version, silent } = self.peer.as_ref()?;
        Some(json!({
            "name": self.member.id,
            "address": incarnation.address.to_string(),
            "grpc_address": self.member.grpc_address,
            "state": self.member.state.name(),
            "zone": self.member.zone,
            "roles": self.member.roles,
            "generation": incarnation.generation.to_string(),
            "version": version,
            "silent_seconds": silent.as_secs_f64(),
        }))
    }
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepts.contains("application/json")
}

fn time(ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ns)).map(|time| time.to_string()).unwrap_or_default()
}

fn page(title: &str, content: &str) -> Response {
    let title = escape(title);
    let style = "body{font-family:sans-serif}table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:4px 8px;text-align:left}";
    Html(format!(
        "<!DOCTYPE html><html><head><meta charset=\"UTF-8\"><title>{title}</title><style>{style}</style></head>\
         <body><h1>{title}</h1>{content}</body></html>"
    ))
    .into_response()
}

fn cell(text: &str) -> String {
    format!("<td>{}</td>", escape(text))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
#[path = "pages_tests.rs"]
mod tests;
