//! Live tables: what a subscription to a table's rows asks for, which rows it is about, and how a
//! client follows them.

pub mod filter;
mod live;
mod moment;
mod numeric;
mod query;
mod ready;
mod rows;
mod subscription;
mod update;
mod value;

pub use live::Tables;
pub use numeric::Numeric;
pub use query::{RowEvents, TableError, TableQuery};
pub use ready::ReadyTable;
pub use update::{RowChange, TableEvent, TableState, TableUpdate, Why};
pub use value::{Type, Value};
