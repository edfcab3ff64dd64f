//! Live tables: what a subscription to a table's rows asks for, and which rows it is about.

pub mod filter;
mod moment;
mod numeric;
mod value;

pub use numeric::Numeric;
pub use value::{Type, Value};
