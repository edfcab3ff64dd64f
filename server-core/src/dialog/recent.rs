//! The newest events of a channel, in memory.

use crate::text::Text;
use std::collections::VecDeque;
use tidewire_core::wire::Offset;

/// Most events kept in memory, so that a client that returns soon needs no read of the disk.
const RECENT_EVENTS: usize = 64;
/// Most bytes of them.
const RECENT_BYTES: usize = 65_536;

/// The newest events, dense.
#[derive(Default)]
pub(super) struct Recent {
    frames: VecDeque<Text>,
    bytes: usize,
    /// Offset of the newest.
    last: Offset,
}

impl Recent {
    pub(super) fn first(&self) -> Option<Offset> {
        (!self.frames.is_empty()).then(|| self.last.next().minus(self.frames.len() as u64))
    }

    pub(super) fn get(&self, offset: Offset) -> Option<&Text> {
        let first = self.first().filter(|first| *first <= offset)?;
        let index = offset.since(first);
        self.frames.get(usize::try_from(index).ok()?)
    }

    pub(super) fn push(&mut self, offset: Offset, frame: Text) {
        if offset != self.last.next() {
            self.frames.clear();
            self.bytes = 0;
        }
        self.last = offset;
        self.bytes += frame.len();
        self.frames.push_back(frame);
        while self.frames.len() > RECENT_EVENTS || self.bytes > RECENT_BYTES {
            let Some(old) = self.frames.pop_front() else { break };
            self.bytes -= old.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_events_stay_dense() {
        let mut recent = Recent::default();
        for offset in 5..=80 {
            recent.push(Offset(offset), offset.to_string().into());
        }
        assert_eq!(recent.first(), Some(Offset(17)));
        assert_eq!(recent.get(Offset(17)).unwrap().as_str(), "17");
        assert_eq!(recent.get(Offset(80)).unwrap().as_str(), "80");
        assert!(recent.get(Offset(16)).is_none() && recent.get(Offset(81)).is_none());
        recent.push(Offset(90), "90".into());
        assert_eq!(recent.first(), Some(Offset(90)));
    }
}
