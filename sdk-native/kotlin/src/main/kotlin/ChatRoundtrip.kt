/*
 * Proves the Kotlin bindings against a running server, step by step.
 *
 * Run by `cargo test -p tidewire --features ffi --test foreign -- --ignored kotlin`, which generates the bindings, starts the
 * server, and stops and starts it again when this program asks for it on its standard output. The environment says where:
 * TIDEWIRE_SERVER_URL, TIDEWIRE_STORE (an empty folder) and TIDEWIRE_TOKEN (a token for another user).
 */
package dev.tidewire.roundtrip

import dev.tidewire.TwChange
import dev.tidewire.TwClient
import dev.tidewire.TwDialogStatus
import dev.tidewire.TwEvent
import dev.tidewire.TwEvents
import dev.tidewire.TwException
import dev.tidewire.TwOpState
import dev.tidewire.TwOptions
import dev.tidewire.TwReadyTable
import dev.tidewire.TwRow
import dev.tidewire.TwRowEvent
import dev.tidewire.TwRowKind
import dev.tidewire.TwRowState
import dev.tidewire.TwState
import dev.tidewire.TwTableQuery
import dev.tidewire.TwTableState
import dev.tidewire.TwTableUpdate
import dev.tidewire.TwTokenProvider
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
import kotlinx.coroutines.flow.flow
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
    val rows: List<TwRow> = emptyList(),
    val states: List<TwState> = emptyList(),
    val acked: Map<String, Long> = emptyMap(),
    val grown: Int = 0,
    val table: List<TwTableUpdate> = emptyList(),
) {
    fun told() = table.filterIsInstance<TwTableUpdate.Changes>().flatMap { it.changes }

    fun answers() = rows.filter { it.kind == TwRowKind.ANSWER }.map { it.state }

    fun after(event: TwEvent): View = when (event) {
        is TwEvent.Status -> copy(states = states + event.status.state)
        is TwEvent.Op -> when (val state = event.state) {
            is TwOpState.Acked -> copy(acked = acked + (event.id to state.offset))
            else -> this
        }
        is TwEvent.Table -> copy(table = table + event.update)
        is TwEvent.Dialog -> event.changes.fold(this) { view, change -> view.after(change) }
        else -> this
    }

    private fun after(change: TwChange): View {
        val next = rows.toMutableList()
        when (change) {
            is TwChange.Reset -> return copy(rows = change.rows)
            is TwChange.Insert -> next.add(change.index, change.row)
            is TwChange.Update -> next[change.index] = change.row
            is TwChange.Append -> next[change.index] = next[change.index].let { it.copy(text = it.text + change.text) }
            is TwChange.Remove -> next.removeAt(change.index)
        }
        return copy(rows = next, grown = if (change is TwChange.Append) grown + 1 else grown)
    }
}

/** The events as a flow: six lines are all that Kotlin's own style needs. */
private fun TwEvents.flow(): Flow<TwEvent> = flow {
    while (true) {
        val batch = nextBatch(64)
        if (batch.isEmpty()) return@flow
        batch.forEach { emit(it) }
    }
}

private class Watched(val client: TwClient, scope: CoroutineScope) {
    val view = MutableStateFlow(View())
    private val events = client.events()
    val reader: Job = scope.launch { events.flow().collect { view.value = view.value.after(it) } }

    suspend fun until(name: String, condition: (View) -> Boolean) {
        val found = withTimeoutOrNull(patience) { view.first(condition) }
        check(name, found != null, view.value)
    }
}

/** Fails once, as real ones do, then gives the token. */
private class Tokens : TwTokenProvider {
    val calls = AtomicInteger()

    override suspend fun token(renew: Boolean): String {
        delay(10.milliseconds)
        if (calls.incrementAndGet() == 1) throw IllegalStateException("the backend is away")
        return environment("TIDEWIRE_TOKEN")
    }
}

private object Refusing : TwTokenProvider {
    override suspend fun token(renew: Boolean): String = throw TwException.Unauthorized("unauthorized", "banned")
}

private fun codeOf(call: () -> Unit): String? = try {
    call()
    null
} catch (error: TwException) {
    when (error) {
        is TwException.Options -> error.code
        is TwException.Store -> error.code
        is TwException.Refused -> error.code
        is TwException.Closed -> error.code
        is TwException.Unauthorized -> error.code
        is TwException.Callback -> error.code
    }
}

private suspend fun prove(scope: CoroutineScope) {
    check("version", sdkVersion().count { it == '.' } == 2)
    val codes = listOf(
        codeOf { TwClient(TwOptions("not an address", guestNickname = "Ada")) },
        codeOf { TwClient(TwOptions(server)) },
    )
    check("wrong options have codes", codes == listOf("bad_url", "no_identity"), codes)

    val options = TwOptions(server, storageDir = environment("TIDEWIRE_STORE"), guestNickname = "Ada")
    val client = TwClient(options)
    val ada = Watched(client, scope)
    check("a store in use is refused", codeOf { TwClient(options) } == "store_in_use")

    client.openDialog("demo")
    client.connect()
    ada.until("joins as a guest") { TwState.ONLINE in it.states && client.user() != null }
    check("an empty message is refused", codeOf { client.sendText("demo", "   ") } == "empty")

    val first = client.sendText("demo", "count to 12").id()
    ada.until("a message is acknowledged") { it.acked[first] == 1L }
    ada.until("an answer is seen growing") { it.grown >= 3 }
    ada.until("the answer ends") { it.answers() == listOf(TwRowState.DONE) }
    ada.until("rows and events agree") { it.rows == client.rows("demo") }

    runner("stop")
    ada.until("the loss is noticed") { it.states.last() == TwState.RECONNECTING }
    val sent = client.sendText("demo", "hello from offline")
    val offline = sent.id()
    check("what is sent without a connection is safe", withTimeoutOrNull(patience) { sent.stored() } != null)
    ada.until("a message waits") { view -> view.rows.any { it.id == offline && it.state == TwRowState.QUEUED } }
    runner("start")
    ada.until("it arrives after the restart") { offline in it.acked }
    check("and committed", withTimeoutOrNull(patience) { sent.acked() } != null)
    ada.until("its answer ends") { it.answers() == listOf(TwRowState.DONE, TwRowState.DONE) }
    val row = client.rows("demo").first()
    check("a row as text hides what was written", "count to 12" !in "$row" && row.id in "$row", row)
    client.openDialog("demo")
    client.closeDialog("demo")
    val state = client.dialogState("demo")
    check("a dialog lives until its last holder lets go", state?.status is TwDialogStatus.Live && client.rows("demo").size == 4, state)
    val texts = ada.view.value.rows.filter { it.kind == TwRowKind.MESSAGE }.map { it.text }
    check("once and in order", texts == listOf("count to 12", "hello from offline"), texts)

    val wrong = codeOf { client.openTable(TwTableQuery("rules", filter = "priority=near.3")) }
    check("a filter that is none is refused", wrong == "bad_filter", wrong)
    val notes = readyTable(TwReadyTable.NOTIFICATIONS, "ada", "owner")
    val ready = TwTableQuery("notifications", "owner=eq.ada", order = "created_at.desc", updates = false, deletes = false)
    check("a question is ready-made", notes == ready, notes)
    val column = codeOf { readyTable(TwReadyTable.SESSION, "7", "a=eq.1&b") }
    check("a column that is none is refused", column == "bad_column", column)
    val rules = client.openTable(TwTableQuery("rules", filter = "priority=gt.3", order = "priority.desc"))
    ada.until("a table is live") { client.tableState(rules) is TwTableState.Live }
    val second = "\"id\":\"2\""
    check("with what may be seen, in its order", client.tableRows(rules).let { it.size == 2 && second in it[0] }, client.tableRows(rules))
    runner("a raised priority")
    ada.until("a change is told") { it.told().singleOrNull()?.event == TwRowEvent.UPDATE }
    val change = ada.view.value.told().single()
    check("with the row before it", "\"priority\":\"5\"" in change.before.orEmpty(), change)
    check("and a new order", second in client.tableRows(rules)[1], client.tableRows(rules))
    client.closeTable(rules)
    check("a closed table has no state", client.tableState(rules) == null)

    val tokens = Tokens()
    val grace = Watched(TwClient(TwOptions(server), tokens), scope)
    grace.client.openDialog("demo")
    grace.client.connect()
    val log = { rows: List<TwRow> -> rows.map { Triple(it.id, it.offset, it.text) } }
    grace.until("a user whose provider failed once sees the same") {
        tokens.calls.get() == 2 && log(it.rows) == log(ada.view.value.rows)
    }
    val refused = Watched(TwClient(TwOptions(server), Refusing), scope)
    refused.client.connect()
    refused.until("a refused user is told") { it.states.lastOrNull() == TwState.FAILED }
    check("with the code", refused.client.status().code == "unauthorized", refused.client.status())

    listOf(ada, grace, refused).forEach { it.client.shutdown() }
    val ended = withTimeoutOrNull(patience) { listOf(ada, grace, refused).forEach { it.reader.join() } }
    check("the events end with the client", ended != null)
    check("a closed client says so", codeOf { client.sendText("demo", "x") } == "closed")
    listOf(ada, grace, refused).forEach { it.client.destroy() }
    println("DONE")
}

fun main() = runBlocking(Dispatchers.Default) { prove(this) }
