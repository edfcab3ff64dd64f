//! Dialogs in memory: they send committed events to subscribers, and run the answers.

mod channel;
mod context;
mod custody;
mod effects;
mod hub;
pub mod ops;
mod progress;
mod recent;
mod reconcile;
mod run;

pub use channel::{Channel, Extent, Subscriber};
pub use context::{ModelError, Role, Turn};
pub use hub::{ChannelFigures, Hub};
pub use progress::{Effects, Progress, Stop};
pub use reconcile::reconcile;
pub use run::{AI_NAME, Answering, Ids, Publish, Run, Step, left_ended};
