//! The metrics: docs/operation.md.

use crate::support::exposition::{Samples, read};
use crate::support::*;
use serde_json::json;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use tidewire_server::Config;
use tidewire_server::config::{Budget, ModelConfig};

fn with_metrics(config: &mut Config) {
    config.metrics_listen = Some("127.0.0.1:0".to_owned());
}

async fn scrape(address: SocketAddr) -> Samples {
    let (status, head, body) = get(address, "/metrics").await;
    assert_eq!(status, 200, "{body}");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    read(&body)
}

impl TestServer {
    async fn metrics(&self) -> Samples {
        scrape(self.server.metrics_address().unwrap()).await
    }

    /// Returns once the metric has this value.
    async fn reaches(&self, id: &str, number: f64) {
        let seen = async || {
            let at = self.metrics().await.get(id).copied().unwrap_or_default();
            (at == number).then_some(())
        };
        soon(seen).await;
    }
}

fn service(account: &str, scopes: &[&str]) -> String {
    let claims = json!({"kind": "service", "aud": "tidewire-service", "account": account, "scopes": scopes});
    token("backend", claims)
}

async fn get_with(address: SocketAddr, token: &str) -> (u16, String) {
    let text = format!(
        "GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    let (status, _, body) = request(address, &text).await;
    (status, body)
}

#[tokio::test]
async fn the_main_address_gives_metrics_to_a_service_of_the_own_account_alone() {
    let server = start(|_| {}).await;
    assert_eq!(server.server.metrics_address(), None, "nothing is open by default");
    let (status, _, body) = get(server.address, "/metrics").await;
    assert!(status == 401 && body.contains("unauthorized"), "{status} {body}");
    for outsider in [
        token("eve", json!({})),
        operator("olga"),
        service("default", &["connections"]),
        service("other", &["metrics"]),
    ] {
        let (status, body) = get_with(server.address, &outsider).await;
        assert!(status == 403 && body.contains("forbidden"), "{status} {body}");
    }
    let (status, body) = get_with(server.address, &service("default", &["metrics"])).await;
    assert_eq!(status, 200);
    assert!(read(&body).contains_key("tidewire_connections{transport=\"websocket\"}"));
}

#[tokio::test]
async fn an_address_of_their_own_gives_the_metrics_and_nothing_else() {
    let server = start(with_metrics).await;
    let address = server.server.metrics_address().unwrap();
    assert_ne!(address, server.address);
    scrape(address).await;
    for path in ["/", "/healthz", "/v1/ws", "/metrics/x", "/v1/connections"] {
        assert_eq!(get(address, path).await.0, 404, "{path}");
    }
    let (status, ..) =
        request(address, "POST /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert_eq!(status, 405);
}

#[tokio::test]
async fn an_address_that_is_in_use_ends_the_start() {
    let server = start(with_metrics).await;
    let taken = server.server.metrics_address().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder);
    config.metrics_listen = Some(taken);
    let error = tidewire_server::Server::start(config).await.err().expect("it can't start");
    assert_eq!(error.code(), "port_in_use");
}

#[tokio::test]
async fn each_metric_of_connections_moves_for_its_cause() {
    let server = start(|config| {
        with_metrics(config);
        config.limits.connections_per_user = 2;
    })
    .await;
    let websockets = "tidewire_connections{transport=\"websocket\"}";
    let mut ada = server.client("ada", json!([])).await;
    let second = server.client("ada", json!([])).await;
    let mut silent = Client::connect(server.address).await;
    server.reaches(websockets, 3.0).await;
    server.reaches("tidewire_connections_without_user", 1.0).await;
    let mut third = Client::connect(server.address).await;
    third.say_hello(&token("ada", json!({})), json!([])).await;
    third.refusal().await;
    silent.say_hello("no.token.this", json!([])).await;
    silent.refusal().await;
    let mut foreign = Client::connect_with(server.address, Some("https://evil.example"), None).await;
    foreign.refusal().await;
    server.reaches("tidewire_handshakes_refused_total{code=\"too_many_connections\"}", 1.0).await;
    server.reaches("tidewire_handshakes_refused_total{code=\"unauthorized\"}", 1.0).await;
    server.reaches("tidewire_handshakes_refused_total{code=\"origin_not_allowed\"}", 1.0).await;
    ada.send(json!({"t": "bye"})).await;
    ada.refusal().await;
    drop(second);
    server.reaches("tidewire_connections_closed_total{code=\"1000\"}", 1.0).await;
    server.reaches("tidewire_connections_closed_total{code=\"none\"}", 1.0).await;
    server.reaches("tidewire_connections_closed_total{code=\"4501\"}", 1.0).await;
    server.reaches("tidewire_connections_closed_total{code=\"4007\"}", 1.0).await;
    server.reaches(websockets, 0.0).await;
    let metrics = server.metrics().await;
    assert_eq!(metrics["tidewire_connections_opened_total"], 4.0, "the foreign page was not taken");
    assert_eq!(metrics["tidewire_connections_limit"], 10_000.0);
}

#[tokio::test]
async fn each_metric_of_messages_and_commits_moves_for_its_cause() {
    let server = start(|config| {
        with_metrics(config);
        config.limits.guest = Budget { ops: 1, per_ms: 60_000, burst: 1 };
    })
    .await;
    let subs = || json!([{"ch": "dialog:room"}]);
    let (mut ada, mut bob) = (server.client("ada", subs()).await, server.client("bob", subs()).await);
    bob.next_of("sub_ok").await;
    let before = server.metrics().await;
    let moved = |after: &Samples, id: &str| {
        after.get(id).copied().unwrap_or_default() - before.get(id).copied().unwrap_or_default()
    };
    let op = message(&id(), "hello");
    assert_eq!(ada.op(op.clone()).await["t"], "ok");
    assert_eq!(ada.op(op).await["dup"], true);
    let refused = json!({"t": "op", "id": id(), "ch": "dialog:room", "kind": "nonsense", "body": {}});
    assert_eq!(ada.op(refused).await["code"], "unknown_kind");
    ada.send(json!({"t": "signal", "ch": "dialog:room", "kind": "cursor", "body": {}})).await;
    ada.send(json!({"t": "watch", "ch": "dialog:room"})).await;
    bob.next_of("signal").await;
    assert!(ada.is_alive().await);
    let after = server.metrics().await;
    for (id, by) in [
        ("tidewire_ops_accepted_total", 1.0),
        ("tidewire_ops_repeated_total", 1.0),
        ("tidewire_ops_refused_total{code=\"unknown_kind\"}", 1.0),
        ("tidewire_signals_total", 1.0),
        ("tidewire_messages_received_total", 6.0),
        ("tidewire_frames_received_total", 6.0),
        ("tidewire_people_watchers{rule=\"dialog:room\"}", 1.0),
        // The event to two, the signal to one.
        ("tidewire_frames_sent_total{of=\"channels\"}", 3.0),
        ("tidewire_store_failures_total", 0.0),
    ] {
        assert_eq!(moved(&after, id), by, "{id}");
    }
    assert!(moved(&after, "tidewire_frames_sent_total{of=\"other\"}") >= 4.0, "answers, people and a pong");
    assert!(moved(&after, "tidewire_messages_sent_total") >= 4.0);
    assert!(moved(&after, "tidewire_sent_bytes_total") > 300.0);
    let commits = moved(&after, "tidewire_store_commit_writes_count");
    // The server has writes of its own, such as those of retention.
    assert!(commits >= 1.0, "{commits}");
    assert!(moved(&after, "tidewire_store_commit_writes_sum") >= 2.0);
    assert_eq!(moved(&after, "tidewire_store_commit_seconds_count"), commits);
    assert!(moved(&after, "tidewire_store_commit_seconds_sum") > 0.0);
    assert_eq!(after["tidewire_subscriptions{rule=\"dialog:room\"}"], 2.0);
    assert_eq!(after["tidewire_channels{rule=\"dialog:room\"}"], 1.0);
    assert_eq!(after["tidewire_store_failing"], 0.0);
    server.reaches("tidewire_store_queue", 0.0).await;
    if cfg!(target_os = "linux") {
        assert!(after["process_resident_memory_bytes"] > 1_000_000.0);
        assert!(after["process_open_fds"] > 3.0);
    }
    assert!(after["process_cpu_seconds_total"] > 0.0);
}

#[tokio::test]
async fn a_commit_that_fails_is_counted() {
    let server = start(with_metrics).await;
    let mut ada = server.client("ada", json!([])).await;
    server.server.fail_commit(false);
    assert_eq!(ada.say("hello").await["code"], "store_unavailable");
    server.reaches("tidewire_store_failures_total", 1.0).await;
}

#[tokio::test]
async fn answers_are_counted_by_their_end() {
    let server = start(|config| {
        with_metrics(config);
        config.model = ModelConfig::Scripted { pace: Duration::from_millis(30) };
    })
    .await;
    let mut ada = server.client("ada", json!([{"ch": "dialog:room"}])).await;
    ada.say("hello").await;
    let start = ada.event("answer.start").await;
    server.reaches("tidewire_runs{rule=\"dialog:room\"}", 1.0).await;
    let stop = json!({"t": "op", "id": id(), "ch": "dialog:room", "kind": "run.cancel",
                      "body": {"run": start["body"]["run"]}});
    assert_eq!(ada.op(stop).await["t"], "ok");
    server.reaches("tidewire_runs_ended_total{end=\"stopped\",code=\"\"}", 1.0).await;
    ada.say("again").await;
    server.reaches("tidewire_runs_ended_total{end=\"done\",code=\"\"}", 1.0).await;
    server.reaches("tidewire_runs{rule=\"dialog:room\"}", 0.0).await;
}

#[tokio::test]
async fn a_slow_reader_shows_before_it_is_closed() {
    let server = start(|config| {
        with_metrics(config);
        config.limits.queue_bytes = 524_288;
        config.limits.page_bytes = Budget { ops: 1 << 30, per_ms: 1, burst: 1 << 30 };
    })
    .await;
    // It never reads, and its system buffers little.
    let mut slow = Client::connect_with(server.address, None, Some(4_096)).await;
    slow.say_hello(&token("slow", json!({})), json!([{"ch": "dialog:room"}])).await;
    let mut fast = server.client("fast", json!([])).await;
    let text = "x".repeat(15_000);
    let mut most: f64 = 0.0;
    for _ in 0..2_000 {
        fast.say(&text).await;
        let metrics = server.metrics().await;
        most = most.max(metrics["tidewire_waiting_bytes_max"]);
        if metrics["tidewire_slow_connections"] == 1.0 {
            assert!(metrics["tidewire_waiting_bytes"] >= metrics["tidewire_waiting_bytes_max"]);
            assert!(most > 262_144.0, "{most}");
            return;
        }
    }
    panic!("it was never slow: {most}");
}

#[tokio::test]
async fn names_of_users_and_channels_are_in_no_label() {
    let server = start(|config| {
        with_metrics(config);
        config.channels = vec![rule("guild:{id}")];
    })
    .await;
    let subs = json!([{"ch": "guild:secret-1"}, {"ch": "guild:secret-2"}]);
    let mut eve = server.client("eve-secret", subs).await;
    eve.next_of("sub_ok").await;
    eve.next_of("sub_ok").await;
    let metrics = server.metrics().await;
    assert!(!metrics.keys().any(|id| id.contains("secret")), "{metrics:?}");
    assert_eq!(metrics["tidewire_subscriptions{rule=\"guild:{id}\"}"], 2.0);
}

fn rule(pattern: &str) -> tidewire_server::config::Rule {
    use tidewire_server::config::{Pattern, Rule, Who};
    Rule { open: true, ..Rule::new(Pattern::parse(pattern).unwrap(), vec![Who::Everyone]) }
}

#[tokio::test]
async fn the_page_lists_every_metric_and_no_other() {
    let page = include_str!("../../../docs/operation.md");
    let listed: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(|name| name.split('{').next().unwrap_or(name))
        .filter(|name| name.starts_with("tidewire_") || name.starts_with("process_"))
        .collect();
    let server = start(with_metrics).await;
    let (_, _, body) = get(server.server.metrics_address().unwrap(), "/metrics").await;
    let written: BTreeSet<&str> =
        body.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
    assert_eq!(listed, written);
    // Alert rules name metrics that are there.
    for word in page.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
        if word.starts_with("tidewire_") {
            let is_known = |name: &&str| {
                word.strip_prefix(*name).is_some_and(|rest| ["", "_bucket", "_sum", "_count"].contains(&rest))
            };
            assert!(written.iter().any(is_known), "{word}");
        }
    }
}
