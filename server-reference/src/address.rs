//! Reads from proxies' headers which address a request comes from, and which host it was sent to.

use crate::config::ForwardedHeader;
use axum::http::HeaderMap;
use std::net::{IpAddr, SocketAddr};

/// The trusted proxies. Only one family of headers is read: a client can send the other family, and
/// a proxy that does not know it passes it on.
pub(crate) struct Proxies {
    trusted: Vec<IpAddr>,
    header: ForwardedHeader,
}

/// The host that a client asked for, according to the nearest proxy.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Host and port.
    pub(crate) host: Option<String>,
    /// `http` or `https`.
    pub(crate) scheme: Option<String>,
}

impl Proxies {
    pub(crate) fn new(trusted: Vec<IpAddr>, header: ForwardedHeader) -> Proxies {
        Proxies { trusted, header }
    }

    /// Whether this is one of them.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.contains(&address.to_canonical())
    }

    /// The client's address: the socket's peer, or, if that is a trusted proxy, the last address in
    /// the header that is not a trusted proxy's.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let named = match self.header {
            ForwardedHeader::XForwarded => list(headers, "x-forwarded-for"),
            ForwardedHeader::Forwarded => {
                elements(headers).iter().map(|element| member(element, "for").unwrap_or_default()).collect()
            }
        };
        let mut last = peer;
        for name in named.iter().rev() {
            // The entries before an unreadable one can't be trusted.
            let Some(address) = address(name) else { break };
            last = address.to_canonical();
            if !self.trusts(last) {
                break;
            }
        }
        last
    }

    /// The host that the client asked for, if the peer is a trusted proxy that reports it.
    pub(crate) fn asked(&self, peer: IpAddr, headers: &HeaderMap) -> Asked {
        if !self.trusts(peer) {
            return Asked::default();
        }
        let (host, scheme) = match self.header {
            ForwardedHeader::XForwarded => {
                let first = |name| list(headers, name).into_iter().next();
                (first("x-forwarded-host"), first("x-forwarded-proto"))
            }
            ForwardedHeader::Forwarded => {
                let elements = elements(headers);
                let first = |name| elements.iter().find_map(|element| member(element, name));
                (first("host"), first("proto"))
            }
        };
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        Asked { host: filled(host), scheme: filled(scheme) }
    }
}

/// The members of a header that is a list, in their order.
fn list(headers: &HeaderMap, name: &str) -> Vec<String> {
    let lines = headers.get_all(name).iter();
    lines
        .flat_map(|line| line.to_str().unwrap_or_default().split(','))
        .map(|part| part.trim().to_owned())
        .collect()
}

/// An address as proxies write it: with or without a port, IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    // RFC 7239 section 6.3 lets the port be obscured; a zone (`%eth0`) is of no use here.
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None if text.matches(':').count() == 1 => text.split_once(':')?.0,
        None => text,
    };
    bare.split('%').next()?.parse().ok()
}

/// The elements of `Forwarded` (RFC 7239 section 4), each with its pairs; commas and semicolons in
/// quotes are part of a value.
fn elements(headers: &HeaderMap) -> Vec<Vec<(String, String)>> {
    let mut elements = Vec::new();
    for line in headers.get_all("forwarded") {
        let line = line.to_str().unwrap_or_default();
        elements.extend(split(line, ',').into_iter().map(|element| {
            let pairs = split(element, ';').into_iter().filter_map(|pair| pair.split_once('='));
            pairs.map(|(name, value)| (name.trim().to_ascii_lowercase(), unquoted(value.trim()))).collect()
        }));
    }
    elements
}

fn member(element: &[(String, String)], name: &str) -> Option<String> {
    element.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

fn split(text: &str, at: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(|c| {
        if escaped {
            escaped = false;
            return false;
        }
        match c {
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c => return c == at && !quoted,
        }
        false
    })
    .collect()
}

fn unquoted(value: &str) -> String {
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    inner.map_or_else(|| value.to_owned(), |inner| inner.replace("\\\"", "\"").replace("\\\\", "\\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, line) in lines {
            headers.append(*name, line.parse().unwrap());
        }
        headers
    }

    fn proxies(header: ForwardedHeader) -> Proxies {
        Proxies::new(["10.0.0.1", "10.0.0.2"].map(|address| address.parse().unwrap()).to_vec(), header)
    }

    fn of(peer: &str, forwarded: &[&str]) -> String {
        let lines: Vec<_> = forwarded.iter().map(|line| ("x-forwarded-for", *line)).collect();
        proxies(ForwardedHeader::XForwarded).client(peer.parse().unwrap(), &headers(&lines)).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        assert_eq!(of("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(of("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(of("::ffff:10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(of("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn what_the_client_itself_wrote_into_the_header_is_not_believed() {
        assert_eq!(of("10.0.0.1", &["1.1.1.1, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(of("10.0.0.1", &["1.1.1.1", "198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(of("10.0.0.1", &["1.1.1.1, nonsense, 10.0.0.2"]), "10.0.0.2");
    }

    #[test]
    fn an_address_is_read_however_a_proxy_writes_it() {
        for (text, expected) in [
            ("198.51.100.1:4711", Some("198.51.100.1")),
            (" 198.51.100.1 ", Some("198.51.100.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:443", Some("2001:db8::1")),
            ("[fe80::1%eth0]:443", Some("fe80::1")),
            ("fe80::1%eth0", Some("fe80::1")),
            ("198.51.100.1:_obscured", Some("198.51.100.1")),
            ("::ffff:198.51.100.1", Some("::ffff:198.51.100.1")),
            ("unknown", None),
            ("_hidden", None),
            ("", None),
            ("198.51.100", None),
            ("[2001:db8::1", None),
            ("198.51.100.1, 198.51.100.2", None),
        ] {
            assert_eq!(address(text).map(|address| address.to_string()).as_deref(), expected, "{text}");
        }
        assert_eq!(of("10.0.0.1", &["198.51.100.1:1, 198.51.100.2:2, 10.0.0.2:3"]), "198.51.100.2");
    }

    #[test]
    fn the_standard_header_is_read_with_its_quotes() {
        let of = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| ("forwarded", *line)).collect();
            let (proxies, headers) = (proxies(ForwardedHeader::Forwarded), headers(&lines));
            let peer = "10.0.0.1".parse().unwrap();
            (proxies.client(peer, &headers).to_string(), proxies.asked(peer, &headers))
        };
        let (client, asked) = of(&["for=192.0.2.60;proto=https;host=chat.example.com"]);
        assert_eq!((client.as_str(), asked.host.as_deref()), ("192.0.2.60", Some("chat.example.com")));
        assert_eq!(asked.scheme.as_deref(), Some("https"));
        assert_eq!(of(&["For=\"[2001:db8:cafe::17]:4711\""]).0, "2001:db8:cafe::17");
        assert_eq!(
            of(&["for=1.1.1.1, for=198.51.100.1;by=\"a,b;c=\\\"d\"", "for=10.0.0.2"]).0,
            "198.51.100.1"
        );
        assert_eq!(of(&["for=1.1.1.1, proto=https"]).0, "10.0.0.1", "one that does not say for whom");
        assert_eq!(of(&["\"", "=", ";;,,", "for"]).0, "10.0.0.1");
    }

    #[test]
    fn the_other_family_of_headers_is_the_clients_own() {
        let both = headers(&[
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-host", "a.example"),
            ("forwarded", "for=1.1.1.1;host=b.example"),
        ]);
        let peer = "10.0.0.1".parse().unwrap();
        for (header, client, host) in [
            (ForwardedHeader::XForwarded, "198.51.100.1", "a.example"),
            (ForwardedHeader::Forwarded, "1.1.1.1", "b.example"),
        ] {
            let proxies = proxies(header);
            assert_eq!(proxies.client(peer, &both).to_string(), client);
            assert_eq!(proxies.asked(peer, &both).host.as_deref(), Some(host));
            assert_eq!(proxies.asked("192.0.2.1".parse().unwrap(), &both), Asked::default());
        }
    }
}
