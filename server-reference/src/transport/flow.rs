//! Gives a session what its flow waits for: reads of the store, and room in its queue.

use super::activity::Activity;
use super::writing::Notifiers;
use crate::app::App;
use crate::clock;
use tidewire_server_core::store::Read;
use tidewire_server_core::{Answer, Flow, Session};
use tokio::time::sleep_until;

/// Returns once the session takes the next message or has ended. Until then frames that wait for
/// the store or for room delay the next message.
pub(crate) async fn complete(
    app: &App,
    session: &mut Session,
    notifiers: &Notifiers,
    activity: &Activity,
    mut flow: Flow,
) -> Flow {
    loop {
        let answer = match flow {
            Flow::Ready | Flow::End => return flow,
            Flow::Room => {
                has_room(session, notifiers, activity).await;
                Answer::Room
            }
            Flow::Read(Read::Channel(name)) => Answer::Channel(app.loader.channel(&name).await),
            Flow::Open(name, account) => Answer::Channel(app.loader.open(&name, account).await),
            Flow::Read(read @ (Read::Session(_) | Read::Memberships(_))) => {
                let reply = app.read_in_time(read.clone()).await;
                Answer::new(&read, reply, &app.engine.hub)
            }
            Flow::Read(read) => {
                let reply = app.store.read(read.clone()).await;
                Answer::new(&read, reply, &app.engine.hub)
            }
        };
        flow = session.answered(clock::now(), answer);
    }
}

/// Checks the time meanwhile, so that a client that takes nothing is noticed.
async fn has_room(session: &mut Session, notifiers: &Notifiers, activity: &Activity) {
    let outgoing = session.outgoing().clone();
    loop {
        session.heard(activity.heard());
        let deadline = clock::instant(session.deadline(clock::now()));
        tokio::select! {
            () = notifiers.has_room(&outgoing) => return,
            () = sleep_until(deadline) => {
                session.heard(activity.heard());
                session.tick(clock::now());
            }
        }
    }
}
