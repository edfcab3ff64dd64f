//! Why a subscription is refused, or ends.

use crate::text::Text;
use tidewire_core::wire::{Problem, TableFrame, codes};

/// When a client should try again while the source is unavailable, in ms.
pub(super) const RETRY_MS: u64 = 1_000;

/// Why a subscription is refused, or ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) at: Option<u64>,
    /// When to try again, in ms; `None` if that would not help.
    pub(super) retry_ms: Option<u64>,
}

impl Refusal {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into(), at: None, retry_ms: None }
    }

    pub(super) fn later(code: &'static str, message: impl Into<String>, retry_ms: u64) -> Refusal {
        Refusal { retry_ms: Some(retry_ms), ..Refusal::new(code, message) }
    }

    pub(super) fn frame(&self, sid: String) -> Text {
        let problem = Problem {
            code: self.code.to_owned(),
            message: self.message.clone(),
            retry_after_ms: self.retry_ms,
        };
        TableFrame::Err { sid, problem, at: self.at, retryable: self.retry_ms.is_some() }.encode().into()
    }
}

pub(super) fn too_many_unindexed() -> Refusal {
    let message = "too many filters of this table name no value that a column must equal; use eq or in";
    Refusal::later(codes::TOO_MANY_SUBSCRIPTIONS, message, 10 * RETRY_MS)
}

pub(super) fn unavailable() -> Refusal {
    let message = "the table's database can't be asked now; subscribe again later";
    Refusal::later(codes::TABLE_UNAVAILABLE, message, RETRY_MS)
}
