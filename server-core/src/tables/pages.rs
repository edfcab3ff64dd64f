//! A snapshot split into pages, encoded once for all subscriptions that wait for it.

use super::shape::Shape;
use super::{Row, Seen};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidewire_core::wire::TablePage;

/// Most bytes of a page; it has at least one row anyway.
const PAGE_BYTES: usize = 262_144;

/// The pages of a snapshot. Their bytes count as used memory until the snapshot is dropped.
#[derive(Debug)]
pub(super) struct Pages {
    /// At least one page, which may be empty.
    pages: Vec<Vec<String>>,
    pub(super) seen: Seen,
    bytes: usize,
    held: Arc<AtomicUsize>,
}

/// Why a snapshot is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooLarge {
    /// More rows than a subscription may have.
    Rows,
    /// More bytes than a subscription may have.
    Bytes,
    /// A row that is too large for a frame.
    Row,
}

impl Pages {
    pub(super) fn new(
        shape: &Shape,
        rows: &[Row],
        seen: Seen,
        (most_rows, most_bytes, most_row, page_rows): (usize, usize, usize, usize),
        held: &Arc<AtomicUsize>,
    ) -> Result<Pages, TooLarge> {
        let (mut pages, mut page, mut of_page) = (Vec::new(), Vec::new(), 0);
        let (mut count, mut bytes) = (0, 0);
        for row in rows.iter().filter_map(|row| shape.row(row)) {
            if row.len() > most_row {
                return Err(TooLarge::Row);
            }
            (count, bytes) = (count + 1, bytes + row.len() + size_of::<String>());
            if count > most_rows {
                return Err(TooLarge::Rows);
            }
            if bytes > most_bytes {
                return Err(TooLarge::Bytes);
            }
            if page.len() >= page_rows || !page.is_empty() && of_page + row.len() + 1 > PAGE_BYTES {
                pages.push(std::mem::take(&mut page));
                of_page = 0;
            }
            of_page += row.len() + 1;
            page.push(row);
        }
        if !page.is_empty() || pages.is_empty() {
            pages.push(page);
        }
        held.fetch_add(bytes, Ordering::Relaxed);
        Ok(Pages { pages, seen, bytes, held: held.clone() })
    }

    /// A page by its index; `None` after the last one.
    pub(super) fn page(&self, at: usize) -> Option<TablePage> {
        let rows = self.pages.get(at)?.clone();
        Some(TablePage { rows, more: at + 1 < self.pages.len() })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
