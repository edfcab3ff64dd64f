//! Checks access, and revokes it for live connections (protocol section 7).

use super::Engine;
use crate::lock::calls_out;
use crate::rules::Rules;
use crate::store::{Account, Done, Outcome, Revocation, SetMember, Write};
use std::sync::Arc;
use tidewire_core::wire::{ChannelName, ServerFrame};

impl Engine {
    /// The user no longer owns this dialog, if it is in memory. Call it again once the revocation
    /// is stored, while no channel is being loaded: a channel that was read before the commit still
    /// has the old owner.
    pub fn disown(&self, dialog: &str, user: &str, account: &Account) {
        let name = ChannelName::of_dialog(dialog);
        let channel = name.and_then(|name| self.hub.loaded(&name));
        if let Some(channel) = channel.filter(|channel| channel.account == *account) {
            channel.disown(user);
        }
    }

    /// The dialog with this row id was deleted. Call it after the commit, while no channel is being
    /// loaded.
    pub fn dialog_deleted(&self, name: &str, row: i64) {
        if let Some((channel, effects)) = self.hub.forget(name, row) {
            effects.carry_out(None, &channel);
        }
        self.connections.expel(row);
    }

    /// Puts other rules of channels in force. Before this returns, live connections have lost what
    /// the rules no longer allow. If they ask for something that was not known before, such as a claim
    /// that no rule named or who is in a channel, clients are told to connect anew within `spread_ms` ms:
    /// until then they have less than the rules allow, never more.
    pub fn set_rules(&self, rules: Rules, spread_ms: u64) {
        let before = self.hub.rules();
        let is_known =
            rules.claims().is_subset(&before.claims()) && (before.names_members() || !rules.names_members());
        let who_is_there = self.hub.set_rules(rules);
        self.connections.enforce_all(&self.access);
        if !is_known || !who_is_there {
            let reason = "rules".to_owned();
            self.connections.tell_all(&ServerFrame::Goaway { reason, after_ms: spread_ms, spread_ms });
        }
    }

    /// Makes a user a member of a channel, or ends that. Before `done` is called it has taken
    /// effect for live connections.
    pub fn set_member(self: &Arc<Self>, set: SetMember, done: Done) {
        let engine = self.clone();
        let SetMember { channel, user, member, .. } = set.clone();
        calls_out();
        self.store.write(
            Write::SetMember(set),
            Box::new(move |result| {
                if matches!(result, Ok(Outcome::Done)) {
                    engine.access.memberships.set(&user, &channel, member);
                    if !member {
                        engine.connections.enforce(&user, &engine.access);
                    }
                }
                done(result);
            }),
        );
    }

    /// Revokes access: at once for live connections, and permanently once `done` reports that it is
    /// stored. `since_ms` is read from this server's clock.
    pub fn revoke(&self, revocation: Revocation, done: Done) {
        let since_ms = self.access.revocations.by_their_clocks(revocation.since_ms);
        let revocation = Revocation { since_ms, ..revocation };
        tracing::info!(user = revocation.user, dialog = revocation.dialog, "access revoked");
        // Added to the list before the connections are searched, so that a connection made at this
        // moment is found by one of the two.
        self.access.revocations.add(&revocation);
        if let Some(dialog) = &revocation.dialog {
            self.disown(dialog, &revocation.user, &revocation.account);
        }
        self.connections.enforce(&revocation.user, &self.access);
        calls_out();
        self.store.write(Write::Revoke(revocation), done);
    }
}
