//! Limits, budgets and time-outs of the server.

mod limiter;
mod settings;
mod window;

pub(crate) use limiter::Bucket;
pub use limiter::Limiter;
pub use settings::{Budget, ServerLimits, Timeouts};
pub(crate) use window::{WINDOW_MS, Window};
