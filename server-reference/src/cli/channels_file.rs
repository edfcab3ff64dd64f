//! The configuration file as the source of the rules of channels, while the server runs.

use super::channels::rules;
use super::file::File;
use crate::config::ConfigError;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::Duration;
use tidewire_server_core::rules::Rule;

/// How often the file is looked at. With the time until clients have connected anew, rules hold
/// within 5 s.
const LOOK: Duration = Duration::from_secs(1);

/// The file that the rules of channels came from, while the server runs.
pub struct ChannelsFile {
    path: PathBuf,
    /// A digest of the content that was read last; the content may have secrets.
    seen: Option<u64>,
}

impl ChannelsFile {
    /// The file at this path, as it is now.
    pub(super) fn new(path: PathBuf) -> ChannelsFile {
        let seen = File::text(&path).ok().map(|text| digest(&text));
        ChannelsFile { path, seen }
    }

    /// Waits until the file has changed, and reads its rules. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// The file can't be read, or is not valid. The error comes once for each change.
    pub async fn changed(&mut self) -> Result<Vec<Rule>, ConfigError> {
        loop {
            tokio::time::sleep(LOOK).await;
            let text = File::text(&self.path);
            let seen = text.as_ref().ok().map(|text| digest(text));
            if seen != self.seen {
                self.seen = seen;
                return rules(File::parse(&self.path, &text?)?.channel);
            }
        }
    }
}

fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
