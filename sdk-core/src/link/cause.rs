//! Why the connection is not there, as a code for programs and words for people.

/// What `Status` says of it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Cause {
    /// Stable code.
    pub(crate) code: String,
    /// For people; empty if there is nothing to say.
    pub(crate) message: String,
}

impl Cause {
    /// Where nobody gave a message, a driver's code has one of its own.
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

/// What to look at when a driver could not reach the server.
fn words(code: &str) -> &'static str {
    match code {
        "dns" => "the server's name can't be resolved; check the address",
        "refused" => "nothing listens at the server's address; check host and port",
        "unreachable" => "the server can't be reached; check the network",
        "tls" => "the TLS handshake failed; check port and certificate",
        "bad_answer" => "what answers speaks another protocol; check scheme and port",
        code if code.starts_with("http_") => "what answers is no tidewire server; check the path",
        _ => "",
    }
}
