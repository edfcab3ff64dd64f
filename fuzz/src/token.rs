//! The check of tokens: it never panics, and a second implementation of the protocol accepts every
//! token that it accepts.

use crate::Bytes;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::Value;
use std::sync::OnceLock;
use tidewire_core::wire::UserKind;
use tidewire_server::config::{Config, KeyConfig, KeyMaterial};
use tidewire_server_core::{AuthError, Identity, LEEWAY_S};

const SECRET: &str = "the application's key of the fuzz target";
const GUESTS: &[u8] = b"the guests' key of the fuzz target";
/// The time of the check, in seconds since the Unix epoch.
const NOW_S: u64 = 1_795_228_800;

type Check = Box<dyn Fn(&str, u64) -> Result<Identity, AuthError> + Send + Sync>;

/// The first byte chooses the signature of what follows: none (the input is a whole token), that of
/// the application, or that of the server for its guests.
pub(crate) fn token(data: &[u8]) {
    let mut bytes = Bytes(data);
    let token = match bytes.byte() % 3 {
        0 => match std::str::from_utf8(bytes.0) {
            Ok(text) => text.to_owned(),
            Err(_) => return,
        },
        1 => signed(&mut bytes, SECRET.as_bytes()),
        _ => signed(&mut bytes, GUESTS),
    };
    if let Ok(identity) = check(&token) {
        believe(&token, &identity);
    }
}

fn check(token: &str) -> Result<Identity, AuthError> {
    static CHECK: OnceLock<Check> = OnceLock::new();
    let check = CHECK.get_or_init(|| {
        let key = KeyConfig { id: Some("app".to_owned()), material: KeyMaterial::Hs256(SECRET.to_owned()) };
        let mut config = Config::default();
        config.keys = vec![key];
        Box::new(tidewire_server::token_check(&config, GUESTS).expect("a good configuration"))
    });
    check(token, NOW_S)
}

/// A token with arbitrary header and claims, and a valid signature.
fn signed(bytes: &mut Bytes<'_>, key: &[u8]) -> String {
    let header = base64(bytes.some());
    let message = format!("{header}.{}", base64(bytes.0));
    format!("{message}.{}", signature(&message, key))
}

fn signature(message: &str, key: &[u8]) -> String {
    let key = EncodingKey::from_secret(key);
    jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("HS256 signs everything")
}

/// Checks an accepted token by section 7 of the protocol, independently of the server's code.
fn believe(token: &str, identity: &Identity) {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature_of_it] = parts[..] else { panic!("three parts") };
    let message = format!("{header}.{claims}");
    let by_application = signature(&message, SECRET.as_bytes()) == signature_of_it;
    let by_server = signature(&message, GUESTS) == signature_of_it;
    assert!(by_application || by_server, "nobody signed it");
    let read = |part| serde_json::from_slice::<Value>(&unbase64(part)).expect("JSON");
    assert_eq!(read(header)["alg"], "HS256");
    let claims = read(claims);
    let seconds = |name: &str| claims[name].as_f64();
    assert!(seconds("exp").expect("exp") + LEEWAY_S as f64 > NOW_S as f64, "it expired");
    assert!(seconds("nbf").is_none_or(|nbf| nbf < (NOW_S + LEEWAY_S + 1) as f64), "not yet");
    assert!((1..=128).contains(&identity.user.id.len()));
    assert_eq!(claims["sub"], identity.user.id);
    let named = |audience: &str| match &claims["aud"] {
        Value::String(one) => one == audience,
        Value::Array(many) => many.iter().any(|one| one == audience),
        _ => false,
    };
    let operator = identity.user.kind == UserKind::Operator;
    assert_eq!((named("tidewire-operator"), named("tidewire")), (operator, !operator));
    assert_eq!(claims["iss"] == "tidewire", by_application);
    if by_server {
        assert_eq!(identity.user.kind, UserKind::Guest);
    }
    assert!(identity.user.name.chars().count() <= 128 && !identity.user.name.is_empty());
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// base64url without padding (RFC 4648 section 5).
fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let number = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for digit in 0..=chunk.len() {
            text.push(char::from(DIGITS[(number >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    text
}

fn unbase64(text: &str) -> Vec<u8> {
    let (mut bytes, mut number, mut bits) = (Vec::new(), 0_u32, 0);
    for digit in text.bytes() {
        let value = DIGITS.iter().position(|other| *other == digit).expect("base64url");
        (number, bits) = (number << 6 | value as u32, bits + 6);
        if bits >= 8 {
            bits -= 8;
            bytes.push((number >> bits) as u8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> String {
        let header = r#"{"alg":"HS256","kid":"app"}"#;
        let claims = format!(r#"{{"sub":"ada","exp":{},"iss":"tidewire","aud":"tidewire"}}"#, NOW_S + 60);
        let mut data = (header.len() as u16).to_be_bytes().to_vec();
        data.extend(header.as_bytes());
        data.extend(claims.as_bytes());
        signed(&mut Bytes(&data), SECRET.as_bytes())
    }

    #[test]
    fn base64_is_its_own_inverse() {
        for length in 0..10 {
            let bytes: Vec<u8> = (250..250_u8.wrapping_add(length)).collect();
            assert_eq!(unbase64(&base64(&bytes)), bytes);
        }
        assert_eq!(base64(b"{\"a\":1}"), "eyJhIjoxfQ");
    }

    #[test]
    fn a_good_token_is_let_in_and_believed() {
        believe(&good(), &check(&good()).expect("it is good"));
    }

    #[test]
    #[should_panic(expected = "nobody signed it")]
    fn a_token_that_should_not_have_been_let_in_is_noticed() {
        believe("e30.e30.AAAA", &check(&good()).expect("it is good"));
    }
}
