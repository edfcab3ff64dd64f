//! Bugs that the simulator must find. Each is a realistic mistake: a change of a few characters in
//! a copy of the sources.

/// A planted bug.
pub(crate) struct Planted {
    pub(crate) name: &'static str,
    pub(crate) file: &'static str,
    /// A text in the file, and its replacement, at all places.
    pub(crate) find: &'static str,
    pub(crate) put: &'static str,
    /// Whether the scenarios of live tables must find it, instead of the other runs.
    pub(crate) tables: bool,
}

const fn bug(name: &'static str, file: &'static str, find: &'static str, put: &'static str) -> Planted {
    Planted { name, file, find, put, tables: false }
}

/// A bug of live tables.
const fn table(name: &'static str, file: &'static str, find: &'static str, put: &'static str) -> Planted {
    Planted { name, file, find, put, tables: true }
}

const CHANNEL: &str = "sdk-core/src/delivery/channel.rs";
const OUTBOX: &str = "sdk-core/src/delivery/outbox.rs";
const LIMITER: &str = "sdk-core/src/delivery/limiter.rs";
const PERSISTENCE: &str = "sdk-core/src/delivery/persistence.rs";
const TIMELINE: &str = "sdk-core/src/chat/timeline.rs";
const ANSWER_ROWS: &str = "sdk-core/src/chat/kinds/answer.rs";
const FRAMES: &str = "sdk-core/src/client/frames.rs";
const SENDING: &str = "sdk-core/src/client/sending.rs";
const STORE: &str = "sdk-core/src/client/store.rs";
const CONNECTION: &str = "sdk-core/src/link/connection.rs";
const REQUESTS: &str = "sdk-core/src/link/requests.rs";
const BACKOFF: &str = "sdk-core/src/link/backoff.rs";
const RETRY: &str = "sdk-core/src/retry.rs";
const HEARTBEAT: &str = "sdk-core/src/link/heartbeat.rs";
const CLIENT: &str = "sdk-core/src/client/mod.rs";
const ANSWERS: &str = "server-core/src/dialog/run.rs";
const OPS: &str = "server-sqlite/src/log/ops.rs";
const SERVER_CHANNEL: &str = "server-core/src/dialog/channel.rs";
const SUBMIT: &str = "server-core/src/session/submit.rs";
const EARLIER: &str = "server-core/src/session/earlier.rs";
const SESSION: &str = "server-core/src/session/state.rs";
const REVOKE: &str = "server-core/src/engine/revoke.rs";
const PROGRESS: &str = "server-core/src/dialog/progress.rs";
const LEASES: &str = "server-core/src/people/leases.rs";
const ROSTER: &str = "server-core/src/people/roster.rs";
const AGENDA: &str = "server-core/src/people/agenda.rs";
const OWN_LEASES: &str = "sdk-core/src/people/leases.rs";
const LIST: &str = "sdk-core/src/people/roster.rs";

const TABLE_ROWS: &str = "sdk-core/src/tables/rows.rs";
const TABLE_SUBSCRIPTION: &str = "sdk-core/src/tables/subscription.rs";
const TABLE_SORTED: &str = "sdk-core/src/tables/sorted.rs";
const TABLE_LIVE: &str = "sdk-core/src/tables/live.rs";
const TABLE_SOURCE: &str = "server-core/src/tables/source.rs";
const TABLE_MATCHING: &str = "server-core/src/tables/matching.rs";
const TABLE_FEED: &str = "server-core/src/tables/feed.rs";
const TABLE_REQUESTS: &str = "server-core/src/tables/requests.rs";
const TABLE_RING: &str = "server-core/src/tables/ring.rs";

/// All planted bugs.
pub(crate) const PANEL: &[Planted] = &[
    bug(
        "a gap in the events goes unnoticed",
        CHANNEL,
        "            _ => Sequence::Gap,",
        "            _ => Sequence::Next,",
    ),
    bug(
        "the oldest of the earlier events are sent, and not the newest",
        EARLIER,
        "let from = to.minus(earlier.most).max(earlier.channel.extent().floor);",
        "let from = earlier.channel.extent().floor;\n        let to = from.plus(earlier.most).min(to);",
    ),
    bug(
        "the cursor stands one event behind",
        CHANNEL,
        "cursor.offset = event.offset;",
        "cursor.offset = event.offset.minus(1);",
    ),
    bug(
        "what was acknowledged before the view began stands in it with a hole behind",
        TIMELINE,
        "if self.rows.has_committed() {",
        "if self.rows.len() == 0 {",
    ),
    bug(
        "older rows begin where the newest ended",
        TIMELINE,
        "        self.since = page.from;\n        self.is_whole",
        "        self.is_whole",
    ),
    bug(
        "older rows are said to be all that there are",
        TIMELINE,
        "self.is_whole = !page.more;",
        "self.is_whole = true;",
    ),
    bug(
        "an answer of which only the end was there stays at its end",
        ANSWER_ROWS,
        "Some(index) if rows.is_later(index, event.offset) => {",
        "Some(index) if rows.is_later(index, event.offset) && rows.len() == 0 => {",
    ),
    bug(
        "another epoch begins without a word",
        CHANNEL,
        "reset = Some(reason.unwrap_or_else(|| silent.to_owned()));",
        "drop((reason, silent));",
    ),
    bug(
        "what was under way is not sent again",
        OUTBOX,
        "                entry.state = EntryState::Ready { delay: None };\n                entry.unanswered = true;",
        "                entry.unanswered = true;",
    ),
    bug(
        "ops don't say which comes before them",
        OUTBOX,
        "after: before.map(|before| before.id.clone()),",
        "after: None,",
    ),
    bug(
        "a failed op blocks nobody",
        SENDING,
        "if entry.lane == Lane::Session || !entry.has_row() {",
        "if entry.lane == Lane::Session || entry.id.len() == 36 {",
    ),
    bug("the window is one op wider", OUTBOX, "count < inflight &&", "count <= inflight &&"),
    bug(
        "a reconnect fills the budget",
        LIMITER,
        "self.level = if was_full { self.full() } else { self.level.min(self.full()) };",
        "let _ = was_full;\n        self.level = self.full();",
    ),
    bug(
        "the kept cursor is ahead of what was applied",
        PERSISTENCE,
        "cursor: cursor.offset,",
        "cursor: cursor.offset.next(),",
    ),
    bug(
        "a piece that does not fit is appended",
        ANSWER_ROWS,
        "let known = (length - piece.at) as usize;",
        "let known = 0;",
    ),
    bug(
        "a missed piece is passed over",
        ANSWER_ROWS,
        "    if piece.at > length {\n        return false;\n    }",
        "    let length = length.max(piece.at);",
    ),
    bug(
        "a refusal for now is taken for one for good",
        FRAMES,
        "        if !retryable {\n            self.fail_op",
        "        if id.len() == 36 || !retryable {\n            self.fail_op",
    ),
    bug(
        "an op is forgotten on disk once it is sent",
        SENDING,
        "            self.sent(now, &id);",
        "            self.sent(now, &id);\n            self.store(StoreChange::DeleteOp { id: id.clone() });",
    ),
    bug(
        "an op counts as stored although the disk refused it",
        STORE,
        "if code.is_none()\n            && let Some(entry)",
        "if let Some(entry)",
    ),
    bug(
        "closing does not end the wish for a connection",
        CONNECTION,
        "    pub(crate) fn disconnect<E>(&mut self, cx: &mut Context<'_, E>) {\n        if self.is_closed() {\n            return;\n        }\n        self.wanted = false;",
        "    pub(crate) fn disconnect<E>(&mut self, cx: &mut Context<'_, E>) {\n        self.backoff.settled();\n        self.phase = Phase::Backoff { at: cx.now.mono.after(5_000) };\n        if self.wanted {\n            return;\n        }",
    ),
    bug(
        "there is no limit of dials in a minute",
        BACKOFF,
        "const ATTEMPTS: usize = 12;",
        "const ATTEMPTS: usize = 1_000;",
    ),
    bug(
        "the backoff has no jitter",
        RETRY,
        "rng.up_to(self.ceiling(failures))",
        "self.ceiling(failures).max(rng.up_to(1))",
    ),
    bug(
        "a pause that the server asks for takes the place of the jitter",
        RETRY,
        "floor_ms.min(MOST_MS) + rng.up_to(self.ceiling(failures))",
        "floor_ms.min(MOST_MS).max(rng.up_to(self.ceiling(failures)))",
    ),
    bug(
        "a goaway is followed at once",
        BACKOFF,
        "now.after(rng.up_to(spread_ms))",
        "now.after(rng.up_to(spread_ms.min(250)))",
    ),
    bug(
        "the heartbeat is not armed again",
        HEARTBEAT,
        "self.heard.after(self.silence_ms)",
        "self.heard.after(self.silence_ms * 100)",
    ),
    bug(
        "a probe's answer does not count as life",
        HEARTBEAT,
        "        self.heard = now;\n        self.probe = None;",
        "        self.heard = now;",
    ),
    bug(
        "the server forgets which ops it has",
        OPS,
        "if let Some((key, frame)) = find_op(connection, op, event)? {\n        return Ok(earlier(event, key, frame));",
        "if let Some((key, frame)) = find_op(connection, op, event)?.filter(|_| false) {\n        return Ok(earlier(event, key, frame));",
    ),
    bug(
        "the server forgets the ops it trimmed",
        OPS,
        "if let Some(trimmed) = retention::find(connection, op, event)? {",
        "if let Some(trimmed) = retention::find(connection, op, event)?.filter(|_| false) {",
    ),
    bug(
        "the server does not look at the op before",
        OPS,
        "return Ok(Outcome::Refused(Refusal::Blocked));",
        "let _ = Refusal::Blocked;",
    ),
    bug(
        "pieces are shown but not stored",
        OPS,
        ".execute(params![piece.run.as_str(), piece.at.cast_signed(), piece.text])?;",
        ".execute(params![piece.run.as_str(), piece.at.cast_signed(), \"\"])?;",
    ),
    bug(
        "live events reach nobody",
        SERVER_CHANNEL,
        "        self.send(&event.frame)\n",
        "        let _ = &event.frame;\n        Due::default()\n",
    ),
    bug("who has caught up does not become live", SERVER_CHANNEL, "if sent && !more {", "if sent && more {"),
    bug(
        "an op that is repeated is acknowledged with the place of the next",
        OPS,
        "Outcome::Duplicate(Duplicate { offset: offset_of(key), at: old.at, frame",
        "Outcome::Duplicate(Duplicate { offset: offset_of(key).next(), at: old.at, frame",
    ),
    bug(
        "the server does not ping",
        SESSION,
        "self.outgoing.send(&ServerFrame::Ping { n: self.pings.to_string() });",
        "let _ = self.pings.to_string();",
    ),
    bug(
        "an op is acknowledged although its commit failed",
        SUBMIT,
        "Err(error) => nack(id, of_store(error)),",
        "Err(error) => {\n                        let _ = of_store(error);\n                        ServerFrame::Ok { id, ch, offset: tidewire_core::Offset(1), at: 0, dup: false }\n                    }",
    ),
    bug(
        "access that is taken back stays until the next token",
        REVOKE,
        "        self.connections.enforce(&revocation.user, &self.access);\n",
        "",
    ),
    bug(
        "an op is taken of somebody who may not write any more",
        OPS,
        "    if event.forbidden {\n        return Ok(Outcome::Refused(Refusal::Forbidden));\n    }\n",
        "",
    ),
    bug(
        "an answer begins beside one that a crash left open",
        ANSWERS,
        "            channel.answers_still();\n",
        "            drop(channel);\n",
    ),
    bug(
        "an answer's start is written again after a commit in doubt",
        OPS,
        "    if let Some((key, frame)) = find_op(connection, start.event.op.as_bytes(), &start.event)? {\n        return Ok(earlier(&start.event, key, frame));\n    }\n",
        "",
    ),
    bug(
        "an answer's end is written again after a commit in doubt",
        OPS,
        "    if open == 0 {\n        return Ok(Outcome::Refused(Refusal::RunNotFound));\n    }\n",
        "    drop(open);\n",
    ),
    bug(
        "what came during an answer gets none of its own",
        PROGRESS,
        "self.answering = self.unanswered > covered;",
        "self.answering = self.unanswered > covered.plus(1_000);",
    ),
    bug(
        "a dialog ends with any of its holders",
        CHANNEL,
        "self.row_holders + self.raw_holders > 0",
        "self.row_holders + self.raw_holders > 1",
    ),
    bug(
        "an answer to a subscription that comes twice forgets the rows",
        CHANNEL,
        "Mode::Fresh | Mode::Reset if joins_on => {}",
        "Mode::Fresh | Mode::Reset if joins_on && known.is_none() => {}",
    ),
    bug(
        "what stands behind a failed message does not say so",
        OUTBOX,
        "held.push((channel, codes::BLOCKED, None));",
        "drop(codes::BLOCKED);",
    ),
    bug(
        "what stood behind a discarded message goes on saying that it is blocked",
        OUTBOX,
        "        let entry = self.entries.remove(at);\n        self.version += 1;",
        "        let entry = self.entries.remove(at);",
    ),
    bug(
        "a dialog is called live although its connection is gone",
        CLIENT,
        "                let state = ChannelState::Syncing;\n                self.out.push_back(Output::Event(Event::Channel { channel: channel.name.clone(), state }));\n            }\n            self.part_disconnected();",
        "            }\n            self.part_disconnected();",
    ),
    bug(
        "messages are said to be on their way although the connection is gone",
        CLIENT,
        "timeline.mark(&entry.id, row_state(entry), row_code(entry));",
        "drop((&timeline, row_code(entry)));",
    ),
    bug(
        "a message is said to be safe before the disk has it",
        STORE,
        "        self.puts.push((store, id.clone()));\n    }",
        "        self.puts.push((store, id.clone()));\n        self.out.push_back(Output::Event(Event::Stored { id: id.clone() }));\n    }",
    ),
    bug(
        "events kept before a reset are shown again after a restart",
        PERSISTENCE,
        "        self.pending.clear();\n        self.broken = true;",
        "        self.pending.clear();",
    ),
    bug(
        "a restart sends what waits in another order",
        OUTBOX,
        "self.entries.iter().rposition(|other| other.seq < entry.seq).map_or(0, |at| at + 1);",
        "self.entries.iter().rposition(|other| other.seq > entry.seq).map_or(0, |at| at + 1);",
    ),
    bug(
        "a reconnect asks without its cursor",
        CHANNEL,
        "want: Want { cursor: self.cursor.clone(), tail }",
        "want: Want { cursor: None, tail }",
    ),
    bug(
        "requests up overtake each other",
        REQUESTS,
        "if self.up.is_none() && !self.id.0.is_empty()",
        "if !self.id.0.is_empty()",
    ),
    bug("plain polling never rests", REQUESTS, "self.transport == Transport::Poll || (", "("),
    bug(
        "a response that broke off counts as whole",
        REQUESTS,
        "ResponsePart::End if *accepted && self.transport != Transport::Stream && lines.is_whole() => {",
        "ResponsePart::End | ResponsePart::Failed(_) if *accepted && self.transport != Transport::Stream => {",
    ),
    bug(
        "the end of an earlier grace stays although the user came back",
        LEASES,
        "        held.ends = None;\n        match",
        "        match",
    ),
    bug(
        "a connection that is lost takes the user's others with it",
        LEASES,
        "        self.last = Some(self.holders.swap_remove(at).1);\n",
        "        self.last = Some(self.holders.swap_remove(at).1);\n        self.holders.clear();\n",
    ),
    bug(
        "nobody looks for the end of a grace",
        LEASES,
        "|held| held.holders.is_empty() || held.holders.iter().any(is_brief)",
        "|held| held.holders.iter().any(is_brief)",
    ),
    bug(
        "who says bye counts as lost",
        SESSION,
        "                self.subscriptions.leave_all();\n",
        "                self.subscriptions.close();\n",
    ),
    bug(
        "who is lost counts as one who left",
        SERVER_CHANNEL,
        "self.channel.people.leave(self.conn, Leaving::Lost);",
        "self.channel.people.leave(self.conn, Leaving::Left);\n        let _ = Leaving::Lost;",
    ),
    bug(
        "who wrote a message goes on writing",
        SERVER_CHANNEL,
        "        if effects.said {\n            self.people",
        "        if effects.said && by.id.is_empty() {\n            self.people",
    ),
    bug(
        "what was told first counts as told for ever",
        ROSTER,
        "                present.told = Some(text.clone());\n                people.push",
        "                present.told.get_or_insert_with(|| text.clone());\n                people.push",
    ),
    bug(
        "what ends later is forgotten",
        ROSTER,
        "            next.extend(end);\n",
        "            drop(end);\n",
    ),
    bug(
        "what changes just after something was told is forgotten",
        ROSTER,
        "            Some(at) if self.has_news() => next.push(at),\n",
        "",
    ),
    bug(
        "who went while nobody watched is listed",
        ROSTER,
        "                _ => drop(self.users.remove(&key)),",
        "                _ => {}",
    ),
    bug(
        "a list tells what was so before nobody watched",
        ROSTER,
        "Some(present) if !present.is_gone() => present.told = None,",
        "Some(present) if !present.is_gone() => {}",
    ),
    bug(
        "a user who left is not counted away",
        ROSTER,
        "self.here -= usize::from(was_here && !present.is_here());",
        "let _ = was_here;",
    ),
    bug(
        "a server that started says that it knows everybody",
        ROSTER,
        "frame.settle_ms = Some(settles).filter(|ms| *ms > 0);",
        "frame.settle_ms = Some(settles).filter(|ms| *ms > GRACE_MS);",
    ),
    bug(
        "the server has always just started",
        AGENDA,
        "let started = *self.started.get_or_init(|| now);",
        "let started = now;\n        let _ = self.started.get_or_init(|| now);",
    ),
    bug(
        "a server that just started is believed that others are gone",
        LIST,
        "Some(settle_ms) => self.settles = Some(now.after(settle_ms)),",
        "Some(_) => self.end_unconfirmed(),",
    ),
    bug("who wrote when the connection was lost goes on writing", LIST, "        self.end_brief();\n", ""),
    bug(
        "the numbers of the former connection go on",
        LIST,
        "(self.asked, self.last) = (None, 0);",
        "self.asked = None;",
    ),
    bug(
        "people are not asked for after a handover",
        FRAMES,
        "            channel.people.handed_over();\n",
        "",
    ),
    bug(
        "leases are not said again on a new connection",
        OWN_LEASES,
        "self.held.iter_mut().for_each(|held| held.told = false);",
        "",
    ),
    table(
        "the row after the one that comes into sight is shown",
        TABLE_SORTED,
        "self.entries.nth(limit - 1)",
        "self.entries.nth(limit)",
    ),
    table(
        "cells that were not said become null",
        TABLE_ROWS,
        "if same.is_empty() {",
        "if true || same.is_empty() {",
    ),
    table(
        "rows with other values are not told after a new snapshot",
        TABLE_ROWS,
        "if reshaped || old.as_ref() != Some(new) {",
        "if reshaped || old.is_none() {",
    ),
    table(
        "rows that are gone are not told after a new snapshot",
        TABLE_ROWS,
        "if there(self, key).is_none() {",
        "if false && there(self, key).is_none() {",
    ),
    table(
        "a transaction is no longer waited for after a reconnect",
        TABLE_LIVE,
        "for (_, tx) in &subscription.waits {",
        "for (_, tx) in subscription.waits.iter().take(0) {",
    ),
    table(
        "a view stays live although its connection is gone",
        TABLE_SUBSCRIPTION,
        "        self.steady || matches!(self.phase, Phase::Live)",
        "        self.steady || self.known.is_some()",
    ),
    table(
        "a snapshot contains what was still running",
        TABLE_SOURCE,
        "xid < *xmax && !running.contains(&xid)",
        "xid < *xmax",
    ),
    table(
        "positions and not numbers tell what a snapshot contains",
        TABLE_SOURCE,
        "commit.xid.is_some_and(|xid| xid < *xmin || xid < *xmax && !running.contains(&xid))",
        "drop((xmin, xmax, running)); true",
    ),
    table(
        "a row that leaves the filter is not taken away",
        TABLE_MATCHING,
        "Some((belongs(&mut self.old)?, belongs(&mut self.new)?))",
        "let new = belongs(&mut self.new)?; Some((new && belongs(&mut self.old)?, new))",
    ),
    table(
        "the index looks at the new row only",
        TABLE_FEED,
        "for (row, belongs) in rows {",
        "for (row, belongs) in rows.into_iter().skip(1) {",
    ),
    table(
        "who falls out of a feed misses the commit that did not fit",
        TABLE_FEED,
        "(Phase::Behind(None), last, before)",
        "(Phase::Behind(None), last, head)",
    ),
    table(
        "another claim changes nothing",
        TABLE_REQUESTS,
        "allowed.text != group.shape.permission",
        "false && allowed.text != group.shape.permission",
    ),
    table(
        "a restarted server takes what it did not see for seen",
        TABLE_RING,
        "        self.unseen = unseen.iter().copied().collect();",
        "        let _ = unseen;\n        self.unseen.clear();",
    ),
];

#[cfg(test)]
mod tests {
    use super::PANEL;

    #[test]
    fn every_bug_has_its_place_in_the_sources() {
        for bug in PANEL {
            let text = std::fs::read_to_string(crate::tools::top().join(bug.file)).expect("a source");
            assert!(text.contains(bug.find), "`{}`: {} has no `{}`", bug.name, bug.file, bug.find);
        }
    }
}
