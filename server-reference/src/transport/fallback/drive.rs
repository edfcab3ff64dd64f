//! Drives the session of one connection over plain requests.

use super::link::{Link, Word};
use super::requests::{too_many, turned_away};
use crate::app::App;
use crate::clock;
use crate::http::error::HttpError;
use crate::transport::activity::Activity;
use crate::transport::flow::complete;
use crate::transport::writing::Notifiers;
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::wire::{Secret, codes};
use tidewire_server_core::access::Page;
use tidewire_server_core::requests::kept_ms;
use tidewire_server_core::{AuthError, Flow, Peer, Session, Transport};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{sleep, sleep_until, timeout};

/// Also used if there are no random numbers for the id.
const FULL: &str = "the server has all the connections it may have";
/// How long the last lines may take from the response to the network.
const FLUSH_TIME: Duration = Duration::from_millis(50);

/// Opens a connection, and returns its id.
pub(super) fn open(
    app: &Arc<App>,
    peer: Peer,
    page: Page,
    cookie: Option<Result<Secret, AuthError>>,
) -> Result<String, HttpError> {
    // Checked before it counts as a handshake.
    if app.links.is_full() {
        app.engine.metrics.refused.count(codes::TOO_MANY_CONNECTIONS);
        return Err(too_many(FULL));
    }
    let notifiers = Arc::new(Notifiers::default());
    let mut session =
        Session::try_open(&app.engine, peer, notifiers.wake(), clock::now()).map_err(turned_away)?;
    session.comes_from(page);
    if let Some(cookie) = cookie {
        session.offer(cookie);
    }
    // One message is handled while one waits; requests with more of them wait for their response.
    let (words, inbox) = mpsc::channel(1);
    // Until the client says that it polls.
    session.outgoing().travels_by(Transport::Stream);
    let link = Arc::new(Link {
        outgoing: session.outgoing().clone(),
        notifiers,
        activity: Activity::new(),
        inbox: Default::default(),
        words: Mutex::new(words),
        reading: Mutex::default(),
        readers: watch::Sender::new(0),
        ended: watch::Sender::new(false),
        over: watch::Sender::new(false),
    });
    let id = app.links.add(&link).ok_or_else(|| too_many(FULL))?;
    tokio::spawn(drive(app.clone(), session, link, inbox, id.clone()));
    Ok(id)
}

/// The task of a connection.
async fn drive(
    app: Arc<App>,
    mut session: Session,
    link: Arc<Link>,
    mut inbox: mpsc::Receiver<Word>,
    id: String,
) {
    run(&app, &mut session, &link, &mut inbox).await;
    session.end();
    drop(inbox);
    link.ended.send_replace(true);
    let mut over = link.over.subscribe();
    let kept = Duration::from_millis(kept_ms(link.outgoing.closing()));
    let _ = timeout(kept, over.wait_for(|over| *over)).await;
    app.links.remove(&id);
    link.outgoing.abandon();
    // The connection is counted until then, so that a drain waits for it.
    sleep(FLUSH_TIME).await;
    tracing::debug!(conn = link.outgoing.id(), "disconnected");
}

async fn run(app: &App, session: &mut Session, link: &Link, inbox: &mut mpsc::Receiver<Word>) {
    loop {
        session.heard(link.activity.heard());
        let deadline = clock::instant(session.deadline(clock::now()));
        let flow = tokio::select! {
            () = link.notifiers.closing(&link.outgoing) => return,
            word = inbox.recv() => match word {
                Some(Word::Message(bytes)) => take(session, &bytes),
                Some(Word::TooBig) => session.too_big(),
                None => return,
            },
            () = sleep_until(deadline) => {
                session.heard(link.activity.heard());
                session.tick(clock::now());
                continue;
            }
        };
        if complete(app, session, &link.notifiers, &link.activity, flow).await == Flow::End {
            return;
        }
    }
}

fn take(session: &mut Session, bytes: &[u8]) -> Flow {
    match std::str::from_utf8(bytes) {
        Ok(text) => session.message(clock::now(), text),
        Err(_) => session.binary(clock::now()),
    }
}
