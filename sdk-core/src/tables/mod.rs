//! Live tables: the queries, filters and values, which the server uses too, and how a client
//! follows the rows of a subscription.

mod datetime;
mod entries;
pub mod filter;
mod live;
mod numeric;
mod order;
mod query;
mod ready;
mod rows;
mod shape;
mod sorted;
mod subscription;
mod update;
mod value;
mod view;

pub use live::Tables;
pub use numeric::Numeric;
pub use query::{RowEvents, TableError, TableQuery};
pub use ready::ReadyTable;
pub use update::{RowChange, TableEvent, TableRows, TableStatus, TableUpdate, Why};
pub use value::{Type, Value};
