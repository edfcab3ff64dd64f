"""Proves the Python bindings against a running server, step by step.

Run by `cargo test -p tidewire --features ffi --test foreign -- --ignored python`, which generates the bindings, starts the
server, and stops and starts it again when this program asks for it on its standard output. The environment says where:
TIDEWIRE_SERVER_URL, TIDEWIRE_STORE (an empty folder) and TIDEWIRE_TOKEN (a token for another user).
"""

import asyncio
import atexit
import json
import os
import sys

import tidewire as tw

PATIENCE_S = 60
SERVER = os.environ["TIDEWIRE_SERVER_URL"]
STORE = os.environ["TIDEWIRE_STORE"]


def check(name, passed, detail=""):
    print(f"PASS {name}" if passed else f"FAIL {name} {detail}", flush=True)
    if not passed:
        sys.exit(1)


async def runner(what):
    """Asks the runner for something and waits until it is done."""
    print(f"NEED {what}", flush=True)
    answer = await asyncio.to_thread(sys.stdin.readline)
    check(f"runner {what}", answer.strip() == "done", answer)


class View:
    """Folds the events of one client; what a real package would do more comfortably."""

    def __init__(self, client):
        self.client = client
        self.events = client.events()
        self.rows = []
        self.states = []
        self.acked = {}
        self.grown = 0
        self.table = []
        self.read = {}
        self.changed = asyncio.Condition()
        self.reader = asyncio.create_task(self.follow())

    async def follow(self):
        while batch := await self.events.next_batch(64):
            async with self.changed:
                for event in batch:
                    self.apply(event)
                self.changed.notify_all()

    def apply(self, event):
        if event.is_status():
            self.states.append(event.status.state)
        elif event.is_op() and event.state.is_acked():
            self.acked[event.id] = event.state.offset
        elif event.is_table():
            self.table.append(event.update)
        elif event.is_reads():
            self.read[event.channel] = event.state
        elif event.is_dialog():
            for change in event.changes:
                self.fold(change)

    def fold(self, change):
        if change.is_reset():
            self.rows = list(change.rows)
        elif change.is_insert():
            self.rows.insert(change.index, change.row)
        elif change.is_update():
            self.rows[change.index] = change.row
        elif change.is_append():
            # Records are immutable, so a longer text is a new row.
            row = self.rows[change.index]
            self.rows[change.index] = with_text(row, row.text + change.text)
            self.grown += 1
        elif change.is_move():
            self.rows.insert(change.to_index, self.rows.pop(change.from_index))
        else:
            del self.rows[change.index]

    async def until(self, name, condition):
        async def wait():
            async with self.changed:
                await self.changed.wait_for(condition)

        try:
            await asyncio.wait_for(wait(), PATIENCE_S)
        except asyncio.TimeoutError:
            rows = [(row.text, row.state, row.offset) for row in self.rows]
            check(name, False, f"rows {rows} states {self.states} status {self.client.status()}")
        check(name, True)


def with_text(row, text):
    return tw.Row(
        id=row.id, kind=row.kind, by=row.by, own=row.own, text=text,
        at_ms=row.at_ms, offset=row.offset, state=row.state, code=row.code, retry_at_ms=row.retry_at_ms,
    )


class Tokens(tw.TokenProvider):
    """Fails once, as real ones do, then gives the token."""

    def __init__(self):
        self.calls = 0

    async def token(self, renew):
        self.calls += 1
        await asyncio.sleep(0.01)
        if self.calls == 1:
            raise RuntimeError("the backend is away")
        return os.environ["TIDEWIRE_TOKEN"]


class Refusing(tw.TokenProvider):
    async def token(self, renew):
        raise tw.TidewireError.Unauthorized(code="unauthorized", detail="banned")


def code_of(call):
    try:
        call()
    except tw.TidewireError as error:
        return error.code
    return None


async def items(channel):
    """The items of a channel as an async iterator: three lines are all that Python's own style needs."""
    while (item := await channel.next()) is not None:
        yield item


async def first_item(channel, condition):
    """The first item that is as wanted."""
    async for item in items(channel):
        if condition(item):
            return item
    return None


async def states(follower):
    """The states of a channel's people, or of how far it was read, as an async iterator."""
    while (state := await follower.next()) is not None:
        yield state


async def state_until(name, follower, condition):
    """The first state that is as wanted, the present one included."""

    async def wait():
        if condition(follower.state()):
            return follower.state()
        async for state in states(follower):
            if condition(state):
                return state

    try:
        found = await asyncio.wait_for(wait(), PATIENCE_S)
    except asyncio.TimeoutError:
        found = None
    check(name, found is not None, follower.state())
    return found


async def prove_people(client, other):
    """Two users see each other in a channel; one writes, says something and leaves."""
    room, their_room = client.channel("guild:8"), other.channel("guild:8")
    seen, their_seen = room.people(), their_room.people()
    me, them = client.user(), other.user()
    found = lambda state: {(person.user.id, person.own, person.here) for person in state.people}
    both = lambda state: state.status.is_live() and state.count == 2 and len(state.people) == 2
    state = await state_until("a user sees another one", seen, both)
    check("and themselves", found(state) == {(me.id, True, True), (them.id, False, True)}, state)
    state = await state_until("the other one does too", their_seen, both)
    check("from their side", found(state) == {(me.id, False, True), (them.id, True, True)}, state)
    check("with the time", all(person.since_ms > 0 for person in state.people), state)

    their_room.typing(True)
    state = await state_until("typing appears", seen, lambda state: state.typing() == [them])
    check("as a lease that ends by itself", [lease.brief for person in state.people for lease in person.leases] == [True], state)
    check("and for nobody's own eyes", seen.typing() == [them] and their_seen.typing() == [])
    their_room.hold("status", '{"text":"away"}')
    leases = lambda state: [(lease.kind, lease.body) for person in state.people for lease in person.leases]
    status = ("status", '{"text":"away"}')
    state = await state_until("what somebody holds is seen", seen, lambda state: status in leases(state))
    check("and hidden in the text", "away" not in f"{state} {state!r}" and them.id in f"{state}", state)
    await asyncio.wait_for(their_room.publish("message", '{"text":"hello"}').acked(), PATIENCE_S)
    await state_until("typing ends with the message", seen, lambda state: leases(state) == [status])
    their_room.release("status")
    await state_until("what is released is gone", seen, lambda state: leases(state) == [])
    codes = [
        code_of(lambda: room.hold("", "{}")),
        code_of(lambda: room.hold("here", "{}")),
        code_of(lambda: room.release("typing")),
        code_of(lambda: room.hold("k" * 65, "{}")),
        code_of(lambda: room.hold("status", "[]")),
        code_of(lambda: client.people("other")),
        code_of(lambda: client.hold("other", "status", "{}")),
    ]
    wanted = ["bad_kind", "bad_kind", "bad_kind", "too_large", "bad_body", "not_subscribed", "not_subscribed"]
    check("what can't be held has a code", codes == wanted, codes)

    their_room.close()
    await state_until("who leaves is gone", seen, lambda state: found(state) == {(me.id, True, True)})
    check("and sees nobody", await asyncio.wait_for(last(their_seen), PATIENCE_S) is None)
    check("nor does anything", code_of(lambda: their_room.typing(True)) == "closed")
    ending = asyncio.create_task(last(seen))
    seen.close()
    seen.close()
    check("closing ends a wait for people", await asyncio.wait_for(ending, PATIENCE_S) is None)
    room.close()

    in_dialog = other.people("demo")
    client.hold("demo", "viewing", '{"page":1}')
    client.typing("demo", True)
    await state_until("the same in a dialog", in_dialog, lambda state: sorted(kind for kind, _ in leases(state)) == ["typing", "viewing"])
    check("who is writing", in_dialog.typing() == [me], in_dialog.state())
    client.typing("demo", False)
    client.release("demo", "viewing")
    await state_until("and their end", in_dialog, lambda state: leases(state) == [])
    in_dialog.close()


async def prove_reads(client, view, other):
    """Two users see how far the other one has read a channel and a dialog."""
    room, their_room = client.channel("guild:9"), other.channel("guild:9")
    seen, their_seen = room.reads(), their_room.reads()
    me, them = client.user(), other.user()
    for n in (1, 2):
        sent = room.publish("message", '{"text":"hello"}')
        check(f"message {n} is taken", await asyncio.wait_for(sent.acked(), PATIENCE_S) == n)
    at = lambda position, unread: lambda state: (state.status.is_live(), state.position, state.unread) == (True, position, unread)
    state = await state_until("what others wrote is unread", their_seen, at(0, 2))
    check("and nobody has read it", (state.more, state.receipts, state.read_by(1)) == (False, [], []), state)
    await state_until("what one wrote is not", seen, at(0, 0))
    their_room.mark_read(1)
    state = await state_until("others see who has read it", seen, lambda state: state.read_by(1) == [them])
    receipts = [(receipt.user, receipt.offset, receipt.at_ms > 0) for receipt in state.receipts]
    check("how far and when", (receipts, state.read_by(2), state.read_by(0)) == ([(them, 1, True)], [], []), state)
    await state_until("what is unread after it is counted", their_seen, at(1, 1))
    their_room.mark_read()
    await state_until("without an offset all is read", their_seen, at(2, 0))
    await state_until("and seen by others", seen, lambda state: state.read_by(2) == [them])
    await view.until("the events tell it too", lambda: "guild:9" in view.read and view.read["guild:9"].read_by(2) == [them])
    codes = [
        code_of(lambda: their_room.mark_read(3)),
        code_of(lambda: their_room.mark_read(2**53)),
        code_of(lambda: their_room.mark_read(2**63 - 1)),
        code_of(lambda: their_room.mark_read(-1)),
        code_of(lambda: client.mark_read("demo", -(2**63))),
        code_of(lambda: client.mark_read("other", None)),
        code_of(lambda: client.reads("other")),
    ]
    check("what can't be read has a code", codes == ["bad_offset"] * 5 + ["not_subscribed"] * 2, codes)

    their_room.close()
    check("a closed channel was read by nobody", await asyncio.wait_for(last(their_seen), PATIENCE_S) is None)
    check("nor is it read", [code_of(their_room.mark_read), code_of(their_room.reads)] == ["closed"] * 2)
    ending = asyncio.create_task(last(seen))
    seen.close()
    seen.close()
    check("closing ends a wait for reads", await asyncio.wait_for(ending, PATIENCE_S) is None)
    room.close()

    in_dialog = other.reads("demo")
    newest = client.rows("demo")[-1].offset
    client.mark_read("demo", None)
    await state_until("the same in a dialog", in_dialog, lambda state: state.read_by(newest) == [me])
    in_dialog.close()


async def last(follower):
    """What comes after all states: nothing."""
    async for _ in states(follower):
        pass
    return await follower.next()


async def failure_of(outgoing):
    try:
        await asyncio.wait_for(outgoing.acked(), PATIENCE_S)
    except tw.TidewireError as error:
        return error.code
    return None


def options(**more):
    return tw.ClientOptions(url=more.pop("url", SERVER), **more)


async def main():
    tw.uniffi_set_event_loop(asyncio.get_running_loop())
    atexit.register(tw.close_all_blocking)
    check("version", tw.sdk_version().count(".") == 2)

    codes = [
        code_of(lambda: tw.Client(options(url="not an address", guest_nickname="Ada"))),
        code_of(lambda: tw.Client(options(url="http://127.0.0.1:0", guest_nickname="Ada"))),
        code_of(lambda: tw.Client(options(guest_nickname=" "))),
        code_of(lambda: tw.Client(options())),
    ]
    check("wrong options have codes", codes == ["bad_url", "bad_url", "bad_nickname", "no_identity"], codes)

    client = tw.Client(options(guest_nickname="Ada", storage_dir=STORE))
    view = View(client)
    code = code_of(lambda: tw.Client(options(guest_nickname="Ada", storage_dir=STORE)))
    check("a store in use is refused", code == "store_in_use", code)

    client.open_dialog("demo")
    client.connect()
    await view.until("joins as a guest", lambda: tw.State.ONLINE in view.states and client.user() is not None)
    code = code_of(lambda: client.send_text("demo", "   "))
    check("an empty message is refused", code == "empty", code)

    first = client.send_text("demo", "count to 12").id()
    await view.until("a message is acknowledged", lambda: view.acked.get(first) == 1)
    answers = lambda: [row for row in view.rows if row.kind == tw.RowKind.ANSWER]
    await view.until("an answer is seen growing", lambda: view.grown >= 3)
    await view.until("the answer ends", lambda: [row.state for row in answers()] == [tw.RowState.DONE])
    await view.until("rows and events agree", lambda: client.rows("demo") == view.rows)

    guild = client.channel("guild:7")
    heard = []

    async def hear():
        async for item in items(guild):
            heard.append(item)

    hearing = asyncio.create_task(hear())
    vote = guild.publish("poll.vote", '{"option":1}')
    check("a channel takes an event", await asyncio.wait_for(vote.acked(), PATIENCE_S) == 1)
    code = await failure_of(guild.publish("notice", "{}"))
    check("an event that may not be written is refused", code == "forbidden", code)
    codes = [
        code_of(lambda: client.channel("no channel")),
        code_of(lambda: guild.publish("poll.vote", "[]")),
        code_of(lambda: guild.publish("k" * 65, "{}")),
        code_of(lambda: guild.signal("k" * 65, None, "{}")),
    ]
    check("what is no event has a code", codes == ["bad_channel", "bad_body", "too_large", "too_large"], codes)

    await runner("stop")
    await view.until("the loss is noticed", lambda: view.states[-1] == tw.State.RECONNECTING)
    sent = client.send_text("demo", "hello from offline")
    offline = sent.id()
    await asyncio.wait_for(sent.stored(), PATIENCE_S)
    check("what is sent without a connection is safe", True)
    state = lambda id: next((row.state for row in view.rows if row.id == id), None)
    await view.until("a message waits", lambda: state(offline) == tw.RowState.QUEUED)
    second = guild.publish("poll.vote", '{"option":2}')
    await runner("start")
    await view.until("it arrives after the restart", lambda: offline in view.acked)
    check("and committed", await asyncio.wait_for(sent.acked(), PATIENCE_S) > 0)
    await view.until("its answer ends", lambda: [row.state for row in answers()] == [tw.RowState.DONE] * 2)
    texts = [row.text for row in view.rows if row.kind == tw.RowKind.MESSAGE]
    check("once and in order", texts == ["count to 12", "hello from offline"], texts)

    row = client.rows("demo")[0]
    shown = f"{row} {row!r} {tw.Event.DIALOG('demo', [tw.Change.INSERT(0, row)])}"
    check("a row as text hides what was written", "count to 12" not in shown and row.id in shown, shown)
    check("a row is not None, and no error", (row == None, row != None) == (False, True))  # noqa: E711

    check("an event is published after the restart", await asyncio.wait_for(second.acked(), PATIENCE_S) == 2)
    again = client.channel("guild:7")
    check("a channel has a name", again.name() == "guild:7")
    last = again.publish("poll.vote", '{"option":3}')
    item = await asyncio.wait_for(first_item(again, lambda item: item.is_event() and item.event.offset == 3), PATIENCE_S)
    event = item.event
    check("another handle gets what comes from then on", (event.id, event.by, event.at_ms > 0) == (last.id(), client.user(), True), event)
    check("an event as text hides what was written", "option" not in f"{event} {event!r}" and event.id in f"{event}", event)
    check("older events are before the newest", again.load_older(None, 2) == 4)
    older = await asyncio.wait_for(first_item(again, lambda item: item.is_older()), PATIENCE_S)
    check("and come as asked", ([event.offset for event in older.events], older.more) == ([2, 3], True), older)
    again.close()
    again.close()
    check("a closed channel has no items", await asyncio.wait_for(again.next(), PATIENCE_S) is None)
    code = code_of(lambda: again.publish("poll.vote", "{}"))
    check("and takes no event", code == "closed", code)

    child = os.fork()
    if child == 0:
        # Of this library only the memory came along: its threads did not.
        closed = client.status().state == tw.State.CLOSED and client.status().code == "forked"
        os._exit(0 if closed and code_of(lambda: client.send_text("demo", "from a fork")) == "closed" else 1)
    check("a forked process has no client", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0)

    client.open_dialog("demo")
    client.close_dialog("demo")
    state = client.dialog_state("demo")
    check("a dialog lives until its last holder lets go", state.status.is_live() and len(client.rows("demo")) == 4, state)
    check("a dialog that is not open has no state", client.dialog_state("other") is None)

    code = code_of(lambda: client.open_table(tw.TableQuery(table="rules", filter="priority=near.3")))
    check("a filter that is none is refused", code == "bad_filter", code)
    notes = tw.ready_table(tw.ReadyTable.NOTIFICATIONS, "ada", "owner")
    asked = (notes.table, notes.filter, notes.order, notes.inserts, notes.updates, notes.deletes)
    check("a question is ready-made", asked == ("notifications", "owner=eq.ada", "created_at.desc", True, False, False), asked)
    code = code_of(lambda: tw.ready_table(tw.ReadyTable.SESSION, "7", "a=eq.1&b"))
    check("a column that is none is refused", code == "bad_column", code)
    rules = client.open_table(tw.TableQuery(table="rules", filter="priority=gt.3", order="priority.desc"))
    await view.until("a table is live", lambda: client.table_status(rules).is_live())
    ids = lambda: [json.loads(row)["id"] for row in client.table_rows(rules)]
    check("with what may be seen, in its order", ids() == ["2", "1"], ids())
    await runner("a raised priority")
    told = lambda: [change for update in view.table if update.is_changes() for change in update.changes]
    await view.until("a change is told", lambda: len(told()) == 1 and told()[0].event == tw.RowEvent.UPDATE)
    before = json.loads(told()[0].before)["priority"]
    check("with the row before it, and a new order", (before, ids()) == ("5", ["1", "2"]), (before, ids()))
    client.close_table(rules)
    check("a closed table has no state", client.table_status(rules) is None)

    tokens = Tokens()
    other = tw.Client(options(), tokens)
    other_view = View(other)
    other.open_dialog("demo")
    other.connect()
    same = lambda: [(row.id, row.offset, row.text) for row in other_view.rows] == [
        (row.id, row.offset, row.text) for row in view.rows
    ]
    await other_view.until("a user whose provider failed once sees the same", lambda: tokens.calls == 2 and same())

    others = other.channel("guild:7")
    await asyncio.wait_for(first_item(others, lambda item: item.is_state() and item.state.is_live()), PATIENCE_S)
    others.signal("pointer", "p", '{"x":1}')
    ended = asyncio.create_task(first_item(others, lambda item: False))
    is_signal = lambda item: item.is_signal() and (item.kind, item.key, item.body, item.by) == ("pointer", "p", '{"x":1}', other.user())
    for _ in range(PATIENCE_S * 10):
        if any(map(is_signal, heard)):
            break
        await asyncio.sleep(0.1)
    check("a signal reaches a channel", any(map(is_signal, heard)), heard)
    others.close()
    check("closing a channel ends a wait for its items", await asyncio.wait_for(ended, PATIENCE_S) is None)
    events = [item.event for item in heard if item.is_event()]
    votes = [(event.offset, event.kind, json.loads(event.body)) for event in events]
    wanted = [(n, "poll.vote", {"option": n}) for n in (1, 2, 3)]
    check("a channel's events come once and in order", votes == wanted, votes)

    await prove_people(client, other)
    await prove_reads(client, view, other)

    refused = tw.Client(options(), Refusing())
    refused_view = View(refused)
    refused.connect()
    await refused_view.until("a refused user is told", lambda: refused.status().state == tw.State.FAILED)
    code = refused.status().code
    check("with the code", (code, tw.code_of(code)) == ("unauthorized", tw.Code.UNAUTHORIZED), code)
    check("a code that is none of the list", tw.code_of("banned_by_ada") is None)
    code = code_of(lambda: client.stop("demo"))
    check("nothing to stop is an error", code == "run_not_found", code)
    check("the model answers", client.dialog_state("demo").handler == tw.Handler.AI(), client.dialog_state("demo"))
    step = client.hand_off("demo", tw.HandOffStep.REQUEST())
    await view.until("asking for a person is committed", lambda: step in view.acked)
    check("and shown", client.dialog_state("demo").handler.is_queued())
    client.hand_off("demo", tw.HandOffStep.RELEASE(None))
    await view.until("and taken back", lambda: client.dialog_state("demo").handler.is_ai())

    await client.close()
    await asyncio.wait_for(view.reader, PATIENCE_S)
    check("the events end with the client", True)
    await asyncio.wait_for(hearing, PATIENCE_S)
    check("and so do a channel's", True)
    check("a closed client says so", code_of(lambda: client.send_text("demo", "x")) == "closed")
    # The others are left to atexit.
    print("DONE", flush=True)
    os.environ.pop("TIDEWIRE_TOKEN")
    other_view.reader.cancel()
    refused_view.reader.cancel()


asyncio.run(main())
