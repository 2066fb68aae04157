//! The pages of a cluster that does not gossip; those of one that does are asked of real processes.

use super::*;
use axum::body::Body;
use axum::http::Request;
use cluster::members::StaticMembers;
use rpc::wire::ClusterId;
use runtime::clock::ManualClock;
use std::sync::Arc;
use tower::ServiceExt;

fn cluster() -> Cluster {
    let member = |id: &str, role: &str| Member {
        id: id.into(),
        grpc_address: format!("{id}:9095"),
        zone: "<z>".into(),
        state: MemberState::Active,
        roles: vec![role.into()],
    };
    Cluster {
        members: Arc::new(StaticMembers::new(vec![member("a", "ingester"), member("b", "ruler")])),
        id: "a".into(),
        name: ClusterId::default(),
        gossip: None,
        clock: ManualClock::at(1_768_471_200_000_000_000),
    }
}

async fn ask(method: &str, path: &str, accept: &str, body: &str) -> (u16, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("accept", accept)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(body.to_string()))
        .unwrap();
    let answer = router(cluster()).oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn the_ring_is_shown_to_people_and_to_programs() {
    let (_, json) = ask("GET", "/ring", "application/json", "").await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["now"], "2026-01-15T10:00:00Z");
    let shards = json["shards"].as_array().unwrap();
    assert_eq!(shards.len(), 1);
    for (key, value) in [
        ("id", json!("a")),
        ("state", json!("ACTIVE")),
        ("address", json!("a:9095")),
        ("timestamp", json!("2026-01-15T10:00:00Z")),
        ("registered_timestamp", json!("")),
        ("read_only", json!(false)),
        ("zone", json!("<z>")),
    ] {
        assert_eq!(shards[0][key], value, "{key}");
    }
    assert_eq!(shards[0]["tokens"].as_array().unwrap().len(), 128);
    for (method, path, body, status, holds) in [
        ("GET", "/ring", "", 200, "<td>a</td><td>&lt;z&gt;</td><td>ACTIVE</td><td>a:9095</td>"),
        ("GET", "/ruler/ring", "", 200, "<td>b</td>"),
        ("GET", "/compactor/ring", "", 200, "Ring Status: compactor"),
        ("GET", "/memberlist", "", 200, "This instance doesn't use memberlist."),
        ("POST", "/ring", "forget=a", 400, "common.ring.static_members"),
        ("GET", "/nobody/ring", "", 404, ""),
    ] {
        let (got, text) = ask(method, path, "text/html", body).await;
        assert_eq!(got, status, "{method} {path}");
        assert!(text.contains(holds), "{method} {path}: {text}");
    }
}
