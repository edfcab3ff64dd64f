//! The newest events of a channel, in memory.

use crate::text::Text;
use std::collections::VecDeque;

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
    last: u64,
}

impl Recent {
    pub(super) fn first(&self) -> Option<u64> {
        (!self.frames.is_empty()).then(|| self.last + 1 - self.frames.len() as u64)
    }

    pub(super) fn get(&self, offset: u64) -> Option<&Text> {
        let index = offset.checked_sub(self.first()?)?;
        self.frames.get(usize::try_from(index).ok()?)
    }

    pub(super) fn push(&mut self, offset: u64, frame: Text) {
        if offset != self.last + 1 {
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
            recent.push(offset, offset.to_string().into());
        }
        assert_eq!(recent.first(), Some(17));
        assert_eq!(recent.get(17).unwrap().as_str(), "17");
        assert_eq!(recent.get(80).unwrap().as_str(), "80");
        assert!(recent.get(16).is_none() && recent.get(81).is_none());
        recent.push(90, "90".into());
        assert_eq!(recent.first(), Some(90));
    }
}
