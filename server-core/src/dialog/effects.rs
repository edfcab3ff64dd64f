//! Carries out what applying an event has left to do.

use super::channel::Channel;
use super::progress::Effects;
use super::run::Answering;
use crate::lock::calls_out;
use std::sync::Arc;

impl Effects {
    /// Does it. Call it with no lock held; `answers` is none where nobody answers.
    pub fn carry_out(self, answers: Option<&Arc<dyn Answering>>, channel: &Arc<Channel>) {
        calls_out();
        if let Some(stop) = self.stop {
            stop();
        }
        // While draining, the database remembers the wish for the next start.
        if let Some(answers) = answers.filter(|answers| self.answer && !answers.is_draining()) {
            answers.clone().start(channel);
        }
    }
}
