//! The token in use, and its renewal while online.

use super::Context;
use crate::io::{Output, TokenAsk, TokenError};
use crate::retry::Retry;
use crate::rng::Rng;
use crate::time::{Now, Time};
use crate::wire::Secret;

/// A token that lasts less than this is renewed: before a dial, or in-band while online.
const SPARE_MS: u64 = 30_000;
/// Pause between requests for a token while the provider has none and the connection is still open.
const AGAIN_MS: u64 = 5_000;
const RETRY: Retry = Retry::new(AGAIN_MS, AGAIN_MS);

/// A token. `expires` is by the wall clock; it is known once a server has accepted the token.
struct Token {
    text: String,
    expires: Option<u64>,
}

/// In-band renewal of the token while online.
enum Renewal {
    None,
    Due { at: Time },
    Asked { ask: TokenAsk, until: Time },
}

pub(super) struct Credential {
    token: Option<Token>,
    renewal: Renewal,
    /// A token was refused as expired since the last welcome: the next refusal backs off, and the
    /// token must be a new one.
    expired_once: bool,
    /// The application asked for a new token, and it has not been requested yet.
    stale: bool,
    last_ask: u64,
    timeout_ms: u64,
    /// Requests carry the credential by themselves, so that no frame does.
    cookie: bool,
}

impl Credential {
    /// No token yet; the application may take `timeout_ms` to provide one.
    pub(super) fn new(timeout_ms: u64, cookie: bool) -> Credential {
        Credential {
            token: None,
            renewal: Renewal::None,
            expired_once: false,
            stale: false,
            last_ask: 0,
            timeout_ms,
            cookie,
        }
    }

    /// The deadline for a token that is requested now.
    pub(super) fn patience(&self, now: Time) -> Time {
        now.after(self.timeout_ms.max(1))
    }

    /// The token for `hello`; none if a cookie is the credential.
    pub(super) fn secret(&self) -> Option<Secret> {
        let token = self.token.as_ref().filter(|_| !self.cookie)?;
        Some(Secret(token.text.clone()))
    }

    /// Stores a new token, which no server has accepted or refused yet.
    pub(super) fn set(&mut self, text: String) {
        self.token = Some(Token { text, expires: None });
    }

    pub(super) fn forget(&mut self) {
        self.token = None;
        self.renewal = Renewal::None;
    }

    /// The token is out of date: it no longer says what this user may do.
    pub(super) fn outdated(&mut self, now: Time, online: bool) {
        self.stale = true;
        if online && !matches!(self.renewal, Renewal::Asked { .. }) {
            self.renewal = Renewal::Due { at: now };
        }
    }

    /// Whether a dial may use the token.
    pub(super) fn is_usable(&self, now: Now) -> bool {
        !self.stale
            && self.token.as_ref().is_some_and(|token| {
                token.expires.is_none_or(|expires| expires > now.wall.saturating_add(SPARE_MS))
            })
    }

    /// Whether the application must provide a new token and not one that it has kept.
    pub(super) fn wants_renewal(&self) -> bool {
        self.token.is_some() || self.expired_once || self.stale
    }

    /// A server refused the token as expired, or although it worked before (the server's keys have
    /// changed). True the first time since the last welcome: a new token may be accepted.
    pub(super) fn refused_first_time(&mut self) -> bool {
        self.token = None;
        !std::mem::replace(&mut self.expired_once, true)
    }

    /// Whether a server accepted the token, and no token was refused since.
    pub(super) fn worked(&self) -> bool {
        !self.expired_once && self.token.as_ref().is_some_and(|token| token.expires.is_some())
    }

    /// Forgets earlier refusals, because the application starts over.
    pub(super) fn forgive(&mut self) {
        self.expired_once = false;
    }

    /// The server accepted the token, which lasts for `ttl_ms`.
    pub(super) fn lasts(&mut self, now: Now, ttl_ms: u64) {
        if let Some(token) = &mut self.token {
            token.expires = Some(now.wall.saturating_add(ttl_ms));
        }
        let spare = SPARE_MS.min(ttl_ms / 2);
        let in_ms = if self.stale { 0 } else { (ttl_ms - spare).max(1_000) };
        self.renewal = Renewal::Due { at: now.mono.after(in_ms) };
    }

    /// The id of the next request; `renew` asks for a token that is not cached.
    pub(super) fn next_ask(&mut self, renew: bool) -> TokenAsk {
        self.stale &= !renew;
        self.last_ask += 1;
        TokenAsk(self.last_ask)
    }

    // Renewal.

    pub(super) fn stop_renewal(&mut self) {
        self.renewal = Renewal::None;
    }

    /// When [`Credential::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Time> {
        match self.renewal {
            Renewal::None => None,
            Renewal::Due { at } | Renewal::Asked { until: at, .. } => Some(at),
        }
    }

    pub(super) fn tick<E>(&mut self, cx: &mut Context<'_, E>) {
        let now = cx.now.mono;
        match self.renewal {
            Renewal::Due { at } if at <= now => {
                let ask = self.next_ask(true);
                cx.out.push_back(Output::FetchToken { ask, renew: true });
                self.renewal = Renewal::Asked { ask, until: self.patience(now) };
            }
            Renewal::Asked { until, .. } if until <= now => self.put_off(now, 0, cx.rng),
            _ => {}
        }
    }

    /// The answer to a renewal: the token to send to the server (none if it is a cookie, which only
    /// another connection carries), or why there is none. `None` if `ask` is no renewal. After an
    /// error that is not terminal the token is requested again.
    pub(super) fn renewed<E>(
        &mut self,
        cx: &mut Context<'_, E>,
        ask: TokenAsk,
        result: Result<String, TokenError>,
    ) -> Option<Result<Option<Secret>, TokenError>> {
        if !self.is_renewal(ask) {
            return None;
        }
        self.renewal = Renewal::None;
        Some(match result {
            Ok(text) => {
                self.set(text);
                Ok(self.secret())
            }
            Err(error) => {
                if !error.terminal {
                    self.put_off(cx.now.mono, error.retry_after_ms.unwrap_or(0), cx.rng);
                }
                Err(error)
            }
        })
    }

    fn is_renewal(&self, ask: TokenAsk) -> bool {
        matches!(self.renewal, Renewal::Asked { ask: current, .. } if current == ask)
    }

    fn put_off(&mut self, now: Time, floor_ms: u64, rng: &mut Rng) {
        self.renewal = Renewal::Due { at: now.after(RETRY.delay(0, floor_ms.max(AGAIN_MS), rng)) };
    }
}
