//! Protocol section 7: sites, whose guests come from their pages alone.

use crate::support::*;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tidewire_server::config::{Pattern, Rule, SiteConfig, Who};
use tidewire_server::{Config, Server};

const SHOP: &str = "https://shop.example";
const OTHER: &str = "https://other.example";

fn sites(config: &mut Config) {
    let site = |key: &str, origin: &str, account: &str| SiteConfig {
        key: key.to_owned(),
        origins: vec![origin.to_owned()],
        account: Some(account.to_owned()),
        assistant: Some("sales".to_owned()),
    };
    config.sites = vec![site("shop-1", SHOP, "shop"), site("other-1", OTHER, "other")];
    let who = vec![Who::Claim("assistant".to_owned())];
    let rule = Rule { open: true, ..Rule::new(Pattern::parse("assistant:{id}").unwrap(), who) };
    config.channels = vec![rule];
}

async fn ask(
    address: SocketAddr,
    (method, path): (&str, &str),
    origin: Option<&str>,
    token: Option<&str>,
    body: &Value,
) -> (u16, String, Value) {
    let body = body.to_string();
    let mut headers = origin.map_or(String::new(), |origin| format!("origin: {origin}\r\n"));
    headers += &token.map_or(String::new(), |token| format!("authorization: Bearer {token}\r\n"));
    let text = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (status, head, body) = request(address, &text).await;
    (status, head, serde_json::from_str(&body).unwrap_or(Value::Null))
}

async fn guest(address: SocketAddr, origin: Option<&str>, body: Value) -> (u16, Value) {
    let (status, _, body) = ask(address, ("POST", "/v1/guest"), origin, None, &body).await;
    (status, body)
}

async fn shop_guest(address: SocketAddr) -> String {
    let (status, body) = guest(address, Some(SHOP), json!({"nickname": "Ada", "site": "shop-1"})).await;
    assert_eq!(status, 200, "{body}");
    body["token"].as_str().unwrap().to_owned()
}

async fn refusal(address: SocketAddr, origin: Option<&str>, token: &str) -> (String, u16) {
    let mut client = Client::connect_with(address, origin, None).await;
    client.say_hello(token, json!([])).await;
    client.refusal().await
}

fn operator_of(account: &str) -> String {
    token("olga", json!({"kind": "operator", "aud": "tidewire-operator", "account": account}))
}

#[tokio::test]
async fn a_guest_of_a_site_belongs_to_its_account_and_talks_to_its_assistant() {
    let server = start(sites).await;
    let address = server.address;
    let token = shop_guest(address).await;
    let subs = json!([{"ch": "assistant:sales"}, {"ch": "assistant:support"}]);
    let mut ada = Client::connect_with(address, Some(SHOP), None).await;
    ada.hello(&token, subs).await;
    assert_eq!(ada.next().await["t"], "sub_ok");
    assert_eq!(ada.next().await["code"], "forbidden");
    let (status, head, body) =
        ask(address, ("POST", "/v1/dialogs"), Some(SHOP), Some(&token), &json!({})).await;
    assert_eq!(status, 201);
    assert!(head.contains(&format!("access-control-allow-origin: {SHOP}")), "{head}");
    assert!(!head.contains("allow-credentials"), "cookies don't count from there");
    let subs = json!([{"ch": format!("dialog:{}", body["id"].as_str().unwrap())}]);
    for (account, t) in [("shop", "sub_ok"), ("other", "sub_err"), ("default", "sub_err")] {
        let mut olga = Client::connect(address).await;
        olga.hello(&operator_of(account), subs.clone()).await;
        assert_eq!(olga.next().await["t"], t, "{account}");
    }
    // A renewal keeps the site.
    let (status, _, renewed) =
        ask(address, ("POST", "/v1/guest"), Some(SHOP), Some(&token), &json!({})).await;
    assert_eq!(status, 200);
    let mut ada = Client::connect_with(address, Some(SHOP), None).await;
    ada.hello(renewed["token"].as_str().unwrap(), subs).await;
    assert_eq!(ada.next().await["t"], "sub_ok");
}

#[tokio::test]
async fn a_site_key_from_another_origin_is_refused_everywhere() {
    let server = start(sites).await;
    let address = server.address;
    let own = format!("http://{address}");
    let with_key = || json!({"nickname": "Eve", "site": "shop-1"});
    let foreign = ("origin_not_allowed".to_owned(), 4503);
    let token = shop_guest(address).await;
    for origin in [Some(OTHER), Some("https://evil.example"), Some("null"), Some(own.as_str()), None] {
        let (status, body) = guest(address, origin, with_key()).await;
        assert_eq!((status, &body["error"]["code"]), (403, &json!("origin_not_allowed")), "{origin:?}");
        assert_eq!(refusal(address, origin, &token).await, foreign, "{origin:?}");
        for (method, path) in [
            ("POST", "/v1/dialogs"),
            ("POST", "/v1/guest"),
            ("POST", "/v1/tickets"),
            ("GET", "/v1/channels/dialog:room/events"),
        ] {
            let (status, _, body) = ask(address, (method, path), origin, Some(&token), &json!({})).await;
            assert_eq!(
                (status, &body["error"]["code"]),
                (403, &json!("origin_not_allowed")),
                "{origin:?} {path}"
            );
        }
    }
    // Pages of a site are for its guests alone.
    let (status, body) = guest(address, Some(SHOP), json!({"nickname": "Eve"})).await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!("origin_not_allowed")));
    assert_eq!(refusal(address, Some(SHOP), &crate::support::token("ada", json!({}))).await, foreign);
    for key in ["nope", ""] {
        let (status, body) = guest(address, Some(SHOP), json!({"nickname": "Eve", "site": key})).await;
        assert_eq!((status, &body["error"]["code"]), (403, &json!("forbidden")), "{key}");
    }
    // Only this server's guests are guests of a site.
    let claimed = crate::support::token("eve", json!({"site": "shop-1", "kind": "guest"}));
    assert_eq!(refusal(address, Some(SHOP), &claimed).await, foreign);
}

#[tokio::test]
async fn a_backend_writes_sites_that_hold_at_once_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(&folder);
    sites(&mut settings);
    let server = Server::start(settings.clone()).await.unwrap();
    let address = server.address();
    let backend = service(&["sites"]);
    let write = async |address, method: &str, key: &str, token: &str, body: &Value| {
        let path = format!("/v1/sites/{key}");
        let (status, _, body) = ask(address, (method, &path), None, Some(token), body).await;
        (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    let page = "https://new.example";
    let body = json!({"origins": [page, "https://x.example:443/"], "assistant": "help"});
    assert_eq!(guest(address, Some(page), json!({"nickname": "Ada", "site": "new"})).await.0, 403);
    assert_eq!(write(address, "PUT", "new", &backend, &body).await.0, 204);
    let (status, ada) = guest(address, Some(page), json!({"nickname": "Ada", "site": "new"})).await;
    assert_eq!(status, 200, "{ada}");
    assert_eq!(
        guest(address, Some("https://x.example"), json!({"nickname": "Bob", "site": "new"})).await.0,
        200
    );
    let token = ada["token"].as_str().unwrap().to_owned();
    let mut client = Client::connect_with(address, Some(page), None).await;
    client.hello(&token, json!([])).await;
    // Other pages: those that are there are closed, and come back as nobody.
    let moved = json!({"origins": ["https://moved.example"]});
    assert_eq!(write(address, "PUT", "new", &backend, &moved).await.0, 204);
    assert_eq!(client.refusal().await, ("origin_not_allowed".to_owned(), 4503));
    assert_eq!(refusal(address, Some(page), &token).await, ("origin_not_allowed".to_owned(), 4503));
    server.drain().await;
    let server = Server::start(settings).await.unwrap();
    let address = server.address();
    let moved = Some("https://moved.example");
    let mut client = Client::connect_with(address, moved, None).await;
    client.hello(&token, json!([])).await;
    // Not by others, not another account's, not the configuration's, and no nonsense.
    let acme = crate::support::token(
        "b",
        json!({"kind": "service", "aud": "tidewire-service", "account": "acme", "scopes": ["sites"]}),
    );
    for (method, key, token, body, expected) in [
        ("PUT", "new", service(&["sessions"]), body.clone(), (403, "forbidden")),
        ("DELETE", "new", acme.clone(), json!({}), (403, "forbidden")),
        ("PUT", "new", acme, body.clone(), (403, "forbidden")),
        ("PUT", "shop-1", backend.clone(), body.clone(), (403, "forbidden")),
        ("DELETE", "shop-1", backend.clone(), json!({}), (403, "forbidden")),
        ("PUT", "a%20b", backend.clone(), body.clone(), (400, "bad_request")),
        ("PUT", "new", backend.clone(), json!({}), (400, "bad_request")),
        ("PUT", "new", backend.clone(), json!({"origins": []}), (400, "bad_request")),
        ("PUT", "new", backend.clone(), json!({"origins": ["*"]}), (400, "bad_request")),
        ("PUT", "new", backend.clone(), json!({"origins": ["null"]}), (400, "bad_request")),
        ("PUT", "new", backend.clone(), json!({"origins": ["https://*.x.example"]}), (400, "bad_request")),
        ("PUT", "new", backend.clone(), json!({"origins": ["shop.example"]}), (400, "bad_request")),
        ("PUT", "new", backend.clone(), json!({"origins": [page], "assistant": ""}), (400, "bad_request")),
    ] {
        let found = write(address, method, key, &token, &body).await;
        assert_eq!((found.0, found.1.as_str()), expected, "{method} {key} {body}");
    }
    assert!(client.is_alive().await);
    assert_eq!(write(address, "DELETE", "new", &backend, &json!({})).await.0, 204);
    assert_eq!(client.refusal().await, ("unauthorized".to_owned(), 4501));
    assert_eq!(refusal(address, moved, &token).await.0, "origin_not_allowed", "no site has the page");
}

#[tokio::test]
async fn sites_that_make_no_sense_end_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let site =
        SiteConfig { key: "a".to_owned(), origins: vec![SHOP.to_owned()], account: None, assistant: None };
    for wrong in [
        vec![site.clone(), site.clone()],
        vec![SiteConfig { key: String::new(), ..site.clone() }],
        vec![SiteConfig { origins: vec![], ..site.clone() }],
        vec![SiteConfig { origins: vec!["*".to_owned()], ..site.clone() }],
        vec![SiteConfig { account: Some(String::new()), ..site }],
    ] {
        let mut settings = config(&folder);
        settings.sites = wrong;
        assert_eq!(Server::start(settings).await.err().map(|error| error.code()), Some("bad_value"));
    }
}
