//! Frames of live tables, protocol section 12.

use super::json::{Object, Writer, read_number, read_string};
use super::{DecodeError, Problem};

/// Greatest length of a table subscription's id, of a feed's and of a transaction's token, in
/// bytes.
pub const MAX_TABLE_ID: usize = 64;
/// Greatest length of a table's name, in bytes: schema, dot and table.
pub const MAX_TABLE_NAME: usize = 127;
/// Greatest length of a cursor of a table, in bytes.
pub const MAX_TABLE_CURSOR: usize = 256;
/// Most columns that a subscription may select.
pub const MAX_TABLE_COLUMNS: usize = 256;

/// A client's request about tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableRequest {
    /// Subscribe.
    Sub(TableSub),
    /// Request the next page of a snapshot.
    Next {
        /// The subscription.
        sid: String,
    },
    /// Request a `tbl.seen` for when a transaction has been applied.
    Wait {
        /// The subscription.
        sid: String,
        /// The transaction's id in the database.
        tx: String,
    },
    /// End a subscription.
    Unsub {
        /// The subscription.
        sid: String,
    },
}

/// One subscription to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSub {
    /// The client's name for it, unique on its connection.
    pub sid: String,
    /// The table's name at the server.
    pub table: String,
    /// Which rows ([`crate::tables::filter`]); empty for all rows that the user may see.
    pub filter: String,
    /// Which columns; none for all that the user may see. The key columns are always included.
    pub select: Option<Vec<String>>,
    /// The cursor to resume from.
    pub cursor: Option<String>,
}

/// A frame of the server about tables. Rows and cells are raw JSON texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableFrame {
    /// The subscription was accepted.
    Ok(TableOk),
    /// A page of a snapshot.
    Page {
        /// The subscription.
        sid: String,
        /// Its rows.
        page: TablePage,
    },
    /// Transactions with changes for the subscription.
    Tx(TableTx),
    /// Nothing was committed for the subscription up to here.
    Mark {
        /// The receivers.
        to: TableAddress,
        /// Its position.
        link: TableLink,
    },
    /// From here on the subscription follows a feed.
    Live {
        /// The subscription.
        sid: String,
        /// The feed.
        feed: String,
        /// Its position.
        link: TableLink,
    },
    /// A transaction that was waited for has been applied; its changes came before this. Or the
    /// wait failed.
    Seen {
        /// The subscription.
        sid: String,
        /// The transaction.
        tx: String,
        /// Why the wait failed: `unknown_tx`, `aborted_tx` or `timeout`.
        code: Option<String>,
    },
    /// The subscription can't continue. The client subscribes again and compares its rows with a
    /// new snapshot.
    Reset {
        /// The receivers.
        to: TableAddress,
        /// The reason: `trimmed`, `epoch`, `schema`, `access`, `truncated`, `too_big` or `missed`.
        reason: String,
        /// The time over which clients spread their new subscriptions, in ms.
        spread_ms: u64,
    },
    /// The subscription was refused or has ended.
    Err {
        /// The subscription.
        sid: String,
        /// The reason.
        problem: Problem,
        /// The position in the filter, in bytes.
        at: Option<u64>,
        /// Whether to subscribe again later.
        retryable: bool,
    },
    /// A type this version does not know; to be ignored.
    Unknown,
}

impl TableFrame {
    /// The receivers of the frame; none if this version does not know the type.
    pub fn address(&self) -> Option<TableAddress> {
        let sid = match self {
            TableFrame::Ok(ok) => &ok.sid,
            TableFrame::Page { sid, .. }
            | TableFrame::Live { sid, .. }
            | TableFrame::Seen { sid, .. }
            | TableFrame::Err { sid, .. } => sid,
            TableFrame::Tx(TableTx { to, .. })
            | TableFrame::Mark { to, .. }
            | TableFrame::Reset { to, .. } => return Some(to.clone()),
            TableFrame::Unknown => return None,
        };
        Some(TableAddress::Sid(sid.clone()))
    }
}

/// The receivers of a frame: one subscription, or all that follow a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableAddress {
    /// One subscription, by its id.
    Sid(String),
    /// All subscriptions of this connection that follow this feed.
    Feed(String),
}

/// The position of a frame among those of a subscription. Positions rise; `prev` makes a gap
/// visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableLink {
    /// The position of the previous frame, which must have been applied; none in the first.
    pub prev: Option<u64>,
    /// This frame's position.
    pub pos: u64,
    /// The cursor from which a later subscription can resume; none while a snapshot's transactions
    /// are still coming.
    pub cursor: Option<String>,
}

/// A subscription is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableOk {
    /// The subscription.
    pub sid: String,
    /// Whether the server resumes from the cursor; otherwise a snapshot follows.
    pub resumed: bool,
    /// Why the server did not resume from the cursor: `epoch`, `trimmed` or `changed`.
    pub reason: Option<String>,
    /// The columns and the key.
    pub shape: TableShape,
    /// The position of the snapshot, or of the cursor.
    pub link: TableLink,
    /// The first rows of the snapshot.
    pub page: TablePage,
}

/// The columns and the key of a subscription's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableShape {
    /// The columns, in the order of a row's cells.
    pub columns: Vec<TableColumn>,
    /// The key columns, as indexes into `columns`.
    pub key: Vec<usize>,
}

/// A column, as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Its type, as PostgreSQL's `format_type` writes it without modifiers.
    pub kind: String,
}

/// Rows of a snapshot, in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePage {
    /// The rows, each a JSON array of cells.
    pub rows: Vec<String>,
    /// Whether there are more rows, to be requested with `tbl.next`.
    pub more: bool,
}

/// Transactions, in the order in which they were committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableTx {
    /// The receivers.
    pub to: TableAddress,
    /// The position of the last one.
    pub link: TableLink,
    /// The transactions.
    pub txs: Vec<Transaction>,
}

/// The part of a transaction that concerns a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// The transaction's id in the database.
    pub tx: String,
    /// When it was committed, ms since the Unix epoch.
    pub at: u64,
    /// The changes, in the order in which they were made.
    pub changes: Vec<TableChange>,
}

/// The kind of a row's change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOp {
    /// The row is new for the subscription.
    Insert,
    /// The row has other values.
    Update,
    /// The row is no longer among the subscription's rows.
    Delete,
}

impl RowOp {
    /// The name in the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            RowOp::Insert => "insert",
            RowOp::Update => "update",
            RowOp::Delete => "delete",
        }
    }

    /// Parses the name.
    pub fn parse(word: &str) -> Option<RowOp> {
        [RowOp::Insert, RowOp::Update, RowOp::Delete].into_iter().find(|op| op.as_str() == word)
    }
}

/// A change of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableChange {
    /// The kind of change.
    pub op: RowOp,
    /// A JSON array of cells: the row after the change, with the same key as before; for a `delete`
    /// only the key's cells.
    pub cells: String,
    /// Indexes of columns that the database left out. Their cells are `null` here and keep their
    /// old values.
    pub same: Vec<usize>,
    /// Whether the row exists before and after the change, and only began or ceased to match the
    /// subscription.
    pub moved: bool,
}

impl TableRequest {
    /// The frame's JSON text.
    pub fn encode(&self) -> String {
        match self {
            TableRequest::Sub(sub) => {
                let writer = Writer::frame("tbl.sub").str("sid", &sub.sid).str("table", &sub.table);
                let writer = if sub.filter.is_empty() { writer } else { writer.str("filter", &sub.filter) };
                let writer = match &sub.select {
                    Some(names) => writer.texts("select", names),
                    None => writer,
                };
                writer.opt_str("cursor", sub.cursor.as_deref()).end()
            }
            TableRequest::Next { sid } => Writer::frame("tbl.next").str("sid", sid).end(),
            TableRequest::Wait { sid, tx } => Writer::frame("tbl.wait").str("sid", sid).str("tx", tx).end(),
            TableRequest::Unsub { sid } => Writer::frame("tbl.unsub").str("sid", sid).end(),
        }
    }

    /// Reads a frame whose type begins with `tbl.`; none of a type this version does not know.
    pub(super) fn read(t: &str, object: &Object<'_>) -> Result<Option<TableRequest>, DecodeError> {
        let sid = || short(object, "sid", MAX_TABLE_ID);
        Ok(Some(match t {
            "tbl.sub" => TableRequest::Sub(TableSub {
                sid: sid()?,
                table: short(object, "table", MAX_TABLE_NAME)?,
                filter: object.opt_text("filter")?.unwrap_or_default(),
                select: match object.opt_texts("select")? {
                    Some(names) if names.len() <= MAX_TABLE_COLUMNS => Some(names),
                    Some(_) => return Err(DecodeError::Member("select")),
                    None => None,
                },
                cursor: match object.opt_text("cursor")? {
                    Some(cursor) if cursor.len() <= MAX_TABLE_CURSOR => Some(cursor),
                    Some(_) => return Err(DecodeError::Member("cursor")),
                    None => None,
                },
            }),
            "tbl.next" => TableRequest::Next { sid: sid()? },
            "tbl.wait" => TableRequest::Wait { sid: sid()?, tx: short(object, "tx", MAX_TABLE_ID)? },
            "tbl.unsub" => TableRequest::Unsub { sid: sid()? },
            _ => return Ok(None),
        }))
    }
}

impl TableAddress {
    fn write(&self, writer: Writer) -> Writer {
        match self {
            TableAddress::Sid(sid) => writer.str("sid", sid),
            TableAddress::Feed(feed) => writer.str("feed", feed),
        }
    }

    fn read(object: &Object<'_>) -> Result<TableAddress, DecodeError> {
        Ok(match object.opt_text("feed")? {
            Some(feed) => TableAddress::Feed(feed),
            None => TableAddress::Sid(object.need_text("sid")?),
        })
    }
}

impl TableLink {
    fn write(&self, writer: Writer) -> Writer {
        writer.opt_u64("prev", self.prev).u64("pos", self.pos).opt_str("cursor", self.cursor.as_deref())
    }

    fn read(object: &Object<'_>) -> Result<TableLink, DecodeError> {
        Ok(TableLink {
            prev: object.opt_u64("prev")?,
            pos: object.need_u64("pos")?,
            cursor: object.opt_text("cursor")?,
        })
    }
}

impl TablePage {
    fn write(&self, writer: Writer) -> Writer {
        writer.array("rows", self.rows.iter().map(String::as_str)).bool("more", self.more)
    }

    fn read(object: &Object<'_>) -> Result<TablePage, DecodeError> {
        let mut rows = Vec::new();
        for row in object.opt_array("rows")? {
            if !row.starts_with('[') {
                return Err(DecodeError::Member("rows"));
            }
            rows.push(row.to_owned());
        }
        Ok(TablePage { rows, more: object.opt_flag("more")? })
    }
}

impl TableShape {
    /// Writes the members of a frame or a record.
    pub(crate) fn write(&self, writer: Writer) -> Writer {
        writer
            .each("columns", &self.columns, |writer, column| {
                writer.begin().str("name", &column.name).str("type", &column.kind).close()
            })
            .indexes("key", &self.key)
    }

    /// Reads what [`TableShape::write`] wrote.
    pub(crate) fn read(object: &Object<'_>) -> Result<TableShape, DecodeError> {
        let mut columns = Vec::new();
        for column in object.need_array("columns")? {
            let column = Object::parse(column)?;
            columns.push(TableColumn { name: column.need_text("name")?, kind: column.need_text("type")? });
        }
        let key = object.opt_indexes("key")?;
        if key.is_empty() || key.iter().any(|at| *at >= columns.len()) {
            return Err(DecodeError::Member("key"));
        }
        Ok(TableShape { columns, key })
    }
}

impl TableOk {
    fn write(&self) -> String {
        let writer = Writer::frame("tbl.ok")
            .str("sid", &self.sid)
            .str("mode", if self.resumed { "resumed" } else { "snapshot" })
            .opt_str("reason", self.reason.as_deref());
        self.page.write(self.link.write(self.shape.write(writer))).end()
    }

    fn read(object: &Object<'_>) -> Result<TableOk, DecodeError> {
        Ok(TableOk {
            sid: object.need_text("sid")?,
            resumed: match object.need_str("mode")?.as_ref() {
                "resumed" => true,
                "snapshot" => false,
                _ => return Err(DecodeError::Member("mode")),
            },
            reason: object.opt_text("reason")?,
            shape: TableShape::read(object)?,
            link: TableLink::read(object)?,
            page: TablePage::read(object)?,
        })
    }
}

impl TableChange {
    /// The change's JSON text.
    pub fn encode(&self) -> String {
        let writer = Writer::object().str("op", self.op.as_str()).raw(cells_name(self.op), &self.cells);
        let writer = if self.same.is_empty() { writer } else { writer.indexes("same", &self.same) };
        if self.moved { writer.bool("moved", true).end() } else { writer.end() }
    }

    fn read(object: &Object<'_>) -> Result<TableChange, DecodeError> {
        let op = RowOp::parse(&object.need_str("op")?).ok_or(DecodeError::Member("op"))?;
        let name = cells_name(op);
        let cells = object.raw(name).filter(|raw| raw.starts_with('[')).ok_or(DecodeError::Member(name))?;
        Ok(TableChange {
            op,
            cells: cells.to_owned(),
            same: object.opt_indexes("same")?,
            moved: object.opt_flag("moved")?,
        })
    }
}

impl Transaction {
    /// The transaction's JSON text with these already encoded changes, a JSON array.
    pub fn encode_with(tx: &str, at: u64, changes: &str) -> String {
        super::json::array([super::json::string(tx).as_str(), &at.to_string(), changes].into_iter())
    }

    fn encode(&self) -> String {
        let changes: Vec<String> = self.changes.iter().map(TableChange::encode).collect();
        let changes = super::json::array(changes.iter().map(String::as_str));
        Transaction::encode_with(&self.tx, self.at, &changes)
    }

    fn read(text: &str) -> Result<Transaction, DecodeError> {
        let malformed = || DecodeError::Member("txs");
        let [tx, at, changes] = super::json::elements(text)?.try_into().map_err(|_| malformed())?;
        let (raws, mut changes) = (super::json::elements(changes)?, Vec::new());
        for change in raws {
            changes.push(TableChange::read(&Object::parse(change)?)?);
        }
        Ok(Transaction {
            tx: read_string(tx).ok_or_else(malformed)?.into_owned(),
            at: read_number(at).ok_or_else(malformed)?,
            changes,
        })
    }
}

impl TableTx {
    /// The frame's JSON text with these already encoded transactions.
    pub fn encode_with<'a>(
        to: &TableAddress,
        link: &TableLink,
        txs: impl Iterator<Item = &'a str>,
    ) -> String {
        link.write(to.write(Writer::frame("tbl.tx"))).array("txs", txs).end()
    }

    fn read(object: &Object<'_>) -> Result<TableTx, DecodeError> {
        let mut txs = Vec::new();
        for tx in object.need_array("txs")? {
            txs.push(Transaction::read(tx)?);
        }
        Ok(TableTx { to: TableAddress::read(object)?, link: TableLink::read(object)?, txs })
    }
}

impl TableFrame {
    /// The frame's JSON text.
    pub fn encode(&self) -> String {
        match self {
            TableFrame::Ok(ok) => ok.write(),
            TableFrame::Page { sid, page } => page.write(Writer::frame("tbl.page").str("sid", sid)).end(),
            TableFrame::Tx(tx) => {
                let txs: Vec<String> = tx.txs.iter().map(Transaction::encode).collect();
                TableTx::encode_with(&tx.to, &tx.link, txs.iter().map(String::as_str))
            }
            TableFrame::Mark { to, link } => link.write(to.write(Writer::frame("tbl.mark"))).end(),
            TableFrame::Live { sid, feed, link } => {
                link.write(Writer::frame("tbl.live").str("sid", sid).str("feed", feed)).end()
            }
            TableFrame::Seen { sid, tx, code } => {
                Writer::frame("tbl.seen").str("sid", sid).str("tx", tx).opt_str("code", code.as_deref()).end()
            }
            TableFrame::Reset { to, reason, spread_ms } => {
                to.write(Writer::frame("tbl.reset")).str("reason", reason).u64("spread_ms", *spread_ms).end()
            }
            TableFrame::Err { sid, problem, at, retryable } => problem
                .write(Writer::frame("tbl.err").str("sid", sid))
                .opt_u64("at", *at)
                .bool("retryable", *retryable)
                .end(),
            TableFrame::Unknown => Writer::frame("tbl.unknown").end(),
        }
    }

    /// Reads one frame, the text of a [`super::ServerFrame::Table`].
    pub fn decode(text: &str) -> Result<TableFrame, DecodeError> {
        let object = Object::parse(text)?;
        Ok(match object.need_str("t")?.as_ref() {
            "tbl.ok" => TableFrame::Ok(TableOk::read(&object)?),
            "tbl.page" => TableFrame::Page { sid: object.need_text("sid")?, page: TablePage::read(&object)? },
            "tbl.tx" => TableFrame::Tx(TableTx::read(&object)?),
            "tbl.mark" => {
                TableFrame::Mark { to: TableAddress::read(&object)?, link: TableLink::read(&object)? }
            }
            "tbl.live" => TableFrame::Live {
                sid: object.need_text("sid")?,
                feed: object.need_text("feed")?,
                link: TableLink::read(&object)?,
            },
            "tbl.seen" => TableFrame::Seen {
                sid: object.need_text("sid")?,
                tx: object.need_text("tx")?,
                code: object.opt_text("code")?,
            },
            "tbl.reset" => TableFrame::Reset {
                to: TableAddress::read(&object)?,
                reason: object.need_text("reason")?,
                spread_ms: object.opt_u64("spread_ms")?.unwrap_or(0),
            },
            "tbl.err" => TableFrame::Err {
                sid: object.need_text("sid")?,
                problem: Problem::read(&object)?,
                at: object.opt_u64("at")?,
                retryable: object.opt_flag("retryable")?,
            },
            _ => TableFrame::Unknown,
        })
    }
}

/// Reads a required member: not empty, and at most `most` bytes.
fn short(object: &Object<'_>, name: &'static str, most: usize) -> Result<String, DecodeError> {
    let text = object.need_text(name)?;
    if (1..=most).contains(&text.len()) { Ok(text) } else { Err(DecodeError::Member(name)) }
}

/// The name of the member with a change's cells.
fn cells_name(op: RowOp) -> &'static str {
    if op == RowOp::Delete { "key" } else { "row" }
}
