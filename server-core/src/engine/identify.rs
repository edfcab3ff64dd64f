//! Who is behind a credential (protocol section 7).

use super::Engine;
use crate::access::{AuthError, Identity, Page, Pending, is_ticket};
use crate::store::{Read, SessionRow};
use tidewire_core::Now;

/// What a credential says.
pub enum Identified {
    /// The user is known.
    Known(Identity),
    /// The user's session has to be read first, for [`Engine::session_read`].
    Unread(Read, Pending),
}

impl Engine {
    /// The user that a credential stands for.
    ///
    /// # Errors
    ///
    /// It is not valid, or was revoked.
    pub fn identify(&self, credential: &str, now: Now) -> Result<Identified, AuthError> {
        if is_ticket(credential) {
            let identity = self.access.tickets.take(credential, now.mono).ok_or_else(AuthError::used)?;
            if identity.good_ms(now) == 0 {
                return Err(AuthError::Expired { at: identity.ends_s() });
            }
            self.not_revoked(&identity)?;
            return Ok(Identified::Known(identity));
        }
        let pending = self.access.sessions.begin(self.auth.check(credential, now)?)?;
        match pending.read() {
            Some(read) => Ok(Identified::Unread(read, pending)),
            None => self.finished(pending, now).map(Identified::Known),
        }
    }

    /// A ticket for this user: a credential that is good once, and for a short time. `secret` is
    /// random text that nobody can guess, of characters that a URL takes.
    pub fn issue_ticket(&self, identity: Identity, secret: &str, now: Now) -> String {
        let ms = u64::try_from(self.timeouts.ticket.as_millis()).unwrap_or(u64::MAX);
        self.access.tickets.add(identity, secret, now.mono, ms)
    }

    /// The same once the session was read.
    ///
    /// # Errors
    ///
    /// As of [`Engine::identify`], or there is no such session, it is over, or another user's.
    pub fn session_read(
        &self,
        pending: Pending,
        found: Option<SessionRow>,
        now: Now,
    ) -> Result<Identity, AuthError> {
        pending.loaded(found);
        self.finished(pending, now)
    }

    fn finished(&self, pending: Pending, now: Now) -> Result<Identity, AuthError> {
        let identity = pending.identity(now)?;
        self.access.revocations.learn(&identity, now.wall);
        self.not_revoked(&identity)?;
        Ok(identity)
    }

    /// Checks that this user may come from this page.
    ///
    /// # Errors
    ///
    /// The page is not one of the guest's site, or only for the guests of a site.
    pub fn admit_from(&self, identity: &mut Identity, page: &Page) -> Result<(), AuthError> {
        let site = identity.site.as_ref().map(|guest| guest.site.as_str());
        self.access.sites.admits(site, page)?;
        if let Some(guest) = &mut identity.site {
            guest.page = Some(page.clone());
        }
        Ok(())
    }

    /// An error if the user's access was taken back, or their session is over.
    pub fn not_revoked(&self, identity: &Identity) -> Result<(), AuthError> {
        self.access.check(identity)
    }
}
