//! Drives one session over a WebSocket: its socket, its timer and its reads of the store.

use super::activity::Activity;
use super::flow::complete;
use super::writing::Notifiers;
use crate::app::App;
use crate::clock;
use axum::extract::ws::{Message, WebSocket};
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::wire::Secret;
use tidewire_server_core::access::Page;
use tidewire_server_core::{AuthError, Flow, Peer, Session};
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::error::ProtocolError;

/// Most messages that are read after the end; a client that sends more is cut off.
const MAX_LATE: usize = 1_000;
/// How long the peer may take to answer a close.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// Serves one connection.
pub(crate) async fn serve(
    app: Arc<App>,
    socket: WebSocket,
    peer: Peer,
    (page, offered): (Page, Option<Result<Secret, AuthError>>),
    activity: Activity,
) {
    let notifiers = Arc::new(Notifiers::default());
    let (mut session, flow) = Session::open(&app.engine, peer, notifiers.wake(), clock::now());
    session.comes_from(page);
    if let Some(offered) = offered {
        session.offer(offered);
    }
    let outgoing = session.outgoing().clone();
    let (sink, mut stream) = socket.split();
    let writer = tokio::spawn({
        let (notifiers, write) = (notifiers.clone(), app.config.timeouts.write);
        async move { notifiers.write(&outgoing, sink, write).await }
    });
    if flow != Flow::End {
        run(&app, &mut session, &mut stream, &notifiers, &activity).await;
    }
    // If the peer closed first, this lets the writer end; otherwise the earlier reason stays.
    session.end();
    linger(&mut stream, writer).await;
    tracing::debug!(conn = session.outgoing().id(), "disconnected");
}

/// Reads until the close frame is written and answered. Closing a socket with unread bytes would
/// discard the close frame.
async fn linger(stream: &mut SplitStream<WebSocket>, writer: tokio::task::JoinHandle<()>) {
    let abort = writer.abort_handle();
    let drained = async {
        for _ in 0..MAX_LATE {
            let Some(Ok(_)) = stream.next().await else { return };
        }
    };
    tokio::pin!(drained);
    tokio::select! {
        _ = writer => {
            let _ = timeout(CLOSE_TIME, drained).await;
        }
        () = &mut drained => {
            // The peer is gone, or does not stop sending: nobody reads what is left to write.
            tokio::time::sleep(Duration::from_millis(50)).await;
            abort.abort();
        }
    }
}

async fn run(
    app: &App,
    session: &mut Session,
    stream: &mut SplitStream<WebSocket>,
    notifiers: &Notifiers,
    activity: &Activity,
) {
    let outgoing = session.outgoing().clone();
    loop {
        session.heard(activity.heard());
        let deadline = clock::instant(session.deadline(clock::now()));
        let flow = tokio::select! {
            () = notifiers.closing(&outgoing) => return,
            message = stream.next() => match message {
                Some(Ok(message)) => take(session, message),
                Some(Err(error)) => {
                    refuse(session, error);
                    return;
                }
                None => return,
            },
            () = sleep_until(deadline) => {
                session.heard(activity.heard());
                session.tick(clock::now());
                continue;
            }
        };
        if complete(app, session, notifiers, activity, flow).await == Flow::End {
            return;
        }
    }
}

fn take(session: &mut Session, message: Message) -> Flow {
    let now = clock::now();
    match message {
        Message::Text(text) => session.message(now, &text),
        Message::Binary(_) => session.binary(now),
        Message::Ping(_) | Message::Pong(_) => session.control(now),
        Message::Close(_) => Flow::End,
    }
}

/// Sends the error, unless the peer is gone.
fn refuse(session: &mut Session, error: axum::Error) {
    let error = error.into_inner();
    match error.downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Capacity(_)) => drop(session.too_big()),
        Some(tungstenite::Error::Utf8(_)) => drop(session.malformed(true)),
        Some(tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) | None => {}
        Some(tungstenite::Error::Protocol(_)) => drop(session.malformed(false)),
        Some(_) => {}
    }
}
