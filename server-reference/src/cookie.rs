//! A token in a cookie, and whether the page that sends it may use it.
//!
//! Browsers send cookies with requests of any site. So a cookie counts only where the browser says
//! that the page is one of ours: by `Origin`, or by `Sec-Fetch-Site` where it sends no `Origin`.

use crate::app::App;
use crate::origin::Origin;
use axum::http::{HeaderMap, Method, header};
use std::net::IpAddr;
use tidewire_core::wire::Secret;
use tidewire_server_core::AuthError;

/// Longest cookie, in bytes: browsers keep no longer ones (RFC 6265 section 6.1).
const MAX_COOKIE: usize = 4_096;
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Whether a cookie can have this name (RFC 6265 section 4.1.1).
pub(crate) fn is_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}

/// The token in the request's cookie, or why it may not be used; `None` without one. `peer` is the
/// socket's address.
pub(crate) fn credential(
    app: &App,
    peer: IpAddr,
    method: &Method,
    headers: &HeaderMap,
) -> Option<Result<Secret, AuthError>> {
    let found = read(headers, app.config.cookie.as_deref()?)?;
    if is_ours(app.origin_of(peer, headers), method, headers) {
        Some(found)
    } else {
        Some(Err(AuthError::ForeignCookie))
    }
}

/// The error for a cookie that can be no token.
pub(crate) fn malformed() -> AuthError {
    AuthError::Refused("cookie: it has characters that no token has".to_owned())
}

/// The value of the cookie with this name. An empty one is one that was deleted.
fn read(headers: &HeaderMap, name: &str) -> Option<Result<Secret, AuthError>> {
    let refused = |why: &str| Some(Err(AuthError::Refused(format!("cookie: {why}"))));
    let mut found = None;
    for line in headers.get_all(header::COOKIE) {
        let Ok(line) = line.to_str() else { return Some(Err(malformed())) };
        for pair in line.split(';') {
            let Some((key, value)) = pair.trim().split_once('=') else { continue };
            if key.trim_end() != name {
                continue;
            }
            // A page on a neighbouring host can set a second one, and which comes first is chance.
            if found.is_some() {
                return refused("two cookies of its name were sent; delete the one of the parent domain");
            }
            let value = value.trim();
            let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            found = Some(bare.unwrap_or(value));
        }
    }
    match found? {
        "" => None,
        long if long.len() > MAX_COOKIE => refused("it is longer than 4,096 bytes"),
        value if !value.bytes().all(|byte| byte.is_ascii_graphic()) => Some(Err(malformed())),
        value => Some(Ok(Secret(value.to_owned()))),
    }
}

/// Whether the request is of a page that may use the cookie. Without a word from the browser it is
/// no page, or one of an old browser: that may only read.
fn is_ours(origin: Origin, method: &Method, headers: &HeaderMap) -> bool {
    if headers.contains_key(header::ORIGIN) {
        return matches!(origin, Origin::Own | Origin::Listed);
    }
    match headers.get(SEC_FETCH_SITE).map(|site| site.as_bytes()) {
        // `none`: the user's own doing, such as the address bar.
        Some(b"same-origin" | b"none") => true,
        Some(_) => false,
        None => method.is_safe(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn of(lines: &[&str]) -> Option<Result<String, String>> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_str(line).unwrap());
        }
        let found = read(&headers, "session")?;
        Some(found.map(|token| token.0).map_err(|error| error.to_string()))
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let token = |text: &str| Some(Ok(text.to_owned()));
        assert_eq!(of(&["session=a.b.c"]), token("a.b.c"));
        assert_eq!(of(&["x=1; session=a.b.c; y=2"]), token("a.b.c"));
        assert_eq!(of(&["x=1", "session=\"a.b.c\""]), token("a.b.c"));
        assert_eq!(of(&["session=a=="]), token("a=="));
        for none in ["", "x=1", "Session=a", "xsession=a", "session", "session=", "session=\"\""] {
            assert_eq!(of(&[none]), None, "{none}");
        }
    }

    #[test]
    fn one_that_can_be_no_token_is_refused_by_name() {
        let long = format!("session={}", "x".repeat(4_097));
        for (lines, part) in [
            (vec!["session=a; session=b"], "two cookies"),
            (vec!["session=a", "session=a"], "two cookies"),
            (vec!["session=; session=a"], "two cookies"),
            (vec![long.as_str()], "4,096"),
            (vec!["session=a b"], "characters"),
        ] {
            let error = of(&lines).unwrap().unwrap_err();
            assert!(error.contains(part) && !error.contains("xxxx"), "{error}");
        }
        assert_eq!(of(&[&format!("session={}", "x".repeat(4_096))]).unwrap().unwrap().len(), 4_096);
    }

    #[test]
    fn a_page_that_the_browser_does_not_call_ours_may_not_use_it() {
        let check = |origin: Option<&str>, site: Option<&str>, known: Origin, method: &Method| {
            let mut headers = HeaderMap::new();
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
            }
            if let Some(site) = site {
                headers.insert(SEC_FETCH_SITE, HeaderValue::from_str(site).unwrap());
            }
            is_ours(known, method, &headers)
        };
        let page = Some("https://a.example");
        for (known, ours) in [
            (Origin::Own, true),
            (Origin::Listed, true),
            (Origin::Open, false),
            (Origin::Site, false),
            (Origin::Foreign, false),
        ] {
            assert_eq!(check(page, Some("cross-site"), known, &Method::POST), ours, "{known:?}");
            assert_eq!(check(page, None, known, &Method::GET), ours, "{known:?}");
        }
        for (site, get, post) in [
            (Some("same-origin"), true, true),
            (Some("none"), true, true),
            (Some("same-site"), false, false),
            (Some("cross-site"), false, false),
            (Some("anything"), false, false),
            (None, true, false),
        ] {
            assert_eq!(check(None, site, Origin::Own, &Method::GET), get, "{site:?}");
            assert_eq!(check(None, site, Origin::Own, &Method::POST), post, "{site:?}");
        }
    }
}
