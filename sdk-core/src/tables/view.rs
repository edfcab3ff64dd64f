//! A view that an application opened: a subscription's rows in its own order, up to a limit.

use super::order::{Order, OrderBy};
use super::query::RowEvents;
use super::sorted::Sorted;
use super::subscription::{Step, Subscription};
use super::update::{RowChange, TableRows, TableStatus, TableUpdate, Why};
use crate::wire::{RowOp, TableShape, codes};

/// A view. Views with an equal question share a subscription.
pub(super) struct View {
    pub(super) id: u32,
    /// The id of its subscription.
    pub(super) sid: String,
    pub(super) order: Vec<OrderBy>,
    pub(super) limit: Option<usize>,
    pub(super) events: RowEvents,
    /// The status that was emitted last.
    pub(super) reported: Option<TableStatus>,
    /// None while no rows are known, or if the order is not valid for them.
    pub(super) sorted: Option<Sorted>,
}

impl View {
    /// Takes all rows of the subscription again. No update if there were none and are none.
    pub(super) fn fill(&mut self, subscription: &Subscription) -> Option<TableUpdate> {
        let known = subscription.known();
        let order = known.and_then(|(shape, _)| Order::of(shape, &self.order));
        let sorted = known.zip(order).map(|((_, rows), order)| Sorted::new(order, self.limit, rows));
        let before = std::mem::replace(&mut self.sorted, sorted);
        (before.is_some() || self.sorted.is_some()).then(|| TableUpdate::Rows(self.rows(subscription)))
    }

    /// All rows.
    pub(super) fn rows(&self, subscription: &Subscription) -> TableRows {
        let Some(((shape, _), sorted)) = subscription.known().zip(self.sorted.as_ref()) else {
            return TableRows::default();
        };
        let (rows, beyond) = sorted.objects(shape);
        TableRows { key: shape.key_names(), rows, beyond }
    }

    /// Applies a step. `changes` are all its changes as the application sees them.
    pub(super) fn step(
        &mut self,
        shape: &TableShape,
        step: &Step,
        changes: &[RowChange],
    ) -> Option<TableUpdate> {
        let sorted = self.sorted.as_mut()?;
        let moved = step.changes.iter().zip(changes).map(|(moved, change)| (moved, change.new.as_ref()));
        let list = sorted.apply(shape, moved);
        let wanted = |change: &&RowChange| match change.event {
            RowOp::Insert => self.events.insert,
            RowOp::Update => self.events.update,
            RowOp::Delete => self.events.delete,
        };
        let changes: Vec<RowChange> = changes.iter().filter(wanted).cloned().collect();
        let (tx, at) = step.tx.clone().unzip();
        (!list.is_empty() || !changes.is_empty()).then_some(TableUpdate::Changes { list, changes, tx, at })
    }

    /// Whether the rows are still in the right order with this shape.
    pub(super) fn fits(&self, shape: &TableShape) -> bool {
        let order = Order::of(shape, &self.order);
        self.sorted.as_ref().zip(order).is_some_and(|(sorted, order)| sorted.is_by(&order))
    }

    pub(super) fn status(&self, subscription: &Subscription) -> TableStatus {
        if let Some((code, message, at)) = subscription.failure() {
            return TableStatus::Failed { code: code.to_owned(), message: message.to_owned(), at };
        }
        match (subscription.known(), &self.sorted) {
            (None, _) => TableStatus::Loading,
            (Some(_), None) => TableStatus::Failed {
                code: codes::BAD_ORDER.to_owned(),
                message: "the order names a column that is not there or can't be ordered".to_owned(),
                at: None,
            },
            (Some(_), Some(_)) if subscription.is_live() => TableStatus::Live,
            (Some(_), Some(_)) => TableStatus::Stale,
        }
    }
}

/// A step's changes as an application sees them; `before` is the shape of the rows before the step.
pub(super) fn changes_of(shape: &TableShape, before: &TableShape, step: &Step) -> Vec<RowChange> {
    let change = |moved: &super::rows::Moved| RowChange {
        event: moved.op,
        new: moved.new.as_deref().map(|row| shape.object(row)),
        old: moved.old.as_deref().map(|row| before.object(row)),
        why: match (&step.tx, moved.moved, moved.op) {
            (None, ..) => Why::Resync,
            (_, true, RowOp::Delete) => Why::MovedOut,
            (_, true, _) => Why::MovedIn,
            _ => Why::Commit,
        },
    };
    step.changes.iter().map(change).collect()
}
