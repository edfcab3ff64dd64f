//! A connection on which nothing was done: the server closes it, and it stays closed until the user
//! does something.

use crate::rig::*;
use serde_json::json;
use tidewire_core::wire::codes::close;
use tidewire_core::*;

/// A client whose idle connection the server has closed.
fn resting() -> Rig {
    let mut rig = Rig::online();
    rig.receive(json!({"t":"error","code":"idle_timeout","message":"nothing was done"}));
    rig.close_with(close::IDLE_TIMEOUT);
    rig
}

#[test]
fn an_idle_client_rests_and_says_why() {
    let mut rig = resting();
    let dials = rig.dials.len();
    rig.pass(3_600_000);
    rig.feed(Input::Network(Network::Changed));
    rig.feed(Input::Network(Network::Offline));
    rig.feed(Input::Network(Network::Online));
    rig.sleep(600_000);
    assert_eq!(rig.dials.len(), dials);
    let status = rig.status();
    assert_eq!((status.state, status.cause.as_deref()), (State::Parked, Some("idle_timeout")));
    assert_eq!(status.retry_in_ms, None);
}

#[test]
fn what_the_user_does_connects_again_at_once() {
    let acts: [fn(&mut Rig); 8] = [
        |rig| drop(rig.send("hello")),
        |rig| rig.client.typing(rig.now, "dialog:demo", true).unwrap(),
        |rig| rig.client.set_lease(rig.now, "dialog:demo", "status", Some("{}")).unwrap(),
        |rig| rig.client.signal(rig.now, "dialog:demo", "cursor", None, "{}").unwrap(),
        |rig| rig.client.open_dialog(rig.now, "other").unwrap(),
        |rig| assert!(rig.client.load_older(rig.now, "dialog:demo", None, 10).is_ok()),
        |rig| rig.client.connect(rig.now),
        |rig| rig.feed(Input::Lifecycle(Lifecycle::Shown)),
    ];
    for (number, act) in acts.iter().enumerate() {
        let mut rig = resting();
        let dials = rig.dials.len();
        act(&mut rig);
        rig.drain();
        assert_eq!(rig.dials.len(), dials + 1, "act {number}");
        rig.accept();
        rig.welcome();
        assert_eq!(rig.state(), State::Online, "act {number}");
    }
}

#[test]
fn an_op_that_the_close_crossed_is_sent_again() {
    let mut rig = Rig::online();
    let id = rig.send("hello");
    let dials = rig.dials.len();
    rig.close_with(close::IDLE_TIMEOUT);
    assert_eq!(rig.dials.len(), dials + 1);
    rig.accept();
    rig.welcome();
    rig.receive(sub_ok("resumed", 0, 0, vec![]));
    assert!(rig.ops().iter().any(|op| op["id"] == *id.as_str()));
}

#[test]
fn disconnect_and_close_hold_for_a_client_that_rests() {
    let mut rig = resting();
    rig.client.disconnect(rig.now);
    rig.drain();
    assert_eq!(rig.state(), State::Disconnected);
    rig.send("waits");
    assert_eq!(rig.state(), State::Disconnected);
}
