//! The application's commands, read from JSON: `{"c": name, …}` with the core's names.

use crate::input::object;
use crate::output::{handler, people_status, person, reads, report, row};
use crate::part::Crossing;
use tidewire_core::wire::json::{Object, Writer, string};
use tidewire_core::wire::{Handler, Step};
use tidewire_core::{Client, Draft, Lane, Now, Offset, OpId, RunId, SendError, SubscribeError};

/// Runs a command and returns the answer as JSON; none if the command can't be read.
pub(crate) fn run<T: Crossing>(client: &mut Client<T>, text: &str, now: Now) -> Option<String> {
    let given = object(text)?;
    let name = given.str("c")?;
    let answer = match name.as_ref() {
        "connect" => {
            client.connect(now);
            done()
        }
        "close" => {
            client.close(now);
            done()
        }
        "disconnect" => {
            client.disconnect(now);
            done()
        }
        "renew_token" => {
            client.renew_token(now);
            done()
        }
        "open_dialog" => subscribed(client.open_dialog(now, &given.str("dialog")?)),
        "close_dialog" => {
            client.close_dialog(now, &given.str("dialog")?);
            done()
        }
        "rows" => {
            let dialog = given.str("dialog")?;
            let known = Writer::object().each("rows", &client.rows(&dialog), row);
            let known = known.opt_str("run", client.run(&dialog).as_deref());
            let known = handler(known, client.handler(&dialog).unwrap_or(&Handler::Ai));
            ok(&known.bool("older", client.has_older(&dialog)).end())
        }
        "subscribe" => match client.open_channel(now, &given.str("channel")?) {
            Ok(stored) => {
                let frames = stored.iter().map(|event| event.raw.as_str());
                Writer::object().array("ok", frames).end()
            }
            Err(error) => refused(error.code(), false),
        },
        "load_older" => {
            let (before, most) = (given.u64("before").map(Offset), given.u64("most")?);
            match client.load_older(now, &given.str("channel")?, before, most) {
                Ok(_) => done(),
                Err(error) => refused(error.code(), false),
            }
        }
        "unsubscribe" => {
            client.unsubscribe(now, &given.str("channel")?);
            done()
        }
        "draft_text" => drafted(client.draft_text(now, &given.str("dialog")?, &given.str("text")?)),
        "draft_stop" => drafted(client.draft_stop(
            now,
            &given.str("dialog")?,
            given.text("run").map(RunId::from).as_ref(),
        )),
        "draft_handoff" => match given.object("body").as_ref().and_then(Step::decode) {
            Some(step) => drafted(client.draft_handoff(now, &given.str("dialog")?, &step)),
            None => drafted(Err(SendError::BadBody)),
        },
        "draft_op" => {
            let (channel, kind, body) = (given.str("channel")?, given.str("kind")?, given.raw("body")?);
            drafted(client.draft_op(now, lane(&given)?, &channel, &kind, body))
        }
        "send" => {
            let (channel, kind, body) = (given.str("channel")?, given.str("kind")?, given.raw("body")?);
            let lane = lane(&given)?;
            let draft = Draft::new(&given.str("id")?, lane, &channel, &kind, body);
            sent(draft.and_then(|draft| client.send_draft(now, &draft)))
        }
        "signal" => {
            let (key, kind) = (given.str("key"), given.str("kind")?);
            let body = given.raw("body")?;
            done_unless(client.signal(now, &given.str("channel")?, &kind, key.as_deref(), body))
        }
        "watch_people" => subscribed(client.watch_people(now, &given.str("channel")?)),
        "unwatch_people" => {
            client.unwatch_people(now, &given.str("channel")?);
            done()
        }
        "people" => {
            let (people, status, count) = client.people(&given.str("channel")?).unwrap_or_default();
            let known = Writer::object().each("people", &people, person);
            ok(&people_status(known, &status, count).end())
        }
        "set_lease" => {
            let (channel, kind) = (given.str("channel")?, given.str("kind")?);
            done_unless(client.set_lease(now, &channel, &kind, given.raw("body")))
        }
        "typing" => done_unless(client.typing(now, &given.str("channel")?, given.flag("on"))),
        "mark_read" => {
            done_unless(client.mark_read(now, &given.str("channel")?, given.u64("offset").map(Offset)))
        }
        "watch_reads" => subscribed(client.watch_reads(now, &given.str("channel")?)),
        "unwatch_reads" => {
            client.unwatch_reads(now, &given.str("channel")?);
            done()
        }
        "reads" => {
            let (state, receipts) = client.reads(&given.str("channel")?).unwrap_or_default();
            ok(&reads(Writer::object(), &state, Some(&receipts)).end())
        }
        "explain" => ok(&report(&client.explain(), &client.metrics(now))),
        "retry" => flag(client.retry(now, &op(&given)?)),
        "discard" => flag(client.discard(now, &op(&given)?)),
        other => return T::command(client, other, &given, now),
    };
    Some(answer)
}

fn op(given: &Object<'_>) -> Option<OpId> {
    given.text("op").map(OpId::from)
}

/// The lane of an op; the durable one, unless it says otherwise.
fn lane(given: &Object<'_>) -> Option<Lane> {
    given.str("lane").map_or(Some(Lane::Durable), |word| Lane::parse(&word))
}

fn done() -> String {
    ok("null")
}

fn flag(value: bool) -> String {
    ok(if value { "true" } else { "false" })
}

fn ok(raw: &str) -> String {
    Writer::object().raw("ok", raw).end()
}

fn sent(result: Result<OpId, SendError>) -> String {
    match result {
        Ok(id) => ok(&string(&id)),
        Err(error) => refused(error.code(), error.is_retryable()),
    }
}

fn done_unless(result: Result<(), SendError>) -> String {
    match result {
        Ok(()) => done(),
        Err(error) => refused(error.code(), error.is_retryable()),
    }
}

/// The command that sends a draft, here or in another tab.
fn drafted(result: Result<Draft, SendError>) -> String {
    match result {
        Ok(draft) => ok(&Writer::object()
            .str("c", "send")
            .str("id", &draft.id)
            .str("lane", draft.lane.as_str())
            .str("channel", &draft.channel)
            .str("kind", &draft.kind)
            .raw("body", &draft.body)
            .end()),
        Err(error) => refused(error.code(), error.is_retryable()),
    }
}

fn subscribed(result: Result<(), SubscribeError>) -> String {
    match result {
        Ok(()) => done(),
        Err(error) => refused(error.code(), false),
    }
}

/// The answer to a command that was refused.
pub(crate) fn refused(code: &str, retryable: bool) -> String {
    let error = |writer: Writer| writer.begin().str("code", code).bool("retryable", retryable).close();
    Writer::object().with("error", error).end()
}
