//! Verifies tokens (protocol section 7).

use crate::clock;
use crate::config::{Config, ConfigError, KeyMaterial};
use crate::guest;
use crate::names::{self, NOBODY, Reserved};
use crate::session;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use parking_lot::RwLock;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use tidewire_core::wire::{User, UserKind};
use tidewire_server_core::access::{Scope, SiteGuest, Verified};
use tidewire_server_core::store::{Account, Site};
use tidewire_server_core::{AuthError, Identity, LEEWAY_S, Now, Verify};

/// Shortest HS256 secret (RFC 7518 section 3.2), in bytes.
const MIN_SECRET: usize = 32;
/// Longest `name` that is shown, in characters.
const MAX_NAME: usize = 64;

fn refused<T>(check: impl Into<String>) -> Result<T, AuthError> {
    Err(AuthError::Refused(check.into()))
}

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    decoding: DecodingKey,
    issuer: String,
    /// This key is valid for guests only, and no other key is valid for the server's guests.
    guests: bool,
}

/// The keys and names that tokens are checked against.
pub(crate) struct Auth {
    keys: Vec<Key>,
    audience: String,
    operator_audience: String,
    service_audience: String,
    issuer: String,
    guest_signer: EncodingKey,
    /// Signs tokens as the application's backend would, for the demo.
    application_signer: Option<(Option<String>, EncodingKey)>,
    /// The name of the server's own account.
    account: String,
    /// The claim that names a session.
    session_claim: Option<String>,
    /// The claims that identities keep.
    named: RwLock<BTreeSet<String>>,
    /// Names that guests may not have.
    reserved: Reserved,
}

impl Auth {
    /// Checks the configured keys. `guest_key` is the server's own; `named` are the claims that
    /// identities keep, because permissions of tables or rules of channels name them.
    pub(crate) fn new(
        config: &Config,
        guest_key: &[u8],
        named: BTreeSet<String>,
    ) -> Result<Auth, ConfigError> {
        if config.audience == config.operator_audience {
            return Err(ConfigError::Value {
                name: "operator-audience",
                reason: "must differ from the users' audience".to_owned(),
            });
        }
        if [&config.audience, &config.operator_audience].contains(&&config.service_audience) {
            return Err(ConfigError::Value {
                name: "service-audience",
                reason: "must differ from the users' and the operators' audience".to_owned(),
            });
        }
        if config.issuer == guest::ISSUER {
            return Err(ConfigError::Value {
                name: "issuer",
                reason: format!("must not be `{}`, which names the server itself", guest::ISSUER),
            });
        }
        let mut keys = vec![Key {
            id: Some(guest::KEY_ID.to_owned()),
            algorithm: Algorithm::HS256,
            decoding: DecodingKey::from_secret(guest_key),
            issuer: guest::ISSUER.to_owned(),
            guests: true,
        }];
        let mut application_signer = None;
        for key in &config.keys {
            let (algorithm, decoding) = match &key.material {
                KeyMaterial::Hs256(secret) => {
                    if secret.len() < MIN_SECRET {
                        return Err(ConfigError::WeakSecret);
                    }
                    application_signer
                        .get_or_insert_with(|| (key.id.clone(), EncodingKey::from_secret(secret.as_bytes())));
                    (Algorithm::HS256, DecodingKey::from_secret(secret.as_bytes()))
                }
                KeyMaterial::EdDsa(pem) => {
                    let decoding =
                        DecodingKey::from_ed_pem(pem.as_bytes()).map_err(|_| ConfigError::Value {
                            name: "keys.public_key",
                            reason: "must be an Ed25519 public key in PEM form".to_owned(),
                        })?;
                    (Algorithm::EdDSA, decoding)
                }
            };
            keys.push(Key {
                id: key.id.clone(),
                algorithm,
                decoding,
                issuer: config.issuer.clone(),
                guests: false,
            });
        }
        Ok(Auth {
            keys,
            audience: config.audience.clone(),
            operator_audience: config.operator_audience.clone(),
            service_audience: config.service_audience.clone(),
            issuer: config.issuer.clone(),
            guest_signer: EncodingKey::from_secret(guest_key),
            application_signer,
            account: config.account.clone(),
            session_claim: config.session_claim.clone(),
            named: RwLock::new(named),
            reserved: Reserved::new(&config.reserved_names),
        })
    }

    /// Whether guests may not have this name.
    pub(crate) fn is_reserved(&self, name: &str) -> bool {
        self.reserved.has(name)
    }

    /// Checks a token of a connection or a request.
    pub(crate) fn verify_at(&self, token: &str, now_s: u64) -> Result<Identity, AuthError> {
        let (claims, guests) = self.signed_claims(token)?;
        self.check(&claims, guests, LEEWAY_S, now_s)
    }

    /// Checks a token, or what is no token and names a session alone.
    fn check_credential(&self, credential: &str, now_s: u64) -> Result<Verified, AuthError> {
        if let Some(id) = session::of_secret(credential) {
            return Ok(Verified { token: None, session: Some(id) });
        }
        let (claims, guests) = self.signed_claims(credential)?;
        let token = self.check(&claims, guests, LEEWAY_S, now_s)?;
        // A service has no session, whatever its issuer puts into all tokens.
        let has_session = !guests && token.user.kind != UserKind::Service;
        let named = self.session_claim.as_ref().filter(|_| has_session).and_then(|name| claims.get(name));
        let session = match named.filter(|id| !id.is_null()).map(|id| id.as_str().unwrap_or_default()) {
            // The name of a session whose id is a secret is no secret.
            Some(id) if session::is_name(id) && !session::is_of_secret(id) => Some(id.to_owned()),
            Some(_) => return refused("session: its id must be a string of 1 to 128 characters"),
            None => None,
        };
        Ok(Verified { token: Some(token), session })
    }

    /// The guest of an earlier token, which may have expired, with a new nickname if one is given.
    pub(crate) fn renewed_guest(&self, token: &str, nickname: Option<String>) -> Result<Identity, AuthError> {
        let mut identity = self.verify_guest(token, guest::RENEWABLE_S)?;
        if let Some(nickname) = nickname {
            identity.user.name = nickname;
        }
        Ok(identity)
    }

    /// Checks a guest's token for a renewal; it may have expired up to `late_s` ago.
    fn verify_guest(&self, token: &str, late_s: u64) -> Result<Identity, AuthError> {
        match self.signed_claims(token)? {
            (claims, true) => self.check(&claims, true, late_s, clock::now_s()),
            (_, false) => refused("issuer: only a guest's token of this server can be renewed"),
        }
    }

    /// The claims, after the signature was verified, and whether the key is the guests'.
    fn signed_claims(&self, token: &str) -> Result<(Map<String, Value>, bool), AuthError> {
        let header = jsonwebtoken::decode_header(token).or_else(|error| {
            use jsonwebtoken::errors::ErrorKind;
            match error.kind() {
                // A header that can be read but names `none` or another unknown algorithm.
                ErrorKind::Json(_) | ErrorKind::InvalidAlgorithmName | ErrorKind::MissingAlgorithm => {
                    refused("algorithm: only HS256 and EdDSA are accepted")
                }
                _ => refused("form: it is not a JWT"),
            }
        })?;
        if !matches!(header.alg, Algorithm::HS256 | Algorithm::EdDSA) {
            return refused("algorithm: only HS256 and EdDSA are accepted");
        }
        let named = |key: &&Key| header.kid.is_some() && key.id == header.kid;
        if is_critical(token) {
            return refused("header: `crit` names extensions that this server does not know");
        }
        let mut candidates: Vec<&Key> = self.keys.iter().filter(named).collect();
        if candidates.is_empty() {
            // Without a `kid`, or with an unknown one, any key of the algorithm is tried.
            candidates = self.keys.iter().collect();
        }
        candidates.retain(|key| key.algorithm == header.alg);
        if candidates.is_empty() {
            return refused("algorithm: no key of this server serves it");
        }
        for key in candidates {
            let mut validation = Validation::new(key.algorithm);
            // Only the signature is verified here; the claims are checked below, with messages of
            // their own.
            validation.required_spec_claims.clear();
            validation.validate_exp = false;
            validation.validate_aud = false;
            if let Ok(data) = jsonwebtoken::decode::<Map<String, Value>>(token, &key.decoding, &validation) {
                return match data.claims.get("iss").and_then(Value::as_str) {
                    Some(issuer) if issuer == key.issuer => Ok((data.claims, key.guests)),
                    Some(_) => refused("issuer: `iss` is not the expected one"),
                    None => refused("missing claim: `iss`"),
                };
            }
        }
        refused("signature: no key of this server made it")
    }

    fn check(
        &self,
        claims: &Map<String, Value>,
        guests: bool,
        leeway_s: u64,
        now: u64,
    ) -> Result<Identity, AuthError> {
        let expires_s = match claims.get("exp") {
            None => return refused("missing claim: `exp`"),
            Some(exp) => numeric_date(exp, "exp")?,
        };
        if let Some(nbf) = claims.get("nbf")
            && numeric_date(nbf, "nbf")? > now + LEEWAY_S
        {
            return refused("not before: `nbf` lies in the future");
        }
        let issued_s = claims.get("iat").map(|iat| numeric_date(iat, "iat")).transpose()?;
        // A revocation compares with this time, so a token from the future would escape it.
        if issued_s.is_some_and(|issued| issued > now + LEEWAY_S) {
            return refused("issued at: `iat` lies in the future");
        }
        let kind = match claims.get("kind").map(|kind| kind.as_str().unwrap_or_default()) {
            None if guests => UserKind::Guest,
            None | Some("user") => UserKind::User,
            Some("guest") => UserKind::Guest,
            Some("operator") => UserKind::Operator,
            Some("service") => UserKind::Service,
            Some(_) => return refused("kind: `kind` must be user, guest, operator or service"),
        };
        if guests && kind != UserKind::Guest {
            return refused("kind: the guests' key signs guests only");
        }
        self.check_audience(claims, kind)?;
        let id = match claims.get("sub").map(|sub| sub.as_str().unwrap_or_default()) {
            Some(sub) if (1..=128).contains(&sub.len()) => sub.to_owned(),
            Some(_) => return refused("subject: `sub` must be a string of 1 to 128 bytes"),
            None => return refused("missing claim: `sub`"),
        };
        if kind == UserKind::Guest && !guests && id.starts_with(guest::ID_PREFIX) {
            return refused("subject: only this server names guests with `guest:` at the beginning of `sub`");
        }
        if claims.get("dialogs").is_some_and(|dialogs| !dialogs.is_array()) {
            return refused("dialogs: `dialogs` must be an array of ids");
        }
        let roles = match claims.get("roles") {
            None => BTreeSet::new(),
            Some(Value::Array(roles)) => roles.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(_) => return refused("roles: `roles` must be an array of names"),
        };
        let named = claims.get("account").filter(|account| !account.is_null());
        let account = match named.map(|account| account.as_str().unwrap_or_default()) {
            // They see the dialogs of others, so their token must say whose.
            None => (!matches!(kind, UserKind::Operator | UserKind::Service)).then_some(Account::Own),
            Some(name) if name == self.account => Some(Account::Own),
            Some(name) if (1..=128).contains(&name.len()) => Some(Account::Named(name.to_owned())),
            Some(_) => return refused("account: `account` must be a string of 1 to 128 bytes"),
        };
        let scopes = match claims.get("scopes") {
            None => BTreeSet::new(),
            Some(_) if kind != UserKind::Service => {
                return refused("scopes: only a service's token has `scopes`");
            }
            Some(Value::Array(words)) => {
                let scopes = words.iter().map(|word| Scope::parse(word.as_str().unwrap_or_default()));
                match scopes.collect::<Option<_>>() {
                    Some(scopes) => scopes,
                    None => {
                        return refused(
                            "scopes: `scopes` may have read, publish, dialogs, members, revoke, sessions and sites",
                        );
                    }
                }
            }
            Some(_) => return refused("scopes: `scopes` must be an array of words"),
        };
        // OpenID Connect has a `profile` too, which is the address of a page.
        let profile = match claims.get("profile") {
            Some(Value::Object(attributes)) => {
                session::shown(attributes).map_err(|why| AuthError::Refused(format!("profile: {why}")))?
            }
            _ => None,
        };
        // Only this server's guests are guests of a site.
        let site = claims.get("site").filter(|_| guests).and_then(Value::as_str);
        let site = site.map(|site| SiteGuest { site: site.to_owned(), page: None });
        // Checked last, so that a token that is invalid for another reason is never sent for a
        // renewal.
        if expires_s.saturating_add(leeway_s) <= now {
            return Err(AuthError::Expired { at: expires_s });
        }
        let name = claims.get("name").and_then(Value::as_str).map(shown_name).filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| id.clone());
        // The token may be older than the reservation of the name.
        let name = if guests && self.is_reserved(&name) { NOBODY.to_owned() } else { name };
        let user = User { id, name, kind, profile };
        Ok(Identity {
            user,
            account,
            scopes,
            roles,
            claims: self.named_claims(claims),
            issued_s,
            expires_s,
            session: None,
            site,
        })
    }

    /// From now on identities keep these claims.
    pub(crate) fn set_named(&self, named: BTreeSet<String>) {
        *self.named.write() = named;
    }

    /// The claims that permissions of tables and rules of channels name, as texts. Only values and
    /// lists of values are kept.
    fn named_claims(&self, claims: &Map<String, Value>) -> BTreeMap<String, Vec<String>> {
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
            _ => None,
        };
        let named = self.named.read();
        let named = named.iter().filter_map(|name| {
            let values: Option<Vec<String>> = match claims.get(name)? {
                Value::Array(values) => values.iter().map(text).collect(),
                value => text(value).map(|text| vec![text]),
            };
            Some((name.clone(), values?))
        });
        named.collect()
    }

    fn check_audience(&self, claims: &Map<String, Value>, kind: UserKind) -> Result<(), AuthError> {
        let audiences: Vec<&str> = match claims.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            Some(_) => return refused("audience: `aud` must be a string or an array of strings"),
            None => return refused("missing claim: `aud`"),
        };
        let expected = self.audience_of(kind);
        if !audiences.contains(&expected) {
            return refused(format!("audience: `aud` is not the one for kind {}", kind.as_str()));
        }
        // A token that is good for two kinds could be used as the other one.
        let all = [UserKind::User, UserKind::Operator, UserKind::Service].map(|kind| self.audience_of(kind));
        if all.into_iter().any(|other| other != expected && audiences.contains(&other)) {
            return refused("audience: `aud` names the audiences of two kinds");
        }
        Ok(())
    }

    /// The `aud` of a kind's tokens.
    fn audience_of(&self, kind: UserKind) -> &str {
        match kind {
            UserKind::Operator => &self.operator_audience,
            UserKind::Service => &self.service_audience,
            _ => &self.audience,
        }
    }

    /// A token for a guest, of a site or of the server itself, signed with this server's key.
    pub(crate) fn sign_guest(&self, user: &User, site: Option<&Site>, expires_s: u64) -> Option<String> {
        let mut claims = self.claims(user, guest::ISSUER, expires_s);
        if let Some(site) = site {
            claims["site"] = site.key.as_str().into();
            claims["assistant"] = site.assistant.as_deref().into();
            if let Account::Named(name) = &site.account {
                claims["account"] = name.as_str().into();
            }
        }
        sign(Some(guest::KEY_ID.to_owned()), &claims, &self.guest_signer)
    }

    /// A token as the application's backend would sign it; `None` without an HS256 key.
    pub(crate) fn sign_application(&self, user: &User, expires_s: u64) -> Option<String> {
        let (id, signer) = self.application_signer.as_ref()?;
        sign(id.clone(), &self.claims(user, &self.issuer, expires_s), signer)
    }

    fn claims(&self, user: &User, issuer: &str, expires_s: u64) -> Value {
        let audience = self.audience_of(user.kind);
        // Others are of the server's own account by default, whatever it will be called.
        let account = matches!(user.kind, UserKind::Operator | UserKind::Service).then_some(&self.account);
        serde_json::json!({
            "account": account,
            "sub": user.id,
            "name": user.name,
            "kind": user.kind.as_str(),
            "iss": issuer,
            "aud": audience,
            "iat": clock::now_s(),
            "exp": expires_s,
        })
    }
}

impl Verify for Auth {
    fn verify(&self, token: &str, now: Now) -> Result<Identity, AuthError> {
        self.verify_at(token, now.wall / 1000)
    }

    fn check(&self, credential: &str, now: Now) -> Result<Verified, AuthError> {
        self.check_credential(credential, now.wall / 1000)
    }
}

fn sign(id: Option<String>, claims: &Value, key: &EncodingKey) -> Option<String> {
    let header = Header { kid: id, ..Header::new(Algorithm::HS256) };
    jsonwebtoken::encode(&header, claims, key).ok()
}

/// Whether the header has a `crit` (RFC 7515 section 4.1.11): no extension is supported.
fn is_critical(token: &str) -> bool {
    let header = token.split('.').next().unwrap_or_default();
    let header = URL_SAFE_NO_PAD.decode(header).ok();
    let header = header.and_then(|json| serde_json::from_slice::<Map<String, Value>>(&json).ok());
    header.is_none_or(|header| header.contains_key("crit"))
}

/// A NumericDate (RFC 7519 section 2): a number, never a string of digits.
fn numeric_date(value: &Value, claim: &str) -> Result<u64, AuthError> {
    let seconds = value.as_u64().or_else(|| {
        let float = value.as_f64()?;
        (float.is_finite() && (0.0..9.0e15).contains(&float)).then_some(float as u64)
    });
    match seconds {
        Some(seconds) => Ok(seconds),
        None => refused(format!("claim form: `{claim}` must be a number of seconds")),
    }
}

fn shown_name(name: &str) -> String {
    name.trim().chars().filter(|c| !names::is_hidden(*c)).take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_core::wire::codes;

    fn auth() -> Auth {
        Auth::new(&Config::default(), b"the guests' key of these tests, 32 b", BTreeSet::new()).unwrap()
    }

    fn guest_token(auth: &Auth, expires_s: u64) -> String {
        let user =
            User { id: "guest:1".to_owned(), name: "Ada".to_owned(), kind: UserKind::Guest, profile: None };
        auth.sign_guest(&user, None, expires_s).unwrap()
    }

    #[test]
    fn an_expired_guest_is_renewed_for_thirty_days() {
        let (auth, day, now) = (auth(), 24 * 3600, clock::now_s());
        let recent = guest_token(&auth, now - 29 * day);
        assert_eq!(auth.verify_at(&recent, clock::now_s()).unwrap_err().code(), codes::TOKEN_EXPIRED);
        assert_eq!(auth.renewed_guest(&recent, None).unwrap().user.id, "guest:1");
        let old = guest_token(&auth, now - 31 * day);
        assert_eq!(auth.renewed_guest(&old, None).unwrap_err().code(), codes::TOKEN_EXPIRED);
    }

    #[test]
    fn the_guests_key_signs_nothing_but_guests() {
        let auth = auth();
        let expires = clock::now_s() + 60;
        let user =
            User { id: "root".to_owned(), name: "Root".to_owned(), kind: UserKind::Operator, profile: None };
        let forged = auth.sign_guest(&user, None, expires).unwrap();
        assert_eq!(auth.verify_at(&forged, clock::now_s()).unwrap_err().code(), codes::UNAUTHORIZED);
    }

    #[test]
    fn another_servers_guests_are_strangers() {
        let other =
            Auth::new(&Config::default(), b"another guests' key, also of 32 bytes", BTreeSet::new()).unwrap();
        let token = guest_token(&other, clock::now_s() + 60);
        assert!(auth().verify_at(&token, clock::now_s()).unwrap_err().to_string().contains("signature"));
    }
}
