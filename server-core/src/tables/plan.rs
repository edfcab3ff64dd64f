//! The plan of a commit's flight: the groups that it may concern, which are looked up under the
//! table's lock, and their frames, which are encoded without it.

use super::Commit;
use super::cursor::Cursor;
use super::frame_pos;
use super::matching::{Membership, RowChange};
use super::ring::Logged;
use super::shape::{Outcome, Shape};
use super::state::feed;
use crate::text::Text;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::wire::{TableAddress, TableLink, TableTx, Transaction};

/// Most feeds, and bytes of frames, that are encoded before they are queued.
const FEEDS: usize = 256;
const BYTES: usize = 1 << 20;

/// A commit in flight.
pub(super) struct Plan<'a> {
    pub(super) logged: &'a Arc<Logged>,
    /// See [`super::state::State::generation`].
    pub(super) generation: u64,
    pub(super) number: u64,
    epoch: Option<Arc<str>>,
    /// Most bytes of the changes in a frame.
    most: usize,
    /// The index of the next change to look up.
    pub(super) next: usize,
    /// How many groups were found; a group counts once for each change.
    pub(super) found: usize,
    /// The groups that were found, and the changes that may concern them.
    pub(super) concerned: BTreeMap<u64, Vec<(usize, Membership)>>,
    pub(super) pairs: BTreeMap<usize, Box<RowChange<'a>>>,
}

/// A feed that the commit may concern.
pub(super) struct Feed {
    pub(super) group: u64,
    pub(super) shape: Arc<Shape>,
    /// The `pos` of its last frame.
    pub(super) last: u64,
    pub(super) places: Vec<(usize, Membership)>,
}

/// What a feed is sent.
pub(super) struct News {
    pub(super) group: u64,
    pub(super) what: What,
}

pub(super) enum What {
    Frame(Frame),
    /// Its subscribers are reset, for this reason.
    Reset(&'static str),
}

/// The frame of a transaction for a feed.
pub(super) struct Frame {
    to: TableAddress,
    tx: String,
    link: TableLink,
    text: Text,
}

impl Frame {
    fn new(to: TableAddress, tx: String, link: TableLink) -> Frame {
        let text = TableTx::encode_with(&to, &link, std::iter::once(tx.as_str())).into();
        Frame { to, tx, link, text }
    }

    /// The frame, linked to the one with this `pos`. That is nearly always the one for which it was
    /// encoded; a feed that was empty meanwhile has another one.
    pub(super) fn behind(self, last: u64) -> Text {
        if self.link.prev == Some(last) {
            return self.text;
        }
        Frame::new(self.to, self.tx, TableLink { prev: Some(last), ..self.link }).text
    }
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        logged: &'a Arc<Logged>,
        generation: u64,
        number: u64,
        epoch: Option<Arc<str>>,
        most: usize,
    ) -> Plan<'a> {
        let (concerned, pairs) = (BTreeMap::new(), BTreeMap::new());
        Plan { logged, generation, number, epoch, most, next: 0, found: 0, concerned, pairs }
    }

    pub(super) fn commit(&self) -> &'a Commit {
        &self.logged.commit
    }

    /// Encodes the frames of some of the feeds.
    pub(super) fn work_out(&mut self, feeds: &mut impl Iterator<Item = Feed>) -> Vec<News> {
        let (mut news, mut bytes) = (Vec::new(), 0);
        for feed in feeds.take(FEEDS) {
            if let Some(what) = self.news(&feed) {
                bytes += if let What::Frame(frame) = &what { frame.text.len() } else { 0 };
                news.push(News { group: feed.group, what });
            }
            if bytes > BYTES {
                break;
            }
        }
        news
    }

    fn news(&mut self, of: &Feed) -> Option<What> {
        let commit = self.commit();
        let told = of.shape.outcome_of(commit, &mut self.pairs, of.places.iter().copied(), 0, self.most);
        let changes = match told {
            Outcome::Nothing => return None,
            Outcome::Reset(reason) => return Some(What::Reset(reason)),
            Outcome::Changes(changes) => changes,
        };
        let cursor = self.epoch.as_deref();
        let cursor = cursor.map(|epoch| Cursor::encode(epoch, commit.position, of.shape.hash));
        let link = TableLink { prev: Some(of.last), pos: frame_pos::feed(self.number), cursor };
        let tx = Transaction::encode_with(&commit.tx, commit.at, &changes);
        Some(What::Frame(Frame::new(TableAddress::Feed(feed(of.group)), tx, link)))
    }
}
