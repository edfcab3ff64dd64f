//! The page that somebody comes from.

/// The page that a connection or a request comes from.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Its origin, as the browser wrote it in lower case; `None` for what is no page.
    pub origin: Option<String>,
    /// Whether it may use the server only because a site has its origin.
    pub of_site: bool,
}
