//! Signals that wait to be sent. Only the newest of a kind and key is kept, and not for long.

use super::Limiter;
use crate::error::SendError;
use crate::time::Time;
use crate::wire::Signal;

/// A signal that could not be sent for this long is dropped.
const TTL_MS: u64 = 3_000;
/// Most signals that wait.
const MOST: usize = 64;

/// The signals that wait, oldest first.
pub(crate) struct Signals {
    waiting: Vec<(Time, Signal)>,
    budget: Limiter,
}

impl Signals {
    pub(crate) fn new() -> Signals {
        // Well below what a server takes (protocol section 3).
        Signals { waiting: Vec::new(), budget: Limiter::with(10, 1_000, 10) }
    }

    /// Adds a signal, which replaces an older one of its kind and key.
    pub(crate) fn put(&mut self, now: Time, signal: Signal) -> Result<(), SendError> {
        self.forget_old(now);
        let same =
            |other: &Signal| (&other.ch, &other.kind, &other.key) == (&signal.ch, &signal.kind, &signal.key);
        if let Some(place) = self.waiting.iter_mut().find(|(_, other)| same(other)) {
            *place = (now, signal);
        } else if self.waiting.len() >= MOST {
            return Err(SendError::OutboxFull);
        } else {
            self.waiting.push((now, signal));
        }
        Ok(())
    }

    /// Takes the next signal that may be sent now, of a live channel.
    pub(crate) fn next(&mut self, now: Time, live: impl Fn(&str) -> bool) -> Option<Signal> {
        self.forget_old(now);
        let at = self.waiting.iter().position(|(_, signal)| live(&signal.ch))?;
        self.budget.take(now).then(|| self.waiting.remove(at).1)
    }

    /// Takes something else that is told to those who are there, such as a lease, out of the budget;
    /// false if it has to wait.
    pub(crate) fn may_send(&mut self, now: Time) -> bool {
        self.budget.take(now)
    }

    /// When [`Signals::may_send`] is true again.
    pub(crate) fn may_send_at(&mut self, now: Time) -> Time {
        self.budget.next(now).max(now.after(1))
    }

    /// When [`Signals::next`] has something to do.
    pub(crate) fn deadline(&mut self, now: Time) -> Option<Time> {
        let (first, _) = self.waiting.first()?;
        let over = first.after(TTL_MS);
        Some(over.min(self.budget.next(now).max(now.after(1))))
    }

    fn forget_old(&mut self, now: Time) {
        self.waiting.retain(|(since, _)| now < since.after(TTL_MS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(key: &str, body: &str) -> Signal {
        Signal {
            ch: crate::wire::ChannelName::parse("dialog:a").unwrap(),
            kind: "typing".to_owned(),
            key: Some(key.to_owned()),
            body: body.to_owned(),
        }
    }

    #[test]
    fn only_the_newest_of_a_key_waits() {
        let mut signals = Signals::new();
        for body in ["1", "2", "3"] {
            signals.put(Time(0), signal("a", body)).unwrap();
        }
        signals.put(Time(0), signal("b", "4")).unwrap();
        let sent: Vec<String> =
            std::iter::from_fn(|| signals.next(Time(0), |_| true)).map(|signal| signal.body).collect();
        assert_eq!(sent, ["3", "4"]);
    }

    #[test]
    fn what_is_old_or_not_live_is_not_sent() {
        let mut signals = Signals::new();
        signals.put(Time(0), signal("a", "1")).unwrap();
        assert!(signals.next(Time(2_999), |_| false).is_none());
        assert!(signals.next(Time(3_000), |_| true).is_none());
    }

    #[test]
    fn too_many_are_an_error_and_too_fast_they_wait() {
        let mut signals = Signals::new();
        for key in 0..MOST {
            signals.put(Time(0), signal(&key.to_string(), "")).unwrap();
        }
        assert_eq!(signals.put(Time(0), signal("more", "")), Err(SendError::OutboxFull));
        assert_eq!((0..100).filter(|_| signals.next(Time(0), |_| true).is_some()).count(), 10);
        let at = signals.deadline(Time(0)).unwrap();
        assert!(signals.next(at, |_| true).is_some());
    }
}
