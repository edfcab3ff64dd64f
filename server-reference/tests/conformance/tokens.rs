//! Protocol section 7: which tokens are accepted.

use crate::support::*;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tidewire_server::config::{KeyConfig, KeyMaterial};

const PRIVATE: &str = include_str!("ed25519-private.pem");
const PUBLIC: &str = include_str!("ed25519-public.pem");

async fn refused(server: &TestServer, token: &str) -> (String, u16, String) {
    let mut client = Client::connect(server.address).await;
    client.say_hello(token, json!([])).await;
    let error = client.next().await;
    assert_eq!(error["t"], "error", "{error}");
    let message = error["message"].as_str().unwrap().to_owned();
    assert!(!message.contains(token) || token.is_empty(), "the message holds the token");
    let code = error["code"].as_str().unwrap().to_owned();
    client.refusal().await;
    (code, client.close.unwrap().0, message)
}

fn signed(header: &Header, claims: &Value, key: &EncodingKey) -> String {
    jsonwebtoken::encode(header, claims, key).unwrap()
}

#[tokio::test]
async fn each_failed_check_is_named() {
    let server = start(|_| {}).await;
    for (other, part) in [
        (json!({"aud": "another"}), "audience"),
        (json!({"aud": null}), "`aud`"),
        (json!({"aud": ["tidewire", "tidewire-operator"]}), "two kinds"),
        (json!({"iss": "another"}), "issuer"),
        (json!({"iss": null}), "`iss`"),
        (json!({"iss": "tidewire-guest"}), "issuer"),
        (json!({"exp": null}), "`exp`"),
        (json!({"exp": (now_s() + 60).to_string()}), "`exp`"),
        (json!({"nbf": now_s() + 60}), "`nbf`"),
        (json!({"nbf": now_s().to_string()}), "`nbf`"),
        (json!({"sub": null}), "`sub`"),
        (json!({"sub": ""}), "`sub`"),
        (json!({"sub": "x".repeat(129)}), "`sub`"),
        (json!({"kind": "root"}), "`kind`"),
        (json!({"iat": now_s() + 60}), "`iat`"),
        (json!({"sub": "guest:7", "kind": "guest"}), "`sub`"),
        (json!({"kind": "operator"}), "audience"),
        (json!({"aud": "tidewire-operator"}), "audience"),
        (json!({"dialogs": "all"}), "`dialogs`"),
        // A token that is expired and also invalid for another reason must not lead to a renewal.
        (json!({"exp": 1, "aud": "another"}), "audience"),
    ] {
        let (code, close, message) = refused(&server, &token("ada", other.clone())).await;
        assert_eq!((code.as_str(), close), ("unauthorized", 4501), "{other}");
        assert!(message.contains(part), "{other}: {message}");
    }
}

#[tokio::test]
async fn an_expired_token_asks_for_a_new_one() {
    let server = start(|_| {}).await;
    let (code, close, _) = refused(&server, &token("ada", json!({"exp": now_s() - 31}))).await;
    assert_eq!((code.as_str(), close), ("token_expired", 4020));
    // Within the leeway the token is still valid.
    let mut client = Client::connect(server.address).await;
    client.hello(&token("ada", json!({"exp": now_s() - 10, "nbf": now_s() + 20})), json!([])).await;
}

#[tokio::test]
async fn forged_signatures_and_other_algorithms_are_refused() {
    let server = start(|_| {}).await;
    let claims = claims("ada", json!({}));
    let other = EncodingKey::from_secret(b"another secret of at least 32 bytes, really");
    let wrong = signed(&Header::new(Algorithm::HS256), &claims, &other);
    let hs512 = signed(&Header::new(Algorithm::HS512), &claims, &EncodingKey::from_secret(SECRET.as_bytes()));
    let ed = signed(
        &Header::new(Algorithm::EdDSA),
        &claims,
        &EncodingKey::from_ed_pem(PRIVATE.as_bytes()).unwrap(),
    );
    let good = token("ada", json!({}));
    let body = good.split('.').nth(1).unwrap();
    // {"alg":"none","typ":"JWT"}
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.");
    for (token, part) in [
        (wrong, "signature"),
        (hs512, "algorithm"),
        (ed, "algorithm"),
        (none, "algorithm"),
        ("no.token.at.all".to_owned(), "form"),
        (String::new(), "form"),
    ] {
        let (code, close, message) = refused(&server, &token).await;
        assert_eq!((code.as_str(), close), ("unauthorized", 4501));
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn eddsa_works_and_a_public_key_is_no_secret() {
    let server = start(|config| {
        config.keys =
            vec![KeyConfig { id: Some("ed".to_owned()), material: KeyMaterial::EdDsa(PUBLIC.to_owned()) }];
    })
    .await;
    let key = EncodingKey::from_ed_pem(PRIVATE.as_bytes()).unwrap();
    let claims = claims("ada", json!({}));
    for kid in [None, Some("ed".to_owned()), Some("unknown".to_owned())] {
        let header = Header { kid, ..Header::new(Algorithm::EdDSA) };
        Client::connect(server.address).await.hello(&signed(&header, &claims, &key), json!([])).await;
    }
    // The classic confusion of algorithms: the public key used as an HMAC secret.
    let header = Header { kid: Some("ed".to_owned()), ..Header::new(Algorithm::HS256) };
    let confused = signed(&header, &claims, &EncodingKey::from_secret(PUBLIC.as_bytes()));
    assert_eq!(refused(&server, &confused).await.0, "unauthorized");
}

#[tokio::test]
async fn the_key_id_chooses_the_key() {
    let second = "another secret of at least 32 bytes, really";
    let server = start(|config| {
        config.keys[0].id = Some("a".to_owned());
        config
            .keys
            .push(KeyConfig { id: Some("b".to_owned()), material: KeyMaterial::Hs256(second.to_owned()) });
    })
    .await;
    let claims = claims("ada", json!({}));
    let header = |kid: &str| Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::HS256) };
    let key = EncodingKey::from_secret(second.as_bytes());
    Client::connect(server.address).await.hello(&signed(&header("b"), &claims, &key), json!([])).await;
    assert_eq!(refused(&server, &signed(&header("a"), &claims, &key)).await.0, "unauthorized");
}

#[tokio::test]
async fn auth_renews_in_band_for_the_same_user_only() {
    let server = start(|_| {}).await;
    let mut client = server.client("ada", json!([])).await;
    client.send(json!({"t": "auth", "token": token("ada", json!({"exp": now_s() + 7200}))})).await;
    let ok = client.next().await;
    assert_eq!(ok["t"], "auth_ok");
    assert!(ok["token_ttl_ms"].as_u64().unwrap() > 7_100_000);
    client.send(json!({"t": "auth", "token": token("bob", json!({}))})).await;
    assert_eq!(client.refusal().await, ("user_changed".to_owned(), 4503));
}

#[tokio::test]
async fn a_token_that_ends_while_connected_closes_the_connection() {
    let server = start(|_| {}).await;
    // Nearly the whole leeway of 30 s is over already.
    let mut client = Client::connect(server.address).await;
    client.hello(&token("ada", json!({"exp": now_s() - 28})), json!([])).await;
    let mut renewed = Client::connect(server.address).await;
    renewed.hello(&token("ada", json!({"exp": now_s() - 28})), json!([])).await;
    renewed.send(json!({"t": "auth", "token": token("ada", json!({}))})).await;
    assert_eq!(client.refusal().await, ("token_expired".to_owned(), 4020));
    assert!(renewed.is_alive().await);
}

#[tokio::test]
async fn a_token_that_allows_less_ends_what_it_no_longer_allows() {
    let server = start(|config| config.public_dialogs.clear()).await;
    let (status, _) =
        post(server.address, "/v1/dialogs", Some(&token("bob", json!({}))), &json!({"id": "secret"})).await;
    assert_eq!(status, 201);
    let mut client = Client::connect(server.address).await;
    client.hello(&token("ada", json!({"dialogs": ["secret"]})), json!([{"ch": "dialog:secret"}])).await;
    assert_eq!(client.next().await["t"], "sub_ok");
    client.send(json!({"t": "auth", "token": token("ada", json!({}))})).await;
    assert_eq!(client.next().await["t"], "auth_ok");
    let lost = client.next().await;
    assert_eq!((&lost["t"], &lost["code"]), (&json!("sub_err"), &json!("forbidden")));
}

#[tokio::test]
async fn a_dialog_is_seen_by_its_owner_by_operators_and_by_whom_the_token_lets_in() {
    let server = start(|_| {}).await;
    let owner = token("ada", json!({}));
    let (status, body) = post(server.address, "/v1/dialogs", Some(&owner), &json!({"id": "mine"})).await;
    assert_eq!((status, &body["id"]), (201, &json!("mine")));
    let (status, _) = post(server.address, "/v1/dialogs", Some(&owner), &json!({"id": "mine"})).await;
    assert_eq!(status, 200);
    let (status, body) =
        post(server.address, "/v1/dialogs", Some(&token("bob", json!({}))), &json!({"id": "mine"})).await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!("forbidden")));
    let guest = token("ada", json!({"kind": "guest"}));
    for (token, expected) in [
        (owner, "sub_ok"),
        (operator("op"), "sub_ok"),
        (token("bob", json!({"dialogs": ["mine"]})), "sub_ok"),
        (token("bob", json!({})), "sub_err"),
        (guest, "sub_err"),
    ] {
        let mut client = Client::connect(server.address).await;
        client.hello(&token, json!([{"ch": "dialog:mine"}])).await;
        let answer = client.next().await;
        assert_eq!(answer["t"], expected, "{answer}");
        let op =
            json!({"t": "op", "id": id(), "ch": "dialog:mine", "kind": "message", "body": {"text": "x"}});
        let answer = client.op(op).await;
        assert_eq!(answer["t"] == "ok", expected == "sub_ok", "{answer}");
        if expected == "sub_err" {
            assert_eq!(answer["code"], "forbidden");
        }
    }
}
