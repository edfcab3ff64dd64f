//! Who is in a channel and what they do there, against the real server's process.

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::follow::state_where;
use common::server::Server;
use common::{eager, member, member_at, online, soon, status_where, until};
use serde_json::{Value, json};
use tidewire::{
    Channel, ClientEvent, Config, Dialog, People, PeopleState, PeopleStatus, Person, SendError, State,
};
use tidewire_fault_proxy::{Faults, Proxy};
use tokio::task::JoinHandle;

const RULES: &str = r#"
    [[channel]]
    name = "guild:{id}"
    read = ["claim:guilds"]
    people = true
    [[channel]]
    name = "news"
    read = ["users"]
"#;

/// How long the server keeps somebody whose connection was lost, and how soon typing ends that is
/// not said again.
const GRACE: Duration = Duration::from_secs(15);
const TYPING: Duration = Duration::from_secs(6);

fn guilds() -> Server {
    Server::configured(RULES, &["--model", "off"])
}

fn person<'a>(state: &'a PeopleState, id: &str) -> Option<&'a Person> {
    state.people.iter().find(|person| person.user.id == id).map(|person| &**person)
}

fn ids(state: &PeopleState) -> Vec<&str> {
    state.people.iter().map(|person| person.user.id.as_str()).collect()
}

fn sees(id: &'static str) -> impl Fn(&PeopleState) -> bool {
    move |state| state.status == PeopleStatus::Live && person(state, id).is_some_and(|person| person.here)
}

/// The body of somebody's lease.
fn body(state: &PeopleState, id: &str, kind: &str) -> Option<Value> {
    let lease = person(state, id)?.lease(kind)?;
    Some(serde_json::from_str(&lease.body).expect("JSON"))
}

/// Notes every state from now on, and gives them back once the handle ends.
struct Recorder {
    states: Arc<Mutex<Vec<PeopleState>>>,
    task: JoinHandle<()>,
}

impl Recorder {
    fn new(mut people: People) -> Recorder {
        let states = Arc::new(Mutex::new(vec![people.state()]));
        let noted = Arc::clone(&states);
        let task = tokio::spawn(async move {
            while let Some(state) = people.next().await {
                noted.lock().expect("unpoisoned").push(state);
            }
        });
        Recorder { states, task }
    }

    fn last(&self) -> PeopleState {
        self.states.lock().expect("unpoisoned").last().expect("one").clone()
    }

    async fn until(&self, what: &str, wanted: impl Fn(&PeopleState) -> bool) {
        until(what, || wanted(&self.last())).await;
    }

    fn all(&self) -> Vec<PeopleState> {
        self.states.lock().expect("unpoisoned").clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Fails if somebody was not there in one of the states, or did not do this.
fn never_gone(states: &[PeopleState], id: &str, kind: Option<&str>) {
    for (at, state) in states.iter().enumerate() {
        let person = person(state, id).unwrap_or_else(|| panic!("{id} is gone in state {at}: {states:?}"));
        assert!(person.here, "{id} is not here in state {at}: {states:?}");
        if let Some(kind) = kind {
            assert!(person.lease(kind).is_some(), "{id} has no {kind} in state {at}: {states:?}");
        }
    }
}

#[tokio::test]
async fn two_users_see_each_other_come_type_send_and_leave() {
    let server = guilds();
    let (ada, bob) = (member(&server, "ada").await, member(&server, "bob").await);
    let hers = ada.dialog("demo").expect("opened");
    let mut seen = hers.people().expect("open");
    let alone = state_where(&mut seen, "herself", sees("ada")).await;
    assert_eq!((ids(&alone), alone.count), (vec!["ada"], 1));
    assert!(alone.people[0].own && alone.people[0].since > 0 && alone.people[0].leases.is_empty());

    let his = bob.dialog("demo").expect("opened");
    let mut noted = his.people().expect("open");
    let both = state_where(&mut seen, "both", sees("bob")).await;
    assert_eq!((ids(&both), both.count), (vec!["ada", "bob"], 2), "in the order in which they came");
    assert!(both.people[0].own && !both.people[1].own);
    let other_way = state_where(&mut noted, "both", sees("ada")).await;
    assert_eq!(other_way.people.iter().filter(|person| person.own).count(), 1);

    his.typing(true).expect("taken");
    let writing = state_where(&mut seen, "typing", |state| !state.typing().is_empty()).await;
    let told = Instant::now();
    let lease = person(&writing, "bob").and_then(|bob| bob.lease("typing")).expect("he types");
    assert!(lease.brief && lease.body == "{}" && lease.since > 0, "{lease:?}");
    assert_eq!(seen.typing().iter().map(|user| user.id.as_str()).collect::<Vec<_>>(), ["bob"]);
    state_where(&mut noted, "his own typing", |state| {
        person(state, "bob").is_some_and(|bob| bob.lease("typing").is_some())
    })
    .await;
    assert!(noted.typing().is_empty(), "nobody is told of oneself");
    soon("the ack", his.send("hello").expect("taken").acked()).await.expect("committed");
    state_where(&mut seen, "the end of typing", |state| state.typing().is_empty()).await;
    assert!(told.elapsed() < TYPING, "the message ended it, not the time: {:?}", told.elapsed());

    his.typing(true).expect("taken");
    state_where(&mut seen, "typing", |state| !state.typing().is_empty()).await;
    his.typing(false).expect("taken");
    state_where(&mut seen, "the end of typing", |state| state.typing().is_empty()).await;

    let left = Instant::now();
    drop(his);
    state_where(&mut seen, "him to leave", |state| person(state, "bob").is_none()).await;
    assert!(left.elapsed() < GRACE, "who leaves is gone at once");
    assert_eq!(seen.state().count, 1);
    soon("his watching to end", async { while noted.next().await.is_some() {} }).await;
}

#[tokio::test]
async fn a_late_watcher_gets_the_present_state_at_once_and_each_ends_alone() {
    let server = guilds();
    let (ada, bob) = (member(&server, "ada").await, member(&server, "bob").await);
    let hers = ada.channel("guild:7").expect("opened");
    let mut first = hers.people().expect("open");
    let his = bob.channel("guild:7").expect("opened");
    his.hold("status", r#"{"text":"away"}"#).expect("taken");
    state_where(&mut first, "his status", |state| body(state, "bob", "status").is_some()).await;

    let mut late = hers.people().expect("open");
    assert_eq!(late.state(), first.state());
    assert_eq!(soon("the present", late.next()).await, Some(first.state()));
    let nothing = tokio::time::timeout(Duration::from_millis(300), late.next()).await;
    assert!(nothing.is_err(), "nothing changes: {nothing:?}");
    first.close();
    his.hold("status", r#"{"text":"back"}"#).expect("taken");
    let away = |state: &PeopleState| body(state, "bob", "status") == Some(json!({"text": "back"}));
    state_where(&mut late, "his newer status", away).await;

    // Whoever watches after nobody did is told anew.
    drop(late);
    his.release("status").expect("taken");
    let mut again = hers.people().expect("open");
    let state = state_where(&mut again, "both", sees("bob")).await;
    assert!(state.people.iter().all(|person| person.leases.is_empty()), "{state:?}");
    for _ in 0..200 {
        drop(hers.people().expect("open"));
    }
    drop(his);
    state_where(&mut again, "him to leave", |state| person(state, "bob").is_none()).await;
}

#[tokio::test]
async fn a_lease_lasts_until_the_last_handle_that_holds_it_lets_go_and_the_newest_body_wins() {
    let server = guilds();
    let (ada, bob) = (member(&server, "ada").await, member(&server, "bob").await);
    let dialog = ada.dialog("demo").expect("opened");
    let mut seen = dialog.people().expect("open");
    let (first, second) = (bob.dialog("demo").expect("opened"), bob.dialog("demo").expect("opened"));
    // The events of the same dialog are another handle of the same channel.
    let third = bob.channel("dialog:demo").expect("opened");
    let is = |wanted: Value| move |state: &PeopleState| body(state, "bob", "status") == Some(wanted.clone());
    first.hold("status", r#"{"n":1}"#).expect("taken");
    state_where(&mut seen, "the first body", is(json!({"n": 1}))).await;
    second.hold("status", r#"{"n":2}"#).expect("taken");
    third.hold("status", r#"{"n":3}"#).expect("taken");
    first.hold("viewing", r#"{"page":"/"}"#).expect("taken");
    let state =
        state_where(&mut seen, "what he views", |state| body(state, "bob", "viewing").is_some()).await;
    assert_eq!(body(&state, "bob", "status"), Some(json!({"n": 3})));

    let clone = first.clone();
    drop(first);
    third.release("status").expect("taken");
    third.release("status").expect("does nothing");
    third.release("viewing").expect("does nothing: another handle holds it");
    third.hold("mood", "{}").expect("taken");
    let state = state_where(&mut seen, "his mood", |state| body(state, "bob", "mood").is_some()).await;
    assert_eq!(body(&state, "bob", "status"), Some(json!({"n": 3})), "the second one holds it");
    assert!(body(&state, "bob", "viewing").is_some(), "the first one's clone holds it");
    drop(clone);
    state_where(&mut seen, "no view", |state| body(state, "bob", "viewing").is_none()).await;
    drop(second);
    let state = state_where(&mut seen, "no status", |state| body(state, "bob", "status").is_none()).await;
    assert!(body(&state, "bob", "mood").is_some() && person(&state, "bob").expect("here").here);
    third.release("mood").expect("taken");
    state_where(&mut seen, "no mood", |state| person(state, "bob").is_some_and(|bob| bob.leases.is_empty()))
        .await;
}

#[tokio::test]
async fn the_people_end_with_the_last_handle_and_those_of_the_next_one_are_others() {
    let server = guilds();
    let ada = member(&server, "ada").await;
    let (dialog, channel) =
        (ada.dialog("demo").expect("opened"), ada.channel("dialog:demo").expect("opened"));
    let mut before = dialog.people().expect("open");
    let mut of_channel = channel.people().expect("open");
    state_where(&mut before, "herself", sees("ada")).await;
    drop(dialog);
    channel.hold("status", "{}").expect("taken");
    for people in [&mut before, &mut of_channel] {
        state_where(people, "her status", |state| body(state, "ada", "status").is_some()).await;
    }
    drop(channel);
    for people in [&mut before, &mut of_channel] {
        soon("the end of the people", async { while people.next().await.is_some() {} }).await;
    }

    let again = ada.dialog("demo").expect("opened");
    let mut after = again.people().expect("open");
    // Those that have ended take no watcher of the new ones along.
    drop((before, of_channel));
    let state = state_where(&mut after, "herself", sees("ada")).await;
    assert!(state.people.iter().all(|person| person.leases.is_empty()), "given up: {state:?}");
    again.hold("mood", "{}").expect("taken");
    state_where(&mut after, "her mood", |state| body(state, "ada", "mood").is_some()).await;
}

#[tokio::test]
async fn a_connection_that_is_lost_within_the_grace_changes_nothing_for_others() {
    let server = guilds();
    let proxy = Proxy::start(server.url().strip_prefix("http://").expect("http")).await.expect("a proxy");
    let ada = member(&server, "ada").await;
    // So rarely that the twelve attempts of a minute are enough.
    let config = Config { backoff_base_ms: 500, backoff_cap_ms: 1_000, ..eager() };
    let bob = member_at(&format!("http://{}", proxy.address()), &server, "bob", config).await;
    let hers = ada.channel("guild:7").expect("opened");
    let mut seen = hers.people().expect("open");
    let his = bob.channel("guild:7").expect("opened");
    his.hold("status", "{}").expect("taken");
    let has_status = |state: &PeopleState| body(state, "bob", "status").is_some();
    state_where(&mut seen, "him", has_status).await;
    let recorder = Recorder::new(seen);
    for loss in 1..=2 {
        proxy.set(Faults { refuse: true, ..Faults::default() });
        proxy.cut_all();
        // The server looks ten times a second at who is gone: this is long enough for it to tell.
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.set(Faults::default());
        until("him to be back", || {
            bob.explain().counters.reconnects >= loss && bob.status().state == State::Online
        })
        .await;
        // What he says now is heard on the new connection, after what he was before.
        his.hold("status", &json!({"loss": loss}).to_string()).expect("taken");
        let wanted = json!({"loss": loss});
        recorder.until("his word", |state| body(state, "bob", "status") == Some(wanted.clone())).await;
    }
    never_gone(&recorder.all(), "bob", Some("status"));
    assert!(recorder.all().iter().all(|state| state.status == PeopleStatus::Live), "hers was never lost");
}

#[tokio::test]
async fn a_server_that_is_killed_and_comes_back_forgets_nobody_who_comes_back_too() {
    let mut server = guilds();
    let ada = member(&server, "ada").await;
    let (bob, cyd) = (member(&server, "bob").await, member(&server, "cyd").await);
    let hers = ada.dialog("demo").expect("opened");
    let mut seen = hers.people().expect("open");
    let (his, theirs) = (bob.dialog("demo").expect("opened"), cyd.dialog("demo").expect("opened"));
    his.hold("status", "{}").expect("taken");
    theirs.hold("status", "{}").expect("taken");
    let all = |state: &PeopleState| ["bob", "cyd"].iter().all(|id| body(state, id, "status").is_some());
    state_where(&mut seen, "all", all).await;
    let recorder = Recorder::new(seen);
    server.kill();
    for client in [&ada, &bob] {
        status_where(client, "the loss", |status| status.state == State::Reconnecting).await;
    }
    soon("the end", cyd.close()).await;
    server.restart();
    recorder.until("to be told again", |state| state.status == PeopleStatus::Live).await;
    online(&bob).await;
    // Those who don't come back are kept for the grace, and then go: by then all has been seen.
    recorder.until("the one who is gone", |state| person(state, "cyd").is_none()).await;
    let states = recorder.all();
    never_gone(&states, "bob", Some("status"));
    never_gone(&states, "ada", None);
    let lost = states.iter().position(|state| state.status == PeopleStatus::Syncing).expect("shown");
    let back = states[lost..].iter().find(|state| state.status == PeopleStatus::Live).expect("shown");
    assert!(person(back, "cyd").is_some(), "who may still come back is kept: {states:?}");
    let last = states.last().expect("one");
    let mut left = ids(last);
    left.sort_unstable();
    assert_eq!((left, last.count), (vec!["ada", "bob"], 2));
}

#[tokio::test]
async fn a_channel_whose_rule_has_no_people_or_may_not_be_read_is_refused_with_a_code() {
    let server = guilds();
    let ada = member(&server, "ada").await;
    let mut events = ada.events();
    let refused = |code: &str| {
        let wanted = PeopleStatus::Refused { code: code.to_owned() };
        move |state: &PeopleState| state.status == wanted
    };
    let news = ada.channel("news").expect("opened");
    let mut off = news.people().expect("open");
    let state = state_where(&mut off, "the refusal", refused("people_off")).await;
    assert_eq!((state.people.len(), state.count), (0, 0));
    // What the client can't know, the server complains about.
    news.hold("status", "{}").expect("taken");
    let complaint = async {
        loop {
            for event in events.next_batch(64).await {
                if let ClientEvent::Problem { code, .. } = event {
                    return code;
                }
            }
        }
    };
    assert_eq!(soon("the complaint", complaint).await, "people_off");
    let others = ada.channel("guild:8").expect("a valid name");
    let mut forbidden = others.people().expect("open");
    state_where(&mut forbidden, "the refusal", refused("forbidden")).await;
    // The others are not affected.
    let guild = ada.channel("guild:7").expect("opened");
    state_where(&mut guild.people().expect("open"), "herself", sees("ada")).await;
}

/// What both kinds of handles have.
struct Calls<'a> {
    typing: &'a dyn Fn(bool) -> Result<(), SendError>,
    hold: &'a dyn Fn(&str, &str) -> Result<(), SendError>,
    release: &'a dyn Fn(&str) -> Result<(), SendError>,
}

fn with_calls(dialog: &Dialog, channel: &Channel, run: impl Fn(&Calls<'_>)) {
    run(&Calls {
        typing: &|on| dialog.typing(on),
        hold: &|kind, body| dialog.hold(kind, body),
        release: &|kind| dialog.release(kind),
    });
    run(&Calls {
        typing: &|on| channel.typing(on),
        hold: &|kind, body| channel.hold(kind, body),
        release: &|kind| channel.release(kind),
    });
}

fn code(result: Result<(), SendError>) -> &'static str {
    result.expect_err("refused").code()
}

#[tokio::test]
async fn hostile_arguments_have_codes_and_the_people_go_on() {
    let server = guilds();
    let ada = member(&server, "ada").await;
    let (dialog, channel) = (ada.dialog("demo").expect("opened"), ada.channel("guild:7").expect("opened"));
    let (mut in_dialog, mut in_channel) = (dialog.people().expect("open"), channel.people().expect("open"));
    let long = "k".repeat(65);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(40), "]".repeat(40));
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(1_024));
    with_calls(&dialog, &channel, |calls| {
        for (kind, body, expected) in [
            ("", "{}", "bad_kind"),
            ("here", "{}", "bad_kind"),
            ("typing", "{}", "bad_kind"),
            (long.as_str(), "{}", "too_large"),
            ("status", "", "bad_body"),
            ("status", "[]", "bad_body"),
            ("status", "7", "bad_body"),
            ("status", "null", "bad_body"),
            ("status", "{\"a\":1,}", "bad_body"),
            ("status", "{} {}", "bad_body"),
            ("status", deep.as_str(), "too_deep"),
            ("status", large.as_str(), "too_large"),
        ] {
            assert_eq!(code((calls.hold)(kind, body)), expected, "{kind:?}");
        }
        for (kind, expected) in [("", "bad_kind"), ("here", "bad_kind"), (long.as_str(), "too_large")] {
            assert_eq!(code((calls.release)(kind)), expected, "{kind:?}");
        }
        (calls.release)("never held").expect("does nothing");
        for n in 0..8 {
            (calls.hold)(&format!("kind {n}"), "{}").expect("taken");
        }
        assert_eq!(code((calls.hold)("one more", "{}")), "too_many_leases");
        (calls.hold)("kind 7", "{\"n\":1}").expect("it is held already");
        for n in 0..8 {
            (calls.release)(&format!("kind {n}")).expect("taken");
        }
        // Said with each key that is pressed, it costs the server next to nothing.
        for n in 0..10_000 {
            (calls.typing)(n % 7 > 0).expect("taken");
        }
        (calls.typing)(false).expect("taken");
        // Odd, and allowed.
        (calls.hold)("\u{202e}🌊\0", "{\"\\u0000\":\"🌊\"}").expect("taken");
        (calls.release)("\u{202e}🌊\0").expect("taken");
        (calls.hold)("status", "{ \"a\" : 1 }").expect("taken");
    });
    for people in [&mut in_dialog, &mut in_channel] {
        let wanted = |state: &PeopleState| body(state, "ada", "status") == Some(json!({"a": 1}));
        state_where(people, "her status", wanted).await;
    }
    soon("the end", ada.close()).await;
    with_calls(&dialog, &channel, |calls| {
        assert_eq!(code((calls.typing)(true)), "closed");
        assert_eq!(code((calls.hold)("status", "{}")), "closed");
        assert_eq!(code((calls.release)("status")), "closed");
    });
    assert_eq!(dialog.people().expect_err("closed").code(), "closed");
    assert_eq!(channel.people().expect_err("closed").code(), "closed");
    for mut people in [in_dialog, in_channel] {
        soon("the end of the people", async { while people.next().await.is_some() {} }).await;
        assert_ne!(people.state().status, PeopleStatus::Live, "what is shown is as of earlier");
    }
}

#[test]
fn the_people_end_with_the_runtime_that_drives_the_client() {
    let server = guilds();
    let build = || tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let (runtime, other) = (build(), build());
    let (client, dialog, mut people) = runtime.block_on(async {
        let ada = member(&server, "ada").await;
        let dialog = ada.dialog("demo").expect("opened");
        let mut people = dialog.people().expect("open");
        state_where(&mut people, "herself", sees("ada")).await;
        (ada, dialog, people)
    });
    drop(runtime);
    other.block_on(async {
        soon("the end of the people", async { while people.next().await.is_some() {} }).await;
    });
    assert_eq!(code(dialog.hold("status", "{}")), "closed");
    drop((people, dialog, client));
}
