//! Sites: pages elsewhere that may have guests of an account.

use crate::config::{Config, ConfigError};
use crate::origin;
use std::collections::BTreeSet;
use tidewire_server_core::store::{Account, Site};

/// Most origins of a site.
const MAX_ORIGINS: usize = 32;

/// A site of these members.
///
/// # Errors
///
/// What is wrong.
pub(crate) fn site(
    key: String,
    account: Account,
    origins: &[String],
    assistant: Option<String>,
) -> Result<Site, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if !(1..=64).contains(&key.len()) || !key.bytes().all(is_plain) {
        return Err("a site's key has 1 to 64 characters out of a-z A-Z 0-9 - _ . :".to_owned());
    }
    if !(1..=MAX_ORIGINS).contains(&origins.len()) {
        return Err(format!("`origins` must have 1 to {MAX_ORIGINS} origins"));
    }
    if assistant.as_ref().is_some_and(|id| !(1..=128).contains(&id.len())) {
        return Err("`assistant` must have 1 to 128 bytes".to_owned());
    }
    let exact = |text: &String| {
        origin::exact(text).ok_or_else(|| {
            format!("`origins` has `{}`, but an origin is as https://shop.example", text.escape_debug())
        })
    };
    let origins: BTreeSet<String> = origins.iter().map(exact).collect::<Result<_, _>>()?;
    Ok(Site { key, account, origins: origins.into_iter().collect(), assistant })
}

/// The account with this name.
pub(crate) fn account(config: &Config, name: Option<&str>) -> Account {
    match name {
        Some(name) if name != config.account => Account::Named(name.to_owned()),
        _ => Account::Own,
    }
}

/// The sites of the configuration.
pub(crate) fn configured(config: &Config) -> Result<Vec<Site>, ConfigError> {
    let wrong = |reason| ConfigError::Value { name: "site", reason };
    let mut keys = BTreeSet::new();
    let mut sites = Vec::new();
    for given in &config.sites {
        if !keys.insert(&given.key) {
            return Err(wrong(format!("has the key `{}` twice", given.key.escape_debug())));
        }
        if given.account.as_ref().is_some_and(|name| !(1..=128).contains(&name.len())) {
            return Err(wrong("`account` must have 1 to 128 bytes".to_owned()));
        }
        let account = account(config, given.account.as_deref());
        sites.push(site(given.key.clone(), account, &given.origins, given.assistant.clone()).map_err(wrong)?);
    }
    Ok(sites)
}
