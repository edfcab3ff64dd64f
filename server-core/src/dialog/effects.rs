//! Carries out the effects of an event that was applied.

use super::channel::Channel;
use super::progress::Effects;
use super::run::Answering;
use crate::lock::calls_out;
use std::sync::Arc;

impl Effects {
    /// Carries them out. Call it with no lock held. `answers` is none if the server has no model.
    pub fn carry_out(self, answers: Option<&Arc<dyn Answering>>, channel: &Arc<Channel>) {
        calls_out();
        if let Some(stop) = self.stop {
            stop();
        }
        // While draining, the database remembers for the next start that an answer is needed.
        if let Some(answers) = answers.filter(|answers| self.answer && !answers.is_draining()) {
            answers.clone().start(channel);
        }
    }
}
