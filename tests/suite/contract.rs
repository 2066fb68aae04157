//! The calls of Loki's clients (`tests/contract`), performed on a real process and checked as those clients parse the
//! answers.

use crate::process::{Node, test_data};
use std::process::Command;

/// Runs every check; `tenant` where authentication is on.
async fn check(auth_enabled: bool, tenant: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let yaml = format!(
        "auth_enabled: {auth_enabled}\ncommon: {{path_prefix: \"${{DIR}}/data\"}}\npattern_ingester: {{enabled: true}}\n"
    );
    let mut node = Node::new(dir.path()).config(&yaml);
    node.start().await;
    let mut command = Command::new("python3");
    command.arg(test_data("contract/contract_check.py")).args(tenant);
    command.arg(format!("http://127.0.0.1:{}", node.http_port));
    let output = tokio::task::block_in_place(|| command.output()).expect("python3 is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    let told: Vec<&str> = text.lines().filter(|line| !line.starts_with("PASS") && !line.starts_with("ok")).collect();
    assert!(output.status.success(), "{}\n{}", told.join("\n"), String::from_utf8_lossy(&output.stderr));
    let passed: u32 = text.lines().last().and_then(|l| l.split(' ').next()?.parse().ok()).unwrap_or_default();
    assert!(passed > 150, "only {passed} checks were made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loki_s_clients_are_answered() {
    check(false, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loki_s_clients_are_answered_as_tenants() {
    check(true, &["--tenant", "acme"]).await;
}
