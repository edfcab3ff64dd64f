//! A connection over plain requests (protocol section 11): the order of the client's messages, and
//! queued messages as the lines of a response. Reading bodies, writing responses and waiting is
//! left to the driver.

use crate::outgoing::{Close, Outgoing, ToWrite};
use tidewire_core::wire::codes::{self, close};

/// Longest time for which a client may let a response wait, in ms.
pub const MAX_WAIT_MS: u64 = 25_000;
/// A response that ends takes no further message once it has this many bytes.
pub const POLL_BYTES: usize = 256 * 1024;
/// How long an ended connection is kept, so that its client can fetch the close, in ms. A client
/// that polls comes every 3 s.
const TELL_MS: u64 = 5_000;
/// As [`TELL_MS`], if the client ended the connection.
const BYE_MS: u64 = 500;
/// Most messages of a connection that wait to be read; a client sends one at a time.
const MOST_WAITING: usize = 4;
/// RFC 6455 section 7.4.1: a protocol error. The client connects again.
const OUT_OF_ORDER: u16 = codes::close::PROTOCOL_ERROR;

/// How a client receives its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In a response that stays open.
    Stream,
    /// In a response that ends with what is queued, after this time at the latest.
    Poll {
        /// Up to [`MAX_WAIT_MS`].
        wait_ms: u64,
    },
}

impl Mode {
    /// Reads the query of a request; `None` if it is not valid.
    pub fn parse(query: &str) -> Option<Mode> {
        let pairs: Vec<(&str, &str)> =
            query.split('&').map(|pair| pair.split_once('=')).collect::<Option<_>>()?;
        let once = |name: &str| pairs.iter().filter(|pair| pair.0 == name).count() == 1;
        // A parameter that is given twice or is unknown makes the query invalid.
        if !pairs.iter().all(|(name, _)| matches!(*name, "mode" | "wait") && once(name)) {
            return None;
        }
        let value = |name: &str| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1);
        match value("mode")? {
            "stream" if pairs.len() > 1 => None,
            "stream" => Some(Mode::Stream),
            "poll" => {
                let wait_ms = value("wait").map_or(Ok(0), str::parse).ok()?;
                (wait_ms <= MAX_WAIT_MS).then_some(Mode::Poll { wait_ms })
            }
            _ => None,
        }
    }
}

/// The messages of one client, in their order, and how many were sent to it.
#[derive(Debug, Default)]
pub struct Inbox {
    /// How many messages were accepted.
    taken: u64,
    /// How many lines responses have taken.
    told: u64,
    /// How many messages wait to be read.
    waiting: usize,
}

impl Inbox {
    /// Counts a request with a message. Call [`Inbox::leave`] for each.
    pub fn enter(&mut self) -> Result<(), OutOfOrder> {
        self.waiting += 1;
        if self.waiting > MOST_WAITING { Err(OutOfOrder::Waiting) } else { Ok(()) }
    }

    /// Counts a request as done: it was answered, or its client has gone.
    pub fn leave(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// An error if the message with this number is not the next one.
    pub fn check(&self, number: Option<u64>) -> Result<(), OutOfOrder> {
        if number == self.taken.checked_add(1) { Ok(()) } else { Err(OutOfOrder::Number) }
    }

    /// An error if a client that has had so many lines has lost some: a request for lines was
    /// repeated on its way, and the client does not read the response to the other one. A client
    /// that does not say is not checked.
    pub fn check_told(&self, number: Option<u64>) -> Result<(), OutOfOrder> {
        if number.is_none_or(|number| number == self.told) { Ok(()) } else { Err(OutOfOrder::Lost) }
    }

    /// A response has taken lines.
    pub fn tells(&mut self, lines: &Lines) {
        self.told = self.told.saturating_add(lines.count);
    }

    /// The next message was read completely and is queued for the session.
    pub fn take(&mut self) {
        self.taken = self.taken.saturating_add(1);
    }
}

/// A request was lost, repeated or sent too early on its way from the client, so the connection
/// ends. So it does when lines were lost on the way to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutOfOrder {
    /// The number does not follow that of the last message.
    Number,
    /// Too many messages wait.
    Waiting,
    /// The client has not had all lines.
    Lost,
}

impl OutOfOrder {
    /// The message for people.
    pub fn message(self) -> &'static str {
        match self {
            OutOfOrder::Number => "each message needs a header Tidewire-Seq, one more than the one before",
            OutOfOrder::Lost => "messages to this client were lost; it resumes from its cursors",
            OutOfOrder::Waiting => "a client sends its next message when the one before is answered",
        }
    }

    /// Sends the error, and ends the connection.
    pub fn refuse(self, outgoing: &Outgoing) {
        outgoing.refuse(OUT_OF_ORDER, codes::BAD_REQUEST, self.message());
    }
}

/// What a response takes from a queue.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Complete lines.
    pub bytes: Vec<u8>,
    /// How many.
    pub count: u64,
    /// Whether the connection ends with the last line.
    pub last: bool,
}

impl Lines {
    /// Takes queued messages until there are at least `most` bytes; 1 takes a single message.
    pub fn take(outgoing: &Outgoing, most: usize) -> Lines {
        let mut lines = Lines::default();
        while lines.bytes.len() < most && !lines.last {
            match outgoing.take() {
                Some(ToWrite::Write(text)) => lines.push(&text),
                Some(ToWrite::Close(close)) => {
                    lines.push(&last_line(close));
                    lines.last = true;
                }
                None => break,
            }
        }
        lines
    }

    /// Appends a message without line breaks. These occur only as white space between tokens; in
    /// JSON strings they are escaped.
    fn push(&mut self, message: &str) {
        self.bytes.reserve(message.len() + 1);
        let in_line = |byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte };
        self.bytes.extend(message.bytes().map(in_line));
        self.bytes.push(b'\n');
        self.count += 1;
    }
}

fn last_line(close: Close) -> String {
    // A reason is one of the protocol's codes, which need no escaping.
    format!(r#"{{"t":"close","code":{},"reason":"{}"}}"#, close.code, close.reason)
}

/// How long an ended connection is kept, so that its client can fetch the close, in ms.
pub fn kept_ms(close: Option<Close>) -> u64 {
    if close.is_some_and(|close| close.code == close::NORMAL) { BYE_MS } else { TELL_MS }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_message_is_one_line_whatever_white_space_it_has() {
        let mut lines = Lines::default();
        lines.push("{\"a\":\r\n1}");
        lines.push("{}");
        assert_eq!(String::from_utf8(lines.bytes).unwrap(), "{\"a\":  1}\n{}\n");
    }

    #[test]
    fn the_end_is_the_last_line_after_all_that_waits() {
        let outgoing = Outgoing::new(1, 1_000, 10, Arc::new(|_| ()));
        outgoing.push("1".into());
        assert_eq!(Lines::take(&outgoing, 1), Lines { bytes: b"1\n".to_vec(), count: 1, last: false });
        assert_eq!(Lines::take(&outgoing, 1), Lines::default());
        outgoing.push("2".into());
        outgoing.close(4000, "goaway");
        let last = "2\n{\"t\":\"close\",\"code\":4000,\"reason\":\"goaway\"}\n";
        assert_eq!(Lines::take(&outgoing, POLL_BYTES), Lines { bytes: last.into(), count: 2, last: true });
    }

    #[test]
    fn messages_come_one_after_the_other_and_few_wait() {
        let mut inbox = Inbox::default();
        for number in 1..4 {
            assert_eq!(inbox.check(Some(number)), Ok(()));
            inbox.take();
            for other in [None, Some(number), Some(number + 2), Some(0)] {
                assert_eq!(inbox.check(other), Err(OutOfOrder::Number), "{other:?}");
            }
        }
        assert_eq!(inbox.check_told(Some(0)), Ok(()));
        inbox.tells(&Lines { count: 3, ..Lines::default() });
        assert_eq!((inbox.check_told(Some(3)), inbox.check_told(None)), (Ok(()), Ok(())));
        for other in [0, 2, 4] {
            assert_eq!(inbox.check_told(Some(other)), Err(OutOfOrder::Lost), "{other}");
        }
        for _ in 0..4 {
            assert_eq!(inbox.enter(), Ok(()));
        }
        assert_eq!(inbox.enter(), Err(OutOfOrder::Waiting));
        inbox.leave();
        inbox.leave();
        assert_eq!(inbox.enter(), Ok(()));
    }

    #[test]
    fn only_the_two_modes_and_sensible_times_are_taken() {
        assert_eq!(Mode::parse("mode=stream"), Some(Mode::Stream));
        assert_eq!(Mode::parse("mode=poll"), Some(Mode::Poll { wait_ms: 0 }));
        assert_eq!(Mode::parse("wait=25000&mode=poll"), Some(Mode::Poll { wait_ms: 25_000 }));
        for query in [
            "",
            "mode=",
            "mode=socket",
            "mode=poll&wait=25001",
            "mode=poll&wait=-1",
            "mode=poll&wait=",
            "mode=poll&mode=poll",
            "mode=poll&wait=1&wait=1",
            "mode=stream&wait=1",
            "mode=poll&token=x",
        ] {
            assert!(Mode::parse(query).is_none(), "{query}");
        }
    }
}
