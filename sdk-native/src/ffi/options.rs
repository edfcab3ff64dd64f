//! The options of a client, and the application's token provider.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::error::TidewireError;
use crate::store::Storage;
use crate::token::{TokenError, TokenFuture};

/// The options of a client.
#[derive(uniffi::Record)]
pub struct ClientOptions {
    /// The server: `https://host[:port][/prefix]`.
    pub url: String,
    /// A folder for this client's store. Without one, waiting messages are lost at the end of the
    /// process.
    #[uniffi(default = None)]
    pub storage_dir: Option<String>,
    /// The guest's name, 1 to 40 characters; used if there is no token provider.
    #[uniffi(default = None)]
    pub guest_nickname: Option<String>,
}

/// The application's token provider. It is called on a thread of its own; a call that is no longer
/// needed is cancelled.
#[uniffi::export(with_foreign)]
#[async_trait::async_trait]
pub trait TokenProvider: Send + Sync {
    /// Fetches a token. With `renew` the last one was refused or is about to expire, so a cached
    /// one is of no use.
    async fn token(&self, renew: bool) -> Result<String, TidewireError>;
}

pub(super) fn convert(
    options: ClientOptions,
    provider: Option<Arc<dyn TokenProvider>>,
) -> Result<crate::client::ClientOptions, TidewireError> {
    let converted = match (provider, options.guest_nickname) {
        (Some(provider), _) => crate::client::ClientOptions::new(options.url, Foreign(provider)),
        (None, Some(nickname)) => crate::client::ClientOptions::guest(options.url, nickname),
        (None, None) => {
            let detail = String::from("give a token provider or a guest nickname");
            return Err(TidewireError::Options { code: String::from("no_identity"), detail });
        }
    };
    let storage =
        options.storage_dir.map_or(Storage::Memory, |folder| Storage::Folder(PathBuf::from(folder)));
    Ok(converted.storage(storage))
}

struct Foreign(Arc<dyn TokenProvider>);

impl crate::token::TokenProvider for Foreign {
    fn token(&self, renew: bool) -> TokenFuture<'_> {
        let provider = Arc::clone(&self.0);
        Box::pin(async move {
            let (_wanted, unwanted) = oneshot::channel::<()>();
            let runtime = Handle::current();
            // Foreign code may block, so it gets a thread of its own.
            let call = tokio::task::spawn_blocking(move || {
                runtime.block_on(async {
                    tokio::select! {
                        result = provider.token(renew) => result,
                        _ = unwanted => Err(TidewireError::Closed { code: String::new(), detail: String::new() }),
                    }
                })
            });
            match call.await {
                Ok(Ok(token)) => Ok(token),
                Ok(Err(TidewireError::Unauthorized { detail, .. })) => Err(TokenError::unauthorized(detail)),
                Ok(Err(error)) => Err(TokenError::unavailable(error.to_string())),
                Err(_) => Err(TokenError::unavailable("the token provider panicked")),
            }
        })
    }
}
