//! Connections over plain requests (protocol section 11): messages go up as the bodies of requests,
//! one after the other, and come down as the lines of responses.
//!
//! The rest of the core opens, transmits and closes as on a WebSocket; here that becomes requests,
//! and what their responses bring becomes what a socket would report. A request down that is
//! never answered needs no limit of its own, because silence has one.

use super::heartbeat::LATE_MS;
use super::lines::{Lines, close_code};
use crate::io::{ConnId, Method, Output, Request, RequestId, ResponsePart, Transport};
use crate::time::Time;
use crate::wire::json::{Object, push_integer, validate};
use crate::wire::{ClientFrame, Secret};
use std::collections::VecDeque;

/// RFC 6455 section 7.1.5: the connection ended without a close code.
pub(crate) const ABNORMAL: u16 = 1006;
/// How often to ask where nothing is held open.
const POLL_MS: u64 = 3_000;
/// An empty response that comes sooner was not held back: to ask again at once would never stop.
const HELD_MS: u64 = 1_000;
/// Time-out of a request up, in ms. Messages that are sent during it wait for it.
const UP_MS: u64 = 30_000;
/// How long the last messages may take after a connection was closed.
const GOODBYE_MS: u64 = 5_000;
/// Longest response to the request that opens a connection, in bytes.
const OPENED_BYTES: usize = 4 * 1024;
/// Longest id of a connection, in bytes; today's have 22.
const ID_BYTES: usize = 256;

const CONNECTION: &str = "tidewire-connection";
const SEQ: &str = "tidewire-seq";

/// What a connection over requests reports, as a socket would.
pub(crate) enum Heard {
    /// It is open.
    Opened,
    /// A message arrived.
    Message(String),
    /// It is over.
    Closed {
        /// With this close code.
        code: u16,
        /// A stable code for why, where it is known.
        cause: Option<String>,
    },
}

/// All connections over requests: those in use, and those that still say goodbye.
#[derive(Default)]
pub(crate) struct Requests {
    connections: Vec<Exchange>,
    last: u64,
}

/// One connection.
struct Exchange {
    conn: ConnId,
    transport: Transport,
    /// The server's name for the connection.
    id: Secret,
    down: Down,
    up: Option<Up>,
    queue: VecDeque<String>,
    /// Number of the last message that went up.
    seq: u64,
    /// How many lines came down.
    had: u64,
    said_bye: bool,
    /// It was closed: until when what waits may still go up.
    leaving: Option<Time>,
}

/// The request whose response is read, or when to make it.
enum Down {
    /// To be opened.
    New,
    Opening {
        request: RequestId,
        accepted: bool,
        body: Vec<u8>,
    },
    Fetching {
        request: RequestId,
        accepted: bool,
        asked: Time,
        lines: Lines,
    },
    Resting {
        until: Time,
    },
}

/// The request that takes messages up.
struct Up {
    request: RequestId,
    accepted: bool,
    until: Time,
}

impl Requests {
    /// Begins a connection; its first request comes with the next [`Requests::flush`].
    pub(crate) fn open(&mut self, conn: ConnId, transport: Transport) {
        self.connections.push(Exchange {
            conn,
            transport,
            id: Secret(String::new()),
            down: Down::New,
            up: None,
            queue: VecDeque::new(),
            seq: 0,
            had: 0,
            said_bye: false,
            leaving: None,
        });
    }

    /// Whether this connection is one over requests.
    pub(crate) fn carries(&self, conn: ConnId) -> bool {
        self.connections.iter().any(|one| one.conn == conn)
    }

    /// Takes what is meant for a connection over requests, and gives anything else back.
    pub(crate) fn carry<E>(&mut self, now: Time, output: Output<E>) -> Option<Output<E>> {
        let (Output::Transmit { conn, .. } | Output::Close { conn, .. }) = output else {
            return Some(output);
        };
        let Some(one) = self.connections.iter_mut().find(|one| one.conn == conn) else { return Some(output) };
        match output {
            Output::Transmit { message, .. } => one.transmit(message.0),
            _ => one.close(now),
        }
        None
    }

    /// Makes the requests that can be made. It is called once everything else is done: what was
    /// transmitted in one go is sent in one go, in bodies of at most `most` bytes.
    pub(crate) fn flush<E>(&mut self, now: Time, most: usize, out: &mut VecDeque<Output<E>>) {
        let Requests { connections, last } = self;
        connections.retain_mut(|one| one.flush(now, most, last, out));
    }

    /// When the next request is to be made, or one takes too long.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.connections.iter().filter_map(Exchange::deadline).min()
    }

    /// Whether a request up is under way: what is sent now would wait for it.
    pub(crate) fn is_busy(&self, conn: ConnId) -> bool {
        self.connections.iter().any(|one| one.conn == conn && one.up.is_some())
    }

    /// The first connection on which a request took too long; it is over.
    pub(crate) fn overdue<E>(&mut self, now: Time, out: &mut VecDeque<Output<E>>) -> Option<ConnId> {
        let at = self.connections.iter_mut().position(|one| one.is_overdue(now))?;
        let one = self.connections.remove(at);
        one.abort(None, out);
        Some(one.conn)
    }

    /// A part of a response: on which connection, and what it says. One to a request that was
    /// aborted says nothing.
    pub(crate) fn response<E>(
        &mut self,
        now: Time,
        request: RequestId,
        part: ResponsePart<'_>,
        out: &mut VecDeque<Output<E>>,
    ) -> Option<(ConnId, Vec<Heard>)> {
        let at = self.connections.iter().position(|one| one.requests().any(|known| known == request))?;
        let one = self.connections.get_mut(at)?;
        let (conn, leaving) = (one.conn, one.leaving.is_some());
        let whole = matches!(part, ResponsePart::End | ResponsePart::Failed(_)).then_some(request);
        let mut heard = Vec::new();
        if let Err((code, cause)) = one.part(now, request, part, &mut heard) {
            self.connections.remove(at).abort(whole, out);
            heard.push(Heard::Closed { code, cause });
        }
        (!leaving).then_some((conn, heard))
    }
}

/// A close code, and why, where it is known.
type End = (u16, Option<String>);

impl Exchange {
    fn transmit(&mut self, message: String) {
        self.said_bye = message == ClientFrame::Bye.encode();
        self.queue.push_back(message);
    }

    /// Queued messages are still sent. Without a streamed response the server would not notice the
    /// end for a long time, so `bye` is sent too.
    fn close(&mut self, now: Time) {
        if self.transport != Transport::Stream && self.seq > 0 && !self.said_bye {
            self.transmit(ClientFrame::Bye.encode());
        }
        self.leaving = Some(now.after(GOODBYE_MS));
    }

    /// False when it is over.
    fn flush<E>(&mut self, now: Time, most: usize, last: &mut u64, out: &mut VecDeque<Output<E>>) -> bool {
        if let Some(until) = self.leaving
            && (until <= now || self.id.0.is_empty() || (self.up.is_none() && self.queue.is_empty()))
        {
            self.abort(None, out);
            return false;
        }
        match self.down {
            Down::New => {
                let request = self.request(last, Method::Post, "/v1/http", None, None, out);
                self.down = Down::Opening { request, accepted: false, body: Vec::new() };
            }
            Down::Resting { until } if until <= now && self.leaving.is_none() => {
                let path = match self.transport {
                    Transport::LongPoll => "/v1/http/down?mode=poll&wait=25000",
                    Transport::Poll => "/v1/http/down?mode=poll&wait=0",
                    Transport::WebSocket | Transport::Stream => "/v1/http/down?mode=stream",
                };
                let request = self.request(last, Method::Get, path, Some(self.had), None, out);
                self.down = Down::Fetching { request, accepted: false, asked: now, lines: Lines::default() };
            }
            _ => {}
        }
        if self.up.is_none() && !self.id.0.is_empty() && !self.queue.is_empty() {
            let body = join(&mut self.queue, most);
            self.seq += 1;
            let request = self.request(last, Method::Post, "/v1/http/up", Some(self.seq), Some(body), out);
            self.up = Some(Up { request, accepted: false, until: now.after(UP_MS) });
        }
        true
    }

    fn request<E>(
        &self,
        last: &mut u64,
        method: Method,
        path: &'static str,
        number: Option<u64>,
        body: Option<String>,
        out: &mut VecDeque<Output<E>>,
    ) -> RequestId {
        *last += 1;
        let mut headers = Vec::new();
        if !self.id.0.is_empty() {
            headers.push((CONNECTION, self.id.0.clone()));
        }
        if let Some(number) = number {
            let mut seq = String::new();
            push_integer(&mut seq, number);
            headers.push((SEQ, seq));
        }
        let id = RequestId(*last);
        let keepalive = self.leaving.is_some();
        out.push_back(Output::Request(Request {
            conn: self.conn,
            id,
            method,
            path,
            headers,
            body,
            keepalive,
        }));
        id
    }

    /// The requests under way.
    fn requests(&self) -> impl Iterator<Item = RequestId> {
        let down = match &self.down {
            Down::Opening { request, .. } | Down::Fetching { request, .. } => Some(*request),
            Down::New | Down::Resting { .. } => None,
        };
        [down, self.up.as_ref().map(|up| up.request)].into_iter().flatten()
    }

    /// Gives up the requests under way, but not the one that ended by itself.
    fn abort<E>(&self, ended: Option<RequestId>, out: &mut VecDeque<Output<E>>) {
        for request in self.requests().filter(|request| Some(*request) != ended) {
            out.push_back(Output::Abort { request });
        }
    }

    fn deadline(&self) -> Option<Time> {
        let rest = match self.down {
            Down::Resting { until } if self.leaving.is_none() => Some(until),
            _ => None,
        };
        let up = self.up.as_ref().map(|up| up.until);
        [rest, up, self.leaving].into_iter().flatten().min()
    }

    /// Whether the request up took too long. After a sleep its response may not have been read yet.
    fn is_overdue(&mut self, now: Time) -> bool {
        match &mut self.up {
            Some(up) if now.since(up.until) > LATE_MS => {
                up.until = now.after(LATE_MS);
                false
            }
            Some(up) => up.until <= now,
            None => false,
        }
    }

    fn part(
        &mut self,
        now: Time,
        request: RequestId,
        part: ResponsePart<'_>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), End> {
        if let Some(up) = self.up.as_mut().filter(|up| up.request == request) {
            match part {
                ResponsePart::Status(204) => up.accepted = true,
                ResponsePart::Body(_) if up.accepted => {}
                ResponsePart::End if up.accepted => self.up = None,
                part => return Err(broken(&part)),
            }
            return Ok(());
        }
        match &mut self.down {
            Down::Opening { accepted, body, .. } => match part {
                ResponsePart::Status(201) => *accepted = true,
                ResponsePart::Body(bytes) if *accepted && body.len() + bytes.len() <= OPENED_BYTES => {
                    body.extend_from_slice(bytes);
                }
                ResponsePart::End if *accepted => {
                    self.id = connection_id(body).ok_or_else(bad_answer)?;
                    self.down = Down::Resting { until: now };
                    heard.push(Heard::Opened);
                }
                ResponsePart::Status(status) => return Err((ABNORMAL, Some(http(status)))),
                ResponsePart::Failed(cause) => return Err((ABNORMAL, cause.map(str::to_owned))),
                ResponsePart::Body(_) | ResponsePart::End => return Err(bad_answer()),
            },
            Down::Fetching { accepted, asked, lines, .. } => match part {
                ResponsePart::Status(200) => *accepted = true,
                ResponsePart::Body(bytes) if *accepted => {
                    for line in lines.split(bytes) {
                        let line = line.map_err(|code| (code, None))?;
                        self.had += 1;
                        if let Some(code) = close_code(&line) {
                            return Err((code, None));
                        }
                        heard.push(Heard::Message(line));
                    }
                }
                // A stream does not end without saying why, nor does a response within a line.
                ResponsePart::End if *accepted && self.transport != Transport::Stream && lines.is_whole() => {
                    let rests =
                        self.transport == Transport::Poll || (!lines.any() && now.since(*asked) < HELD_MS);
                    self.down = Down::Resting { until: if rests { now.after(POLL_MS) } else { now } };
                }
                part => return Err(broken(&part)),
            },
            Down::New | Down::Resting { .. } => {}
        }
        Ok(())
    }
}

/// Takes the messages that fit into a body together, one at least: a message is a frame or an array
/// of frames.
fn join(queue: &mut VecDeque<String>, most: usize) -> String {
    let first = queue.pop_front().unwrap_or_default();
    let fits = |size: usize, next: &String| size + next.len() + 3 <= most;
    if !queue.front().is_some_and(|next| fits(first.len(), next)) {
        return first;
    }
    let mut body = String::from("[");
    body.push_str(frames(&first));
    while queue.front().is_some_and(|next| fits(body.len(), next)) {
        body.push(',');
        body.push_str(frames(&queue.pop_front().unwrap_or_default()));
    }
    body.push(']');
    body
}

fn frames(message: &str) -> &str {
    message.strip_prefix('[').and_then(|frames| frames.strip_suffix(']')).unwrap_or(message)
}

/// The id of a new connection, if it can stand in a header.
fn connection_id(body: &[u8]) -> Option<Secret> {
    let text = std::str::from_utf8(body).ok()?;
    let id = Object::parse(validate(text).ok()?).ok()?.text("connection")?;
    let usable = (1..=ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    usable.then_some(Secret(id))
}

fn bad_answer() -> End {
    (ABNORMAL, Some("bad_answer".to_owned()))
}

/// How a connection that was open ends with a part that should not have come. One that the server
/// does not know any more was lost, with the server or the network.
fn broken(part: &ResponsePart<'_>) -> End {
    let cause = match part {
        ResponsePart::Status(404) => None,
        ResponsePart::Status(status) => Some(http(*status)),
        ResponsePart::Body(_) | ResponsePart::End | ResponsePart::Failed(_) => None,
    };
    (ABNORMAL, cause)
}

fn http(status: u16) -> String {
    let mut cause = String::from("http_");
    push_integer(&mut cause, u64::from(status));
    cause
}
