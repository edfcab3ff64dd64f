//! The server's address, and a TCP or TLS stream to it.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::Uri;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A byte stream, encrypted or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// How to reach a server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Endpoint {
    host: String,
    port: u16,
    prefix: String,
    tls: Option<Arc<ClientConfig>>,
}

impl Endpoint {
    /// Reads `http(s)://host[:port][/prefix]`, or the same with `ws(s)`. `None` if it is something
    /// else. Without `tls` the server's certificate is checked against Mozilla's roots.
    pub(crate) fn parse(url: &str, tls: Option<Arc<ClientConfig>>) -> Option<Endpoint> {
        let uri: Uri = url.parse().ok()?;
        let secure = match uri.scheme_str()? {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return None,
        };
        // An address must not contain a token or a user's name.
        if uri.query().is_some() || uri.authority()?.as_str().contains('@') {
            return None;
        }
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        // The library treats an invalid port as no port.
        let port = match uri.authority()?.as_str().strip_prefix(uri.host()?)?.strip_prefix(':') {
            Some(digits) => digits.parse().ok()?,
            None if secure => 443,
            None => 80,
        };
        let prefix = uri.path().trim_end_matches('/').to_owned();
        let tls = secure.then(|| tls.unwrap_or_else(mozilla_roots));
        (!host.is_empty() && port > 0).then_some(Endpoint { host, port, prefix, tls })
    }

    /// The value of the `Host` header.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.port, self.tls.is_some()) {
            (443, true) | (80, false) => host,
            (port, _) => format!("{host}:{port}"),
        }
    }

    /// The path of a resource, below the prefix.
    pub(crate) fn path(&self, resource: &str) -> String {
        format!("{}{resource}", self.prefix)
    }

    /// The address of the WebSocket.
    pub(crate) fn socket_url(&self) -> String {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{}{}", self.authority(), self.path("/v1/ws"))
    }

    /// Connects, with a TLS handshake if the address requires one.
    pub(crate) async fn connect(&self) -> Result<Box<dyn Stream>, Unreachable> {
        let found = lookup_host((self.host.as_str(), self.port)).await.map_err(|_| Unreachable::Dns)?;
        let addresses: Vec<SocketAddr> = found.collect();
        if addresses.is_empty() {
            return Err(Unreachable::Dns);
        }
        let tcp = TcpStream::connect(addresses.as_slice()).await.map_err(|error| match error.kind() {
            ErrorKind::ConnectionRefused => Unreachable::Refused,
            _ => Unreachable::NoRoute,
        })?;
        tcp.set_nodelay(true).map_err(|_| Unreachable::NoRoute)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(tcp)) };
        let name = ServerName::try_from(self.host.clone()).map_err(|_| Unreachable::Tls)?;
        let shaken = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await;
        Ok(Box::new(shaken.map_err(|_| Unreachable::Tls)?))
    }
}

/// Why a connection to a server could not be made. The libraries' messages are dropped, because
/// they may contain data that the peer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreachable {
    /// The host's name can't be resolved.
    Dns,
    /// The connection was refused: nothing listens there.
    Refused,
    /// The host can't be reached or does not answer.
    NoRoute,
    /// The TLS handshake failed: another protocol, or a certificate that is not trusted.
    Tls,
    /// Something answered with this HTTP status that is not a Tidewire server.
    Http(u16),
    /// The answer was not HTTP.
    BadAnswer,
}

impl Unreachable {
    /// Stable code, which becomes the status's cause.
    pub(crate) fn code(self) -> Cow<'static, str> {
        match self {
            Unreachable::Dns => "dns".into(),
            Unreachable::Refused => "refused".into(),
            Unreachable::NoRoute => "unreachable".into(),
            Unreachable::Tls => "tls".into(),
            Unreachable::Http(status) => format!("http_{status}").into(),
            Unreachable::BadAnswer => "bad_answer".into(),
        }
    }
}

fn mozilla_roots() -> Arc<ClientConfig> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions();
    match builder {
        Ok(builder) => Arc::new(builder.with_root_certificates(roots).with_no_client_auth()),
        Err(_) => unreachable!("ring speaks TLS 1.2 and 1.3"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_host_port_and_prefix() {
        for (url, socket, authority) in [
            ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/v1/ws", "127.0.0.1:8080"),
            ("https://chat.example/", "wss://chat.example/v1/ws", "chat.example"),
            ("wss://chat.example/a/b/", "wss://chat.example/a/b/v1/ws", "chat.example"),
            ("ws://[::1]:9", "ws://[::1]:9/v1/ws", "[::1]:9"),
        ] {
            let endpoint = Endpoint::parse(url, None).expect(url);
            assert_eq!(endpoint.socket_url(), socket);
            assert_eq!(endpoint.authority(), authority);
        }
    }

    #[test]
    fn an_address_with_credentials_a_query_or_another_scheme_is_refused() {
        for url in [
            "",
            "chat.example",
            "ftp://a",
            "http://",
            "http://u:p@a",
            "http://a?token=1",
            "/v1/ws",
            "http://a:0",
            "http://a:65536",
        ] {
            assert!(Endpoint::parse(url, None).is_none(), "{url}");
        }
    }
}
