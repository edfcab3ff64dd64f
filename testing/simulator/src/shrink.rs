//! Cuts a script that violates a guarantee down to the actions that it takes ("Simplifying and
//! Isolating Failure-Inducing Input", Zeller and Hildebrandt, IEEE TSE 2002).

use crate::run::run;
use crate::script::Script;

/// Maximum number of runs.
const TRIES: usize = 400;

/// A script with as few actions as can be found that still violates the same guarantee.
pub fn shrink(script: &Script) -> Script {
    let breaks =
        |script: &Script| run(script).ok().and_then(|outcome| outcome.broken).map(|broken| broken.what);
    let Some(what) = breaks(script) else { return script.clone() };
    let (mut best, mut tries, mut chunk) = (script.clone(), 0, script.actions.len().div_ceil(2));
    while chunk > 0 && tries < TRIES {
        let (mut at, mut shorter) = (0, false);
        while at < best.actions.len() && tries < TRIES {
            let mut candidate = best.clone();
            let end = (at + chunk).min(candidate.actions.len());
            candidate.actions.drain(at..end);
            tries += 1;
            if breaks(&candidate).as_ref() == Some(&what) {
                (best, shorter) = (candidate, true);
            } else {
                at += chunk;
            }
        }
        if !shorter {
            chunk /= 2;
        }
    }
    best
}
