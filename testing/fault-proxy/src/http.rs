//! The part of HTTP/1.1 that a middlebox looks at.

use std::io;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Longer heads are passed on unread.
const LONGEST_HEAD: usize = 64 * 1024;

/// The response instead of an upgrade.
pub(crate) const BAD_GATEWAY: &[u8] =
    b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// The first bytes of a connection, including the head of a request.
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    pub(crate) wants_websocket: bool,
}

/// Reads the head of a request. An ordinary request gets `Connection: close`, so that the proxy
/// sees each request, and the end of a response is the end of the connection.
pub(crate) async fn request(client: &mut TcpStream) -> io::Result<Request> {
    let mut bytes = Vec::new();
    loop {
        if client.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            return Ok(look(bytes, end));
        }
        if bytes.len() > LONGEST_HEAD {
            return Ok(Request { bytes, wants_websocket: false });
        }
    }
}

/// `end` is where the empty line's `\r\n\r\n` begins.
fn look(bytes: Vec<u8>, end: usize) -> Request {
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let is = |line: &str, name: &str| {
        line.split_once(':').is_some_and(|(found, _)| found.trim().eq_ignore_ascii_case(name))
    };
    let wants_websocket =
        head.lines().any(|line| is(line, "upgrade") && line.to_ascii_lowercase().contains("websocket"));
    if wants_websocket {
        return Request { bytes, wants_websocket };
    }
    let kept = head.split("\r\n").filter(|line| !is(line, "connection") && !is(line, "keep-alive"));
    let mut changed = kept.collect::<Vec<_>>().join("\r\n").into_bytes();
    changed.extend_from_slice(b"\r\nconnection: close");
    changed.extend_from_slice(&bytes[end..]);
    Request { bytes: changed, wants_websocket }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked(text: &str) -> Request {
        look(text.as_bytes().to_vec(), text.find("\r\n\r\n").expect("a head"))
    }

    #[test]
    fn an_upgrade_is_recognised_and_left_as_it_is() {
        let text =
            "GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nuPgrade: WebSocket\r\n\r\n";
        let request = looked(text);
        assert!(request.wants_websocket);
        assert_eq!(request.bytes, text.as_bytes());
    }

    #[test]
    fn a_plain_request_becomes_the_last_of_its_connection_and_keeps_its_body() {
        let request =
            looked("POST / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nx-a: websocket\r\n\r\nbody");
        assert!(!request.wants_websocket);
        let text = "POST / HTTP/1.1\r\nHost: x\r\nx-a: websocket\r\nconnection: close\r\n\r\nbody";
        assert_eq!(String::from_utf8_lossy(&request.bytes), text);
    }
}
