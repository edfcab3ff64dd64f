//! Protocol section 7: tickets, for where only a URL can carry a credential.

use crate::support::*;
use futures_util::SinkExt;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;

async fn ticket(server: &TestServer, token: &str) -> String {
    let (status, body) = post(server.address, "/v1/tickets", Some(token), &json!({})).await;
    assert_eq!(status, 201, "{body}");
    assert_eq!(body["expires_ms"], 30_000);
    body["ticket"].as_str().unwrap().to_owned()
}

/// Opens a WebSocket as any library does, and says hello without a token. Returns the first frame.
async fn dial(server: &TestServer, query: &str) -> Value {
    let url = format!("ws://{}/v1/ws{query}", server.address);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let hello = json!({"t": "hello", "v": 1, "client": id()});
    socket.send(Message::Text(hello.to_string().into())).await.unwrap();
    let message = futures_util::StreamExt::next(&mut socket).await.unwrap().unwrap();
    let frames: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
    if frames.is_array() { frames[0].clone() } else { frames }
}

async fn events(server: &TestServer, query: &str) -> (u16, String) {
    let (status, _, body) =
        get(server.address, &format!("/v1/channels/dialog:room/events?tail=1{query}")).await;
    (status, body)
}

#[tokio::test]
async fn a_ticket_opens_one_socket_or_one_stream() {
    let server = start(|_| {}).await;
    let ada = token("ada", json!({}));
    let first = ticket(&server, &ada).await;
    let welcome = dial(&server, &format!("?ticket={first}")).await;
    assert_eq!((&welcome["t"], &welcome["user"]["id"]), (&json!("welcome"), &json!("ada")));
    let again = dial(&server, &format!("?ticket={first}")).await;
    assert_eq!((&again["t"], &again["code"]), (&json!("error"), &json!("unauthorized")));
    assert!(!again.to_string().contains(&first), "the message holds the ticket");

    let second = ticket(&server, &ada).await.replace('~', "%7E");
    let (status, body) = events(&server, &format!("&ticket={second}")).await;
    assert!(status == 200 && body.contains("\"sub_ok\""), "{status} {body}");
    let (status, body) = events(&server, &format!("&ticket={second}")).await;
    assert!(status == 401 && body.contains("unauthorized"), "{status} {body}");
    assert_ne!(ticket(&server, &ada).await, ticket(&server, &ada).await);
}

#[tokio::test]
async fn a_ticket_whose_time_is_over_is_refused() {
    let server = start(|config| config.timeouts.ticket = Duration::from_millis(50)).await;
    let (_, body) = post(server.address, "/v1/tickets", Some(&token("ada", json!({}))), &json!({})).await;
    let ticket = body["ticket"].as_str().unwrap();
    // What must not happen is that it is still good.
    sleep(Duration::from_millis(200)).await;
    assert_eq!(dial(&server, &format!("?ticket={ticket}")).await["code"], "unauthorized");
}

#[tokio::test]
async fn a_ticket_is_worth_no_more_than_the_credential_that_it_was_given_for() {
    let server = start(|_| {}).await;
    let issued = token("ada", json!({"iat": now_s() - 10}));
    let (revoked, other) = (ticket(&server, &issued).await, ticket(&server, &issued).await);
    let (status, body) = post(server.address, "/v1/tickets", Some(&other), &json!({})).await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!("forbidden")), "not another one");
    let body = json!({"user": {"kind": "user", "id": "ada"}});
    assert_eq!(post(server.address, "/v1/revoke", Some(&operator("olga")), &body).await.0, 204);
    assert_eq!(dial(&server, &format!("?ticket={revoked}")).await["code"], "unauthorized");
    for bad in [token("ada", json!({"exp": 1})), "nonsense".to_owned()] {
        assert_eq!(post(server.address, "/v1/tickets", Some(&bad), &json!({})).await.0, 401);
    }
    assert_eq!(post(server.address, "/v1/tickets", None, &json!({})).await.0, 401);
    for bad in ["?ticket=", "?ticket=ticket~", "?ticket=ticket~00", "?ticket=%00", "?ticket=a.b.c"] {
        assert_eq!(dial(&server, bad).await["code"], "unauthorized", "{bad}");
    }
    // No token may stand in a URL, however good it is.
    let query = format!("?ticket={}", token("ada", json!({"iat": now_s() + 1})));
    assert_eq!(dial(&server, &query).await["code"], "unauthorized");
    // Only a stream of events takes one from the URL.
    let good = ticket(&server, &token("eve", json!({}))).await;
    let path = format!("/v1/channels/dialog:room/people?ticket={good}");
    assert_eq!(get(server.address, &path).await.0, 401);
}

#[tokio::test]
async fn a_user_asks_for_so_many_tickets_and_no_more() {
    let server = start(|_| {}).await;
    let ada = token("ada", json!({}));
    for _ in 0..30 {
        ticket(&server, &ada).await;
    }
    let (status, body) = post(server.address, "/v1/tickets", Some(&ada), &json!({})).await;
    assert_eq!((status, &body["error"]["code"]), (429, &json!("rate_limited")));
    ticket(&server, &token("bob", json!({}))).await;
}
