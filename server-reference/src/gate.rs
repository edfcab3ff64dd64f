//! What one address may hold and ask for: sockets, counted before a byte of them is read, and requests.

use crate::app::App;
use crate::clock;
use crate::config::AddressLimits;
use crate::http::{HttpError, Remote};
use crate::sync::lock;
use axum::body::{Body, HttpBody};
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use tidewire_core::wire::codes;
use tidewire_server_core::{Budget, Limiter, counted};

/// When to come again while the address has all that it may have, in ms.
const CROWDED_RETRY_MS: u64 = 1_000;

/// How many clients are taken to share an address where all of them do.
const SHARING: u64 = 10;

/// What each address has now, of one kind of thing.
#[derive(Default)]
pub(crate) struct Held {
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// One of the things that an address has; dropping it gives it back.
pub(crate) struct Ticket {
    held: Arc<Held>,
    address: IpAddr,
}

impl Held {
    /// One more for this address, unless it has as many as it may have.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<Ticket> {
        let address = counted(address);
        let mut by_address = lock(&self.by_address);
        let count = by_address.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Ticket { held: self.clone(), address })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = lock(&self.held.by_address).entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Counts sockets and requests by address.
pub(crate) struct Gate {
    limits: AddressLimits,
    budget: Budget,
    sockets: Arc<Held>,
    requests: Arc<Held>,
    /// Of its own, so that whoever opens sockets without end makes no session wait.
    limiter: Limiter,
}

impl Gate {
    pub(crate) fn new(limits: AddressLimits, budget: Budget) -> Gate {
        let (sockets, requests) = (Arc::default(), Arc::default());
        Gate { limits, budget, sockets, requests, limiter: Limiter::default() }
    }

    /// A socket was accepted; an error when it is to be closed at once. A proxy's sockets are those of its clients, which are
    /// counted by their requests.
    pub(crate) fn socket(&self, peer: IpAddr, is_proxy: bool) -> Result<Option<Ticket>, ()> {
        let Some(most) = self.limits.sockets.filter(|_| !is_proxy) else {
            return Ok(None);
        };
        if self.limiter.take(&format!("socket:{}", counted(peer)), self.budget, clock::mono()).is_err() {
            return Err(());
        }
        self.sockets.take(peer, most).map(Some).ok_or(())
    }

    /// Something that lasts is created from this address; an error says in how many ms it may create one more. Where all clients
    /// share an address it may create ten times as much.
    pub(crate) fn creates(&self, what: &str, client: IpAddr, budget: Budget) -> Result<(), u64> {
        let times = if self.limits.connections.is_some() { 1 } else { SHARING };
        let budget = Budget {
            ops: budget.ops.saturating_mul(times),
            burst: budget.burst.saturating_mul(times),
            ..budget
        };
        self.limiter.take(&format!("{what}:{}", counted(client)), budget, clock::mono())
    }

    /// A request came; an error says in how many ms it may come again.
    fn request(&self, client: IpAddr) -> Result<Option<Ticket>, u64> {
        let Some(most) = self.limits.sockets else { return Ok(None) };
        self.limiter.take(&format!("request:{}", counted(client)), self.budget, clock::mono())?;
        self.requests.take(client, most).map(Some).ok_or(CROWDED_RETRY_MS)
    }
}

/// Turns requests away that are too many, and says so when a connection ends because a body was not read.
pub(crate) async fn guard(
    State(app): State<Arc<App>>,
    Extension(remote): Extension<Remote>,
    request: Request,
    next: Next,
) -> Response {
    let client = app.proxies.client(remote.address.ip(), request.headers());
    let ticket = match app.gate.request(client) {
        Ok(ticket) => ticket,
        Err(wait) => {
            let message = "too many requests from this address; wait a little";
            let error = HttpError::new(StatusCode::TOO_MANY_REQUESTS, codes::RATE_LIMITED, message);
            // Whoever sends requests without waiting for the answers has to begin again.
            return closing(error.after(wait).into_response());
        }
    };
    let read = Arc::new(AtomicBool::new(request.body().is_end_stream()));
    let request = request.map(|inner| Body::new(Noted { inner, read: read.clone() }));
    let response = next.run(request).await;
    drop(ticket);
    let failed = response.status().is_client_error() || response.status().is_server_error();
    if failed && !read.load(Ordering::Relaxed) { closing(response) } else { response }
}

fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A request's body that notes when it was read to its end.
struct Noted {
    inner: Body,
    read: Arc<AtomicBool>,
}

impl HttpBody for Noted {
    type Data = <Body as HttpBody>::Data;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if frame.is_none() || self.inner.is_end_stream() {
            self.read.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
