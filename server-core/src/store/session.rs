//! Sessions: what the application's backend says about signed-in users beyond their tokens.

use super::{Account, key_of};
use std::collections::{BTreeMap, BTreeSet};
use tidewire_core::wire::json::{array, elements, string, unescape};
use tidewire_core::wire::{Profile, User, UserKind};

/// A session. `Debug` leaves its id out, which may be a credential.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// The id that tokens name.
    pub id: String,
    /// The kind of its user.
    pub kind: UserKind,
    /// The id of its user.
    pub user: String,
    /// The user's name, in the place of the token's.
    pub name: Option<String>,
    /// What is shown of the user, in the place of the token's.
    pub profile: Option<Profile>,
    /// The account that it belongs to.
    pub account: Account,
    /// The values of claims, in addition to the token's.
    pub claims: BTreeMap<String, BTreeSet<String>>,
    /// When it was written, ms since the Unix epoch.
    pub since_ms: u64,
    /// When it ends, ms since the Unix epoch.
    pub ends_ms: u64,
}

impl SessionRow {
    /// The user's [`crate::Identity::key`].
    pub fn key(&self) -> String {
        key_of(self.kind, &self.user)
    }

    /// The user as others see them, if no token says more.
    pub(crate) fn user(&self) -> User {
        let name = self.name.clone().unwrap_or_else(|| self.user.clone());
        User { id: self.user.clone(), name, kind: self.kind, profile: self.profile.clone() }
    }

    /// The claims as a JSON text, for a store: arrays of a name and its values.
    pub fn claims_text(&self) -> String {
        let claim = |(name, values): (&String, &BTreeSet<String>)| {
            let texts: Vec<String> = std::iter::once(name).chain(values).map(|text| string(text)).collect();
            array(texts.iter().map(String::as_str))
        };
        let claims: Vec<String> = self.claims.iter().map(claim).collect();
        array(claims.iter().map(String::as_str))
    }

    /// Reads what [`SessionRow::claims_text`] wrote; `None` if it is something else.
    pub fn read_claims(text: &str) -> Option<BTreeMap<String, BTreeSet<String>>> {
        let claim = |raw: &&str| {
            let mut texts = Vec::new();
            for raw in elements(raw).ok()? {
                texts.push(raw.starts_with('"').then(|| unescape(raw).into_owned())?);
            }
            let mut texts = texts.into_iter();
            Some((texts.next()?, texts.collect()))
        };
        elements(text).ok()?.iter().map(claim).collect()
    }
}

impl std::fmt::Debug for SessionRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionRow").field("user", &self.user).field("ends_ms", &self.ends_ms).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_come_back_as_they_were_written() {
        let of = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let claims = BTreeMap::from([
            ("guilds".to_owned(), of(&["7", "a \"b\"", "\u{e9}"])),
            ("roles".to_owned(), of(&[])),
        ]);
        let row = SessionRow {
            id: "s".to_owned(),
            kind: UserKind::User,
            user: "ada".to_owned(),
            name: None,
            profile: None,
            account: Account::Own,
            claims: claims.clone(),
            since_ms: 1,
            ends_ms: 2,
        };
        assert_eq!(SessionRow::read_claims(&row.claims_text()), Some(claims));
        assert_eq!(SessionRow::read_claims("[]"), Some(BTreeMap::new()));
        for bad in ["", "{}", "[[]]", "[[1]]", "[\"a\"]", "[[\"a\"]"] {
            assert_eq!(SessionRow::read_claims(bad), None, "{bad}");
        }
        assert!(!format!("{row:?}").contains("\"s\""));
    }
}
