//! What the registry says about connections, and the closing of some of them (protocol section 7).

use super::pulse::Pulse;
use super::{Connections, Member};
use crate::access::Identity;
use crate::outgoing::{Outgoing, Transport};
use crate::store::Account;
use std::ops::Bound;
use std::sync::Arc;
use tidewire_core::Now;
use tidewire_core::wire::codes::{self, close};
use tidewire_core::wire::{ChannelName, Problem, RunId, ServerFrame, User};

/// Most connections in one page.
pub const MAX_LISTED: usize = 1_000;

/// Which connections of an account are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionFilter {
    /// Those of this user ([`Identity::key`]).
    pub user: Option<String>,
    /// Those that are subscribed to this channel.
    pub channel: Option<ChannelName>,
    /// Those that were made after the one with this id.
    pub after: u64,
    /// At most this many, and at most [`MAX_LISTED`].
    pub most: usize,
}

/// A connection whose user is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Its id; later connections have greater ones.
    pub id: u64,
    /// Its user.
    pub user: User,
    /// How its frames travel.
    pub transport: Transport,
    /// The channels that it is subscribed to.
    pub channels: Vec<ChannelName>,
    /// The answers under way in these channels.
    pub runs: Vec<RunId>,
    /// When it was made, in ms since the Unix epoch.
    pub created_ms: u64,
    /// When the last byte came.
    pub heard_ms: u64,
    /// When its user last did something ([`crate::Timeouts::idle`]).
    pub active_ms: u64,
    /// Bytes that wait to be written.
    pub waiting_bytes: usize,
}

/// Whose connections are closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// The one with this id.
    One(u64),
    /// Those of this user ([`Identity::key`]).
    User(String),
    /// All of the account.
    Account,
}

/// The connections at one time, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionFigures {
    /// How many there are of each transport, in the order of [`Transport::ALL`].
    pub by_transport: [u64; Transport::ALL.len()],
    /// How many have no user yet, because their `hello` has not come.
    pub unknown: u64,
    /// Bytes that wait to be written, of all connections.
    pub waiting_bytes: u64,
    /// Bytes that wait for the connection with the most of them.
    pub most_waiting_bytes: u64,
    /// Connections for which more than half of the allowed bytes wait.
    pub slow: u64,
}

impl Connections {
    /// Lists connections of an account in the order in which they were made. The second value is
    /// true if there are more.
    pub fn list(
        &self,
        account: &Account,
        filter: &ConnectionFilter,
        now: Now,
    ) -> (Vec<ConnectionInfo>, bool) {
        let most = filter.most.clamp(1, MAX_LISTED);
        let mut found = Vec::new();
        let mut more = false;
        for known in self.known(account, filter) {
            let names = known.subscriptions.channels();
            if filter.channel.as_ref().is_some_and(|name| !names.iter().any(|channel| channel.name == *name))
            {
                continue;
            }
            if found.len() == most {
                more = true;
                break;
            }
            found.push(ConnectionInfo {
                id: known.outgoing.id(),
                user: known.identity.user.clone(),
                transport: known.outgoing.transport(),
                runs: names.iter().filter_map(|channel| channel.run()).collect(),
                channels: names.iter().map(|channel| channel.name.clone()).collect(),
                created_ms: known.pulse.opened().wall,
                heard_ms: Pulse::wall(known.pulse.heard(), now),
                active_ms: Pulse::wall(known.pulse.acted(), now),
                waiting_bytes: known.outgoing.waiting_bytes(),
            });
        }
        (found, more)
    }

    /// Closes connections of an account with the close code `kicked`, and returns their number.
    /// Their clients may come back. With several connections, they are told to do so one after the
    /// other over `spread_ms` ms.
    pub fn kick(&self, account: &Account, whose: &Whose, spread_ms: u64) -> usize {
        let filter = match whose {
            Whose::User(user) => ConnectionFilter { user: Some(user.clone()), ..ConnectionFilter::default() },
            Whose::One(id) => ConnectionFilter { after: id.saturating_sub(1), ..ConnectionFilter::default() },
            Whose::Account => ConnectionFilter::default(),
        };
        let mut closed = self.known(account, &filter);
        if let Whose::One(id) = whose {
            closed.retain(|known| known.outgoing.id() == *id);
        }
        let all = closed.len() as u64;
        for (at, known) in (0..).zip(&closed) {
            let retry_after_ms = (all > 1).then(|| spread_ms.saturating_mul(at) / all);
            kick(&known.outgoing, retry_after_ms);
        }
        closed.len()
    }

    /// The connections at this time, in numbers.
    pub fn figures(&self) -> ConnectionFigures {
        let mut figures = ConnectionFigures::default();
        let all: Vec<(Arc<Outgoing>, bool)> = {
            let table = self.table.lock();
            table.by_id.values().map(|member| (member.outgoing.clone(), member.identity.is_none())).collect()
        };
        for (outgoing, is_unknown) in all {
            let waiting = outgoing.waiting_bytes();
            let at = Transport::ALL.iter().position(|transport| *transport == outgoing.transport());
            if let Some(number) = at.and_then(|at| figures.by_transport.get_mut(at)) {
                *number += 1;
            }
            figures.unknown += u64::from(is_unknown);
            figures.waiting_bytes += waiting as u64;
            figures.most_waiting_bytes = figures.most_waiting_bytes.max(waiting as u64);
            figures.slow += u64::from(outgoing.is_slow());
        }
        figures
    }

    /// The connections of an account whose user is known, in the order of their ids. The filter's
    /// channel and number do not count here.
    fn known(&self, account: &Account, filter: &ConnectionFilter) -> Vec<Known> {
        let table = self.table.lock();
        let after = (Bound::Excluded(filter.after), Bound::Unbounded);
        let of_account = |member: &Member| {
            let identity =
                member.identity.clone().filter(|identity| identity.account.as_ref() == Some(account))?;
            let (outgoing, subscriptions) = (member.outgoing.clone(), member.subscriptions.clone());
            Some(Known { identity, outgoing, subscriptions, pulse: member.pulse.clone() })
        };
        match &filter.user {
            Some(user) => {
                let ids = table.by_user.get(user).into_iter().flat_map(|ids| ids.range(after));
                ids.filter_map(|id| table.by_id.get(id)).filter_map(of_account).collect()
            }
            None => table.by_id.range(after).filter_map(|(_, member)| of_account(member)).collect(),
        }
    }
}

/// A connection whose user is known.
struct Known {
    identity: Arc<Identity>,
    outgoing: Arc<Outgoing>,
    subscriptions: Arc<super::Subscriptions>,
    pulse: Arc<Pulse>,
}

fn kick(outgoing: &Outgoing, retry_after_ms: Option<u64>) {
    tracing::info!(conn = outgoing.id(), "kicked");
    let message = "the application's backend closed this connection".to_owned();
    outgoing.send(&ServerFrame::Error(Problem { code: codes::KICKED.to_owned(), message, retry_after_ms }));
    outgoing.close(close::KICKED, codes::KICKED);
}
