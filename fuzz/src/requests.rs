//! The requests of a client without a WebSocket, with arbitrary answers.

use crate::Bytes;
use std::collections::BTreeMap;
use tidewire_core::{Request, RequestId, ResponsePart};

/// The requests under way.
#[derive(Default)]
pub(crate) struct Requests {
    under_way: Vec<Request>,
    /// The number of the last message of each connection.
    seqs: BTreeMap<u64, String>,
    last: u64,
}

impl Requests {
    /// The client makes a request.
    pub(crate) fn begin(&mut self, request: Request) {
        assert!(request.id.0 > self.last, "a request has a new name");
        self.last = request.id.0;
        let is_up = |request: &Request| request.path == "/v1/http/up";
        let like = |other: &&Request| other.conn == request.conn && is_up(other) == is_up(&request);
        assert!(!self.under_way.iter().any(|other| like(&other)), "one at a time each way");
        let header =
            |wanted| request.headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value);
        let id = header("tidewire-connection");
        assert_eq!(id.is_some(), request.path != "/v1/http", "only what opens a connection has no id");
        assert!(id.is_none_or(|id| id.bytes().all(|byte| byte.is_ascii_graphic())), "an id fits a header");
        if is_up(&request) {
            let body = request.body.as_deref().unwrap_or_default();
            assert!(body.starts_with(['{', '[']), "a message is a frame or an array of them");
            let before = self.seqs.get(&request.conn.0).map_or(Ok(0), |seq| seq.parse::<u64>());
            let seq = header("tidewire-seq").cloned().unwrap_or_default();
            assert_eq!(seq.parse(), before.map(|before| before + 1), "messages are numbered");
            self.seqs.insert(request.conn.0, seq);
        }
        self.under_way.push(request);
    }

    /// The client aborts a request.
    pub(crate) fn abort(&mut self, id: RequestId) {
        assert!(self.remove(id), "{id:?} is not under way");
    }

    fn remove(&mut self, id: RequestId) -> bool {
        let before = self.under_way.len();
        self.under_way.retain(|request| request.id != id);
        self.under_way.len() < before
    }

    /// The request under way that opens a connection.
    pub(crate) fn opening(&self) -> Option<RequestId> {
        self.find(|path| path == "/v1/http")
    }

    /// The request under way that receives messages.
    pub(crate) fn down(&self) -> Option<RequestId> {
        self.find(|path| path.contains("/down"))
    }

    fn find(&self, is_it: impl Fn(&str) -> bool) -> Option<RequestId> {
        self.under_way.iter().rfind(|request| is_it(request.path)).map(|request| request.id)
    }

    /// The parts of a proper response to a request.
    pub(crate) fn answer(&mut self, id: RequestId) -> Vec<ResponsePart<'static>> {
        let Some(request) = self.under_way.iter().find(|request| request.id == id) else { return vec![] };
        let parts = match request.path {
            "/v1/http" => vec![
                ResponsePart::Status(201),
                ResponsePart::Body(br#"{"connection":"c"}"#),
                ResponsePart::End,
            ],
            "/v1/http/up" => vec![ResponsePart::Status(204), ResponsePart::End],
            _ => return vec![ResponsePart::Status(200)],
        };
        self.remove(id);
        parts
    }

    /// An arbitrary answer, to a request that is under way or not.
    pub(crate) fn respond<'a>(&mut self, bytes: &mut Bytes<'a>) -> (RequestId, Vec<ResponsePart<'a>>) {
        let some = self.under_way.get(bytes.below(self.under_way.len().max(1))).map(|request| request.id);
        let id = match bytes.below(8) {
            0 => RequestId(u64::from(bytes.byte())),
            _ => some.unwrap_or(RequestId(0)),
        };
        let part = match bytes.below(8) {
            0..=2 => return (id, self.answer(id)),
            3 => ResponsePart::Status(bytes.short()),
            4 => ResponsePart::Body(bytes.some()),
            5 => ResponsePart::Body(b"\n{\"t\":\"close\",\"code\":4000,\"reason\":\"goaway\"}\n"),
            6 => ResponsePart::End,
            _ => ResponsePart::Failed(Some("refused")),
        };
        if matches!(part, ResponsePart::End | ResponsePart::Failed(_)) {
            self.remove(id);
        }
        (id, vec![part])
    }
}
