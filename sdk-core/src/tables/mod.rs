//! Live tables: what a subscription to a table's rows asks for, which rows it is about, and how a client follows them.

pub mod filter;
#[cfg(feature = "tables")]
mod live;
mod moment;
mod numeric;
#[cfg(feature = "tables")]
mod query;
#[cfg(feature = "tables")]
mod ready;
#[cfg(feature = "tables")]
mod rows;
#[cfg(feature = "tables")]
mod subscription;
mod update;
mod value;

#[cfg(feature = "tables")]
pub(crate) use live::{Effect, Tables};
pub use numeric::Numeric;
#[cfg(feature = "tables")]
pub use query::{RowEvents, TableError, TableQuery};
#[cfg(feature = "tables")]
pub use ready::ReadyTable;
pub use update::{RowChange, TableState, TableUpdate, Why};
pub use value::{Type, Value};
