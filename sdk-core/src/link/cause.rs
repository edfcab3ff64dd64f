//! Why there is no connection: a code for programs and a message for people.

use crate::wire::codes;

/// The code and the message that `Status` shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Cause {
    /// Stable code.
    pub(crate) code: String,
    /// For people; empty if there is nothing to say.
    pub(crate) message: String,
}

impl Cause {
    /// A cause; without a message a driver's code gets a standard one.
    pub(crate) fn new(code: &str, message: &str) -> Cause {
        let message = if message.is_empty() { words(code) } else { message };
        Cause { code: code.to_owned(), message: message.to_owned() }
    }
}

impl From<&str> for Cause {
    fn from(code: &str) -> Cause {
        Cause::new(code, "")
    }
}

/// The standard message of a driver's code: what to check when the server can't be reached.
fn words(code: &str) -> &'static str {
    match code {
        codes::DNS => "the server's name can't be resolved; check the address",
        codes::REFUSED => "nothing listens at the server's address; check host and port",
        codes::UNREACHABLE => "the server can't be reached; check the network",
        codes::TLS => "the TLS handshake failed; check port and certificate",
        codes::BAD_ANSWER => "what answers speaks another protocol; check scheme and port",
        code if code.starts_with("http_") => "what answers is no tidewire server; check the path",
        _ => "",
    }
}
