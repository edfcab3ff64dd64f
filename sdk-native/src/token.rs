//! Token providers.

use std::future::Future;
use std::pin::Pin;

pub use tidewire_core::TokenError;

/// The answer of a [`TokenProvider`].
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send + 'a>>;

/// Provides the token that identifies this client's user.
///
/// It is called in a task of its own, so it may take long. A call that is unfinished when another
/// token is needed is dropped. A panic counts as [`TokenError::unavailable`].
pub trait TokenProvider: Send + Sync + 'static {
    /// Fetches a token. With `renew` the last one was refused or is about to expire, so a cached
    /// one is of no use.
    fn token(&self, renew: bool) -> TokenFuture<'_>;
}

/// Makes a provider from an async function.
///
/// ```
/// # use tidewire::token::{from_fn, TokenError};
/// let provider = from_fn(|_renew| async { Ok::<_, TokenError>(String::from("eyJ…")) });
/// ```
pub fn from_fn<F, R>(ask: F) -> impl TokenProvider
where
    F: Fn(bool) -> R + Send + Sync + 'static,
    R: Future<Output = Result<String, TokenError>> + Send + 'static,
{
    FromFn(ask)
}

struct FromFn<F>(F);

impl<F, R> TokenProvider for FromFn<F>
where
    F: Fn(bool) -> R + Send + Sync + 'static,
    R: Future<Output = Result<String, TokenError>> + Send + 'static,
{
    fn token(&self, renew: bool) -> TokenFuture<'_> {
        Box::pin((self.0)(renew))
    }
}
