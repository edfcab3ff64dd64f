//! The server's metrics for Prometheus (`docs/operation.md`). Labels are
//! codes, transports and the patterns of rules, so their number does not grow with users and
//! channels.

mod exposition;
mod listener;
mod process;

pub(crate) use listener::serve;

use crate::app::App;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use exposition::{CONTENT_TYPE, Exposition, Unit};
use tidewire_server_core::{ChannelFigures, ConnectionFigures, Transport};

/// The response with all metrics.
pub(crate) fn response(app: &App) -> Response {
    let headers = [(header::CONTENT_TYPE, CONTENT_TYPE), (header::CACHE_CONTROL, "no-store")];
    (headers, text(app)).into_response()
}

/// All metrics as text.
fn text(app: &App) -> String {
    let mut all = Exposition::default();
    let version = env!("CARGO_PKG_VERSION");
    all.gauges("tidewire_build_info", "The server's version.").sample(&[("version", version)], 1);
    let draining = "1 while the server is about to stop.";
    all.gauge("tidewire_draining", draining, u8::from(app.is_draining()));
    connections(&mut all, app);
    traffic(&mut all, app);
    channels(&mut all, app);
    store(&mut all, app);
    process::write(&mut all, app.started);
    all.text()
}

fn connections(all: &mut Exposition, app: &App) {
    let (metrics, figures) = (&app.engine.metrics, app.engine.connections.figures());
    let ConnectionFigures { by_transport, unknown, waiting_bytes, most_waiting_bytes, slow, .. } = figures;
    let mut live = all.gauges("tidewire_connections", "Connections, by transport.");
    for (transport, number) in Transport::ALL.iter().zip(by_transport) {
        live.sample(&[("transport", transport.as_str())], number);
    }
    let limit = "Connections that the server may have.";
    all.gauge("tidewire_connections_limit", limit, app.config.limits.connections);
    all.gauge("tidewire_connections_without_user", "Connections whose hello has not come.", unknown);
    let opened = "Connections that were taken.";
    all.counter("tidewire_connections_opened_total", opened, metrics.opened.get());
    let help = "Connections that ended, by close code; none: by the client without one, or lost.";
    let mut closed = all.counters("tidewire_connections_closed_total", help);
    for (code, number) in metrics.closed.counted() {
        let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        closed.sample(&[("code", &code)], number);
    }
    let help = "Connections that were refused before their welcome, by code.";
    let mut refused = all.counters("tidewire_handshakes_refused_total", help);
    for (code, number) in metrics.refused.counted() {
        refused.sample(&[("code", code)], number);
    }
    let help = "Bytes that wait to be written to clients.";
    all.gauge("tidewire_waiting_bytes", help, waiting_bytes);
    let help = "Bytes that wait for the connection with the most of them.";
    all.gauge("tidewire_waiting_bytes_max", help, most_waiting_bytes);
    let help = "Connections for which more than half of the bytes wait that may wait.";
    all.gauge("tidewire_slow_connections", help, slow);
}

fn traffic(all: &mut Exposition, app: &App) {
    let metrics = &app.engine.metrics;
    all.counter("tidewire_messages_received_total", "Messages of clients.", metrics.messages.get());
    all.counter("tidewire_frames_received_total", "Frames of clients.", metrics.frames.get());
    all.counter("tidewire_signals_total", "Signals that were passed on.", metrics.signals.get());
    all.counter("tidewire_ops_accepted_total", "Ops that were committed.", metrics.ops_accepted.get());
    let help = "Ops that were sent again and had been committed before.";
    all.counter("tidewire_ops_repeated_total", help, metrics.ops_repeated.get());
    let mut refused = all.counters("tidewire_ops_refused_total", "Ops that were refused, by code.");
    for (code, number) in metrics.ops_refused.counted() {
        refused.sample(&[("code", code)], number);
    }
    let written = &metrics.written;
    let help = "Messages that were sent to clients.";
    all.counter("tidewire_messages_sent_total", help, written.messages.get());
    let help = "Frames that were sent to clients: of channels (events, pieces, pages, signals), and others.";
    all.counters("tidewire_frames_sent_total", help)
        .sample(&[("of", "channels")], written.of_channels.get())
        .sample(&[("of", "other")], written.others.get());
    let help = "Bytes of messages that were sent to clients.";
    all.counter("tidewire_sent_bytes_total", help, written.bytes.get());
    let help = "Answers of the model that ended, and how.";
    let mut runs = all.counters("tidewire_runs_ended_total", help);
    let ends = [
        ("done", &metrics.runs_done),
        ("stopped", &metrics.runs_stopped),
        ("interrupted", &metrics.runs_interrupted),
    ];
    for (end, number) in ends {
        runs.sample(&[("end", end), ("code", "")], number.get());
    }
    for (code, number) in metrics.runs_failed.counted() {
        runs.sample(&[("end", "error"), ("code", code)], number);
    }
}

/// A number of a rule's channels: its metric, what that says, and the number.
type OfRule = (&'static str, &'static str, fn(&ChannelFigures) -> u64);

fn channels(all: &mut Exposition, app: &App) {
    let by_rule = app.engine.hub.figures();
    let of_rule: [OfRule; 4] = [
        ("tidewire_channels", "Channels in memory, by rule.", |figures| figures.channels),
        ("tidewire_subscriptions", "Subscriptions to channels, by rule.", |figures| figures.subscriptions),
        ("tidewire_runs", "Answers under way, by rule.", |figures| figures.runs),
        ("tidewire_people_watchers", "Connections that follow who is in a channel, by rule.", |figures| {
            figures.watchers
        }),
    ];
    for (name, help, number) in of_rule {
        let mut family = all.gauges(name, help);
        for (rule, figures) in &by_rule {
            family.sample(&[("rule", rule)], number(figures));
        }
    }
    let tables = app.engine.tables.as_ref().map(|tables| tables.counts());
    let help = "Subscriptions to live tables.";
    all.gauge("tidewire_table_subscriptions", help, tables.map_or(0, |counts| counts.subscriptions));
}

fn store(all: &mut Exposition, app: &App) {
    let metrics = app.database.metrics();
    all.gauge("tidewire_store_queue", "Writes that wait for the disk.", app.database.waiting());
    let help = "1 while the database can't be written.";
    all.gauge("tidewire_store_failing", help, u8::from(app.database.is_failing()));
    let help = "Writes that were refused because too many waited.";
    all.counter("tidewire_store_refused_total", help, metrics.refused.get());
    let help = "Commits that failed.";
    all.counter("tidewire_store_failures_total", help, metrics.failed.get());
    let help = "Writes of a commit.";
    all.histogram("tidewire_store_commit_writes", help, Unit::Number, &metrics.writes);
    let help = "Time of a commit, in seconds.";
    all.histogram("tidewire_store_commit_seconds", help, Unit::Micros, &metrics.micros);
}
