//! Sites: pages elsewhere that may have guests of an account.

use super::Account;

/// A site. Its key is public: it stands in the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The key that the page presents.
    pub key: String,
    /// The account that its guests belong to.
    pub account: Account,
    /// The origins of its pages, as browsers write them.
    pub origins: Vec<String>,
    /// Which assistant its guests talk to: a claim of theirs.
    pub assistant: Option<String>,
}
