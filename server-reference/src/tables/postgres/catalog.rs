//! Reads descriptions of tables from the database's catalog.

use super::WatchedTable;
use super::assemble::Shape;
use super::setup_error::SetupError;
use tidewire_core::tables::Type;
use tidewire_server_core::tables::{Column, Schema};
use tokio_postgres::Client;

const TABLE: &str = "
select c.oid, c.relkind::text, c.relreplident::text, has_table_privilege(c.oid, 'select'), row_security_active(c.oid)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and c.relname = $2";

const COLUMNS: &str = "
select a.attname::text, format_type(a.atttypid, null), a.atttypid, a.attnotnull, a.attgenerated <> '',
    coalesce(a.attnum = any (k.indkey), false), coalesce(a.attnum = any (i.indkey), false)
from pg_attribute a
left join pg_index k on k.indrelid = a.attrelid and k.indisprimary
left join pg_index i on i.indrelid = a.attrelid and i.indisreplident
where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
order by a.attnum";

const DIGEST: &str = "
select coalesce(md5(string_agg(concat_ws(' ', c.oid, a.attnum, a.attname, a.atttypid, a.attgenerated), ',' order by c.oid, a.attnum)), '')
from unnest($1::text[], $2::text[]) watched (namespace, name)
join pg_namespace n on n.nspname = watched.namespace
join pg_class c on c.relnamespace = n.oid and c.relname = watched.name
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped";

/// Indexes that may be a replica identity ("ALTER TABLE", `REPLICA IDENTITY USING INDEX`), have all
/// columns that are needed and only published ones, with the fewest columns first.
const INDEX: &str = "
select x.relname::text
from pg_index i
join pg_class x on x.oid = i.indexrelid
join pg_class c on c.oid = i.indrelid
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and c.relname = $2
    and i.indisunique and i.indimmediate and i.indisvalid and i.indpred is null and i.indexprs is null
    and i.indnatts = i.indnkeyatts
    and not exists (
        select from pg_attribute a where a.attrelid = c.oid and a.attnum = any (i.indkey) and not a.attnotnull)
    and $3::text[] <@ array(
        select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum = any (i.indkey))
    and $4::text[] @> array(
        select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum = any (i.indkey))
order by i.indnatts, x.relname
limit 1";

/// A table's description.
#[derive(Debug)]
pub(super) struct Described {
    /// `r` for an ordinary table.
    pub(super) relkind: String,
    /// `d`efault, `n`othing, `f`ull or `i`ndex.
    pub(super) replident: String,
    /// Whether the role may read all of the table. This is needed to lock it; rights to its columns
    /// are not enough.
    pub(super) selectable: bool,
    /// Whether row level security hides rows from the role.
    pub(super) secured: bool,
    pub(super) columns: Vec<DescribedColumn>,
}

/// A column's description.
#[derive(Debug)]
pub(super) struct DescribedColumn {
    pub(super) name: String,
    pub(super) declared: String,
    pub(super) kind: u32,
    pub(super) not_null: bool,
    pub(super) generated: bool,
    pub(super) key: bool,
    /// Whether the index that is the replica identity includes it.
    pub(super) indexed: bool,
}

/// Describes a table.
pub(super) async fn describe(client: &Client, watched: &WatchedTable) -> Result<Described, SetupError> {
    let row = client.query_opt(TABLE, &[&watched.namespace, &watched.name]).await?;
    let row = row.ok_or_else(|| SetupError::NoTable { table: watched.to_string() })?;
    let oid: u32 = row.try_get(0)?;
    let mut columns = Vec::new();
    for row in client.query(COLUMNS, &[&oid]).await? {
        columns.push(DescribedColumn {
            name: row.try_get(0)?,
            declared: row.try_get(1)?,
            kind: row.try_get(2)?,
            not_null: row.try_get(3)?,
            generated: row.try_get(4)?,
            key: row.try_get(5)?,
            indexed: row.try_get(6)?,
        });
    }
    Ok(Described {
        relkind: row.try_get(1)?,
        replident: row.try_get(2)?,
        selectable: row.try_get(3)?,
        secured: row.try_get(4)?,
        columns,
    })
}

/// A text that changes when one of the tables gets other columns or other types.
pub(super) async fn digest(client: &Client, tables: &[WatchedTable]) -> Result<String, SetupError> {
    let (namespaces, names): (Vec<&str>, Vec<&str>) =
        tables.iter().map(|table| (table.namespace.as_str(), table.name.as_str())).unzip();
    let row = client.query_one(DIGEST, &[&namespaces, &names]).await?;
    Ok(row.try_get(0)?)
}

/// An existing index that can be the table's replica identity.
pub(super) async fn usable_index(
    client: &Client,
    watched: &WatchedTable,
    described: &Described,
) -> Result<Option<String>, SetupError> {
    let names = |columns: Vec<&DescribedColumn>| -> Vec<String> {
        columns.into_iter().map(|column| column.name.clone()).collect()
    };
    let (needed, published) = (names(described.needed(watched)), names(described.visible(watched)?));
    let row = client.query_opt(INDEX, &[&watched.namespace, &watched.name, &needed, &published]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

impl Described {
    /// The columns that clients may see, in the table's order. Without a list these are all but
    /// generated ones, which are not in the stream.
    pub(super) fn visible<'a>(
        &'a self,
        watched: &WatchedTable,
    ) -> Result<Vec<&'a DescribedColumn>, SetupError> {
        let Some(names) = &watched.columns else {
            return Ok(self.columns.iter().filter(|column| !column.generated).collect());
        };
        for name in names {
            match self.columns.iter().find(|column| column.name == *name) {
                None => {
                    return Err(SetupError::NoColumn { table: watched.to_string(), column: name.clone() });
                }
                Some(column) if column.generated => {
                    return Err(SetupError::Generated { table: watched.to_string(), column: name.clone() });
                }
                Some(_) => {}
            }
        }
        Ok(self.columns.iter().filter(|column| names.contains(&column.name)).collect())
    }

    /// The form that changes of the table must have.
    pub(super) fn shape(&self, watched: &WatchedTable) -> Result<Shape, SetupError> {
        let table = || watched.to_string();
        let columns = self.visible(watched)?;
        let place = |name: &str| columns.iter().position(|column| column.name == name);
        let mut key = Vec::new();
        for column in self.columns.iter().filter(|column| column.key) {
            let hidden = || SetupError::NoColumn { table: table(), column: column.name.clone() };
            key.push(place(&column.name).ok_or_else(hidden)?);
        }
        if key.is_empty() {
            return Err(SetupError::NoKey { table: table() });
        }
        for name in &watched.filtered {
            place(name).ok_or_else(|| SetupError::NoColumn { table: table(), column: name.clone() })?;
        }
        Ok(Shape {
            namespace: watched.namespace.clone(),
            name: watched.name.clone(),
            kinds: columns.iter().map(|column| column.kind).collect(),
            schema: Schema {
                columns: columns
                    .iter()
                    .map(|column| Column {
                        name: column.name.clone(),
                        declared: column.declared.clone(),
                        kind: Type::named(&column.declared),
                        tracked: self.identifies(column),
                    })
                    .collect(),
                key,
            },
        })
    }

    /// Whether the replica identity includes a column, so that old rows have it.
    pub(super) fn identifies(&self, column: &DescribedColumn) -> bool {
        match self.replident.as_str() {
            "f" => true,
            "d" => column.key,
            "i" => column.indexed,
            _ => false,
        }
    }

    /// The columns that old rows must have, the key's first.
    pub(super) fn needed(&self, watched: &WatchedTable) -> Vec<&DescribedColumn> {
        let filtered = |column: &&DescribedColumn| !column.key && watched.filtered.contains(&column.name);
        let (key, others) =
            (self.columns.iter().filter(|column| column.key), self.columns.iter().filter(filtered));
        key.chain(others).collect()
    }

    /// Those of them that old rows lack.
    pub(super) fn lacking(&self, watched: &WatchedTable) -> Vec<&str> {
        let needed = self.needed(watched).into_iter().filter(|column| !self.identifies(column));
        needed.map(|column| column.name.as_str()).collect()
    }
}

impl std::fmt::Display for WatchedTable {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&super::table_name(&self.namespace, &self.name))
    }
}
