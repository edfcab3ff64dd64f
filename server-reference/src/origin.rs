//! The pages that may use the server: those of its own origin, and those of configured origins.

use crate::address::Asked;
use crate::config::{Config, ConfigError};
use axum::http::{HeaderMap, header};
use reqwest::Url;
use std::net::IpAddr;

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// No page, or a page of the server's own host.
    Own,
    /// A page of an origin that is configured by its name.
    Listed,
    /// Another page that may use the server: `*`, `null` or `file://` is configured. It may be
    /// anybody's, so cookies don't count from it.
    Open,
    /// A page of a site: for the guests of that site alone.
    Site,
    /// Any other page.
    Foreign,
}

/// The message for a page that is refused.
pub(crate) const REFUSAL: &str = "this page's origin may not use the server: list it with --allowed-origin, or say \
    by which address the server is reached with --public-url";

/// The origins that may use the server.
#[derive(Debug)]
pub(crate) struct Origins {
    /// The server's own origin, if it is configured. Then no other counts as its own.
    public: Option<String>,
    allowed: Vec<Allowed>,
    /// Whether a page of any host name in the request counts as its own. On a loopback address
    /// without a proxy only addresses and `localhost` do, because any name can be made to resolve
    /// there (DNS rebinding).
    names: bool,
}

/// An entry of the list.
#[derive(Debug, PartialEq, Eq)]
enum Allowed {
    /// `*`
    All,
    /// `null`: pages without an origin, such as those in a sandbox.
    Null,
    /// `file://`: files, whose origin is that or `null`.
    Files,
    /// One origin, as browsers write it.
    Exact(String),
    /// `https://*.example.com`: the parts before and after the star.
    Below(String, String),
}

impl Origins {
    /// Reads the settings, for a server that listens at `listening`.
    pub(crate) fn new(config: &Config, listening: IpAddr) -> Result<Origins, ConfigError> {
        let public = config.public_url.as_deref().map(PublicUrl::parse).transpose()?;
        let allowed = config.allowed_origins.iter().map(|entry| Allowed::parse(entry));
        Ok(Origins {
            public: public.map(|public| public.origin),
            allowed: allowed.collect::<Result<_, _>>()?,
            names: !listening.is_loopback() || !config.trusted_proxies.is_empty(),
        })
    }

    /// The origin of a request with these headers; `asked` is the host that a trusted proxy
    /// reports. Browsers always send `Origin` with a WebSocket and a cross-origin `POST`.
    pub(crate) fn check(&self, headers: &HeaderMap, asked: &Asked) -> Origin {
        let Some(origin) = headers.get(header::ORIGIN) else { return Origin::Own };
        let Ok(origin) = origin.to_str() else { return Origin::Foreign };
        let origin = origin.to_ascii_lowercase();
        if self.is_own(&origin, headers, asked) {
            Origin::Own
        } else if self.allowed.iter().any(|entry| entry.is_named() && entry.has(&origin)) {
            Origin::Listed
        } else if self.allowed.iter().any(|entry| entry.has(&origin)) {
            Origin::Open
        } else {
            Origin::Foreign
        }
    }

    fn is_own(&self, origin: &str, headers: &HeaderMap, asked: &Asked) -> bool {
        if let Some(public) = &self.public {
            return public == origin;
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let Some(host) = asked.host.as_deref().or(host) else { return false };
        if !self.names && !is_local(host) {
            return false;
        }
        let (scheme, place, port) = match origin.split_once("://") {
            Some(("http", place)) => ("http", place, ":80"),
            Some(("https", place)) => ("https", place, ":443"),
            _ => return false,
        };
        if asked.scheme.as_deref().is_some_and(|asked| !asked.eq_ignore_ascii_case(scheme)) {
            return false;
        }
        let bare = |text: &str| text.strip_suffix(port).unwrap_or(text).to_ascii_lowercase();
        !place.is_empty() && bare(place) == bare(host)
    }
}

/// The origin as browsers write it, if the text is one alone.
pub(crate) fn exact(text: &str) -> Option<String> {
    match Allowed::parse(text) {
        Ok(Allowed::Exact(origin)) => Some(origin),
        _ => None,
    }
}

/// The origin that a request names, in lower case.
pub(crate) fn named(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(header::ORIGIN)?.to_str().ok()?.to_ascii_lowercase())
}

/// Whether a host is this machine or an IP address.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok()
}

impl Allowed {
    fn parse(text: &str) -> Result<Allowed, ConfigError> {
        let text = text.trim();
        let refused = |why: &str| {
            let reason = format!(
                "has `{text}`, but {why}; an origin is a scheme and a host, as https://app.example.com, \
                 https://*.example.com for all below, or one of the words `*`, `null` and `file://`"
            );
            Err(ConfigError::Value { name: "allowed-origin", reason })
        };
        match text {
            "*" => return Ok(Allowed::All),
            "null" => return Ok(Allowed::Null),
            "file://" | "file:///" => return Ok(Allowed::Files),
            _ => {}
        }
        let Some((scheme, rest)) = text.split_once("://") else { return refused("no scheme") };
        let place = rest.strip_suffix('/').unwrap_or(rest);
        let (below, place) = match place.strip_prefix("*.") {
            Some(place) => (true, place),
            None => (false, place),
        };
        if place.is_empty() || place.contains(['/', '?', '#', '@', '*', ' ', ',']) {
            return refused("there is more, or less, than a host behind the scheme");
        }
        let Ok(url) = Url::parse(&format!("{scheme}://{place}/")) else { return refused("it can't be read") };
        let origin = match url.scheme() {
            // Written as browsers do: the host normalised, and without the scheme's default port.
            "http" | "https" => url.origin().ascii_serialization(),
            "ws" | "wss" => return refused("pages have the scheme http or https"),
            _ => format!("{}://{}", url.scheme(), place.to_ascii_lowercase()),
        };
        Ok(match (below, origin.split_once("://")) {
            (true, Some((scheme, place))) => Allowed::Below(format!("{scheme}://"), format!(".{place}")),
            _ => Allowed::Exact(origin),
        })
    }

    /// Whether only pages of known hosts have such an origin.
    fn is_named(&self) -> bool {
        matches!(self, Allowed::Exact(_) | Allowed::Below(..))
    }

    fn has(&self, origin: &str) -> bool {
        match self {
            Allowed::All => true,
            Allowed::Null => origin == "null",
            Allowed::Files => origin == "null" || origin == "file://",
            Allowed::Exact(own) => own == origin,
            Allowed::Below(scheme, domain) => {
                let rest =
                    origin.strip_prefix(scheme.as_str()).and_then(|rest| rest.strip_suffix(domain.as_str()));
                rest.is_some_and(|rest| !rest.is_empty())
            }
        }
    }
}

/// The address by which clients reach the server.
pub(crate) struct PublicUrl {
    /// As browsers write it.
    pub(crate) origin: String,
    /// `/rt` of `https://example.com/rt/`; empty for none.
    pub(crate) path: String,
}

impl PublicUrl {
    pub(crate) fn parse(text: &str) -> Result<PublicUrl, ConfigError> {
        let url = Url::parse(text.trim()).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
        });
        let Some(url) = url else {
            let reason = "must be as https://example.com or https://example.com/chat/".to_owned();
            return Err(ConfigError::Value { name: "public-url", reason });
        };
        let path = url.path().trim_end_matches('/').to_owned();
        Ok(PublicUrl { origin: url.origin().ascii_serialization(), path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn origins(change: impl FnOnce(&mut Config), listening: &str) -> Result<Origins, ConfigError> {
        let mut config = Config::default();
        change(&mut config);
        Origins::new(&config, listening.parse().unwrap())
    }

    fn with(list: &[&str]) -> Result<Origins, ConfigError> {
        let list = list.iter().map(|entry| (*entry).to_owned()).collect();
        origins(|config| config.allowed_origins = list, "0.0.0.0")
    }

    fn headers(origin: &str, host: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        headers
    }

    fn of(origin: &str, host: &str, allowed: &[&str]) -> Origin {
        with(allowed).unwrap().check(&headers(origin, host), &Asked::default())
    }

    #[test]
    fn the_own_host_is_recognised_with_and_without_the_usual_port() {
        assert_eq!(of("http://127.0.0.1:8080", "127.0.0.1:8080", &[]), Origin::Own);
        assert_eq!(of("https://example.com", "example.com:443", &[]), Origin::Own);
        assert_eq!(of("https://EXAMPLE.com", "example.com", &[]), Origin::Own);
    }

    #[test]
    fn lookalikes_are_foreign() {
        for origin in ["http://127.0.0.1:8081", "http://example.com.evil.org", "null", "file://", "http://"] {
            assert_eq!(of(origin, "example.com", &["https://app.example.com"]), Origin::Foreign, "{origin}");
        }
    }

    #[test]
    fn the_list_is_read_as_browsers_write_origins() {
        for (entry, listed, foreign) in [
            ("https://app.example.com/", "https://app.example.com", "http://app.example.com"),
            ("https://x.example:443", "https://x.example", "https://x.example:444"),
            (" https://x.example", "https://x.example", "https://y.x.example"),
            ("HTTPS://X.example", "https://x.example", "https://x.example.org"),
            ("http://x.example:8080", "http://x.example:8080", "http://x.example"),
            ("https://*.x.example", "https://a.b.x.example", "https://x.example"),
            ("https://*.x.example:444", "https://a.x.example:444", "https://a.x.example"),
            ("https://*.x.example", "https://a.x.example", "https://ax.example"),
            ("https://b\u{fc}cher.example", "https://xn--bcher-kva.example", "https://bcher.example"),
            ("null", "null", "file://"),
            ("file://", "file://", "https://x.example"),
            ("file://", "null", "http://null"),
            ("capacitor://localhost", "capacitor://localhost", "ionic://localhost"),
            ("*", "https://anything.example", ""),
        ] {
            let named = !["null", "file://", "*"].contains(&entry);
            let expected = if named { Origin::Listed } else { Origin::Open };
            assert_eq!(of(listed, "api.example", &[entry]), expected, "{entry}");
            if !foreign.is_empty() {
                assert_eq!(of(foreign, "api.example", &[entry]), Origin::Foreign, "{entry}");
            }
        }
    }

    #[test]
    fn an_entry_that_could_never_match_is_refused_at_the_start() {
        for entry in [
            "x",
            "x.example",
            "",
            "https://",
            "https://x.example/p",
            "https://x.example?q",
            "https://u@x.example",
            "https://x.*.example",
            "https://*",
            "https://*.",
            "*.x.example",
            "wss://x.example",
            "https://x.example https://y.example",
            "https://x.example:99999",
        ] {
            let error = with(&[entry]).err().unwrap_or_else(|| panic!("{entry}"));
            assert_eq!(error.code(), "bad_value", "{entry}");
            assert!(error.to_string().contains("https://app.example.com"), "{error}");
        }
    }

    #[test]
    fn a_loopback_server_believes_no_name_that_others_can_point_at_it() {
        let local = origins(|_| (), "127.0.0.1").unwrap();
        let check = |origin: &str, host: &str| local.check(&headers(origin, host), &Asked::default());
        assert_eq!(check("http://evil.example:8080", "evil.example:8080"), Origin::Foreign);
        for host in ["127.0.0.1:8080", "localhost:8080", "app.localhost:8080", "[::1]:8080"] {
            assert_eq!(check(&format!("http://{host}"), host), Origin::Own, "{host}");
        }
    }

    #[test]
    fn what_the_proxy_was_asked_for_counts_instead_of_what_it_asks_for() {
        let origins = with(&[]).unwrap();
        let asked = |host: &str, scheme: &str| Asked {
            host: Some(host.to_owned()),
            scheme: (!scheme.is_empty()).then(|| scheme.to_owned()),
        };
        let headers = headers("https://chat.example", "127.0.0.1:8080");
        assert_eq!(origins.check(&headers, &asked("chat.example", "https")), Origin::Own);
        assert_eq!(origins.check(&headers, &asked("chat.example", "")), Origin::Own);
        assert_eq!(origins.check(&headers, &asked("chat.example", "http")), Origin::Foreign);
        assert_eq!(origins.check(&headers, &asked("other.example", "https")), Origin::Foreign);
        assert_eq!(origins.check(&headers, &Asked::default()), Origin::Foreign);
    }

    #[test]
    fn the_public_address_is_the_own_one_whatever_host_is_named() {
        let origins =
            origins(|config| config.public_url = Some("https://h.example/rt/".to_owned()), "127.0.0.1");
        let origins = origins.unwrap();
        let check = |origin: &str, host: &str| origins.check(&headers(origin, host), &Asked::default());
        assert_eq!(check("https://h.example", "127.0.0.1:8080"), Origin::Own);
        assert_eq!(check("http://127.0.0.1:8080", "127.0.0.1:8080"), Origin::Foreign);
        assert_eq!(check("https://evil.example", "evil.example"), Origin::Foreign);
        for (url, path) in
            [("https://h.example", ""), ("https://h.example/rt", "/rt"), ("http://h/a/b/", "/a/b")]
        {
            assert_eq!(PublicUrl::parse(url).unwrap().path, path);
        }
        for url in ["h.example", "ws://h.example", "https://h.example/?x", "https://u:p@h.example", "/rt"] {
            assert!(PublicUrl::parse(url).is_err(), "{url}");
        }
    }
}
