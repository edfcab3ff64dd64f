//! A measured ratio, and its target.

use crate::Failure;
use serde_json::{Value, json};
use std::fmt;

/// The target of a ratio.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aim {
    /// At most this.
    Most(f64),
    /// At least this.
    Least(f64),
}

/// A ratio that was measured.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) aim: Aim,
    /// What was measured, with this machine's absolute figures.
    pub(crate) how: String,
}

impl Figure {
    /// Whether the target is met.
    pub(crate) fn holds(&self) -> bool {
        match self.aim {
            Aim::Most(most) => self.value <= most,
            Aim::Least(least) => self.value >= least,
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let (Aim::Most(aim) | Aim::Least(aim)) = self.aim;
        json!({"value": self.value, "aim": aim, "holds": self.holds()})
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, aim) = match self.aim {
            Aim::Most(aim) => ("<=", aim),
            Aim::Least(aim) => (">=", aim),
        };
        let holds = if self.holds() { "holds" } else { "MISSED" };
        let digits = if self.value >= 100.0 { 0 } else { 3 };
        write!(f, "{:<26}{:>12.digits$}  aim {sign} {aim:<8}{holds:<8}{}", self.name, self.value, self.how)
    }
}

/// The median.
pub(crate) fn median(mut values: Vec<f64>) -> Result<f64, Failure> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().ok_or_else(|| "nothing was measured".into())
}
