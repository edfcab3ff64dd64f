//! The composition: owns the parts and orders them.

use crate::config::Config;
use crate::error::{SendError, SubscribeError};
use crate::event::Row;
use crate::io::{Input, Output, Restored};
use crate::time::Now;

/// The client.
pub struct Client {}

#[allow(unused_variables, missing_docs, clippy::needless_pass_by_value)]
impl Client {
    pub fn new(config: Config, seed: [u8; 32], now: Now, restored: Restored) -> Client {
        Client {}
    }
    pub fn connect(&mut self, now: Now) {}
    pub fn close(&mut self, now: Now) {}
    pub fn open_dialog(&mut self, now: Now, dialog: &str) -> Result<(), SubscribeError> {
        Ok(())
    }
    pub fn close_dialog(&mut self, now: Now, dialog: &str) {}
    pub fn send_text(&mut self, now: Now, dialog: &str, text: &str) -> Result<String, SendError> {
        Err(SendError::Empty)
    }
    pub fn stop(&mut self, now: Now, dialog: &str, run: &str) -> Result<String, SendError> {
        Err(SendError::Empty)
    }
    pub fn subscribe(&mut self, now: Now, channel: &str) -> Result<(), SubscribeError> {
        Ok(())
    }
    pub fn unsubscribe(&mut self, now: Now, channel: &str) {}
    pub fn send(&mut self, now: Now, channel: &str, kind: &str, body: &str) -> Result<String, SendError> {
        Err(SendError::Empty)
    }
    pub fn retry(&mut self, now: Now, op: &str) -> bool {
        false
    }
    pub fn discard(&mut self, now: Now, op: &str) -> bool {
        false
    }
    pub fn rows(&self, dialog: &str) -> Vec<Row> {
        Vec::new()
    }
    pub fn handle(&mut self, now: Now, input: Input<'_>) {}
    pub fn poll(&mut self, now: Now) -> Output {
        Output::Wait { until: None, why: "idle" }
    }
}
