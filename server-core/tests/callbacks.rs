//! Whatever a driver gives is called with no lock held, so it may call back.

#![allow(clippy::unwrap_used)]

mod rig;

use rig::{NOW, config, connect, count_up, engine, frames, row};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tidewire_core::wire::{ChannelName, Offset, ServerFrame, User, UserKind};
use tidewire_server_core::dialog::ops::Kinds;
use tidewire_server_core::store::{Account, Stored};
use tidewire_server_core::tables::{Seen, Snapshot, SourceRequest, TableLimits, Tables};
use tidewire_server_core::{Channel, Engine, Extent, Outgoing, Wake};

/// Fails if it does not end: a lock that is waited for by whoever has it.
fn ends(test: impl FnOnce() + Send + 'static) {
    let (done, ended) = channel();
    let thread = std::thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    let ended = ended.recv_timeout(Duration::from_secs(60));
    assert!(ended.is_ok() || thread.is_finished(), "a callback waits for a lock that is held");
    thread.join().unwrap();
}

/// Looks at everything that a lock of the engine guards.
fn look_around(engine: &Engine) {
    engine.connections.count();
    if let Some(tables) = &engine.tables {
        tables.counts();
        tables.oldest();
    }
    engine.hub.loaded("dialog:a");
}

#[test]
fn whoever_is_woken_by_tables_or_connections_may_call_back() {
    ends(|| {
        let place: Arc<OnceLock<Arc<Engine>>> = Arc::default();
        let calls = Arc::new(AtomicUsize::new(0));
        let back = {
            let (place, calls) = (place.clone(), calls.clone());
            move || {
                if let Some(engine) = place.get() {
                    look_around(engine);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        let of_tables = back.clone();
        let wake = Arc::new(move |_| of_tables());
        // All that has to be judged is left to the driver.
        let limits = TableLimits { at_once: 0, log_commits: 20, ..TableLimits::default() };
        let tables = Arc::new(Tables::new(vec![config("a"), config("b")], limits, wake).unwrap());
        let engine = engine(&tables, 20_000, Box::new(back.clone()));
        place.set(engine.clone()).ok().unwrap();
        tables.restart("e1", 0, &[]);
        let of_client = back.clone();
        let wake: Wake = Arc::new(move |_| of_client());
        let mut session = connect(&engine, "ada", wake.clone());
        let answer = || {
            for wanted in tables.take_requests() {
                let SourceRequest::Snapshot(wanted) = wanted else { continue };
                let rows = vec![row(0, 0)];
                tables.finish_snapshot(wanted.id, Ok(Snapshot { rows, seen: Seen::UpTo(0) }));
            }
        };
        for table in ["a", "b"] {
            for filter in ["", "n=gte.0"] {
                let sub = format!(
                    r#"{{"t":"tbl.sub","sid":"{table}{filter}","table":"{table}","filter":"{filter}"}}"#
                );
                session.message(NOW, &sub);
            }
        }
        answer();
        session.message(NOW, r#"{"t":"tbl.wait","sid":"a","tx":"x"}"#);
        // More than the log has, and more than the client reads.
        for position in 1..200 {
            tables.publish(count_up(&[0, 1], position));
            while position % 3 == 0 && tables.catch_up() {}
        }
        frames(&session);
        tables.advance(500);
        tables.tick(NOW.mono.after(20_000));
        engine.connections.tell_all(&ServerFrame::Pong { n: "1".to_owned() });
        // A newer connection of the same run takes the place of this one.
        let newer = connect(&engine, "ada", wake);
        tables.reshape(0, config("a").schema);
        tables.restart("e2", 0, &[]);
        engine.connections.close_all(4_000, "over");
        drop((session, newer));
        assert!(calls.load(Ordering::Relaxed) > 100);
    });
}

#[test]
fn whoever_is_woken_by_a_channel_may_call_back() {
    ends(|| {
        let extent = Extent { head: Offset::ZERO, floor: Offset::ZERO };
        let channel = Arc::new(Channel::new(
            1,
            ChannelName::parse("dialog:a").unwrap(),
            None,
            Account::Own,
            extent,
            tidewire_core::wire::Handler::Ai,
            None,
            &Arc::default(),
        ));
        let calls = Arc::new(AtomicUsize::new(0));
        let wake: Wake = {
            let (channel, calls) = (channel.clone(), calls.clone());
            Arc::new(move |_| {
                channel.extent();
                calls.fetch_add(1, Ordering::Relaxed);
            })
        };
        let outgoing = Arc::new(Outgoing::new(7, 1_000, 3, wake));
        let subscriber = channel.subscribe(7, 1).unwrap();
        channel.send_page(&outgoing, Offset::ZERO, Vec::new(), |_, _| "page".to_owned());
        let by = User { id: "ada".to_owned(), name: "Ada".to_owned(), kind: UserKind::Operator };
        let op = Kinds::standard().read("message", r#"{"text":"x"}"#);
        // The last ones are more than may wait: the connection ends.
        for offset in 1..6 {
            let stored = Stored { offset: Offset(offset), at: 1, frame: offset.to_string().into() };
            channel.apply(&stored, &by, op.as_ref()).carry_out(None, &channel);
        }
        assert!(outgoing.is_closing());
        assert!(calls.load(Ordering::Relaxed) > 4);
        drop(subscriber);
    });
}
