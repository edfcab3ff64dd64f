//! Sessions of the store, as far as a connection waits for them: what it may not read lets nobody in.

#![allow(clippy::unwrap_used)]

mod rig;

use rig::{NOW, config, engine, frames};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tidewire_core::wire::UserKind;
use tidewire_server_core::access::Verified;
use tidewire_server_core::store::{Account, Read, SessionRow, StoreError};
use tidewire_server_core::tables::{TableLimits, Tables};
use tidewire_server_core::{Answer, AuthError, Engine, Flow, Identity, Now, Peer, Session, Verify};

/// Every credential is the secret of the session of its name.
struct Secrets;

impl Verify for Secrets {
    fn verify(&self, _: &str, _: Now) -> Result<Identity, AuthError> {
        Err(AuthError::Refused("signature: nobody made it".to_owned()))
    }

    fn check(&self, credential: &str, _: Now) -> Result<Verified, AuthError> {
        Ok(Verified { token: None, session: Some(credential.to_owned()) })
    }
}

fn server() -> Arc<Engine> {
    let tables = Arc::new(Tables::new(vec![config("a")], TableLimits::default(), Arc::new(|_| ())).unwrap());
    let engine = engine(&tables, 1 << 20, Box::new(|| ()));
    let engine = Arc::into_inner(engine).unwrap();
    Arc::new(Engine { auth: Arc::new(Secrets), ..engine })
}

fn hello(engine: &Arc<Engine>) -> (Session, Flow) {
    let peer = Peer { origin_allowed: true, address: IpAddr::V4(Ipv4Addr::LOCALHOST), is_request: false };
    let (mut session, _) = Session::open(engine, peer, Arc::new(|_| ()), NOW);
    let client = "00000000-0000-7000-8000-000000000007";
    let hello = json!({"t": "hello", "v": 1, "token": "s", "client": client});
    let flow = session.message(NOW, &hello.to_string());
    (session, flow)
}

fn row() -> SessionRow {
    SessionRow {
        id: "s".to_owned(),
        kind: UserKind::User,
        user: "ada".to_owned(),
        name: None,
        profile: None,
        account: Account::Own,
        claims: Default::default(),
        since_ms: NOW.wall,
        ends_ms: NOW.wall + 60_000,
    }
}

fn said(session: &Session) -> (Value, Value) {
    let frames = frames(session);
    (frames[0]["t"].clone(), frames[0]["code"].clone())
}

#[test]
fn whoever_needs_a_store_that_cannot_be_read_is_not_let_in_and_may_come_again() {
    let engine = server();
    let (mut session, flow) = hello(&engine);
    assert_eq!(flow, Flow::Read(Read::Session("s".to_owned())));
    assert!(frames(&session).is_empty(), "nothing is said before it is known");
    let flow = session.answered(NOW, Answer::Session(Err(StoreError::Unavailable)));
    assert_eq!(flow, Flow::End);
    assert_eq!(said(&session), (json!("error"), json!("store_unavailable")));
    assert_eq!(session.outgoing().closing().map(|close| close.code), Some(4004));
    // The store is back.
    let (mut session, _) = hello(&engine);
    assert_eq!(session.answered(NOW, Answer::Session(Ok(Some(row())))), Flow::Ready);
    assert_eq!(said(&session), (json!("welcome"), Value::Null));
    // From now on it is known.
    let (second, flow) = hello(&engine);
    assert_eq!((flow, said(&second).0), (Flow::Ready, json!("welcome")));
}

#[test]
fn a_wrong_answer_of_the_driver_lets_nobody_in() {
    let engine = server();
    let (mut session, _) = hello(&engine);
    assert_eq!(session.answered(NOW, Answer::Room), Flow::End);
    assert_eq!(said(&session).0, "error");
    let (mut session, _) = hello(&engine);
    assert_eq!(session.answered(NOW, Answer::Session(Ok(None))), Flow::End);
    assert_eq!(said(&session), (json!("error"), json!("unauthorized")));
}
