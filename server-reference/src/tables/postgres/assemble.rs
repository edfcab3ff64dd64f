//! Assembles commits from messages of the replication stream.

use super::pgoutput::{Datum, DecodeError, Message, Old, Relation};
use std::collections::HashMap;
use thiserror::Error;
use tidewire_server_core::tables::{Cell, Change, Commit, Row, Schema};

/// Milliseconds from 1970 to 2000, where PostgreSQL's times begin.
const EPOCH_MS: i64 = 946_684_800_000;
/// Roughly the bytes of a change and of each of its cells, without their texts.
const CHANGE_BYTES: usize = 96;
const CELL_BYTES: usize = 24;

/// Why the stream is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AssembleError {
    /// A message can't be read.
    #[error("{0}")]
    Decode(#[from] DecodeError),
    /// A change or an end outside of any transaction, or a beginning inside of one.
    #[error("the replication stream has a message outside of its transaction")]
    Order,
    /// A change in a table that was not described before.
    #[error("the replication stream changes table {0}, which it has not described")]
    UnknownRelation(u32),
    /// A row with more or fewer values than its table has columns.
    #[error("the replication stream has a row of table {0} with a wrong number of values")]
    Width(u32),
}

/// The form that a table's changes must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The schema that it is in.
    pub namespace: String,
    /// Its name in there.
    pub name: String,
    /// The schema for clients.
    pub schema: Schema,
    /// The columns' types, by their oid in `pg_type`.
    pub kinds: Vec<u32>,
}

/// Assembles commits. It holds one at a time, and at most `cap` bytes of it.
#[derive(Debug)]
pub(crate) struct Assembler {
    shapes: Vec<Shape>,
    relations: HashMap<u32, Described>,
    open: Option<Open>,
    /// A recent transaction id, which extends the 32 bits of later ones.
    near_xid: u64,
    cap: usize,
}

/// A relation as the stream described it.
#[derive(Debug)]
struct Described {
    namespace: String,
    name: String,
    /// Name, type and whether it is part of the replica identity.
    columns: Vec<(String, u32, bool)>,
    target: Target,
}

/// How a relation's changes are handled.
#[derive(Debug)]
enum Target {
    /// It is not watched.
    Ignored,
    /// They become changes of a table. `places` has each column's index in the relation.
    Watched { table: usize, places: Vec<usize> },
    /// The table differs from its description.
    Changed { table: usize },
}

/// An open transaction.
#[derive(Debug)]
struct Open {
    xid: u64,
    at: i64,
    changes: Vec<Change>,
    bytes: usize,
    /// Tables that need a new snapshot, and the reasons.
    lost: Vec<(usize, &'static str)>,
    /// Whether it is larger than `cap`.
    too_big: bool,
}

impl Assembler {
    /// `shapes` are in the registry's order, `near_xid` is the id of any recent transaction, and
    /// `cap` is the most bytes of a commit.
    pub(crate) fn new(shapes: Vec<Shape>, near_xid: u64, cap: usize) -> Assembler {
        Assembler { shapes, relations: HashMap::new(), open: None, near_xid, cap }
    }

    /// Whether a transaction is open.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The form of a table's changes.
    pub(super) fn shape(&self, table: usize) -> Option<&Shape> {
        self.shapes.get(table)
    }

    /// Sets the new description of a table that had changed.
    pub(crate) fn adopt(&mut self, table: usize, shape: Shape) {
        let Some(place) = self.shapes.get_mut(table) else { return };
        *place = shape;
        for described in self.relations.values_mut() {
            described.target = target(&self.shapes, described);
        }
    }

    /// Takes a message. Returns a commit at its end, if it changed a watched table.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Option<Commit>, AssembleError> {
        match Message::decode(bytes)? {
            Message::Begin { at, xid, .. } => self.begin(xid, at)?,
            Message::Commit { end, .. } => return self.commit(end),
            Message::Relation(relation) => self.describe(&relation),
            Message::Insert { relation, new } => self.row(relation, false, None, Some(&new))?,
            Message::Update { relation, old, new } => self.row(relation, true, old.as_ref(), Some(&new))?,
            Message::Delete { relation, old } => self.row(relation, false, Some(&old), None)?,
            Message::Truncate { relations } => {
                for relation in relations {
                    self.truncate(relation)?;
                }
            }
            Message::Origin | Message::Type | Message::Logical => {}
        }
        Ok(None)
    }

    /// A transaction begins: the low half of its id, and the time of its commit in µs since 2000.
    pub(crate) fn begin(&mut self, xid: u32, at: i64) -> Result<(), AssembleError> {
        if self.open.is_some() {
            return Err(AssembleError::Order);
        }
        let xid = extended(self.near_xid, xid);
        self.near_xid = xid;
        self.open = Some(Open { xid, at, changes: Vec::new(), bytes: 0, lost: Vec::new(), too_big: false });
        Ok(())
    }

    /// The open transaction ends; its commit record ends at this position.
    pub(crate) fn commit(&mut self, end: u64) -> Result<Option<Commit>, AssembleError> {
        let open = self.open.take().ok_or(AssembleError::Order)?;
        let lost = open.lost.iter().map(|(table, reason)| Change::Lost { table: *table, reason });
        let changes: Vec<Change> = open.changes.into_iter().chain(lost).collect();
        if changes.is_empty() {
            return Ok(None);
        }
        Ok(Some(Commit {
            position: end,
            xid: Some(open.xid),
            tx: open.xid.to_string(),
            at: u64::try_from(open.at.div_euclid(1_000).saturating_add(EPOCH_MS)).unwrap_or(0),
            changes,
            places: Vec::new(),
        }))
    }

    fn describe(&mut self, relation: &Relation<'_>) {
        let columns =
            relation.columns.iter().map(|one| (one.name.to_owned(), one.kind, one.identity)).collect();
        let mut described = Described {
            namespace: relation.namespace.to_owned(),
            name: relation.name.to_owned(),
            columns,
            target: Target::Ignored,
        };
        described.target = target(&self.shapes, &described);
        self.relations.insert(relation.id, described);
    }

    fn row(
        &mut self,
        relation: u32,
        is_update: bool,
        old: Option<&Old<'_>>,
        new: Option<&[Datum<'_>]>,
    ) -> Result<(), AssembleError> {
        let open = self.open.as_mut().ok_or(AssembleError::Order)?;
        let described = self.relations.get(&relation).ok_or(AssembleError::UnknownRelation(relation))?;
        let (table, places) = match &described.target {
            Target::Ignored => return Ok(()),
            Target::Changed { table } => {
                open.lose(*table, "schema");
                return Ok(());
            }
            Target::Watched { table, places } => (*table, places),
        };
        if open.too_big {
            open.lose(table, "too_big");
        }
        if open.lost.iter().any(|(lost, _)| *lost == table) {
            return Ok(());
        }
        let width = described.columns.len();
        let (values, full) = match old {
            Some(Old::Identity(values)) => (Some(values), false),
            Some(Old::Full(values)) => (Some(values), true),
            None => (None, false),
        };
        if [values.map(Vec::len), new.map(<[_]>::len)].into_iter().flatten().any(|count| count != width) {
            return Err(AssembleError::Width(relation));
        }
        // Columns outside of the identity are sent as null.
        let said = |place: usize| full || described.columns.get(place).is_some_and(|column| column.2);
        let old = values.map(|values| {
            row(places, |place| if said(place) { cell(values.get(place)) } else { Cell::Unchanged })
        });
        let new = new.map(|datums| {
            row(places, |place| match (datums.get(place), values) {
                (Some(Datum::Unchanged), Some(values)) if said(place) => cell(values.get(place)),
                (value, _) => cell(value),
            })
        });
        let old = match (&old, &new, self.shapes.get(table)) {
            // No tracked column has changed.
            (None, Some(new), Some(shape)) if is_update => Some(shape.schema.before(new)),
            _ => old,
        };
        open.bytes += CHANGE_BYTES + size(old.as_ref()) + size(new.as_ref());
        open.changes.push(Change::Row { table, old, new });
        if open.bytes > self.cap {
            open.give_up();
        }
        Ok(())
    }

    fn truncate(&mut self, relation: u32) -> Result<(), AssembleError> {
        let open = self.open.as_mut().ok_or(AssembleError::Order)?;
        let described = self.relations.get(&relation).ok_or(AssembleError::UnknownRelation(relation))?;
        match described.target {
            Target::Ignored => {}
            Target::Watched { table, .. } => open.lose(table, "truncated"),
            Target::Changed { table } => open.lose(table, "schema"),
        }
        Ok(())
    }
}

impl Open {
    /// A table has to be read again, so its changes in this commit are dropped.
    fn lose(&mut self, table: usize, reason: &'static str) {
        self.changes.retain(|change| !matches!(change, Change::Row { table: other, .. } if *other == table));
        if !self.lost.iter().any(|(other, _)| *other == table) {
            self.lost.push((table, reason));
        }
    }

    /// Drops all changes so far, and keeps only which tables they were in.
    fn give_up(&mut self) {
        self.too_big = true;
        self.bytes = 0;
        for change in std::mem::take(&mut self.changes) {
            if let Change::Row { table, .. } = change
                && !self.lost.iter().any(|(other, _)| *other == table)
            {
                self.lost.push((table, "too_big"));
            }
        }
    }
}

fn target(shapes: &[Shape], described: &Described) -> Target {
    let is_it = |shape: &Shape| shape.namespace == described.namespace && shape.name == described.name;
    let Some((table, shape)) = shapes.iter().enumerate().find(|(_, shape)| is_it(shape)) else {
        return Target::Ignored;
    };
    let places: Option<Vec<usize>> = shape
        .schema
        .columns
        .iter()
        .zip(&shape.kinds)
        .map(|(column, kind)| {
            described.columns.iter().position(|(name, other, _)| *name == column.name && other == kind)
        })
        .collect();
    let Some(places) = places else { return Target::Changed { table } };
    // The tracked columns must still be part of the replica identity.
    let tracked = shape.schema.columns.iter().zip(&places).filter(|(column, _)| column.tracked);
    let identified = |place: usize| described.columns.get(place).is_some_and(|column| column.2);
    if tracked.map(|(_, place)| *place).all(identified) {
        Target::Watched { table, places }
    } else {
        Target::Changed { table }
    }
}

fn row(places: &[usize], cell: impl Fn(usize) -> Cell) -> Row {
    places.iter().map(|place| cell(*place)).collect()
}

fn cell(datum: Option<&Datum<'_>>) -> Cell {
    match datum {
        Some(Datum::Text(text)) => Cell::Text((*text).into()),
        // Binary values are never requested.
        Some(Datum::Unchanged | Datum::Binary(_)) => Cell::Unchanged,
        Some(Datum::Null) | None => Cell::Null,
    }
}

/// Roughly the bytes of a row in memory.
fn size(row: Option<&Row>) -> usize {
    let cells = row.map_or([].as_slice(), |row| row);
    cells.iter().map(|cell| CELL_BYTES + if let Cell::Text(text) = cell { text.len() } else { 0 }).sum()
}

/// Extends the low half of a transaction id to 64 bits: the result is the one nearest to `near`.
/// Ids in use are never further apart than half the range of 32 bits ("Preventing Transaction ID
/// Wraparound Failures").
pub(super) fn extended(near: u64, low: u32) -> u64 {
    let half = u32::try_from(near & u64::from(u32::MAX)).unwrap_or(0);
    let step = low.wrapping_sub(half).cast_signed();
    near.saturating_add_signed(i64::from(step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_core::tables::Type;
    use tidewire_server_core::tables::Column;

    /// A table `public.room` of id, state and a long body; state is part of the identity.
    fn shape() -> Shape {
        let column = |name: &str, declared: &str, kind, tracked| Column {
            name: name.into(),
            declared: declared.into(),
            kind,
            tracked,
        };
        Shape {
            namespace: "public".into(),
            name: "room".into(),
            schema: Schema {
                columns: vec![
                    column("id", "bigint", Type::Int8, true),
                    column("state", "text", Type::Text, true),
                    column("body", "text", Type::Text, false),
                ],
                key: vec![0],
            },
            kinds: vec![20, 25, 25],
        }
    }

    /// Describes the table under a number, with columns in another order than ours and one more.
    fn described(id: u32, name: &str, columns: &[(&str, u32, bool)]) -> Vec<u8> {
        let mut bytes = [b"R".as_slice(), &id.to_be_bytes(), b"public\0", name.as_bytes(), b"\0i"].concat();
        bytes.extend(u16::try_from(columns.len()).unwrap().to_be_bytes());
        for (name, kind, identity) in columns {
            bytes.push(u8::from(*identity));
            bytes.extend(name.as_bytes());
            bytes.push(0);
            bytes.extend(kind.to_be_bytes());
            bytes.extend([0; 4]);
        }
        bytes
    }

    const COLUMNS: [(&str, u32, bool); 4] =
        [("body", 25, false), ("extra", 16, false), ("id", 20, true), ("state", 25, true)];

    fn tuple(values: &[Option<&str>]) -> Vec<u8> {
        let mut bytes = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
        for value in values {
            match value {
                None => bytes.push(b'n'),
                Some("?") => bytes.push(b'u'),
                Some(text) => {
                    bytes.push(b't');
                    bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                    bytes.extend(text.as_bytes());
                }
            }
        }
        bytes
    }

    fn insert(id: u32, values: &[Option<&str>]) -> Vec<u8> {
        [b"I".as_slice(), &id.to_be_bytes(), b"N", &tuple(values)].concat()
    }

    fn update(id: u32, kind: u8, old: &[Option<&str>], new: &[Option<&str>]) -> Vec<u8> {
        [b"U".as_slice(), &id.to_be_bytes(), &[kind], &tuple(old), b"N", &tuple(new)].concat()
    }

    fn cells(row: Option<&Row>) -> String {
        let said = |cell: &Cell| match cell {
            Cell::Null => String::from("null"),
            Cell::Unchanged => String::from("?"),
            Cell::Text(text) | Cell::Foreign(text) => text.to_string(),
        };
        row.map_or(String::from("-"), |row| row.iter().map(said).collect::<Vec<_>>().join(" "))
    }

    fn told(commit: Option<Commit>) -> Vec<String> {
        let commit = commit.expect("a commit");
        let change = |change: &Change| match change {
            Change::Row { old, new, .. } => format!("{} > {}", cells(old.as_ref()), cells(new.as_ref())),
            Change::Lost { reason, .. } => (*reason).to_owned(),
        };
        commit.changes.iter().map(change).collect()
    }

    fn assembler(cap: usize) -> Assembler {
        let mut assembler = Assembler::new(vec![shape()], 1_000, cap);
        assembler.feed(&described(5, "room", &COLUMNS)).unwrap();
        assembler.feed(&described(6, "other", &COLUMNS)).unwrap();
        assembler.begin(1_001, 0).unwrap();
        assembler
    }

    #[test]
    fn rows_have_the_order_of_the_schema_and_old_ones_say_only_the_identity() {
        let mut assembler = assembler(10_000);
        assembler.feed(&insert(5, &[Some("long"), Some("t"), Some("7"), None])).unwrap();
        assembler.feed(&insert(6, &[None, None, None, None])).unwrap();
        let old = [None, None, Some("7"), None];
        assembler.feed(&update(5, b'K', &old, &[Some("?"), None, Some("7"), Some("open")])).unwrap();
        let old = [Some("long"), None, Some("7"), Some("open")];
        assembler.feed(&update(5, b'O', &old, &[Some("?"), None, Some("8"), Some("open")])).unwrap();
        let deleted =
            [b"D".as_slice(), &5_u32.to_be_bytes(), b"K", &tuple(&[None, None, Some("8"), Some("open")])];
        assembler.feed(&deleted.concat()).unwrap();
        let commit = assembler.commit(77).unwrap();
        let head = commit.as_ref().map(|one| (one.position, one.xid, one.tx.clone(), one.at));
        assert_eq!(head, Some((77, Some(1_001), String::from("1001"), 946_684_800_000)));
        assert_eq!(
            told(commit),
            ["- > 7 null long", "7 null ? > 7 open ?", "7 open long > 8 open long", "8 open ? > -"]
        );
    }

    #[test]
    fn a_commit_of_tables_that_nobody_watches_is_none() {
        let mut assembler = assembler(10_000);
        assembler.feed(&insert(6, &[None, None, None, None])).unwrap();
        assert_eq!(assembler.commit(77), Ok(None));
    }

    #[test]
    fn a_truncated_table_is_lost_with_all_that_the_commit_did_to_it() {
        let mut assembler = assembler(10_000);
        let row = insert(5, &[None, None, Some("7"), None]);
        assembler.feed(&row).unwrap();
        assembler
            .feed(&[b"T".as_slice(), &[0, 0, 0, 2, 0], &6_u32.to_be_bytes(), &5_u32.to_be_bytes()].concat())
            .unwrap();
        assembler.feed(&row).unwrap();
        assert_eq!(told(assembler.commit(77).unwrap()), ["truncated"]);
    }

    #[test]
    fn a_commit_above_the_cap_takes_no_more_memory_and_loses_its_tables() {
        let mut assembler = assembler(10_000);
        let row = insert(5, &[Some(&"x".repeat(400)), None, Some("7"), None]);
        for _ in 0..1_000 {
            assembler.feed(&row).unwrap();
            let open = assembler.open.as_ref().unwrap();
            assert!(open.bytes <= 10_000 && open.changes.len() <= 20, "{} bytes", open.bytes);
        }
        assert_eq!(told(assembler.commit(77).unwrap()), ["too_big"]);
        assembler.begin(1_002, 0).unwrap();
        assembler.feed(&row).unwrap();
        assert_eq!(told(assembler.commit(88).unwrap()).len(), 1, "the next one is whole again");
    }

    #[test]
    fn a_table_that_changed_is_lost_until_it_is_described_anew() {
        let others = [
            vec![("body", 25, false), ("id", 20, true)],
            vec![("body", 25, false), ("id", 23, true), ("state", 25, true)],
            // The replica identity went back to the primary key.
            vec![("body", 25, false), ("id", 20, true), ("state", 25, false)],
        ];
        for columns in others {
            let mut assembler = assembler(10_000);
            assembler.feed(&described(5, "room", &columns)).unwrap();
            let values = vec![Some("1"); columns.len()];
            assembler.feed(&insert(5, &values)).unwrap();
            assembler.feed(&insert(5, &values)).unwrap();
            assert_eq!(told(assembler.commit(77).unwrap()), ["schema"], "{columns:?}");
            let mut now = shape();
            let known = |name: &str| columns.iter().find(|column| column.0 == name);
            now.schema.columns.retain(|column| known(&column.name).is_some());
            now.kinds = now.schema.columns.iter().map(|column| known(&column.name).unwrap().1).collect();
            now.schema.columns.iter_mut().for_each(|column| column.tracked = known(&column.name).unwrap().2);
            assembler.adopt(0, now);
            assembler.begin(1_002, 0).unwrap();
            assembler.feed(&insert(5, &values)).unwrap();
            assert!(told(assembler.commit(88).unwrap())[0].starts_with("- > "), "{columns:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_an_error() {
        let mut assembler = assembler(10_000);
        assert_eq!(assembler.begin(1_002, 0), Err(AssembleError::Order));
        assert_eq!(assembler.feed(&insert(9, &[])), Err(AssembleError::UnknownRelation(9)));
        assert_eq!(assembler.feed(&insert(5, &[None])), Err(AssembleError::Width(5)));
        assert_eq!(assembler.commit(1), Ok(None));
        assert_eq!(assembler.commit(1), Err(AssembleError::Order));
        assert_eq!(assembler.feed(&insert(5, &[None; 4])), Err(AssembleError::Order));
    }

    #[test]
    fn numbers_of_transactions_go_on_over_the_end_of_their_low_half() {
        let turn = 1_u64 << 32;
        assert_eq!(extended(5 * turn + 10, 12), 5 * turn + 12);
        assert_eq!(extended(5 * turn + 10, 7), 5 * turn + 7);
        assert_eq!(extended(5 * turn + 10, u32::MAX), 5 * turn - 1);
        assert_eq!(extended(5 * turn - 1, 3), 5 * turn + 3);
    }
}
