//! How far users have read channels: positions that wait to be stored (protocol section 3).
//!
//! A user's position in a channel is the greatest one that any of their connections said. What all
//! users say is stored together, at once if nothing was stored for a second, otherwise at the end of
//! that second. Who said it is answered after the commit.

use super::Readers;
use crate::lock::{Mutex, calls_out};
use crate::outgoing::Outgoing;
use crate::store::{Outcome, SetPosition, Store, StoreError, Write};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::Time;
use tidewire_core::wire::{Marks, Offset, Receipt, ServerFrame, User};

/// Positions are stored at most this often, in ms.
const STORE_MS: u64 = 1_000;

/// With more than this many, those that could not be stored are left to their clients, who were
/// refused and say them again.
const MOST_AGAIN: usize = 10_000;

/// The positions of a server that are not stored yet.
#[derive(Default)]
pub(crate) struct ReadPositions {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    /// By the channel's row and the user ([`crate::Identity::key`]).
    waiting: BTreeMap<(i64, String), Waiting>,
    is_writing: bool,
    next: Time,
}

struct Waiting {
    readers: Arc<Readers>,
    by: User,
    offset: Offset,
    /// The connections that said so.
    asked: Vec<Arc<Outgoing>>,
}

impl Inner {
    /// Positions that may have been stored or not are stored again: whoever follows them is told then.
    fn again(&mut self, failed: BTreeMap<(i64, String), Waiting>) {
        self.is_writing = false;
        for (key, mut before) in failed {
            before.asked.clear();
            if let Some(waiting) = self.waiting.get_mut(&key) {
                waiting.offset = waiting.offset.max(before.offset);
            } else if self.waiting.len() < MOST_AGAIN {
                self.waiting.insert(key, before);
            }
        }
    }
}

impl ReadPositions {
    /// A connection of a user says that they have read a channel up to an event.
    pub(crate) fn mark(
        &self,
        readers: &Arc<Readers>,
        key: String,
        by: &User,
        offset: Offset,
        outgoing: &Arc<Outgoing>,
    ) {
        let mut inner = self.inner.lock();
        let waiting = inner.waiting.entry((readers.channel(), key)).or_insert_with(|| Waiting {
            readers: readers.clone(),
            by: by.clone(),
            offset,
            asked: Vec::new(),
        });
        waiting.offset = waiting.offset.max(offset);
        if !waiting.asked.iter().any(|asked| asked.id() == outgoing.id()) {
            waiting.asked.push(outgoing.clone());
        }
    }

    /// When [`ReadPositions::store`] has something to do; none if nothing waits.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let inner = self.inner.lock();
        (!inner.is_writing && !inner.waiting.is_empty()).then_some(inner.next)
    }

    /// Stores what waits, if it is time. Call it ten times a second, or at
    /// [`ReadPositions::deadline`].
    pub(crate) fn store(&self, now: Time, store: &dyn Store) {
        let mut inner = self.inner.lock();
        if inner.is_writing || inner.waiting.is_empty() || now < inner.next {
            return;
        }
        inner.is_writing = true;
        inner.next = now.after(STORE_MS);
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        let set = waiting.iter().map(|((channel, user), Waiting { by, offset, .. })| SetPosition {
            channel: *channel,
            user: user.clone(),
            by: by.clone(),
            offset: *offset,
        });
        let write = Write::Positions(set.collect());
        let inner = self.inner.clone();
        calls_out();
        store.write(
            write,
            Box::new(move |result| {
                let stored = match result {
                    Ok(Outcome::Positions(stored)) => Ok(stored),
                    Ok(_) => Err(StoreError::Unavailable),
                    Err(error) => Err(error),
                };
                match stored {
                    Ok(stored) => {
                        inner.lock().is_writing = false;
                        tell(waiting, stored);
                    }
                    Err(error) => {
                        refuse(&waiting, error);
                        inner.lock().again(waiting);
                    }
                }
            }),
        );
    }
}

/// Tells what was stored, channel by channel.
fn tell(waiting: BTreeMap<(i64, String), Waiting>, stored: Vec<Option<(Offset, u64)>>) {
    let mut entries = waiting.into_iter().zip(stored).peekable();
    while let Some((((row, _), Waiting { readers, .. }), _)) = entries.peek() {
        let (row, readers) = (*row, readers.clone());
        let (mut of_channel, mut asked) = (Vec::new(), Vec::new());
        while let Some((((_, key), waiting), stored)) = entries.next_if(|(((of, _), _), _)| *of == row) {
            let Some((offset, at)) = stored else { continue };
            asked.extend(waiting.asked.into_iter().map(|outgoing| (outgoing, offset)));
            of_channel.push((key, Receipt { user: waiting.by, offset, at }));
        }
        readers.stored(&of_channel, &asked);
    }
}

fn refuse(waiting: &BTreeMap<(i64, String), Waiting>, error: StoreError) {
    for Waiting { readers, asked, .. } in waiting.values() {
        let frame = Marks {
            refused: Some(error.code().to_owned()),
            retry_after_ms: Some(STORE_MS),
            ..Marks::new(readers.name().clone())
        };
        for outgoing in asked {
            outgoing.send(&ServerFrame::Marks(frame.clone()));
        }
    }
}
