//! The driver's loop: drains the core, then waits for a socket, a response, a token, the store, the
//! timer or a command.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidewire_core::{ConnId, Input, Lifecycle, ResponsePart, TokenAsk, TokenError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::carrier::{AbortOnDrop, GOODBYE, Reply, Report};
use crate::core::Output;
use crate::requests::Requests;
use crate::shared::Shared;
use crate::socket::Socket;
use crate::store::{Sqlite, StoreQueue, Stored};
use crate::token::TokenProvider;
use crate::transport::Endpoint;

/// How many reports of sockets may wait for the driver. Then the sockets stop reading.
const REPORTS: usize = 64;
/// With this many bytes under way to the disk the driver stops reading from sockets until some are
/// written.
const STORE_BYTES: usize = 16 * 1024 * 1024;

/// How long dropping a runtime may wait for the disk.
const FAREWELL: Duration = Duration::from_secs(2);

type TokenAnswer = (TokenAsk, Result<String, TokenError>);

/// Owns the sockets, the requests, the store's queue and the token request.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    provider: Arc<dyn TokenProvider>,
    sockets: HashMap<ConnId, Socket>,
    requests: Requests,
    reports: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
    answers: (mpsc::UnboundedSender<TokenAnswer>, mpsc::UnboundedReceiver<TokenAnswer>),
    asking: Option<JoinHandle<()>>,
    /// `None` once the driver has ended.
    store: Option<StoreQueue>,
    stored: mpsc::UnboundedReceiver<Stored>,
    /// Bytes under way to the store.
    storing: usize,
}

impl Driver {
    /// Starts the store's thread.
    pub(crate) fn new(
        shared: Arc<Shared>,
        endpoint: Endpoint,
        provider: Arc<dyn TokenProvider>,
        store: Sqlite,
    ) -> std::io::Result<Driver> {
        let (report, stored) = mpsc::unbounded_channel();
        let reports = mpsc::channel(REPORTS);
        Ok(Driver {
            requests: Requests::new(endpoint.clone(), reports.0.clone()),
            shared,
            endpoint,
            provider,
            sockets: HashMap::new(),
            reports,
            answers: mpsc::unbounded_channel(),
            asking: None,
            store: Some(StoreQueue::start(store, report)?),
            stored,
            storing: 0,
        })
    }

    /// Runs until the client is closed, the close was sent to the server, and everything is stored.
    pub(crate) async fn run(mut self) {
        let mut received = Vec::with_capacity(REPORTS);
        let mut goodbye = None;
        loop {
            let work = self.shared.work();
            for effect in work.effects {
                self.perform(effect);
            }
            // The deadline for sending the close to the server.
            let mut patience = None;
            if work.closing {
                let end = *goodbye.get_or_insert_with(|| Instant::now() + GOODBYE);
                patience = Some(end).filter(|end| !self.requests.is_empty() && *end > Instant::now());
                if patience.is_none() && self.storing == 0 {
                    break;
                }
            }
            let clock = self.shared.clock();
            let wake = work.until.map(|until| clock.instant(until).into()).into_iter().chain(patience).min();
            let timer = async {
                match wake {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.reports.1.recv_many(&mut received, REPORTS), if self.storing < STORE_BYTES => {
                    self.report(&mut received);
                }
                Some((ask, result)) = self.answers.1.recv() => {
                    self.shared.feed(|core, now| core.handle(now, Input::Token { ask, result }));
                }
                Some((store, bytes, result)) = self.stored.recv() => {
                    self.storing -= bytes;
                    self.shared.feed(|core, now| core.handle(now, Input::Stored { store, result }));
                }
                () = self.shared.woken() => {}
                () = timer => {}
            }
        }
        if let Some(asking) = self.asking.take() {
            asking.abort();
        }
        // The reports end when the file is closed and unlocked.
        drop(self.store.take());
        while self.stored.recv().await.is_some() {}
    }

    fn perform(&mut self, effect: Output) {
        match effect {
            Output::Open { conn } => {
                let socket = Socket::dial(self.endpoint.clone(), conn, self.reports.0.clone());
                self.sockets.insert(conn, socket);
            }
            Output::Request(request) => self.requests.begin(request),
            Output::Abort { request } => self.requests.remove(request),
            Output::Transmit { conn, message } => {
                if self.sockets.get(&conn).is_some_and(|socket| !socket.send(message.0)) {
                    self.sockets.remove(&conn);
                    self.shared
                        .feed(|core, now| core.handle(now, Input::Closed { conn, code: 1006, cause: None }));
                }
            }
            Output::Close { conn, code } => {
                if let Some(socket) = self.sockets.remove(&conn) {
                    socket.close(code);
                }
            }
            Output::FetchToken { ask, renew } => self.fetch(ask, renew),
            Output::Store { store, change } => {
                if let Some(queue) = &self.store {
                    self.storing += queue.put(store, change);
                }
            }
            Output::Event(_) | Output::Wait { .. } => unreachable!("kept by the shared state"),
        }
    }

    /// Fetches a token in a task of its own. An earlier request that is still under way is aborted.
    fn fetch(&mut self, ask: TokenAsk, renew: bool) {
        let (provider, answers) = (Arc::clone(&self.provider), self.answers.0.clone());
        let asked = tokio::spawn(async move {
            let call = tokio::spawn(async move { provider.token(renew).await });
            let _dropped_with_this_task = AbortOnDrop(call.abort_handle());
            let result =
                call.await.unwrap_or_else(|_| Err(TokenError::unavailable("the token provider panicked")));
            // An error means that the driver has ended.
            let _ = answers.send((ask, result));
        });
        if let Some(before) = self.asking.replace(asked) {
            before.abort();
        }
    }

    fn report(&mut self, received: &mut Vec<Report>) {
        for report in received.iter() {
            match report {
                Report::Closed(conn, ..) => drop(self.sockets.remove(conn)),
                Report::Response(id, Reply::End | Reply::Failed(_)) => self.requests.remove(*id),
                _ => {}
            }
        }
        self.shared.feed(|core, now| {
            for report in received.drain(..) {
                match report {
                    Report::Opened(conn) => core.handle(now, Input::Opened { conn }),
                    Report::Received(conn, text) => {
                        core.handle(now, Input::Received { conn, text: text.as_str() });
                    }
                    Report::Closed(conn, code, cause) => {
                        core.handle(now, Input::Closed { conn, code, cause: cause.as_deref() });
                    }
                    Report::Response(request, reply) => {
                        let part = match &reply {
                            Reply::Status(status) => ResponsePart::Status(*status),
                            Reply::Body(bytes) => ResponsePart::Body(bytes),
                            Reply::End => ResponsePart::End,
                            Reply::Failed(cause) => ResponsePart::Failed(Some(cause)),
                        };
                        core.handle(now, Input::Response { request, part });
                    }
                }
            }
        });
    }
}

impl Drop for Driver {
    /// This also runs when the runtime shuts down: everything sent before is written to the disk,
    /// and all promises are settled.
    fn drop(&mut self) {
        if let Some(queue) = self.store.take() {
            self.shared.feed(|core, now| core.handle(now, Input::Lifecycle(Lifecycle::Frozen)));
            for effect in self.shared.work().effects {
                if let Output::Store { store, change } = effect {
                    queue.put(store, change);
                }
            }
            queue.finish(FAREWELL);
        }
        self.shared.end();
    }
}
