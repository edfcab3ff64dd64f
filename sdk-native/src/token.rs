//! Where tokens come from.

use std::future::Future;
use std::pin::Pin;

pub use tidewire_core::TokenError;

/// The answer of a [`TokenProvider`].
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send + 'a>>;

/// Gives the token that says who this client is.
///
/// It is called in a task of its own, so it may take its time; what it did not answer when another
/// token is wanted is dropped. A panic in it counts as [`TokenError::unavailable`].
pub trait TokenProvider: Send + Sync + 'static {
    /// A token. With `renew` the last one was refused or runs out, so one from a cache won't do.
    fn token(&self, renew: bool) -> TokenFuture<'_>;
}

/// A provider made of an async function.
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
