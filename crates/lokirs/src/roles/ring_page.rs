//! The page of a ring, in Loki's JSON: who plays the role, in which state, at which tokens.

use crate::node::Base;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, extract::State};
use cluster::members::{Member, Members};
use cluster::ring::{TOKENS_PER_MEMBER, token_of};
use runtime::clock::SharedClock;
use serde_json::{Value, json};
use std::sync::Arc;

/// Tells the id of the member that does the work, where one does it for all.
pub type Owner = Arc<dyn Fn() -> Option<String> + Send + Sync>;

#[derive(Clone)]
struct Page {
    role: &'static str,
    members: Arc<dyn Members>,
    clock: SharedClock,
    owner: Option<Owner>,
}

/// GET `path`: the ring of `role`.
pub fn router(path: &str, role: &'static str, base: &Base, owner: Option<Owner>) -> Router {
    let page = Page { role, members: base.members.clone(), clock: base.clock.clone(), owner };
    Router::new().route(path, get(show)).with_state(page)
}

async fn show(State(page): State<Page>) -> Response {
    let shards: Vec<Value> = page.members.playing(page.role).iter().map(shard).collect();
    let now = jiff::Timestamp::from_nanosecond(page.clock.now_ns().into()).unwrap_or_default().to_string();
    let mut body = json!({ "shards": shards, "now": now });
    if let Some(owner) = &page.owner {
        body["owner"] = owner().into();
    }
    Json(body).into_response()
}

fn shard(member: &Member) -> Value {
    let tokens: Vec<u32> = (0..TOKENS_PER_MEMBER).map(|i| token_of(&member.id, i)).collect();
    json!({
        "id": member.id,
        "state": member.state.name(),
        "address": member.grpc_address,
        "zone": member.zone,
        "read_only": false,
        "tokens": tokens,
    })
}
