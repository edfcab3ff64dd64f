//! Sites: whose guests come from which pages.

use super::identity::AuthError;
use super::page::Page;
use crate::lock::Mutex;
use crate::store::Site;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All sites, by their keys.
#[derive(Default)]
pub struct Sites {
    by_key: Mutex<BTreeMap<String, Entry>>,
}

#[derive(Clone)]
struct Entry {
    site: Arc<Site>,
    /// The configuration has it, so no request changes it.
    fixed: bool,
}

impl Sites {
    /// The sites that [`crate::store::Read::Sites`] returns, and those of the configuration, which
    /// count more.
    pub fn new(stored: Vec<Site>, configured: Vec<Site>) -> Sites {
        let entry = |fixed| move |site: Site| (site.key.clone(), Entry { site: Arc::new(site), fixed });
        let entries = stored.into_iter().map(entry(false)).chain(configured.into_iter().map(entry(true)));
        Sites { by_key: Mutex::new(entries.collect()) }
    }

    /// The site with this key.
    pub fn get(&self, key: &str) -> Option<Arc<Site>> {
        self.by_key.lock().get(key).map(|entry| entry.site.clone())
    }

    /// Whether the configuration has this site.
    pub fn is_fixed(&self, key: &str) -> bool {
        self.by_key.lock().get(key).is_some_and(|entry| entry.fixed)
    }

    /// Whether a site has pages of this origin.
    pub fn lists(&self, origin: &str) -> bool {
        self.by_key.lock().values().any(|entry| entry.site.origins.iter().any(|of| of == origin))
    }

    /// Stores a site.
    pub(crate) fn put(&self, site: Site) {
        let entry = Entry { site: Arc::new(site), fixed: false };
        self.by_key.lock().insert(entry.site.key.clone(), entry);
    }

    /// Removes a site.
    pub(crate) fn remove(&self, key: &str) {
        self.by_key.lock().remove(key);
    }

    /// Whether a guest of this site, or somebody of none, may come from this page.
    ///
    /// # Errors
    ///
    /// The site does not exist, or the page is not one of it.
    pub fn admits(&self, site: Option<&str>, page: &Page) -> Result<(), AuthError> {
        let Some(key) = site else {
            return if page.of_site { Err(AuthError::ForeignPage) } else { Ok(()) };
        };
        let site = self.get(key).ok_or_else(AuthError::no_site)?;
        let is_its = page.origin.as_ref().is_some_and(|origin| site.origins.contains(origin));
        if is_its { Ok(()) } else { Err(AuthError::ForeignPage) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Account;

    fn site(key: &str, origin: &str) -> Site {
        let origins = vec![origin.to_owned()];
        Site { key: key.to_owned(), account: Account::Own, origins, assistant: None }
    }

    fn page(origin: &str, of_site: bool) -> Page {
        Page { origin: (!origin.is_empty()).then(|| origin.to_owned()), of_site }
    }

    #[test]
    fn guests_of_a_site_come_from_its_pages_and_nobody_else_does() {
        let sites =
            Sites::new(vec![site("a", "https://a"), site("b", "https://x")], vec![site("b", "https://b")]);
        let code = |site, page| sites.admits(site, &page).err().map(|error| error.code());
        assert_eq!(code(Some("a"), page("https://a", true)), None);
        assert_eq!(code(Some("a"), page("https://a", false)), None);
        assert_eq!(code(None, page("https://own", false)), None);
        assert_eq!(code(None, page("", false)), None);
        for (site, page) in [
            (Some("a"), page("https://b", true)),
            (Some("a"), page("https://own", false)),
            (Some("a"), page("", false)),
            (None, page("https://a", true)),
        ] {
            assert_eq!(code(site, page), Some("origin_not_allowed"));
        }
        assert_eq!(code(Some("c"), page("https://a", true)), Some("unauthorized"));
        assert!(sites.lists("https://b") && !sites.lists("https://x"), "the configuration counts more");
        assert!(sites.is_fixed("b") && !sites.is_fixed("a"));
        sites.put(site("a", "https://c"));
        assert_eq!(code(Some("a"), page("https://a", true)), Some("origin_not_allowed"));
        sites.remove("a");
        assert_eq!(code(Some("a"), page("https://c", true)), Some("unauthorized"));
    }
}
