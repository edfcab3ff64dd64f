//! The smallest history for each violation, and long ones without.

use tidewire_history::{Event, History, Report, ViolationKind};

const CH: &str = "dialog:1";

fn send(client: &'static str, id: &str) -> Event<'static> {
    Event::Send { client: client.into(), ch: CH.into(), lane: None, id: id.to_owned().into() }
}

fn ack(client: &'static str, id: &str, offset: u64) -> Event<'static> {
    Event::Ack { client: client.into(), ch: CH.into(), id: id.to_owned().into(), offset }
}

fn fail(client: &'static str, id: &'static str) -> Event<'static> {
    Event::Fail { client: client.into(), ch: CH.into(), id: id.into(), code: "bad_body".into() }
}

fn apply(observer: &'static str, offset: u64, id: &str) -> Event<'static> {
    let (epoch, id) = ("k".into(), id.to_owned().into());
    Event::Apply { observer: observer.into(), ch: CH.into(), epoch, offset, id }
}

fn reset(observer: &'static str, epoch: &'static str, from: u64) -> Event<'static> {
    let (epoch, reason) = (epoch.into(), "trimmed".into());
    Event::Reset { observer: observer.into(), ch: CH.into(), epoch, from, reason }
}

fn log(offset: u64, id: &str) -> Event<'static> {
    Event::Log { ch: CH.into(), epoch: "k".into(), offset, id: id.to_owned().into() }
}

fn trimmed(to: u64) -> Event<'static> {
    Event::Trimmed { ch: CH.into(), epoch: "k".into(), to }
}

fn caught_up(observer: &'static str) -> Event<'static> {
    Event::CaughtUp { observer: observer.into(), ch: CH.into() }
}

fn drained(client: &'static str) -> Event<'static> {
    Event::Drained { client: client.into() }
}

/// The kinds that were returned at once, and the report.
fn told(events: impl IntoIterator<Item = Event<'static>>) -> (Vec<ViolationKind>, Report) {
    let mut history = History::new();
    let at_once = events.into_iter().filter_map(|event| history.push(event).err()).map(|it| it.kind);
    (at_once.collect(), history.finish())
}

/// `counts` in the order of the kinds.
fn counts(report: &Report) -> [u64; 7] {
    let r = report;
    [r.lost, r.duplicated, r.reordered, r.skipped, r.nonmonotonic, r.invented, r.diverged]
}

fn one(kind: ViolationKind) -> [u64; 7] {
    let mut counts = [0; 7];
    counts[kind as usize] = 1;
    counts
}

/// Exactly this one violation, and at the event that shows it.
fn at_once(kind: ViolationKind, events: Vec<Event<'static>>) {
    let mut history = History::new();
    let (last, before) = events.split_last().expect("events");
    for event in before {
        assert_eq!(history.push(event.clone()), Ok(()), "{event:?}");
    }
    let violation = history.push(last.clone()).expect_err("the last event shows it");
    assert_eq!(violation.kind, kind, "{violation}");
    let report = history.finish();
    assert_eq!(counts(&report), one(kind), "{report}");
    assert_eq!(report.examples, [violation]);
}

/// Exactly this one violation, at the end.
fn at_last(kind: ViolationKind, events: Vec<Event<'static>>) {
    let (early, report) = told(events);
    assert_eq!(early, []);
    assert_eq!(counts(&report), one(kind), "{report}");
    assert_eq!(report.examples.len(), 1);
}

fn clean(events: Vec<Event<'static>>) -> Report {
    let (early, report) = told(events);
    assert_eq!(early, []);
    assert!(report.is_clean(), "{report}");
    assert_eq!(counts(&report), [0; 7]);
    report
}

#[test]
fn an_acknowledged_op_that_the_log_lacks_is_lost() {
    at_last(
        ViolationKind::Lost,
        vec![send("a", "1"), send("a", "2"), ack("a", "1", 1), ack("a", "2", 2), log(1, "1")],
    );
}

#[test]
fn what_left_a_drained_outbox_and_is_not_in_the_log_is_lost() {
    at_last(ViolationKind::Lost, vec![send("a", "1"), send("a", "2"), drained("a"), log(1, "1")]);
    // Unless it was refused or discarded.
    let discard = Event::Discard { client: "a".into(), id: "2".into() };
    clean(vec![send("a", "1"), send("a", "2"), discard, drained("a"), log(1, "1")]);
    clean(vec![send("a", "1"), send("a", "2"), fail("a", "2"), drained("a"), log(1, "1")]);
}

#[test]
fn an_event_that_is_applied_again_is_duplicated() {
    at_once(
        ViolationKind::Duplicated,
        vec![send("a", "1"), send("a", "2"), apply("b", 1, "1"), apply("b", 2, "2"), apply("b", 1, "1")],
    );
}

#[test]
fn one_op_at_two_offsets_is_duplicated() {
    at_once(ViolationKind::Duplicated, vec![send("a", "1"), apply("b", 1, "1"), apply("b", 2, "1")]);
    at_once(ViolationKind::Duplicated, vec![send("a", "1"), log(1, "1"), log(2, "1")]);
}

#[test]
fn an_id_that_is_sent_twice_is_duplicated() {
    at_once(ViolationKind::Duplicated, vec![send("a", "1"), send("b", "1")]);
}

#[test]
fn ops_of_one_client_in_another_order_are_reordered() {
    at_last(ViolationKind::Reordered, vec![send("a", "1"), send("a", "2"), log(1, "2"), log(2, "1")]);
    clean(vec![send("a", "1"), send("b", "2"), log(1, "2"), log(2, "1")]);
}

#[test]
fn lanes_keep_their_order_each_for_itself() {
    let in_lane = |id: &'static str, lane: &'static str| Event::Send {
        client: "a".into(),
        ch: CH.into(),
        lane: Some(lane.into()),
        id: id.into(),
    };
    clean(vec![in_lane("1", "durable"), in_lane("2", "session"), log(1, "2"), log(2, "1")]);
    at_last(
        ViolationKind::Reordered,
        vec![in_lane("1", "session"), in_lane("2", "session"), log(1, "2"), log(2, "1")],
    );
}

#[test]
fn a_hole_in_what_an_observer_applied_is_skipped() {
    at_once(ViolationKind::Skipped, vec![send("a", "1"), send("a", "2"), apply("b", 2, "2")]);
    at_once(
        ViolationKind::Skipped,
        vec![send("a", "1"), send("a", "2"), reset("b", "k", 5), apply("b", 6, "1"), apply("b", 8, "2")],
    );
    clean(vec![send("a", "1"), send("a", "2"), apply("b", 1, "1"), reset("b", "k", 3), apply("b", 4, "2")]);
}

#[test]
fn an_observer_that_is_not_at_the_head_has_skipped_its_end() {
    let begin = || vec![send("a", "1"), send("a", "2"), log(1, "1"), log(2, "2"), apply("b", 1, "1")];
    clean(begin());
    at_last(ViolationKind::Skipped, [begin(), vec![caught_up("b")]].concat());
    clean([begin(), vec![apply("b", 2, "2"), caught_up("b")]].concat());
    // An observer that saw nothing at all, and one in another epoch.
    at_last(ViolationKind::Skipped, [begin(), vec![caught_up("c")]].concat());
    at_last(ViolationKind::Skipped, [begin(), vec![reset("c", "older", 2), caught_up("c")]].concat());
}

#[test]
fn a_hole_in_the_log_is_skipped() {
    let events = || vec![send("a", "1"), send("a", "2"), log(2, "1"), log(4, "2")];
    at_last(ViolationKind::Skipped, [events(), vec![trimmed(1)]].concat());
    at_last(ViolationKind::Skipped, [events()[..3].to_vec()].concat());
    clean([events(), vec![trimmed(3)]].concat());
}

#[test]
fn an_observer_that_goes_back_is_nonmonotonic() {
    at_once(
        ViolationKind::Nonmonotonic,
        vec![send("a", "1"), send("a", "2"), reset("b", "k", 5), apply("b", 6, "2"), apply("b", 5, "1")],
    );
    clean(vec![send("a", "1"), apply("b", 1, "1"), reset("b", "k", 0), apply("b", 1, "1")]);
}

#[test]
fn another_epoch_without_a_reset_is_nonmonotonic() {
    let elsewhere =
        Event::Apply { observer: "b".into(), ch: CH.into(), epoch: "l".into(), offset: 2, id: "2".into() };
    let events = vec![send("a", "1"), send("a", "2"), apply("b", 1, "1")];
    at_once(ViolationKind::Nonmonotonic, [events.clone(), vec![elsewhere.clone()]].concat());
    clean([events, vec![reset("b", "l", 1), elsewhere]].concat());
}

#[test]
fn an_event_that_nobody_sent_is_invented() {
    at_once(ViolationKind::Invented, vec![apply("b", 1, "1")]);
    at_once(ViolationKind::Invented, vec![log(1, "1")]);
    clean(vec![Event::Server { id: "1".into() }, apply("b", 1, "1")]);
    clean(vec![Event::ServerPrefix { prefix: "answer-".into() }, apply("b", 1, "answer-1")]);
}

#[test]
fn an_event_of_another_channel_is_invented() {
    let elsewhere = Event::Send { client: "a".into(), ch: "dialog:2".into(), lane: None, id: "1".into() };
    at_once(ViolationKind::Invented, vec![elsewhere, apply("b", 1, "1")]);
}

#[test]
fn a_rejected_op_that_is_seen_is_invented() {
    at_once(ViolationKind::Invented, vec![send("a", "1"), fail("a", "1"), apply("b", 1, "1")]);
    at_once(ViolationKind::Invented, vec![send("a", "1"), apply("b", 1, "1"), fail("a", "1")]);
    at_once(ViolationKind::Invented, vec![send("a", "1"), ack("a", "1", 1), fail("a", "1")]);
    at_once(ViolationKind::Invented, vec![send("a", "1"), fail("a", "1"), ack("a", "1", 1)]);
    let retry = Event::Retry { client: "a".into(), id: "1".into() };
    clean(vec![send("a", "1"), fail("a", "1"), retry, ack("a", "1", 1), apply("b", 1, "1"), log(1, "1")]);
}

#[test]
fn an_answer_to_somebody_elses_op_is_invented() {
    at_once(ViolationKind::Invented, vec![send("a", "1"), ack("b", "1", 1)]);
}

#[test]
fn one_offset_with_two_ops_is_diverged() {
    at_once(
        ViolationKind::Diverged,
        vec![send("a", "1"), send("a", "2"), apply("b", 1, "1"), apply("c", 1, "2")],
    );
    at_once(ViolationKind::Diverged, vec![send("a", "1"), send("a", "2"), apply("b", 1, "1"), log(1, "2")]);
}

#[test]
fn an_acknowledgement_with_another_offset_is_diverged() {
    at_once(ViolationKind::Diverged, vec![send("a", "1"), ack("a", "1", 2), apply("b", 1, "1")]);
    at_once(ViolationKind::Diverged, vec![send("a", "1"), apply("b", 1, "1"), ack("a", "1", 2)]);
    at_once(ViolationKind::Diverged, vec![send("a", "1"), ack("a", "1", 1), ack("a", "1", 2)]);
    let elsewhere = Event::Ack { client: "a".into(), ch: "dialog:2".into(), id: "1".into(), offset: 1 };
    at_once(ViolationKind::Diverged, vec![send("a", "1"), elsewhere]);
}

#[test]
fn what_was_seen_and_is_not_in_the_log_is_diverged() {
    let events = vec![send("a", "1"), send("a", "2"), apply("b", 1, "1"), apply("b", 2, "2"), log(1, "1")];
    at_last(ViolationKind::Diverged, events);
}

#[test]
fn what_retention_took_is_not_lost() {
    let begin = vec![send("a", "1"), send("a", "2"), send("a", "3"), apply("b", 1, "1")];
    let end = vec![ack("a", "1", 1), ack("a", "2", 2), drained("a"), log(3, "3"), trimmed(2)];
    clean([begin, end].concat());
}

#[test]
fn a_restored_backup_forgets_but_only_what_was_before() {
    let restored = || Event::Restored { ch: CH.into() };
    let later = |id: &'static str| Event::Log { ch: CH.into(), epoch: "l".into(), offset: 1, id: id.into() };
    let lost = vec![send("a", "1"), ack("a", "1", 1), apply("b", 1, "1")];
    let kept = vec![restored(), send("a", "2"), ack("a", "2", 1)];
    clean([lost.clone(), kept.clone(), vec![later("2")]].concat());
    at_last(ViolationKind::Lost, [lost.clone(), vec![send("a", "2"), later("2")]].concat());
    // Sent again after it, because its answer was lost.
    clean([lost, vec![restored(), ack("a", "1", 1), later("1")]].concat());
    let moved = vec![send("a", "1"), send("a", "2"), ack("a", "2", 2), reset("b", "k", 0)];
    at_last(ViolationKind::Diverged, [moved, vec![later("2"), drained("b")]].concat());
}

#[test]
fn without_a_log_nothing_is_said_to_be_there() {
    let report = clean(vec![send("a", "1"), ack("a", "1", 1), apply("b", 1, "1"), caught_up("b")]);
    assert_eq!(report.unverified, 2);
}

#[test]
fn the_greatest_numbers_overflow_nothing() {
    let last = u64::MAX;
    let (early, report) = told(vec![
        send("a", "1"),
        trimmed(last),
        reset("b", "k", last),
        apply("b", last, "1"),
        log(last, "1"),
        caught_up("b"),
    ]);
    assert_eq!(early, [ViolationKind::Nonmonotonic], "{report}");
}

#[test]
fn only_the_first_examples_are_kept_and_all_are_counted() {
    let (early, report) = told((1..=100).map(|n| apply("b", n, &format!("{n}"))));
    assert_eq!((early.len(), report.invented, report.examples.len()), (100, 100, 5));
}

/// Five clients, seven observers that are reset and see some events again, events of the server,
/// and a trimmed log.
fn long(events: u64) -> History {
    let clients = ["a", "b", "c", "d", "e"];
    let observers = ["o", "p", "q", "r", "s", "t", "u"];
    let mut history = History::new();
    let mut push = |event| history.push(event).expect("a good history");
    push(Event::ServerPrefix { prefix: "server-".into() });
    let mut from = [0; 7];
    let id = |offset: u64| match offset % 9 {
        0 => format!("server-{offset}"),
        client => format!("{}-{offset}", clients[client as usize % 5]),
    };
    for offset in 1..=events {
        let name = id(offset);
        if offset % 9 != 0 {
            let client = clients[(offset % 9) as usize % 5];
            push(send(client, &name));
            push(ack(client, &name, offset));
        }
        for (number, observer) in observers.iter().enumerate() {
            if offset % (101 + number as u64) == 0 {
                let back = from[number].max(offset.saturating_sub(7));
                push(reset(observer, "k", back));
                (back + 1..offset).for_each(|offset| push(apply(observer, offset, &id(offset))));
                from[number] = back;
            }
            push(apply(observer, offset, &name));
        }
    }
    (events / 2 + 1..=events).for_each(|offset| push(log(offset, &id(offset))));
    push(trimmed(events / 2));
    observers.into_iter().for_each(|observer| push(caught_up(observer)));
    clients.into_iter().for_each(|client| push(drained(client)));
    history
}

#[test]
fn a_long_good_history_has_nothing_to_report() {
    let report = long(100_000).finish();
    assert!(report.is_clean() && report.unverified == 0, "{report}");
    assert_eq!((report.sent, report.acked, report.logged), (88_889, 88_889, 50_000));
    assert!(report.applied > 700_000, "{report}");
}

#[test]
fn a_single_lost_event_in_a_long_history_is_found() {
    let mut history = long(10_000);
    history.push(send("a", "late")).expect("fits");
    history.push(ack("a", "late", 10_001)).expect("fits");
    assert_eq!(counts(&history.finish()), one(ViolationKind::Lost));
}
