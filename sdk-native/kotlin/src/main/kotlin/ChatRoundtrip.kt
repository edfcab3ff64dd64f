/*
 * Proves the Kotlin bindings against a running server, step by step.
 *
 * Run by `cargo test -p tidewire --features ffi --test foreign -- --ignored kotlin`, which generates the bindings, starts the
 * server, and stops and starts it again when this program asks for it on its standard output. The environment says where:
 * TIDEWIRE_SERVER_URL, TIDEWIRE_STORE (an empty folder) and TIDEWIRE_TOKEN (a token for another user).
 */
package dev.tidewire.roundtrip

import dev.tidewire.Change
import dev.tidewire.Channel
import dev.tidewire.ChannelEvent
import dev.tidewire.ChannelItem
import dev.tidewire.ChannelState
import dev.tidewire.Client
import dev.tidewire.ClientOptions
import dev.tidewire.DialogStatus
import dev.tidewire.Event
import dev.tidewire.Events
import dev.tidewire.OpState
import dev.tidewire.Outgoing
import dev.tidewire.People
import dev.tidewire.PeopleState
import dev.tidewire.PeopleStatus
import dev.tidewire.PersonLease
import dev.tidewire.Reads
import dev.tidewire.ReadsState
import dev.tidewire.ReadyTable
import dev.tidewire.Row
import dev.tidewire.RowEvent
import dev.tidewire.RowKind
import dev.tidewire.RowState
import dev.tidewire.State
import dev.tidewire.TableQuery
import dev.tidewire.TableStatus
import dev.tidewire.TableUpdate
import dev.tidewire.TidewireException
import dev.tidewire.TokenProvider
import dev.tidewire.readyTable
import dev.tidewire.sdkVersion
import java.util.concurrent.atomic.AtomicInteger
import kotlin.system.exitProcess
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.filterIsInstance
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeoutOrNull

private val patience = 60.seconds
private val server = environment("TIDEWIRE_SERVER_URL")

private fun environment(name: String) = System.getenv(name) ?: error("$name is not set")

private fun check(name: String, passed: Boolean, detail: Any? = "") {
    println(if (passed) "PASS $name" else "FAIL $name $detail")
    if (!passed) exitProcess(1)
}

/** Asks the runner for something and waits until it is done. */
private suspend fun runner(what: String) {
    println("NEED $what")
    val answer = withContext(Dispatchers.IO) { readlnOrNull() }
    check("runner $what", answer == "done", answer)
}

/** What a client shows; folded from its events as a real package would do it. */
private data class View(
    val rows: List<Row> = emptyList(),
    val states: List<State> = emptyList(),
    val acked: Map<String, Long> = emptyMap(),
    val grown: Int = 0,
    val table: List<TableUpdate> = emptyList(),
    val read: Map<String, ReadsState> = emptyMap(),
) {
    fun told() = table.filterIsInstance<TableUpdate.Changes>().flatMap { it.changes }

    fun answers() = rows.filter { it.kind == RowKind.ANSWER }.map { it.state }

    fun after(event: Event): View = when (event) {
        is Event.Status -> copy(states = states + event.status.state)
        is Event.Op -> when (val state = event.state) {
            is OpState.Acked -> copy(acked = acked + (event.id to state.offset))
            else -> this
        }
        is Event.Table -> copy(table = table + event.update)
        is Event.Reads -> copy(read = read + (event.channel to event.state))
        is Event.Dialog -> event.changes.fold(this) { view, change -> view.after(change) }
        else -> this
    }

    private fun after(change: Change): View {
        val next = rows.toMutableList()
        when (change) {
            is Change.Reset -> return copy(rows = change.rows)
            is Change.Insert -> next.add(change.index, change.row)
            is Change.Update -> next[change.index] = change.row
            is Change.Append -> next[change.index] = next[change.index].let { it.copy(text = it.text + change.text) }
            is Change.Move -> next.add(change.toIndex, next.removeAt(change.fromIndex))
            is Change.Remove -> next.removeAt(change.index)
        }
        return copy(rows = next, grown = if (change is Change.Append) grown + 1 else grown)
    }
}

/** The events as a flow: six lines are all that Kotlin's own style needs. */
private fun Events.flow(): Flow<Event> = flow {
    while (true) {
        val batch = nextBatch(64)
        if (batch.isEmpty()) return@flow
        batch.forEach { emit(it) }
    }
}

/** The items of a channel as a flow. */
private val Channel.items: Flow<ChannelItem>
    get() = flow { while (true) emit(next() ?: return@flow) }

/** Its events alone. */
private val Channel.events: Flow<ChannelEvent>
    get() = items.filterIsInstance<ChannelItem.Event>().map { it.event }

/** The states of a channel's people as a flow; it begins with the present one. */
private val People.states: Flow<PeopleState>
    get() = flow { while (true) emit(next() ?: return@flow) }

/** And those of how far it was read. */
private val Reads.states: Flow<ReadsState>
    get() = flow { while (true) emit(next() ?: return@flow) }

private suspend fun People.until(name: String, condition: (PeopleState) -> Boolean) = states.until(name, ::state, condition)

private suspend fun Reads.until(name: String, condition: (ReadsState) -> Boolean) = states.until(name, ::state, condition)

/** The first state that is as wanted, the present one included. */
private suspend fun <S : Any> Flow<S>.until(name: String, present: () -> S, condition: (S) -> Boolean): S {
    val found = present().takeIf(condition) ?: withTimeoutOrNull(patience) { first(condition) }
    check(name, found != null, present())
    return checkNotNull(found)
}

private class Watched(val client: Client, scope: CoroutineScope) {
    val view = MutableStateFlow(View())
    private val events = client.events()
    val reader: Job = scope.launch { events.flow().collect { view.value = view.value.after(it) } }

    suspend fun until(name: String, condition: (View) -> Boolean) {
        val found = withTimeoutOrNull(patience) { view.first(condition) }
        check(name, found != null, view.value)
    }
}

/** Fails once, as real ones do, then gives the token. */
private class Tokens : TokenProvider {
    val calls = AtomicInteger()

    override suspend fun token(renew: Boolean): String {
        delay(10.milliseconds)
        if (calls.incrementAndGet() == 1) throw IllegalStateException("the backend is away")
        return environment("TIDEWIRE_TOKEN")
    }
}

private object Refusing : TokenProvider {
    override suspend fun token(renew: Boolean): String = throw TidewireException.Unauthorized("unauthorized", "banned")
}

private inline fun codeOf(call: () -> Unit): String? = try {
    call()
    null
} catch (error: TidewireException) {
    when (error) {
        is TidewireException.Options -> error.code
        is TidewireException.Store -> error.code
        is TidewireException.Refused -> error.code
        is TidewireException.Closed -> error.code
        is TidewireException.Unauthorized -> error.code
        is TidewireException.Callback -> error.code
    }
}

/** Where an event was committed; none if that takes too long. */
private suspend fun offsetOf(sent: Outgoing): Long? = withTimeoutOrNull(patience) { sent.acked() }

/** Two users see each other in a channel; one writes, says something and leaves. */
private suspend fun provePeople(client: Client, other: Client, scope: CoroutineScope) {
    val (room, theirRoom) = client.channel("guild:8") to other.channel("guild:8")
    val (seen, theirSeen) = room.people() to theirRoom.people()
    val (me, them) = checkNotNull(client.user()) to checkNotNull(other.user())
    val found = { state: PeopleState -> state.people.map { Triple(it.user.id, it.own, it.here) }.toSet() }
    val both = { state: PeopleState -> state.status is PeopleStatus.Live && state.count == 2L && state.people.size == 2 }
    val mine = seen.until("a user sees another one", both)
    check("and themselves", found(mine) == setOf(Triple(me.id, true, true), Triple(them.id, false, true)), mine)
    val theirs = theirSeen.until("the other one does too", both)
    check("from their side", found(theirs) == setOf(Triple(me.id, false, true), Triple(them.id, true, true)), theirs)

    theirRoom.typing(true)
    seen.until("typing appears") { it.typing() == listOf(them) }
    check("and for nobody's own eyes", seen.typing() == listOf(them) && theirSeen.typing().isEmpty())
    theirRoom.hold("status", "{\"text\":\"away\"}")
    val leases = { state: PeopleState -> state.people.flatMap { it.leases } }
    val isStatus = { lease: PersonLease -> lease.kind == "status" && lease.body == "{\"text\":\"away\"}" && !lease.brief }
    val away = seen.until("what somebody holds is seen") { leases(it).any(isStatus) }
    check("and hidden in the text", "away" !in "$away" && them.id in "$away", away)
    check("a message is taken", offsetOf(theirRoom.publish("message", "{\"text\":\"hello\"}")) != null)
    seen.until("typing ends with the message") { leases(it).singleOrNull()?.let(isStatus) == true }
    theirRoom.release("status")
    seen.until("what is released is gone") { leases(it).isEmpty() }
    val codes = listOf(
        codeOf { room.hold("", "{}") },
        codeOf { room.hold("here", "{}") },
        codeOf { room.release("typing") },
        codeOf { room.hold("k".repeat(65), "{}") },
        codeOf { room.hold("status", "[]") },
        codeOf { client.people("other") },
        codeOf { client.hold("other", "status", "{}") },
    )
    val wanted = listOf("bad_kind", "bad_kind", "bad_kind", "too_large", "bad_body", "not_subscribed", "not_subscribed")
    check("what can't be held has a code", codes == wanted, codes)

    theirRoom.closeNow()
    seen.until("who leaves is gone") { found(it) == setOf(Triple(me.id, true, true)) }
    check("and sees nobody", withTimeoutOrNull(patience) { theirSeen.states.collect {} } != null)
    check("nor does anything", codeOf { theirRoom.typing(true) } == "closed")
    val ending = scope.launch { seen.states.collect {} }
    seen.closeNow()
    seen.closeNow()
    check("closing ends a wait for people", withTimeoutOrNull(patience) { ending.join() } != null)
    listOf(seen, theirSeen).forEach { it.destroy() }
    listOf(room, theirRoom).forEach { it.destroy() }

    other.people("demo").use { inDialog ->
        client.hold("demo", "viewing", "{\"page\":1}")
        client.typing("demo", true)
        inDialog.until("the same in a dialog") { state -> leases(state).map { it.kind } == listOf("typing", "viewing") }
        check("who is writing", inDialog.typing() == listOf(me), inDialog.state())
        client.typing("demo", false)
        client.release("demo", "viewing")
        inDialog.until("and their end") { leases(it).isEmpty() }
    }
}

/** Two users see how far the other one has read a channel and a dialog. */
private suspend fun proveReads(ada: Watched, other: Client, scope: CoroutineScope) {
    val client = ada.client
    val (room, theirRoom) = client.channel("guild:9") to other.channel("guild:9")
    val (seen, theirSeen) = room.reads() to theirRoom.reads()
    val (me, them) = checkNotNull(client.user()) to checkNotNull(other.user())
    for (n in 1L..2L) check("message $n is taken", offsetOf(room.publish("message", "{\"text\":\"hello\"}")) == n)
    val at = { position: Long, unread: Long ->
        { state: ReadsState -> state.status is PeopleStatus.Live && state.position == position && state.unread == unread }
    }
    val nobody = theirSeen.until("what others wrote is unread", at(0, 2))
    check("and nobody has read it", !nobody.more && nobody.receipts.isEmpty() && nobody.readBy(1).isEmpty(), nobody)
    seen.until("what one wrote is not", at(0, 0))
    theirRoom.markRead(1)
    val read = seen.until("others see who has read it") { it.readBy(1) == listOf(them) }
    val receipt = read.receipts.single()
    check("how far and when", receipt.user == them && receipt.offset == 1L && receipt.atMs > 0 && read.readBy(2).isEmpty(), read)
    theirSeen.until("what is unread after it is counted", at(1, 1))
    theirRoom.markRead()
    theirSeen.until("without an offset all is read", at(2, 0))
    seen.until("and seen by others") { it.readBy(2) == listOf(them) }
    ada.until("the events tell it too") { it.read["guild:9"]?.readBy(2) == listOf(them) }
    val codes = listOf(3, Long.MAX_VALUE, -1).map { codeOf { theirRoom.markRead(it) } } +
        listOf(codeOf { client.markRead("demo", -1) }, codeOf { client.markRead("other") }, codeOf { client.reads("other") })
    val wanted = List(4) { "bad_offset" } + List(2) { "not_subscribed" }
    check("what can't be read has a code", codes == wanted, codes)

    theirRoom.closeNow()
    check("a closed channel was read by nobody", withTimeoutOrNull(patience) { theirSeen.states.collect {} } != null)
    check("nor is it read", codeOf { theirRoom.markRead() } == "closed" && codeOf { theirRoom.reads() } == "closed")
    val ending = scope.launch { seen.states.collect {} }
    seen.closeNow()
    seen.closeNow()
    check("closing ends a wait for reads", withTimeoutOrNull(patience) { ending.join() } != null)
    listOf(seen, theirSeen).forEach { it.destroy() }
    listOf(room, theirRoom).forEach { it.destroy() }

    other.reads("demo").use { inDialog ->
        val newest = checkNotNull(client.rows("demo").last().offset)
        client.markRead("demo")
        inDialog.until("the same in a dialog") { it.readBy(newest) == listOf(me) }
    }
}

private suspend fun prove(scope: CoroutineScope) {
    check("version", sdkVersion().count { it == '.' } == 2)
    val codes = listOf(
        codeOf { Client(ClientOptions("not an address", guestNickname = "Ada")) },
        codeOf { Client(ClientOptions(server)) },
    )
    check("wrong options have codes", codes == listOf("bad_url", "no_identity"), codes)

    val options = ClientOptions(server, storageDir = environment("TIDEWIRE_STORE"), guestNickname = "Ada")
    val client = Client(options)
    val ada = Watched(client, scope)
    check("a store in use is refused", codeOf { Client(options) } == "store_in_use")

    client.openDialog("demo")
    client.connect()
    ada.until("joins as a guest") { State.ONLINE in it.states && client.user() != null }
    check("an empty message is refused", codeOf { client.sendText("demo", "   ") } == "empty")

    val first = client.sendText("demo", "count to 12").id()
    ada.until("a message is acknowledged") { it.acked[first] == 1L }
    ada.until("an answer is seen growing") { it.grown >= 3 }
    ada.until("the answer ends") { it.answers() == listOf(RowState.DONE) }
    ada.until("rows and events agree") { it.rows == client.rows("demo") }

    val guild = client.channel("guild:7")
    val heard = MutableStateFlow(emptyList<ChannelItem>())
    val hearing = scope.launch { guild.items.collect { heard.value += it } }
    check("a channel takes an event", offsetOf(guild.publish("poll.vote", "{\"option\":1}")) == 1L)
    val forbidden = codeOf { offsetOf(guild.publish("notice", "{}")) }
    check("an event that may not be written is refused", forbidden == "forbidden", forbidden)
    val wrongs = listOf(
        codeOf { client.channel("no channel") },
        codeOf { guild.publish("poll.vote", "[]") },
        codeOf { guild.publish("k".repeat(65), "{}") },
        codeOf { guild.signal("k".repeat(65), null, "{}") },
    )
    check("what is no event has a code", wrongs == listOf("bad_channel", "bad_body", "too_large", "too_large"), wrongs)

    runner("stop")
    ada.until("the loss is noticed") { it.states.last() == State.RECONNECTING }
    val sent = client.sendText("demo", "hello from offline")
    val offline = sent.id()
    check("what is sent without a connection is safe", withTimeoutOrNull(patience) { sent.stored() } != null)
    ada.until("a message waits") { view -> view.rows.any { it.id == offline && it.state == RowState.QUEUED } }
    val vote = guild.publish("poll.vote", "{\"option\":2}")
    runner("start")
    ada.until("it arrives after the restart") { offline in it.acked }
    check("and committed", withTimeoutOrNull(patience) { sent.acked() } != null)
    ada.until("its answer ends") { it.answers() == listOf(RowState.DONE, RowState.DONE) }
    val row = client.rows("demo").first()
    check("a row as text hides what was written", "count to 12" !in "$row" && row.id in "$row", row)
    check("an event is published after the restart", offsetOf(vote) == 2L)
    client.channel("guild:7").use { again ->
        check("a channel has a name", again.name() == "guild:7")
        val last = again.publish("poll.vote", "{\"option\":3}").id()
        val event = withTimeoutOrNull(patience) { again.events.first() }
        check("another handle gets what comes from then on", event?.id == last && event.by == client.user(), event)
        check("an event as text hides what was written", "option" !in "$event" && last in "$event", event)
        check("older events are before the newest", again.loadOlder(null, 2) == 4L)
        val older = withTimeoutOrNull(patience) { again.items.filterIsInstance<ChannelItem.Older>().first() }
        check("and come as asked", older?.events?.map { it.offset } == listOf(2L, 3L) && older.more, older)
        again.closeNow()
        again.closeNow()
        check("a closed channel has no items", withTimeoutOrNull(patience) { again.items.collect {} } != null)
        check("and takes no event", codeOf { again.publish("poll.vote", "{}") } == "closed")
    }
    client.openDialog("demo")
    client.closeDialog("demo")
    val state = client.dialogState("demo")
    check("a dialog lives until its last holder lets go", state?.status is DialogStatus.Live && client.rows("demo").size == 4, state)
    val texts = ada.view.value.rows.filter { it.kind == RowKind.MESSAGE }.map { it.text }
    check("once and in order", texts == listOf("count to 12", "hello from offline"), texts)

    val wrong = codeOf { client.openTable(TableQuery("rules", filter = "priority=near.3")) }
    check("a filter that is none is refused", wrong == "bad_filter", wrong)
    val notes = readyTable(ReadyTable.NOTIFICATIONS, "ada", "owner")
    val ready = TableQuery("notifications", "owner=eq.ada", order = "created_at.desc", updates = false, deletes = false)
    check("a question is ready-made", notes == ready, notes)
    val column = codeOf { readyTable(ReadyTable.SESSION, "7", "a=eq.1&b") }
    check("a column that is none is refused", column == "bad_column", column)
    val rules = client.openTable(TableQuery("rules", filter = "priority=gt.3", order = "priority.desc"))
    ada.until("a table is live") { client.tableStatus(rules) is TableStatus.Live }
    val second = "\"id\":\"2\""
    check("with what may be seen, in its order", client.tableRows(rules).let { it.size == 2 && second in it[0] }, client.tableRows(rules))
    runner("a raised priority")
    ada.until("a change is told") { it.told().singleOrNull()?.event == RowEvent.UPDATE }
    val change = ada.view.value.told().single()
    check("with the row before it", "\"priority\":\"5\"" in change.before.orEmpty(), change)
    check("and a new order", second in client.tableRows(rules)[1], client.tableRows(rules))
    client.closeTable(rules)
    check("a closed table has no state", client.tableStatus(rules) == null)

    val tokens = Tokens()
    val grace = Watched(Client(ClientOptions(server), tokens), scope)
    grace.client.openDialog("demo")
    grace.client.connect()
    val log = { rows: List<Row> -> rows.map { Triple(it.id, it.offset, it.text) } }
    grace.until("a user whose provider failed once sees the same") {
        tokens.calls.get() == 2 && log(it.rows) == log(ada.view.value.rows)
    }
    val others = grace.client.channel("guild:7")
    val live = withTimeoutOrNull(patience) {
        others.items.first { it is ChannelItem.State && it.state is ChannelState.Live }
    }
    check("a channel is live", live != null)
    others.signal("pointer", "p", "{\"x\":1}")
    val pointer = ChannelItem.Signal("pointer", "p", "{\"x\":1}", grace.client.user()!!)
    check("a signal reaches a channel", withTimeoutOrNull(patience) { heard.first { pointer in it } } != null, heard.value)
    val ending = scope.launch { others.items.collect {} }
    others.closeNow()
    check("closing a channel ends a wait for its items", withTimeoutOrNull(patience) { ending.join() } != null)
    others.destroy()
    val votes = heard.value.filterIsInstance<ChannelItem.Event>().map { (event) -> Triple(event.offset, event.kind, event.body) }
    val wanted = (1L..3L).map { Triple(it, "poll.vote", "{\"option\":$it}") }
    check("a channel's events come once and in order", votes == wanted, votes)

    provePeople(ada.client, grace.client, scope)
    proveReads(ada, grace.client, scope)

    val refused = Watched(Client(ClientOptions(server), Refusing), scope)
    refused.client.connect()
    refused.until("a refused user is told") { it.states.lastOrNull() == State.FAILED }
    check("with the code", refused.client.status().code == "unauthorized", refused.client.status())

    listOf(ada, grace, refused).forEach { it.client.closeAndWait() }
    val ended = withTimeoutOrNull(patience) { listOf(ada, grace, refused).forEach { it.reader.join() } }
    check("the events end with the client", ended != null)
    check("and so do a channel's", withTimeoutOrNull(patience) { hearing.join() } != null)
    guild.destroy()
    check("a closed client says so", codeOf { client.sendText("demo", "x") } == "closed")
    listOf(ada, grace, refused).forEach { it.client.destroy() }
    println("DONE")
}

fun main() = runBlocking(Dispatchers.Default) { prove(this) }
