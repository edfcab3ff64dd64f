//! Tidewire's client core.
pub mod wire;
