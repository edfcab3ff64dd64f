//! How a suite went.

use std::time::Duration;

/// How many tests of a suite passed and failed.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
}

/// A suite that ran.
pub(super) struct Ran {
    pub(super) counts: Counts,
    /// The text to show: figures and failures, in whole lines, without the last end of line.
    pub(super) text: String,
}

/// Why a suite did not run.
#[derive(Clone)]
pub(super) enum Trouble {
    /// A tool is missing and can't be installed here.
    Missing(String),
    /// It could not be built or started.
    Failed(String),
}

/// How a suite went.
pub(super) struct Outcome {
    pub(super) name: &'static str,
    pub(super) result: Result<Ran, Trouble>,
    pub(super) took: Duration,
}
