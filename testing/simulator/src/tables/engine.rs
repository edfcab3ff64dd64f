//! The server's engine, with one table.

use crate::tables::database::Database;
use crate::tables::filters::ACCESS;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::Now;
use tidewire_core::wire::{User, UserKind};
use tidewire_server_core::access::Access;
use tidewire_server_core::dialog::ops::Kinds;
use tidewire_server_core::rules::Rules;
use tidewire_server_core::store::{Account, Done, Got, Read, Store, Write};
use tidewire_server_core::tables::{TableConfig, TableLimits, Tables};
use tidewire_server_core::{
    AuthError, Connections, Engine, Hub, Identity, Limiter, ServerLimits, Timeouts, Verify,
};

/// A token is `user|claim`.
struct Tokens;

impl Verify for Tokens {
    fn verify(&self, token: &str, now: Now) -> Result<Identity, AuthError> {
        let (id, claim) = token.split_once('|').unwrap_or((token, "*"));
        let kind = if claim == "*" { UserKind::Operator } else { UserKind::User };
        Ok(Identity {
            user: User { id: id.to_owned(), name: id.to_owned(), kind, profile: None },
            account: Some(Account::Own),
            scopes: Default::default(),
            roles: Default::default(),
            claims: BTreeMap::from([("org".to_owned(), vec![claim.to_owned()])]),
            issued_s: Some(now.wall / 1000),
            expires_s: now.wall / 1000 + 864_000,
            session: None,
            site: None,
        })
    }
}

/// A store for a server whose dialogs are not used.
struct NoLog;

impl Store for NoLog {
    fn write(&self, _: Write, _: Done) {}
    fn read(&self, _: Read, _: Got) {}
}

/// An engine that has just started.
pub(super) fn engine(limits: &TableLimits) -> Arc<Engine> {
    let config = TableConfig {
        name: "rules".to_owned(),
        schema: Database::schema(),
        access: vec![(UserKind::User, ACCESS.to_owned()), (UserKind::Operator, "*".to_owned())],
    };
    let tables = Tables::new(vec![config], limits.clone(), Arc::new(|_| ()))
        .unwrap_or_else(|error| unreachable!("the table is right: {error}"));
    let limits = ServerLimits { queue_bytes: 65_536, queue_messages: 40, ..ServerLimits::default() };
    Arc::new(Engine {
        limits,
        timeouts: Timeouts::default(),
        handshakes: None,
        epoch: "log".into(),
        auth: Arc::new(Tokens),
        store: Arc::new(NoLog),
        kinds: Kinds::standard(),
        hub: Arc::new(Hub::new(Rules::of_dialogs())),
        limiter: Limiter::default(),
        connections: Connections::new(100, 100, None, Box::new(|| ())),
        access: Access::default(),
        answers: None,
        tables: Some(Arc::new(tables)),
        metrics: Arc::default(),
    })
}
