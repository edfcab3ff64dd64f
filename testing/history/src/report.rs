//! The result of a check.

use serde::Serialize;
use std::fmt;

/// How many violations of each kind are kept as examples.
const EXAMPLES: usize = 5;

/// The kind of a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ViolationKind {
    /// An op was acknowledged, or left a drained outbox, and is not in the log.
    Lost,
    /// One op at two offsets, or an event applied again.
    Duplicated,
    /// A client's ops are in the log in another order than they were sent.
    Reordered,
    /// An observer skipped events without a reset, or the log has a gap.
    Skipped,
    /// An observer went back, or into another epoch, without a reset.
    Nonmonotonic,
    /// There is an event that no client sent and the server did not write, or one that was refused.
    Invented,
    /// Two statements about the same offset or op differ.
    Diverged,
}

/// One violation, with what is needed to find it in the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The kind.
    pub kind: ViolationKind,
    /// Client or observer, channel, and what was found.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", format!("{:?}", self.kind).to_lowercase(), self.what)
    }
}

impl std::error::Error for Violation {}

/// Counts over a whole history. Each violation is counted; the first few of each kind are in
/// `examples`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[allow(missing_docs)] // The violations' counts are described at `ViolationKind`.
pub struct Report {
    /// Ops that applications queued.
    pub sent: u64,
    /// Of these, acknowledged.
    pub acked: u64,
    /// Of these, refused for good.
    pub failed: u64,
    /// Events that observers applied.
    pub applied: u64,
    /// Events of the logs.
    pub logged: u64,
    /// Acknowledged ops and caught-up observers in channels whose log the history lacks.
    pub unverified: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub skipped: u64,
    pub nonmonotonic: u64,
    pub invented: u64,
    pub diverged: u64,
    /// The first violations of each kind.
    pub examples: Vec<Violation>,
}

impl Report {
    /// Whether there is no violation.
    pub fn is_clean(&self) -> bool {
        self.examples.is_empty()
    }

    pub(crate) fn note(&mut self, violation: &Violation) {
        let count = match violation.kind {
            ViolationKind::Lost => &mut self.lost,
            ViolationKind::Duplicated => &mut self.duplicated,
            ViolationKind::Reordered => &mut self.reordered,
            ViolationKind::Skipped => &mut self.skipped,
            ViolationKind::Nonmonotonic => &mut self.nonmonotonic,
            ViolationKind::Invented => &mut self.invented,
            ViolationKind::Diverged => &mut self.diverged,
        };
        *count += 1;
        if *count <= EXAMPLES as u64 {
            self.examples.push(violation.clone());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} sent, {} acked, {} failed, {} applied, {} in logs, {} unverified: {} lost, {} duplicated, {} reordered, \
             {} skipped, {} nonmonotonic, {} invented, {} diverged",
            self.sent,
            self.acked,
            self.failed,
            self.applied,
            self.logged,
            self.unverified,
            self.lost,
            self.duplicated,
            self.reordered,
            self.skipped,
            self.nonmonotonic,
            self.invented,
            self.diverged
        )?;
        self.examples.iter().try_for_each(|violation| write!(formatter, "\n  {violation}"))
    }
}
