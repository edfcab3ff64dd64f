//! The sessions of the store that connections use. All connections of a session share what it says,
//! so a change holds for them at once.

use super::held::Held;
use super::identity::{AuthError, Identity, Verified};
use crate::lock::Mutex;
use crate::store::{Read, SessionRow};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use tidewire_core::Now;

/// Dead entries are looked for at this many entries for the first time.
const SWEEP: usize = 64;

/// The sessions in use, by their ids.
#[derive(Default)]
pub struct Sessions {
    held: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_id: BTreeMap<String, Weak<Held>>,
    /// At how many entries dead ones are looked for.
    sweep: usize,
}

impl Sessions {
    /// The session with this id, which may have to be read first.
    fn hold(&self, id: String) -> Arc<Held> {
        let mut entries = self.held.lock();
        if let Some(held) = entries.by_id.get(&id).and_then(Weak::upgrade) {
            return held;
        }
        if entries.by_id.len() >= entries.sweep.max(SWEEP) {
            entries.by_id.retain(|_, held| held.strong_count() > 0);
            entries.sweep = entries.by_id.len() * 2;
        }
        let held = Arc::new(Held::new(id.clone()));
        entries.by_id.insert(id, Arc::downgrade(&held));
        held
    }

    /// What a credential says, with its session. An error says that it is not valid.
    pub(crate) fn begin(&self, verified: Verified) -> Result<Pending, AuthError> {
        match verified {
            Verified { token, session: Some(id) } => Ok(Pending { token, held: Some(self.hold(id)) }),
            Verified { token: Some(token), session: None } => Ok(Pending { token: Some(token), held: None }),
            Verified { token: None, session: None } => Err(AuthError::none()),
        }
    }

    /// The session was written. Before this returns, it holds for all connections that use it.
    pub(crate) fn put(&self, row: SessionRow) {
        if let Some(held) = self.known(&row.id) {
            held.put(row);
        }
    }

    /// The session was deleted; returns what it was.
    pub(crate) fn end(&self, id: &str) -> Option<Arc<SessionRow>> {
        self.known(id)?.end()
    }

    /// What a session in use is now.
    pub(crate) fn row(&self, id: &str) -> Option<Arc<SessionRow>> {
        self.known(id)?.row()
    }

    fn known(&self, id: &str) -> Option<Arc<Held>> {
        self.held.lock().by_id.get(id).and_then(Weak::upgrade)
    }
}

/// A credential whose session may have to be read.
pub struct Pending {
    token: Option<Identity>,
    held: Option<Arc<Held>>,
}

impl Pending {
    /// What has to be read from the store first.
    pub(crate) fn read(&self) -> Option<Read> {
        self.held.as_ref().filter(|held| held.is_unread()).map(|held| Read::Session(held.id().to_owned()))
    }

    /// Notes what was read.
    pub(crate) fn loaded(&self, found: Option<SessionRow>) {
        if let Some(held) = &self.held {
            held.loaded(found);
        }
    }

    /// The user, with what the session says.
    ///
    /// # Errors
    ///
    /// There is no such session, it is over, or it is somebody else's.
    pub(crate) fn identity(self, now: Now) -> Result<Identity, AuthError> {
        let (token, held) = match (self.token, self.held) {
            (Some(token), None) => return Ok(token),
            (_, None) => return Err(AuthError::none()),
            (token, Some(held)) => (token, held),
        };
        let row = held.row().ok_or_else(AuthError::session_over)?;
        if row.ends_ms <= now.wall {
            return Err(AuthError::Expired { at: row.ends_ms / 1000 });
        }
        let Some(token) = token else {
            return Ok(Identity {
                user: row.user(),
                account: Some(row.account.clone()),
                scopes: Default::default(),
                roles: Default::default(),
                claims: Default::default(),
                issued_s: Some(row.since_ms / 1000),
                expires_s: u64::MAX,
                session: Some(held),
                site: None,
            });
        };
        if token.key() != row.key() || token.account.as_ref() != Some(&row.account) {
            return Err(AuthError::Refused("session: it is another user's".to_owned()));
        }
        Ok(Identity { session: Some(held), ..token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Account;
    use std::collections::BTreeSet;
    use tidewire_core::Time;
    use tidewire_core::wire::UserKind;

    const NOW: Now = Now { mono: Time(0), wall: 5_000 };

    fn row(guilds: &[&str], ends_ms: u64) -> SessionRow {
        let guilds: BTreeSet<String> = guilds.iter().map(|id| (*id).to_owned()).collect();
        SessionRow {
            id: "s".to_owned(),
            kind: UserKind::User,
            user: "ada".to_owned(),
            name: None,
            profile: None,
            account: Account::Own,
            claims: BTreeMap::from([("guilds".to_owned(), guilds)]),
            since_ms: 4_000,
            ends_ms,
        }
    }

    fn pending(sessions: &Sessions) -> Pending {
        sessions.begin(Verified { token: None, session: Some("s".to_owned()) }).unwrap()
    }

    #[test]
    fn a_change_holds_for_all_who_use_it_and_counts_more_than_what_was_read() {
        let sessions = Sessions::default();
        let (first, second) = (pending(&sessions), pending(&sessions));
        assert!(first.read().is_some() && second.read().is_some());
        sessions.put(row(&["7"], 9_000));
        first.loaded(Some(row(&["1"], 9_000)));
        assert!(second.read().is_none(), "known by now");
        let (first, second) = (first.identity(NOW).unwrap(), second.identity(NOW).unwrap());
        assert!(first.lists("guilds", "7") && !first.lists("guilds", "1"));
        sessions.put(row(&["8"], 9_000));
        assert!(second.lists("guilds", "8") && !second.lists("guilds", "7"));
        assert_eq!(sessions.end("s").map(|row| row.key()), Some("user:ada".to_owned()));
        assert!(!second.lists("guilds", "8") && second.values("guilds").is_none());
        assert!(pending(&sessions).identity(NOW).is_err(), "ended");
    }

    #[test]
    fn one_that_ended_while_it_was_read_does_not_come_back() {
        let sessions = Sessions::default();
        let pending = pending(&sessions);
        assert!(sessions.end("s").is_none());
        pending.loaded(Some(row(&["7"], 9_000)));
        assert!(pending.identity(NOW).is_err());
    }

    #[test]
    fn one_that_is_over_asks_for_another() {
        let sessions = Sessions::default();
        let pending = pending(&sessions);
        pending.loaded(Some(row(&[], 5_000)));
        assert_eq!(pending.identity(NOW).unwrap_err(), AuthError::Expired { at: 5 });
    }

    #[test]
    fn sessions_that_nobody_uses_take_no_room() {
        let sessions = Sessions::default();
        for id in 0..1_000 {
            drop(sessions.hold(id.to_string()));
        }
        assert!(sessions.held.lock().by_id.len() <= SWEEP);
    }
}
