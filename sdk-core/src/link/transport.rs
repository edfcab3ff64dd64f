//! Which transport to dial with. The best comes first; after several failures in a row the next one
//! is used.

use crate::io::Transport;
use crate::time::Time;

/// After this many failures in a row the next transport is used.
const STRIKES: u32 = 3;
/// The same for a transport that worked before: probably the server is down, and the network has
/// not changed.
const STRIKES_PROVEN: u32 = 6;
/// A session that lasted this long shows that its transport works.
pub(super) const WORKS_MS: u64 = 5_000;
/// When the best transport is tried again after another one replaced it: the first pause, and all
/// later ones.
const FIRST_RETRY_MS: u64 = 60_000;
const RETRY_MS: u64 = 600_000;

/// The transports that the driver has, best first, and which one is in use.
pub(super) struct Ladder {
    rungs: Vec<Rung>,
    at: usize,
    retry_ms: u64,
    retry_at: Option<Time>,
}

struct Rung {
    transport: Transport,
    strikes: u32,
    proven: bool,
}

impl Ladder {
    /// These transports, best first; the WebSocket if there are none.
    pub(super) fn new(transports: &[Transport]) -> Ladder {
        let mut rungs: Vec<Rung> = transports
            .iter()
            .map(|transport| Rung { transport: *transport, strikes: 0, proven: false })
            .collect();
        if rungs.is_empty() {
            rungs.push(Rung { transport: Transport::WebSocket, strikes: 0, proven: false });
        }
        Ladder { rungs, at: 0, retry_ms: FIRST_RETRY_MS, retry_at: None }
    }

    /// The transport to dial with.
    pub(super) fn current(&self) -> Transport {
        self.rungs[self.at].transport
    }

    pub(super) fn best(&self) -> Transport {
        self.rungs[0].transport
    }

    /// A session with this transport lasted long enough to show that it works.
    pub(super) fn works(&mut self, transport: Transport) {
        if let Some(at) = self.rungs.iter().position(|rung| rung.transport == transport) {
            self.rungs[at].strikes = 0;
            self.rungs[at].proven = true;
            if at == 0 {
                self.retry_ms = FIRST_RETRY_MS;
            }
        }
    }

    /// The transport in use failed early, without a close from the server.
    pub(super) fn strike(&mut self, transport: Transport) {
        if transport != self.current() {
            return;
        }
        let first = self.at == 0;
        let rung = &mut self.rungs[self.at];
        rung.strikes += 1;
        // A fallback that never worked is left at its first failure.
        let most = match (rung.proven, first) {
            (true, _) => STRIKES_PROVEN,
            (false, true) => STRIKES,
            (false, false) => 1,
        };
        if rung.strikes >= most {
            rung.strikes = 0;
            rung.proven = false;
            self.at = (self.at + 1) % self.rungs.len();
        }
    }

    /// A session began: when to try the best transport again, if this one isn't it.
    pub(super) fn began(&mut self, now: Time, transport: Transport) {
        self.at = self.rungs.iter().position(|rung| rung.transport == transport).unwrap_or(self.at);
        self.retry_at = (self.at > 0).then(|| now.after(self.retry_ms));
    }

    /// When the best transport is to be tried again.
    pub(super) fn retry_at(&self) -> Option<Time> {
        self.retry_at
    }

    /// The best transport is tried again now; if that fails, not soon again.
    pub(super) fn retrying(&mut self, now: Time) {
        self.retry_ms = RETRY_MS;
        self.retry_at = Some(now.after(RETRY_MS));
    }

    /// The network has changed: what was learnt about the old one no longer counts, so the best
    /// transport is used first again. A session over another transport continues until the best one
    /// has been tried.
    pub(super) fn forget(&mut self, now: Time) {
        for rung in &mut self.rungs {
            rung.strikes = 0;
            rung.proven = false;
        }
        self.at = 0;
        self.retry_ms = FIRST_RETRY_MS;
        self.retry_at = self.retry_at.map(|at| at.min(now.after(FIRST_RETRY_MS)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Transport::{LongPoll, Poll, Stream, WebSocket};

    fn ladder() -> Ladder {
        Ladder::new(&[WebSocket, Stream, LongPoll, Poll])
    }

    fn strikes_until_next(ladder: &mut Ladder) -> u32 {
        let before = ladder.current();
        (1..)
            .find(|_| {
                ladder.strike(before);
                ladder.current() != before
            })
            .unwrap()
    }

    #[test]
    fn three_strikes_and_the_next_is_tried_which_has_one() {
        let mut ladder = ladder();
        assert_eq!(strikes_until_next(&mut ladder), 3);
        assert_eq!(ladder.current(), Stream);
        assert_eq!(strikes_until_next(&mut ladder), 1);
        assert_eq!(ladder.current(), LongPoll);
        assert_eq!(strikes_until_next(&mut ladder), 1);
        assert_eq!(strikes_until_next(&mut ladder), 1);
        assert_eq!(ladder.current(), WebSocket, "after the last the first is tried again");
    }

    #[test]
    fn one_that_worked_is_given_more_time() {
        let mut ladder = ladder();
        ladder.works(WebSocket);
        assert_eq!(strikes_until_next(&mut ladder), 6);
        ladder.works(Stream);
        assert_eq!(strikes_until_next(&mut ladder), 6);
    }

    #[test]
    fn the_best_is_tried_again_after_a_minute_and_then_every_ten() {
        let mut ladder = ladder();
        ladder.began(Time(0), WebSocket);
        assert_eq!(ladder.retry_at(), None);
        ladder.began(Time(0), Stream);
        assert_eq!(ladder.retry_at(), Some(Time(60_000)));
        ladder.retrying(Time(60_000));
        assert_eq!(ladder.retry_at(), Some(Time(660_000)));
        ladder.began(Time(700_000), Stream);
        assert_eq!(ladder.retry_at(), Some(Time(1_300_000)));
        ladder.began(Time(1_300_000), WebSocket);
        assert_eq!(ladder.retry_at(), None);
    }

    #[test]
    fn a_strike_against_another_transport_changes_nothing() {
        let mut ladder = ladder();
        for _ in 0..10 {
            ladder.strike(Stream);
        }
        assert_eq!(ladder.current(), WebSocket);
    }

    #[test]
    fn on_another_network_the_best_comes_first() {
        let mut ladder = ladder();
        strikes_until_next(&mut ladder);
        ladder.began(Time(0), Stream);
        ladder.retrying(Time(60_000));
        ladder.forget(Time(70_000));
        assert_eq!((ladder.current(), ladder.retry_at()), (WebSocket, Some(Time(130_000))));
        assert_eq!(strikes_until_next(&mut ladder), 3);
        let mut direct = Ladder::new(&[WebSocket, Stream]);
        direct.began(Time(0), WebSocket);
        direct.forget(Time(5));
        assert_eq!(direct.retry_at(), None);
    }

    #[test]
    fn without_any_there_is_the_web_socket() {
        assert_eq!(Ladder::new(&[]).current(), WebSocket);
    }
}
